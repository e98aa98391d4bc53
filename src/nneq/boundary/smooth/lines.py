r"""All real roots of :math:`g(o + t v)` on an interval or the whole line, proven complete.

Section by section: the tails to infinity (:mod:`nneq.boundary.smooth.tails`), branch and prune
(:mod:`nneq.boundary.smooth.isolate`), runs of monotone pieces with proven signs at their ends (one
root exactly where they differ), a numerical root in each and an interval Newton step that encloses
it (:mod:`nneq.boundary.smooth.roots`), and Arb for what float64 leaves open.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from nneq.boundary.problem import Problem
from nneq.boundary.results import (
    Clock,
    Crossing,
    Enclosed,
    Interval,
    Root,
    Solutions,
    Status,
)
from nneq.boundary.smooth.finish import Exact
from nneq.boundary.smooth.isolate import OPEN, Pieces, Runs, isolate, merge
from nneq.boundary.smooth.roots import bracketed, enclose
from nneq.semantics.slices import Slices

__all__ = ["solve_lines"]

Array = np.ndarray[Any, Any]
Progress = Callable[[int, int], None]

START_BOXES = 32
_TIGHT_WORK = 2_000_000
_SETTLE_WORK = 20_000_000


def solve_lines(
    problem: Problem,
    origins: Array,
    directions: Array,
    domain: Interval,
    *,
    variable: str = "t",
    precision: str = "real",
    clock: Clock,
    progress: Progress | None = None,
    tight: bool | None = None,
) -> list[Solutions]:
    """Return all solutions on every line ``origin + t * direction``, ``t`` in ``domain``.

    Args:
        problem: the reduced question.
        origins: shape ``(L, n)``.
        directions: shape ``(n,)`` for all lines, or ``(L, n)``.
        domain: ``(low, high)``; either end may be infinite.
        variable: the name of ``t`` in the results.
        precision: ``"real"`` (the real-number function) or ``"float32"`` (also as executed).
        clock: the budget; when it is over, what is proven so far is returned.
        progress: called with ``(boxes done, boxes open)``.
        tight: whether to finish every enclosure in Arb (to about one unit of the last place);
            None: when the network is small enough that this costs about as much as the rest.

    Guarantee: certified.
    """
    origins = np.atleast_2d(np.asarray(origins, dtype=np.float64))
    directions = np.asarray(directions, dtype=np.float64)[..., None]
    begun = time.perf_counter()
    slices = Slices(problem.network, origins, directions, precision=precision)
    line, low, high, beyond = start_boxes(slices, domain, clock)
    pieces = isolate(slices, line, low, high, clock=clock, progress=progress)
    runs = merge(slices, pieces)
    answers = _Answers(slices, pieces, runs, origins, directions[..., 0])
    answers.find(tight=tight, clock=clock, real=precision == "real")
    return [
        answers.solutions(k, domain, variable, precision, beyond, time.perf_counter() - begun)
        for k in range(slices.lines)
    ]


def start_boxes(
    slices: Slices, domain: Interval, clock: Clock
) -> tuple[Array, Array, Array, dict[int, list[Interval]]]:
    """Return the first intervals ``(line, low, high)`` and, per line, undecided tails."""
    low, high = domain
    beyond: dict[int, list[Interval]] = {}
    if math.isinf(low) or math.isinf(high):
        from nneq.boundary.smooth.tails import panels

        return panels(slices, domain, clock)
    edges = np.linspace(low, high, START_BOXES + 1)
    edges[0], edges[-1] = low, high
    edges = np.unique(edges)
    if len(edges) == 1:
        edges = np.array([low, low])
    count = len(edges) - 1
    line = np.repeat(np.arange(slices.lines), count)
    return line, np.tile(edges[:-1], slices.lines), np.tile(edges[1:], slices.lines), beyond


class _Answers:
    """Turns runs into solutions of every line."""

    def __init__(
        self, slices: Slices, pieces: Pieces, runs: Runs, origins: Array, directions: Array
    ) -> None:
        self.slices, self.pieces, self.runs = slices, pieces, runs
        self.origins, self.directions = origins, directions
        self._arb_ends()
        kind, left, right = runs.kind, runs.left, runs.right
        up, down = kind == 2, kind == -2
        self.rooted = (up & (left < 0) & (right > 0)) | (down & (left > 0) & (right < 0))
        empty = (up & ((left > 0) | (right < 0))) | (down & ((left < 0) | (right > 0)))
        self.open = (kind == OPEN) | ((up | down) & ~self.rooted & ~empty)
        self.found: dict[int, list[Root]] = {}
        self.stretches: dict[int, list[Interval]] = {}

    def _arb_ends(self) -> None:
        """Decide in Arb the signs at ends of monotone runs that float64 left open."""
        runs = self.runs
        if self.slices.precision != "real" or self.pieces.stopped:
            return
        monotone = np.abs(runs.kind) == 2
        open_left = np.flatnonzero(monotone & (runs.left == 0))
        open_right = np.flatnonzero(monotone & (runs.right == 0))
        count = len(open_left) + len(open_right)
        if not count or count * self.slices.network.parameter_count > _SETTLE_WORK:
            return
        for places, ends, points in (
            (open_left, runs.left, runs.low),
            (open_right, runs.right, runs.high),
        ):
            for place in places:
                ends[place] = self.exact(int(runs.line[place])).sign(float(points[place]))

    def exact(self, line: int) -> Exact:
        """Return one line in Arb."""
        direction = self.directions if self.directions.ndim == 1 else self.directions[line]
        return Exact(self.slices, line, self.origins[line], direction)

    def find(self, *, tight: bool | None, clock: Clock, real: bool) -> None:
        """Enclose the root of every run that has one, and settle what can be settled."""
        runs = self.runs
        places = np.flatnonzero(self.rooted)
        for place in np.flatnonzero(self.open):
            self._stretch(int(place))
        if len(places):
            line, low, high = runs.line[places], runs.low[places], runs.high[places]
            rising = runs.kind[places] == 2

            def function(places: Array, t: Array) -> Array:
                return self.slices.floats(line[places], t[:, None])[0].reshape(-1)

            guess = bracketed(function, low, high, rising)
            below, above = enclose(self.slices, line, low, high, guess)
            guess = np.clip(guess, below, above)
            if tight is None:
                tight = self.slices.network.parameter_count * len(places) <= _TIGHT_WORK
            if tight and real:
                for k in np.unique(line):
                    mine = line == k
                    below[mine], above[mine] = self.exact(int(k)).tighten(
                        below[mine], above[mine], guess[mine]
                    )
                guess = np.clip(guess, below, above)
            for k, place in enumerate(line):
                self._record(
                    int(place), float(below[k]), float(above[k]), float(guess[k]), bool(rising[k])
                )
        if real:
            self._settle(clock)

    def _record(self, line: int, low: float, high: float, value: float, rising: bool) -> None:
        crossing: Crossing = "up" if rising else "down"
        self.found.setdefault(line, []).append(Root(low, high, value, crossing, Enclosed()))

    def _settle(self, clock: Clock) -> None:
        """Decide the open stretches that rounding error left, in Arb."""
        if self.pieces.stopped:
            return
        work = self.slices.network.parameter_count * sum(map(len, self.stretches.values()))
        if work > _SETTLE_WORK:
            return
        for line, stretches in self.stretches.items():
            exact = self.exact(line)
            left: list[Interval] = []
            for low, high in stretches:
                if clock.over:
                    left.append((low, high))
                    continue
                outcome = exact.resolve(low, high)
                for bottom, top, rising in outcome.roots:
                    self._record(line, bottom, top, 0.5 * bottom + 0.5 * top, rising)
                left += outcome.left
            self.stretches[line] = left

    def _stretch(self, place: int) -> None:
        """Record an undecided run, joined to an undecided neighbour."""
        runs = self.runs
        line = int(runs.line[place])
        low, high = float(runs.low[place]), float(runs.high[place])
        known = self.stretches.setdefault(line, [])
        if known and known[-1][1] == low:
            known[-1] = (known[-1][0], high)
        else:
            known.append((low, high))

    def solutions(
        self,
        line: int,
        domain: Interval,
        variable: str,
        precision: str,
        beyond: dict[int, list[Interval]],
        seconds: float,
    ) -> Solutions:
        """Return the solutions of one line."""
        undecided = sorted([*self.stretches.get(line, []), *beyond.get(line, [])])
        status = Status.UNDECIDED if undecided else Status.COMPLETE
        if undecided and self.pieces.stopped:
            budget = self.pieces.stopped == "budget"
            status = Status.BUDGET if budget else Status.INTERRUPTED
        certificate = Enclosed(
            "second-order Taylor branch and prune, interval Newton", precision=precision
        )
        roots = tuple(
            Root(r.lower, r.upper, r.value, r.crossing, certificate)
            for r in sorted(self.found.get(line, []), key=lambda r: r.value)
        )
        return Solutions(
            roots=roots,
            variable=variable,
            domain=domain,
            complete=not undecided,
            undecided=tuple(undecided),
            status=status,
            stats={
                "boxes": int((self.pieces.line == line).sum()),
                "boxes_total": self.pieces.boxes,
                "seconds": seconds,
                "engine": "smooth",
            },
        )
