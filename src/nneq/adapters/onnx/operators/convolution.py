"""Convolutions; a constant kernel stays matrix-free, a live one becomes products."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from nneq.adapters.onnx.call import Call, operator, retyped, wide
from nneq.adapters.onnx.limits import MAX_LIVE, check_size
from nneq.adapters.onnx.windows import Windows, window_attributes
from nneq.errors import NneqError
from nneq.ir import linear_map as lm
from nneq.lowering import Builder, Value

__all__ = []

Array = np.ndarray[Any, Any]


def _with_bias(b: Builder, out: Value, bias: Value | None) -> Value:
    if bias is None:
        return out
    shaped = b.reshape(bias, (bias.size, *(1,) * (len(out.shape) - 2)))
    return b.add(out, shaped)


@operator("Conv")
def conv(call: Call) -> Value:
    """The convolution of ``(N, C, *spatial)``."""
    b, x, weight = call.builder, call.input(0), call.input(1)
    groups = int(call.attribute("group"))
    if len(weight.shape) != len(x.shape) or len(x.shape) < 3:
        msg = f"a kernel of shape {weight.shape} does not fit a tensor of shape {x.shape}"
        raise NneqError(msg)
    outs, ins = weight.shape[:2]
    if groups < 1 or outs % groups or x.shape[1] != ins * groups:
        msg = f"{groups} groups of a kernel {weight.shape} do not fit a tensor {x.shape}"
        raise NneqError(msg)
    windows = window_attributes(call, x, weight.shape[2:])
    if windows.kernel != weight.shape[2:]:
        msg = f"kernel_shape {windows.kernel} is not the kernel's {weight.shape[2:]}"
        raise NneqError(msg)
    if weight.array is None:
        out = _live_kernel(b, x, weight, windows, groups)
    else:
        kernel = weight.array if x.array is None else np.asarray(wide(weight).array)
        out = b.conv(
            wide(x), kernel, strides=windows.strides, dilations=windows.dilations,
            pads=windows.pads, groups=groups,
        )  # fmt: skip
    check_size(out.shape, MAX_LIVE)
    return _typed(_with_bias(b, out, call.optional(2)), x)


def _typed(out: Value, x: Value) -> Value:
    return out if out.array is not None else retyped(out, x.dtype)


def _live_kernel(b: Builder, x: Value, weight: Value, windows: Windows, groups: int) -> Value:
    """Return the convolution with a kernel that depends on the inputs: windows times kernel."""
    n, channels = x.shape[:2]
    outs = weight.shape[0]
    place, spatial = _window_places(x.shape[2:], windows)
    count = math.prod(windows.kernel)
    points = math.prod(x.shape[2:])
    check_size((n, channels, math.prod(spatial), count), MAX_LIVE // 2, "the windows")
    lead = np.arange(n * channels).reshape(n, channels, 1, 1) * points
    index = np.where(place < 0, -1, lead + place)
    taken = b.take(x, index)
    per = channels // groups
    patches = b.reshape(taken, (n, groups, per, math.prod(spatial), count))
    kernel = b.reshape(weight, (groups, outs // groups, per, count))
    out = b.einsum("ngcpk,gmck->ngmp", patches, kernel)
    return b.reshape(out, (n, outs, *spatial))


def _window_places(spatial: Sequence[int], windows: Windows) -> tuple[Array, tuple[int, ...]]:
    """Return ``(points, slots)`` places in one plane, -1 in the padding, and the new extents."""
    rank = len(spatial)
    flat: Array = np.zeros((1,) * (2 * rank), dtype=np.int64)
    inside: Array = np.ones((1,) * (2 * rank), dtype=bool)
    outs = []
    for axis, size in enumerate(spatial):
        before, after = windows.pads[axis]
        reach = windows.dilations[axis] * (windows.kernel[axis] - 1) + 1
        count = (size + before + after - reach) // windows.strides[axis] + 1
        outs.append(max(0, count))
        at = (
            np.arange(max(0, count))[:, None] * windows.strides[axis]
            - before
            + np.arange(windows.kernel[axis]) * windows.dilations[axis]
        )
        shape = [1] * (2 * rank)
        shape[axis], shape[rank + axis] = at.shape
        flat = flat * size + np.clip(at, 0, size - 1).reshape(shape)
        inside = inside & ((at >= 0) & (at < size)).reshape(shape)
    found = np.where(inside, flat, -1).reshape(math.prod(outs), math.prod(windows.kernel))
    return found, tuple(outs)


@operator("ConvTranspose")
def conv_transpose(call: Call) -> Value:
    """The transposed convolution: the adjoint of a convolution of the result's shape."""
    b, x, weight = call.builder, call.input(0), call.input(1)
    groups = int(call.attribute("group"))
    rank = len(x.shape) - 2
    if rank < 1 or len(weight.shape) != rank + 2 or x.shape[1] != weight.shape[0]:
        msg = f"a kernel of shape {weight.shape} does not fit a tensor of shape {x.shape}"
        raise NneqError(msg)
    if groups < 1 or weight.shape[0] % groups:
        msg = f"{groups} groups of {weight.shape[0]} channels"
        raise NneqError(msg)
    strides = _tuple(call, "strides", rank, 1)
    dilations = _tuple(call, "dilations", rank, 1)
    extra = _tuple(call, "output_padding", rank, 0)
    kernel = weight.shape[2:]
    full = [
        (size - 1) * stride + (k - 1) * dilation + 1
        for size, stride, k, dilation in zip(x.shape[2:], strides, kernel, dilations, strict=True)
    ]
    outs, pads = _transposed_extents(call, x.shape[2:], full, strides, extra)
    check_size((x.shape[0], weight.shape[1] * groups, *outs), MAX_LIVE)
    check_size((x.shape[0], weight.shape[1] * groups, *full), MAX_LIVE)
    shape = (x.shape[0], weight.shape[1] * groups, *full)
    if weight.array is None:
        out = _live_transposed(b, x, weight, strides, dilations, groups, full)
    else:
        inner = lm.Conv(weight.array, shape, strides, dilations, ((0, 0),) * rank, groups)
        out = b.linear(wide(x), lm.ConvTranspose(inner))
    crop = [
        (-before, size - (whole - before))
        for (before, _), size, whole in zip(pads, outs, full, strict=True)
    ]
    out = b.pad(out, [(0, 0), (0, 0), *crop])
    return _typed(_with_bias(b, out, call.optional(2)), x)


