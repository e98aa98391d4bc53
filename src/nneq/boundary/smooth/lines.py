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
from nneq.boundary.results import Clock, Enclosed, Interval, Root, Solutions, Status
from nneq.boundary.smooth.isolate import OPEN, Pieces, Runs, isolate, merge, signs
from nneq.boundary.smooth.roots import bracketed, enclose
from nneq.semantics.slices import Slices

__all__ = ["solve_lines"]

Array = np.ndarray[Any, Any]
Progress = Callable[[int, int], None]

START_BOXES = 32


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

    Guarantee: certified.
    """
    origins = np.atleast_2d(np.asarray(origins, dtype=np.float64))
    directions = np.asarray(directions, dtype=np.float64)[..., None]
    begun = time.perf_counter()
    slices = Slices(problem.network, origins, directions, precision=precision)
    line, low, high, beyond = start_boxes(slices, domain, clock)
    pieces = isolate(slices, line, low, high, clock=clock, progress=progress)
    runs = merge(slices, pieces)
    answers = _Answers(slices, pieces, runs)
    answers.roots()
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

    def __init__(self, slices: Slices, pieces: Pieces, runs: Runs) -> None:
        self.slices, self.pieces, self.runs = slices, pieces, runs
        kind, left, right = runs.kind, runs.left, runs.right
        up, down = kind == 2, kind == -2
        self.rooted = (up & (left < 0) & (right > 0)) | (down & (left > 0) & (right < 0))
        empty = (up & ((left > 0) | (right < 0))) | (down & ((left < 0) | (right > 0)))
        self.open = (kind == OPEN) | ((up | down) & ~self.rooted & ~empty)
        self.found: dict[int, list[Root]] = {}
        self.stretches: dict[int, list[Interval]] = {}

    def roots(self) -> None:
        """Find and enclose the root of every run that has one."""
        runs = self.runs
        places = np.flatnonzero(self.rooted)
        line, low, high = runs.line[places], runs.low[places], runs.high[places]
        rising = runs.kind[places] == 2
        if len(places):
            guess = bracketed(self.slices, line, low, high, rising)
            below, above = enclose(self.slices, line, low, high, guess)
            for k in range(len(places)):
                root = Root(
                    float(below[k]),
                    float(above[k]),
                    float(min(max(guess[k], below[k]), above[k])),
                    "up" if rising[k] else "down",
                    Enclosed("interval Newton on a proven monotone run"),
                )
                self.found.setdefault(int(line[k]), []).append(root)
        for place in np.flatnonzero(self.open):
            self._stretch(int(place))

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
