r"""Second-order Taylor enclosures over boxes ("T2"), batched, with proven rounding errors.

For a function of ``d`` variables on the boxes ``|x_m - c_m| <= h_m`` a :class:`Jet` holds, for
every box and every entry of a tensor, balls for the value and the gradient at the centre and for
the Hessian over the whole box.  Range and gradient over the box follow from Taylor's theorem:

.. math:: f(c + \delta) \in v + \sum_m g_m \delta_m + \tfrac12 \sum_{ml} H_{ml} \delta_m \delta_l .

An affine map acts on all rows alike (one product with ``L`` for the midpoints, one with ``|L|`` for
the radii); an activation composes by the chain rule with the ranges of :math:`f', f''`.

Networks with kinks or jumps carry two more parts, the range and the (Clarke) gradient over the box
by plain interval arithmetic; where a Hessian does not exist it is NaN, which every later step reads
as "use the first-order form" or, where that does not exist either, "use the range".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from nneq.semantics import ranges
from nneq.semantics.activation_facts import SCALES, rule_facts, tanh_facts
from nneq.semantics.ball import (
    TINY,
    UNIT,
    UNIT32,
    Ball,
    contract,
    decide,
    float32_error,
    gamma,
    linear,
    softmax_range,
)
from nneq.semantics.branches import piece_facts

if TYPE_CHECKING:
    from nneq.ir.linear_map import LinearMap
    from nneq.ir.network import (
        Affine,
        Constant,
        Elementwise,
        Maximum,
        Product,
        Select,
        Softmax,
    )

__all__ = ["Jet", "Jets", "pairs"]

Array = np.ndarray[Any, Any]

_UP = 1.0 + 64 * UNIT


def pairs(d: int) -> list[tuple[int, int]]:
    """Return the places of a Hessian's entries: ``(m, l)`` with ``m <= l``."""
    return [(m, l) for m in range(d) for l in range(m, d)]


@dataclass(slots=True, eq=False)
class Jet:
    """Rows of balls ``(K, B, *shape)``: value, gradient (d), Hessian (pairs), [range, gradient].

    Args:
        mid: midpoints.
        rad: radii.
    """

    mid: Array
    rad: Array


