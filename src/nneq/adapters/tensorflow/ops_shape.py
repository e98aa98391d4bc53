"""Shapes, slicing, gathering and concatenation of TensorFlow graphs."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from nneq.adapters.tensorflow.registry import operation
from nneq.errors import UnsupportedError
from nneq.lowering import Value
from nneq.lowering.levels import note_levels
from nneq.lowering.ordering import lookup, one_hot

if TYPE_CHECKING:
    from nneq.adapters.tensorflow.walk import Walk

__all__: list[str] = []


@operation("Shape", "Size", "Rank")
def _shape(walk: Walk, op: Any, x: Value) -> Value:
    found: Any = {"Shape": x.shape, "Size": x.size, "Rank": len(x.shape)}[op.type]
    return walk.b.constant(np.array(found, dtype=np.int64))


@operation("ShapeN")
def _shapes(walk: Walk, _: Any, *xs: Value) -> list[Value]:
    return [walk.b.constant(np.array(x.shape, dtype=np.int64)) for x in xs]


@operation("Reshape")
def _reshape(walk: Walk, _: Any, x: Value, shape: Value) -> Value:
    sizes = walk.integers(shape)
    if -1 in sizes:
        rest = math.prod(s for s in sizes if s != -1)
        sizes[sizes.index(-1)] = x.size // rest if rest else 0
    return walk.b.reshape(x, sizes)


@operation("Squeeze")
def _squeeze(walk: Walk, op: Any, x: Value) -> Value:
    axes = [a % len(x.shape) for a in op.get_attr("squeeze_dims")]
    gone = set(axes) if axes else {k for k, s in enumerate(x.shape) if s == 1}
    return walk.b.reshape(x, [s for k, s in enumerate(x.shape) if k not in gone])


@operation("ExpandDims")
def _expand(walk: Walk, _: Any, x: Value, axis: Value) -> Value:
    place = walk.integers(axis)[0] % (len(x.shape) + 1)
    return walk.b.reshape(x, (*x.shape[:place], 1, *x.shape[place:]))


@operation("Transpose")
def _transpose(walk: Walk, _: Any, x: Value, axes: Value) -> Value:
    return walk.b.permute(x, walk.integers(axes))


@operation("ConcatV2", "Concat")
def _concat(walk: Walk, op: Any, *xs: Value) -> Value:
    parts, axis = (xs[:-1], xs[-1]) if op.type == "ConcatV2" else (xs[1:], xs[0])
    return walk.b.concat(parts, walk.integers(axis)[0])


@operation("Pack", "ParallelConcat")
def _pack(walk: Walk, op: Any, *xs: Value) -> Value:
    return walk.b.stack(xs, int(op.get_attr("axis")))


@operation("Unpack")
def _unpack(walk: Walk, op: Any, x: Value) -> list[Value]:
    axis = int(op.get_attr("axis")) % len(x.shape)
    rest = [s for k, s in enumerate(x.shape) if k != axis]
    count = x.shape[axis]
    return [walk.b.reshape(walk.b.slice_axis(x, axis, k, 1), rest) for k in range(count)]


@operation("Split", "SplitV")
def _split(walk: Walk, op: Any, *inputs: Value) -> list[Value]:
    if op.type == "Split":
        axis, x = walk.integers(inputs[0])[0], inputs[1]
        axis %= len(x.shape)
        count = len(op.outputs)
        sizes = [x.shape[axis] // count] * count
    else:
        x, given, place = inputs
        axis, sizes = walk.integers(place)[0] % len(x.shape), walk.integers(given)
        if -1 in sizes:
            sizes[sizes.index(-1)] = x.shape[axis] - sum(s for s in sizes if s != -1)
    starts = np.cumsum([0, *sizes])
    return [walk.b.slice_axis(x, axis, int(a), s) for a, s in zip(starts, sizes, strict=False)]


@operation("Slice")
def _slice(walk: Walk, _: Any, x: Value, begin: Value, size: Value) -> Value:
    starts = walk.integers(begin)
    sizes = [
        n - a if s == -1 else s
        for n, a, s in zip(x.shape, starts, walk.integers(size), strict=True)
    ]
    return walk.b.slice(x, starts, sizes)


@operation("StridedSlice")
def _strided(walk: Walk, op: Any, x: Value, begin: Value, end: Value, strides: Value) -> Value:
    starts, stops, steps = (walk.integers(v) for v in (begin, end, strides))
    bits = {
        name: int(op.get_attr(f"{name}_mask"))
        for name in ("begin", "end", "ellipsis", "new_axis", "shrink_axis")
    }
    count = len(starts)
    fresh = sum(1 for k in range(count) if bits["new_axis"] >> k & 1)
    listed = count - fresh - (1 if bits["ellipsis"] else 0)
    cuts: list[range] = []
    shape: list[int] = []
    axis = 0
    for k in range(count):
        if bits["ellipsis"] >> k & 1:
            for _ in range(len(x.shape) - listed):
                cuts.append(range(x.shape[axis]))
                shape.append(x.shape[axis])
                axis += 1
        elif bits["new_axis"] >> k & 1:
            shape.append(1)
        elif bits["shrink_axis"] >> k & 1:
            place = starts[k] % x.shape[axis]
            cuts.append(range(place, place + 1))
            axis += 1
        else:
            low = None if bits["begin"] >> k & 1 else starts[k]
            high = None if bits["end"] >> k & 1 else stops[k]
            cuts.append(range(*slice(low, high, steps[k]).indices(x.shape[axis])))
            shape.append(len(cuts[-1]))
            axis += 1
    for size in x.shape[axis:]:
        cuts.append(range(size))
        shape.append(size)
    starts = [cut.start if len(cut) else 0 for cut in cuts]
    out = walk.b.slice(x, starts, [len(cut) for cut in cuts], [cut.step for cut in cuts])
    return walk.b.reshape(out, shape)


@operation("Gather", "GatherV2", "ResourceGather")
def _gather(walk: Walk, op: Any, x: Value, index: Value, axis: Value | None = None) -> Value:
    place = walk.integers(axis)[0] % len(x.shape) if axis is not None else 0
    batch = int(op.get_attr("batch_dims")) if op.type == "GatherV2" else 0
    if batch:
        places = walk.array(index)
        if math.prod(x.shape[:batch]) != 1:
            msg = "a gather with batch axes of more than one entry is not supported"
            raise UnsupportedError(msg)
        inner = walk.b.reshape(x, x.shape[batch:])
        found = walk.b.gather(inner, places.reshape(places.shape[batch:]), place - batch)
        return walk.b.reshape(found, (*x.shape[:batch], *found.shape))
    if index.array is not None:
        return walk.b.gather(x, index.array.astype(np.int64), place)
    note_levels(walk.b, index, x.shape[place])
    return lookup(walk.b, x, index, place, wrap=False)


@operation("GatherNd")
def _gather_nd(walk: Walk, _: Any, x: Value, index: Value) -> Value:
    places = np.moveaxis(walk.array(index).astype(np.int64), -1, 0)
    return walk.move(x, lambda a: a[tuple(places)])


@operation("OneHot")
def _one_hot(walk: Walk, op: Any, index: Value, depth: Value, on: Value, off: Value) -> Value:
    count = walk.integers(depth)[0]
    note_levels(walk.b, index, count)
    axis = int(op.get_attr("axis"))
    if index.array is not None:
        hot = np.moveaxis(index.array[..., None] == np.arange(count), -1, axis)
        return walk.b.where(walk.b.constant(hot), on, off)
    return one_hot(walk.b, index, count, axis=axis, on=on, off=off)


@operation("Pad", "PadV2", "MirrorPad")
def _pad(walk: Walk, op: Any, x: Value, margins: Value, fill: Value | None = None) -> Value:
    pairs = [(int(a), int(c)) for a, c in walk.array(margins)]
    if op.type == "MirrorPad":
        name = op.get_attr("mode")
        mode: Any = (name.decode() if isinstance(name, bytes) else str(name)).lower()
        return walk.move(x, lambda a: np.pad(a, pairs, mode=mode))
    return walk.b.pad(x, pairs, 0.0 if fill is None else float(walk.array(fill)))


@operation("Tile")
def _tile(walk: Walk, _: Any, x: Value, repeats: Value) -> Value:
    counts = walk.integers(repeats)
    return walk.move(x, lambda a: np.tile(a, counts))


@operation("BroadcastTo")
def _broadcast(walk: Walk, _: Any, x: Value, shape: Value) -> Value:
    return walk.b.broadcast_to(x, walk.integers(shape))


@operation("Fill")
def _fill(walk: Walk, _: Any, shape: Value, value: Value) -> Value:
    return walk.b.broadcast_to(value, walk.integers(shape))


@operation("ZerosLike", "OnesLike")
def _like(walk: Walk, op: Any, x: Any) -> Any:
    if not isinstance(x, Value):
        return x
    make = np.zeros if op.type == "ZerosLike" else np.ones
    return walk.b.constant(make(x.shape, dtype=x.dtype))


@operation("Range")
def _range(walk: Walk, _: Any, start: Value, stop: Value, step: Value) -> Value:
    ends = [walk.array(v).reshape(-1)[0] for v in (start, stop, step)]
    return walk.b.constant(np.arange(*ends).astype(ends[0].dtype))


@operation("ReverseV2")
def _reverse(walk: Walk, _: Any, x: Value, axes: Value) -> Value:
    for axis in walk.integers(axes):
        size = x.shape[axis]
        x = walk.b.slice_axis(x, axis, size - 1, size, -1)
    return x


@operation("Roll")
def _roll(walk: Walk, _: Any, x: Value, shift: Value, axis: Value) -> Value:
    shifts, axes = walk.integers(shift), walk.integers(axis)
    return walk.move(x, lambda a: np.roll(a, shifts, axes))


@operation("MatrixBandPart")
def _band(walk: Walk, _: Any, x: Value, lower: Value, upper: Value) -> Value:
    low, high = walk.integers(lower)[0], walk.integers(upper)[0]
    rows, columns = np.indices(x.shape[-2:])
    keep = ((low < 0) | (rows - columns <= low)) & ((high < 0) | (columns - rows <= high))
    return walk.b.multiply(x, walk.b.constant(keep.astype(np.float64)))
