"""The elementary functions on balls: a rule's formula becomes a proven enclosure.

Each function takes the value at the midpoint from NumPy or SciPy, adds ``LIBM`` relative for the
library, and the radius times a bound of the derivative over the ball.  They are tight for small
radii; ranges over wide intervals are made in ``ranges`` from end points and turning points.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from scipy import special

from nneq.semantics.ball import LIBM, TINY, UNIT, Ball

__all__ = ["BALL_FUNCTIONS", "BallFunctions"]

Array = np.ndarray[Any, Any]

_CONSTANTS = {
    "pi": math.pi,
    "sqrt(2)": math.sqrt(2.0),
    "sqrt(pi)": math.sqrt(math.pi),
    "sqrt(2*pi)": math.sqrt(2.0 * math.pi),
    "sqrt(2/pi)": math.sqrt(2.0 / math.pi),
}
_UP = 1.0 + 32 * UNIT


def _made(value: Array, slope: Any, rad: Array) -> Ball:
    moved = np.where(rad == 0, 0.0, slope * rad)
    return Ball(value, (LIBM * np.abs(value) + moved) * _UP + TINY)


def _beyond(arg: Ball) -> Array:
    return (np.abs(arg.mid) + arg.rad) * _UP


class BallFunctions:
    """The ``Elementary`` protocol for :class:`Ball`."""

    def exp(self, z: Ball) -> Ball:
        value = np.exp(z.mid)
        return _made(value, value * np.exp(z.rad) * _UP, z.rad)

    def expm1(self, z: Ball) -> Ball:
        return _made(np.expm1(z.mid), np.exp(z.mid + z.rad) * _UP, z.rad)

    def log(self, z: Ball) -> Ball:
        low = z.mid - z.rad * _UP
        low = np.where(low > 1e-290, low * (1 - 8 * UNIT), np.nan)
        return _made(np.log(z.mid + 0 * low), 1.0 / low * _UP, z.rad)

    def log1p(self, z: Ball) -> Ball:
        low = 1.0 + z.mid - z.rad * _UP
        low = np.where(low > 1e-15, low - 4 * UNIT * (1 + np.abs(z.mid)), np.nan)
        low = np.where(low > 0, low, np.nan)
        return _made(np.log1p(z.mid) + 0 * low, 1.0 / low * _UP, z.rad)

    def sqrt(self, z: Ball) -> Ball:
        low = z.mid - z.rad * _UP
        low = np.where(low > 1e-290, low * (1 - 8 * UNIT), np.nan)
        low = np.where((z.mid == 0) & (z.rad == 0), 1.0, low)
        return _made(np.sqrt(z.mid + 0 * low), 1.0 / np.sqrt(low) * _UP, z.rad)

    def sigmoid(self, z: Ball) -> Ball:
        small = np.exp(-np.abs(z.mid))
        value = np.where(z.mid >= 0, 1.0, small) / (1.0 + small)
        return _made(value, np.minimum(0.25, value * np.exp(z.rad) * _UP), z.rad)

    def tanh(self, z: Ball) -> Ball:
        return _made(np.tanh(z.mid), 1.0, z.rad)

    def sinh(self, z: Ball) -> Ball:
        return _made(np.sinh(z.mid), np.cosh(_beyond(z)) * (1 + LIBM) * _UP, z.rad)

    def cosh(self, z: Ball) -> Ball:
        return _made(np.cosh(z.mid), np.cosh(_beyond(z)) * (1 + LIBM) * _UP, z.rad)

    def atanh(self, z: Ball) -> Ball:
        gap = 1.0 - _beyond(z)
        gap = np.where(gap > 8 * UNIT, gap - 4 * UNIT, np.nan)
        return _made(np.arctanh(z.mid) + 0 * gap, 1.0 / gap * _UP, z.rad)

    def asinh(self, z: Ball) -> Ball:
        return _made(np.arcsinh(z.mid), 1.0, z.rad)

    def acosh(self, z: Ball) -> Ball:
        gap = z.mid - z.rad * _UP - 1.0
        gap = np.where((gap > 16 * UNIT) | (z.rad == 0), gap, np.nan)
        slope = 1.0 / np.sqrt(np.maximum(gap - 8 * UNIT, 4 * UNIT))
        return _made(np.arccosh(z.mid) + 0 * gap, slope * _UP, z.rad)

    def sin(self, z: Ball) -> Ball:
        return _made(np.sin(z.mid), 1.0, z.rad)

    def cos(self, z: Ball) -> Ball:
        return _made(np.cos(z.mid), 1.0, z.rad)

    def tan(self, z: Ball) -> Ball:
        value = np.tan(z.mid)
        slope = 1.0 + value * value
        slope = np.where(
            slope * z.rad < 0.1, 1.0 + (np.abs(value) + 2 * slope * z.rad) ** 2, np.nan
        )
        return _made(value, slope * _UP * (1 + 4 * LIBM), z.rad)

    def asin(self, z: Ball) -> Ball:
        return _made(np.arcsin(z.mid), self._arc_slope(z), z.rad)

    def acos(self, z: Ball) -> Ball:
        return _made(np.arccos(z.mid), self._arc_slope(z), z.rad)

    def _arc_slope(self, z: Ball) -> Array:
        gap = 1.0 - _beyond(z)
        gap = np.where((gap > 16 * UNIT) | (z.rad == 0), np.maximum(gap - 8 * UNIT, UNIT), np.nan)
        return 1.0 / np.sqrt(gap) * _UP

    def atan(self, z: Ball) -> Ball:
        return _made(np.arctan(z.mid), 1.0, z.rad)

    def erf(self, z: Ball) -> Ball:
        return _made(special.erf(z.mid), 1.1283791670955129, z.rad)

    def floor(self, z: Ball) -> Ball:
        return Ball.interval(np.floor(z.lower), np.floor(z.upper))

    def round(self, z: Ball) -> Ball:
        return Ball.interval(np.round(z.lower), np.round(z.upper))

    def power(self, z: Ball, exponent: Any) -> Ball:
        """Return ``z**exponent``; nothing is known where the ball leaves the domain."""
        p = np.asarray(exponent, dtype=np.float64)
        whole = p == np.round(p)
        low, high = z.lower, z.upper
        positive = (low > 0) | ((z.mid == 0) & (z.rad == 0) & (p >= 0))
        away = (low > 0) | (high < 0)
        fine = np.where(whole & (p >= 0), True, np.where(whole, away, positive))
        base = np.where(fine, z.mid, np.nan)
        value = np.power(base, p)
        ends = np.maximum(
            np.power(np.maximum(np.abs(low), np.abs(high)), p - 1),
            np.power(np.minimum(np.abs(low), np.abs(high)), p - 1),
        )
        return _made(value, np.abs(p) * ends * (1 + LIBM) * _UP, z.rad)

    def constant(self, decimal: str) -> Ball:
        """Return the real number with its rounding error."""
        value = _CONSTANTS.get(decimal)
        if value is None:
            value = float(decimal)
        return Ball(np.array(value), np.array(4 * UNIT * abs(value)))

    def split(self, z: Ball, at: Any, below: Any, above: Any) -> Ball:
        """Return ``below`` where ``z < at``, ``above`` elsewhere, else the hull."""
        first = below if isinstance(below, Ball) else Ball.point(below)
        second = above if isinstance(above, Ball) else Ball.point(above)
        exact = z.rad == 0
        left = np.where(exact, z.mid < at, z.upper < at)
        right = np.where(exact, z.mid >= at, z.lower >= at)
        hull = Ball.interval(
            np.minimum(first.lower, second.lower), np.maximum(first.upper, second.upper)
        )
        mid = np.where(left, first.mid, np.where(right, second.mid, hull.mid))
        rad = np.where(left, first.rad, np.where(right, second.rad, hull.rad))
        return Ball(mid, rad)


BALL_FUNCTIONS = BallFunctions()
