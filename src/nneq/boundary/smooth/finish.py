r"""What float64 leaves open, in Arb: tight enclosures, near-double roots, signs at single points.

A stretch on which ``g`` is proven strictly convex or concave has at most two roots.  Its critical
point :math:`x^*` is enclosed by ``|g'(x_0)| / min |g''|``, so
:math:`|g(x^*) - g(x_0)| \le \max|g''| |x^* - x_0|^2` is tiny and the sign of :math:`g(x_0)`, in
Arb, decides between no root and two.  When it does not, the stretch shrinks to the few units of
the last place around :math:`x^*` in which a double root may lie.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import flint
import numpy as np

from nneq.ir import Network
from nneq.semantics.arb import ArbNetwork, sign
from nneq.semantics.slices import Slices

__all__ = ["Exact", "Stretch", "arb_network", "newton"]

Array = np.ndarray[Any, Any]

_BITS = 80
_FINE = 400


@lru_cache(maxsize=8)
def arb_network(network: Network) -> ArbNetwork:
    """Return the network in Arb; converted once, the last few are kept."""
    return ArbNetwork(network)


@dataclass(frozen=True)
class Stretch:
    """What became of an undecided interval.

    Args:
        roots: ``(lower, upper, rising)`` of proven single roots.
        left: intervals that stay undecided.
    """

    roots: tuple[tuple[float, float, bool], ...]
    left: tuple[tuple[float, float], ...]


class Exact:
    """One line in Arb.

    Args:
        slices: the network on its lines.
        line: which line.
        origin: shape ``(n,)``.
        direction: shape ``(n,)``.
    """

    def __init__(self, slices: Slices, line: int, origin: Array, direction: Array) -> None:
        """Remember the line."""
        self.slices, self.line = slices, line
        self.network = arb_network(slices.network)
        self.origin, self.direction = origin, direction

    def values(self, t: list[Any], bits: int = _BITS) -> list[Any]:
        """Return Arb enclosures of ``g`` at exact points."""
        places = [v if isinstance(v, flint.arb) else flint.arb(v) for v in t]
        found = self.network.on_line(self.origin, self.direction, places, bits)
        return list(found.reshape(-1))

    def sign(self, t: Any) -> int:
        """Return the proven sign of ``g`` at a point, or 0."""
        for bits in (_BITS, _FINE):
            found = sign(self.values([t], bits)[0])
            if found:
                return found
        return 0

    def resolve(self, low: float, high: float, depth: int = 0) -> Stretch:
        """Return what Arb decides about an interval that float64 left open."""
        undecided = Stretch((), ((low, high),))
        first, last = self.sign(low), self.sign(high)
        if not first or not last:
            return self._at_end(low, high, first, last) if depth < 2 else undecided
        facts = self._curvature(low, high)
        if facts is None:
            if first != last:
                return self._monotone(low, high, last > 0) or undecided
            return Stretch((), ()) if self._slope_sign(low, high) else undecided
        point, least, most, drift = facts
        bent = 1 if least > 0 else -1
        if first != last:
            # strictly convex with opposite signs: exactly one root
            found = self._bisect(low, high, last > 0)
            return Stretch((found,), ()) if found else undecided
        if first != bent:
            return Stretch((), ())  # convex and negative at both ends
        size = max(abs(least), abs(most))
        with flint.ctx.workprec(_FINE):
            value = self.values([point], _FINE)[0]
            slack = flint.arb(size) * flint.arb(drift) ** 2
            least_value = value + flint.arb(0, 1) * slack
        decided = sign(least_value)
        if decided == bent:
            return Stretch((), ())
        if decided == -bent:
            roots = [
                self._bisect(low, point, bent < 0),
                self._bisect(point, high, bent > 0),
            ]
            if roots[0] and roots[1]:
                return Stretch((roots[0], roots[1]), ())
            return undecided
        with flint.ctx.workprec(_FINE):
            largest = flint.arb(least_value.abs_upper())
            reach = (2 * largest / min(abs(least), abs(most))).sqrt() + drift
            bottom, top = _outside(
                flint.arb(point) + flint.arb(0, 1) * flint.arb(reach.abs_upper())
            )
        return Stretch((), ((max(low, bottom), min(high, top)),))

    def _at_end(self, low: float, high: float, first: int, last: int) -> Stretch:
        """Return the answer where ``g`` may vanish at an end of the interval."""
        slope = self._slope_sign(low, high)
        if slope:
            for end, other in ((low, last), (high, first)):
                if self.values([end])[0] == 0:
                    return Stretch(((end, end, slope > 0),), ())
                if other and first + last == other:
                    break
        left: list[tuple[float, float]] = []
        roots: tuple[tuple[float, float, bool], ...] = ()
        inner_low, inner_high = low, high
        if not first:
            inner_low = self._inward(low, high)
            left.append((low, inner_low))
        if not last:
            inner_high = self._inward(high, low)
        if inner_low >= inner_high:
            return Stretch((), ((low, high),))
        inner = self.resolve(inner_low, inner_high, 2)
        roots = inner.roots
        left += inner.left
        if not last:
            left.append((inner_high, high))
        return Stretch(roots, tuple(left))

    def _inward(self, end: float, other: float) -> float:
        """Return the nearest tried point from ``end`` towards ``other`` with a proven sign."""
        step = 4 * math.ulp(end) + 1e-300
        turn = 1.0 if other > end else -1.0
        while step < abs(other - end):
            if self.sign(end + turn * step):
                return end + turn * step
            step *= 16
        return other

    def _slope_sign(self, low: float, high: float) -> int:
        """Return the proven sign of ``g'`` on the interval, or 0."""
        centre = 0.5 * low + 0.5 * high
        half = max(high - centre, centre - low) * (1 + 1e-15) + 1e-300
        arithmetic, (jet,) = self.slices.jets(
            np.array([self.line]), np.array([[centre]]), np.array([[half]])
        )
        (steep,) = arithmetic.slopes(jet)
        return 1 if steep.lower.item() > 0 else -1 if steep.upper.item() < 0 else 0

    def _curvature(self, low: float, high: float) -> tuple[float, float, float, float] | None:
        """Return a point near the critical point, the ends of ``g''``, and the distance bound."""
        point = 0.5 * low + 0.5 * high
        found = None
        for _ in range(6):
            half = max(high - point, point - low) * (1 + 1e-15) + 1e-300
            arithmetic, (jet,) = self.slices.jets(
                np.array([self.line]), np.array([[point]]), np.array([[half]])
            )
            bend, steep = arithmetic.hessian(jet, 0), arithmetic.gradient(jet, 0)
            least, most = float(bend.lower.item()), float(bend.upper.item())
            if not (least > 0 or most < 0) or not math.isfinite(least + most):
                return None
            size = min(abs(least), abs(most))
            drift = float(steep.magnitude().item()) / size * (1 + 1e-12)
            found = (point, least, most, drift)
            moved = point - float(steep.mid.item()) / (0.5 * (least + most))
            moved = min(max(moved, low), high)
            if moved == point or drift < 1e-14 * max(1.0, abs(point)):
                break
            point = moved
        return found

    def _monotone(self, low: float, high: float, rising: bool) -> Stretch | None:
        """Return the root where ``g`` is strictly monotone on the interval, else None."""
        if not self._slope_sign(low, high):
            return None
        found = self._bisect(low, high, rising)
        return Stretch((found,), ()) if found else None

    def _bisect(self, low: float, high: float, rising: bool) -> tuple[float, float, bool] | None:
        """Return the enclosure of the one root between proven signs, by bisection in Arb."""
        flip = 1 if rising else -1
        if self.sign(low) * flip >= 0 or self.sign(high) * flip <= 0:
            return None
        for _ in range(200):
            width = high - low
            middle = 0.5 * low + 0.5 * high
            if middle <= low or middle >= high:
                break
            points = [middle]
            if width < 1e-3 * max(abs(low), abs(high), 1e-300):
                points = [low + 0.25 * width, middle, low + 0.75 * width]
            for point, value in zip(points, self.values(points, _FINE), strict=True):
                found = sign(value) * flip
                if found < 0:
                    low = max(low, point)
                elif found > 0:
                    high = min(high, point)
                else:
                    return (low, high, rising)
        return (low, high, rising)


