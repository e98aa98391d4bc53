r"""Which output is the largest, where, in a rectangle of two free inputs.

Branch and prune on all differences at once: an output is out on a cell when another one is proven
larger there.  Cells with one output left belong to its region; cells with two carry a piece of one
curve; cells with three are split until they are proven to hold one junction or none
(:mod:`nneq.boundary.smooth.junctions`).  The curves themselves are traced pair by pair
(:mod:`nneq.boundary.smooth.plane`) where the search left both outputs, and end at junctions.
"""

from __future__ import annotations

import dataclasses
import itertools
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from nneq.boundary.problem import Problem
from nneq.boundary.results import (
    Box,
    Clock,
    Component,
    Curve,
    DecisionMap,
    DecisionRegion,
    Enclosed,
    Junction,
    Output,
    Status,
)
from nneq.boundary.smooth.cells import Cells
from nneq.boundary.smooth.junctions import Junctions, alive_outputs, taylor
from nneq.boundary.smooth.plane import trace_plane
from nneq.errors import NneqError, UnsupportedError
from nneq.ir import network as ir
from nneq.passes.difference import difference, margins
from nneq.passes.pairs import pair_differences
from nneq.passes.restrict import restrict
from nneq.semantics.ball import UNIT
from nneq.semantics.domain import Domain
from nneq.semantics.linear_bounds import LinearBounds
from nneq.semantics.slices import Slices

__all__ = ["decision_map"]

Array = np.ndarray[Any, Any]
Progress = Callable[[float], None] | None

_MOST_OUTPUTS = 40
_AREA_LEVEL = 7
_DEEPEST = 40
_START = 3
_BATCH = 1024
_GAIN = 0.9  # linear bounds go on while they close a tenth of what Taylor bounds leave open


def decision_map(
    network: ir.Network,
    origin: Array,
    directions: Array,
    box: Box,
    *,
    names: tuple[str, str],
    precision: str = "real",
    clock: Clock,
    progress: Progress = None,
) -> DecisionMap:
    """Return all decision curves, junctions and regions of the slice ``origin + directions @ t``.

    Args:
        network: two or more outputs; the decision is the largest one.
        origin: shape ``(n,)``.
        directions: shape ``(n, 2)``.
        box: of the two variables ``t``.
        names: the two free inputs.
        precision: ``real`` or ``float32``.
        clock: the budget.
        progress: called with the share of the area that is decided.

    Raises:
        NneqError: fewer than two outputs.
        UnsupportedError: more than 40 outputs.

    Guarantee: certified (curves by Plantinga and Vegter, junctions by Krawczyk, areas between
    proven bounds).
    """
    count = network.output_size
    if count < 2:
        msg = (
            "a decision map needs two or more outputs; for one output ask for the level set "
            "boundary('z_1', 0.5)"
        )
        raise NneqError(msg)
    if count > _MOST_OUTPUTS:
        msg = (
            f"a decision map of {count} outputs compares {count * (count - 1) // 2} pairs, more "
            f"than nneq does at once ({_MOST_OUTPUTS} outputs); trace single pairs with "
            "boundary(i, j, decision=True)"
        )
        raise UnsupportedError(msg)
    began = time.perf_counter()
    search = _Search(network, origin, directions, box, precision, clock, progress)
    status = Status.COMPLETE
    try:
        search.run()
    except KeyboardInterrupt:
        status = Status.INTERRUPTED
        search.stopped = True
    curves: dict[tuple[Output, Output], Curve] = {}
    try:
        for pair in sorted(search.met):
            problem = _question(network, pair)
            curves[pair] = trace_plane(
                problem,
                origin,
                directions,
                box,
                names=names,
                precision=precision,
                clock=clock,
                screen=search.elsewhere(pair),
                near=search.junctions.near,
            )
    except KeyboardInterrupt:
        status = Status.INTERRUPTED
    return search.answer(curves, names, status, time.perf_counter() - began)


