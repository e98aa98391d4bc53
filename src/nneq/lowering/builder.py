"""Writes a network: NumPy-like operations on values that are either constants or live tensors.

Every adapter speaks to this class and to nothing below it.  An operation on constants only is
computed at once (float64 for inexact results, integers as they are); an operation with one live
operand becomes part of an affine node wherever it is linear; only what is left makes other nodes.
Shapes are those of one sample (see ``nneq.ir.network``).
"""

from __future__ import annotations

import math
import string
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from nneq.activations import RULES
from nneq.errors import UnsupportedError
from nneq.ir import linear_map as lm
from nneq.ir import network as ir

__all__ = ["Builder", "Value"]

Array = np.ndarray[Any, Any]
Shape = tuple[int, ...]
Relation = Literal[">", ">=", "==", "<", "<="]

_TAKE_LIMIT = 1 << 28


@dataclass(frozen=True, eq=False)
class Value:
    """A tensor while the network is written: ``array`` if constant, else ``node``.

    Args:
        shape: shape of one sample.
        dtype: the model's element type (integers and booleans matter to some operators).
        node: place of the live node, or None.
        array: the constant, or None.
    """

    shape: Shape
    dtype: np.dtype[Any]
    node: int | None = None
    array: Array | None = None

    @property
    def is_constant(self) -> bool:
        """Whether the value does not depend on the inputs."""
        return self.array is not None

    @property
    def size(self) -> int:
        """The number of entries of one sample."""
        return math.prod(self.shape)


