r"""Proven upper bounds of the spectral norm :math:`\|L\|_2` of linear maps.

In deep networks a bound of every single entry's error grows by :math:`|W|` with every layer; the
Euclidean norm of the error vector grows by :math:`\|W\|_2` only, and no piecewise-linear unit with
slopes up to 1 makes it larger.

A convolution on zero-padded input is a part of the infinite one, whose norm is the largest singular
value of its symbol :math:`\hat W(\omega)`.  The squared symbol is a trigonometric polynomial of
degree ``k - 1`` per axis, so that on a grid of ``N`` points per axis its supremum is at most the
largest grid value over :math:`\cos(\pi (k - 1) / N)` for every axis (Ehlich and Zeller 1964).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from nneq.ir import linear_map as lm

__all__ = ["absolute_bound", "absolute_norm", "norm", "norm_bound"]

Array = np.ndarray[Any, Any]
_GRID = 8


def norm_bound(stage: lm.LinearMap) -> float:
    """Return an upper bound of the spectral norm of one primitive map.

    Guarantee: certified (singular values with the rounding error of their computation added).
    """
    match stage:
        case lm.Dense():
            return _matrix(stage.weight.astype(np.float64))
        case lm.Conv() if all(s == 1 for s in stage.dilations):
            return min(_symbol(stage), _by_sums(stage))
        case lm.ConvTranspose():
            return norm_bound(stage.conv)
        case lm.Scale():
            return float(np.abs(stage.weight).max(initial=0.0))
        case lm.Identity() | lm.Reshape() | lm.Permute() | lm.Slice() | lm.Place():
            return 1.0
        case _:
            return _by_sums(stage)


def absolute_bound(stage: lm.LinearMap) -> float:
    r"""Return an upper bound of the spectral norm of ``|L|``, which carries rounding errors.

    The symbol of a convolution with weights :math:`w \ge 0` is largest at frequency 0, entry by
    entry, and so is its norm.

    Guarantee: certified.
    """
    match stage:
        case lm.Dense():
            return _matrix(np.abs(stage.weight.astype(np.float64)))
        case lm.Conv():
            weight = np.abs(stage.weight.astype(np.float64))
            sums = weight.sum(axis=tuple(range(2, weight.ndim)))
            blocks = sums.reshape(stage.groups, -1, sums.shape[1])
            return max((_matrix(block) for block in blocks), default=0.0)
        case lm.ConvTranspose():
            return absolute_bound(stage.conv)
        case lm.Scale() | lm.Identity() | lm.Reshape() | lm.Permute() | lm.Slice() | lm.Place():
            return norm_bound(stage)
        case _:
            return _by_sums(stage)


_KNOWN: dict[int, tuple[lm.LinearMap, dict[str, float]]] = {}


def _remembered(stage: lm.LinearMap, name: str, bound: Callable[[lm.LinearMap], float]) -> float:
    """Return a bound computed once while the map lives in the table, rounded up."""
    known = _KNOWN.get(id(stage))
    if known is None or known[0] is not stage:
        if len(_KNOWN) > 4096:
            _KNOWN.clear()
        known = (stage, {})
        _KNOWN[id(stage)] = known
    if name not in known[1]:
        known[1][name] = bound(stage) * (1 + 1e-9)
    return known[1][name]


def norm(stage: lm.LinearMap) -> float:
    """Return :func:`norm_bound`, remembered."""
    return _remembered(stage, "norm", norm_bound)


def absolute_norm(stage: lm.LinearMap) -> float:
    """Return :func:`absolute_bound`, remembered."""
    return _remembered(stage, "absolute", absolute_bound)


def _matrix(W: Array) -> float:
    slack = 8 * max(W.shape) * 2.0**-53 * float(np.linalg.norm(W))
    return float(np.linalg.norm(W, 2) + slack)


def _by_sums(stage: lm.LinearMap) -> float:
    """Return ``sqrt(largest row sum * largest column sum)`` of the absolute map."""
    rows = stage.apply_abs(np.ones((1, *stage.in_shape))).max(initial=0.0)
    columns = stage.transpose().apply_abs(np.ones((1, *stage.out_shape))).max(initial=0.0)
    return math.sqrt(float(rows) * float(columns)) * (1 + 1e-9)


def _symbol(stage: lm.Conv) -> float:
    weight = stage.weight.astype(np.float64)
    kernel = weight.shape[2:]
    counts = tuple(_GRID * k for k in kernel)
    symbol = np.fft.fftn(weight, s=counts, axes=tuple(range(2, weight.ndim)))
    grouped = symbol.reshape(stage.groups, -1, *symbol.shape[1:])
    moved = np.moveaxis(grouped, (1, 2), (-2, -1))
    top = float(np.linalg.norm(moved, 2, axis=(-2, -1)).max())
    # Rounding of the transform and of the singular values, relative to the sum of the weights.
    top += 1e-12 * float(np.abs(weight).sum())
    factor = 1.0
    for k, n in zip(kernel, counts, strict=True):
        factor *= math.cos(math.pi * (k - 1) / n)
    return top / math.sqrt(factor)