def _question(network: ir.Network, pair: tuple[int, int]) -> Problem:
    i, j = pair
    names = tuple(f"x_{k + 1}" for k in range(network.input_size))
    reduced = difference(network, i, j)
    apart = difference(network, i, j, apart=True).network
    others = [k for k in range(network.output_size) if k not in pair]
    rivals = margins(network, i, others) if others else None
    rivals_apart = margins(network, i, others, apart=True) if others else None
    executed = (apart, rivals_apart)
    return Problem(
        reduced.network, f"z_{i + 1} = z_{j + 1}", names, reduced.notes, rivals, executed
    )


class _Search:
    """Cells of a rectangle, sorted by which outputs may be largest on them."""

    def __init__(
        self,
        network: ir.Network,
        origin: Array,
        directions: Array,
        box: Box,
        precision: str,
        clock: Clock,
        progress: Progress,
    ) -> None:
        self.count = network.output_size
        self.pairs = list(itertools.combinations(range(self.count), 2))
        self.first = np.array([i for i, _ in self.pairs])
        self.second = np.array([j for _, j in self.pairs])
        differences = pair_differences(network, self.pairs, apart=precision != "real")
        self.slices = Slices(
            differences, origin[None], directions, precision=precision, executor=clock.executor
        )
        self.bounds = LinearBounds(
            restrict(differences, origin, directions), precision=precision, executor=clock.executor
        )
        self.box, self.precision, self.clock, self.progress = box, precision, clock, progress
        self.low, self.high = np.array(box.low), np.array(box.high)
        self.lower = np.zeros(self.count)
        self.shared = np.zeros(self.count)
        self.guess = np.zeros(self.count)
        self.met: set[tuple[int, int]] = set()
        self.junctions = Junctions(self.count, self.slices, self.bounds, box)
        self.screen = True
        side = 1 << _AREA_LEVEL
        self.where = {pair: np.zeros((side, side), dtype=bool) for pair in self.pairs}
        self.lost: list[tuple[Array, Array]] = []
        self.examined = 0
        self.stopped = False

    # ----------------------------------------------------------------------------------- cells
    def run(self) -> None:
        """Split until every cell is understood."""
        steps = np.arange(1 << _START)
        cells = np.stack(np.meshgrid(steps, steps, indexing="ij"), axis=-1).reshape(-1, 2)
        level = _START
        while len(cells):
            following: list[Array] = []
            for start in range(0, len(cells), _BATCH):
                part = cells[start : start + _BATCH]
                if self.clock.over:
                    self.stopped = True
                    self._give_up(level, cells[start:])
                    for rest in following:
                        self._give_up(level + 1, rest)
                    return
                self.clock.spend(len(part))
                self.examined += len(part)
                split = self._level(level, part)
                following.append((2 * split[:, None] + _QUARTERS).reshape(-1, 2))
            cells = np.concatenate(following)
            level += 1
            if self.progress is not None:
                self.progress(1.0 - len(cells) / 4.0**level)
            if level > _DEEPEST:
                self._give_up(level, cells)
                return

    def _place(self, level: int, index: Array) -> Array:
        share = index * 2.0**-level
        inner = self.low + (self.high - self.low) * share
        return np.where(index == 0, self.low, np.where(index == 1 << level, self.high, inner))

    def _boxes(self, level: int, index: Array) -> tuple[Array, Array]:
        low, high = self._place(level, index), self._place(level, index + 1)
        centre = 0.5 * low + 0.5 * high
        return centre, np.maximum(high - centre, centre - low) * (1 + 4 * UNIT)

    def _alive(self, low: Array, high: Array) -> Array:
        return alive_outputs(self.count, low, high)

    def _level(self, level: int, index: Array) -> Array:
        """Examine cells of one level; return those to split."""
        centre, half = self._boxes(level, index)
        low, high, noise = self._ends(centre, half)
        alive = self._alive(low, high)
        size = alive.sum(axis=1)
        area = 4 * half[:, 0] * half[:, 1]
        for c in range(self.count):
            self.lower[c] += area[(size == 1) & alive[:, c]].sum()
        for row in np.unique(alive[size == 2], axis=0):
            self.met.add((int(np.flatnonzero(row)[0]), int(np.flatnonzero(row)[1])))
        split = (size == 2) & (level < _AREA_LEVEL)
        ending = (size == 2) & ~split
        if ending.any():
            self._mark(level, index[ending], alive[ending])
            self._estimate(centre[ending], half[ending], alive[ending], area[ending])
        many = np.flatnonzero(size >= 3)
        settled = self.junctions.settle(centre[many], half[many], alive[many])
        widest = np.maximum(np.abs(low[many]), np.abs(high[many])).max(axis=1)
        for k, known, drowned in zip(many, settled, widest <= 16 * noise[many], strict=True):
            if known or drowned:
                one = slice(k, k + 1)
                self._mark(level, index[one], alive[one])
                if not known:
                    self._give_up(level, index[one])
                self._estimate(centre[one], half[one], alive[one], area[one])
                self.met.update(itertools.combinations(np.flatnonzero(alive[k]).tolist(), 2))
            else:
                split[k] = True
        return np.asarray(index[split])

    def _ends(self, centre: Array, half: Array) -> tuple[Array, Array, Array]:
        """Return ends of the differences ``(B, P)`` and the rounding error ``(B,)``.

        Taylor bounds are the cheaper and, in small cells, the sharper ones; linear bounds are
        asked about what they leave until they no longer decide anything more.
        """
        low, high, _, _, noise = taylor(self.slices, centre, half)
        several = np.flatnonzero(self._alive(low, high).sum(axis=1) > 1)
        if several.size and self.screen:
            centre, half = centre[several], half[several]
            forms = self.bounds(Domain.box(centre - half, centre + half))
            low[several] = np.fmax(low[several], forms.low)
            high[several] = np.fmin(high[several], forms.high)
            left = self._alive(low[several], high[several]).sum(axis=1) > 1
            self.screen = left.mean() < _GAIN
        return low, high, noise

    def _estimate(self, centre: Array, half: Array, alive: Array, area: Array) -> None:
        """Share the area of undecided cells by samples; the bounds count all of it as open."""
        steps = (np.arange(6) + 0.5) / 3 - 1
        grid = np.stack(np.meshgrid(steps, steps, indexing="ij"), axis=-1).reshape(-1, 2)
        points = centre[:, None] + half[:, None] * grid
        found = self._numbers(points.reshape(-1, 2))
        best = self._winner(found).reshape(len(centre), -1)
        for c in range(self.count):
            self.guess[c] += float(((best == c).mean(axis=1) * area).sum())
            self.shared[c] += float(area[alive[:, c]].sum())

    def _numbers(self, points: Array) -> Array:
        line = np.zeros(len(points), dtype=np.int64)
        return np.asarray(self.slices.floats(line, points)[0].reshape(len(points), -1))

    def _winner(self, found: Array) -> Array:
        """Return the largest output from the differences to the first one."""
        score = np.zeros((len(found), self.count))
        for place, (i, j) in enumerate(self.pairs):
            if i == 0:
                score[:, j] = -found[:, place]
        return np.asarray(score.argmax(axis=1))

    def _mark(self, level: int, index: Array, alive: Array) -> None:
        """Note where two outputs may both be largest, on the grid of the level of areas."""
        shift = level - _AREA_LEVEL
        for (i, j), grid in self.where.items():
            for x, y in index[alive[:, i] & alive[:, j]].tolist():
                if shift >= 0:
                    grid[x >> shift, y >> shift] = True
                else:
                    a, b = x << -shift, y << -shift
                    grid[a : a + (1 << -shift), b : b + (1 << -shift)] = True

    def elsewhere(self, pair: tuple[int, int]) -> Callable[[Cells], Array] | None:
        """Return what tells cells on which one of two outputs is proven not to be largest.

        None after a search that was stopped, which does not know.
        """
        if self.stopped:
            return None
        grids = {_AREA_LEVEL: self.where[pair]}
        for level in range(_AREA_LEVEL - 1, -1, -1):
            side = 1 << level
            blocks = grids[level + 1].reshape(side, 2, side, 2)
            grids[level] = np.asarray(blocks.any(axis=(1, 3)))

        def screen(cells: Cells) -> Array:
            level = np.minimum(cells.level, _AREA_LEVEL)
            i, j = cells.i >> (cells.level - level), cells.j >> (cells.level - level)
            wanted = np.zeros(len(cells), dtype=bool)
            for one in np.unique(level):
                rows = np.flatnonzero(level == one)
                wanted[rows] = grids[int(one)][i[rows], j[rows]]
            return ~wanted

        return screen

    def _give_up(self, level: int, index: Array) -> None:
        low, high = self._place(level, index), self._place(level, index + 1)
        self.lost.append((low, high))
        self._mark(level, index, np.ones((len(index), self.count), dtype=bool))
        self.shared += float(np.prod(high - low, axis=1).sum())

    # ---------------------------------------------------------------------------------- answer
    def answer(
        self,
        curves: dict[tuple[Output, Output], Curve],
        names: tuple[str, str],
        status: Status,
        seconds: float,
    ) -> DecisionMap:
        """Return the map."""
        undecided = tuple(
            Box(tuple(a), tuple(b))
            for low, high in self.lost
            for a, b in zip(low, high, strict=True)
        )
        # a curve's undecided cells where a junction is proven to be the only one are no loss
        open_ = [
            box
            for curve in curves.values()
            for box in curve.undecided
            if curve.status is not Status.UNDECIDED or not _around(box, self.junctions.found)
        ]
        undecided += tuple(open_)
        shown = {
            pair: _ended(curve, self.junctions.found)
            for pair, curve in curves.items()
            if curve.components
        }
        total = float(np.prod(self.high - self.low))
        regions = []
        met = {c for pair in shown for c in pair}  # samples miss the smallest regions
        for c in range(self.count):
            upper = min(total, self.lower[c] + self.shared[c]) * (1 + 1e-9)
            lower = max(0.0, self.lower[c] * (1 - 1e-9))
            area = min(max(self.lower[c] + self.guess[c], lower), upper)
            if area > 0 or c in met:
                regions.append(DecisionRegion(c, float(area), float(lower), float(upper)))
        if status is Status.COMPLETE and undecided:
            status = Status.BUDGET if self.stopped or self.clock.over else Status.UNDECIDED
        complete = status is Status.COMPLETE
        junctions = tuple(sorted(self.junctions.found, key=lambda j: (j.outputs, tuple(j.point))))
        words = (
            f"{len(regions)} outputs are largest somewhere in the box, {len(shown)} pairs meet, "
            f"{len(junctions)} junctions"
            + ("; nothing is missing" if complete else "; not complete")
        )
        return DecisionMap(
            shown,
            junctions,
            tuple(regions),
            names,
            self.box,
            complete,
            undecided,
            status,
            {"cells": self.examined, "seconds": seconds},
            Enclosed(
                "all differences bounded on every cell; Krawczyk at junctions", self.precision
            ),
            words,
        )


