"""Operators that only move entries: reshape, transpose, slice, join, repeat, pad."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from nneq.adapters.onnx.call import Call, operator, retyped
from nneq.adapters.onnx.limits import MAX_CONSTANT, MAX_LIVE, check_size
from nneq.errors import NneqError
from nneq.lowering import Builder, Value

__all__ = []

Array = np.ndarray[Any, Any]


@operator("Identity")
def identity(call: Call) -> Value:
    """The operand."""
    return call.input(0)


@operator("Dropout")
def dropout(call: Call) -> list[Value]:
    """The operand: dropout does nothing outside training."""
    x = call.input(0)
    training = call.number(2, "training_mode") if call.since >= 12 else False
    ratio = call.number(1, "ratio") if call.since >= 12 else call.attribute("ratio")
    if training and (ratio is None or ratio != 0):
        msg = "dropout in training mode is random; export the model in inference mode"
        raise call.refuse(msg)
    kind = np.bool_ if call.since >= 10 else x.dtype
    mask = call.builder.constant(np.broadcast_to(np.ones((), dtype=kind), x.shape))
    return [x, mask]


@operator("Reshape")
def reshape(call: Call) -> Value:
    """The same entries under another shape; 0 keeps an extent, -1 is what is left."""
    x = call.input(0)
    wanted = call.attribute("shape") if call.since < 5 else call.integers(1, "the new shape")
    if wanted is None:
        msg = "the new shape is missing"
        raise NneqError(msg)
    keep_zero = bool(call.attribute("allowzero")) if call.since >= 14 else False
    return call.builder.reshape(x, _resolved(x, list(wanted), keep_zero=keep_zero))


def _resolved(x: Value, wanted: list[int], *, keep_zero: bool) -> tuple[int, ...]:
    sizes = list(wanted)
    if not keep_zero:
        for axis, size in enumerate(sizes):
            if size == 0:
                if axis >= len(x.shape):
                    msg = f"the new shape {wanted} keeps axis {axis}, which {x.shape} has not"
                    raise NneqError(msg)
                sizes[axis] = x.shape[axis]
    if sizes.count(-1) == 1:
        rest = math.prod(size for size in sizes if size != -1)
        if rest == 0 or x.size % rest:
            msg = f"shape {x.shape} cannot be read as {wanted}"
            raise NneqError(msg)
        sizes[sizes.index(-1)] = x.size // rest
    if any(size < 0 for size in sizes) or math.prod(sizes) != x.size:
        msg = f"shape {x.shape} cannot be read as {wanted}"
        raise NneqError(msg)
    return tuple(sizes)


@operator("Flatten")
def flatten(call: Call) -> Value:
    """Two axes: those before ``axis`` and those from it on."""
    x = call.input(0)
    axis = int(call.attribute("axis"))
    rank = len(x.shape)
    if not -rank <= axis <= rank:
        msg = f"axis {axis} does not exist in a tensor of {rank} axes"
        raise NneqError(msg)
    axis += rank if axis < 0 else 0
    return call.builder.reshape(x, (math.prod(x.shape[:axis]), math.prod(x.shape[axis:])))


@operator("Transpose")
def transpose(call: Call) -> Value:
    """The axes in another order, reversed by default."""
    x = call.input(0)
    order = call.attribute("perm")
    order = list(range(len(x.shape)))[::-1] if order is None else order
    if sorted(order) != list(range(len(x.shape))):
        msg = f"perm {order} is not an order of {len(x.shape)} axes"
        raise NneqError(msg)
    return call.builder.permute(x, order)


def _axes_of(call: Call, place: int, changed: int) -> list[int] | None:
    if call.since < changed:
        found = call.attribute("axes")
        return None if found is None else [int(axis) for axis in found]
    return call.integers(place, "axes")


@operator("Squeeze")
def squeeze(call: Call) -> Value:
    """Without axes of extent 1."""
    x = call.input(0)
    axes = _axes_of(call, 1, 13)
    if axes is None:
        gone: Sequence[int] = [k for k, size in enumerate(x.shape) if size == 1]
    else:
        gone = call.axes(axes, len(x.shape))
    bad = [axis for axis in gone if x.shape[axis] != 1]
    if bad:
        msg = f"axis {bad[0]} of {x.shape} is not of extent 1"
        raise NneqError(msg)
    return call.builder.reshape(x, [s for k, s in enumerate(x.shape) if k not in gone])


@operator("Unsqueeze")
def unsqueeze(call: Call) -> Value:
    """With new axes of extent 1."""
    x = call.input(0)
    axes = _axes_of(call, 1, 13)
    if axes is None:
        msg = "axes is missing"
        raise NneqError(msg)
    rank = len(x.shape) + len(axes)
    check_size([1] * rank)
    new = call.axes(axes, rank)
    if len(new) != len(axes):
        msg = f"axes {axes} repeat themselves"
        raise NneqError(msg)
    rest = iter(x.shape)
    return call.builder.reshape(x, [1 if k in new else next(rest) for k in range(rank)])


@operator("Slice")
def slice_(call: Call) -> Value:
    """``x[start:end:step]`` on the named axes."""
    x = call.input(0)
    if call.since < 10:
        starts, ends = call.attribute("starts"), call.attribute("ends")
        axes, steps = call.attribute("axes"), None
    else:
        starts, ends = call.integers(1, "starts"), call.integers(2, "ends")
        axes, steps = call.integers(3, "axes"), call.integers(4, "steps")
    if starts is None or ends is None or len(starts) != len(ends):
        msg = "starts and ends must have the same length"
        raise NneqError(msg)
    axes = list(range(len(starts))) if axes is None else axes
    steps = [1] * len(starts) if steps is None else steps
    rank = len(x.shape)
    begin, step_of, sizes = [0] * rank, [1] * rank, list(x.shape)
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        if step == 0:
            msg = "a step of 0"
            raise NneqError(msg)
        place = call.axis(axis, rank)
        span = range(x.shape[place])[slice(start, end if end >= -(1 << 62) else None, step)]
        begin[place], step_of[place] = (span.start if len(span) else 0), step
        sizes[place] = len(span)
    return call.builder.slice(x, begin, sizes, step_of)


@operator("Split")
def split(call: Call) -> list[Value]:
    """Consecutive parts along an axis."""
    x = call.input(0)
    axis = call.axis(int(call.attribute("axis")), len(x.shape))
    size = x.shape[axis]
    count = len(call.node.output)
    parts = call.attribute("split") if call.since < 13 else call.integers(1, "split")
    if parts is None:
        number = call.attribute("num_outputs") if call.since >= 18 else count
        number = count if number is None else int(number)
        if not 0 < number <= 10_000:
            msg = f"num_outputs is {number}"
            raise NneqError(msg)
        each = -(-size // number)
        parts = [each] * (number - 1) + [size - each * (number - 1)]
    if sum(parts) != size or any(part < 0 for part in parts) or len(parts) < count:
        msg = f"parts {list(parts)[:20]} do not add up to {size}"
        raise NneqError(msg)
    found = []
    start = 0
    for part in parts[:count]:
        found.append(call.builder.slice_axis(x, axis, start, part))
        start += part
    return found


@operator("Concat")
def concat(call: Call) -> Value:
    """The operands one after the other."""
    values = call.operands()
    axis = call.axis(int(call.attribute("axis")), len(values[0].shape))
    rest = {tuple(s for k, s in enumerate(v.shape) if k != axis) for v in values}
    if len(rest) != 1 or len({len(v.shape) for v in values}) != 1:
        msg = f"shapes {', '.join(str(v.shape) for v in values[:8])} cannot be joined"
        raise NneqError(msg)
    shape = list(values[0].shape)
    shape[axis] = sum(value.shape[axis] for value in values)
    call.shape(shape, *values)
    if len(values) == 1:
        return values[0]
    out = call.builder.concat(values, axis)
    return retyped(out, np.result_type(*(value.dtype for value in values)))


@operator("Expand")
def expand(call: Call) -> Value:
    """Broadcast to a shape and to the operand's own."""
    x = call.input(0)
    wanted = call.integers(1, "the shape")
    check_size(wanted or (), MAX_LIVE)
    try:
        shape = np.broadcast_shapes(x.shape, tuple(wanted or ()))
    except ValueError:
        msg = f"shape {x.shape} does not broadcast to {wanted}"
        raise NneqError(msg) from None
    check_size(shape, MAX_LIVE if x.array is None else MAX_CONSTANT * 8)
    return call.builder.broadcast_to(x, shape)


