"""Operators that order entries along an axis: argmax, top-k, hardmax, one-hot, look-up, sums.

All of them are written with comparisons, so they are piecewise constant (indices) or piecewise
linear (values) in their input, and exact: an index is a whole number in every arithmetic.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from nneq.errors import UnsupportedError
from nneq.lowering.builder import Builder, Value

__all__ = [
    "argmax",
    "argmin",
    "cumulative_sum",
    "hardmax",
    "lookup",
    "one_hot",
    "top_k",
]

Array = np.ndarray[Any, Any]

_PAIR_LIMIT = 1 << 25


def _integer(x: Value) -> Value:
    """Return the value marked as an integer (its entries are whole numbers)."""
    if x.array is not None:
        whole = x.array.astype(np.int64)
        return Value(whole.shape, whole.dtype, array=whole)
    return Value(x.shape, np.dtype(np.int64), node=x.node)


def _along(count: int, axis: int, rank: int, values: Array) -> Array:
    """Return ``values`` ``(count,)`` shaped to broadcast along ``axis``."""
    shape = [1] * rank
    shape[axis] = count
    return values.reshape(shape)


def argmax(b: Builder, x: Value, axis: int, *, keepdims: bool = False, last: bool = False) -> Value:
    """Return the index of the largest entry along ``axis``; of equals the first (or ``last``).

    With ``e_i = 1`` where ``x_i`` is the maximum, the first such ``i`` is
    ``n - max_i (n - i) e_i`` and the last one is ``max_i (i + 1) e_i - 1``.

    Returns:
        An integer value: the shape of ``x`` without ``axis`` (extent 1 with ``keepdims``).
    """
    rank = len(x.shape)
    axis %= rank
    if x.array is not None:
        source = np.flip(x.array, axis) if last else x.array
        found = np.argmax(source, axis=axis)
        found = x.shape[axis] - 1 - found if last else found
        return b.constant(np.expand_dims(found, axis) if keepdims else found)
    count = x.shape[axis]
    hit = b.compare(x, ">=", b.max(x, (axis,), keepdims=True))
    order = np.arange(1, count + 1, dtype=np.float64)
    weights = _along(count, axis, rank, order if last else order[::-1])
    best = b.max(
        b.scale(Value(hit.shape, np.dtype(np.float64), node=hit.node), weights),
        (axis,),
        keepdims=keepdims,
    )
    if last:
        return _integer(b.subtract(best, b.constant(np.float64(1.0))))
    return _integer(b.subtract(b.constant(np.float64(count)), best))


def argmin(b: Builder, x: Value, axis: int, *, keepdims: bool = False, last: bool = False) -> Value:
    """Return the index of the smallest entry along ``axis``; see :func:`argmax`."""
    return argmax(b, b.negative(x), axis, keepdims=keepdims, last=last)


def hardmax(b: Builder, x: Value, axis: int) -> Value:
    """Return 1 at the first largest entry along ``axis``, 0 elsewhere."""
    axis %= len(x.shape)
    index = argmax(b, x, axis, keepdims=True)
    places = _along(x.shape[axis], axis, len(x.shape), np.arange(x.shape[axis]))
    hit = b.compare(b.broadcast_to(index, x.shape), "==", b.constant(places))
    return b.cast(hit, x.dtype)


def one_hot(
    b: Builder,
    index: Value,
    depth: int,
    *,
    axis: int = -1,
    on: Value | None = None,
    off: Value | None = None,
    wrap: bool = False,
    dtype: Any = np.float64,
) -> Value:
    """Return ``on`` where the new axis's place equals the (live) integer, else ``off``.

    Args:
        b: the builder.
        index: integers of any shape.
        depth: extent of the new axis.
        axis: where the new axis goes in the result.
        on: scalar; 1 when None.
        off: scalar; 0 when None.
        wrap: whether ``-depth .. -1`` count from the end; other integers give ``off`` everywhere.
        dtype: element type of the result when ``on`` is None.
    """
    rank = len(index.shape) + 1
    axis %= rank
    shape = (*index.shape[:axis], 1, *index.shape[axis:])
    full = (*index.shape[:axis], depth, *index.shape[axis:])
    wide = b.broadcast_to(b.reshape(index, shape), full)
    places = _along(depth, axis, rank, np.arange(depth))
    hit = b.cast(b.compare(wide, "==", b.constant(places)), np.float64)
    if wrap:  # at most one of both is 1
        back = b.compare(wide, "==", b.constant(places - depth))
        hit = b.add(hit, b.cast(back, np.float64))
    if on is None and off is None:
        return b.cast(hit, dtype)
    yes = on if on is not None else b.constant(np.asarray(1.0))
    no = off if off is not None else b.constant(np.asarray(0.0))
    return b.add(b.multiply(hit, b.subtract(yes, no)), no)


def lookup(b: Builder, table: Value, index: Value, axis: int = 0, *, wrap: bool = True) -> Value:
    """Return ``numpy.take(table, index, axis)`` for a live integer ``index``.

    The look-up is the one-hot form of the index contracted with the table (an embedding); an index
    outside the table gives 0.

    Returns:
        ``table.shape[:axis] + index.shape + table.shape[axis + 1:]``.
    """
    axis %= len(table.shape)
    depth = table.shape[axis]
    if index.array is not None:
        return b.gather(table, index.array, axis)
    count = max(1, index.size)
    flat = b.reshape(index, (index.size,))
    if count * depth > _PAIR_LIMIT:
        msg = f"a look-up of {count} live indices in {depth} entries is above the limit"
        raise UnsupportedError(msg)
    hot = one_hot(b, flat, depth, wrap=wrap)
    lead, tail = table.shape[:axis], table.shape[axis + 1 :]
    grid = b.reshape(table, (math.prod(lead), depth, math.prod(tail)))
    out = b.einsum("kd,adc->akc", hot, grid)
    out = Value(out.shape, table.dtype, node=out.node, array=out.array)
    return b.reshape(out, (*lead, *index.shape, *tail))


def top_k(
    b: Builder,
    x: Value,
    k: int,
    axis: int = -1,
    *,
    largest: bool = True,
) -> tuple[Value, Value]:
    r"""Return the ``k`` largest (smallest) entries along ``axis``, in order, and their indices.

    The rank of entry ``i`` is the number of entries that come before it,
    :math:`r_i = \#\{j : x_j > x_i\} + \#\{j < i : x_j = x_i\}`; output ``r`` is the entry of rank
    ``r``.  Of equal entries the first comes first, as ONNX demands.

    Returns:
        Values and integer indices, with extent ``k`` along ``axis``.

    Raises:
        UnsupportedError: when ``k`` does not fit, or there are more than 2**25 pairs to compare.
    """
    rank = len(x.shape)
    axis %= rank
    count = x.shape[axis]
    if not 0 <= k <= count:
        msg = f"cannot take {k} of {count} entries"
        raise UnsupportedError(msg)
    if x.array is not None:
        order = np.argsort(-x.array if largest else x.array, axis=axis, kind="stable")
        order = np.take(order, np.arange(k), axis=axis)
        return b.constant(np.take_along_axis(x.array, order, axis)), b.constant(order)
    if k == 1:
        index = (argmax if largest else argmin)(b, x, axis, keepdims=True)
        return (b.max if largest else b.min)(x, (axis,), keepdims=True), index
    if x.size * count > _PAIR_LIMIT:
        msg = f"ordering {count} entries ({x.size} in all) needs too many comparisons"
        raise UnsupportedError(msg)
    others = [a for a in range(rank) if a != axis]
    rows = b.permute(x, [*others, axis])
    lead = rows.shape[:-1]
    own = b.broadcast_to(b.reshape(rows, (*lead, count, 1)), (*lead, count, count))
    other = b.broadcast_to(b.reshape(rows, (*lead, 1, count)), (*lead, count, count))
    before = b.compare(other, ">", own) if largest else b.compare(other, "<", own)
    level = b.compare(other, "==", own)
    earlier = np.tril(np.ones((count, count)), -1)
    place = b.sum(b.add(_number(before), b.scale(_number(level), earlier)), (-1,))
    # The entry of rank r, for every r: one comparison each, then a sum with a single term.
    picked = b.compare(
        b.broadcast_to(b.reshape(place, (*lead, 1, count)), (*lead, k, count)),
        "==",
        b.constant(np.arange(k, dtype=np.float64)[:, None]),
    )
    zero = b.constant(np.float64(0.0))
    wide = b.broadcast_to(b.reshape(rows, (*lead, 1, count)), (*lead, k, count))
    values = b.sum(b.where(picked, wide, zero), (-1,))
    values = Value(values.shape, x.dtype, node=values.node)
    indices = _integer(b.sum(b.scale(_number(picked), np.arange(count, dtype=np.float64)), (-1,)))
    back = [*range(rank - 1)]
    back.insert(axis, rank - 1)
    return b.permute(values, back), b.permute(indices, back)


def _number(x: Value) -> Value:
    return Value(x.shape, np.dtype(np.float64), node=x.node)


def cumulative_sum(
    b: Builder, x: Value, axis: int, *, exclusive: bool = False, reverse: bool = False
) -> Value:
    """Return the running sum along ``axis``, without the entry itself when ``exclusive``."""
    axis %= len(x.shape)
    count = x.shape[axis]
    matrix = np.tril(np.ones((count, count), dtype=np.int8), -1 if exclusive else 0)
    if reverse:
        matrix = np.ascontiguousarray(matrix.T)
    others = [a for a in range(len(x.shape)) if a != axis]
    moved = b.permute(x, [*others, axis])
    if moved.array is not None:
        out = b.constant((moved.array @ matrix.T).astype(x.dtype))
    else:
        out = b.matmul(moved, b.constant(matrix.T))
        out = Value(out.shape, x.dtype, node=out.node)
    back = [*range(len(x.shape) - 1)]
    back.insert(axis, len(x.shape) - 1)
    return b.permute(out, back)