class Builder:
    """Writes nodes one after the other; ``origin`` labels what is being written."""

    def __init__(self) -> None:
        """Start an empty program."""
        self.nodes: list[ir.Node] = []
        self.ports: list[ir.Port] = []
        self.origin = ""

    # ------------------------------------------------------------------ values
    def input(
        self,
        shape: Shape,
        *,
        name: str = "",
        label: str = "",
        dtype: Any = "float32",
        batched: bool = True,
        entry_labels: tuple[str, ...] = (),
        levels: int | None = None,
    ) -> Value:
        """Write an input port; ``name`` defaults to ``input_1``, ``input_2``, ..."""
        place = self._write(ir.Input(tuple(shape), label or self.origin))
        kind = np.dtype(dtype)
        self.ports.append(
            ir.Port(
                name=name or f"input_{len(self.ports) + 1}",
                node=place,
                shape=tuple(shape),
                batched=batched,
                dtype=kind.name,
                label=label,
                entry_labels=entry_labels,
                levels=levels,
            )
        )
        return Value(tuple(shape), kind, node=place)

    def constant(self, array: Any) -> Value:
        """Return a constant value (no node is written until it is needed live)."""
        found = np.asarray(array)
        return Value(found.shape, found.dtype, array=found)

    def live(self, value: Value) -> int:
        """Return the node of a value, writing a constant node if there is none."""
        if value.node is not None:
            return value.node
        return self._write(ir.Constant(self.array(value).astype(np.float64), self.origin))

    def array(self, value: Value) -> Array:
        """Return the constant's array.

        Raises:
            UnsupportedError: when the value depends on the inputs.
        """
        if value.array is None:
            msg = "an operand that must be constant depends on the inputs"
            raise UnsupportedError(msg)
        return value.array

    def _write(self, node: ir.Node) -> int:
        self.nodes.append(node)
        return len(self.nodes) - 1

    def _result(self, node: ir.Node, dtype: Any = np.float64) -> Value:
        return Value(node.shape, np.dtype(dtype), node=self._write(node))

    def cast(self, x: Value, dtype: Any) -> Value:
        """Return ``x`` read as another element type: float to integer truncates, to bool tests."""
        kind = np.dtype(dtype)
        if x.array is not None:
            with np.errstate(all="ignore"):
                return self.constant(x.array.astype(kind))
        if kind.kind in "iu" and x.dtype.kind == "f":
            x = self.elementwise("trunc", x)
        elif kind.kind == "b" and x.dtype.kind != "b":
            x = self.logical_not(self.compare(x, "==", self.constant(0.0)))
        return Value(x.shape, kind, node=x.node)

    # ------------------------------------------------------------------ linear
    def linear(self, x: Value, linear_map: lm.LinearMap, bias: Array | None = None) -> Value:
        """Return ``linear_map(x) + bias``."""
        if x.array is not None:
            moved = linear_map.fan_in == 0 and bias is None
            source = x.array if moved else x.array.astype(np.float64)
            out = linear_map.apply(source[None])[0]
            return self.constant(out if bias is None else out + bias)
        if bias is None and isinstance(linear_map, lm.Identity):
            return x
        dtype = x.dtype if bias is None else np.result_type(x.dtype, bias.dtype)
        term = ir.Term(self.live(x), linear_map)
        return self._result(ir.Affine(linear_map.out_shape, (term,), bias, self.origin), dtype)

    def add(self, *values: Value) -> Value:
        """Return the broadcast sum; constants go to the bias."""
        shape = np.broadcast_shapes(*(value.shape for value in values))
        dtype = np.result_type(*(value.dtype for value in values))
        bias: Array | None = None
        terms = []
        for value in values:
            if value.array is not None:
                bias = value.array if bias is None else bias + value.array
            else:
                terms.append(ir.Term(self.live(value), self._broadcast_map(value.shape, shape)))
        if not terms:
            return self.constant(np.broadcast_to(np.asarray(bias), shape).astype(dtype, copy=False))
        if bias is None and len(terms) == 1 and isinstance(terms[0].map, lm.Identity):
            return values[0]
        return self._result(ir.Affine(shape, tuple(terms), bias, self.origin), dtype)

    def subtract(self, a: Value, b: Value) -> Value:
        """Return ``a - b`` with broadcasting."""
        return self.add(a, self.negative(b))

    def negative(self, x: Value) -> Value:
        """Return ``-x``."""
        if x.array is not None:
            unsigned = x.dtype.kind == "b" or (x.dtype.kind == "u" and x.dtype.itemsize < 8)
            wide = np.int64 if unsigned else np.float64 if x.dtype.kind == "u" else x.dtype
            return self.constant(-x.array.astype(wide, copy=False))
        return self.scale(x, np.array(-1.0))

    def scale(self, x: Value, factor: Array) -> Value:
        """Return ``factor * x``; both broadcast."""
        shape = np.broadcast_shapes(x.shape, factor.shape)
        if x.array is not None:
            return self.constant(x.array * factor)
        steps = lm.chain(self._broadcast_map(x.shape, shape), lm.Scale(factor, shape))
        return self.linear(x, steps)

    def multiply(self, a: Value, b: Value) -> Value:
        """Return ``a * b`` with broadcasting."""
        if a.array is not None and b.array is not None:
            return self.constant(a.array * b.array)
        if b.array is not None:
            return self.scale(a, b.array)
        if a.array is not None:
            return self.scale(b, a.array)
        if a.node == b.node and a.shape == b.shape:
            return self.elementwise("square", a)
        shape = np.broadcast_shapes(a.shape, b.shape)
        letters = string.ascii_letters[: len(shape)]
        left, right = self.broadcast_to(a, shape), self.broadcast_to(b, shape)
        return self.product(f"{letters},{letters}->{letters}", left, right)

    def divide(self, a: Value, b: Value) -> Value:
        """Return ``a / b`` with broadcasting (true division)."""
        if b.array is not None:
            with np.errstate(all="ignore"):
                if a.array is not None:
                    return self.constant(a.array / b.array)
                return self.scale(a, 1.0 / b.array.astype(np.float64))
        return self.multiply(a, self.elementwise("reciprocal", b))

    def product(self, subscripts: str, left: Value, right: Value) -> Value:
        """Return a live ``einsum`` of two live values of the exact shapes."""
        ins, out = subscripts.split("->")
        first, second = ins.split(",")
        sizes = dict(zip(first, left.shape, strict=True))
        sizes.update(zip(second, right.shape, strict=True))
        shape = tuple(sizes[letter] for letter in out)
        node = ir.Product(shape, self.live(left), self.live(right), subscripts, self.origin)
        return self._result(node, np.result_type(left.dtype, right.dtype))

    def einsum(self, subscripts: str, a: Value, b: Value) -> Value:
        """Return ``einsum(subscripts, a, b)``; letters only, no repeats inside one operand."""
        ins, out = subscripts.split("->")
        first, second = ins.split(",")
        if a.array is not None and b.array is not None:
            wide = np.result_type(a.dtype, b.dtype, np.float64)
            return self.constant(np.einsum(subscripts, a.array.astype(wide), b.array))
        a, first = self._sum_private(a, first, second + out)
        b, second = self._sum_private(b, second, first + out)
        if a.array is None and b.array is None:
            return self.product(f"{first},{second}->{out}", a, b)
        if a.array is None:
            a, b, first, second = b, a, second, first
        contract = lm.Contract(self.array(a), f"{first},{second}->{out}", b.shape)
        return self.linear(b, contract)

    def _sum_private(self, x: Value, letters: str, others: str) -> tuple[Value, str]:
        """Sum the axes that stand in no other operand and not in the result."""
        axes = tuple(k for k, letter in enumerate(letters) if letter not in others)
        if not axes:
            return x, letters
        return self.sum(x, axes), "".join(le for le in letters if le in others)

    def matmul(self, a: Value, b: Value) -> Value:
        """Return ``numpy.matmul(a, b)``, batched and broadcast, vectors included."""
        if len(a.shape) == 1:
            row = self.matmul(self.reshape(a, (1, *a.shape)), b)
            gone = -1 if len(b.shape) == 1 else -2
            kept = [s for k, s in enumerate(row.shape, -len(row.shape)) if k != gone]
            return self.reshape(row, kept)
        if len(b.shape) == 1:
            column = self.matmul(a, self.reshape(b, (*b.shape, 1)))
            return self.reshape(column, column.shape[:-1])
        if b.array is not None and a.array is None and b.array.ndim == 2:
            return self.linear(a, lm.Dense(b.array.T, a.shape[:-1]))
        lead = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
        letters = string.ascii_lowercase[: len(lead)]
        left, names_a = self._drop_ones(a, lead, letters)
        right, names_b = self._drop_ones(b, lead, letters)
        return self.einsum(f"{names_a}xy,{names_b}yz->{letters}xz", left, right)

    def _drop_ones(self, x: Value, lead: Shape, letters: str) -> tuple[Value, str]:
        """Drop the leading axes of extent 1 that broadcasting would repeat."""
        own = x.shape[:-2]
        offset = len(lead) - len(own)
        kept = [k for k, s in enumerate(own) if s == lead[k + offset]]
        shape = tuple(own[k] for k in kept) + x.shape[-2:]
        return self.reshape(x, shape), "".join(letters[k + offset] for k in kept)

    # ------------------------------------------------------------------ moving entries
    def reshape(self, x: Value, shape: Sequence[int]) -> Value:
        """Return ``x`` under another shape (no -1 left)."""
        target = tuple(int(size) for size in shape)
        if target == x.shape:
            return x
        return self.linear(x, lm.Reshape(x.shape, target))

    def permute(self, x: Value, axes: Sequence[int]) -> Value:
        """Return ``x`` with its axes in another order."""
        order = tuple(int(axis) % len(x.shape) for axis in axes)
        if order == tuple(range(len(order))):
            return x
        return self.linear(x, lm.Permute(x.shape, order))

    def slice(
        self,
        x: Value,
        starts: Sequence[int],
        sizes: Sequence[int],
        steps: Sequence[int] | None = None,
    ) -> Value:
        """Return ``sizes`` entries per axis from ``starts`` on, ``steps`` apart (all axes)."""
        strides = tuple(steps) if steps is not None else (1,) * len(x.shape)
        if tuple(sizes) == x.shape and all(step == 1 for step in strides):
            return x
        return self.linear(x, lm.Slice(x.shape, tuple(starts), strides, tuple(sizes)))

    def slice_axis(self, x: Value, axis: int, start: int, size: int, step: int = 1) -> Value:
        """Return a slice of one axis."""
        axis %= len(x.shape)
        starts = [0] * len(x.shape)
        starts[axis] = start
        sizes = list(x.shape)
        sizes[axis] = size
        steps = [1] * len(x.shape)
        steps[axis] = step
        return self.slice(x, starts, sizes, steps)

    def broadcast_to(self, x: Value, shape: Sequence[int]) -> Value:
        """Return ``x`` broadcast as NumPy does (the constant keeps a view)."""
        target = tuple(shape)
        if target == x.shape:
            return x
        if x.array is not None:
            return self.constant(np.broadcast_to(x.array, target))
        return self.linear(x, self._broadcast_map(x.shape, target))

    @staticmethod
    def _broadcast_map(small: Shape, large: Shape) -> lm.LinearMap:
        return lm.Identity(small) if small == large else lm.Broadcast(small, large)

    def concat(self, values: Sequence[Value], axis: int) -> Value:
        """Return the values one after the other along ``axis``."""
        dtype = np.result_type(*(value.dtype for value in values))
        if all(value.array is not None for value in values):
            return self.constant(np.concatenate([self.array(v) for v in values], axis=axis))
        axis %= len(values[0].shape)
        total = sum(value.shape[axis] for value in values)
        shape = tuple(total if k == axis else s for k, s in enumerate(values[0].shape))
        bias: Array | None = None
        terms = []
        start = 0
        for value in values:
            starts = tuple(start if k == axis else 0 for k in range(len(shape)))
            cut = lm.Slice(shape, starts, (1,) * len(shape), value.shape)
            if value.size and value.array is not None:
                bias = np.zeros(shape, dtype=dtype) if bias is None else bias
                bias[cut.cut] = value.array
            elif value.size:
                terms.append(ir.Term(self.live(value), lm.chain(lm.Place(cut))))
            start += value.shape[axis]
        if len(terms) == 1 and bias is None and values[0].shape == shape:
            return values[0]
        return self._result(ir.Affine(shape, tuple(terms), bias, self.origin), dtype)

    def stack(self, values: Sequence[Value], axis: int) -> Value:
        """Return the values stacked along a new axis."""
        rank = len(values[0].shape) + 1
        axis %= rank
        shape = (*values[0].shape[:axis], 1, *values[0].shape[axis:])
        return self.concat([self.reshape(value, shape) for value in values], axis)

    def pad(self, x: Value, pads: Sequence[tuple[int, int]], fill: float = 0.0) -> Value:
        """Return ``x`` with ``(before, after)`` entries of ``fill`` per axis; negative crops."""
        starts = [max(0, -before) for before, _ in pads]
        sizes = [
            size - max(0, -before) - max(0, -after)
            for size, (before, after) in zip(x.shape, pads, strict=True)
        ]
        x = self.slice(x, starts, sizes)
        grown = [(max(0, before), max(0, after)) for before, after in pads]
        if not any(before or after for before, after in grown):
            return x
        if x.array is not None:
            return self.constant(np.pad(x.array, grown, constant_values=fill))
        shape = tuple(s + b + a for s, (b, a) in zip(x.shape, grown, strict=True))
        cut = lm.Slice(shape, tuple(b for b, _ in grown), (1,) * len(shape), x.shape)
        bias: Array | None = None
        if fill != 0:
            bias = np.full(shape, fill)
            bias[cut.cut] = 0.0
        return self.linear(x, lm.Place(cut), bias)

    def take(self, x: Value, index: Array) -> Value:
        """Return ``x.flat[index]``; a negative entry of ``index`` gives 0."""
        if index.size > _TAKE_LIMIT:
            msg = f"a gather of {index.size} entries is above the limit of {_TAKE_LIMIT}"
            raise UnsupportedError(msg)
        return self.linear(x, lm.Take(x.shape, np.ascontiguousarray(index)))

    def gather(self, x: Value, indices: Array, axis: int) -> Value:
        """Return ``numpy.take(x, indices, axis)`` for constant indices (negative count back)."""
        axis %= len(x.shape)
        wrapped = np.where(indices < 0, indices + x.shape[axis], indices)
        if x.array is not None:
            return self.constant(np.take(x.array, wrapped, axis=axis))
        steps = np.diff(wrapped.reshape(-1))
        if wrapped.size and (wrapped.size == 1 or ((steps == steps[0]).all() and steps[0] != 0)):
            step = int(steps[0]) if wrapped.size > 1 else 1
            cut = self.slice_axis(x, axis, int(wrapped.flat[0]), wrapped.size, step)
            return self.reshape(cut, (*x.shape[:axis], *wrapped.shape, *x.shape[axis + 1 :]))
        places = np.arange(x.size, dtype=np.int64).reshape(x.shape)
        return self.take(x, np.take(places, wrapped, axis=axis))

    # ------------------------------------------------------------------ reductions
    def _axes(self, x: Value, axes: Sequence[int] | None) -> tuple[int, ...]:
        rank = len(x.shape)
        return tuple(sorted({a % rank for a in axes})) if axes is not None else tuple(range(rank))

    def _kept(self, x: Value, axes: tuple[int, ...]) -> Shape:
        return tuple(1 if k in axes else s for k, s in enumerate(x.shape))

    def sum(self, x: Value, axes: Sequence[int] | None = None, *, keepdims: bool = False) -> Value:
        """Return the sum over ``axes`` (all when None)."""
        over = self._axes(x, axes)
        if x.array is not None:
            return self.constant(x.array.sum(axis=over, keepdims=keepdims))
        out = self.linear(x, lm.Sum(x.shape, over)) if over else x
        return self.reshape(out, self._kept(x, over)) if keepdims else out

    def mean(self, x: Value, axes: Sequence[int] | None = None, *, keepdims: bool = False) -> Value:
        """Return the mean over ``axes`` (all when None)."""
        over = self._axes(x, axes)
        count = math.prod(x.shape[k] for k in over)
        total = self.sum(x, over, keepdims=keepdims)
        return self.divide(total, self.constant(np.float64(count)))

    def max(self, x: Value, axes: Sequence[int] | None = None, *, keepdims: bool = False) -> Value:
        """Return the largest entry over ``axes`` (all when None)."""
        over = self._axes(x, axes)
        if x.array is not None:
            return self.constant(x.array.max(axis=over, keepdims=keepdims))
        shape = tuple(s for k, s in enumerate(x.shape) if k not in over)
        if math.prod(x.shape[k] for k in over) == 1:
            out = self.reshape(x, shape)
        else:
            out = self._result(ir.Maximum(shape, self.live(x), over, self.origin), x.dtype)
        return self.reshape(out, self._kept(x, over)) if keepdims else out

    def min(self, x: Value, axes: Sequence[int] | None = None, *, keepdims: bool = False) -> Value:
        """Return the smallest entry over ``axes`` (all when None)."""
        return self.negative(self.max(self.negative(x), axes, keepdims=keepdims))

    def maximum(self, *values: Value) -> Value:
        """Return the entrywise maximum with broadcasting."""
        shape = np.broadcast_shapes(*(value.shape for value in values))
        if all(value.array is not None for value in values):
            arrays = [self.array(value) for value in values]
            out = arrays[0]
            for array in arrays[1:]:
                out = np.maximum(out, array)
            return self.constant(np.broadcast_to(out, shape))
        if len(values) == 2:
            for x, c in (values, values[::-1]):
                if c.array is not None and x.array is None and not np.any(c.array):
                    return self.elementwise("relu", self.broadcast_to(x, shape))
        return self.max(self.stack([self.broadcast_to(v, shape) for v in values], -1), (-1,))

    def minimum(self, *values: Value) -> Value:
        """Return the entrywise minimum with broadcasting."""
        return self.negative(self.maximum(*(self.negative(value) for value in values)))

    # ------------------------------------------------------------------ conditions
    def compare(self, a: Value, relation: Relation, b: Value) -> Value:
        """Return 1 where ``a <relation> b``, else 0, as a boolean value."""
        if a.array is not None and b.array is not None:
            operation: dict[str, Callable[[Any, Any], Any]] = {
                ">": np.greater,
                ">=": np.greater_equal,
                "==": np.equal,
                "<": np.less,
                "<=": np.less_equal,
            }
            return self.constant(operation[relation](a.array, b.array))
        if relation in {"<", "<="}:
            return self.compare(b, ">" if relation == "<" else ">=", a)
        difference = self.subtract(_as_number(a), _as_number(b))
        ones = self.constant(np.ones(difference.shape))
        zeros = self.constant(np.zeros(difference.shape))
        return self.select(difference, relation, ones, zeros, dtype=bool)

    def select(
        self, test: Value, relation: Relation, yes: Value, no: Value, dtype: Any = None
    ) -> Value:
        """Return ``yes`` where ``test <relation> 0``, else ``no`` (``>``, ``>=`` or ``==``)."""
        if relation in {"<", "<="}:
            opposite: Relation = ">=" if relation == "<" else ">"
            return self.select(test, opposite, no, yes, dtype)
        shape = np.broadcast_shapes(test.shape, yes.shape, no.shape)
        kind = dtype if dtype is not None else np.result_type(yes.dtype, no.dtype)
        if test.array is not None:
            mask = self.array(self.compare(test, relation, self.constant(0)))
            if yes.array is not None and no.array is not None:
                return self.constant(np.where(mask, yes.array, no.array))
            chosen = self.broadcast_to(mask_constant(self, mask), shape)
            keep = self.array(chosen).astype(np.float64)
            return self.add(
                self._masked(self.broadcast_to(yes, shape), keep),
                self._masked(self.broadcast_to(no, shape), 1.0 - keep),
            )
        args = [self.live(self.broadcast_to(v, shape)) for v in (test, yes, no)]
        node = ir.Select(shape, args[0], relation, args[1], args[2], self.origin)  # type: ignore[arg-type]  # narrowed above
        return self._result(node, kind)

    def _masked(self, x: Value, keep: Array) -> Value:
        if x.array is not None:
            return self.constant(np.where(keep != 0, x.array, 0))
        return self.scale(x, keep)

    def where(self, condition: Value, yes: Value, no: Value) -> Value:
        """Return ``yes`` where the boolean ``condition`` holds, else ``no``."""
        if condition.array is not None:
            mask = self.constant(condition.array.astype(np.float64))
            return self.select(mask, ">", yes, no)
        node = self.nodes[self.live(condition)]
        if isinstance(node, ir.Select) and self._is_indicator(node):
            test = Value(node.shape, np.dtype(np.float64), node=node.test)
            return self.select(test, node.relation, yes, no)
        shifted = self.subtract(_as_number(condition), self.constant(0.5))
        return self.select(shifted, ">", yes, no)

    def _is_indicator(self, node: ir.Select) -> bool:
        yes, no = self.nodes[node.yes], self.nodes[node.no]
        return (
            isinstance(yes, ir.Constant)
            and isinstance(no, ir.Constant)
            and bool((yes.value == 1).all())
            and not no.value.any()
        )

    def logical_not(self, a: Value) -> Value:
        """Return ``not a``."""
        if a.array is not None:
            return self.constant(~a.array.astype(bool))
        out = self.subtract(self.constant(1.0), _as_number(a))
        return Value(out.shape, np.dtype(bool), node=out.node)

    def logical_and(self, a: Value, b: Value) -> Value:
        """Return ``a and b``: the product of 0/1 values."""
        if a.array is not None and b.array is not None:
            return self.constant(np.logical_and(a.array, b.array))
        out = self.multiply(_as_number(a), _as_number(b))
        return Value(out.shape, np.dtype(bool), node=out.node)

    def logical_or(self, a: Value, b: Value) -> Value:
        """Return ``a or b``."""
        return self.logical_not(self.logical_and(self.logical_not(a), self.logical_not(b)))

    def logical_xor(self, a: Value, b: Value) -> Value:
        """Return whether exactly one holds: ``|a - b|`` of 0/1 values."""
        if a.array is not None and b.array is not None:
            return self.constant(np.logical_xor(a.array, b.array))
        out = self.elementwise("abs", self.subtract(_as_number(a), _as_number(b)))
        return Value(out.shape, np.dtype(bool), node=out.node)

    # ------------------------------------------------------------------ nonlinear
    def elementwise(self, rule: str, x: Value, **params: Any) -> Value:
        """Return an activation of every entry; array parameters broadcast to ``x``."""
        if x.array is not None:
            merged = {**RULES[rule].defaults, **params}
            with np.errstate(all="ignore"):
                source = x.array.astype(np.float64)
                out = np.asarray(RULES[rule].numeric(source, merged))
            if x.dtype.kind in "iu" and rule in {"abs", "relu", "sign", "square", "clip"}:
                return self.constant(out.astype(x.dtype))
            return self.constant(out)
        node = ir.Elementwise(x.shape, self.live(x), rule, params, self.origin)
        return self._result(node, x.dtype if x.dtype.kind == "f" else np.float64)

    def softmax(self, x: Value, axis: int, *, log: bool = False) -> Value:
        """Return the softmax over one axis, or its logarithm."""
        axis %= len(x.shape)
        node = ir.Softmax(x.shape, self.live(x), axis, log, self.origin)
        if x.array is not None:
            shifted = x.array.astype(np.float64) - x.array.max(axis=axis, keepdims=True)
            shifted = shifted - np.log(np.exp(shifted).sum(axis=axis, keepdims=True))
            return self.constant(shifted if log else np.exp(shifted))
        return self._result(node, x.dtype)

    def logsumexp(self, x: Value, axes: Sequence[int], *, keepdims: bool = False) -> Value:
        """Return ``log sum exp`` over ``axes``: ``x - log_softmax(x)`` at the first entry."""
        over = self._axes(x, axes)
        rest = [k for k in range(len(x.shape)) if k not in over]
        count = math.prod(x.shape[k] for k in over)
        flat = self.reshape(self.permute(x, [*rest, *over]), (*(x.shape[k] for k in rest), count))
        gap = self.subtract(flat, self.softmax(flat, -1, log=True))
        first = self.slice_axis(gap, -1, 0, 1)
        return self.reshape(first, self._kept(x, over) if keepdims else first.shape[:-1])

    def power(self, base: Value, exponent: Value) -> Value:
        """Return ``base ** exponent``; two live operands need a positive base."""
        if base.array is not None and exponent.array is not None:
            with np.errstate(all="ignore"):
                return self.constant(np.power(base.array, exponent.array))
        shape = np.broadcast_shapes(base.shape, exponent.shape)
        if exponent.array is not None:
            values = np.unique(exponent.array)
            base = self.broadcast_to(base, shape)
            if values.size == 1:
                return self._constant_power(base, float(values[0]))
            return self.elementwise("power", base, exponent=exponent.array.astype(np.float64))
        logarithm = self.elementwise("log", base)
        return self.elementwise("exp", self.multiply(exponent, logarithm))

    def _constant_power(self, base: Value, exponent: float) -> Value:
        named = {2.0: "square", 0.5: "sqrt", -1.0: "reciprocal"}
        if exponent == 1.0:
            return base
        if exponent in named:
            return self.elementwise(named[exponent], base)
        return self.elementwise("power", base, exponent=exponent)

    # ------------------------------------------------------------------ convolution
    def conv(
        self,
        x: Value,
        weight: Array,
        *,
        strides: Sequence[int],
        dilations: Sequence[int],
        pads: Sequence[tuple[int, int]],
        groups: int = 1,
        bias: Array | None = None,
    ) -> Value:
        """Return the convolution of ``(N, C, *spatial)`` with a constant kernel."""
        crop = [(min(0, b), min(0, a)) for b, a in pads]
        x = self.pad(x, [(0, 0), (0, 0), *crop])
        grown = tuple((max(0, b), max(0, a)) for b, a in pads)
        linear = lm.Conv(weight, x.shape, tuple(strides), tuple(dilations), grown, groups)
        shaped = None if bias is None else bias.reshape(-1, *(1,) * (weight.ndim - 2))
        return self.linear(x, linear, shaped)

    # ------------------------------------------------------------------ the end
    def build(
        self,
        outputs: Sequence[tuple[Value, str]],
        *,
        source: ir.Source,
        names: Sequence[str] | None = None,
        batched: Sequence[bool] | None = None,
        entry_labels: Sequence[tuple[str, ...]] | None = None,
    ) -> ir.Network:
        """Return the checked network.

        Args:
            outputs: ``(value, label)`` in the model's order.
            source: where the model came from.
            names: our names of the outputs; ``output_1`` ... when None.
            batched: whether axis 0 of each output is the batch axis; when None: its extent is 1.
            entry_labels: labels of the entries of each output.
        """
        ports = []
        for k, (value, label) in enumerate(outputs):
            ports.append(
                ir.Port(
                    name=names[k] if names is not None else f"output_{k + 1}",
                    node=self.live(value),
                    shape=value.shape,
                    batched=batched[k] if batched is not None else value.shape[:1] == (1,),
                    dtype=value.dtype.name,
                    label=label,
                    entry_labels=entry_labels[k] if entry_labels is not None else (),
                )
            )
        network = ir.Network(tuple(self.nodes), tuple(self.ports), tuple(ports), source)
        return ir.verify(network)


def _as_number(x: Value) -> Value:
    if x.array is not None:
        return Value(x.shape, np.dtype(np.float64), array=x.array.astype(np.float64))
    return Value(x.shape, np.dtype(np.float64), node=x.node)


def mask_constant(builder: Builder, mask: Array) -> Value:
    """Return a boolean mask as a constant value."""
    return builder.constant(mask)
