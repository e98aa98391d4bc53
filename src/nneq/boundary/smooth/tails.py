r"""Where the search on the whole line may stop: nothing beyond ``|t| > T``, proven.

On a ray ``t >= T`` every tensor is enclosed as ``c + s t + e``: balls for the slope ``s`` and an
interval for the rest, so that what saturates becomes a constant and what grows (ReLU, softplus,
GELU, ...) stays a line.  ``T`` is doubled until the output keeps a sign.  Slopes that are exactly 0
stay exactly 0: a unit that does not see ``t`` is constant out to infinity.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from nneq.activations import RULES
from nneq.boundary.results import Clock, Interval
from nneq.ir import network as ir
from nneq.semantics import ranges
from nneq.semantics.ball import TINY, UNIT, Ball, Balls, contract, linear
from nneq.semantics.slices import Front, Slices

__all__ = ["Rays", "panels", "ray_signs"]

Array = np.ndarray[Any, Any]

_UP = 1.0 + 64 * UNIT
_OCTAVES = 120
_ROWS = 256
_AT_ONCE = 10
_CORE = 1.0
_PER_OCTAVE = 3
_FAR = 63.0


class Line:
    """``base + slope * t`` on the ray ``t >= start`` (already turned to the right).

    Args:
        base: balls ``(L, *shape)``.
        slope: balls ``(L, *shape)``.
    """

    __slots__ = ("base", "slope")

    def __init__(self, base: Ball, slope: Ball) -> None:
        """Keep both parts."""
        self.base, self.slope = base, slope


class Rays:
    """What the node kinds mean on rays.

    Args:
        start: where the rays begin, shape ``(L,)``, positive.
    """

    def __init__(self, start: Array) -> None:
        """Fix the rays."""
        self.start = start
        self._balls = Balls()

    def ends(self, line: Line) -> tuple[Array, Array]:
        """Return proven ends of the values on the rays; infinite where they grow."""
        start = self.start.reshape(-1, *(1,) * (line.base.mid.ndim - 1))
        low_slope, high_slope = line.slope.lower, line.slope.upper
        still = (line.slope.mid == 0) & (line.slope.rad == 0)
        first = Ball(
            line.base.mid + line.slope.mid * start,
            (
                line.base.rad
                + line.slope.rad * start
                + 4 * UNIT * (np.abs(line.base.mid) + np.abs(line.slope.mid) * start)
            )
            * _UP
            + TINY,
        )
        low = np.where(still, line.base.lower, np.where(low_slope >= 0, first.lower, -np.inf))
        high = np.where(still, line.base.upper, np.where(high_slope <= 0, first.upper, np.inf))
        return np.where(np.isnan(low), -np.inf, low), np.where(np.isnan(high), np.inf, high)

    def constant(self, node: ir.Constant) -> Line:
        """Return a constant line."""
        base = Ball.point(np.broadcast_to(node.value, (len(self.start), *node.shape)))
        return Line(base, Ball.point(np.zeros(base.shape)))

    def affine(self, node: ir.Affine, args: Sequence[Line]) -> Line:
        """Return the mapped lines."""
        base = self._balls.affine(node, [a.base for a in args])
        if all(_flat(value) for value in args):
            return _constant(base)
        slope: Ball | None = None
        for term, value in zip(node.terms, args, strict=True):
            part = Ball(*linear(term.map, value.slope.mid, value.slope.rad, zeros=True))
            if slope is None:
                slope = part
            else:
                mid = slope.mid + part.mid
                rad = (slope.rad + part.rad + 1.0625 * UNIT * np.abs(mid)) * _UP
                slope = Ball(mid, rad)
        if slope is None:
            slope = Ball.point(np.zeros(base.shape))
        return Line(base, slope)

    def elementwise(self, node: ir.Elementwise, arg: Line) -> Line:
        """Return the line the activation approaches, or the constant range it has."""
        low, high = self.ends(arg)
        bottom, top = ranges.value(node.rule, node.params, low, high)
        base = _interval(bottom, top)
        slope = Ball.point(np.zeros(base.shape))
        rule = RULES[node.rule]
        if rule.tails is not None:
            tails = rule.tails
            for far, rate, rest in (
                (low >= 40.0, tails.right_slope, tails.right),
                (high <= -40.0, tails.left_slope, tails.left),
            ):
                if rate != 0 and far.any():
                    base, slope = _put(far, arg, rate, rest, 1e-15, base, slope)
        if not np.isfinite(base.rad).all():
            base, slope = self._on_piece(node, arg, (low, high), base, slope)
        return Line(base, slope)

    def _on_piece(
        self,
        node: ir.Elementwise,
        arg: Line,
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
        moved = rate * arg.slope
        return (
            Ball(np.where(grows, anchored.mid, base.mid), np.where(grows, anchored.rad, base.rad)),
            Ball(np.where(grows, moved.mid, slope.mid), np.where(grows, moved.rad, slope.rad)),
        )

    def product(self, node: ir.Product, left: Line, right: Line) -> Line:
        """Return the product where at most one factor grows; else only its range."""
        a, b = (_interval(*self.ends(line)) for line in (left, right))
        flat_left, flat_right = _flat(left), _flat(right)
        if flat_left:
            return Line(
                contract(node.subscripts, left.base, right.base),
                contract(node.subscripts, left.base, right.slope),
            )
        if flat_right:
            return Line(
                contract(node.subscripts, left.base, right.base),
                contract(node.subscripts, left.slope, right.base),
            )
        return _constant(contract(node.subscripts, a, b))

    def maximum(self, node: ir.Maximum, arg: Line) -> Line:
        """Return the range of the maximum."""
        low, high = self.ends(arg)
        axes = tuple(axis + 1 for axis in node.axes)
        return _constant(_interval(low.max(axis=axes), high.max(axis=axes)))

    def select(self, node: ir.Select, test: Line, yes: Line, no: Line) -> Line:
        """Return the range of the chosen branch."""
        balls = [_interval(*self.ends(line)) for line in (test, yes, no)]
        return _constant(self._balls.select(node, *balls))

    def softmax(self, node: ir.Softmax, arg: Line) -> Line:
        """Return the range of the softmax."""
        return _constant(self._balls.softmax(node, _interval(*self.ends(arg))))


def _constant(ball: Ball) -> Line:
    return Line(ball, Ball.point(np.zeros(ball.shape)))


def _flat(line: Line) -> bool:
    return not (line.slope.mid.any() or line.slope.rad.any())


def _interval(low: Array, high: Array) -> Ball:
    ball = Ball.interval(low, high)
    known = np.isfinite(low) & np.isfinite(high)
    return Ball(np.where(known, ball.mid, 0.0), np.where(known, ball.rad, np.inf))


def _put(
    far: Array, arg: Line, rate: float, rest: float, error: float, base: Ball, slope: Ball
) -> tuple[Ball, Ball]:
    line = arg.base * rate + rest
    moved = arg.slope * rate
    return (
        Ball(np.where(far, line.mid, base.mid), np.where(far, line.rad + error, base.rad)),
        Ball(np.where(far, moved.mid, slope.mid), np.where(far, moved.rad, slope.rad)),
    )


def ray_signs(slices: Slices, line: Array, start: Array, side: Array) -> Array:
    """Return the proven sign of ``g`` on whole rays: 1, -1 or 0 (not proven).

    Args:
        slices: the network on its lines, ``d = 1``.
        line: which line, shape ``(B,)``.
        start: ``T > 0``: the ray is ``t >= T`` for ``side = 1``, ``t <= -T`` for ``side = -1``.
        side: 1 or -1, shape ``(B,)``.
    """
    arithmetic = Rays(start)

    def lift(front: Front) -> Line:
        (slope,) = front.slopes
        row = slope if slope.mid.shape[0] == 1 else slope[line]
        shape = (len(line), *front.value.shape[1:])
        turned = side.reshape(-1, *(1,) * (len(shape) - 1))
        return Line(
            front.value[line],
            Ball(row.mid * turned, np.broadcast_to(row.rad, shape)),
        )

    low, high = (end.reshape(-1) for end in slices.walk(arithmetic, lift)(arithmetic.ends))
    return np.where(low > 0, 1, np.where(high < 0, -1, 0)).astype(np.int8)


def panels(
    slices: Slices, domain: Interval, clock: Clock
) -> tuple[Array, Array, Array, dict[int, list[Interval]]]:
    """Return start intervals of every line out to a proven ``T``, and the undecided tails."""
    low, high = domain
    lines = slices.lines
    beyond: dict[int, list[Interval]] = {}
    reach = {1: np.full(lines, high), -1: np.full(lines, -low)}
    least = {}
    for side, end, other in ((1, high, low), (-1, -low, -high)):
        if math.isinf(end):
            least[side] = max(1.0, 2.0 * abs(other)) if math.isfinite(other) else 1.0
    for (side, k), octave in _quiet_beyond(slices, least, clock).items():
        if octave is None:
            start = least[side] * 4.0**5
            tail = (start, math.inf) if side == 1 else (-math.inf, -start)
            beyond.setdefault(k, []).append(tail)
        else:
            start = math.ldexp(least[side], octave)
        reach[side][k] = start
    rows = []
    for k in range(lines):
        edges = _edges(-float(reach[-1][k]), float(reach[1][k]))
        rows.append((np.full(len(edges) - 1, k), edges[:-1], edges[1:]))
    line, left, right = (np.concatenate(part) for part in zip(*rows, strict=True))
    return line, left, right, beyond


def _quiet_beyond(
    slices: Slices, least: dict[int, float], clock: Clock
) -> dict[tuple[int, int], int | None]:
    """Return, for every end of every line, the smallest tried octave beyond which ``g`` has a sign.

    Several octaves of all open ends are examined together, every second one: a product with many
    rows costs little more than one with a single row, and an octave too far one more interval.
    """
    found: dict[tuple[int, int], int | None] = {}
    live = [(side, k) for side in least for k in range(slices.lines)]
    octave = 0
    while live and octave < _OCTAVES and not clock.over:
        count = max(2, min(_AT_ONCE, _ROWS // len(live)))
        octaves = octave + 2 * np.arange(count)
        sides, lines = (np.repeat(part, count) for part in np.array(live).T)
        starts = np.concatenate([np.ldexp(least[side], octaves) for side, _ in live])
        clock.spend(len(starts))
        parts = np.array_split(np.arange(len(starts)), max(1, len(starts) // slices.batch))
        signs = np.concatenate(
            [ray_signs(slices, lines[part], starts[part], sides[part]) for part in parts]
        ).reshape(len(live), count)
        first = np.where(signs.any(axis=1), (signs != 0).argmax(axis=1), -1).tolist()
        found.update((end, octave + 2 * k) for end, k in zip(live, first, strict=True) if k >= 0)
        live = [end for end, k in zip(live, first, strict=True) if k < 0]
        octave += 2 * count
    found.update(dict.fromkeys(live))
    return found


def _edges(low: float, high: float) -> Array:
    """Return interval ends: even near 0, then geometric, then one for each octave."""
    far = max(abs(low), abs(high))
    outer = [_CORE]
    while outer[-1] < far:
        outer.append(outer[-1] * (2.0 if outer[-1] >= _FAR else 2.0 ** (1 / _PER_OCTAVE)))
    ends = np.array(outer)
    core = np.linspace(-_CORE, _CORE, 9)
    edges = np.concatenate([core, ends, -ends, [low, high]])
    return np.unique(edges[(edges >= low) & (edges <= high)])
