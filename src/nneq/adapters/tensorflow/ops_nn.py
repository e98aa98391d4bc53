"""Convolutions, pooling, normalisation, softmax and resizing of TensorFlow graphs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from nneq.adapters.tensorflow.registry import operation
from nneq.errors import UnsupportedError
from nneq.ir import linear_map as lm
from nneq.lowering import Value
from nneq.lowering.normalization import batch_norm
from nneq.lowering.pooling import average_pool, max_pool
from nneq.lowering.resize import interpolation_matrix, sample_positions

if TYPE_CHECKING:
    from nneq.adapters.tensorflow.walk import Walk

__all__: list[str] = []

Array = np.ndarray[Any, Any]
Pads = tuple[tuple[int, int], ...]


def _text(op: Any, name: str) -> str:
    found = op.get_attr(name)
    return found.decode() if isinstance(found, bytes) else str(found)


def _last(op: Any) -> bool:
    return _text(op, "data_format").endswith("C")


def _first(walk: Walk, x: Value, op: Any) -> Value:
    """Return ``(N, C, *spatial)``."""
    rank = len(x.shape)
    return walk.b.permute(x, (0, rank - 1, *range(1, rank - 1))) if _last(op) else x


def _back(walk: Walk, x: Value, op: Any) -> Value:
    rank = len(x.shape)
    return walk.b.permute(x, (0, *range(2, rank), 1)) if _last(op) else x


def _spatial(op: Any, name: str) -> tuple[int, ...]:
    found = [int(k) for k in op.get_attr(name)]
    return tuple(found[1:-1] if _last(op) else found[2:])


def _pads(
    op: Any,
    sizes: Sequence[int],
    kernel: Sequence[int],
    strides: Sequence[int],
    gaps: Sequence[int],
) -> Pads:
    """Return the padding; with ``SAME`` the odd zero goes behind."""
    padding = _text(op, "padding")
    if padding == "VALID":
        return ((0, 0),) * len(kernel)
    if padding == "EXPLICIT":
        flat = [int(k) for k in op.get_attr("explicit_paddings")]
        pairs = list(zip(flat[::2], flat[1::2], strict=True))
        return tuple(pairs[1:-1] if _last(op) else pairs[2:])
    pads = []
    for size, k, s, d in zip(sizes, kernel, strides, gaps, strict=True):
        total = max((-(-size // s) - 1) * s + d * (k - 1) + 1 - size, 0)
        pads.append((total // 2, total - total // 2))
    return tuple(pads)


def _kernel_first(kernel: Array) -> Array:
    rank = kernel.ndim - 2
    return kernel.transpose(rank + 1, rank, *range(rank))


@operation("Conv2D", "Conv3D", "DepthwiseConv2dNative")
def _conv(walk: Walk, op: Any, x: Value, kernel: Value) -> Value:
    array = walk.array(kernel)
    value = _first(walk, x, op)
    if op.type == "DepthwiseConv2dNative":
        height, width, channels, multiplier = array.shape
        weight = array.transpose(2, 3, 0, 1).reshape(channels * multiplier, 1, height, width)
        groups = channels
    else:
        weight = _kernel_first(array)
        groups = value.shape[1] // weight.shape[1]
    strides, gaps = _spatial(op, "strides"), _spatial(op, "dilations")
    pads = _pads(op, value.shape[2:], weight.shape[2:], strides, gaps)
    out = walk.b.conv(value, weight, strides=strides, dilations=gaps, pads=pads, groups=groups)
    return _back(walk, out, op)


@operation("Conv2DBackpropInput", "Conv3DBackpropInputV2")
def _conv_transpose(walk: Walk, op: Any, sizes: Value, kernel: Value, x: Value) -> Value:
    weight = _kernel_first(walk.array(kernel))
    full = walk.integers(sizes)
    spatial = full[1:-1] if _last(op) else full[2:]
    value = _first(walk, x, op)
    strides, gaps = _spatial(op, "strides"), _spatial(op, "dilations")
    pads = _pads(op, spatial, weight.shape[2:], strides, gaps)
    shape = (value.shape[0], weight.shape[1], *spatial)
    groups = value.shape[1] // weight.shape[0]
    if groups != 1:
        msg = "a grouped transposed convolution is not supported"
        raise UnsupportedError(msg)
    forward = lm.Conv(weight, shape, strides, gaps, pads)
    return _back(walk, walk.b.linear(value, lm.ConvTranspose(forward)), op)


@operation("BiasAdd")
def _bias_add(walk: Walk, op: Any, x: Value, bias: Value) -> Value:
    if _last(op):
        return walk.b.add(x, bias)
    return walk.b.add(x, walk.b.reshape(bias, (bias.size, *(1,) * (len(x.shape) - 2))))


@operation("MaxPool", "MaxPool3D", "AvgPool", "AvgPool3D")
def _pool(walk: Walk, op: Any, x: Value) -> Value:
    value = _first(walk, x, op)
    kernel, strides = _spatial(op, "ksize"), _spatial(op, "strides")
    pads = _pads(op, value.shape[2:], kernel, strides, (1,) * len(kernel))
    pool = max_pool if op.type.startswith("Max") else average_pool
    return _back(walk, pool(walk.b, value, kernel, strides, pads), op)


@operation("FusedBatchNorm", "FusedBatchNormV2", "FusedBatchNormV3")
def _batch_norm(
    walk: Walk, op: Any, x: Value, scale: Value, offset: Value, mean: Value, variance: Value
) -> Any:
    if op.get_attr("is_training"):
        msg = "batch normalisation in training mode depends on the whole batch"
        raise UnsupportedError(msg)
    axis = len(x.shape) - 1 if _last(op) else 1
    eps = float(str(np.float32(op.get_attr("epsilon"))))
    return batch_norm(walk.b, x, mean, variance, eps=eps, scale=scale, bias=offset, axis=axis)


@operation("Softmax", "LogSoftmax")
def _softmax(walk: Walk, op: Any, x: Value) -> Value:
    return walk.b.softmax(x, -1, log=op.type == "LogSoftmax")


@operation("ResizeBilinear", "ResizeNearestNeighbor")
def _resize(walk: Walk, op: Any, x: Value, size: Value) -> Value:
    b = walk.b
    half, corners = bool(op.get_attr("half_pixel_centers")), bool(op.get_attr("align_corners"))
    transform = "half_pixel" if half else "align_corners" if corners else "asymmetric"
    for axis, count in enumerate(walk.integers(size), start=1):
        extent = x.shape[axis]
        if extent == count:
            continue
        positions = sample_positions(extent, count, transform)
        if op.type == "ResizeNearestNeighbor":
            if half:
                positions = (np.arange(count) + 0.5) * (extent / count)
            places = np.round(positions) if corners else np.floor(positions)
            x = b.gather(x, np.clip(places, 0, extent - 1).astype(int), axis)
            continue
        matrix = interpolation_matrix(positions, extent, "linear")
        others = [k for k in range(len(x.shape)) if k != axis]
        moved = b.matmul(b.permute(x, [*others, axis]), b.constant(matrix.T))
        back = list(range(len(others)))
        back.insert(axis, len(others))
        x = b.permute(moved, back)
    return x


@operation("DepthToSpace", "SpaceToDepth")
def _blocks(walk: Walk, op: Any, x: Value) -> Value:
    b = walk.b
    value = _first(walk, x, op)
    n, c, h, w = value.shape
    k = int(op.get_attr("block_size"))
    if op.type == "DepthToSpace":
        out = b.permute(b.reshape(value, (n, k, k, c // k**2, h, w)), (0, 3, 4, 1, 5, 2))
        out = b.reshape(out, (n, c // k**2, h * k, w * k))
    else:
        out = b.permute(b.reshape(value, (n, c, h // k, k, w // k, k)), (0, 3, 5, 1, 2, 4))
        out = b.reshape(out, (n, c * k**2, h // k, w // k))
    return _back(walk, out, op)


@operation("SpaceToBatchND", "BatchToSpaceND")
def _space_batch(walk: Walk, op: Any, x: Value, block: Value, margins: Value) -> Value:
    """Move blocks between space and batch, as dilated convolutions are written."""
    b = walk.b
    blocks = walk.integers(block)
    pairs = [(int(low), int(high)) for low, high in walk.array(margins)]
    rank, rest = len(blocks), x.shape[1 + len(blocks) :]
    if op.type == "SpaceToBatchND":
        x = b.pad(x, [(0, 0), *pairs, *((0, 0),) * len(rest)])
        split = [e for s, k in zip(x.shape[1:], blocks, strict=False) for e in (s // k, k)]
        y = b.reshape(x, (x.shape[0], *split, *rest))
        inner = [2 * k + 2 for k in range(rank)]
        outer = [2 * k + 1 for k in range(rank)]
        tail = range(1 + 2 * rank, len(y.shape))
        y = b.permute(y, (*inner, 0, *outer, *tail))
        count = x.shape[0] * int(np.prod(blocks))
        return b.reshape(y, (count, *split[::2], *rest))
    batch = x.shape[0] // int(np.prod(blocks))
    y = b.reshape(x, (*blocks, batch, *x.shape[1:]))
    order = [rank]
    for k in range(rank):
        order += [rank + 1 + k, k]
    order += range(2 * rank + 1, len(y.shape))
    y = b.permute(y, order)
    sizes = [s * k for s, k in zip(x.shape[1:], blocks, strict=False)]
    y = b.reshape(y, (batch, *sizes, *rest))
    return b.pad(y, [(0, 0), *((-low, -high) for low, high in pairs), *((0, 0),) * len(rest)])
