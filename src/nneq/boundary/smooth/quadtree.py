r"""Plantinga-Vegter subdivision of a rectangle, all cells of a level at once.

A cell is dropped when ``g`` has a sign on it, accepted when any two gradients of the cell form an
acute angle (:math:`\langle \nabla g(p), \nabla g(q) \rangle > 0`), and split otherwise.  Cells on the
rim of the rectangle also need the derivative along the rim, or ``g`` itself, to keep a sign there.
Accepted neighbours are balanced to differ by at most one level; dropped cells need no balance,
because the curve does not meet their sides.

Cells are integers: level ``k`` and place ``(i, j)`` in a grid of ``2**k`` by ``2**k`` cells.

References:
    Plantinga and Vegter 2004, Isotopic approximation of implicit curves and surfaces.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from nneq.boundary.results import Clock
from nneq.semantics.ball import UNIT
from nneq.semantics.slices import Slices

__all__ = ["DEEPEST", "Cells", "Frame", "Leaves", "subdivide"]

Array = np.ndarray[Any, Any]
Progress = Callable[[float], None]

DEEPEST = 40
START_LEVEL = 3


@dataclass(frozen=True)
class Frame:
    """The rectangle and its integer grid of ``2**DEEPEST`` steps.

    Args:
        low: ``(x, y)``.
        high: ``(x, y)``.
    """

    low: tuple[float, float]
    high: tuple[float, float]

    def place(self, axis: int, k: Array) -> Array:
        """Return the float64 coordinate of grid line ``k`` (the same number for all cells)."""
        share = k.astype(np.float64) * 2.0**-DEEPEST
        inner = self.low[axis] + (self.high[axis] - self.low[axis]) * share
        return np.where(k == 0, self.low[axis], np.where(k == 1 << DEEPEST, self.high[axis], inner))


@dataclass(slots=True, eq=False)
class Cells:
    """Cells of any levels.

    Args:
        level: shape ``(C,)``.
        i: shape ``(C,)``: place along x.
        j: shape ``(C,)``: place along y.
    """

    level: Array
    i: Array
    j: Array

    def __len__(self) -> int:
        return len(self.level)

    def take(self, keep: Array) -> Cells:
        """Return some of the cells."""
        return Cells(self.level[keep], self.i[keep], self.j[keep])

    def children(self) -> Cells:
        """Return the four quarters of every cell."""
        i = (2 * self.i[:, None] + np.array([0, 1, 0, 1])).reshape(-1)
        j = (2 * self.j[:, None] + np.array([0, 0, 1, 1])).reshape(-1)
        return Cells(np.repeat(self.level + 1, 4), i, j)

    def grid(self) -> tuple[Array, Array, Array]:
        """Return lower left corner and size on the finest grid."""
        shift = DEEPEST - self.level
        return self.i << shift, self.j << shift, np.int64(1) << shift

    def boxes(self, frame: Frame) -> tuple[Array, Array]:
        """Return centres and half-widths ``(C, 2)``; the boxes lie inside centre +- half."""
        x, y, size = self.grid()
        low = np.stack((frame.place(0, x), frame.place(1, y)), axis=1)
        high = np.stack((frame.place(0, x + size), frame.place(1, y + size)), axis=1)
        centre = 0.5 * low + 0.5 * high
        return centre, np.maximum(high - centre, centre - low) * (1 + 4 * UNIT)


@dataclass(slots=True, eq=False)
class Leaves:
    """The cells that carry the curve.

    Args:
        cells: accepted cells, balanced.
        over_x: whether the curve is a graph over x in the cell (else over y).
        undecided: cells given up.
        examined: how many cells were evaluated.
        stopped: ``""``, ``"budget"`` or ``"interrupted"``.
    """

    cells: Cells
    over_x: Array
    undecided: Cells
    examined: int = 0
    stopped: str = ""


@dataclass(slots=True)
class _Verdicts:
    """What one evaluation says about every cell."""

    empty: Array
    ready: Array
    over_x: Array
    hopeless: Array


@dataclass(slots=True)
class _Work:
    done: list[Cells] = field(default_factory=list)
    over_x: list[Array] = field(default_factory=list)
    lost: list[Cells] = field(default_factory=list)


Extra = Callable[[Array, Array], tuple[Array, Array]]


class Subdivision:
    """Branch and prune on one plane.

    Args:
        slices: the network on its plane (one slice, ``d = 2``).
        frame: the rectangle.
        clock: the budget.
        screen: ``screen(centre, half)``: where a cheaper bound proves that ``g`` has a sign; or None.
        extra: ``extra(centre, half)``: where a cell is not wanted, and where that is still open; or
            None (the filter of decision boundaries).
    """

    def __init__(
        self,
        slices: Slices,
        frame: Frame,
        clock: Clock,
        *,
        screen: Callable[[Array, Array], Array] | None = None,
        extra: Extra | None = None,
    ) -> None:
        """Fix the question."""
        self.slices, self.frame, self.clock = slices, frame, clock
        self.screen, self.extra = screen, extra
        widths = [int(np.prod(node.shape, dtype=int)) for node in slices.network.nodes]
        self.batch = max(64, (1 << 19) // max(64, 6 * max(widths)))
        self.examined = 0

    def verdicts(self, cells: Cells) -> _Verdicts:
        """Evaluate cells."""
        count = len(cells)
        self.examined += count
        self.clock.spend(count)
        result = _Verdicts(*(np.zeros(count, dtype=bool) for _ in range(4)))
        centre, half = cells.boxes(self.frame)
        live = np.arange(count)
        if self.screen is not None and count:
            result.empty[:] = self.screen(centre, half)
            live = np.flatnonzero(~result.empty)
        for start in range(0, len(live), self.batch):
            part = live[start : start + self.batch]
            self._evaluate(part, centre[part], half[part], result)
        self._rim(cells, centre, half, result)
        if self.extra is not None:
            ready = np.flatnonzero(result.ready)
            unwanted, open_ = self.extra(centre[ready], half[ready])
            result.empty[ready[unwanted]] = True
            split = ready[open_ & (cells.level[ready] < _JUNCTION)]
            result.ready[split] = False
        return result

    def _evaluate(self, part: Array, centre: Array, half: Array, out: _Verdicts) -> None:
        arithmetic, (jet,) = self.slices.jets(np.zeros(len(part), dtype=np.int64), centre, half)
        with np.errstate(all="ignore"):
            low, high = (end.reshape(-1) for end in arithmetic.range(jet))
            fuzz = arithmetic.fuzz(jet).reshape(-1)
            empty = (low > fuzz) | (high < -fuzz)
            products = []
            for ball in arithmetic.slopes(jet):
                a, b = ball.lower.reshape(-1), ball.upper.reshape(-1)
                products.append(np.where(a > 0, a * a, np.where(b < 0, b * b, a * b)))
            size = np.abs(products[0]) + np.abs(products[1])
            ready = products[0] + products[1] > 8 * UNIT * size
            error = jet.rad[0].reshape(-1) + fuzz
            hopeless = (high - low <= 8 * error) & ~ready
            out.empty[part] = empty
            out.ready[part] = ready & ~empty
            out.over_x[part] = products[1] >= products[0]
            out.hopeless[part] = hopeless & ~empty

    def _rim(self, cells: Cells, centre: Array, half: Array, out: _Verdicts) -> None:
        """Hold back accepted cells on the rim whose rim edge is not settled."""
        last = (np.int64(1) << cells.level) - 1
        for axis, place in ((0, cells.i), (1, cells.j)):
            for at_rim, side in ((place == 0, -1.0), (place == last, 1.0)):
                rows = np.flatnonzero(at_rim & out.ready)
                if not len(rows):
                    continue
                mid, wide = centre[rows].copy(), half[rows].copy()
                mid[:, axis] = self.frame.low[axis] if side < 0 else self.frame.high[axis]
                wide[:, axis] = 0.0
                arithmetic, (jet,) = self.slices.jets(
                    np.zeros(len(rows), dtype=np.int64), mid, wide
                )
                with np.errstate(all="ignore"):
                    low, high = (end.reshape(-1) for end in arithmetic.range(jet))
                    along = arithmetic.slopes(jet)[1 - axis]
                    a, b = along.lower.reshape(-1), along.upper.reshape(-1)
                    fine = (low > 0) | (high < 0) | (a > 0) | (b < 0)
                out.ready[rows[~fine]] = False

    def run(self, progress: Progress | None = None) -> Leaves:
        """Return the leaves."""
        side = 1 << START_LEVEL
        i, j = (x.reshape(-1) for x in np.meshgrid(np.arange(side), np.arange(side)))
        cells = Cells(np.full(side * side, START_LEVEL, dtype=np.int64), i, j)
        work = _Work()
        stopped = ""
        try:
            while len(cells):
                if self.clock.over:
                    stopped = "budget"
                    break
                found = self.verdicts(cells)
                keep = found.ready & ~found.empty
                work.done.append(cells.take(keep))
                work.over_x.append(found.over_x[keep])
                rest = ~found.ready & ~found.empty
                give_up = rest & (found.hopeless | (cells.level >= DEEPEST - 4))
                work.lost.append(cells.take(give_up))
                cells = cells.take(rest & ~give_up).children()
                if progress is not None:
                    progress(self.examined / (self.examined + len(cells)))
            if not stopped:
                self._balance(work)
        except KeyboardInterrupt:
            stopped = "interrupted"
        work.lost.append(cells)
        over_x = np.concatenate(work.over_x) if work.over_x else np.zeros(0, dtype=bool)
        return Leaves(_joined(work.done), over_x, _joined(work.lost), self.examined, stopped)

    def _balance(self, work: _Work) -> None:
        """Split accepted cells until accepted neighbours differ by at most one level."""
        cells = _joined(work.done)
        over_x = np.concatenate(work.over_x)
        while True:
            coarse = _too_coarse(cells)
            if not coarse.any():
                break
            children = cells.take(coarse).children()
            inherited = np.repeat(over_x[coarse], 4)
            found = self.verdicts(children)
            stay = ~found.empty
            cells = _joined([cells.take(~coarse), children.take(stay)])
            over_x = np.concatenate([over_x[~coarse], inherited[stay]])
        work.done, work.over_x = [cells], [over_x]


_JUNCTION = 24


def _joined(parts: list[Cells]) -> Cells:
    if not parts:
        empty = np.zeros(0, dtype=np.int64)
        return Cells(empty, empty.copy(), empty.copy())
    return Cells(
        np.concatenate([p.level for p in parts]).astype(np.int64),
        np.concatenate([p.i for p in parts]).astype(np.int64),
        np.concatenate([p.j for p in parts]).astype(np.int64),
    )


def _too_coarse(cells: Cells) -> Array:
    """Return which cells have a neighbour that is two or more levels finer."""
    marked = np.zeros(len(cells), dtype=bool)
    levels = np.unique(cells.level)
    rows = {int(level): np.flatnonzero(cells.level == level) for level in levels}
    for coarse, own in rows.items():
        keys = (cells.i[own] << 32) | cells.j[own] if coarse <= 31 else None
        for fine, others in rows.items():
            if fine < coarse + 2:
                continue
            shift = fine - coarse
            for di, dj in ((1, 0), (-1, 0), (0, 1), (0, -1)):
                i, j = (cells.i[others] + di) >> shift, (cells.j[others] + dj) >> shift
                if keys is not None:
                    marked[own[np.isin(keys, (i << 32) | j)]] = True
                else:
                    pairs = set(zip(i.tolist(), j.tolist(), strict=True))
                    for row in own:
                        if (int(cells.i[row]), int(cells.j[row])) in pairs:
                            marked[row] = True
    return marked


def subdivide(
    slices: Slices,
    frame: Frame,
    clock: Clock,
    *,
    screen: Callable[[Array, Array], Array] | None = None,
    extra: Extra | None = None,
    progress: Progress | None = None,
) -> Leaves:
    """Return the balanced cells that carry the curve, and the undecided ones."""
    return Subdivision(slices, frame, clock, screen=screen, extra=extra).run(progress)
