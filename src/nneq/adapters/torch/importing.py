"""``import_model``: the adapter's one entry."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from nneq.adapters.base import Imported
from nneq.adapters.torch.capture import Framing, capture, flat_reference
from nneq.adapters.torch.memory import remembered
from nneq.adapters.torch.model import Example, Flat, example_of, private_copy, unwrapped
from nneq.adapters.torch.program import lower_program
from nneq.adapters.torch.registry import numpy_dtype
from nneq.adapters.torch.saved import load_exported
from nneq.adapters.torch.sequential import lower_sequential
from nneq.adapters.torch.shapes import assumed_example
from nneq.errors import NneqError, UnsupportedError
from nneq.ir import Network, Source
from nneq.lowering.builder import Builder, Value
from nneq.passes import tidy

__all__ = ["import_model"]


def import_model(
    model: Any,
    *,
    example_inputs: Any = None,
    input_names: Sequence[str] | None = None,
    output_names: Sequence[str] | None = None,
    fast: bool = True,
) -> Imported:
    """Return a PyTorch model as a network with its own forward pass as the reference.

    The model is copied; training flags, gradients, hooks, buffers and the random state stay as they
    are, and later training does not change the network.

    Args:
        model: a ``torch.nn.Module`` (plain, compiled, ``DataParallel``, pruned, weight-normed, in
            any mode), a ``torch.export.ExportedProgram``, or the path of a ``.pt2`` file.
        example_inputs: a tensor or array, a tuple of positional arguments or a dict of keyword
            arguments, first axis the batch; when None: what :func:`nneq.watch` remembered, or the
            shape that the first layer fixes.
        input_names: labels of the input entries, or of the input tensors.
        output_names: labels of the output entries, or of the output tensors.
        fast: read a plain ``nn.Sequential`` layer by layer instead of tracing it.

    Raises:
        NneqError: the model does not accept the example, or none can be found.
        UnsupportedError: nodes that have no equations; all of them are named.

    Guarantee: exact for the stored weights.
    """
    if isinstance(model, str | os.PathLike):
        label = os.fspath(model)
        model = load_exported(model)
    else:
        label = ""
    if isinstance(model, torch.export.ExportedProgram):
        module, given = _opened(model, example_inputs)
        label = label or "ExportedProgram"
        original: nn.Module = module
    else:
        original, module, given = model, unwrapped(model), example_inputs
        label = type(module).__name__
    notes: tuple[str, ...] = ()
    if given is None:
        given = _found_example(original, module)
    if given is None:
        tensor, note = assumed_example(module)
        given, notes = (tensor,), (note,)
    private = private_copy(module)
    example = _read_example(private, given)
    found = _imported(private, example, label, notes, fast=fast)
    network = dataclasses.replace(
        found.network,
        inputs=_named(found.network.inputs, input_names, "input"),
        outputs=_named(found.network.outputs, output_names, "output"),
    )
    return dataclasses.replace(found, network=network)


def _opened(program: torch.export.ExportedProgram, example_inputs: Any) -> tuple[nn.Module, Any]:
    """Return an exported program as a module, and its example."""
    module: nn.Module = program.module(check_guards=False)
    if example_inputs is not None:
        return module, example_inputs
    held = program.example_inputs
    if held is None:
        msg = "the exported program holds no example inputs; give example_inputs=..."
        raise NneqError(msg)
    args, kwargs = held
    return module, _Call(tuple(args), dict(kwargs))


@dataclasses.dataclass(frozen=True)
class _Call:
    """Positional and keyword arguments together."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]


def _found_example(*modules: nn.Module) -> Any:
    for module in modules:
        held = remembered(module)
        if held is not None:
            return _Call(*held)
    return None


def _read_example(module: nn.Module, given: Any) -> Example:
    if isinstance(given, _Call):
        return example_of(module, given.args, given.kwargs)
    return example_of(module, given)


def _imported(
    private: nn.Module, example: Example, label: str, notes: tuple[str, ...], *, fast: bool
) -> Imported:
    flat = Flat(private, example)
    quick = lower_sequential(private, example.tensors) if fast else None
    headline = f"cannot read the PyTorch model {label!r} as equations"
    if quick is not None:
        b, outputs, tensors = quick
        shapes = tuple(value.shape for value in outputs)
        framing = Framing(tensors, (True,), (True,), batches=True, shapes=shapes)
        labels: tuple[str, ...] = ("",)
    else:
        captured = capture(flat, headline)
        framing, labels = captured.framing, captured.labels

        def write(b: Builder, place: int, meta: torch.Tensor) -> Value:
            return b.input(
                tuple(int(s) for s in meta.shape),
                label=example.labels[place],
                dtype=numpy_dtype(meta.dtype),
                batched=framing.inputs[place],
            )

        b, outputs = lower_program(captured.exported, write, headline)
    if not outputs:
        msg = f"{headline}: it returns no tensor"
        raise UnsupportedError(msg)
    source = Source(
        framework="torch",
        label=label,
        details=(("torch", str(torch.__version__)),),
        notes=(*notes, *framing.notes),
    )
    # a decomposed operator may say () where the module itself says (1,)
    outputs = [b.reshape(v, shape) for v, shape in zip(outputs, framing.shapes, strict=True)]
    network = b.build(
        list(zip(outputs, labels, strict=True)), source=source, batched=framing.outputs
    )
    network = _with_dtypes(tidy(network), framing.tensors, flat)
    return Imported(network, flat_reference(flat, framing.tensors), framing.batches)


def _with_dtypes(network: Network, tensors: list[torch.Tensor], flat: Flat) -> Network:
    """Return the network with the ports' own element types, bfloat16 by its name."""
    half = [tensor.dtype == torch.bfloat16 for tensor in tensors]
    inputs = tuple(
        dataclasses.replace(port, dtype="bfloat16") if brain else port
        for port, brain in zip(network.inputs, half, strict=True)
    )
    weights = any(p.dtype == torch.bfloat16 for p in flat.parameters())
    outputs = network.outputs
    if any(half) or weights:
        outputs = tuple(
            dataclasses.replace(port, dtype="bfloat16") if port.dtype == "float32" else port
            for port in outputs
        )
    return dataclasses.replace(network, inputs=inputs, outputs=outputs)


def _named(ports: tuple[Any, ...], names: Sequence[str] | None, what: str) -> tuple[Any, ...]:
    if names is None:
        return ports
    labels = [str(name) for name in names]
    if len(labels) == sum(port.size for port in ports):
        found, start = [], 0
        for port in ports:
            part = tuple(labels[start : start + port.size])
            found.append(dataclasses.replace(port, entry_labels=part))
            start += port.size
        return tuple(found)
    if len(labels) == len(ports):
        pairs = zip(ports, labels, strict=True)
        return tuple(dataclasses.replace(port, label=label) for port, label in pairs)
    total = sum(port.size for port in ports)
    msg = (
        f"{len(labels)} {what} names were given; the model has {total} {what} entries in "
        f"{len(ports)} tensors, and takes one name for each entry or for each tensor"
    )
    raise NneqError(msg)
