r"""Two straight lines around a scalar function on an interval: :math:`s x + t`, proven.

The slopes are chosen in plain floating point, they may be anything; the intercepts are then proven
for the chosen slopes.  For the upper line that is
:math:`t \ge \sup_{[l, u]} (f(x) - s x)`: on a convex piece of ``f`` the supremum stands at an end;
on a concave piece it is bounded by secants, extended beyond the points they go through, where they
lie above the function.  So nothing is needed but enclosures of single values ``f(x)`` and the
inflections and kinks that the rule declares.

References:
    Zhang et al. 2018 (CROWN), Singh et al. 2019 (DeepPoly): lines around activations; the proof by
    secants is our own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from nneq.activations import RULES
from nneq.semantics.ball import TINY
from nneq.semantics.curvature import Segment, Shape, shape_of
from nneq.semantics.ranges import at, bend, value

__all__ = ["Lines", "hull", "lines"]

Array = np.ndarray[Any, Any]
Params = Mapping[str, Any]

_U = 2.0**-53
_NARROW = 0.1
_PARTS = 64


@dataclass(frozen=True, eq=False)
class Lines:
    """``slope_low x + low <= f(x) <= slope_high x + high``; one object twice when parallel."""

    slope_low: Array
    low: Array
    slope_high: Array
    high: Array

    @property
    def parallel(self) -> bool:
        """Whether both slopes are the same array."""
        return self.slope_low is self.slope_high


def hull(rule: str, params: Params, low: Array, high: Array) -> tuple[Array, Array]:
    """Return proven bounds of ``f`` on ``[low, high]``, entry by entry.

    Args:
        rule: the activation's name.
        params: its parameters; arrays broadcast to the last axes of ``low``.
        low: lower ends, shape ``(S, *shape)``.
        high: upper ends, the same shape.
    """
    below, above = _grouped(_hull, rule, params, low, high)
    return below, above


def lines(
    rule: str, params: Params, low: Array, high: Array, *, adaptive: bool | None = None
) -> Lines:
    """Return proven lines around ``f`` on ``[low, high]``, entry by entry.

    Args:
        rule: the activation's name.
        params: its parameters; arrays broadcast to the last axes of ``low``.
        low: lower ends, shape ``(S, *shape)``.
        high: upper ends, the same shape.
        adaptive: give every line its own slope (smallest area) instead of one slope for both
            (smallest strip); None: where the rule has kinks.
    """
    own = RULES[rule].kind != "smooth" if adaptive is None else adaptive
    if not own:
        slope, below, above = _grouped(_strip, rule, params, low, high)
        return Lines(slope, below, slope, above)
    slope_low, below, slope_high, above = _grouped(_areas, rule, params, low, high)
    if np.array_equal(slope_low, slope_high):
        slope_high = slope_low
    return Lines(slope_low, below, slope_high, above)


def _grouped(work: Any, rule: str, params: Params, low: Array, high: Array) -> tuple[Array, ...]:
    """Run ``work`` once for every distinct set of parameters."""
    flat_low, flat_high = low.reshape(-1), high.reshape(-1)
    names = [name for name, value in params.items() if np.ndim(value)]
    with np.errstate(all="ignore"):
        if not names:
            shape = shape_of(rule, tuple((k, float(v)) for k, v in params.items()))
            return tuple(part.reshape(low.shape) for part in work(shape, flat_low, flat_high))
        full = [np.broadcast_to(params[k], low.shape).reshape(-1) for k in names]
        distinct, member = np.unique(np.stack(full), axis=1, return_inverse=True)
        member = member.reshape(-1)
        found: list[Array] | None = None
        for k in range(distinct.shape[1]):
            chosen = {**params, **dict(zip(names, distinct[:, k], strict=True))}
            shape = shape_of(rule, tuple((name, float(v)) for name, v in chosen.items()))
            mask = member == k
            parts = work(shape, flat_low[mask], flat_high[mask])
            if found is None:
                found = [np.empty(flat_low.shape) for _ in parts]
            for whole, part in zip(found, parts, strict=True):
                whole[mask] = part
        return tuple(part.reshape(low.shape) for part in found or [])


# --------------------------------------------------------------------------------- proven offsets
def _offset(shape: Shape, sign: float, slope: Array, low: Array, high: Array) -> Array:
    """Return an upper bound of ``sup sign (f(x) - slope x)`` over ``[low, high]``."""
    if shape.pieces:
        return _offset_pieces(shape, sign, slope, low, high)
    best = np.maximum(_above_at(shape, sign, slope, low), _above_at(shape, sign, slope, high))
    for below, above, gap in shape.breaks:
        inside = np.flatnonzero((low < above) & (high > below))
        if inside.size:
            part = slope[inside]
            at = np.full(inside.size, below)
            # across the few floats around an inflection |f'| <= |f'(inflection)| + 1
            steep = np.abs(_numeric_slope(shape, at)) + np.abs(part) + 1.0
            value = _above_at(shape, sign, part, at) + gap * steep
            best[inside] = np.maximum(best[inside], value)
    for segment in shape.segments:
        if segment.curve * sign < 0:
            a, b = np.maximum(low, segment.start), np.minimum(high, segment.stop)
            inside = np.flatnonzero(a < b)
            if inside.size:
                bound = _secants(shape, segment, sign, slope[inside], a[inside], b[inside])
                best[inside] = np.maximum(best[inside], bound)
    outside = (low < shape.rule.domain[0]) | (high > shape.rule.domain[1])
    if shape.rule.name in {"reciprocal", "power"} and shape.params.get("exponent", -1.0) < 0:
        outside |= (low <= 0) & (high >= 0)
    bad = outside | np.isnan(best) | ~(np.isfinite(low) & np.isfinite(high))
    return np.where(bad, np.inf, best)


def _numeric_slope(shape: Shape, z: Array) -> Array:
    step = 1e-6 * np.maximum(1.0, np.abs(z))
    return np.asarray((shape.number(z + step) - shape.number(z - step)) / (2 * step))


def _offset_pieces(shape: Shape, sign: float, slope: Array, low: Array, high: Array) -> Array:
    best = np.full(low.shape, -np.inf)
    start = -np.inf
    for piece in shape.pieces:
        # where the true corner is no float, both lines count on the floats around it
        a, b = np.maximum(low, start), np.minimum(high, piece.upper + piece.blur)
        for end in (a, b):
            middle = piece.slope * end + piece.intercept - slope * end
            size = np.abs(piece.slope * end) + abs(piece.intercept) + np.abs(slope * end)
            bound = sign * middle + 8 * _U * size + 1e-300
            if piece.slope == 0.0 and not slope.any():
                bound = np.full(end.shape, sign * piece.intercept)
            best = np.where(a <= b, np.maximum(best, bound), best)
        start = piece.upper - piece.blur
    bad = np.isnan(best) | np.isnan(low) | np.isnan(high)
    return np.where(bad, np.inf, best)


def _above_at(shape: Shape, sign: float, slope: Array, z: Array) -> Array:
    """Return an upper bound of ``sign (f(z) - slope z)`` at points."""
    below, above = shape.enclosed(z)
    part = slope * z
    value = sign * ((above if sign > 0 else below) - part)
    return np.asarray(value + 4 * _U * (np.abs(value) + np.abs(part)) + 1e-300)


def _secants(
    shape: Shape, segment: Segment, sign: float, slope: Array, a: Array, b: Array
) -> Array:
    """Return an upper bound of ``sup sign (f - slope x)`` on a piece where it is concave.

    With ``q < p < r`` in the piece, ``g`` concave: beyond ``p`` the function lies below the secant
    through ``q, p``, beyond ``r`` below the one through ``p, r``, and likewise to the left.
    """
    step = np.maximum((b - a) / _PARTS, 1e-9 * (1.0 + np.abs(a)))
    middle = 0.5 * (a + b)
    guess = np.interp(slope, segment.slopes, segment.places)
    peak = np.where(b - a < _NARROW, middle, np.clip(guess, a, b))
    peak = np.minimum(np.maximum(peak, np.maximum(segment.start, a - step) + step), b)
    peak = np.maximum(np.minimum(peak, np.minimum(segment.stop, b + step) - step), a)
    q = np.maximum(peak - step, segment.start)
    r = np.minimum(peak + step, segment.stop)
    points = np.stack([q, peak, r])
    below, above = shape.enclosed(points)
    if sign < 0:
        below, above = -above, -below
    part = sign * slope * points
    pad = 4 * _U * (np.maximum(np.abs(below), np.abs(above)) + 2 * np.abs(part)) + 1e-300
    top, floor = above - part + pad, below - part - pad
    more = 1 + 16 * _U
    left = np.maximum(0.0, (top[0] - floor[1]) / (peak - q)) * more
    rise = np.maximum(0.0, (top[1] - floor[0]) / (peak - q)) * more
    right = np.maximum(0.0, (top[2] - floor[1]) / (r - peak)) * more
    fall = np.maximum(0.0, (top[1] - floor[2]) / (r - peak)) * more
    bound = top[1] + rise * (r - peak)
    bound = np.maximum(bound, top[1] + fall * (peak - q))
    bound = np.maximum(bound, top[2] + right * np.maximum(0.0, b - r))
    bound = np.maximum(bound, top[0] + left * np.maximum(0.0, q - a))
    bound += 8 * _U * np.abs(bound)
    broken = ~((q < peak) & (peak < r))
    return np.where(broken | np.isnan(bound), np.inf, bound)


# ---------------------------------------------------------------------------------------- choices
def _hull(shape: Shape, low: Array, high: Array) -> tuple[Array, Array]:
    return value(shape.rule.name, shape.params, low, high)


def _flat(shape: Shape, low: Array, high: Array) -> tuple[Array, Array, Array]:
    below, above = _hull(shape, low, high)
    return np.zeros(low.shape), below, above


def _taylor(shape: Shape, low: Array, high: Array) -> tuple[Array, Array, Array]:
    """Return the tangent at the middle with the range of ``f''``, or the flat strip if narrower."""
    slope, below, above = _flat(shape, low, high)
    if shape.rule.kind != "smooth":
        return slope, below, above
    name, params = shape.rule.name, shape.params
    middle = 0.5 * (low + high)
    reach = np.maximum(high - middle, middle - low) * (1 + 4 * _U)
    tangent = at(name, params, middle, 1).mid
    error = at(name, params, middle, 1).rad
    bend_low, bend_high = bend(name, params, low, high)
    value_low, value_high = shape.enclosed(middle)
    part = tangent * middle
    pad = error * reach + 8 * _U * (np.abs(part) + np.abs(value_low) + np.abs(value_high)) + TINY
    half = 0.5 * reach * reach * (1 + 8 * _U)
    under = value_low - part + half * np.minimum(bend_low, 0.0) * (1 + 8 * _U) - pad
    over = value_high - part + half * np.maximum(bend_high, 0.0) * (1 + 8 * _U) + pad
    under, over = under - 4 * _U * np.abs(under), over + 4 * _U * np.abs(over)
    better = over - under < above - below
    return (
        np.where(better, tangent, slope),
        np.where(better, under, below),
        np.where(better, over, above),
    )


def _strip(shape: Shape, low: Array, high: Array) -> tuple[Array, Array, Array]:
    """Return one slope and both intercepts: the narrowest strip."""
    if not shape.known:
        return _taylor(shape, low, high)
    slope = _chord(shape, low, high)
    mixed = np.flatnonzero(_bends(shape, low, high))
    if mixed.size:
        slope[mixed] = _bisect(shape, low[mixed], high[mixed], "strip")
    below = -_offset(shape, -1.0, slope, low, high)
    above = _offset(shape, 1.0, slope, low, high)
    return _or_flat(shape, slope, below, above, low, high)


def _or_flat(
    shape: Shape, slope: Array, below: Array, above: Array, low: Array, high: Array
) -> tuple[Array, Array, Array]:
    """Return the strip, or the flat one where a sloped one could not be proven."""
    bad = np.flatnonzero(~(np.isfinite(below) & np.isfinite(above)))
    if bad.size:
        slope, below, above = slope.copy(), below.copy(), above.copy()
        slope[bad] = 0.0
        below[bad], above[bad] = _hull(shape, low[bad], high[bad])
    return slope, below, above


def _areas(shape: Shape, low: Array, high: Array) -> tuple[Array, Array, Array, Array]:
    """Return a line of its own slope on either side: the least area."""
    if not shape.known:
        slope, below, above = _taylor(shape, low, high)
        return slope, below, slope, above
    slope_low = _bisect(shape, low, high, "below")
    slope_high = _bisect(shape, low, high, "above")
    below = -_offset(shape, -1.0, slope_low, low, high)
    above = _offset(shape, 1.0, slope_high, low, high)
    slope_low, below, _ = _or_flat(shape, slope_low, below, below, low, high)
    slope_high, _, above = _or_flat(shape, slope_high, above, above, low, high)
    return slope_low, below, slope_high, above


def _chord(shape: Shape, low: Array, high: Array) -> Array:
    wide = high - low > 1e-6 * (1 + np.abs(low))
    rise = (shape.number(high) - shape.number(low)) / np.where(wide, high - low, 1.0)
    slope = np.where(wide, rise, _numeric_slope(shape, 0.5 * (low + high)))
    return np.where(np.isfinite(slope), slope, 0.0)


def _bends(shape: Shape, low: Array, high: Array) -> Array:
    """Return where the interval holds a change of convexity."""
    found = np.zeros(low.shape, dtype=bool)
    for below, above, _ in shape.breaks:
        found |= (low < below) & (high > above)
    return found & (high - low > 1e-6)


def _corners(shape: Shape) -> list[float]:
    if shape.pieces:
        return [piece.upper for piece in shape.pieces if np.isfinite(piece.upper)]
    return [below for below, _, _ in shape.breaks]


def _extreme(shape: Shape, sign: float, slope: Array, low: Array, high: Array) -> Array:
    """Return (numerically) where ``sign (f - slope x)`` is largest on ``[low, high]``."""
    places = [low, high]
    places += [np.clip(np.full(low.shape, c), low, high) for c in _corners(shape)]
    for segment in shape.segments:
        if segment.curve * sign < 0:
            guess = np.interp(slope, segment.slopes, segment.places)
            guess = np.clip(guess, segment.start, segment.stop)
            places.append(np.clip(guess, low, high))
    points = np.stack(places)
    values = sign * (shape.number(points) - slope * points)
    best = np.argmax(np.where(np.isnan(values), -np.inf, values), axis=0)
    found: Array = np.take_along_axis(points, best[None], axis=0)[0]
    return found


def _bisect(shape: Shape, low: Array, high: Array, what: str) -> Array:
    """Return (numerically) the slope of the best strip, or of the line of least area.

    The width of the strip, and the height of the line at the middle, are convex in the slope; their
    derivatives are differences of the places found by :func:`_extreme`.
    """
    middle = 0.5 * (low + high)
    probe = [
        low,
        middle,
        high,
        *[np.clip(np.full(low.shape, c), low, high) for c in _corners(shape)],
    ]
    slopes = np.stack([_numeric_slope(shape, place) for place in probe])
    slopes = np.where(np.isfinite(slopes), slopes, 0.0)
    least, most = slopes.min(axis=0), slopes.max(axis=0)
    for _ in range(10):
        slope = 0.5 * (least + most)
        if what == "strip":
            up = _extreme(shape, -1.0, slope, low, high) - _extreme(shape, 1.0, slope, low, high)
        elif what == "above":
            up = middle - _extreme(shape, 1.0, slope, low, high)
        else:
            up = _extreme(shape, -1.0, slope, low, high) - middle
        # `up` is the derivative of what is to be made small
        most = np.where(up > 0, slope, most)
        least = np.where(up > 0, least, slope)
    return np.asarray(0.5 * (least + most))
