r"""Proven ranges of an activation, its first and its second derivative over intervals.

Every rule of ``nneq.activations`` is covered: piecewise-linear rules from their pieces, smooth
rules from their end points and turning points (zeros of :math:`f', f'', f'''`), piecewise-smooth
rules part by part, steps by their jumps.  ``(-inf, inf)`` means that nothing is known: a pole or
the end of the domain lies inside, or the derivative does not exist (a jump).

The derivative of a function with a kink is Clarke's: the hull of the slopes on both sides, which
is what the mean value theorem needs.  The second derivative across a kink is infinite when the
slopes differ and the hull of both sides when they agree.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, Literal, assert_never

import numpy as np

from nneq.activations import RULES
from nneq.activations.rule import Part, Rule
from nneq.semantics.ball import LIBM, TINY, UNIT, Ball
from nneq.semantics.ball_functions import BALL_FUNCTIONS

__all__ = ["at", "bend", "image", "is_kinked", "is_smooth", "part", "slope", "value"]

Array = np.ndarray[Any, Any]
Ends = tuple[Array, Array]
Params = Mapping[str, Any]
Order = Literal[0, 1, 2]

_FAR = 40.0
_NEAR = 1e-15
_HUGE = 1e90


def is_kinked(rule: str) -> bool:
    """Whether the rule has kinks or jumps, so that second derivatives may not exist."""
    return RULES[rule].kind != "smooth"


def at(rule: str, params: Params, z: Array, order: Order = 0) -> Ball:
    """Return a tight ball of ``f``, ``f'`` or ``f''`` (``order``) at the numbers ``z``."""
    declared = RULES[rule]
    if declared.kind in {"piecewise-linear", "step", "piecewise-smooth"}:
        return Ball.interval(*_ends(declared, params, z, z, order))
    return _smooth_at(declared, params, z, order)


def value(rule: str, params: Params, low: Array, high: Array) -> Ends:
    """Return proven ends of ``f`` over ``[low, high]`` (entrywise; ends may be infinite)."""
    return _ends(RULES[rule], params, low, high, 0)


def slope(rule: str, params: Params, low: Array, high: Array) -> Ends:
    """Return proven ends of ``f'`` (Clarke's, across kinks) over ``[low, high]``."""
    return _ends(RULES[rule], params, low, high, 1)


def bend(rule: str, params: Params, low: Array, high: Array) -> Ends:
    """Return proven ends of ``f''`` over ``[low, high]``; infinite where ``f'`` jumps inside."""
    return _ends(RULES[rule], params, low, high, 2)


def is_smooth(rule: str, params: Params) -> bool:
    """Whether the slopes on both sides of all kinks of a piecewise-smooth rule are equal."""
    return bool(np.all(_smooth_kink(RULES[rule], params)))


def part(rule: str, params: Params, place: int, low: Array, high: Array, order: Order = 0) -> Ends:
    """Return ends over ``[low, high]`` of one part of a piecewise-smooth rule, continued.

    Only for rules whose parts, as formulas, have no turning points but the declared ones.
    """
    with np.errstate(all="ignore"):
        bottom, top = _one_part(RULES[rule].parts[place], params, low, high, order)
        bottom = np.where(np.isnan(low) | np.isnan(bottom), -np.inf, bottom)
        top = np.where(np.isnan(high) | np.isnan(top), np.inf, top)
        return bottom, top


def image(rule: str, params: Params, arg: Ball) -> Ball:
    """Return the range of ``f`` over a ball: first order for small radii, ends for large ones."""
    low, high = arg.lower, arg.upper
    declared = RULES[rule]
    if declared.kind == "smooth" and not np.any(arg.rad > 1e-5):
        ball = _smooth_at(declared, params, arg.mid, 0)
        ends = _ends(declared, params, low, high, 1)
        steep = np.maximum(np.abs(ends[0]), np.abs(ends[1]))
        moved = np.where(arg.rad == 0, 0.0, steep * arg.rad)
        return Ball(ball.mid, (ball.rad + moved) * (1 + 8 * UNIT) + TINY)
    return Ball.interval(*_ends(declared, params, low, high, 0))


