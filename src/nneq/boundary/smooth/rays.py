r"""What a network does on whole rays ``t >= T``: bounded, or growing like a power of ``t``.

Every tensor is enclosed as :math:`b + s\,t^d` with balls ``b`` and ``s`` (which may depend on
``t``) and one exponent ``d`` for all of its entries.  What saturates becomes a constant, what grows
(ReLU, softplus, GELU, ...) keeps its slope, products and squares add exponents, roots halve them,
so that a normalised tensor, :math:`t \cdot t^{-1}`, is bounded again.  What a closed gate lets
through vanishes faster than any power that it is multiplied by.  A lower power is a higher
one times :math:`[0, T^{-k}]`.  Slopes that are exactly 0 stay exactly 0: a unit that does not see
``t`` is constant out to infinity.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from nneq.activations import RULES
from nneq.ir import network as ir
from nneq.semantics import ranges
from nneq.semantics.ball import TINY, UNIT, Ball, Balls, contract, linear

__all__ = ["Power", "Rays"]

Array = np.ndarray[Any, Any]

_UP = 1.0 + 64 * UNIT
_SATURATED = 40.0
_MOST_DEGREE = 16.0
_MOST_PAIRS = 1 << 22
# Rules that vanish on one side, |f(z)| <= exp(-|z|/2) from |z| = 2 on, and the side.
_VANISHING = {
    "exp": -1, "gelu": -1, "gelu_tanh": -1, "log_sigmoid": 1, "mish": -1, "sigmoid": -1,
    "silu": -1, "softplus": -1,
}  # fmt: skip
_FADES = 8.0
# rules that are powers themselves
_POWERS = {"square": 2.0, "sqrt": 0.5, "reciprocal": -1.0}


class Power:
    """``base + slope * t**degree`` on the rays ``t >= start`` (already turned to the right).

    Args:
        base: balls ``(L, *shape)``.
        slope: balls ``(L, *shape)``.
        degree: the exponent, one for all entries; 0 only where no entry has a slope.
        fading: entries of ``base`` that are moreover within this times ``t**-8``, as a closed gate
            is; infinite for the others, None for none.
    """

    __slots__ = ("base", "degree", "fading", "slope")

    def __init__(
        self,
        base: Ball,
        slope: Ball | None = None,
        degree: float = 1.0,
        fading: Array | None = None,
    ) -> None:
        """Keep the parts."""
        self.base = base
        self.fading = fading
        self.slope = Ball.point(np.zeros(base.shape)) if slope is None else slope
        grows = self.slope.mid.any() or self.slope.rad.any()
        self.degree = float(degree) if grows else 0.0


class Rays:
    """What the node kinds mean on rays.

    Args:
        start: where the rays begin, shape ``(L,)``, at least 1.
    """

    def __init__(self, start: Array) -> None:
        """Fix the rays."""
        self.start = start
        self._balls = Balls()

    def _powers(self, exponent: float, rank: int) -> Array:
        """Return ``start**exponent``, to some units of the last place, against a tensor."""
        return np.asarray(self.start**exponent).reshape(-1, *(1,) * (rank - 1))

    def ends(self, value: Power) -> tuple[Array, Array]:
        """Return proven ends of the values on the rays; infinite where they grow."""
        base, slope, d = value.base, value.slope, value.degree
        if d == 0:
            return base.lower, base.upper
        reach = self._powers(d, base.mid.ndim)
        still = (slope.mid == 0) & (slope.rad == 0)
        far = np.abs(slope.mid) * reach
        first = Ball(
            base.mid + slope.mid * reach,
            (base.rad + slope.rad * reach + 24 * UNIT * (np.abs(base.mid) + far)) * _UP + TINY,
        )
        rising, falling = slope.lower >= 0, slope.upper <= 0
        if d > 0:
            low = np.where(rising, first.lower, -np.inf)
            high = np.where(falling, first.upper, np.inf)
        else:
            low = np.where(rising, base.lower, np.minimum(base.lower, first.lower))
            high = np.where(falling, base.upper, np.maximum(base.upper, first.upper))
        low = np.where(still, base.lower, low)
        high = np.where(still, base.upper, high)
        return np.where(np.isnan(low), -np.inf, low), np.where(np.isnan(high), np.inf, high)

    def _lowered(self, ball: Ball, by: float) -> Ball:
        """Return the ball times ``[0, start**-by]``, ``by >= 0``: ``t**d`` as a part of a power.

        Zero stays exactly 0.
        """
        if by == 0:
            return ball
        half = 0.5 * self._powers(-by, ball.mid.ndim) * (1 + 32 * UNIT)
        rad = (np.abs(ball.mid) * half + 2 * half * ball.rad) * _UP + TINY
        return Ball(ball.mid * half, np.where((ball.mid == 0) & (ball.rad == 0), 0.0, rad))

    def _sum(self, parts: Sequence[tuple[Ball, float]]) -> Power:
        """Return a sum of balls times powers of ``t``, as one power and a constant."""
        parts = [(b, d) for b, d in parts if d == 0 or b.mid.any() or b.rad.any()]
        degree = max([d for _, d in parts], default=0.0)
        base: Ball | None = None
        slope: Ball | None = None
        for ball, d in parts:
            if d > 0:
                low = self._lowered(ball, degree - d)
                slope = low if slope is None else _plus(slope, low)
            else:
                low = self._lowered(ball, -d)
                base = low if base is None else _plus(base, low)
        if base is None:
            shape = parts[0][0].shape
            base = Ball.point(np.zeros(shape))
        return Power(base, slope, degree)

    def constant(self, node: ir.Constant) -> Power:
        """Return a constant."""
        return Power(Ball.point(np.broadcast_to(node.value, (len(self.start), *node.shape))))

    def affine(self, node: ir.Affine, args: Sequence[Power]) -> Power:
        """Return the mapped values; what is exactly 0 stays so."""
        degree = max([a.degree for a in args if a.degree != 0], default=0.0)
        base: Ball | None = None
        slope: Ball | None = None
        for term, value in zip(node.terms, args, strict=True):
            part = Ball(*linear(term.map, value.base.mid, value.base.rad, zeros=True))
            base = part if base is None else _plus(base, part)
            if value.degree != 0:
                part = Ball(*linear(term.map, value.slope.mid, value.slope.rad, zeros=True))
                part = self._lowered(part, degree - value.degree)
                slope = part if slope is None else _plus(slope, part)
        shape = (len(self.start), *node.shape)
        if node.bias is not None:
            bias = Ball.point(np.broadcast_to(node.bias, shape))
            base = bias if base is None else _plus(base, bias)
        return Power(Ball.point(np.zeros(shape)) if base is None else base, slope, degree)

    def elementwise(self, node: ir.Elementwise, arg: Power) -> Power:
        """Return the power the activation approaches, or the constant range it has."""
        low, high = self.ends(arg)
        bottom, top = ranges.value(node.rule, node.params, low, high)
        base = _interval(bottom, top)
        slope = Ball.point(np.zeros(base.shape))
        exponent = _exponent(node)
        if exponent is not None and arg.degree != 0:
            found = self._raised(node, arg, exponent, base)
            if found is not None:
                return found
        rule = RULES[node.rule]
        if rule.tails is not None and arg.degree > 0:
            tails = rule.tails
            for far, rate, rest in (
                (low >= _SATURATED, tails.right_slope, tails.right),
                (high <= -_SATURATED, tails.left_slope, tails.left),
            ):
                if rate != 0 and far.any():
                    base, slope = _put(far, arg, rate, rest, 1e-15, base, slope)
        if not np.isfinite(base.rad).all():
            base, slope = self._on_piece(node, arg, (low, high), base, slope)
        return Power(base, slope, arg.degree, self._fading(node, arg))

    def _fading(self, node: ir.Elementwise, arg: Power) -> Array | None:
        r"""Return ``c`` where ``|f| <= c t**-8``: the rule vanishes on the side that ``t`` goes to.

        There :math:`|f(z)| \le e^{-|z|/2}` for :math:`|z| \ge 2`, and with :math:`|z| \ge s t^d -
        b` the function :math:`t^k e^{-(s t^d - b)/2}` decreases from :math:`s d T^d = 2 k` on.
        """
        side = _VANISHING.get(node.rule)
        if side is None or arg.degree <= 0:
            return None
        rise = np.maximum(side * arg.slope.mid - arg.slope.rad, 0.0) * (1 - 4 * UNIT)
        power = self._powers(arg.degree, rise.ndim) * (1 - 16 * UNIT)
        way = rise * power
        size = way * (1 - 4 * UNIT) - arg.base.magnitude()
        sure = (size >= 2) & (way * arg.degree >= 2 * _FADES)
        start = self._powers(1.0, rise.ndim)
        found = np.exp(-0.5 * size + _FADES * np.log(start)) * (1 + 1e-9)
        return np.where(sure & np.isfinite(found), found + TINY, np.inf) if sure.any() else None

    def _raised(
        self, node: ir.Elementwise, arg: Power, exponent: float, base: Ball
    ) -> Power | None:
        """Return ``arg**exponent``; entries of which nothing is known keep their range."""
        degree = arg.degree * exponent
        if abs(degree) > _MOST_DEGREE or arg.degree < 0:
            return None
        # b + s t**d = t**d (s + b t**-d)
        inner = _plus(arg.slope, self._lowered(arg.base, arg.degree))
        still = (arg.slope.mid == 0) & (arg.slope.rad == 0)
        if exponent == int(exponent) and exponent > 0:
            raised = inner ** int(exponent)
        else:
            raised = Ball.interval(*ranges.value(node.rule, node.params, inner.lower, inner.upper))
        known = ~still & np.isfinite(raised.mid) & np.isfinite(raised.rad)
        if exponent != int(exponent) or exponent < 0:
            known &= inner.lower > 0 if exponent != -1 else (inner.lower > 0) | (inner.upper < 0)
        zero = Ball.point(np.zeros(base.shape))
        return Power(_choose(known, zero, base), _choose(known, raised, zero), degree)

    def _on_piece(
        self,
        node: ir.Elementwise,
        arg: Power,
        ends: tuple[Array, Array],
        base: Ball,
        slope: Ball,
    ) -> tuple[Ball, Ball]:
        """Return ``f(p) + f'(a - p)`` where the range is infinite, with ``f'`` over the ray."""
        steep = ranges.slope(node.rule, node.params, *ends)
        rate = Ball.interval(*steep)
        grows = ~np.isfinite(base.rad) & np.isfinite(steep[0]) & np.isfinite(steep[1])
        place = np.where(
            np.isfinite(ends[0]), ends[0], np.where(np.isfinite(ends[1]), ends[1], 0.0)
        )
        value = Ball.interval(*ranges.value(node.rule, node.params, place, place))
        anchored = rate * (arg.base - Ball.point(place)) + value
        moved = _as_zero(rate * arg.slope, arg.slope)
        return _choose(grows, anchored, base), _choose(grows, moved, slope)

    def product(self, node: ir.Product, left: Power, right: Power) -> Power:
        """Return the product, term by term; its range where that says nothing."""

        def times(a: Ball, b: Ball) -> Ball:
            return _contracted(node.subscripts, a, b)

        d, e = left.degree, right.degree
        parts = [(times(left.base, right.base), 0.0)]
        for one, other, degree, turned in ((left, right, e, False), (right, left, d, True)):
            if degree == 0:
                continue
            kept, fading = _faded(one)
            for ball, power in ((kept, degree), (fading, degree - _FADES)):
                if ball is not None:
                    factors = (other.slope, ball) if turned else (ball, other.slope)
                    parts.append((times(*factors), power))
        if d != 0 and e != 0:
            parts.append((times(left.slope, right.slope), d + e))
        whole = times(*(_interval(*self.ends(value)) for value in (left, right)))
        if max(d, e, d + e) > _MOST_DEGREE:
            return Power(whole)
        found = self._sum(parts)
        sizes = found.base.mid, found.base.rad, found.slope.mid, found.slope.rad
        known = np.logical_and.reduce([np.isfinite(size) for size in sizes])
        zero = Ball.point(np.zeros(whole.shape))
        return Power(
            _choose(known, found.base, whole), _choose(known, found.slope, zero), found.degree
        )

    def maximum(self, node: ir.Maximum, arg: Power) -> Power:
        """Return the entry that is largest on the whole ray where there is one, else the range."""
        axes = tuple(axis + 1 for axis in node.axes)
        low, high = self.ends(arg)
        best = _interval(low.max(axis=axes), high.max(axis=axes))
        if arg.degree == 0:
            return Power(best)
        base, slope = _grouped(arg.base, axes), _grouped(arg.slope, axes)
        above, _ = self._gaps(base, slope, arg.degree)
        if above is None:
            return Power(best)
        wins = ((above >= 0) | np.eye(above.shape[-1], dtype=bool)).all(axis=-1)
        known, place = np.asarray(wins.any(axis=-1)), wins.argmax(axis=-1)[..., None]
        base, slope = (
            Ball(*(np.take_along_axis(a, place, axis=-1)[..., 0] for a in (g.mid, g.rad)))
            for g in (base, slope)
        )
        zero = Ball.point(np.zeros(best.shape))
        return Power(_choose(known, base, best), _choose(known, slope, zero), arg.degree)

    def _gaps(self, base: Ball, slope: Ball, degree: float) -> tuple[Array | None, Array | None]:
        """Return the ends of ``a_i - a_j`` on the rays, ``(..., i, j)``; None where too many."""
        if base.mid.size * base.shape[-1] > _MOST_PAIRS:
            return None, None

        def minus(ball: Ball) -> Ball:
            gap = ball[..., :, None] - ball[..., None, :]
            same = np.eye(ball.shape[-1], dtype=bool)
            equal = (ball.rad[..., :, None] == 0) & (ball.rad[..., None, :] == 0) & (gap.mid == 0)
            return Ball(np.where(same, 0.0, gap.mid), np.where(same | equal, 0.0, gap.rad))

        low, high = self.ends(Power(minus(base), minus(slope), degree))
        return low, high

    def select(self, node: ir.Select, test: Power, yes: Power, no: Power) -> Power:
        """Return the chosen branch where it is the same on the whole ray, else the range."""
        true, false = _decided(node.relation, *self.ends(test))
        hull = self._balls.select(node, *(_interval(*self.ends(v)) for v in (test, yes, no)))
        degree = max([v.degree for v in (yes, no) if v.degree != 0], default=0.0)
        base, slope = hull, Ball.point(np.zeros(hull.shape))
        for known, branch in ((true, yes), (false, no)):
            known, mid, rad, rise, risk = np.broadcast_arrays(
                known, branch.base.mid, branch.base.rad, branch.slope.mid, branch.slope.rad
            )
            risen = Ball(rise, risk)
            if branch.degree != 0:
                risen = self._lowered(risen, degree - branch.degree)
            base = _choose(known, Ball(mid, rad), base)
            slope = _choose(known, risen, slope)
        return Power(base, slope, degree)

    def softmax(self, node: ir.Softmax, arg: Power) -> Power:
        """Return the range of the softmax: from the differences, which may settle."""
        axis = node.axis + 1
        plain = Power(self._balls.softmax(node, _interval(*self.ends(arg))))
        if arg.degree == 0 or node.log:
            return plain
        base, slope = (_grouped(ball, (axis,)) for ball in (arg.base, arg.slope))
        low, high = self._gaps(base, slope, arg.degree)
        if low is None or high is None:
            return plain
        # p_i = 1 / sum_j exp(a_j - a_i); the gap of j to i is minus that of i to j
        count = base.shape[-1]
        pad = 1.0 + (64 + 4 * count) * UNIT
        most, least = np.exp(-low) * pad, np.exp(-high) / pad
        wide, narrow = (np.where(np.isnan(v), w, v) for v, w in ((most, np.inf), (least, 0.0)))
        bottom = 1.0 / (wide.sum(axis=-1) * pad) / pad
        top = np.minimum(1.0 / (narrow.sum(axis=-1) / pad) * pad, 1.0)
        shares = Ball.interval(np.moveaxis(bottom, -1, axis), np.moveaxis(top, -1, axis))
        better = shares.rad < plain.base.rad
        return Power(_choose(better, shares, plain.base))


def _faded(value: Power) -> tuple[Ball, Ball | None]:
    """Return the base without the entries that fade, and bounds of those, times ``t**-8``."""
    if value.fading is None:
        return value.base, None
    fades = np.isfinite(value.fading)
    zero = Ball.point(np.zeros(value.base.shape))
    bounds = Ball(zero.mid, np.where(fades, value.fading, 0.0))
    return _choose(fades, zero, value.base), bounds


def _decided(relation: str, low: Array, high: Array) -> tuple[Array, Array]:
    """Return where values in ``[low, high]`` are proven to be ``relation`` 0, and where not."""
    match relation:
        case ">":
            return low > 0, high <= 0
        case ">=":
            return low >= 0, high < 0
        case _:
            return (low == 0) & (high == 0), (low > 0) | (high < 0)


def _exponent(node: ir.Elementwise) -> float | None:
    """Return the exponent of a rule that is a power, the same for all entries."""
    if node.rule in _POWERS:
        return _POWERS[node.rule]
    if node.rule != "power":
        return None
    exponents = np.unique(node.params["exponent"])
    return float(exponents[0]) if len(exponents) == 1 and exponents[0] != 0 else None


def _plus(a: Ball, b: Ball) -> Ball:
    """Return the sum; zero plus zero stays exactly 0."""
    mid = a.mid + b.mid
    return Ball(mid, (a.rad + b.rad + 1.0625 * UNIT * np.abs(mid)) * _UP)


def _as_zero(found: Ball, source: Ball) -> Ball:
    """Return the ball, exactly 0 where the source is."""
    return _choose((source.mid == 0) & (source.rad == 0), Ball.point(np.zeros(found.shape)), found)


def _contracted(subscripts: str, left: Ball, right: Ball) -> Ball:
    """Return the contraction, exactly 0 where all products have a factor that is exactly 0."""
    found = contract(subscripts, left, right)
    ins, out = subscripts.split("->")
    first, second = ins.split(",")
    a, b = (((x.mid != 0) | (x.rad != 0)).astype(np.float64) for x in (left, right))
    hits = np.einsum(f"Z{first},Z{second}->Z{out}", a, b)
    return _choose(hits > 0, found, Ball.point(np.zeros(found.shape)))


def _choose(known: Array, yes: Ball, no: Ball) -> Ball:
    return Ball(np.where(known, yes.mid, no.mid), np.where(known, yes.rad, no.rad))


def _grouped(ball: Ball, axes: tuple[int, ...]) -> Ball:
    """Return the ball with some axes moved to the end and flattened to one."""

    def moved(x: Array) -> Array:
        kept = [k for k in range(x.ndim) if k not in axes]
        return x.transpose(*kept, *axes).reshape(*(x.shape[k] for k in kept), -1)

    return Ball(moved(ball.mid), moved(ball.rad))


def _interval(low: Array, high: Array) -> Ball:
    ball = Ball.interval(low, high)
    known = np.isfinite(low) & np.isfinite(high)
    return Ball(np.where(known, ball.mid, 0.0), np.where(known, ball.rad, np.inf))


def _put(
    far: Array, arg: Power, rate: float, rest: float, error: float, base: Ball, slope: Ball
) -> tuple[Ball, Ball]:
    line = arg.base * rate + rest
    shifted = Ball(line.mid, line.rad + error)
    return _choose(far, shifted, base), _choose(far, _as_zero(arg.slope * rate, arg.slope), slope)