_QUARTERS = np.array(list(itertools.product((0, 1), repeat=2)))


def _ended(curve: Curve, junctions: list[Junction]) -> Curve:
    """Return the curve with its ends in undecided boxes replaced by the junctions in them."""
    components = []
    for component in curve.components:
        points = component.points
        for _ in range(0 if component.closed else 2):
            points = points[::-1]
            for box in curve.undecided:
                low, high = np.array(box.low), np.array(box.high)
                inside = np.all((points >= low) & (points <= high), axis=1)
                ends = [
                    j.point
                    for j in _around(box, junctions)
                    if np.all((j.point >= low) & (j.point <= high))
                ]
                if inside[-1] and len(ends) == 1:
                    count = len(points) - int(np.argmin(inside[::-1])) if not inside.all() else 1
                    points = np.concatenate((points[:count], ends))
        if len(points) > 2 or not np.array_equal(points[0], points[-1]):
            components.append(Component(points, component.closed))
    return dataclasses.replace(curve, components=tuple(components))


def _around(box: Box, junctions: list[Junction]) -> list[Junction]:
    """Return the junctions that are proven to be the only ones in a part around the box."""
    low, high = np.array(box.low), np.array(box.high)
    return [
        j
        for j in junctions
        if np.all(np.array(j.box.low) <= low) and np.all(high <= np.array(j.box.high))
    ]