def _tuple(call: Call, name: str, rank: int, default: int) -> tuple[int, ...]:
    found = call.attribute(name)
    values = tuple(int(v) for v in found) if found is not None else (default,) * rank
    if len(values) != rank or min(values) < default:
        msg = f"{name} {values} over {rank} spatial axes"
        raise NneqError(msg)
    return values


def _transposed_extents(
    call: Call,
    spatial: Sequence[int],
    full: Sequence[int],
    strides: Sequence[int],
    extra: Sequence[int],
) -> tuple[list[int], list[tuple[int, int]]]:
    """Return the result's extents and how much is cut off before and after."""
    rank = len(full)
    mode = call.attribute("auto_pad") or "NOTSET"
    wanted = call.attribute("output_shape")
    pads = [int(p) for p in (call.attribute("pads") or [0] * (2 * rank))]
    outs, cuts = [], []
    for axis in range(rank):
        whole = full[axis] + extra[axis]
        if wanted is not None or mode in {"SAME_UPPER", "SAME_LOWER"}:
            size = (
                int(wanted[len(wanted) - rank + axis])
                if wanted is not None
                else spatial[axis] * strides[axis]
            )
            total = max(0, whole - size)
            small = total // 2
            before = total - small if mode != "SAME_UPPER" else small
            outs.append(size)
            cuts.append((before, total - before))
        elif mode in {"NOTSET", "", "VALID"}:
            before, after = (0, 0) if mode == "VALID" else (pads[axis], pads[rank + axis])
            outs.append(whole - before - after)
            cuts.append((before, after))
        else:
            msg = f"auto_pad {mode!r} is not known"
            raise NneqError(msg)
    if min(outs) < 0:
        msg = f"the result would have the extents {outs}"
        raise NneqError(msg)
    return outs, cuts


def _live_transposed(
    b: Builder,
    x: Value,
    weight: Value,
    strides: Sequence[int],
    dilations: Sequence[int],
    groups: int,
    full: Sequence[int],
) -> Value:
    """Return the transposed convolution with a live kernel: a convolution of the spread operand."""
    rank = len(strides)
    spread = [(size - 1) * stride + 1 for size, stride in zip(x.shape[2:], strides, strict=True)]
    cut = lm.Slice((*x.shape[:2], *spread), (0,) * (rank + 2), (1, 1, *strides), tuple(x.shape))
    wide_x = b.linear(x, lm.Place(cut))
    ins, per = weight.shape[:2]
    kernel = weight.shape[2:]
    grouped = b.reshape(weight, (groups, ins // groups, per, *kernel))
    turned = b.permute(grouped, (0, 2, 1, *range(3, 3 + rank)))
    flipped = b.reshape(turned, (groups * per, ins // groups, *kernel))
    for axis in range(2, 2 + rank):
        size = flipped.shape[axis]
        flipped = b.slice_axis(flipped, axis, size - 1, size, -1)
    pads = tuple(((k - 1) * d, (k - 1) * d) for k, d in zip(kernel, dilations, strict=True))
    windows = Windows(tuple(kernel), (1,) * rank, tuple(dilations), pads)
    out = _live_kernel(b, wide_x, flipped, windows, groups)
    if out.shape[2:] != tuple(full):
        msg = f"the transposed convolution has extents {out.shape[2:]}, not {tuple(full)}"
        raise NneqError(msg)
    return out