def _ends(declared: Rule, params: Params, low: Array, high: Array, order: Order) -> Ends:
    with np.errstate(all="ignore"):
        match declared.kind:
            case "piecewise-linear":
                found = _linear_ends(declared, params, low, high, order)
            case "step":
                found = _step_ends(declared, params, low, high, order)
            case "piecewise-smooth":
                found = _part_ends(declared, params, low, high, order)
            case "smooth":
                found = _smooth_ends(declared, params, low, high, order)
            case _:
                assert_never(declared.kind)
        bottom, top = found
        if order == 0:
            least, most = declared.image(params)
            slack = 8 * UNIT
            least, most = least - slack * abs(least), most + slack * abs(most)
            if declared.name in {"gelu_tanh", "mish"}:  # images printed with few digits
                least -= 1e-7
            bottom = np.where(bottom >= least, bottom, least)
            top = np.where(top <= most, top, most)
        bottom = np.where(np.isnan(low) | np.isnan(bottom), -np.inf, bottom)
        top = np.where(np.isnan(high) | np.isnan(top), np.inf, top)
        return bottom, top


# ------------------------------------------------------------------------ smooth rules
def _formula(declared: Rule | Part, order: Order) -> Callable[[Any, Any, Params], Any]:
    found = (declared.formula, declared.derivative, declared.second)[order]
    if found is None:
        msg = "a smooth rule must declare its derivatives"
        raise TypeError(msg)
    return found


def _apply(declared: Rule | Part, params: Params, z: Ball, order: Order) -> Ball:
    found = _formula(declared, order)(z, BALL_FUNCTIONS, params)
    shape = np.broadcast_shapes(found.shape, z.shape)
    return Ball(np.broadcast_to(found.mid, shape), np.broadcast_to(found.rad, shape))


def _smooth_at(declared: Rule, params: Params, z: Array, order: Order) -> Ball:
    fast = _FAST.get((declared.name, order))
    with np.errstate(all="ignore"):
        if fast is not None:
            return fast(z)
        tails = declared.tails
        if tails is None:
            return _apply(declared, params, Ball.point(z), order)
        ball = _apply(declared, params, Ball.point(np.clip(z, -_FAR, _FAR)), order)
        far = np.abs(z) > _FAR
        if not far.any():
            return ball
        zero = np.zeros(())
        line = (
            (tails.left_slope * z + tails.left, tails.right_slope * z + tails.right),
            (zero + tails.left_slope, zero + tails.right_slope),
            (zero, zero),
        )[order]
        limit = np.where(z < 0, *line)
        if order == 0:  # 0 * inf
            flat = np.where(z < 0, tails.left_slope == 0, tails.right_slope == 0)
            limit = np.where(flat, np.where(z < 0, tails.left, tails.right), limit)
        return Ball(np.where(far, limit, ball.mid), np.where(far, _NEAR, ball.rad))


def _tanh(z: Array) -> Ball:
    mid = np.tanh(z)
    return Ball(mid, LIBM * np.abs(mid) + TINY)


def _tanh_slope(z: Array) -> Ball:
    t = np.tanh(z)
    mid = (1.0 - t) * (1.0 + t)
    return Ball(mid, 3 * LIBM * np.abs(t) + 8 * UNIT * mid)


def _sigmoid(z: Array) -> Ball:
    small = np.exp(-np.abs(z))
    mid = np.where(z >= 0, 1.0, small) / (1.0 + small)
    return Ball(mid, 2 * LIBM * mid + TINY)


def _sigmoid_slope(z: Array) -> Ball:
    small = np.exp(-np.abs(z))
    mid = small / ((1.0 + small) * (1.0 + small))
    return Ball(mid, 4 * LIBM * mid + TINY)


def _exp(z: Array) -> Ball:
    mid = np.exp(z)
    return Ball(mid, LIBM * mid + TINY)