@operator("Tile")
def tile(call: Call) -> Value:
    """The tensor repeated along every axis."""
    b, x = call.builder, call.input(0)
    repeats = call.integers(1, "repeats") or []
    if len(repeats) != len(x.shape) or any(count < 0 for count in repeats):
        msg = f"repeats {repeats} do not fit the shape {x.shape}"
        raise NneqError(msg)
    shape = call.shape([size * count for size, count in zip(x.shape, repeats, strict=True)], x)
    paired = [n for size in x.shape for n in (1, size)]
    full = [n for size, count in zip(x.shape, repeats, strict=True) for n in (count, size)]
    return b.reshape(b.broadcast_to(b.reshape(x, paired), full), shape)


@operator("Pad")
def pad(call: Call) -> Value:
    """Entries before and after every axis: constant, edge, reflected or wrapped."""
    x = call.input(0)
    rank = len(x.shape)
    if call.since < 11:
        pads = [int(n) for n in call.attribute("pads")]
        fill, axes = float(call.attribute("value")), list(range(rank))
    else:
        pads = call.integers(1, "pads") or []
        given = call.number(2, "the padding's value")
        fill = 0.0 if given is None else float(given)
        chosen = call.integers(3, "axes")
        axes = list(range(rank)) if chosen is None else [call.axis(a, rank) for a in chosen]
    if len(pads) != 2 * len(axes):
        msg = f"{len(pads)} pads for {len(axes)} axes"
        raise NneqError(msg)
    pairs = [(0, 0)] * rank
    for k, axis in enumerate(axes):
        pairs[axis] = (pads[k], pads[len(axes) + k])
    call.shape([s + b + a for s, (b, a) in zip(x.shape, pairs, strict=True)], x)
    mode = call.attribute("mode")
    if mode == "constant":
        masks = math.isinf(fill) and fill < 0
        if not (math.isfinite(fill) or masks) and any(n > 0 for n in pads):
            msg = "padding with a value that is not finite"
            raise call.refuse(msg)
        return retyped(call.builder.pad(x, pairs, fill), x.dtype)
    return _mirrored(call.builder, x, pairs, str(mode))


