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

_WINDOW_LIMIT = 1 << 26


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
    """Return strides, pads and dilations with their defaults: 1, none, 1."""
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
        count = pooled_extent(size, kernel[axis], strides[axis], dilations[axis], pair, ceil_mode)
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
    offsets = (np.arange(math.prod(lead), dtype=small) * points).reshape(*lead, *(1,) * place.ndim)
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
    # Among the slots that hold the maximum the earliest place wins: earlier place, larger score.
    # A slot of the padding repeats an earlier or later slot; only the first of equals may win.
    score = points - place.astype(np.float64) + _first_of_equals(place) * 0.5
    scored = b.where(hit, b.constant(score), b.constant(np.float64(0.0)))
    best = b.max(scored, (-1,), keepdims=True)
    number = place
    if column_major:
        number = np.ravel_multi_index(np.unravel_index(place, spatial), spatial, order="F")
    won = b.where(
        b.compare(scored, ">=", best),
        b.constant(number.astype(np.float64)),
        b.constant(np.float64(0.0)),
    )
    index = b.sum(won, (-1,))
    if not per_plane:
        lead = np.arange(math.prod(x.shape[:2])).reshape(*x.shape[:2], *(1,) * len(spatial))
        index = b.add(index, b.constant(lead.astype(np.float64) * points))
    return Value(index.shape, np.dtype(np.int64), node=index.node, array=index.array)


def _first_of_equals(place: Array) -> Array:
    """Return 1 at the first slot of every window that shows a place, 0 at its repetitions."""
    earlier = np.tril(np.ones((place.shape[-1],) * 2, dtype=bool), -1)
    found: Array = ~((place[..., :, None] == place[..., None, :]) & earlier).any(axis=-1)
    return found


def _window_sum(
    b: Builder,
    x: Value,
    kernel: Sequence[int],
    strides: Sequence[int],
    pads: Pads,
    dilations: Sequence[int],
    ceil_mode: bool,
) -> tuple[Value, Pads]:
    """Return the sum over every window and the pads grown so that the last window is whole."""
    channels = x.shape[1]
    grown = []
    for axis, size in enumerate(x.shape[2:]):
        k, stride, dilation, (before, after) = (
            kernel[axis],
            strides[axis],
            dilations[axis],
            pads[axis],
        )
        count = pooled_extent(size, k, stride, dilation, (before, after), ceil_mode)
        reach = (count - 1) * stride + dilation * (k - 1) + 1
        grown.append((before, max(after, reach - size - before)))
    weight = np.broadcast_to(np.float32(1.0), (channels, 1, *kernel))
    out = b.conv(x, weight, strides=strides, dilations=dilations, pads=grown, groups=channels)
    return out, tuple(grown)


def average_pool(
    b: Builder,
    x: Value,
    kernel: Sequence[int],
    strides: Sequence[int] | None = None,
    pads: Pads | None = None,
    dilations: Sequence[int] | None = None,
    *,
    ceil_mode: bool = False,
    count_include_pad: bool = False,
    divisor: float | None = None,
) -> Value:
    """Return the mean over windows of ``x`` ``(N, C, *spatial)``.

    Args:
        b: the builder.
        x: the tensor.
        kernel: window extents, one per spatial axis.
        strides: steps between windows; 1 when None.
        pads: ``(before, after)`` zeros per spatial axis.
        dilations: steps between the entries of a window; 1 when None.
        ceil_mode: keep a last window that reaches over the end.
        count_include_pad: count the declared padding (never what ``ceil_mode`` adds behind it).
        divisor: divide by this instead of by the count.

    Returns:
        ``(N, C, *windows)``.

    Raises:
        UnsupportedError: when a window holds no entry of ``x``, or shapes do not fit.
    """
    steps, margins, gaps = _filled(x, kernel, strides, pads, dilations)
    total, _ = _window_sum(b, x, kernel, steps, margins, gaps, ceil_mode)
    if divisor is not None:
        return b.divide(total, b.constant(np.float64(divisor)))
    counts = np.ones((1,) * len(kernel))
    for axis, size in enumerate(x.shape[2:]):
        before, after = margins[axis]
        low, high = (-before, size + after) if count_include_pad else (0, size)
        at = (
            np.arange(total.shape[2 + axis])[:, None] * steps[axis]
            - before
            + np.arange(kernel[axis])[None, :] * gaps[axis]
        )
        along = ((at >= low) & (at < high)).sum(axis=1).astype(np.float64)
        counts = counts * along.reshape(-1, *(1,) * (len(kernel) - 1 - axis))
    if not counts.all():
        msg = "an average pooling window lies entirely in the padding (0 / 0)"
        raise UnsupportedError(msg)
    if (counts == counts.flat[0]).all():
        counts = counts.reshape(-1)[:1].reshape((1,) * len(kernel))
    return b.divide(total, b.constant(counts))


def lp_pool(
    b: Builder,
    x: Value,
    kernel: Sequence[int],
    strides: Sequence[int] | None = None,
    pads: Pads | None = None,
    dilations: Sequence[int] | None = None,
    *,
    p: float = 2.0,
    ceil_mode: bool = False,
    signed: bool = False,
) -> Value:
    """Return the p-norm of every window of ``x`` ``(N, C, *spatial)``.

    Args:
        b: the builder.
        x: the tensor.
        kernel: window extents, one per spatial axis.
        strides: steps between windows; 1 when None.
        pads: ``(before, after)`` zeros per spatial axis.
        dilations: steps between the entries of a window; 1 when None.
        p: the exponent, positive.
        ceil_mode: keep a last window that reaches over the end.
        signed: sum ``x**p`` instead of ``|x|**p`` (PyTorch's form).

    Returns:
        ``(N, C, *windows)``.
    """
    steps, margins, gaps = _filled(x, kernel, strides, pads, dilations)
    source = x if signed or p == 2 else b.elementwise("abs", x)
    powers = b.power(source, b.constant(np.float64(p)))
    total, _ = _window_sum(b, powers, kernel, steps, margins, gaps, ceil_mode)
    return b.power(total, b.constant(np.float64(1.0 / p)))