_FAST: dict[tuple[str, int], Callable[[Array], Ball]] = {
    ("tanh", 0): _tanh,
    ("tanh", 1): _tanh_slope,
    ("sigmoid", 0): _sigmoid,
    ("sigmoid", 1): _sigmoid_slope,
    ("softplus", 1): _sigmoid,
    ("softplus", 2): _sigmoid_slope,
    ("exp", 0): _exp,
    ("exp", 1): _exp,
    ("exp", 2): _exp,
}


@lru_cache(maxsize=256)
def _turning(name: str, order: int) -> tuple[tuple[float, float, float, float], ...]:
    """Return ``(left, right, bottom, top)`` of the extrema of a parameter-free smooth rule."""
    declared = RULES[name]
    if declared.turning is None:
        msg = f"activation {name!r} has no table of turning points"
        raise TypeError(msg)
    found = []
    for text in declared.turning[order]:
        place = float(text)
        ball = Ball(np.array(place), np.array(4 * UNIT * abs(place)))
        with np.errstate(all="ignore"):
            extreme = _apply(declared, {}, ball, order)  # type: ignore[arg-type]  # 0, 1 or 2
        margin = 8 * UNIT * abs(place)
        found.append((place - margin, place + margin, float(extreme.lower), float(extreme.upper)))
    return tuple(found)


def _smooth_ends(declared: Rule, params: Params, low: Array, high: Array, order: Order) -> Ends:
    if declared.name in {"sin", "cos", "tan"}:
        return _periodic_ends(declared.name, low, high, order)
    first = _smooth_at(declared, params, low, order)
    second = _smooth_at(declared, params, high, order)
    bottom = np.minimum(first.lower, second.lower)
    top = np.maximum(first.upper, second.upper)
    turning = _power_turning(params) if declared.name == "power" else _turning(declared.name, order)
    for left, right, least, most in turning:
        inside = (low <= right) & (high >= left)
        bottom = np.where(inside, np.minimum(bottom, least), bottom)
        top = np.where(inside, np.maximum(top, most), top)
    return _in_domain(declared, params, low, high, (bottom, top))


def _power_turning(params: Params) -> tuple[tuple[float, float, float, float], ...]:
    """Return the only possible extremum of ``z**k`` and its derivatives, at 0."""
    exponent = np.asarray(params["exponent"])
    if np.all(exponent >= 0) and np.all(exponent == np.round(exponent)):
        return ((0.0, 0.0, 0.0, 0.0),)
    return ()


def _in_domain(declared: Rule, params: Params, low: Array, high: Array, ends: Ends) -> Ends:
    left, right = declared.domain
    bad: Any = False
    if left > -np.inf:
        bad = low <= left if declared.name != "sqrt" else low < left
    if right < np.inf:
        bad = bad | (high >= right)
    if declared.name == "reciprocal":
        bad = (low <= 0) & (high >= 0)
    if declared.name == "power":
        exponent = np.asarray(params["exponent"])
        whole = exponent == np.round(exponent)
        bad = np.where(whole, (exponent < 0) & (low <= 0) & (high >= 0), low <= 0)
    if bad is False:
        return ends
    return np.where(bad, -np.inf, ends[0]), np.where(bad, np.inf, ends[1])


def _periodic_ends(name: str, low: Array, high: Array, order: Order) -> Ends:
    """Return the ranges of sine, cosine and tangent and of their derivatives."""
    if name == "tan":
        return _tangent_ends(low, high, order)
    # d^k sin = sin(z + k pi/2), cos = sin(z + pi/2): count quarter turns
    turn = (order + (name == "cos")) % 4
    function = (np.sin, np.cos, lambda z: -np.sin(z), lambda z: -np.cos(z))[turn]
    first, second = function(low), function(high)
    slack = LIBM + TINY
    bottom, top = np.minimum(first, second) - slack, np.maximum(first, second) + slack
    margin = 64 * UNIT * (1.0 + np.maximum(np.abs(low), np.abs(high)))
    for peak, end in ((1, top), (-1, bottom)):
        # peaks of sin(z + turn pi/2) at z = (1 - turn) pi/2 + 2 pi k, troughs half a turn later
        shift = (1 - turn) * (np.pi / 2) + (0.0 if peak == 1 else np.pi)
        inside = np.floor((high - shift + margin) / (2 * np.pi)) >= np.ceil(
            (low - shift - margin) / (2 * np.pi)
        )
        end[...] = np.where(inside | ~(high - low < 1e6), float(peak), end)
    return np.maximum(bottom, -1.0), np.minimum(top, 1.0)


