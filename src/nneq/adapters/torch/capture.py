"""From a module and an example to an exported program of one sample, and its reference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from nneq.adapters.torch.model import Flat, quiet
from nneq.adapters.torch.program import REMEDY, functional
from nneq.errors import NneqError, UnsupportedError

__all__ = ["Capture", "Framing", "capture", "flat_reference", "frame"]

Tensors = list[torch.Tensor]

_CLOSE = {torch.float64: 1e-9, torch.float32: 1e-4, torch.float16: 2e-2, torch.bfloat16: 1e-1}


@dataclass(frozen=True, eq=False)
class Framing:
    """Which axes are batch axes.

    Args:
        tensors: the inputs of one sample.
        inputs: for each input, whether axis 0 is the batch axis.
        outputs: for each output, whether axis 0 is the batch axis.
        batches: whether the model takes batches of any extent, with such outputs throughout.
        shapes: the shapes of the outputs.
        notes: what a user must know.
    """

    tensors: Tensors
    inputs: tuple[bool, ...]
    outputs: tuple[bool, ...]
    batches: bool
    shapes: tuple[tuple[int, ...], ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Capture:
    """An exported program with its framing."""

    exported: torch.export.ExportedProgram
    framing: Framing
    labels: tuple[str, ...]


def _shapes(tensors: Sequence[torch.Tensor]) -> str:
    return ", ".join(str(tuple(tensor.shape)) for tensor in tensors)


def _run(flat: Flat, tensors: Sequence[torch.Tensor]) -> Tensors:
    """Return the outputs for copies of the tensors (a model may write into its inputs)."""
    with quiet():
        return [out.detach().clone() for out in flat(*(tensor.clone() for tensor in tensors))]


def _attempt(flat: Flat, tensors: Sequence[torch.Tensor]) -> Tensors | Exception:
    try:
        return _run(flat, tensors)
    except UnsupportedError:
        raise
    except Exception as error:  # noqa: BLE001  # whatever the user's own forward() raises
        return error


# ---------------------------------------------------------------------- the batch axis
def frame(flat: Flat) -> Framing:
    """Return one sample of the example and which axes are batch axes.

    The first axis of the first input is taken for the batch axis; a batch of two is held against
    both samples alone.  Where they differ, the whole example is one sample.

    Raises:
        NneqError: the model does not accept the example.
    """
    tensors = flat.example.tensors
    extent = tensors[0].shape[0] if tensors[0].ndim else 0
    batched = tuple(t.ndim > 0 and t.shape[0] == extent for t in tensors)
    whole = Framing(tensors, (False,) * len(tensors), (), batches=False)
    empty = [
        f"{label or 'input'} {tuple(tensor.shape)}"
        for label, tensor in zip(flat.example.labels, tensors, strict=True)
        if not tensor.numel()
    ]
    if empty:
        msg = f"the example input {', '.join(empty)} has no entries; give one with at least one row"
        raise NneqError(msg)
    if extent == 0:
        return _whole(flat, whole, "the first input has no batch axis")
    single = [t[:1] if many else t for t, many in zip(tensors, batched, strict=True)]
    alone = _attempt(flat, single)
    if isinstance(alone, Exception):
        if extent == 1:
            raise _rejected(flat, tensors, alone)
        return _whole(flat, whole, "the model does not take one row of the example alone")
    shapes = tuple(tuple(out.shape) for out in alone)
    framing = Framing(single, batched, (), batches=True, shapes=shapes)
    other = [_other(t) if many else t for t, many in zip(tensors, batched, strict=True)]
    pair = [
        torch.cat([first, second]) if many else first
        for first, second, many in zip(single, other, batched, strict=True)
    ]
    together, second_alone = _attempt(flat, pair), _attempt(flat, other)
    if isinstance(together, Exception) or isinstance(second_alone, Exception):
        if extent > 1 and not isinstance(_attempt(flat, tensors), Exception):
            return _whole(flat, whole, "the model does not take two rows of the example together")
        outputs = tuple(out.shape[:1] == (1,) for out in alone)
        return replace(framing, outputs=outputs, batches=False)
    kinds = [
        _kind(first, second, both)
        for first, second, both in zip(alone, second_alone, together, strict=False)
    ]
    if "mixed" in kinds or not len(alone) == len(second_alone) == len(together):
        return _whole(flat, whole, "the outputs of a batch are not those of its samples alone")
    outputs = tuple(kind == "batched" for kind in kinds)
    return replace(framing, outputs=outputs, batches=all(outputs))


def _whole(flat: Flat, framing: Framing, why: str) -> Framing:
    outputs = _attempt(flat, framing.tensors)
    if isinstance(outputs, Exception):
        raise _rejected(flat, framing.tensors, outputs)
    note = f"{why}: the whole example input, shape {_shapes(framing.tensors)}, is one sample"
    shapes = tuple(tuple(out.shape) for out in outputs)
    return replace(framing, outputs=(False,) * len(outputs), shapes=shapes, notes=(note,))


def _rejected(flat: Flat, tensors: Tensors, error: Exception) -> NneqError:
    text = str(error).strip().splitlines()[0] if str(error).strip() else ""
    return NneqError(
        f"{type(flat.model).__name__} does not accept the example input of shape "
        f"{_shapes(tensors)} ({', '.join(str(t.dtype).removeprefix('torch.') for t in tensors)}): "
        f"{type(error).__name__}: {text}; give example_inputs as the model takes them, first axis "
        "the batch"
    )


def _other(tensor: torch.Tensor) -> torch.Tensor:
    """Return a second sample: another row of the example, or its own entries in reverse order."""
    for row in range(1, tensor.shape[0]):
        if not torch.equal(tensor[:1], tensor[row : row + 1]):
            return tensor[row : row + 1]
    first = tensor[:1]
    turned = first.flatten().flip(0).reshape(first.shape)
    if first.is_floating_point():
        ramp = torch.linspace(0.0, 0.25, first.numel(), dtype=torch.float64).reshape(first.shape)
        return turned * 0.75 + ramp.to(first.dtype)
    return turned


def _kind(first: torch.Tensor, second: torch.Tensor, both: torch.Tensor) -> str:
    """Return ``batched``, ``elsewhere`` (a batch axis other than 0, or none) or ``mixed``."""
    if first.shape == second.shape and first.ndim == both.ndim:
        for axis in range(first.ndim):
            doubled = tuple(2 * s if k == axis else s for k, s in enumerate(first.shape))
            if both.shape == doubled and first.shape[axis] == 1:
                joined = torch.cat([first, second], dim=axis)
                if _close(joined, both):
                    return "batched" if axis == 0 else "elsewhere"
    if first.shape == both.shape and _close(first, both) and _close(second, both):
        return "elsewhere"
    return "mixed"


def _close(a: torch.Tensor, b: torch.Tensor) -> bool:
    if not a.is_floating_point():
        return bool(torch.equal(a, b))
    bound = _CLOSE.get(a.dtype, 1e-4)
    wide = b.to(torch.float64)
    finite = wide[torch.isfinite(wide)]
    size = float(finite.abs().max()) if finite.numel() else 0.0
    return bool(
        torch.allclose(a.to(torch.float64), wide, rtol=bound, atol=bound * size, equal_nan=True)
    )


# ---------------------------------------------------------------------- the export
def capture(flat: Flat, headline: str) -> Capture:
    """Return the functional program of one sample.

    Raises:
        NneqError: the model does not accept the example.
        UnsupportedError: the model cannot be traced (control flow on values of tensors).
    """
    framing = frame(flat)
    try:
        with quiet():
            exported = torch.export.export(flat, tuple(framing.tensors), strict=False)
            exported = functional(exported)
    except UnsupportedError:
        raise
    except Exception as error:  # torch.export raises many private types
        raise _untraceable(error, headline) from error
    return Capture(exported, framing, flat.labels)


def _untraceable(error: Exception, headline: str) -> UnsupportedError:
    text = str(error)
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    line = _frame_of(error)
    where = f" ({line})" if line else ""
    private = ("Could not guard", "data-dependent", "unbacked", "Dynamic", "control flow")
    if any(word in text or word in type(error).__name__ for word in private):
        what = (
            "forward() decides by the value of a tensor (an if, a loop, .item(), or a result whose "
            f"size depends on the inputs){where}; write it with torch.where, or with torch.clamp, "
            "so that every input takes the same steps"
        )
        return UnsupportedError(f"{headline}:\n  - {what}")
    first = lines[0] if lines else ""
    what = f"torch.export cannot trace it: {type(error).__name__}: {first}{where}"
    return UnsupportedError(f"{headline}:\n  - {what}\n{REMEDY}")


def _frame_of(error: BaseException) -> str:
    """Return the innermost line of the user's own code in the traceback."""
    home = torch.__file__.rsplit("/", maxsplit=1)[0]
    found = ""
    trace = error.__traceback__
    while trace is not None:
        code = trace.tb_frame.f_code
        ours = "/nneq/adapters/" in code.co_filename or code.co_filename.startswith("<")
        if (
            not code.co_filename.startswith(home)
            and not ours
            and "contextlib" not in code.co_filename
        ):
            found = f"{code.co_filename.rsplit('/', maxsplit=1)[-1]} line {trace.tb_lineno}"
        trace = trace.tb_next
    return found


# ---------------------------------------------------------------------- the reference
def flat_reference(flat: Flat, tensors: Sequence[torch.Tensor]) -> Any:
    """Return the model's own forward pass on NumPy arrays, in its own element types."""
    kinds = [tensor.dtype for tensor in tensors]

    def reference(arrays: Sequence[np.ndarray[Any, Any]]) -> list[np.ndarray[Any, Any]]:
        given = [
            torch.tensor(np.asarray(array)).to(kind)
            for array, kind in zip(arrays, kinds, strict=True)
        ]
        return [
            (out.to(torch.float32) if out.dtype == torch.bfloat16 else out).numpy()
            for out in _run(flat, given)
        ]

    return reference
