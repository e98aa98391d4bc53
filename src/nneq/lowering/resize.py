"""Resizing by separable interpolation: one small matrix (or gather) per axis.

The matrix of an axis is ``(size_out, size_in)``; row ``o`` holds the weights of output ``o``.
Positions, modes and names follow ONNX ``Resize``; PyTorch's ``interpolate`` and Keras' upsampling
are special cases (``half_pixel``, ``align_corners``, ``asymmetric``).
"""

from __future__ import annotations

import string
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from nneq.errors import UnsupportedError
from nneq.lowering.builder import Builder, Value

__all__ = ["interpolation_matrix", "resize", "sample_positions"]

Array = np.ndarray[Any, Any]


def sample_positions(
    size_in: int,
    size_out: int,
    transform: str = "half_pixel",
    *,
    scale: float | None = None,
    roi: tuple[float, float] = (0.0, 1.0),
) -> Array:
    """Return where output places lie in the input, ``(size_out,)``.

    Args:
        size_in: input extent.
        size_out: output extent.
        transform: ``half_pixel``, ``half_pixel_symmetric``, ``pytorch_half_pixel``,
            ``align_corners``, ``asymmetric`` or ``tf_crop_and_resize``.
        scale: output per input; ``size_out / size_in`` when None.
        roi: start and end of the region, for ``tf_crop_and_resize``.

    Raises:
        UnsupportedError: for another transform.
    """
    factor = size_out / size_in if scale is None else scale
    x = np.arange(size_out, dtype=np.float64)
    if transform == "asymmetric":
        return x / factor
    if transform == "align_corners":
        return x * ((size_in - 1) / (size_out - 1)) if size_out > 1 else x * 0.0
    if transform == "pytorch_half_pixel":
        return (x + 0.5) / factor - 0.5 if size_out > 1 else x * 0.0
    if transform == "half_pixel":
        return (x + 0.5) / factor - 0.5
    if transform == "half_pixel_symmetric":
        adjustment = size_out / (factor * size_in)
        offset = size_in / 2 * (1 - adjustment)
        return offset + (x + 0.5) / factor - 0.5
    if transform == "tf_crop_and_resize":
        start, end = roi
        if size_out > 1:
            return start * (size_in - 1) + x * (end - start) * (size_in - 1) / (size_out - 1)
        return np.full(1, 0.5 * (start + end) * (size_in - 1))
    msg = f"the coordinate transformation {transform!r} is not known"
    raise UnsupportedError(msg)


def _nearest(positions: Array, rounding: str) -> Array:
    if rounding == "round_prefer_floor":
        return np.ceil(positions - 0.5)
    if rounding == "round_prefer_ceil":
        return np.floor(positions + 0.5)
    if rounding == "floor":
        return np.floor(positions)
    if rounding == "ceil":
        return np.ceil(positions)
    msg = f"the rounding {rounding!r} is not known"
    raise UnsupportedError(msg)


def _triangle(distance: Array) -> Array:
    return np.maximum(0.0, 1.0 - np.abs(distance))


def _cubic(coefficient: float) -> Callable[[Array], Array]:
    """Return Keys' cubic convolution kernel (R. Keys 1981)."""

    def kernel(distance: Array) -> Array:
        d = np.abs(distance)
        near = ((coefficient + 2) * d - (coefficient + 3)) * d * d + 1
        far = ((coefficient * d - 5 * coefficient) * d + 8 * coefficient) * d - 4 * coefficient
        return np.where(d <= 1, near, np.where(d < 2, far, 0.0))  # support

    return kernel


def interpolation_matrix(
    positions: Array,
    size_in: int,
    mode: str,
    *,
    rounding: str = "round_prefer_floor",
    coefficient: float = -0.75,
    exclude_outside: bool = False,
    antialias_scale: float | None = None,
) -> Array:
    """Return the matrix ``(size_out, size_in)`` that samples an axis at ``positions``.

    Positions outside the axis use its nearest entry (edge padding).

    Args:
        positions: see :func:`sample_positions`.
        size_in: input extent.
        mode: ``nearest``, ``linear`` or ``cubic``.
        rounding: of ``nearest``: ``round_prefer_floor``, ``round_prefer_ceil``, ``floor`` or
            ``ceil``.
        coefficient: ``a`` of the cubic kernel.
        exclude_outside: give no weight to places outside and renormalise.
        antialias_scale: output per input when below 1 the kernel is stretched by its inverse; None
            for no antialiasing.

    Raises:
        UnsupportedError: for another mode.
    """
    count = len(positions)
    matrix = np.zeros((count, size_in))
    if mode == "nearest":
        index = np.clip(_nearest(positions, rounding), 0, size_in - 1).astype(np.int64)
        matrix[np.arange(count), index] = 1.0
        return matrix
    kernel: Callable[[Array], Array]
    if mode == "linear":
        kernel, support = _triangle, 1.0
    elif mode == "cubic":
        kernel, support = _cubic(coefficient), 2.0
    else:
        msg = f"the interpolation {mode!r} is not known"
        raise UnsupportedError(msg)
    stretch = max(1.0, 1.0 / antialias_scale) if antialias_scale is not None else 1.0
    reach = support * stretch
    first = np.floor(positions - reach).astype(np.int64)
    taps = first[:, None] + np.arange(int(np.ceil(2 * reach)) + 2)
    weights = kernel((taps - positions[:, None]) / stretch)
    outside = (taps < 0) | (taps >= size_in)
    if exclude_outside:
        weights = np.where(outside, 0.0, weights)
    if exclude_outside or stretch != 1.0:
        weights = weights / weights.sum(axis=1, keepdims=True)
    rows = np.broadcast_to(np.arange(count)[:, None], taps.shape)
    np.add.at(matrix, (rows, np.clip(taps, 0, size_in - 1)), weights)
    return matrix


def resize(b: Builder, x: Value, matrices: Mapping[int, Array]) -> Value:
    """Return ``x`` with the axes in ``matrices`` multiplied by their ``(size_out, size_in)`` ones.

    A matrix whose rows select one entry each becomes an exact gather.
    """
    for axis, matrix in matrices.items():
        at = axis % len(x.shape)
        count, size = matrix.shape
        if size != x.shape[at]:
            msg = f"a matrix for {size} entries does not fit axis {at} of {x.shape}"
            raise UnsupportedError(msg)
        if count == size and np.array_equal(matrix, np.eye(size)):
            continue
        index = matrix.argmax(axis=1)
        if ((matrix != 0).sum(axis=1) == 1).all() and (matrix[np.arange(count), index] == 1).all():
            x = b.gather(x, index, at)
            continue
        letters = string.ascii_letters[: len(x.shape)]
        new = string.ascii_letters[len(x.shape)]
        out = letters.replace(letters[at], new)
        dtype = x.dtype
        x = b.einsum(f"{new}{letters[at]},{letters}->{out}", b.constant(matrix), x)
        x = Value(x.shape, dtype if dtype.kind == "f" else x.dtype, node=x.node, array=x.array)
    return x