def _mirrored(b: Builder, x: Value, pairs: Sequence[tuple[int, int]], mode: str) -> Value:
    numpy_mode = {"reflect": "reflect", "edge": "edge", "wrap": "wrap"}.get(mode)
    if numpy_mode is None:
        msg = f"the padding mode {mode!r} is not known"
        raise NneqError(msg)
    for axis, (before, after) in enumerate(pairs):
        size = x.shape[axis]
        if before == after == 0:
            continue
        low, high = max(0, -before), size - max(0, -after)
        grown: Any = (max(0, before), max(0, after))
        # NumPy's stubs want the mode as a literal; it comes from a table here.
        index = np.pad(np.arange(low, high), grown, mode=numpy_mode)  # type: ignore[call-overload]
        x = b.gather(x, index, axis)
    return x


@operator("DepthToSpace")
def depth_to_space(call: Call) -> Value:
    """Channels become blocks of space."""
    b, x = call.builder, call.input(0)
    n, c, h, w = x.shape
    k = int(call.attribute("blocksize"))
    if k < 1 or c % (k * k):
        msg = f"{c} channels do not make blocks of {k} x {k}"
        raise NneqError(msg)
    if call.attribute("mode") == "CRD":
        split_up = b.reshape(x, (n, c // (k * k), k, k, h, w))
        moved = b.permute(split_up, (0, 1, 4, 2, 5, 3))
    else:
        split_up = b.reshape(x, (n, k, k, c // (k * k), h, w))
        moved = b.permute(split_up, (0, 3, 4, 1, 5, 2))
    return b.reshape(moved, (n, c // (k * k), h * k, w * k))


@operator("SpaceToDepth")
def space_to_depth(call: Call) -> Value:
    """Blocks of space become channels."""
    b, x = call.builder, call.input(0)
    n, c, h, w = x.shape
    k = int(call.attribute("blocksize"))
    if k < 1 or h % k or w % k:
        msg = f"{h} x {w} is not made of blocks of {k} x {k}"
        raise NneqError(msg)
    order = (0, 1, 3, 5, 2, 4) if call.attribute("mode") == "CRD" else (0, 3, 5, 1, 2, 4)
    moved = b.permute(b.reshape(x, (n, c, h // k, k, w // k, k)), order)
    return b.reshape(moved, (n, c * k * k, h // k, w // k))


@operator("ReverseSequence")
def reverse_sequence(call: Call) -> Value:
    """The first entries of every sequence in reverse order."""
    x = call.input(0)
    lengths = call.integers(1, "sequence_lens") or []
    time, batch = int(call.attribute("time_axis")), int(call.attribute("batch_axis"))
    if {time, batch} != {0, 1} or len(x.shape) < 2 or len(lengths) != x.shape[batch]:
        msg = f"sequence_lens {lengths[:8]} do not fit the shape {x.shape}"
        raise NneqError(msg)
    steps = x.shape[time]
    at = np.tile(np.arange(steps), (len(lengths), 1))
    for row, length in enumerate(lengths):
        if not 0 <= length <= steps:
            msg = f"a length of {length} in a sequence of {steps}"
            raise NneqError(msg)
        at[row, :length] = at[row, :length][::-1]
    places = np.arange(x.size, dtype=np.int64).reshape(x.shape)
    moved = np.moveaxis(places, (batch, time), (0, 1))
    picked = moved[np.arange(len(lengths))[:, None], at]
    return call.builder.take(x, np.moveaxis(picked, (0, 1), (batch, time)))
