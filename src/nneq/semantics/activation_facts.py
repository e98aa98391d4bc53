"""What composing a Taylor enclosure with an activation needs to know, for arrays at once.

Balls of ``f`` and ``f'`` at the centres, and of ``f'`` and ``f''`` over the ranges: in one pass for
tanh and the sigmoid, from :mod:`nneq.semantics.ranges` for every other rule.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from nneq.semantics import ranges
from nneq.semantics.ball import LIBM, TINY, UNIT, Ball

__all__ = ["SCALES", "rule_facts", "tanh_facts"]

Array = np.ndarray[Any, Any]

_UP = 1.0 + 64 * UNIT
_PEAK = 0.7698003589195012  # of 2 t (1 - t^2), at t = 1/sqrt(3)
_ROOT = 0.5773502691896257

SCALES = {"tanh": 1.0, "sigmoid": 0.5}


def tanh_facts(
    scale: float, v: Array, ve: Array, low: Array, high: Array
) -> tuple[Ball, Ball, Ball, Ball]:
    """Return balls of f and f' at ``v +- ve`` and of f' and f'' over ``[low, high]``.

    For ``tanh`` (scale 1) and the sigmoid, which is ``(1 + tanh(z/2))/2`` (scale 1/2): with
    ``t = tanh(scale z)``, ``f' = c (1 - t^2)`` and ``f'' = -2 scale c t (1 - t^2)``.
    """
    points = np.stack((v, low, high))
    if scale != 1.0:
        points *= scale
    t = np.tanh(points)
    pad = LIBM + 2 * UNIT
    c = 1.0 if scale == 1.0 else 0.25
    factor = c * scale
    first, left, right = t
    flat = 1.0 - t * t
    around = (left <= 0) & (right >= 0)
    slope_low = np.minimum(flat[1], flat[2])
    slope_high = np.where(around, 1.0, np.maximum(flat[1], flat[2])) + 3 * pad
    slope_low -= 3 * pad
    bends = (-2.0 * t[1:]) * flat[1:]
    bend_low = np.minimum(bends[0], bends[1])
    bend_high = np.maximum(bends[0], bends[1])
    # the extrema of t (1 - t^2) at +-1/sqrt(3); comparisons with NaN are false
    bend_low[(left <= _ROOT + pad) & (right >= _ROOT - pad)] = -_PEAK
    bend_high[(left <= pad - _ROOT) & (right >= -_ROOT - pad)] = _PEAK
    half = 0.5 * c
    p = Ball(half * (slope_low + slope_high), half * (slope_high - slope_low) + 8 * UNIT)
    half = 0.5 * factor
    q = Ball(
        half * (bend_low + bend_high), half * (bend_high - bend_low) + (8 * UNIT + 4 * factor * pad)
    )
    sure = left <= right
    if not sure.all():
        p.rad[~sure] = np.nan
        q.rad[~sure] = np.nan
    limit = slope_high
    sunk: Array | None = None
    if np.min(flat, initial=1.0) == 0.0:
        # saturated units: the bounds need their true size, not that of their rounding
        inner = np.where((low > 0) | (high < 0), np.minimum(np.abs(low), np.abs(high)), 0.0)
        limit = np.minimum(slope_high, 4.1 * np.exp(-2.0 * scale * inner) + TINY)
        sunk = sure & ~around & (np.maximum(flat[1], flat[2]) == 0.0)
        p.mid[sunk] = p.rad[sunk] = 0.51 * c * limit[sunk]
        q.mid[sunk], q.rad[sunk] = 0.0, 2.1 * factor * limit[sunk]
    # the value moves by at most 2 whatever the slope; fmin reads NaN as "unknown"
    moved = np.fmin((c * limit) * ve, 2.0)
    if scale == 1.0:
        y = Ball(first, (pad * np.abs(first) + moved) * _UP)
    else:
        y = Ball(0.5 * first + 0.5, (pad + moved) * _UP)
    bent = (np.abs(q.mid) + q.rad) * ve
    s = Ball(c * flat[0], (bent + (3 * pad + 8 * UNIT)) * _UP)
    if sunk is not None:
        s.mid[sunk], s.rad[sunk] = p.mid[sunk], p.rad[sunk]
    return y, s, p, q


def rule_facts(
    rule: str, params: Mapping[str, Any], v: Array, ve: Array, low: Array, high: Array
) -> tuple[Ball, Ball, Ball, Ball]:
    """Return the same for any rule, from its ranges."""
    steep = ranges.slope(rule, params, low, high)
    bent = ranges.bend(rule, params, low, high)
    p, q = Ball.interval(*steep), Ball.interval(*bent)
    if ranges.is_kinked(rule):
        centre = Ball(v, ve)
        ends = centre.lower, centre.upper
        exact = ve == 0
        ends = np.where(exact, v, ends[0]), np.where(exact, v, ends[1])
        value = Ball.interval(*ranges.value(rule, params, *ends))
        slope = Ball.interval(*ranges.slope(rule, params, *ends))
        return value, slope, p, q
    value, slope = ranges.at(rule, params, v, 0), ranges.at(rule, params, v, 1)
    moved = np.where(ve == 0, 0.0, np.maximum(np.abs(steep[0]), np.abs(steep[1])) * ve)
    turned = np.where(ve == 0, 0.0, np.maximum(np.abs(bent[0]), np.abs(bent[1])) * ve)
    return (
        Ball(value.mid, (value.rad + moved) * _UP),
        Ball(slope.mid, (slope.rad + turned) * _UP),
        p,
        q,
    )
