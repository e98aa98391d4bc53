r"""Normalisation layers as builder operations.

Batch normalisation with constant statistics is one affine map; everything else is a mean, a
variance, :math:`1/\sqrt{v + \epsilon}` and products.  No framework's defaults are written here:
the caller gives the axes, the constants and ``eps``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from nneq.lowering.builder import Builder, Value

__all__ = [
    "batch_norm",
    "group_norm",
    "inverse_sqrt",
    "layer_norm",
    "lp_norm",
    "lp_normalize",
    "rms_norm",
    "variance",
]


def inverse_sqrt(b: Builder, x: Value) -> Value:
    r""":math:`1/\sqrt x`."""
    return b.elementwise("reciprocal", b.elementwise("sqrt", x))


def variance(
    b: Builder,
    x: Value,
    axes: Sequence[int] | None,
    *,
    correction: float = 0.0,
    keepdims: bool = False,
) -> Value:
    r"""Return :math:`\sum (x - \bar x)^2 / (n - c)` over ``axes`` (all when None).

    Args:
        b: the builder.
        x: any shape.
        axes: the axes of the mean.
        correction: ``c``; 1 is the unbiased estimate.
        keepdims: whether the axes stay with extent 1.
    """
    over = range(len(x.shape)) if axes is None else axes
    count = math.prod(x.shape[axis] for axis in over)
    centred = b.subtract(x, b.mean(x, axes, keepdims=True))
    total = b.sum(b.elementwise("square", centred), axes, keepdims=keepdims)
    return b.divide(total, b.constant(np.float64(max(0.0, count - correction))))


def _along(b: Builder, v: Value, axis: int, rank: int) -> Value:
    """Return the vector ``v`` so that it broadcasts along ``axis`` of a tensor of that rank."""
    return b.reshape(v, (v.size, *(1,) * (rank - 1 - axis % rank)))


def _affine(b: Builder, x: Value, scale: Value | None, bias: Value | None) -> Value:
    if scale is not None:
        x = b.multiply(x, scale)
    return x if bias is None else b.add(x, bias)


def batch_norm(
    b: Builder,
    x: Value,
    mean: Value,
    var: Value,
    *,
    eps: float,
    scale: Value | None = None,
    bias: Value | None = None,
    axis: int = 1,
) -> Value:
    r"""Return :math:`(x - \mu)/\sqrt{v + \epsilon}\,s + \beta` with statistics given per channel.

    Args:
        b: the builder.
        x: any shape; channels on ``axis``.
        mean: ``(C,)``.
        var: ``(C,)``.
        eps: added to ``var``.
        scale: ``(C,)`` or None.
        bias: ``(C,)`` or None.
        axis: the channel axis.
    """
    rank = len(x.shape)
    factor = inverse_sqrt(b, b.add(_wide(b, var), b.constant(np.float64(eps))))
    if scale is not None:
        factor = b.multiply(factor, _wide(b, scale))
    shift = b.negative(b.multiply(_wide(b, mean), factor))
    if bias is not None:
        shift = b.add(shift, bias)
    scaled = b.multiply(x, _along(b, factor, axis, rank))
    return b.add(scaled, _along(b, shift, axis, rank))


def _wide(b: Builder, x: Value) -> Value:
    """Return a constant in float64, so that folding does not round in the stored type."""
    return x if x.array is None else b.constant(x.array.astype(np.float64))


def _standardise(b: Builder, x: Value, axes: Sequence[int], eps: float) -> Value:
    centred = b.subtract(x, b.mean(x, axes, keepdims=True))
    var = b.mean(b.elementwise("square", centred), axes, keepdims=True)
    return b.multiply(centred, inverse_sqrt(b, b.add(var, b.constant(np.float64(eps)))))


def layer_norm(
    b: Builder,
    x: Value,
    axes: Sequence[int],
    *,
    eps: float,
    scale: Value | None = None,
    bias: Value | None = None,
) -> Value:
    r"""Return :math:`(x - \bar x)/\sqrt{\operatorname{var} x + \epsilon}\,s + \beta`.

    Args:
        b: the builder.
        x: any shape.
        axes: the axes of the statistics.
        eps: added to the (biased) variance.
        scale: broadcasts to ``x``, or None.
        bias: broadcasts to ``x``, or None.
    """
    return _affine(b, _standardise(b, x, axes, eps), scale, bias)


def group_norm(
    b: Builder,
    x: Value,
    groups: int,
    *,
    eps: float,
    scale: Value | None = None,
    bias: Value | None = None,
    axis: int = 1,
) -> Value:
    """Return group normalisation; ``groups = C`` is instance normalisation.

    Args:
        b: the builder.
        x: axis 0 is the batch axis; channels on ``axis``.
        groups: divides the number of channels.
        eps: added to the (biased) variance of every group.
        scale: ``(C,)`` or None.
        bias: ``(C,)`` or None.
        axis: the channel axis.
    """
    rank = len(x.shape)
    axis %= rank
    channels = x.shape[axis]
    split = (*x.shape[:axis], groups, channels // groups, *x.shape[axis + 1 :])
    axes = [k for k in range(1, rank + 1) if k != axis]
    out = b.reshape(_standardise(b, b.reshape(x, split), axes, eps), x.shape)
    spread = [None if v is None else _along(b, v, axis, rank) for v in (scale, bias)]
    return _affine(b, out, *spread)


def rms_norm(
    b: Builder,
    x: Value,
    axes: Sequence[int],
    *,
    eps: float,
    scale: Value | None = None,
) -> Value:
    r"""Return :math:`x/\sqrt{\overline{x^2} + \epsilon}\,s`; ``scale`` broadcasts to ``x``."""
    square = b.mean(b.elementwise("square", x), axes, keepdims=True)
    out = b.multiply(x, inverse_sqrt(b, b.add(square, b.constant(np.float64(eps)))))
    return _affine(b, out, scale, None)


def lp_norm(
    b: Builder,
    x: Value,
    p: float,
    axes: Sequence[int] | None,
    *,
    keepdims: bool = False,
) -> Value:
    r"""Return :math:`(\sum |x|^p)^{1/p}`; ``p`` 0 counts, ``inf`` and ``-inf`` take extremes."""
    if p == 2:
        return b.elementwise("sqrt", b.sum(b.elementwise("square", x), axes, keepdims=keepdims))
    if p == 0:
        zero = b.compare(x, "==", b.constant(np.float64(0.0)))
        count = b.cast(b.logical_not(zero), np.float64)
        return b.sum(count, axes, keepdims=keepdims)
    size = b.elementwise("abs", x)
    if p == math.inf:
        return b.max(size, axes, keepdims=keepdims)
    if p == -math.inf:
        return b.min(size, axes, keepdims=keepdims)
    if p == 1:
        return b.sum(size, axes, keepdims=keepdims)
    total = b.sum(b.power(size, b.constant(np.float64(p))), axes, keepdims=keepdims)
    return b.power(total, b.constant(np.float64(1.0 / p)))


def lp_normalize(
    b: Builder, x: Value, p: float, axes: Sequence[int], *, eps: float | None = None
) -> Value:
    r"""Return :math:`x / \max(\|x\|_p, \epsilon)`; with ``eps`` None a zero norm gives 0."""
    norm = lp_norm(b, x, p, axes, keepdims=True)
    if eps is not None:
        return b.divide(x, b.maximum(norm, b.constant(np.float64(eps))))
    one = b.constant(np.float64(1.0))
    return b.divide(x, b.select(norm, "==", one, norm))