def _tangent_ends(low: Array, high: Array, order: Order) -> Ends:
    margin = 64 * UNIT * (1.0 + np.maximum(np.abs(low), np.abs(high)))
    turns = np.floor((high + margin) / np.pi + 0.5), np.floor((low - margin) / np.pi + 0.5)
    bad = (turns[0] != turns[1]) | ~(high - low < 4.0)
    first, second = np.tan(low), np.tan(high)
    error = 2 * LIBM * (1.0 + np.maximum(np.abs(first), np.abs(second)))
    bottom, top = np.minimum(first, second) - error, np.maximum(first, second) + error
    if order == 1:
        steep = 1.0 + np.maximum(np.abs(bottom), np.abs(top)) ** 2
        flat = np.where((bottom <= 0) & (top >= 0), 0.0, np.minimum(np.abs(bottom), np.abs(top)))
        bottom, top = (1.0 + flat**2) * (1 - 8 * UNIT), steep * (1 + 8 * UNIT)
    elif order == 2:  # 2 t (1 + t^2) grows with t
        bottom, top = (2 * t * (1.0 + t * t) for t in (bottom, top))
        bottom, top = bottom - 8 * UNIT * np.abs(bottom), top + 8 * UNIT * np.abs(top)
    return np.where(bad, -np.inf, bottom), np.where(bad, np.inf, top)


# ------------------------------------------------------------------------ rules with kinks
def _part_ends(declared: Rule, params: Params, low: Array, high: Array, order: Order) -> Ends:
    """Return the hull over the parts that meet the interval, and over the kinks inside."""
    shape = np.broadcast_shapes(np.shape(low), np.shape(high))
    bottom, top = np.full(shape, np.inf), np.full(shape, -np.inf)
    left = -np.inf
    for part in declared.parts:
        point = low == high
        meets = np.where(
            point, (low <= part.upper) & (high >= left), (low < part.upper) & (high > left)
        )
        a = np.clip(low, left, part.upper)
        b = np.clip(high, left, part.upper)
        least, most = _one_part(part, params, a, b, order)
        bottom = np.where(meets, np.minimum(bottom, least), bottom)
        top = np.where(meets, np.maximum(top, most), top)
        if order == 2 and part.upper < np.inf:
            inside = (low < part.upper) & (high > part.upper)
            corner = inside & ~_smooth_kink(declared, params)
            bottom, top = np.where(corner, -np.inf, bottom), np.where(corner, np.inf, top)
        left = part.upper
    return bottom, top


def _one_part(part: Part, params: Params, low: Array, high: Array, order: Order) -> Ends:
    first = _apply(part, params, Ball.point(np.clip(low, -_HUGE, _HUGE)), order)
    second = _apply(part, params, Ball.point(np.clip(high, -_HUGE, _HUGE)), order)
    bottom = np.minimum(first.lower, second.lower)
    top = np.maximum(first.upper, second.upper)
    cut = (low < -_HUGE) | (high > _HUGE)  # the derivatives have monotone limits there
    if order:
        bottom, top = np.where(cut, bottom - 1e-90, bottom), np.where(cut, top + 1e-90, top)
    else:
        grown = cut & ((np.abs(bottom) > 1e80) | (np.abs(top) > 1e80))
        bottom = np.where(grown, -np.inf, np.where(cut, bottom - 1e-80, bottom))
        top = np.where(grown, np.inf, np.where(cut, top + 1e-80, top))
    for text in part.turning[order]:
        place = np.array(float(text))
        extreme = _apply(part, params, Ball.point(place), order)
        inside = (low <= place) & (high >= place)
        bottom = np.where(inside, np.minimum(bottom, extreme.lower), bottom)
        top = np.where(inside, np.maximum(top, extreme.upper), top)
    return bottom, top