def newton(
    lower: Array, upper: Array, guess: Array, values: list[Any], slopes: Array
) -> tuple[Array, Array]:
    """Return the enclosures of single roots after an interval Newton step with Arb values.

    Args:
        lower: proven lower ends, shape ``(R,)``, each enclosure holding exactly one root.
        upper: proven upper ends.
        guess: where the values were taken, shape ``(R,)``.
        values: Arb enclosures of ``g`` there.
        slopes: ends of the derivative between guess and root, shape ``(R, 2)``; NaN: not known.

    Guarantee: certified (mean value theorem).
    """
    low, high = slopes.T
    new_lower, new_upper = lower.copy(), upper.copy()
    with flint.ctx.workprec(_BITS):
        for k, value in enumerate(values):
            if not (low[k] > 0 or high[k] < 0) or not np.isfinite(low[k] + high[k]):
                continue
            slope = flint.arb(low[k]).union(flint.arb(high[k]))
            bottom, top = _outside(flint.arb(guess[k]) - value / slope)
            new_lower[k] = max(lower[k], bottom)
            new_upper[k] = min(upper[k], top)
    return new_lower, new_upper


def _outside(ball: Any) -> tuple[float, float]:
    """Return float64 numbers on both sides of a ball; infinite when the ball is."""
    if not ball.is_finite():
        return -math.inf, math.inf
    low, high = ball.lower(), ball.upper()
    bottom, top = float(low.mid()), float(high.mid())
    step = math.ulp(bottom)
    while not flint.arb(bottom) <= low:
        bottom, step = bottom - step, 2 * step
    step = math.ulp(top)
    while not flint.arb(top) >= high:
        top, step = top + step, 2 * step
    return bottom, top
