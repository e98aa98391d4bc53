"""The table of operator lowerings and what a lowering is given."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from nneq.errors import UnsupportedError
from nneq.lowering.builder import Builder, Value

__all__ = [
    "LOWERINGS",
    "Call",
    "Constants",
    "Lowering",
    "lowers",
    "numpy_dtype",
    "torch_dtype",
    "unavailable",
]

Array = np.ndarray[Any, Any]

_TO_NUMPY = {
    torch.float64: np.float64,
    torch.float32: np.float32,
    torch.float16: np.float16,
    torch.bfloat16: np.float32,  # NumPy has no such type; every bfloat16 is a float32
    torch.int64: np.int64,
    torch.int32: np.int32,
    torch.int16: np.int16,
    torch.int8: np.int8,
    torch.uint8: np.uint8,
    torch.bool: np.bool_,
}
_TO_TORCH = {np.dtype(kind): dtype for dtype, kind in _TO_NUMPY.items() if dtype != torch.bfloat16}


def numpy_dtype(dtype: torch.dtype) -> np.dtype[Any]:
    """Return NumPy's element type of the same numbers (bfloat16 as float32, exactly).

    Raises:
        UnsupportedError: complex and quantised types.
    """
    found = _TO_NUMPY.get(dtype)
    if found is None:
        msg = f"element type {str(dtype).removeprefix('torch.')} is not supported"
        raise UnsupportedError(msg)
    return np.dtype(found)


def torch_dtype(dtype: Any) -> torch.dtype:
    """Return PyTorch's element type."""
    return _TO_TORCH[np.dtype(dtype)]


def unavailable(shape: tuple[int, ...]) -> Value:
    """Return a by-product nobody should use (indices, saved statistics): using it is an error."""
    return Value(shape, np.dtype(np.int64))


class Constants:
    """Weights as NumPy arrays in their stored precision, shared where the model shares them."""

    def __init__(self) -> None:
        """Start empty."""
        self._arrays: dict[Any, tuple[torch.Tensor, Array]] = {}

    def array(self, tensor: torch.Tensor) -> Array:
        """Return the tensor's numbers, without a copy where the element type allows it.

        The walk sees tensors of a private copy of the model only, so later training does not
        reach them.
        """
        kind = numpy_dtype(tensor.dtype)
        key = (tensor.data_ptr(), tuple(tensor.shape), tensor.stride(), tensor.dtype)
        if tensor.numel() and key in self._arrays:
            return self._arrays[key][1]
        plain = tensor.detach().to("cpu")
        if plain.dtype == torch.bfloat16:
            plain = plain.to(torch.float32)
        found: Array = plain.resolve_conj().resolve_neg().numpy().astype(kind, copy=False)
        found.flags.writeable = False
        self._arrays[key] = (tensor, found)
        return found


@dataclass(frozen=True, eq=False)
class Call:
    """One operator call, its arguments by the names of the operator's schema.

    Args:
        b: the builder.
        op: the operator without its overload, such as ``aten.add``.
        arguments: by name; live tensors are ``Value``, constant ones ``torch.Tensor``.
        shapes: the shapes of the results.
        dtype: element type of the first result.
        constants: the copies of the weights.
        overload: PyTorch's own operator.
        torch_dtype: PyTorch's element type of the first result.
    """

    b: Builder
    op: str
    arguments: dict[str, Any]
    shapes: tuple[tuple[int, ...], ...]
    dtype: np.dtype[Any]
    constants: Constants
    overload: Any
    torch_dtype: torch.dtype = torch.float32

    def __getitem__(self, name: str) -> Any:
        return self.arguments[name]

    def get(self, name: str, default: Any = None) -> Any:
        """Return an argument, ``default`` where the schema has none or it is None."""
        found = self.arguments.get(name)
        return default if found is None else found

    def value(self, name: str) -> Value:
        """Return a tensor or a number as a builder value."""
        return self.lift(self.arguments[name])

    def optional(self, name: str) -> Value | None:
        """Return a tensor as a builder value, None where there is none."""
        found = self.arguments.get(name)
        return None if found is None else self.lift(found)

    def lift(self, found: Any) -> Value:
        """Return a live value, a constant tensor or a number as a builder value."""
        if isinstance(found, Value):
            return found
        if isinstance(found, torch.Tensor):
            return self.b.constant(self.constants.array(found))
        if isinstance(found, bool | int | float):
            return self.b.constant(np.asarray(found))
        msg = f"an argument of type {type(found).__name__} is not a tensor"
        raise UnsupportedError(msg)

    def array(self, name: str) -> Array:
        """Return a constant tensor's array.

        Raises:
            UnsupportedError: when it depends on the inputs.
        """
        found = self.arguments[name]
        if isinstance(found, Value) and found.array is None:
            msg = f"its argument {name!r} depends on the inputs; only a constant is supported there"
            raise UnsupportedError(msg)
        return self.b.array(self.lift(found))

    def optional_array(self, name: str) -> Array | None:
        """Return a constant tensor's array or None."""
        return None if self.arguments.get(name) is None else self.array(name)

    def ints(self, name: str, count: int | None = None) -> tuple[int, ...]:
        """Return a list of integers, a single one repeated ``count`` times."""
        found = self.arguments.get(name)
        if found is None:
            return ()
        whole = (found,) if isinstance(found, int) else tuple(int(v) for v in found)
        return whole * count if count is not None and len(whole) == 1 else whole

    def axes(self, name: str, rank: int) -> tuple[int, ...]:
        """Return reduction axes, all of them when none is given."""
        found = self.ints(name)
        return tuple(sorted({a % rank for a in found})) if found and rank else tuple(range(rank))

    def values(self, name: str) -> list[Value]:
        """Return a list of tensors as builder values."""
        return [self.lift(v) for v in self.arguments[name]]

    def number(self, x: Value) -> Value:
        """Return a boolean or integer value as floating-point numbers (the entries are equal)."""
        if x.array is not None:
            return x if x.dtype.kind == "f" else self.b.constant(x.array.astype(np.float64))
        return Value(x.shape, np.dtype(np.float64), node=x.node) if x.dtype.kind != "f" else x

    def refuse(self, reason: str) -> UnsupportedError:
        """Return the error that refuses this call."""
        return UnsupportedError(reason)


Result = Value | Sequence[Value]
Lowering = Callable[[Call], Result]

LOWERINGS: dict[str, Lowering] = {}


def lowers(*ops: str) -> Callable[[Lowering], Lowering]:
    """Return a decorator that enters a lowering for operators such as ``"add"``.

    Names are those of the ``aten`` namespace without the overload; arguments come by the names of
    the overload's schema.
    """

    def enter(lowering: Lowering) -> Lowering:
        for op in ops:
            if op in LOWERINGS:
                msg = f"operator {op!r} is declared twice"
                raise ValueError(msg)
            LOWERINGS[op] = lowering
        return lowering

    return enter
