"""Reductions, running sums, ordering and one-hot operations of ``keras.ops``."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from nneq.adapters.keras.registry import operation
from nneq.errors import UnsupportedError
from nneq.lowering import Value
from nneq.lowering import normalization as norm
from nneq.lowering.levels import note_levels
from nneq.lowering.ordering import argmax, argmin, cumulative_sum, one_hot, top_k

if TYPE_CHECKING:
    from nneq.adapters.keras.walk import Walk

__all__: list[str] = []


def _axes(axis: Any) -> tuple[int, ...] | None:
    if axis is None:
        return None
    return (int(axis),) if isinstance(axis, int) else tuple(int(a) for a in axis)


@operation("Sum", "Mean", "Nansum", "Nanmean")
def _sum(walk: Walk, op: Any, x: Any) -> Value:
    b, value = walk.b, walk.value(x)
    write = b.mean if type(op).__name__.lower().endswith("mean") else b.sum
    if value.dtype.kind == "b":
        value = b.cast(value, np.int32)
    return write(value, _axes(op.axis), keepdims=op.keepdims)


@operation("Max", "Amax", "Min", "Amin", "Nanmax", "Nanmin")
def _extreme(walk: Walk, op: Any, x: Any) -> Value:
    b, value = walk.b, walk.value(x)
    most = type(op).__name__.lower().endswith("max")
    out = (b.max if most else b.min)(value, _axes(op.axis), keepdims=op.keepdims)
    initial = getattr(op, "initial", None)
    if initial is None:
        return out
    return (b.maximum if most else b.minimum)(out, walk.value(initial))


@operation("Ptp")
def _range(walk: Walk, op: Any, x: Any) -> Value:
    b, value, axes = walk.b, walk.value(x), _axes(op.axis)
    high = b.max(value, axes, keepdims=op.keepdims)
    return b.subtract(high, b.min(value, axes, keepdims=op.keepdims))


@operation("All", "Any")
def _quantifier(walk: Walk, op: Any, x: Any) -> Value:
    b = walk.b
    truth = b.cast(b.cast(walk.value(x), bool), np.float64)
    reduce = b.min if type(op).__name__ == "All" else b.max
    return b.cast(reduce(truth, _axes(op.axis), keepdims=op.keepdims), bool)


@operation("CountNonzero")
def _count(walk: Walk, op: Any, x: Any) -> Value:
    b = walk.b
    return b.sum(b.cast(b.cast(walk.value(x), bool), np.int32), _axes(op.axis))


@operation("Var", "Std", "Nanvar", "Nanstd")
def _variance(walk: Walk, op: Any, x: Any) -> Value:
    out = norm.variance(walk.b, walk.value(x), _axes(op.axis), keepdims=op.keepdims)
    if type(op).__name__.lower().endswith("var"):
        return out
    return walk.b.elementwise("sqrt", out)


@operation("Average")
def _average(walk: Walk, op: Any, x: Any, weights: Any = None) -> Value:
    b, value = walk.b, walk.value(x)
    if weights is None:
        return b.mean(value, _axes(op.axis))
    share = walk.value(weights)
    if op.axis is not None and len(share.shape) == 1 and len(value.shape) > 1:
        shape = [1] * len(value.shape)
        shape[op.axis] = share.size
        share = b.reshape(share, shape)
    share = b.broadcast_to(share, value.shape)
    total = b.sum(b.multiply(value, share), _axes(op.axis))
    return b.divide(total, b.sum(share, _axes(op.axis)))


@operation("Prod", "Nanprod")
def _product(walk: Walk, op: Any, x: Any) -> Value:
    b, value = walk.b, walk.value(x)
    axes = range(len(value.shape)) if op.axis is None else _axes(op.axis) or ()
    over = sorted({a % len(value.shape) for a in axes})
    for axis in over:
        parts = [b.slice_axis(value, axis, k, 1) for k in range(value.shape[axis])]
        while len(parts) > 1:
            pairs = [b.multiply(*parts[k : k + 2]) for k in range(0, len(parts) - 1, 2)]
            parts = [*pairs, *parts[len(pairs) * 2 :]]
        value = parts[0]
    if op.keepdims:
        return value
    return b.reshape(value, [s for k, s in enumerate(value.shape) if k not in over])


@operation("Cumsum", "Nancumsum")
def _cumsum(walk: Walk, op: Any, x: Any) -> Value:
    value = walk.value(x)
    if op.axis is None:
        value = walk.b.reshape(value, (value.size,))
    return cumulative_sum(walk.b, value, 0 if op.axis is None else op.axis)


@operation("Cumprod", "Nancumprod")
def _cumprod(walk: Walk, op: Any, x: Any) -> Value:
    b, value = walk.b, walk.value(x)
    if op.axis is None:
        value = b.reshape(value, (value.size,))
    axis = 0 if op.axis is None else op.axis
    parts = [b.slice_axis(value, axis, 0, 1)]
    for k in range(1, value.shape[axis]):
        parts.append(b.multiply(parts[-1], b.slice_axis(value, axis, k, 1)))
    return b.concat(parts, axis)


@operation("Diff")
def _diff(walk: Walk, op: Any, a: Any) -> Value:
    b, value = walk.b, walk.value(a)
    for _ in range(op.n):
        size = value.shape[op.axis] - 1
        ahead = b.slice_axis(value, op.axis, 1, size)
        value = b.subtract(ahead, b.slice_axis(value, op.axis, 0, size))
    return value


@operation("Logsumexp")
def _logsumexp(walk: Walk, op: Any, x: Any) -> Value:
    value = walk.value(x)
    axes = _axes(op.axis)
    over = tuple(range(len(value.shape))) if axes is None else axes
    return walk.b.logsumexp(value, over, keepdims=op.keepdims)


@operation("Norm")
def _norm(walk: Walk, op: Any, x: Any) -> Value:
    value = walk.value(x)
    axes = _axes(op.axis)
    over = range(len(value.shape)) if axes is None else axes
    order = op.ord
    if order in {None, "euclidean", "fro"} or (order == 2 and len(over) == 1):
        power: float = 2.0
    elif isinstance(order, int | float) and len(over) == 1:
        power = float(order)
    else:
        msg = f"the matrix norm of order {order!r} is not supported"
        raise UnsupportedError(msg)
    return norm.lp_norm(walk.b, value, power, axes, keepdims=op.keepdims)


@operation("Argmax", "Argmin")
def _arg(walk: Walk, op: Any, x: Any) -> Value:
    b, value = walk.b, walk.value(x)
    pick = argmax if type(op).__name__ == "Argmax" else argmin
    if op.axis is not None:
        return pick(b, value, op.axis, keepdims=op.keepdims)
    out = pick(b, b.reshape(value, (value.size,)), 0)
    return b.reshape(out, (1,) * len(value.shape)) if op.keepdims else out


@operation("Sort", "Argsort")
def _sort(walk: Walk, op: Any, x: Any) -> Value:
    b, value = walk.b, walk.value(x)
    if op.axis is None:
        value = b.reshape(value, (value.size,))
    axis = -1 if op.axis is None else op.axis
    values, places = top_k(b, value, value.shape[axis], axis, largest=False)
    return values if type(op).__name__ == "Sort" else places


@operation("TopK")
def _top_k(walk: Walk, op: Any, x: Any) -> tuple[Value, Value]:
    return top_k(walk.b, walk.value(x), op.k, -1)


@operation("Median")
def _median(walk: Walk, op: Any, x: Any) -> Value:
    return _quantiles(walk, walk.value(x), op, np.float64(0.5), "linear")


@operation("Quantile", "Percentile")
def _quantile(walk: Walk, op: Any, x: Any, q: Any) -> Value:
    levels = walk.array(q) / (100.0 if type(op).__name__ == "Percentile" else 1.0)
    return _quantiles(walk, walk.value(x), op, levels, op.method)


def _quantiles(walk: Walk, value: Value, op: Any, levels: Any, method: str) -> Value:
    if method != "linear":
        msg = f"quantiles by the method {method!r} are not supported; use 'linear'"
        raise UnsupportedError(msg)
    b, rank = walk.b, len(value.shape)
    over = sorted(a % rank for a in (_axes(op.axis) or range(rank)))
    rest = [k for k in range(rank) if k not in over]
    count = math.prod(value.shape[k] for k in over)
    lead = [value.shape[k] for k in rest]
    flat = b.reshape(b.permute(value, [*rest, *over]), (*lead, count))
    ordered, _ = top_k(b, flat, count, -1, largest=False)
    places = np.asarray(levels, dtype=np.float64).reshape(-1) * (count - 1)
    low = np.floor(places).astype(int)
    weight = np.zeros((count, places.size))
    for k, (place, start) in enumerate(zip(places, low, strict=True)):
        weight[start, k] += 1 - (place - start)
        weight[min(start + 1, count - 1), k] += place - start
    out = b.matmul(ordered, b.constant(weight))
    kept = [1 if k in over else s for k, s in enumerate(value.shape)] if op.keepdims else lead
    if np.ndim(levels) == 0:
        return b.reshape(out, kept)
    moved = b.permute(out, (len(lead), *range(len(lead))))
    return b.reshape(moved, (places.size, *kept))


@operation("OneHot")
def _one_hot(walk: Walk, op: Any, x: Any) -> Value:
    value = walk.value(x)
    note_levels(walk.b, value, op.num_classes)
    if value.array is not None:
        axis = op.axis if op.axis >= 0 else op.axis + len(value.shape) + 1
        eye = (value.array[..., None] == np.arange(op.num_classes)).astype(np.float32)
        return walk.b.constant(np.moveaxis(eye, -1, axis))
    return one_hot(walk.b, value, op.num_classes, axis=op.axis)


@operation("MultiHot")
def _multi_hot(walk: Walk, op: Any, inputs: Any) -> Value:
    b, value = walk.b, walk.value(inputs)
    note_levels(walk.b, value, op.num_classes)
    reduce = 1 if len(value.shape) > 1 else 0
    hot = one_hot(b, value, op.num_classes, axis=-1)
    return b.max(hot, (reduce,))


@operation("SearchSorted", "Digitize")
def _search(walk: Walk, op: Any, x: Any, bins: Any) -> Value:
    b = walk.b
    right = True
    if type(op).__name__ == "SearchSorted":
        x, bins, right = bins, x, op.side == "right"
    edges = walk.array(bins).astype(np.float64)
    value = walk.value(x)
    if value.array is not None:
        side = "right" if right else "left"  # NumPy's stubs want it as a literal
        return b.constant(np.searchsorted(edges, value.array, side))  # type: ignore[call-overload]
    wide = b.broadcast_to(b.reshape(value, (*value.shape, 1)), (*value.shape, edges.size))
    above = b.compare(wide, ">=" if right else ">", b.constant(edges))
    return b.sum(b.cast(above, np.int32), (-1,))
