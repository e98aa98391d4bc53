"""Image operations of ``keras.ops.image`` that are linear, and patches."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from nneq.adapters.keras.ops_linear import (
    channels_first,
    channels_last_axis,
    from_channels_first,
    same_pads,
    spread,
)
from nneq.adapters.keras.registry import operation
from nneq.errors import UnsupportedError
from nneq.lowering import Value
from nneq.lowering.resize import interpolation_matrix, sample_positions

if TYPE_CHECKING:
    from nneq.adapters.keras.walk import Walk

__all__ = ["resize_images"]


@operation("Resize")
def _resize(walk: Walk, op: Any, images: Any) -> Value:
    if op.crop_to_aspect_ratio or op.pad_to_aspect_ratio:
        msg = "resizing that keeps the aspect ratio is not supported; crop or pad first"
        raise UnsupportedError(msg)
    return resize_images(walk, walk.value(images), op.size, op.interpolation, op)


def resize_images(walk: Walk, x: Value, size: Any, interpolation: str, op: Any) -> Value:
    """Return images at another size (half-pixel positions), one small matrix per axis."""
    b = walk.b
    if interpolation not in {"nearest", "bilinear"} or op.antialias:
        msg = f"resizing by {interpolation!r} (antialias={op.antialias}) is not supported"
        raise UnsupportedError(msg)
    first = len(x.shape) - (3 if channels_last_axis(op.data_format) else 2)
    for axis, count in enumerate(size, start=first):
        extent = x.shape[axis]
        if extent == count:
            continue
        positions = sample_positions(extent, int(count), "half_pixel")
        if interpolation == "nearest":
            # floor((k + 1/2) scale): TensorFlow's half-pixel centres
            places = np.floor((np.arange(count) + 0.5) * (extent / count)).astype(int)
            x = b.gather(x, np.minimum(places, extent - 1), axis)
            continue
        if x.dtype == np.float64:
            walk.in_single("bilinear resizing")
        matrix = interpolation_matrix(positions, extent, "linear")
        others = [k for k in range(len(x.shape)) if k != axis]
        moved = b.matmul(b.permute(x, [*others, axis]), b.constant(matrix.T))
        back = list(range(len(others)))
        back.insert(axis, len(others))
        x = b.permute(moved, back)
    return x


@operation("RGBToGrayscale")
def _grayscale(walk: Walk, op: Any, images: Any) -> Value:
    b, x = walk.b, walk.value(images)
    axis = len(x.shape) - (1 if channels_last_axis(op.data_format) else 3)
    weights = np.array([0.2989, 0.5870, 0.1140])
    shape = [1] * len(x.shape)
    shape[axis] = 3
    return b.sum(b.multiply(x, b.constant(weights.reshape(shape))), (axis,), keepdims=True)


@operation("ExtractPatches")
def _patches(walk: Walk, op: Any, images: Any) -> Value:
    b = walk.b
    given = walk.value(images)
    rank = 2 if isinstance(op.size, int) else len(op.size)
    lead = len(given.shape) == rank + 1
    x = b.reshape(given, (1, *given.shape)) if lead else given
    x = channels_first(walk, x, op.data_format)
    size = spread(op.size, rank)
    strides = size if op.strides is None else spread(op.strides, rank)
    gaps = spread(op.dilation_rate, rank)
    channels = x.shape[1]
    inner = channels * int(np.prod(size))
    kernel = np.eye(inner, dtype=np.float32).reshape(inner, *size, channels)
    weight = kernel.transpose(0, rank + 1, *range(1, rank + 1))
    pads = ((0, 0),) * rank
    if op.padding == "same":
        pads = same_pads(x.shape[2:], size, strides, gaps)
    out = b.conv(x, weight, strides=strides, dilations=gaps, pads=pads)
    out = from_channels_first(walk, out, op.data_format)
    return b.reshape(out, out.shape[1:]) if lead else out


@operation("PadImages", "CropImages")
def _margins(walk: Walk, op: Any, images: Any) -> Value:
    x = walk.value(images)
    first = len(x.shape) - (3 if channels_last_axis(op.data_format) else 2)
    pad = type(op).__name__ == "PadImages"
    name = "padding" if pad else "cropping"
    margins = [(0, 0)] * len(x.shape)
    sides = (("top", "bottom", "height"), ("left", "right", "width"))
    for axis, (low, high, extent) in enumerate(sides, start=first):
        before, after = getattr(op, f"{low}_{name}"), getattr(op, f"{high}_{name}")
        size, target = x.shape[axis], getattr(op, f"target_{extent}")
        change = 0 if target is None else (target - size if pad else size - target)
        before = change - after if before is None else before
        after = change - before if after is None else after
        margins[axis] = (before, after) if pad else (-before, -after)
    return walk.b.pad(x, margins)


@operation("Unfold")
def _unfold(walk: Walk, op: Any, x: Any) -> Value:
    b, value = walk.b, walk.value(x)
    size, gaps = spread(op.kernel_size, 2), spread(op.dilation, 2)
    strides, pads = spread(op.stride, 2), spread(op.padding, 2)
    inner = value.shape[1] * size[0] * size[1]
    weight = np.eye(inner, dtype=np.float32).reshape(inner, value.shape[1], *size)
    margins = [(p, p) for p in pads]
    out = b.conv(value, weight, strides=strides, dilations=gaps, pads=margins)
    return b.reshape(out, (*out.shape[:2], out.shape[2] * out.shape[3]))
