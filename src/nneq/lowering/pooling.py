"""Pooling of ``(N, C, *spatial)`` tensors: maximum, average and p-norm over sliding windows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from nneq.errors import UnsupportedError
from nneq.lowering.builder import Builder, Value

__all__ = ["average_pool", "lp_pool", "max_pool", "max_pool_indices", "pooled_extent"]

Array = np.ndarray[Any, Any]
Pads = Sequence[tuple[int, int]]

_WINDOW_LIMIT = 1 << 28


def pooled_extent(
    size: int, kernel: int, stride: int, dilation: int, pads: tuple[int, int], ceil_mode: bool
) -> int:
    """Return the number of windows along one axis.

    With ``ceil_mode`` a last window that would start in the padding behind the input is dropped,
    as PyTorch and ONNX (opset 19 and later) do.

    Raises:
        UnsupportedError: when not one window fits.
    """
    before, after = pads
    free = size + before + after - dilation * (kernel - 1) - 1
    count = (-(-free // stride) if ceil_mode else free // stride) + 1
    if ceil_mode and (count - 1) * stride >= size + before:
        count -= 1
    if count < 1:
        msg = f"a window of {kernel} (dilation {dilation}) does not fit {size} entries, pads {pads}"
        raise UnsupportedError(msg)
    return count


def _filled(
    x: Value,
    kernel: Sequence[int],
    strides: Sequence[int] | None,
    pads: Pads | None,
    dilations: Sequence[int] | None,
) -> tuple[Sequence[int], Pads, Sequence[int]]:
    """Return strides, pads and dilations with PyTorch-free defaults: 1, none, 1."""
    rank = len(x.shape) - 2
    if rank < 1 or len(kernel) != rank:
        msg = f"a window of {len(kernel)} axes does not fit a tensor of shape {x.shape}"
        raise UnsupportedError(msg)
    return strides or (1,) * rank, pads or ((0, 0),) * rank, dilations or (1,) * rank


def _window_index(
    x: Value,
    kernel: Sequence[int],
    strides: Sequence[int],
    pads: Pads,
    dilations: Sequence[int],
    ceil_mode: bool,
) -> Array:
    """Return, for every window and slot, the place of its entry among the spatial entries.

    Slots in the padding repeat an entry of the same window, which leaves the maximum unchanged.
    The result is ``(windows..., slots)`` flattened over the kernel.
    """
    spatial = x.shape[2:]
    rank = len(spatial)
    place = np.zeros((1,) * (2 * rank), dtype=np.int64)
    outs = []
    for axis, size in enumerate(spatial):
        pair = pads[axis]
        count = pooled_extent(
            size, kernel[axis], strides[axis], dilations[axis], pair, ceil_mode
        )
        outs.append(count)
        at = (
            np.arange(count)[:, None] * strides[axis]
            - pair[0]
            + np.arange(kernel[axis])[None, :] * dilations[axis]
        )
        inside = (at >= 0) & (at < size)
        if not inside.any(axis=1).all():
            msg = "a pooling window lies entirely in the padding (its maximum is -inf)"
            raise UnsupportedError(msg)
        first = at[np.arange(count), inside.argmax(axis=1)]
        at = np.where(inside, at, first[:, None])
        shape = [1] * (2 * rank)
        shape[axis], shape[rank + axis] = at.shape
        place = place * size + at.reshape(shape)
    return place.reshape(*outs, math.prod(kernel))


def _windows(b: Builder, x: Value, place: Array) -> Value:
    lead = x.shape[:2]
    points = math.prod(x.shape[2:])
    if math.prod(lead) * place.size > _WINDOW_LIMIT:
        msg = f"the pooling windows hold {math.prod(lead) * place.size} entries, above the limit"
        raise UnsupportedError(msg)
    small = np.int32 if x.size < 2**31 else np.int64
    offsets = (np.arange(math.prod(lead), dtype=small) * points).reshape(
        *lead, *(1,) * place.ndim
    )
    return b.take(x, offsets + place.astype(small))


def max_pool(
    b: Builder,
    x: Value,
    kernel: Sequence[int],
    strides: Sequence[int] | None = None,
    pads: Pads | None = None,
    dilations: Sequence[int] | None = None,
    *,
    ceil_mode: bool = False,
) -> Value:
    """Return the maximum over windows of ``x`` ``(N, C, *spatial)``.

    Args:
        b: the builder.
        x: the tensor.
        kernel: window extents, one per spatial axis.
        strides: steps between windows; 1 when None (PyTorch's default is ``kernel``: pass it).
        pads: ``(before, after)`` per spatial axis; padding never wins.
        dilations: steps between the entries of a window; 1 when None.
        ceil_mode: keep a last window that reaches over the end.

    Returns:
        ``(N, C, *windows)``.

    Raises:
        UnsupportedError: when a window holds no entry of ``x``, or shapes do not fit.
    """
    steps, margins, gaps = _filled(x, kernel, strides, pads, dilations)
    place = _window_index(x, kernel, steps, margins, gaps, ceil_mode)
    return b.max(_windows(b, x, place), (-1,))


def max_pool_indices(
    b: Builder,
    x: Value,
    kernel: Sequence[int],
    strides: Sequence[int] | None = None,
    pads: Pads | None = None,
    dilations: Sequence[int] | None = None,
    *,
    ceil_mode: bool = False,
    column_major: bool = False,
    per_plane: bool = False,
) -> Value:
    """Return where the maximum of every window stands (the first one in row-major order).

    Args:
        b: the builder.
        x: ``(N, C, *spatial)``.
        kernel: see :func:`max_pool`.
        strides: see :func:`max_pool`.
        pads: see :func:`max_pool`.
        dilations: see :func:`max_pool`.
        ceil_mode: see :func:`max_pool`.
        column_major: count the spatial entries with the first axis fastest.
        per_plane: count within one plane (PyTorch) instead of through the whole tensor (ONNX).

    Returns:
        An integer value ``(N, C, *windows)``.
    """
    steps, margins, gaps = _filled(x, kernel, strides, pads, dilations)
    place = _window_index(x, kernel, steps, margins, gaps, ceil_mode)
    windows = _windows(b, x, place)
    highest = b.max(windows, (-1,), keepdims=True)
    hit = b.compare(windows, ">=", highest)
    spatial = x.shape[2:]
    points = math.prod(spatial)
    number = place
    if column_major:
        number = np.ravel_multi_index(np.unravel_index(place, spatial), spatial, order="F")
    # Among the slots that hold the maximum the earliest place wins: larger score, earlier place.
    score = b.where(hit, b.constant((points - place).astype(np.float64)), b.constant(0.0))
    best = b.subtract(b.constant(np.float64(points)), b.max(score, (-1,)))
    if column_major:
        table = b.constant(np.arange(points).reshape(spatial).ravel())
        del number, table
        rows = b.elementwise("floor", b.scale(best, np.array(1.0 / spatial[-1])))
        best = _to_column_major(b, best, rows, spatial)
    if not per_plane:
        lead = np.arange(math.prod(x.shape[:2])).reshape(*x.shape[:2], *(1,) * len(spatial))
        best = b.add(best, b.constant(lead.astype(np.float64) * points))
    return Value(best.shape, np.dtype(np.int64), node=best.node, array=best.array)
