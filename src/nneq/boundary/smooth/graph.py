r"""Boxes on which the boundary is a graph :math:`x_k = g(\text{others})`, proven.

On a box ``Q`` of the other inputs and an interval ``X`` of ``x_k`` where
:math:`\partial F/\partial x_k` keeps a sign, the interval Newton image
:math:`N = m - F(Q, m) / (\partial F/\partial x_k)(Q \times X)` holds every solution in ``X``;
:math:`N \subset X` proves that for each point of ``Q`` there is exactly one (implicit function
theorem).  Otherwise ``X`` is grown to hold ``N`` and tried again, or the box is halved: along the
input that blurs the derivative most, or that moves the graph most.

References:
    Neumaier 1990, Interval Methods for Systems of Equations, section 5.1.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from nneq.boundary.problem import Problem
from nneq.boundary.results import Box, Clock, Enclosed, Graph, GraphBox, Status
from nneq.errors import NneqError, UnsupportedError
from nneq.passes.restrict import restrict
from nneq.semantics.ball import UNIT, Ball
from nneq.semantics.domain import Domain
from nneq.semantics.linear_bounds import LinearBounds
from nneq.semantics.slices import Slices

__all__ = ["solve_graph"]

Array = np.ndarray[Any, Any]

_BATCH = 256
_MOST_INPUTS = 12
_MOST_BOXES = 200_000
_NARROWEST = 2.0**-12
_TRIES = 4


def solve_graph(problem: Problem, k: int, box: Box, *, clock: Clock) -> Graph:
    """Return boxes on which ``x_k = g(others)`` is proven, covering the boundary in ``box``.

    Args:
        problem: the question.
        k: the place of the input to solve for (0-based).
        box: of all ``n`` inputs; inputs of zero width are fixed.
        clock: the budget; without one at most 200,000 boxes are examined.

    Raises:
        NneqError: ``x_k`` is fixed, or an end is infinite.
        UnsupportedError: more than 12 free inputs.

    Guarantee: certified.
    """
    low, high = np.array(box.low), np.array(box.high)
    free = list(box.free)
    if k not in free:
        msg = f"{problem.names[k]} must have an interval of positive width in the box"
        raise NneqError(msg)
    if not (np.isfinite(low).all() and np.isfinite(high).all()):
        msg = "the box must be bounded to be covered by graphs; give finite ends"
        raise NneqError(msg)
    if len(free) > _MOST_INPUTS:
        msg = (
            f"{len(free)} free inputs are more than the {_MOST_INPUTS} that boxes can cover; fix "
            "some inputs, or use nearest() and excludes()"
        )
        raise UnsupportedError(msg)
    search = _Search(problem, k, low, high, free, clock)
    status = Status.COMPLETE
    try:
        search.run()
    except KeyboardInterrupt:
        status = Status.INTERRUPTED
    return search.answer(box, status)


class _Search:
    def __init__(
        self, problem: Problem, k: int, low: Array, high: Array, free: list[int], clock: Clock
    ) -> None:
        self.names, self.k = problem.names, k
        self.free, self.axis = free, free.index(k)
        self.origin = np.where(low == high, low, 0.0)
        directions = np.zeros((len(low), len(free)))
        directions[free, range(len(free))] = 1.0
        self.slices = Slices(
            problem.network, self.origin[None], directions, executor=clock.executor
        )
        self.bounds = LinearBounds(
            restrict(problem.network, self.origin, directions), executor=clock.executor
        )
        self.size = (high - low)[free]
        self.clock = clock
        self.low, self.high = low[free][None], high[free][None]
        self.boxes: list[GraphBox] = []
        self.lost: list[tuple[Array, Array]] = []
        self.found: dict[bytes, list[tuple[float, float]]] = {}
        self.examined = 0
        self.stopped = False
        self.began = time.perf_counter()

    def run(self) -> None:
        """Halve boxes until each is empty, a graph, or too small."""
        while len(self.low):
            if self.clock.over or self.examined >= _MOST_BOXES:
                self.stopped = True
                return
            low, high = self.low[-_BATCH:], self.high[-_BATCH:]
            fresh = self._examine(low, high)
            self.clock.spend(len(low))
            self.examined += len(low)
            # the boxes leave the list only now, so that an interruption loses none
            self.low, self.high = (
                np.concatenate([self.low[:-_BATCH], fresh[0]]),
                np.concatenate([self.high[:-_BATCH], fresh[1]]),
            )

    def _jets(self, low: Array, high: Array) -> tuple[Array, Array, list[Ball], Any, Any]:
        centre = 0.5 * low + 0.5 * high
        half = np.maximum(high - centre, centre - low) * (1 + 4 * UNIT)
        line = np.zeros(len(low), dtype=np.int64)
        arithmetic, (jet,) = self.slices.jets(line, centre, half)
        bottom, top = arithmetic.range(jet)
        slopes = [Ball(s.mid.reshape(-1), s.rad.reshape(-1)) for s in arithmetic.slopes(jet)]
        return bottom.reshape(-1), top.reshape(-1), slopes, arithmetic, jet

    def _examine(self, low: Array, high: Array) -> tuple[Array, Array]:
        """Settle what can be settled; return the halves of the rest."""
        forms = self.bounds(Domain.box(low, high))
        keep = ~((forms.low[:, 0] > 0) | (forms.high[:, 0] < 0))
        low, high = low[keep], high[keep]
        if not len(low):
            return low, high
        with np.errstate(all="ignore"):
            bottom, top, slopes, arithmetic, jet = self._jets(low, high)
            open_ = ~((bottom > 0) | (top < 0))
            steep = slopes[self.axis]
            signed = (np.abs(steep.mid) > steep.rad) & open_
            settled = np.zeros(len(low), dtype=bool)
            if signed.any():
                settled[signed] = self._newton(low[signed], high[signed])
            left = open_ & ~settled
            axis = self._cut(low, high, signed, slopes, arithmetic, jet)
        low, high, axis = low[left], high[left], axis[left]
        rows = np.arange(len(low))
        cut = 0.5 * low[rows, axis] + 0.5 * high[rows, axis]
        narrow = ((high - low) / self.size)[rows, axis] < _NARROWEST
        if narrow.any():
            self.lost.append((low[narrow], high[narrow]))
        keep = ~narrow
        below, above = high.copy(), low.copy()
        below[rows, axis], above[rows, axis] = cut, cut
        return (
            np.concatenate([low[keep], above[keep]]),
            np.concatenate([below[keep], high[keep]]),
        )

    def _cut(
        self, low: Array, high: Array, signed: Array, slopes: list[Ball], arithmetic: Any, jet: Any
    ) -> Array:
        """Return the axis to halve: what blurs the derivative, or what moves the graph."""
        width = high - low
        blur = np.zeros(width.shape)
        for place, (a, b) in enumerate(arithmetic.pairs):
            if self.axis in {a, b}:
                other = b if a == self.axis else a
                bend = arithmetic.hessian(jet, place)
                size = (np.abs(bend.mid) + bend.rad).reshape(-1)
                blur[:, other] += np.where(np.isfinite(size), size, 0.0) * width[:, other]
        move = np.stack([np.abs(s.mid) + s.rad for s in slopes], axis=1) * width
        move[:, self.axis] = -1.0 if len(self.free) > 1 else 1.0
        gain = np.where(signed[:, None], move, blur)
        gain = np.where(np.isfinite(gain), gain, 0.0) + 1e-3 * width / self.size
        # a derivative that vanishes in one direction must not turn boxes into needles
        share = width / self.size
        gain = np.where(signed[:, None] | (share >= 0.25 * share.max(axis=1)[:, None]), gain, -1.0)
        if len(self.free) > 1:
            others = np.delete(share, self.axis, axis=1).max(axis=1)
            thin = signed & (share[:, self.axis] > 8 * others)
            gain[signed, self.axis] = -2.0
            gain[thin, self.axis] = np.inf
        return np.asarray(gain.argmax(axis=1))

    def _newton(self, low: Array, high: Array) -> Array:
        """Return which boxes are settled: a graph is proven, or no solution is in them."""
        settled = np.zeros(len(low), dtype=bool)
        bottom, top = low[:, self.axis].copy(), high[:, self.axis].copy()
        todo = np.arange(len(low))
        for _ in range(_TRIES):
            a, b = low[todo].copy(), high[todo].copy()
            a[:, self.axis], b[:, self.axis] = bottom[todo], top[todo]
            _, _, slopes, _, _ = self._jets(a, b)
            steep = slopes[self.axis]
            good = np.abs(steep.mid) > steep.rad * (1 + 1e-9)
            middle = 0.5 * bottom[todo] + 0.5 * top[todo]
            a[:, self.axis], b[:, self.axis] = middle, middle
            f_low, f_high, _, _, _ = self._jets(a, b)
            image = Ball.point(middle) - Ball.interval(f_low, f_high) / steep
            left, right = image.lower, image.upper
            good &= np.isfinite(left) & np.isfinite(right)
            own_low, own_high = low[todo, self.axis], high[todo, self.axis]
            outside = good & ((left > top[todo]) | (right < bottom[todo]))
            # in the grown interval the image may leave the box itself: then nothing is in it
            within = good & (left >= bottom[todo]) & (right <= top[todo])
            inside = within & (left > bottom[todo]) & (right < top[todo])
            beside = inside & ((left > own_high) | (right < own_low))
            for spot in np.flatnonzero(inside & ~beside):
                k = todo[spot]
                unique = (float(bottom[k]), float(top[k]))
                self._keep(low[k], high[k], (float(left[spot]), float(right[spot])), unique)
            done = outside | inside
            settled[todo[done]] = True
            grow = good & ~done
            pad = 0.1 * (right - left) + 4 * UNIT * (np.abs(left) + np.abs(right))
            bottom[todo] = np.where(grow, np.minimum(bottom[todo], left - pad), bottom[todo])
            top[todo] = np.where(grow, np.maximum(top[todo], right + pad), top[todo])
            wide = top[todo] - bottom[todo] > 8 * (own_high - own_low) + 4 * (right - left)
            todo = todo[grow & ~wide]
            if not len(todo):
                break
        return settled

    def _keep(
        self, low: Array, high: Array, interval: tuple[float, float], unique: tuple[float, float]
    ) -> None:
        """Record one graph, unless it was found before from a neighbour along ``x_k``.

        Args:
            low: lower ends of the free inputs.
            high: upper ends.
            interval: holds the graph.
            unique: proven to hold one solution for every choice of the others.
        """
        others = np.delete(np.stack([low, high]), self.axis, axis=1)
        known = self.found.setdefault(others.tobytes(), [])
        if any(a <= interval[0] and interval[1] <= b for a, b in known):
            return
        known.append(unique)
        interval, slopes = self._tight(low, high, interval)
        whole_low, whole_high = self.origin.copy(), self.origin.copy()
        whole_low[self.free], whole_high[self.free] = low, high
        whole_low[self.k], whole_high[self.k] = interval
        steep = slopes[self.axis]
        rates: list[tuple[float, float]] = [(0.0, 0.0)] * len(self.origin)
        for place, ball in zip(self.free, slopes, strict=True):
            if place != self.k:
                rate = -(ball / steep)
                rates[place] = (float(rate.lower[0]), float(rate.upper[0]))
        box = Box(tuple(whole_low), tuple(whole_high))
        self.boxes.append(GraphBox(box, interval, tuple(rates), 1 if steep.mid[0] > 0 else -1))

    def _tight(
        self, low: Array, high: Array, interval: tuple[float, float]
    ) -> tuple[tuple[float, float], list[Ball]]:
        """Return the graph's interval after some more Newton steps, and the slopes on the box."""
        a, b = low[None].copy(), high[None].copy()
        left, right = interval
        for _ in range(_TRIES):
            a[:, self.axis], b[:, self.axis] = left, right
            _, _, slopes, _, _ = self._jets(a, b)
            middle = np.array([0.5 * left + 0.5 * right])
            a[:, self.axis], b[:, self.axis] = middle, middle
            f_low, f_high, _, _, _ = self._jets(a, b)
            image = Ball.point(middle) - Ball.interval(f_low, f_high) / slopes[self.axis]
            left, right = max(left, float(image.lower[0])), min(right, float(image.upper[0]))
        a[:, self.axis], b[:, self.axis] = left, right
        return (left, right), self._jets(a, b)[2]

    def answer(self, box: Box, status: Status) -> Graph:
        """Return what is proven."""
        undecided = []
        for low, high in [(self.low, self.high), *self.lost]:
            for a, b in zip(low, high, strict=True):
                whole_low, whole_high = self.origin.copy(), self.origin.copy()
                whole_low[self.free], whole_high[self.free] = a, b
                undecided.append(Box(tuple(whole_low), tuple(whole_high)))
        if undecided and status is Status.COMPLETE:
            status = Status.BUDGET if self.stopped else Status.UNDECIDED
        return Graph(
            tuple(self.boxes),
            self.names[self.k],
            box,
            not undecided and status is Status.COMPLETE,
            tuple(undecided),
            status,
            {"boxes": self.examined, "seconds": time.perf_counter() - self.began},
            Enclosed("implicit function theorem by interval Newton, second-order Taylor bounds"),
        )
