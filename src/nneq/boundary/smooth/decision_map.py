r"""Which output is the largest, where, in a rectangle of two free inputs.

Branch and prune on all differences at once: an output is out on a cell when another one is proven
larger there.  Cells with one output left belong to its region; cells with two carry a piece of one
curve; cells with three are split until a Krawczyk test on :math:`(z_i - z_j, z_i - z_k)` proves
that an enlarged cell holds exactly one junction, or none.  The curves themselves are traced pair by
pair (:mod:`nneq.boundary.smooth.plane`) and cut where a third output wins.

References:
    Krawczyk 1969; Moore, Kearfott and Cloud 2009, section 8.2.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from nneq.boundary.problem import Problem
from nneq.boundary.results import (
    Box,
    Clock,
    Curve,
    DecisionMap,
    DecisionRegion,
    Enclosed,
    Junction,
    Output,
    Status,
)
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
    curves: dict[tuple[Output, Output], Curve] = {}
    try:
        for pair in sorted(search.met):
            problem = _question(network, pair)
            curves[pair] = trace_plane(
                problem, origin, directions, box, names=names, precision=precision, clock=clock
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
        self.junctions: list[Junction] = []
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
        """Return which outputs no other one is proven to exceed, ``(B, m)``."""
        alive = np.ones((len(low), self.count), dtype=bool)
        for place, (i, j) in enumerate(self.pairs):
            alive[:, j] &= ~(low[:, place] > 0)
            alive[:, i] &= ~(high[:, place] < 0)
        return alive

    def _level(self, level: int, index: Array) -> Array:
        """Examine cells of one level; return those to split."""
        centre, half = self._boxes(level, index)
        forms = self.bounds(Domain.box(centre - half, centre + half))
        low, high = forms.low, forms.high
        alive = self._alive(low, high)
        several = np.flatnonzero(alive.sum(axis=1) > 1)
        jacobian: tuple[Array, Array] | None = None
        noise = np.zeros(len(several))
        if several.size:
            jet_low, jet_high, mid, rad, noise = self._taylor(centre[several], half[several])
            low[several] = np.fmax(low[several], jet_low)
            high[several] = np.fmin(high[several], jet_high)
            alive[several] = self._alive(low[several], high[several])
            jacobian = (mid, rad)
        size = alive.sum(axis=1)
        area = 4 * half[:, 0] * half[:, 1]
        for c in range(self.count):
            self.lower[c] += area[(size == 1) & alive[:, c]].sum()
        for row in np.unique(alive[size > 1], axis=0):
            places = np.flatnonzero(row)
            self.met.update(itertools.combinations(places.tolist(), 2)) if len(
                places
            ) == 2 else None
        split = np.zeros(len(index), dtype=bool)
        pair = (size == 2) & (level < _AREA_LEVEL)
        split[pair] = True
        ending = (size == 2) & ~pair
        if ending.any():
            self._estimate(centre[ending], half[ending], alive[ending], area[ending])
        for spot, k in enumerate(several):
            if size[k] >= 3 and jacobian is not None:
                known = size[k] == 3 and self._krawczyk(
                    centre[k], half[k], np.flatnonzero(alive[k])
                )
                widest = np.maximum(np.abs(low[k]), np.abs(high[k])).max()
                if known or widest <= 16 * noise[spot]:
                    if not known:
                        self._give_up(level, index[k : k + 1])
                    self._estimate(
                        centre[k : k + 1], half[k : k + 1], alive[k : k + 1], area[k : k + 1]
                    )
                    self.met.update(itertools.combinations(np.flatnonzero(alive[k]).tolist(), 2))
                else:
                    split[k] = True
        return index[split]

    def _taylor(self, centre: Array, half: Array) -> tuple[Array, Array, Array, Array, Array]:
        """Return ends of the differences, gradient balls ``(B, P, 2)`` and the rounding error."""
        line = np.zeros(len(centre), dtype=np.int64)
        arithmetic, (jet,) = self.slices.jets(line, centre, half)
        low, high = arithmetic.range(jet)
        fuzz = arithmetic.fuzz(jet)
        slopes = arithmetic.slopes(jet)
        mid = np.stack([s.mid for s in slopes], axis=-1)
        rad = np.stack([s.rad for s in slopes], axis=-1)
        noise = (arithmetic.value(jet).rad + fuzz).max(axis=1)
        return low - fuzz, high + fuzz, mid, rad, noise

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

    def _give_up(self, level: int, index: Array) -> None:
        low, high = self._place(level, index), self._place(level, index + 1)
        self.lost.append((low, high))
        self.shared += float(np.prod(high - low, axis=1).sum())

    # ------------------------------------------------------------------------------- junctions
    def _krawczyk(self, centre: Array, half: Array, three: Array) -> bool:
        """Return whether the cell is settled: one junction is proven near it, or none is in it."""
        for old in self.junctions:
            if tuple(three) == old.outputs and self._inside(centre, half, old.box):
                return True
        wide = 2.0 * half
        i, j, k = (int(c) for c in three)
        rows = [self.pairs.index((i, j)), self.pairs.index((i, k))]
        _, _, mid, rad, _ = self._taylor(centre[None], wide[None])
        mid, rad = mid[0, rows], rad[0, rows]
        if not (np.isfinite(mid).all() and np.isfinite(rad).all()):
            return False
        determinant = mid[0, 0] * mid[1, 1] - mid[0, 1] * mid[1, 0]
        if determinant == 0 or not np.isfinite(determinant):
            return False
        inverse = np.array([[mid[1, 1], -mid[0, 1]], [-mid[1, 0], mid[0, 0]]]) / determinant
        start = self._newton(centre, wide, rows)
        found = self._step(start, centre, wide, inverse, mid, rad, rows)
        if found is None:
            return False
        low, high = found
        if np.any(low > centre + wide) or np.any(high < centre - wide):
            return True  # no zero of the pair in the enlarged cell
        if not (np.all(low > centre - wide) and np.all(high < centre + wide)):
            return False
        if np.any(low > centre + half) or np.any(high < centre - half):
            return True  # the only zero is outside the cell itself
        return self._accept(start, low, high, three, (centre - wide, centre + wide))

    @staticmethod
    def _inside(centre: Array, half: Array, box: Box) -> bool:
        """Return whether a cell lies in a box known to hold one junction only."""
        return bool(
            np.all(centre - half >= np.array(box.low))
            and np.all(centre + half <= np.array(box.high))
        )

    def _newton(self, centre: Array, wide: Array, rows: list[int]) -> Array:
        """Return a numerical zero of the two differences near a cell."""
        point = centre.copy()
        line = np.zeros(1, dtype=np.int64)
        for _ in range(8):
            arithmetic, (jet,) = self.slices.jets(line, point[None], np.zeros((1, 2)))
            value = arithmetic.value(jet).mid[0, rows]
            slope = np.stack([s.mid[0, rows] for s in arithmetic.slopes(jet)], axis=-1)
            try:
                step = np.linalg.solve(slope, value)
            except np.linalg.LinAlgError:
                return centre
            if not np.isfinite(step).all():
                return centre
            point = np.clip(point - step, centre - wide, centre + wide)
        return point

    def _step(
        self,
        start: Array,
        centre: Array,
        wide: Array,
        inverse: Array,
        mid: Array,
        rad: Array,
        rows: list[int],
    ) -> tuple[Array, Array] | None:
        """Return the Krawczyk image ``s - Y F(s) + (I - Y J)(X - s)`` of the enlarged cell."""
        ball = self.slices.balls(np.zeros(1, dtype=np.int64), start[None])[0]
        value, error = ball.mid[0, rows], ball.rad[0, rows]
        size = np.abs(inverse)
        shift = inverse @ value
        reach = (wide + np.abs(centre - start)) * (1 + 8 * UNIT)
        rest = np.abs(np.eye(2) - inverse @ mid) + size @ rad
        rest = rest + 16 * UNIT * (size @ np.abs(mid) + 1)
        spread = size @ error + rest @ reach + 32 * UNIT * (size @ np.abs(value) + np.abs(start))
        if not np.isfinite(spread).all():
            return None
        spread = spread * (1 + 16 * UNIT)
        return start - shift - spread, start - shift + spread

    def _accept(
        self, start: Array, low: Array, high: Array, three: Array, unique: tuple[Array, Array]
    ) -> bool:
        """Keep a proven zero if all other outputs are proven smaller at it."""
        low, high = self._tight(start, low, high, three)
        centre, half = 0.5 * (low + high), 0.5 * (high - low) * (1 + 4 * UNIT) + 1e-300
        forms = self.bounds(Domain.box((centre - half)[None], (centre + half)[None]))
        alive = np.flatnonzero(self._alive(forms.low, forms.high)[0])
        if set(three) - set(alive.tolist()):
            return True  # another output is proven larger: no junction
        if len(alive) != 3:
            return False
        outputs = (int(three[0]), int(three[1]), int(three[2]))
        outside = np.any(high < self.low) or np.any(low > self.high)
        if outside:
            return True
        if np.any(low < self.low) or np.any(high > self.high):
            return False  # on the rim of the box: not decided
        for old in self.junctions:
            if old.outputs == outputs and np.all(np.abs(old.point - start) <= high - low + 1e-12):
                held = np.all(np.array(old.box.low) <= low) and np.all(
                    high <= np.array(old.box.high)
                )
                if held:
                    return True
        proof = Enclosed("Krawczyk test: exactly one point of the box ties all three")
        box = Box(tuple(unique[0]), tuple(unique[1]))
        self.junctions.append(Junction(start, box, outputs, proof))
        return True

    def _tight(self, start: Array, low: Array, high: Array, three: Array) -> tuple[Array, Array]:
        """Return the zero's enclosure after Krawczyk steps on shrinking boxes."""
        i, j, k = (int(c) for c in three)
        rows = [self.pairs.index((i, j)), self.pairs.index((i, k))]
        for _ in range(4):
            centre, half = 0.5 * (low + high), 0.5 * (high - low) * (1 + 4 * UNIT)
            _, _, mid, rad, _ = self._taylor(centre[None], half[None])
            mid, rad = mid[0, rows], rad[0, rows]
            if not (np.isfinite(mid).all() and np.isfinite(rad).all()):
                break
            try:
                inverse = np.linalg.inv(mid)
            except np.linalg.LinAlgError:
                break
            found = self._step(start, centre, half, inverse, mid, rad, rows)
            if found is None:
                break
            low, high = np.maximum(low, found[0]), np.minimum(high, found[1])
        return low, np.maximum(low, high)

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
        # a curve's own undecided cells around its proven ends at junctions are no loss
        open_ = [
            box
            for curve in curves.values()
            for box in curve.undecided
            if not any(_holds(box, j.point) for j in self.junctions)
        ]
        undecided += tuple(open_)
        shown = {pair: curve for pair, curve in curves.items() if curve.components}
        total = float(np.prod(self.high - self.low))
        regions = []
        for c in range(self.count):
            upper = min(total, self.lower[c] + self.shared[c]) * (1 + 1e-9)
            lower = max(0.0, self.lower[c] * (1 - 1e-9))
            area = min(max(self.lower[c] + self.guess[c], lower), upper)
            if area > 0:
                regions.append(DecisionRegion(c, float(area), float(lower), float(upper)))
        if status is Status.COMPLETE and undecided:
            status = Status.BUDGET if self.stopped or self.clock.over else Status.UNDECIDED
        complete = status is Status.COMPLETE
        junctions = tuple(sorted(self.junctions, key=lambda j: (j.outputs, tuple(j.point))))
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


def _holds(box: Box, point: Array) -> bool:
    wide = np.array(box.high) - np.array(box.low)
    return bool(
        np.all(np.array(box.low) - 1e-9 - wide <= point)
        and np.all(point <= np.array(box.high) + wide + 1e-9)
    )
