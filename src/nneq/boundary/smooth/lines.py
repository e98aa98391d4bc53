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
from nneq.boundary.smooth.finish import Exact, newton
from nneq.boundary.smooth.identical import LIMIT, vanishes
from nneq.boundary.smooth.isolate import OPEN, Pieces, Runs, isolate, merge, quiet
from nneq.boundary.smooth.rivals import Filter
from nneq.boundary.smooth.roots import bracketed, enclose
from nneq.semantics.ball import TINY, UNIT
from nneq.semantics.slices import Slices

__all__ = ["solve_lines"]

Array = np.ndarray[Any, Any]
Progress = Callable[[float], None]

START_BOXES = 32
_TIGHT_WORK = 2_000_000
_TIGHT_ROOTS = 256
_SETTLE_WORK = 20_000_000
_ZERO_PIECES = 256
_SMALL = 1e-6


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
        progress: called with the share of boxes done.
        tight: whether to finish every enclosure in Arb (to about one unit of the last place);
            None: up to 256 roots, when parameters times roots do not exceed two million.

    Guarantee: certified.
    """
    origins = np.atleast_2d(np.asarray(origins, dtype=np.float64))
    directions = np.asarray(directions, dtype=np.float64)[..., None]
    begun = time.perf_counter()
    slices = Slices(
        problem.posed(precision),
        origins,
        directions,
        precision=precision,
        executor=clock.executor,
    )
    line, low, high, beyond = start_boxes(slices, domain, clock)
    zeros: list[tuple[int, float, float]] = []
    if precision == "real" and problem.network.parameter_count <= LIMIT:
        line, low, high, zeros = _without_zeros(
            slices, origins, directions[..., 0], line, low, high, clock
        )
    pieces = isolate(slices, line, low, high, clock=clock, progress=progress)
    runs = merge(slices, pieces)
    answers = _Answers(slices, pieces, runs, origins, directions[..., 0], clock)
    for place, left, right in zeros:
        answers.identical.setdefault(place, []).append((left, right))
    answers.find(tight=tight, clock=clock, real=precision == "real")
    answers.tails(beyond)
    if problem.rivals is not None:
        answers.keep_decisions(Filter(problem, origins, directions, precision))
    return [
        answers.solutions(k, domain, variable, precision, time.perf_counter() - begun)
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


def _without_zeros(
    slices: Slices,
    origins: Array,
    directions: Array,
    line: Array,
    low: Array,
    high: Array,
    clock: Clock,
) -> tuple[Array, Array, Array, list[tuple[int, float, float]]]:
    """Take out the start intervals on which ``g`` is proven to vanish."""
    zeros: list[tuple[int, float, float]] = []
    middle = slices.floats(line, (0.5 * low + 0.5 * high)[:, None])[0].reshape(-1)
    small = np.flatnonzero(~(np.abs(middle) > _SMALL))
    if not len(small):
        return line, low, high, zeros
    still = small[quiet(slices, line[small], low[small], high[small])]
    if not len(still) or len(still) > _ZERO_PIECES:
        return line, low, high, zeros
    gone = np.zeros(len(line), dtype=bool)
    breaks = np.flatnonzero((np.diff(still) != 1) | (np.diff(line[still]) != 0)) + 1
    for group in np.split(still, breaks):
        k = int(line[group[0]])
        direction = directions if directions.ndim == 1 else directions[k]
        tries = [group] if len(group) == 1 else [group, *np.split(group, len(group))]
        for part in tries:
            left, right = float(low[part[0]]), float(high[part[-1]])
            if not gone[part].any() and vanishes(
                slices.network, origins[k], direction, left, right, clock
            ):
                gone[part] = True
                zeros.append((k, left, right))
    return line[~gone], low[~gone], high[~gone], zeros


class _Answers:
    """Turns runs into solutions of every line."""

    def __init__(
        self,
        slices: Slices,
        pieces: Pieces,
        runs: Runs,
        origins: Array,
        directions: Array,
        clock: Clock,
    ) -> None:
        self.slices, self.pieces, self.runs = slices, pieces, runs
        self.origins, self.directions, self.clock = origins, directions, clock
        self.boxes = np.bincount(pieces.line, minlength=slices.lines)
        self.fuzz = self._run_fuzz() if slices.float32 else None
        self._arb_ends()
        kind, left, right = runs.kind, runs.left, runs.right
        up, down = kind == 2, kind == -2
        self.rooted = (up & (left < 0) & (right > 0)) | (down & (left > 0) & (right < 0))
        empty = (up & ((left > 0) | (right < 0))) | (down & ((left < 0) | (right > 0)))
        self.open = (kind == OPEN) | ((up | down) & ~self.rooted & ~empty)
        self.identical: dict[int, list[Interval]] = {}
        self.stretches: dict[int, list[Interval]] = {}
        self._zero_stretches()
        self.found: dict[int, list[Root]] = {}

    def _run_fuzz(self) -> Array:
        """Return the float32 error over every monotone run, and hold the signs at its ends to it.

        On a monotone run ``|g|`` is smallest at an end or at the root, so comparing there with the
        error over the whole run decides the sign of the executed network everywhere on it.
        """
        runs = self.runs
        fuzz = np.zeros(len(runs.line))
        places = np.flatnonzero(np.abs(runs.kind) == 2)
        if not len(places):
            return fuzz
        line, low, high = runs.line[places], runs.low[places], runs.high[places]
        centre = 0.5 * low + 0.5 * high
        half = np.maximum(high - centre, centre - low) * (1 + 1e-15)
        arithmetic, (jet,) = self.slices.jets(line, centre[:, None], half[:, None])
        with np.errstate(all="ignore"):
            fuzz[places] = arithmetic.fuzz(jet).reshape(-1)
            for ends, points in ((runs.left, low), (runs.right, high)):
                (ball,) = self.slices.balls(line, points[:, None])
                size = np.abs(ball.mid).reshape(-1) - ball.rad.reshape(-1)
                sure = size > fuzz[places] * (1 + 1e-9)
                ends[places] = np.where(sure, np.sign(ball.mid).reshape(-1), 0)
        return fuzz

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

    def _zero_stretches(self) -> None:
        """Prove intervals on which both outputs are equal everywhere, piece by piece."""
        pieces, runs = self.pieces, self.runs
        if self.slices.precision != "real" or pieces.stopped:
            return
        candidates = np.flatnonzero((pieces.kind == OPEN) & (pieces.high - pieces.low > 0))
        wide = candidates[
            (pieces.high - pieces.low)[candidates]
            > 1e-9 * np.maximum(1.0, np.abs(pieces.low[candidates]))
        ]
        if not len(wide) or len(wide) > _ZERO_PIECES:
            return
        for place in np.flatnonzero(self.open & (runs.kind == OPEN)):
            line, low, high = int(runs.line[place]), float(runs.low[place]), float(runs.high[place])
            inside = (pieces.line == line) & (pieces.low >= low) & (pieces.high <= high)
            if not np.isin(np.flatnonzero(inside), wide).any():
                continue
            self.open[place] = False
            if self._zero(line, low, high):
                self._joined(self.identical, line, low, high)
                continue
            for k in np.flatnonzero(inside):
                ends = float(pieces.low[k]), float(pieces.high[k])
                zero = k in wide and self._zero(line, *ends)
                self._joined(self.identical if zero else self.stretches, line, *ends)

    def _zero(self, line: int, low: float, high: float) -> bool:
        direction = self.directions if self.directions.ndim == 1 else self.directions[line]
        return vanishes(self.slices.network, self.origins[line], direction, low, high, self.clock)

    def tails(self, beyond: dict[int, list[Interval]]) -> None:
        """Record undecided tails to infinity; those on which ``g`` vanishes are identical."""
        for line, ends in beyond.items():
            for low, high in ends:
                zero = self.slices.precision == "real" and self._zero(line, low, high)
                kept = self.identical if zero else self.stretches
                kept.setdefault(line, []).append((low, high))

    def keep_decisions(self, rivals: Filter) -> None:
        """Drop what a third output wins with proof; what is not decided becomes undecided."""
        for line, roots in self.found.items():
            ends = [(r.lower, r.upper) for r in roots]
            lost, open_ = self._rivals(rivals, line, ends)
            self.found[line] = [
                r for r, a, b in zip(roots, lost, open_, strict=True) if not a and not b
            ]
            for end, undecided in zip(ends, open_, strict=True):
                if undecided:
                    self.stretches.setdefault(line, []).append(end)
        for kept in (self.stretches, self.identical):
            for line, ends in kept.items():
                lost, _ = self._rivals(rivals, line, ends)
                kept[line] = [end for end, a in zip(ends, lost, strict=True) if not a]
        for line, ends in self.identical.items():
            _, open_ = self._rivals(rivals, line, ends)
            for end, undecided in zip(ends, open_, strict=True):
                if undecided:
                    self.stretches.setdefault(line, []).append(end)
            self.identical[line] = [e for e, u in zip(ends, open_, strict=True) if not u]

    def _rivals(
        self, rivals: Filter, line: int, ends: list[Interval]
    ) -> tuple[list[bool], list[bool]]:
        if not ends:
            return [], []
        low, high = np.array(ends).T
        with np.errstate(invalid="ignore"):  # tails to infinity stay undecided
            centre = 0.5 * low + 0.5 * high
            half = np.maximum(high - centre, centre - low) * (1 + 1e-15)
        places = np.full(len(ends), line)
        lost, open_ = rivals.cells(centre[:, None], half[:, None], places)
        return lost.tolist(), open_.tolist()

    def exact(self, line: int) -> Exact:
        """Return one line in Arb."""
        direction = self.directions if self.directions.ndim == 1 else self.directions[line]
        return Exact(self.slices, line, self.origins[line], direction)

    def find(self, *, tight: bool | None, clock: Clock, real: bool) -> None:
        """Enclose the root of every run that has one, and settle what can be settled.

        Ctrl-C leaves the roots that are not enclosed yet with their runs, which hold them.
        """
        for place in np.flatnonzero(self.open):
            self._stretch(int(place))
        places = np.flatnonzero(self.rooted)
        try:
            ends = self._all_enclosed(places, tight=tight, real=real)
        except KeyboardInterrupt:
            self.pieces.stopped = "interrupted"
            low, high = self.runs.low[places], self.runs.high[places]
            ends = low, high, 0.5 * low + 0.5 * high
        for k, place in enumerate(places):
            below, above, guess = (float(part[k]) for part in ends)
            self._record(int(self.runs.line[place]), below, above, guess, self.runs.kind[place] > 0)
        if real:
            self._settle(clock)

    def _all_enclosed(
        self, places: Array, *, tight: bool | None, real: bool
    ) -> tuple[Array, Array, Array]:
        """Return lower ends, upper ends and values of the roots of runs."""
        runs = self.runs
        line, low, high = runs.line[places], runs.low[places], runs.high[places]
        if not len(places):
            return low, high, low

        def function(places: Array, t: Array) -> Array:
            return np.asarray(self.slices.floats(line[places], t[:, None])[0].reshape(-1))

        guess = bracketed(function, low, high, runs.kind[places] > 0)
        if tight is None:
            work = self.slices.network.parameter_count * len(places)
            tight = work <= _TIGHT_WORK and len(places) <= _TIGHT_ROOTS
        below, above = self._enclosed(places, guess, tight=tight and real)
        return below, above, np.clip(guess, below, above)

    def _enclosed(self, places: Array, guess: Array, *, tight: bool) -> tuple[Array, Array]:
        """Return enclosures of the roots of runs: from Arb where ``tight``, else from float64."""
        runs = self.runs
        line, low, high = runs.line[places], runs.low[places], runs.high[places]
        fuzz = None if self.fuzz is None else self.fuzz[places]
        if not tight:
            below, above, _ = enclose(self.slices, line, low, high, guess, fuzz)
            return below, above
        values = self._arb_values(line, guess)
        # the slope over the run is enough where the guess is as good as float64 gets
        first, last = newton(low, high, guess, values, runs.steep[places])
        for find_slopes in (self._slopes, self._enclosing_slopes):
            wide = np.flatnonzero(last - first > 8 * UNIT * np.maximum(1.0, np.abs(guess)))
            if not len(wide):
                break
            ends = line[wide], first[wide], last[wide], guess[wide]
            slopes = find_slopes(*ends)
            first[wide], last[wide] = newton(*ends[1:], [values[k] for k in wide], slopes)
        return first, last

    def _slopes(self, line: Array, low: Array, high: Array, guess: Array) -> Array:
        """Return ends of the derivative between guesses and the ends around them, ``(R, 2)``."""
        half = np.maximum(high - guess, guess - low) * (1 + 4 * UNIT) + TINY
        arithmetic, (jet,) = self.slices.jets(line, guess[:, None], half[:, None])
        (steep,) = arithmetic.slopes(jet)
        return np.stack((steep.lower.reshape(-1), steep.upper.reshape(-1)), axis=1)

    def _enclosing_slopes(self, line: Array, low: Array, high: Array, guess: Array) -> Array:
        """Return the same over the enclosures that float64 proves by itself."""
        return enclose(self.slices, line, low, high, guess)[2]

    def _arb_values(self, line: Array, points: Array) -> list[Any]:
        """Return ``g`` in Arb at points of lines."""
        values: list[Any] = [None] * len(line)
        for k in np.unique(line):
            mine = np.flatnonzero(line == k)
            found = self.exact(int(k)).values(list(points[mine]))
            for place, value in zip(mine, found, strict=True):
                values[place] = value
        return values

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
                if clock.over or self.pieces.stopped:
                    left.append((low, high))
                    continue
                try:
                    outcome = exact.resolve(low, high)
                except KeyboardInterrupt:
                    self.pieces.stopped = "interrupted"
                    left.append((low, high))
                    continue
                for bottom, top, rising in outcome.roots:
                    self._record(line, bottom, top, 0.5 * bottom + 0.5 * top, rising)
                left += outcome.left
            self.stretches[line] = left

    def _stretch(self, place: int) -> None:
        """Record an undecided run, joined to an undecided neighbour."""
        runs = self.runs
        ends = float(runs.low[place]), float(runs.high[place])
        self._joined(self.stretches, int(runs.line[place]), *ends)

    @staticmethod
    def _joined(kept: dict[int, list[Interval]], line: int, low: float, high: float) -> None:
        """Add an interval, merged with one that ends where it begins."""
        known = kept.setdefault(line, [])
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
        seconds: float,
    ) -> Solutions:
        """Return the solutions of one line."""
        undecided = _merged(self.stretches.get(line, []))
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
            undecided=undecided,
            identical=_merged(self.identical.get(line, [])),
            status=status,
            stats={
                "boxes": int(self.boxes[line]),
                "boxes_total": self.pieces.boxes,
                "seconds": seconds,
                "engine": "smooth",
            },
        )


def _merged(ends: list[Interval]) -> tuple[Interval, ...]:
    """Return sorted intervals, touching ones joined."""
    found: list[Interval] = []
    for low, high in sorted(ends):
        if found and found[-1][1] >= low:
            found[-1] = (found[-1][0], max(high, found[-1][1]))
        else:
            found.append((low, high))
    return tuple(found)
