"""Operations that move entries: reshape, slicing, concatenation, padding, gathering."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from nneq.adapters.keras.ops_linear import channels_first, from_channels_first
from nneq.adapters.keras.registry import operation
from nneq.errors import UnsupportedError
from nneq.lowering import Value
from nneq.lowering.levels import note_levels
from nneq.lowering.ordering import lookup, one_hot

if TYPE_CHECKING:
    from nneq.adapters.keras.walk import Walk

__all__: list[str] = []

Array = np.ndarray[Any, Any]


def _shape(walk: Walk, shape: Any, size: int | None = None) -> tuple[int, ...]:
    found = []
    for s in (shape,) if isinstance(shape, int) else shape:
        found.append(-1 if s is None else int(walk.array(s)) if not isinstance(s, int) else s)
    if size is not None and -1 in found:
        rest = math.prod(s for s in found if s != -1)
        if found.count(-1) > 1:  # a batch axis that Keras does not know has extent 1 here
            found[0] = 1
        found[found.index(-1)] = size // rest if rest else 0
    return tuple(found)


@operation("Reshape")
def _reshape(walk: Walk, op: Any, x: Any) -> Value:
    value = walk.value(x)
    return walk.b.reshape(value, _shape(walk, op.newshape, value.size))


@operation("Ravel")
def _ravel(walk: Walk, _: Any, x: Any) -> Value:
    value = walk.value(x)
    return walk.b.reshape(value, (value.size,))


@operation("Transpose")
def _transpose(walk: Walk, op: Any, x: Any) -> Value:
    value = walk.value(x)
    axes = op.axes if op.axes is not None else range(len(value.shape))[::-1]
    return walk.b.permute(value, tuple(axes))


@operation("Swapaxes")
def _swapaxes(walk: Walk, op: Any, x: Any) -> Value:
    value = walk.value(x)
    axes = list(range(len(value.shape)))
    axes[op.axis1], axes[op.axis2] = axes[op.axis2], axes[op.axis1]
    return walk.b.permute(value, axes)


@operation("Moveaxis")
def _moveaxis(walk: Walk, op: Any, x: Any) -> Value:
    value = walk.value(x)
    rank = len(value.shape)
    pair = [
        [a % rank for a in ((s,) if isinstance(s, int) else s)] for s in (op.source, op.destination)
    ]
    order = [k for k in range(rank) if k not in pair[0]]
    for destination, source in sorted(zip(pair[1], pair[0], strict=True)):
        order.insert(destination, source)
    return walk.b.permute(value, order)


@operation("ExpandDims")
def _expand(walk: Walk, op: Any, x: Any) -> Value:
    value = walk.value(x)
    axes = (op.axis,) if isinstance(op.axis, int) else tuple(op.axis)
    rank = len(value.shape) + len(axes)
    new = {a % rank for a in axes}
    old = iter(value.shape)
    return walk.b.reshape(value, [1 if k in new else next(old) for k in range(rank)])


@operation("Squeeze")
def _squeeze(walk: Walk, op: Any, x: Any) -> Value:
    value = walk.value(x)
    if op.axis is None:
        gone = {k for k, s in enumerate(value.shape) if s == 1 and k > 0}
    else:
        axes = (op.axis,) if isinstance(op.axis, int) else op.axis
        gone = {a % len(value.shape) for a in axes}
    return walk.b.reshape(value, [s for k, s in enumerate(value.shape) if k not in gone])


@operation("Concatenate")
def _concatenate(walk: Walk, op: Any, xs: Any) -> Value:
    values = [walk.value(x) for x in xs]
    if op.axis is None:
        return walk.b.concat([walk.b.reshape(v, (v.size,)) for v in values], 0)
    return walk.b.concat(values, op.axis)


@operation("Append")
def _append(walk: Walk, op: Any, x1: Any, x2: Any) -> Value:
    return _concatenate(walk, op, (x1, x2))


@operation("Stack")
def _stack(walk: Walk, op: Any, x: Any) -> Value:
    return walk.b.stack([walk.value(v) for v in x], op.axis)


@operation("Hstack", "Vstack", "Dstack")
def _stacks(walk: Walk, op: Any, xs: Any) -> Value:
    b = walk.b
    values = [walk.value(x) for x in xs]
    rank, axis = {"Hstack": (1, 1), "Vstack": (2, 0), "Dstack": (3, 2)}[type(op).__name__]
    grown = [b.reshape(v, _at_least(v.shape, rank)) for v in values]
    return b.concat(grown, min(axis, len(grown[0].shape) - 1))


def _at_least(shape: tuple[int, ...], rank: int) -> tuple[int, ...]:
    raised = {1: np.atleast_1d, 2: np.atleast_2d, 3: np.atleast_3d}[rank](np.empty(shape))
    return tuple(raised.shape)


@operation("Split", "ArraySplit", "Hsplit", "Vsplit", "Dsplit")
def _split(walk: Walk, op: Any, x: Any) -> list[Value]:
    value = walk.value(x)
    fixed = {"Hsplit": 1 if len(value.shape) > 1 else 0, "Vsplit": 0, "Dsplit": 2}
    axis = fixed.get(type(op).__name__, getattr(op, "axis", 0)) % len(value.shape)
    places = np.arange(value.shape[axis])
    where = op.indices_or_sections
    parts = np.array_split(places, where if isinstance(where, int) else list(where))
    return [
        walk.b.slice_axis(value, axis, int(part[0]) if part.size else 0, part.size)
        for part in parts
    ]


@operation("Unstack")
def _unstack(walk: Walk, op: Any, x: Any) -> list[Value]:
    value = walk.value(x)
    axis = op.axis % len(value.shape)
    rest = [s for k, s in enumerate(value.shape) if k != axis]
    return [
        walk.b.reshape(walk.b.slice_axis(value, axis, k, 1), rest) for k in range(value.shape[axis])
    ]


@operation("Flip", "Fliplr", "Flipud")
def _flip(walk: Walk, op: Any, x: Any) -> Value:
    value = walk.value(x)
    fixed = {"Fliplr": 1, "Flipud": 0}
    axis = fixed.get(type(op).__name__, getattr(op, "axis", None))
    axes = range(len(value.shape)) if axis is None else (axis,) if isinstance(axis, int) else axis
    for k in axes:
        size = value.shape[k]
        value = walk.b.slice_axis(value, k, size - 1, size, -1)
    return value


@operation("Roll")
def _roll(walk: Walk, op: Any, x: Any) -> Value:
    return walk.move(walk.value(x), lambda a: np.roll(a, op.shift, op.axis))


@operation("Rot90")
def _rot90(walk: Walk, op: Any, array: Any) -> Value:
    return walk.move(walk.value(array), lambda a: np.rot90(a, op.k, op.axes))


@operation("Tile")
def _tile(walk: Walk, op: Any, x: Any) -> Value:
    return walk.move(walk.value(x), lambda a: np.tile(a, op.repeats))


@operation("Repeat")
def _repeat(walk: Walk, op: Any, x: Any) -> Value:
    repeats = walk.array(op.repeats)
    return walk.move(walk.value(x), lambda a: np.repeat(a, repeats, op.axis))


@operation("BroadcastTo")
def _broadcast(walk: Walk, op: Any, x: Any) -> Value:
    value = walk.value(x)
    shape = [1 if s is None else s for s in op.shape]
    lead = len(shape) - len(value.shape)
    full = [value.shape[k - lead] if s == -1 else int(s) for k, s in enumerate(shape)]
    return walk.b.broadcast_to(value, full)


@operation("Diag", "Diagonal", "Diagflat")
def _diagonal(walk: Walk, op: Any, x: Any) -> Value:
    value = walk.value(x)
    name = type(op).__name__
    if name == "Diagonal":
        return walk.move(value, lambda a: np.diagonal(a, op.offset, op.axis1, op.axis2))
    if name == "Diag" and len(value.shape) == 2:
        return walk.move(value, lambda a: np.diag(a, op.k))
    # Places are counted from 1 so that the empty entries of a new matrix read 0 - 1 = "nothing".
    build = np.diag if name == "Diag" else np.diagflat
    if value.array is not None:
        return walk.b.constant(build(value.array, op.k))
    places = np.arange(1, value.size + 1, dtype=np.int64).reshape(value.shape)
    return walk.b.take(value, np.ascontiguousarray(build(places, op.k)) - 1)


@operation("Trace")
def _trace(walk: Walk, op: Any, x: Any) -> Value:
    line = walk.move(walk.value(x), lambda a: np.diagonal(a, op.offset, op.axis1, op.axis2))
    return walk.b.sum(line, (-1,))


@operation("Tril", "Triu")
def _triangle(walk: Walk, op: Any, x: Any) -> Value:
    value = walk.value(x)
    cut = np.tril if type(op).__name__ == "Tril" else np.triu
    keep = cut(np.ones(value.shape[-2:]), op.k)
    return walk.b.multiply(value, walk.b.constant(keep))


@operation("Pad")
def _pad(walk: Walk, op: Any, x: Any, constant_values: Any = None) -> Value:
    value = walk.value(x)
    widths = op.pad_width
    if isinstance(widths, int):
        widths = ((widths, widths),) * len(value.shape)
    pairs = [(p, p) if isinstance(p, int) else (int(p[0]), int(p[1])) for p in widths]
    if len(pairs) == 1:
        pairs = pairs * len(value.shape)
    if op.mode == "constant":
        fill = 0.0 if constant_values is None else float(walk.array(constant_values))
        return walk.b.pad(value, pairs, fill)
    mode: Any = op.mode
    if mode == "symmetric" and keras.backend.backend() == "torch":
        mode = "edge"  # what the torch backend writes for it
    return walk.move(value, lambda a: np.pad(a, pairs, mode=mode))


@operation("GetItem")
def _get_item(walk: Walk, _: Any, x: Any, key: Any) -> Value:
    value = walk.value(x)
    keys = list(key) if isinstance(key, tuple | list) else [key]
    if Ellipsis not in [k for k in keys if not isinstance(k, Value)]:
        keys.append(Ellipsis)
    taken = sum(k is not None and k is not Ellipsis for k in keys)
    at = next(n for n, k in enumerate(keys) if k is Ellipsis)
    keys[at : at + 1] = [slice(None)] * (len(value.shape) - taken)
    starts, steps, sizes, shape = [], [], [], []
    axis = 0
    for k in keys:
        if k is None:
            shape.append(1)
            continue
        extent = value.shape[axis]
        axis += 1
        if isinstance(k, slice):
            ends = [None if e is None else int(walk.array(e)) for e in (k.start, k.stop, k.step)]
            found = range(*slice(*ends).indices(extent))
            shape.append(len(found))
        else:
            place = int(walk.array(k))
            found = range(place % extent, place % extent + 1)
        starts.append(found.start if found else 0)
        steps.append(found.step)
        sizes.append(len(found))
    return walk.b.reshape(walk.b.slice(value, starts, sizes, steps), shape)


@operation("Slice")
def _slice(walk: Walk, op: Any, inputs: Any, start_indices: Any) -> Value:
    value = walk.value(inputs)
    starts = [int(s) for s in walk.array(start_indices)]
    sizes = [
        value.shape[k] - starts[k] if s in {-1, None} else int(s) for k, s in enumerate(op.shape)
    ]
    return walk.b.slice(value, starts, sizes)


@operation("SliceUpdate")
def _slice_update(walk: Walk, _: Any, inputs: Any, start_indices: Any, updates: Any) -> Value:
    b, value, new = walk.b, walk.value(inputs), walk.value(updates)
    starts = [int(s) for s in walk.array(start_indices)]
    around = [(s, n - s - m) for s, n, m in zip(starts, value.shape, new.shape, strict=True)]
    keep = np.pad(np.zeros(new.shape), around, constant_values=1.0)
    return b.add(b.multiply(value, b.constant(keep)), b.pad(new, around))


@operation("Scatter", "ScatterUpdate")
def _scatter(walk: Walk, op: Any, *args: Any) -> Value:
    b = walk.b
    if type(op).__name__ == "Scatter":
        indices, new = walk.array(args[0]), walk.value(args[1])
        value = b.constant(np.zeros(_shape(walk, op.shape)))
        reduction: str | None = "add"
    else:
        value, indices, new = walk.value(args[0]), walk.array(args[1]), walk.value(args[2])
        reduction = op.reduction
    depth = indices.shape[-1]
    places = np.arange(value.size).reshape(value.shape)
    target = places[tuple(np.moveaxis(indices, -1, 0))] if depth else places
    flat = target.reshape(-1)
    if reduction not in {None, "add"} or (reduction is None and len(set(flat)) < flat.size):
        msg = f"a scatter with reduction {reduction!r} or repeated indices is not supported"
        raise UnsupportedError(msg)
    from nneq.ir import linear_map as lm

    spread = lm.Scatter(lm.Take(value.shape, target))
    placed = b.linear(b.broadcast_to(new, target.shape), spread)
    if reduction is None:
        keep = np.ones(value.size)
        keep[flat] = 0.0
        value = b.multiply(value, b.constant(keep.reshape(value.shape)))
    return b.add(value, placed)


@operation("Take")
def _take(walk: Walk, op: Any, x: Any, indices: Any) -> Value:
    b, value, index = walk.b, walk.value(x), walk.value(indices)
    axis = op.axis
    if axis is None:
        value, axis = b.reshape(value, (value.size,)), 0
    if index.array is not None:
        return b.gather(value, index.array.astype(np.int64), axis)
    counted = note_levels(b, index, value.shape[axis])
    return lookup(b, value, index, axis, wrap=not counted)


@operation("TakeAlongAxis")
def _take_along(walk: Walk, op: Any, x: Any, indices: Any) -> Value:
    b, value, index = walk.b, walk.value(x), walk.value(indices)
    axis = op.axis
    if axis is None:
        value, index, axis = b.reshape(value, (value.size,)), b.reshape(index, (index.size,)), 0
    if index.array is not None:
        found = index.array.astype(np.int64)
        return walk.move(value, lambda a: np.take_along_axis(a, found, axis))
    axis %= len(value.shape)
    size = value.shape[axis]
    hot = one_hot(b, index, size, axis=axis + 1, wrap=True)
    grown = (*value.shape[:axis], 1, *value.shape[axis:])
    return b.sum(b.multiply(hot, b.reshape(value, grown)), (axis + 1,))


@operation("OnesLike", "ZerosLike", "EmptyLike")
def _filled_like(walk: Walk, op: Any, x: Any) -> Value:
    shape = walk.value(x).shape
    return walk.b.constant((np.ones if type(op).__name__ == "OnesLike" else np.zeros)(shape))


@operation("FullLike")
def _full_like(walk: Walk, _: Any, x: Any, fill_value: Any) -> Value:
    return walk.b.broadcast_to(walk.value(fill_value), walk.value(x).shape)


@operation("Full")
def _full(walk: Walk, op: Any, fill_value: Any) -> Value:
    return walk.b.broadcast_to(walk.value(fill_value), _shape(walk, op.shape))


@operation("DepthToSpace", "SpaceToDepth")
def _blocks(walk: Walk, op: Any, x: Any) -> Value:
    b = walk.b
    value = channels_first(walk, walk.value(x), op.data_format)
    n, c, h, w = value.shape
    k = op.block_size
    if type(op).__name__ == "DepthToSpace":
        out = b.reshape(value, (n, k, k, c // k**2, h, w))
        out = b.permute(out, (0, 3, 4, 1, 5, 2))
        out = b.reshape(out, (n, c // k**2, h * k, w * k))
    else:
        out = b.reshape(value, (n, c, h // k, k, w // k, k))
        out = b.permute(out, (0, 3, 5, 1, 2, 4))
        out = b.reshape(out, (n, c * k**2, h // k, w // k))
    return from_channels_first(walk, out, op.data_format)