class Jets:
    """What the node kinds mean for jets over one batch of boxes.

    Args:
        half: half-widths ``(B, d)``, rounded up.
        rough: whether range and Clarke gradient are carried (needed across kinks and jumps).
        float32: whether to bound how far the network executed in float32, in any order of
            summation, may be off anywhere on the box (one more row of radii).
    """

    def __init__(self, half: Array, *, rough: bool, float32: bool = False) -> None:
        """Fix the boxes."""
        self.float32 = float32
        self.half = half
        self.count, self.d = half.shape
        self.rough = rough
        self.pairs = pairs(self.d)
        self.taylor_rows = 1 + self.d + len(self.pairs)
        self.rows = self.taylor_rows + (1 + self.d if rough else 0) + (1 if float32 else 0)
        self._halves: dict[int, list[Array]] = {}

    def only(self, rows: Array) -> Jets:
        """Return the arithmetic of some of the boxes."""
        return Jets(self.half[rows], rough=self.rough, float32=self.float32)

    def _h(self, rank: int) -> list[Array]:
        """Return the half-widths of every variable, shaped to multiply ``(B, *shape)``."""
        found = self._halves.get(rank)
        if found is None:
            found = [self.half[:, m].reshape(-1, *(1,) * rank) for m in range(self.d)]
            self._halves[rank] = found
        return found

    # ---------------------------------------------------------------- reading a jet
    def front(self, value: Ball, slopes: Sequence[Ball], fuzz: Array | None = None) -> Jet:
        """Return the jet of a function that is affine in the variables.

        Args:
            value: at the centres, ``(B, *shape)``.
            slopes: one ball ``(B, *shape)`` per variable.
            fuzz: float32 statements: how far the executed tensor may be off on the boxes.
        """
        shape = value.shape
        mid, rad = np.zeros((self.rows, *shape)), np.zeros((self.rows, *shape))
        mid[0], rad[0] = value.mid, value.rad
        for m, part in enumerate(slopes, start=1):
            mid[m], rad[m] = part.mid, part.rad
        if self.rough:
            width = sum(
                part.magnitude() * h
                for part, h in zip(slopes, self._h(len(shape) - 1), strict=True)
            )
            mid[self.taylor_rows] = value.mid
            rad[self.taylor_rows] = (value.rad + width) * _UP
            t = self.taylor_rows + 1
            mid[t : t + self.d] = mid[1 : 1 + self.d]
            rad[t : t + self.d] = rad[1 : 1 + self.d]
        if fuzz is not None:
            rad[-1] = fuzz
        return Jet(mid, rad)

    def range(self, jet: Jet) -> tuple[Array, Array]:
        """Return proven ends of the values over the boxes."""
        mid, rad, d = jet.mid, jet.rad, self.d
        hs = self._h(mid.ndim - 2)
        first = rad[0].copy()
        down: Any = 0.0
        up: Any = 0.0
        for m, h in enumerate(hs):
            first += (np.abs(mid[1 + m]) + rad[1 + m]) * h
        for k, (m, l) in enumerate(self.pairs, start=1 + d):
            if m == l:
                square = 0.5 * hs[m] * hs[m]
                down = down + square * np.maximum(rad[k] - mid[k], 0.0)
                up = up + square * np.maximum(rad[k] + mid[k], 0.0)
            else:
                cross = hs[m] * hs[l] * (np.abs(mid[k]) + rad[k])
                down, up = down + cross, up + cross
        slack = 2 * UNIT * np.abs(mid[0]) + TINY
        low = mid[0] - ((first + down) * _UP + slack)
        high = mid[0] + ((first + up) * _UP + slack)
        if self.rough:
            t = self.taylor_rows
            width = rad[0].copy()
            for m, h in enumerate(hs):
                width += (np.abs(mid[t + 1 + m]) + rad[t + 1 + m]) * h
            width = width * _UP + slack
            box = Ball(mid[t], rad[t])
            low = np.fmax(np.fmax(low, mid[0] - width), box.lower)
            high = np.fmin(np.fmin(high, mid[0] + width), box.upper)
        return low, high

    def slopes(self, jet: Jet) -> list[Ball]:
        """Return balls of the partial derivatives over the boxes, one per variable."""
        mid, rad, d = jet.mid, jet.rad, self.d
        hs = self._h(mid.ndim - 2)
        widths = [rad[1 + m].copy() for m in range(d)]
        for k, (m, l) in enumerate(self.pairs, start=1 + d):
            size = np.abs(mid[k]) + rad[k]
            widths[m] += size * hs[l]
            if m != l:
                widths[l] += size * hs[m]
        found = [
            Ball(mid[1 + m], (width + 2 * UNIT * np.abs(mid[1 + m])) * _UP + TINY)
            for m, width in enumerate(widths)
        ]
        if not self.rough:
            return found
        t = self.taylor_rows
        merged = []
        for m, ball in enumerate(found):
            other = Ball(mid[t + 1 + m], rad[t + 1 + m])
            low, high = np.fmax(ball.lower, other.lower), np.fmin(ball.upper, other.upper)
            merged.append(Ball.interval(low, np.maximum(low, high)))
        return merged

    def fuzz(self, jet: Jet) -> Array:
        """Return how far the network executed in float32 may be off anywhere on the boxes."""
        return jet.rad[-1] if self.float32 else np.zeros(jet.mid.shape[1:])

    def value(self, jet: Jet) -> Ball:
        """Return the values at the centres."""
        return Ball(jet.mid[0], jet.rad[0])

    def gradient(self, jet: Jet, m: int) -> Ball:
        """Return the partial derivative by variable ``m`` at the centres."""
        return Ball(jet.mid[1 + m], jet.rad[1 + m])

    def hessian(self, jet: Jet, k: int) -> Ball:
        """Return entry ``k`` (of ``pairs``) of the Hessian over the boxes."""
        return Ball(jet.mid[1 + self.d + k], jet.rad[1 + self.d + k])

    def _parts(self, jet: Jet) -> tuple[Ball, list[Ball], list[Ball], Ball, list[Ball]]:
        """Return value, gradient, Hessian at their places, and range and gradient over the box."""
        d = self.d
        return (
            self.value(jet),
            [self.gradient(jet, m) for m in range(d)],
            [self.hessian(jet, k) for k in range(len(self.pairs))],
            Ball.interval(*self.range(jet)),
            self.slopes(jet),
        )

    def _made(
        self,
        value: Ball,
        gradient: Sequence[Ball],
        hessian: Sequence[Ball],
        box: Ball | None = None,
        steep: Sequence[Ball] = (),
        fuzz: Any = None,
    ) -> Jet:
        rows = [value, *gradient, *hessian]
        if self.rough:
            if box is None:
                msg = "a rough jet needs its range"
                raise TypeError(msg)
            rows += [box, *steep]
        if self.float32:
            rows.append(Ball(np.zeros_like(fuzz), fuzz))
        shape = np.broadcast_shapes(*(row.shape for row in rows))
        return Jet(
            np.stack([np.broadcast_to(row.mid, shape) for row in rows]),
            np.stack([np.broadcast_to(row.rad, shape) for row in rows]),
        )

    # ---------------------------------------------------------------- the node kinds
    def constant(self, node: Constant) -> Jet:
        """Return a jet with all derivatives 0."""
        mid = np.zeros((self.rows, self.count, *node.shape))
        mid[0] = node.value
        if self.rough:
            mid[self.taylor_rows] = node.value
        return Jet(mid, np.zeros_like(mid))

    def affine(self, node: Affine, args: Sequence[Jet]) -> Jet:
        """Return the mapped rows; the bias enters the value (and the range) only."""
        mid: Array | None = None
        rad: Array | None = None
        fresh = False
        fan = len(node.terms) + 1
        for term, jet in zip(node.terms, args, strict=True):
            if self.float32:
                jet = self._ready(jet, term.map)
            shape = jet.mid.shape
            m, r = linear(
                term.map,
                jet.mid.reshape(-1, *shape[2:]),
                jet.rad.reshape(-1, *shape[2:]),
            )
            m = m.reshape(*shape[:2], *node.shape)
            r = r.reshape(*shape[:2], *node.shape)
            if mid is None or rad is None:
                mid, rad = m, r
                fresh = any(stage.fan_in for stage in term.map.stages())
            else:
                fresh = True
                mid = mid + m
                rad = (rad + r + 1.0625 * UNIT * np.abs(mid)) * _UP
        if mid is None or rad is None:
            mid, rad = (np.zeros((self.rows, self.count, *node.shape)) for _ in range(2))
        bias: Array | None = None
        if node.bias is not None:
            bias = node.bias.astype(np.float64, copy=False)
            if not fresh:
                mid, rad = mid.copy(), rad.copy()
            for row in (0, self.taylor_rows) if self.rough else (0,):
                mid[row] += bias
                rad[row] = (rad[row] + 1.0625 * UNIT * np.abs(mid[row])) * _UP
        found = Jet(mid, rad)
        if self.float32 and (len(node.terms) > 1 or node.bias is not None):
            # sums of terms and bias: their sizes, not that of the cancelled result
            size = np.zeros(mid.shape[1:]) if bias is None else np.abs(bias)
            for term, jet in zip(node.terms, args, strict=True):
                size = size + self._image_size(jet, term.map).reshape(mid.shape[1:])
            rad[-1] = (rad[-1] + gamma(fan + 1, UNIT32) * (size + rad[-1])) * _UP + 1e-44
        return found

    def _image_size(self, jet: Jet, map_: LinearMap) -> Array:
        """Return a bound of ``|L| |x|`` over the boxes, float32 error included."""
        size = self._size(jet)
        for stage in map_.stages():
            size = stage.apply_abs(size) * (1.0 + 2 * gamma(stage.fan_in + 8)) + TINY
        return size

    def _size(self, jet: Jet) -> Array:
        low, high = self.range(jet)
        return np.asarray((np.maximum(np.abs(low), np.abs(high)) + jet.rad[-1]) * _UP)

    def _ready(self, jet: Jet, map_: LinearMap) -> Jet:
        """Return the jet with the float32 error that applying the map makes, put before the map."""
        fan = sum(stage.fan_in + 2 for stage in map_.stages() if stage.fan_in)
        if not fan:
            return jet
        rad = jet.rad.copy()
        rad[-1] = (rad[-1] + gamma(fan, UNIT32) * self._size(jet)) * _UP + 1e-44
        return Jet(jet.mid, rad)

    def elementwise(self, node: Elementwise, arg: Jet, piece: Array | None = None) -> Jet:
        """Return the composition with an activation.

        Args:
            node: the activation.
            arg: its argument.
            piece: the pieces that stand for it, on the whole line, ``(B, *shape)``; -1: none.
        """
        low, high = self.range(arg)
        steep = self.slopes(arg)
        mid, rad, d = arg.mid, arg.rad, self.d
        fast = SCALES.get(node.rule)
        if fast is not None:
            y, s, p, q = tanh_facts(fast, mid[0], rad[0], low, high)
        else:
            y, s, p, q = rule_facts(node.rule, node.params, mid[0], rad[0], low, high)
        box = y
        if self.rough:
            box = Ball.interval(*ranges.value(node.rule, node.params, low, high))
        if piece is not None:
            centre = self.value(arg)
            y, s, p, q, box = piece_facts(node, piece, centre, low, high, (y, s, p, q, box))
        shape = np.broadcast_shapes(mid.shape, (1, 1, *y.shape[1:]))
        out_mid, out_rad = np.empty(shape), np.empty(shape)
        out_mid[0], out_rad[0] = y.mid, y.rad
        g, ge = mid[1 : 1 + d], rad[1 : 1 + d]
        np.multiply(g, s.mid, out=out_mid[1 : 1 + d])
        size = np.abs(g)
        out_rad[1 : 1 + d] = (
            np.abs(s.mid) * (ge + 2 * UNIT * size) + s.rad * (size + ge)
        ) * _UP + TINY
        p_size, q_size = np.abs(p.mid), np.abs(q.mid)
        sizes = [np.abs(ball.mid) for ball in steep]
        for k, (m, l) in enumerate(self.pairs, start=1 + d):
            square = steep[m].mid * steep[l].mid
            if m == l:
                spread = steep[m].rad * (2 * sizes[m] + steep[m].rad)
            else:
                spread = sizes[m] * steep[l].rad + steep[m].rad * (sizes[l] + steep[l].rad)
            bulk = np.abs(square)
            h, he = mid[k], rad[k]
            h_size = np.abs(h)
            out_mid[k] = q.mid * square + p.mid * h
            out_rad[k] = (
                q_size * (spread + 4 * UNIT * bulk)
                + q.rad * (bulk + spread)
                + p_size * (he + 4 * UNIT * h_size)
                + p.rad * (h_size + he)
            ) * _UP + TINY
        if self.rough:
            t = self.taylor_rows
            out_mid[t], out_rad[t] = box.mid, box.rad
            for m in range(d):
                product = p * steep[m]
                out_mid[t + 1 + m], out_rad[t + 1 + m] = product.mid, product.rad
        if self.float32:
            out_mid[-1] = 0.0
            out_rad[-1] = self._activation_fuzz(node, low, high, rad[-1])
        return Jet(out_mid, out_rad)

    def _activation_fuzz(self, node: Elementwise, low: Array, high: Array, fuzz: Array) -> Array:
        """Return how far the executed activation may be off where its argument is off by fuzz."""
        bottom, top = low - fuzz * _UP, high + fuzz * _UP
        steep = ranges.slope(node.rule, node.params, bottom, top)
        value = ranges.value(node.rule, node.params, bottom, top)
        moved = np.maximum(np.abs(steep[0]), np.abs(steep[1])) * fuzz
        # a jump moves the value by at most the whole range
        moved = np.fmin(np.where(fuzz == 0, 0.0, moved), value[1] - value[0])
        error = float32_error(Ball.interval(bottom, top), Ball.interval(*value))
        return np.asarray((moved + error) * _UP)

    def product(self, node: Product, left: Jet, right: Jet) -> Jet:
        """Return the product rule, contracted."""

        def times(a: Ball, b: Ball) -> Ball:
            return contract(node.subscripts, a, b)

        v, g, h, box, steep = self._parts(left)
        w, k, curved, other, side = self._parts(right)
        gradient = [times(g[m], w) + times(v, k[m]) for m in range(self.d)]
        hessian = []
        for place, (m, l) in enumerate(self.pairs):
            cross = times(steep[m], side[l])
            cross = cross + (cross if m == l and left is right else times(steep[l], side[m]))
            hessian.append(times(h[place], other) + times(box, curved[place]) + cross)
        fuzz = None
        if self.float32:
            e, f = left.rad[-1], right.rad[-1]
            size, other_size = self._size(left), self._size(right)
            zero = np.zeros_like
            first = times(Ball(size, zero(size)), Ball(f, zero(f))).upper
            second = times(Ball(e, zero(e)), Ball(other_size, zero(other_size))).upper
            whole = times(Ball(size, zero(size)), Ball(other_size, zero(other_size))).upper
            fan = max(1, left.mid[0, 0].size * right.mid[0, 0].size)
            fuzz = (first + second + gamma(fan + 2, UNIT32) * whole) * _UP + 1e-44
        if not self.rough:
            return self._made(times(v, w), gradient, hessian, fuzz=fuzz)
        slopes = [times(steep[m], other) + times(box, side[m]) for m in range(self.d)]
        return self._made(times(v, w), gradient, hessian, times(box, other), slopes, fuzz)

    def maximum(self, node: Maximum, arg: Jet, piece: Array | None = None) -> Jet:
        """Return the rows of the entry that is largest on the whole box, else first order.

        Args:
            node: the maximum.
            arg: its argument.
            piece: which entry stands for it on the whole box, ``(B, *shape)``; -1: none.
        """
        rank = len(node.axes)
        kept = arg.mid.ndim - 2 - rank
        source = [axis + 2 for axis in node.axes]
        target = list(range(arg.mid.ndim - rank, arg.mid.ndim))

        def grouped(x: Array, shift: int) -> Array:
            moved = np.moveaxis(x, [a - shift for a in source], [a - shift for a in target])
            return moved.reshape(*moved.shape[: x.ndim - rank], -1)

        mid, rad = grouped(arg.mid, 0), grouped(arg.rad, 0)
        low, high = (grouped(x, 1) for x in self.range(arg))
        winner = np.argmax(np.where(np.isnan(mid[0]), -np.inf, mid[0]), axis=-1)[..., None]
        rivals = high.copy()
        np.put_along_axis(rivals, winner, -np.inf, axis=-1)
        best = np.take_along_axis(low, winner, axis=-1)[..., 0]
        sure = best >= rivals.max(axis=-1)
        if piece is not None:
            winner = np.where(piece >= 0, piece, winner[..., 0])[..., None]
            sure = sure | (piece >= 0)
        pick = np.broadcast_to(winner[None], (mid.shape[0], *winner.shape))
        out_mid = np.take_along_axis(mid, pick, axis=-1)[..., 0].copy()
        out_rad = np.take_along_axis(rad, pick, axis=-1)[..., 0].copy()
        if not sure.all():
            open_ = ~sure
            centre = Ball(mid[0], rad[0])
            value = Ball.interval(centre.lower.max(axis=-1), centre.upper.max(axis=-1))
            box = Ball.interval(low.max(axis=-1), high.max(axis=-1))
            out_mid[0] = np.where(open_, value.mid, out_mid[0])
            out_rad[0] = np.where(open_, value.rad, out_rad[0])
            out_mid[1 : self.taylor_rows, open_] = np.nan
            out_rad[1 : self.taylor_rows, open_] = np.nan
            t = self.taylor_rows
            out_mid[t] = np.where(open_, box.mid, out_mid[t])
            out_rad[t] = np.where(open_, box.rad, out_rad[t])
            live = ~(high < low.max(axis=-1, keepdims=True))
            for m, ball in enumerate(self.slopes(arg)):
                bottom, top = grouped(ball.lower, 1), grouped(ball.upper, 1)
                hull = Ball.interval(
                    np.where(live, bottom, np.inf).min(axis=-1),
                    np.where(live, top, -np.inf).max(axis=-1),
                )
                out_mid[t + 1 + m] = np.where(open_, hull.mid, out_mid[t + 1 + m])
                out_rad[t + 1 + m] = np.where(open_, hull.rad, out_rad[t + 1 + m])
        if self.float32:
            out_mid[-1] = 0.0
            out_rad[-1] = rad[-1].max(axis=-1)
        if out_mid.ndim != 2 + kept:
            msg = "the maximum lost an axis"
            raise ValueError(msg)
        return Jet(out_mid, out_rad)

    def select(self, node: Select, test: Jet, yes: Jet, no: Jet) -> Jet:
        """Return the branch that is chosen on the whole box; elsewhere only the range is known."""
        true, false = decide(node.relation, Ball.interval(*self.range(test)))
        at_true, at_false = decide(node.relation, self.value(test))
        mid = np.where(true, yes.mid, np.where(false, no.mid, np.nan))
        rad = np.where(true, yes.rad, np.where(false, no.rad, np.nan))
        open_ = ~(true | false)
        if open_.any():
            t = self.taylor_rows
            for row, first, second, ends in (
                (
                    0,
                    at_true,
                    at_false,
                    [(j.mid[0] - j.rad[0], j.mid[0] + j.rad[0]) for j in (yes, no)],
                ),
                (t, true, false, [self.range(j) for j in (yes, no)]),
            ):
                low = np.minimum(
                    np.where(second, np.inf, ends[0][0]), np.where(first, np.inf, ends[1][0])
                )
                high = np.maximum(
                    np.where(second, -np.inf, ends[0][1]), np.where(first, -np.inf, ends[1][1])
                )
                hull = Ball.interval(low, high)
                mid[row] = np.where(open_, hull.mid, mid[row])
                rad[row] = np.where(open_, (hull.rad + 4 * UNIT * np.abs(hull.mid)) * _UP, rad[row])
        if self.float32:
            low, high = self.range(test)
            sure = (low > test.rad[-1]) | (high < -test.rad[-1])
            gap = self._size(yes) + self._size(no)
            worst = np.maximum(yes.rad[-1], no.rad[-1])
            mid, rad = mid.copy(), rad.copy()
            mid[-1] = 0.0
            rad[-1] = np.where(sure, worst, (worst + gap) * _UP)
        return Jet(mid, rad)

    def softmax(self, node: Softmax, arg: Jet) -> Jet:
        r"""Return softmax or log-softmax.

        With shares :math:`s` and means :math:`\mu_m = \sum_j s_j \partial_m a_j`,
        :math:`\partial_m \log s_i = \partial_m a_i - \mu_m` and
        :math:`\partial_{ml} \log s_i = \partial_{ml} a_i - \sum_j s_j \partial_{ml} a_j
        - \mathrm{cov}_s(\partial_m a, \partial_l a)`.
        """
        from nneq.semantics.ball import log_softmax

        axis = node.axis + 1
        v, g, h, box, steep = self._parts(arg)
        share = Ball.interval(*softmax_range(v.lower, v.upper, axis))
        shares = Ball.interval(*softmax_range(box.lower, box.upper, axis))
        steps = [part - _mean(share, part, axis) for part in g]
        moves = [part - _mean(shares, part, axis) for part in steep]
        bends = []
        for k, (m, l) in enumerate(self.pairs):
            spread = _mean(shares, moves[m] * moves[l], axis)
            bends.append(h[k] - _mean(shares, h[k], axis) - spread)
        if node.log:
            value, gradient, hessian = log_softmax(v, axis), steps, bends
            whole, slopes = log_softmax(box, axis), moves
        else:
            value, gradient = share, [share * part for part in steps]
            hessian = [
                shares * (bends[k] + moves[m] * moves[l]) for k, (m, l) in enumerate(self.pairs)
            ]
            whole, slopes = shares, [shares * part for part in moves]
        fuzz = None
        if self.float32:
            worst = arg.rad[-1].max(axis=axis, keepdims=True)
            count = arg.mid.shape[2 + node.axis] + 16
            logits = np.abs(box.mid) + box.rad + arg.rad[-1]
            spread = gamma(count, UNIT32) * (1.0 + logits.max(axis=axis, keepdims=True))
            size = 1.0 + whole.magnitude() if node.log else np.ones(whole.shape)
            fuzz = (2 * worst + 2 * spread * size) * _UP
            fuzz = np.broadcast_to(fuzz, whole.shape)
        return self._made(value, gradient, hessian, whole, slopes, fuzz)


def _mean(shares: Ball, part: Ball, axis: int) -> Ball:
    product = shares * part
    count = product.shape[axis]
    mid = product.mid.sum(axis=axis, keepdims=True)
    rad = (product.rad + gamma(count + 2) * np.abs(product.mid)).sum(axis=axis, keepdims=True)
    return Ball(mid, rad * (1.0 + 2 * gamma(count + 8)) + TINY)