def _smooth_kink(declared: Rule, params: Params) -> Array:
    """Return where the slopes on both sides of a kink are equal, exactly."""
    match declared.name:
        case "softsign" | "celu":
            return np.array(True)
        case "elu":
            found: Array = np.asarray(params["alpha"]) == 1
            return found
        case _:
            return np.array(False)


def _linear_ends(declared: Rule, params: Params, low: Array, high: Array, order: Order) -> Ends:
    if declared.pieces is None:
        msg = f"activation {declared.name!r} declares no pieces"
        raise TypeError(msg)
    shape = np.broadcast_shapes(np.shape(low), np.shape(high))
    bottom, top = np.full(shape, np.inf), np.full(shape, -np.inf)
    left: Any = -np.inf
    point = low == high
    for piece in declared.pieces(params):
        right = piece.upper + piece.blur
        meets = np.where(point, (low <= right) & (high >= left), (low < right) & (high > left))
        if order == 0:
            for end in (np.clip(low, left, right), np.clip(high, left, right)):
                reached, error = _line(piece.slope, piece.intercept, end)
                bottom = np.where(meets, np.minimum(bottom, reached - error), bottom)
                top = np.where(meets, np.maximum(top, reached + error), top)
        elif order == 1:
            bottom = np.where(meets, np.minimum(bottom, piece.slope), bottom)
            top = np.where(meets, np.maximum(top, piece.slope), top)
        else:
            corner = (low < right) & (high > piece.upper - piece.blur)
            bottom = np.where(corner, -np.inf, np.minimum(bottom, 0.0))
            top = np.where(corner, np.inf, np.maximum(top, 0.0))
        left = piece.upper - piece.blur
    return bottom, top


def _line(slope_: Any, intercept: Any, z: Array) -> tuple[Array, Array]:
    """Return ``slope z + intercept`` and its rounding error; slopes 0, 1, -1 are exact."""
    product = np.where(np.asarray(slope_) == 0, 0.0, slope_ * z)
    reached = product + intercept
    plain = np.isin(slope_, (-1.0, 0.0, 1.0)) & ((np.asarray(intercept) == 0) | (slope_ == 0))
    error = np.where(plain, 0.0, 4 * UNIT * (np.abs(product) + np.abs(intercept)) + TINY)
    return reached, error


def _step_ends(declared: Rule, params: Params, low: Array, high: Array, order: Order) -> Ends:
    """Return ranges of functions with jumps; the slope across a jump is unknown."""
    if declared.name == "hard_shrink":
        edge = np.asarray(params["lambd"])
        still = (low >= -edge) & (high <= edge)
        moving = (low > edge) | (high < -edge)
    elif declared.name == "thresholded_relu":
        edge = np.asarray(params["theta"])
        still, moving = high <= edge, low > edge
    else:
        first, second = declared.numeric(low, params), declared.numeric(high, params)
        if order == 0:
            return np.minimum(first, second), np.maximum(first, second)
        jumps = first != second
        return np.where(jumps, -np.inf, 0.0), np.where(jumps, np.inf, 0.0)
    if order == 0:
        bottom = np.where(still, 0.0, np.where(moving, low, np.minimum(low, 0.0)))
        top = np.where(still, 0.0, np.where(moving, high, np.maximum(high, 0.0)))
        return bottom, top
    rate = np.where(moving, 1.0, 0.0) if order == 1 else np.zeros(np.shape(low))
    known = still | moving
    return np.where(known, rate, -np.inf), np.where(known, rate, np.inf)
