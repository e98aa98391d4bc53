r"""Smaller boxes that still hold every zero: what a linear bound and a ball leave of a box.

When :math:`g(y) \ge \lambda y + c` holds on a set, its zeros lie in the half-space
:math:`\lambda y + c \le 0`.  The hull of box, ball and half-space is a smaller box, on which the
next bound is tighter.  Near the largest ball that one bound proves free the half-space only cuts
off a corner, so that a few rounds reach much further than the first bound.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from nneq.semantics.ball import TINY, gamma
from nneq.semantics.domain import Norm, lengths

__all__ = ["cut_boxes"]

Array = np.ndarray[Any, Any]

_PAD = 1e-12  # relative to the numbers at hand: far above the rounding of a few operations


def cut_boxes(
    low: Array, high: Array, rows: Array, offset: Array, x: Array, radius: float, norm: Norm
) -> tuple[Array, Array]:
    r"""Return boxes that hold what lies in box, ball and half-space together.

    Args:
        low: lower ends of the boxes, shape ``(B, n)``.
        high: upper ends.
        rows: :math:`\lambda`, shape ``(B, n)`` or ``(1, n)``.
        offset: :math:`c`, shape ``(B,)``.
        x: centre of the ball, shape ``(n,)``.
        radius: of the ball.
        norm: of the ball.

    Returns:
        New ends; where nothing is left, a lower end is above the upper one.

    Guarantee: certified (every step is rounded outwards).
    """
    known = np.isfinite(rows).all(axis=1, keepdims=True) & np.isfinite(offset)[:, None]
    with np.errstate(all="ignore"):
        parts = [
            _half_space(low, high, rows, offset),
            _in_ball(low, high, x, radius, norm),
        ]
        if norm == "l1":
            parts.append(_octahedron(rows, offset, x, radius))
        elif norm == "l2":
            parts.append(_cap(rows, offset, x, radius))
        for k, (below, above) in enumerate(parts):
            sure = np.broadcast_to(known | (k == 1), low.shape)
            low = np.where(sure & (below > low), below, low)
            high = np.where(sure & (above < high), above, high)
    return low, high


def _widened(low: Array, high: Array, size: Array | float) -> tuple[Array, Array]:
    pad = _PAD * (np.abs(low) + np.abs(high) + size) + TINY
    return low - pad, high + pad


def _half_space(low: Array, high: Array, rows: Array, offset: Array) -> tuple[Array, Array]:
    """Return how far each input can go from the corner where the bound is smallest."""
    corner = np.where(rows > 0, low, high)
    parts = rows * corner
    error = gamma(rows.shape[1] + 8) * (np.abs(parts).sum(axis=1) + np.abs(offset)) + TINY
    slack = np.maximum(2 * error - (parts.sum(axis=1) + offset), 0.0)[:, None]
    step = np.where(rows == 0, np.inf, slack / np.abs(rows)) * (1 + _PAD)
    size = np.abs(low) + np.abs(high)
    below, above = _widened(high - step, low + step, size)
    return np.where(rows < 0, below, -np.inf), np.where(rows > 0, above, np.inf)


def _in_ball(low: Array, high: Array, x: Array, radius: float, norm: Norm) -> tuple[Array, Array]:
    """Return how far each input can go when the others use as little of the radius as they can."""
    least = np.maximum(0.0, np.maximum(low - x, x - high))
    if norm == "l2":
        share = least / radius
        others = (share * share).sum(axis=1, keepdims=True) - share * share
        reach = np.sqrt(np.maximum(1 + _PAD - others * (1 - _PAD), 0.0)) * radius
    elif norm == "l1":
        others = least.sum(axis=1, keepdims=True) - least
        reach = np.maximum(radius * (1 + _PAD) - others * (1 - _PAD), 0.0)
    else:
        reach = np.full(low.shape, radius)
    return _widened(x - reach, x + reach, radius)


def _value(rows: Array, offset: Array, x: Array) -> Array:
    """Return a lower bound of the linear bound at ``x``, shape ``(B, 1)``."""
    parts = rows * x
    error = gamma(rows.shape[1] + 8) * (np.abs(parts).sum(axis=1) + np.abs(offset)) + TINY
    return np.asarray((parts.sum(axis=1) + offset - 2 * error)[:, None])


def _octahedron(rows: Array, offset: Array, x: Array, radius: float) -> tuple[Array, Array]:
    """Return the hull of an ``l1`` ball and a half-space.

    What an input does not use of the radius is best spent on the steepest one.
    """
    size = np.abs(rows)
    steepest = size.max(axis=1, keepdims=True) * (1 + _PAD)
    slack = np.maximum(radius * steepest * (1 + _PAD) - _value(rows, offset, x), 0.0) * (1 + _PAD)
    along = slack / (steepest - size)
    against = slack / (steepest + size) * (1 + _PAD)
    down = np.where(rows > 0, along, np.where(rows < 0, against, slack / steepest))
    up = np.where(rows > 0, against, np.where(rows < 0, along, slack / steepest))
    return _widened(x - down, x + up, radius)


def _cap(rows: Array, offset: Array, x: Array, radius: float) -> tuple[Array, Array]:
    """Return the hull of a euclidean ball and a half-space."""
    pad = _PAD + 8 * gamma(rows.shape[1] + 8)
    length = lengths(rows, 2)[:, None]
    length = np.where(length > TINY, length, np.nan)
    start = _value(rows, offset, x) / length  # negative where the centre is in the half-space
    start = np.clip(start - pad * np.abs(start), -radius, radius) / radius
    way = -rows / length
    round_ = np.sqrt(np.maximum((1.0 - start) * (1.0 + start), 0.0) + pad)
    side = round_ * np.sqrt(np.maximum(1.0 - way * way, 0.0) + pad)

    def most(turned: Array) -> Array:
        return np.where(turned >= start - pad, 1.0, start * turned + side) * radius

    return _widened(x - most(-way), x + most(way), 2 * radius)
