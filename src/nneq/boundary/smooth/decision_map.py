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
        self.enclosures: list[tuple[Array, Array]] = []
        self.screen = True
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
            self._estimate(centre[ending], half[ending], alive[ending], area[ending])
        many = np.flatnonzero(size >= 3)
        settled = self._settled(centre[many], half[many], alive[many])
        widest = np.maximum(np.abs(low[many]), np.abs(high[many])).max(axis=1)
        for k, known, drowned in zip(many, settled, widest <= 16 * noise[many], strict=True):
            if known or drowned:
                one = slice(k, k + 1)
                if not known:
                    self._give_up(level, index[one])
                self._estimate(centre[one], half[one], alive[one], area[one])
                self.met.update(itertools.combinations(np.flatnonzero(alive[k]).tolist(), 2))
            else:
                split[k] = True
        return index[split]

    def _ends(self, centre: Array, half: Array) -> tuple[Array, Array, Array]:
        """Return ends of the differences ``(B, P)`` and the rounding error ``(B,)``.

        Taylor bounds are the cheaper and, in small cells, the sharper ones; linear bounds are
        asked about what they leave until they no longer decide anything more.
        """
        low, high, _, _, noise = self._taylor(centre, half)
        several = np.flatnonzero(self._alive(low, high).sum(axis=1) > 1)
        if several.size and self.screen:
            centre, half = centre[several], half[several]
            forms = self.bounds(Domain.box(centre - half, centre + half))
            low[several] = np.fmax(low[several], forms.low)
            high[several] = np.fmin(high[several], forms.high)
            left = self._alive(low[several], high[several]).sum(axis=1) > 1
            self.screen = left.mean() < _GAIN
        return low, high, noise

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
    def _settled(self, centre: Array, half: Array, alive: Array) -> Array:
        """Return which cells with three outputs left hold one proven junction, or none."""
        settled = np.zeros(len(centre), dtype=bool)
        wide = 2.0 * half
        for three in np.unique(alive[alive.sum(axis=1) == 3], axis=0):
            outputs = np.flatnonzero(three)
            places = np.flatnonzero((alive == three).all(axis=1))
            rows = self._rows(outputs)
            line = np.zeros(len(places), dtype=np.int64)
            arithmetic, (jet,) = self.slices.jets(line, centre[places], wide[places])
            value = arithmetic.value(jet)
            slopes = arithmetic.slopes(jet)
            mid = np.stack([s.mid[:, rows] for s in slopes], axis=-1)
            rad = np.stack([s.rad[:, rows] for s in slopes], axis=-1)
            for spot, k in enumerate(places):
                ball = value.mid[spot, rows], value.rad[spot, rows]
                settled[k] = self._krawczyk(
                    centre[k], half[k], outputs, ball, (mid[spot], rad[spot])
                )
        return settled

    def _rows(self, three: Array) -> list[int]:
        """Return the places of the two differences that vanish at a junction."""
        i, j, k = (int(c) for c in three)
        return [self.pairs.index((i, j)), self.pairs.index((i, k))]

    def _krawczyk(
        self,
        centre: Array,
        half: Array,
        three: Array,
        value: tuple[Array, Array],
        jacobian: tuple[Array, Array],
    ) -> bool:
        """Return whether the cell is settled: one junction is proven near it, or none is in it."""
        outputs = tuple(int(c) for c in three)
        for old in self.junctions:
            if outputs == old.outputs and self._inside(centre, half, old.box):
                return True
        wide = 2.0 * half
        inverse = _inverse(jacobian[0])
        if inverse is None or not np.isfinite(jacobian[1]).all():
            return False
        found = _image(centre, centre, wide, inverse, value, jacobian)
        if found is None:
            return False
        low, high = found
        if np.any(low > centre + half) or np.any(high < centre - half):
            return True  # the zeros in the enlarged cell are all in the image: none is in the cell
        if not (np.all(low > centre - wide) and np.all(high < centre + wide)):
            return False
        start = self._newton(centre, wide, self._rows(three))
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
            before, point = point, np.clip(point - step, centre - wide, centre + wide)
            if np.all(np.abs(point - before) <= 4 * UNIT * np.abs(point)):
                break
        return point

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
        for old, (bottom, top) in zip(self.junctions, self.enclosures, strict=True):
            if old.outputs == outputs and np.all(low <= top) and np.all(high >= bottom):
                # the same one if it lies where the old one is the only one, else not decided
                return bool(
                    np.all(np.array(old.box.low) <= low) and np.all(high <= np.array(old.box.high))
                )
        proof = Enclosed("Krawczyk test: exactly one point of the box ties all three")
        box = Box(tuple(unique[0]), tuple(unique[1]))
        self.junctions.append(Junction(start, box, outputs, proof))
        self.enclosures.append((low, high))
        return True

    def _tight(self, start: Array, low: Array, high: Array, three: Array) -> tuple[Array, Array]:
        """Return the zero's enclosure after Krawczyk steps on shrinking boxes."""
        rows = self._rows(three)
        ball = self.slices.balls(np.zeros(1, dtype=np.int64), start[None])[0]
        value = ball.mid[0, rows], ball.rad[0, rows]
        for _ in range(4):
            centre, half = 0.5 * (low + high), 0.5 * (high - low) * (1 + 4 * UNIT)
            _, _, mid, rad, _ = self._taylor(centre[None], half[None])
            inverse = _inverse(mid[0, rows])
            if inverse is None or not np.isfinite(rad[0, rows]).all():
                break
            found = _image(start, centre, half, inverse, value, (mid[0, rows], rad[0, rows]))
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


def _inverse(matrix: Array) -> Array | None:
    """Return the numerical inverse of a 2 x 2 matrix, or None."""
    with np.errstate(all="ignore"):
        determinant = matrix[0, 0] * matrix[1, 1] - matrix[0, 1] * matrix[1, 0]
        adjugate = np.array([[matrix[1, 1], -matrix[0, 1]], [-matrix[1, 0], matrix[0, 0]]])
        found = adjugate / determinant
    return found if np.isfinite(found).all() else None


def _image(
    start: Array,
    centre: Array,
    wide: Array,
    inverse: Array,
    value: tuple[Array, Array],
    jacobian: tuple[Array, Array],
) -> tuple[Array, Array] | None:
    """Return the Krawczyk image ``s - Y F(s) + (I - Y J)(X - s)`` of ``X = centre +- wide``.

    Args:
        start: the point ``s`` in ``X``.
        centre: of the box.
        wide: its half-widths.
        inverse: any matrix ``Y``.
        value: middles and radii of ``F(s)``.
        jacobian: middles and radii of ``J`` over ``X``.
    """
    mid, rad = jacobian
    size = np.abs(inverse)
    with np.errstate(all="ignore"):
        shift = inverse @ value[0]
        reach = (wide + np.abs(centre - start)) * (1 + 8 * UNIT)
        rest = np.abs(np.eye(2) - inverse @ mid) + size @ rad
        rest = rest + 16 * UNIT * (size @ np.abs(mid) + 1)
        spread = size @ value[1] + rest @ reach
        spread = spread + 32 * UNIT * (size @ np.abs(value[0]) + np.abs(start))
        spread = spread * (1 + 16 * UNIT)
    if not np.isfinite(shift).all() or not np.isfinite(spread).all():
        return None
    return start - shift - spread, start - shift + spread


def _holds(box: Box, point: Array) -> bool:
    wide = np.array(box.high) - np.array(box.low)
    return bool(
        np.all(np.array(box.low) - 1e-9 - wide <= point)
        and np.all(point <= np.array(box.high) + wide + 1e-9)
    )
