r"""Plantinga-Vegter subdivision of a rectangle, all cells of a level at once.

A cell is dropped when ``g`` has a sign on it, accepted when any two gradients of the cell form an
acute angle (:math:`\langle \nabla g(p), \nabla g(q) \rangle > 0`), and split otherwise.  Cells on
the rim of the rectangle also need the derivative along the rim, or ``g`` itself, to keep a sign
there. Accepted neighbours are balanced to differ by at most one level; dropped cells need no
balance, because the curve does not meet their sides.

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
from nneq.boundary.smooth.cells import DEEPEST, Cells, Frame, joined
from nneq.boundary.smooth.slanted import Turned, Verdicts
from nneq.semantics.ball import UNIT
from nneq.semantics.jets import Jet, Jets
from nneq.semantics.slices import Slices

__all__ = ["DEEPEST", "Cells", "Frame", "Leaves", "subdivide"]

Array = np.ndarray[Any, Any]
Progress = Callable[[float], None]

START_LEVEL = 3
MOST_CELLS = 1 << 22  # open at once, whatever the budget


@dataclass(slots=True, eq=False)
class Leaves:
    """The cells that carry the curve.

    Args:
        cells: accepted cells, balanced.
        along: shape ``(C, 2)``: the curve is a graph over this direction in the cell.
        undecided: cells given up.
        examined: how many cells were evaluated.
        stopped: ``""``, ``"budget"`` or ``"interrupted"``.
        empty: cells that the curve does not meet; with the others they tile the rectangle.
    """

    cells: Cells
    along: Array
    undecided: Cells
    examined: int = 0
    stopped: str = ""
    empty: Cells = field(default_factory=lambda: joined([]))

    @property
    def all(self) -> Cells:
        """All leaves."""
        return joined([self.cells, self.undecided, self.empty])


@dataclass(slots=True)
class _Work:
    done: list[Cells] = field(default_factory=list)
    along: list[Array] = field(default_factory=list)
    lost: list[Cells] = field(default_factory=list)
    empty: list[Cells] = field(default_factory=list)


Extra = Callable[[Array, Array], tuple[Array, Array]]
Exactly = Callable[[Array], tuple[Array, Array]]


class Subdivision:
    """Branch and prune on one plane.

    Args:
        slices: the network on its plane (one slice, ``d = 2``).
        frame: the rectangle.
        clock: the budget.
        screen: ``screen(cells)``: cells that are known not to be wanted; or None.
        extra: ``extra(centre, half)``: where a cell is not wanted, and where that is still open; or
            None (the filter of decision boundaries).
        near: ``near(centre, half)``: where an open cell need not be split far; or None.
        exact: ``exact(points)``: values of ``g`` as midpoints and radii, from Arb; or None.
    """

    def __init__(
        self,
        slices: Slices,
        frame: Frame,
        clock: Clock,
        *,
        screen: Callable[[Cells], Array] | None = None,
        extra: Extra | None = None,
        near: Callable[[Array, Array], Array] | None = None,
        exact: Exactly | None = None,
    ) -> None:
        """Fix the question."""
        self.exact, self.patience = exact, _PATIENCE
        self.slices, self.frame, self.clock = slices, frame, clock
        self.screen, self.wanted, self.near = screen, extra, near
        widths = [int(np.prod(node.shape, dtype=int)) for node in slices.network.nodes]
        self.batch = max(64, (1 << 19) // max(64, 6 * max(widths)))
        if slices.executor is not None:
            self.batch = max(self.batch, slices.stride)
        self.examined = 0
        self.turned = Turned(slices, frame, clock) if slices.rough else None

    def verdicts(self, cells: Cells) -> Verdicts:
        """Evaluate cells."""
        count = len(cells)
        self.examined += count
        self.clock.spend(count)
        empty, ready, hopeless = (np.zeros(count, dtype=bool) for _ in range(3))
        result = Verdicts(empty, ready, hopeless, np.zeros((count, 2)))
        centre, half = cells.boxes(self.frame)
        live = np.arange(count)
        if self.screen is not None and count:
            result.empty[:] = self.screen(cells)
            live = np.flatnonzero(~result.empty)
        for start in range(0, len(live), self.batch):
            part = live[start : start + self.batch]
            self._evaluate(part, centre[part], half[part], result)
        self._rim(cells, centre, half, result)
        if self.turned is not None:
            rest = np.flatnonzero(~result.ready & ~result.empty & (cells.level >= _TURN))
            self.turned.accept(cells.take(rest), centre[rest], half[rest], rest, result)
        if self.wanted is not None:
            ready = np.flatnonzero(result.ready)
            unwanted, open_ = self.wanted(centre[ready], half[ready])
            result.empty[ready[unwanted]] = True
            deepest = np.full(len(ready), _JUNCTION)
            if self.near is not None:
                deepest[self.near(centre[ready], half[ready])] = _KNOWN_JUNCTION
            split = ready[open_ & (cells.level[ready] < deepest)]
            result.ready[split] = False
        return result

    def _evaluate(self, part: Array, centre: Array, half: Array, out: Verdicts) -> None:
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
            hopeless = (high - low <= 8 * error) & ~ready & ~empty
            if self.exact is not None and hopeless.any():
                self._sharpen(arithmetic, jet, centre, hopeless, empty)
            out.empty[part] = empty
            out.ready[part] = ready & ~empty
            over_x = products[1] >= products[0]
            out.along[part, 0], out.along[part, 1] = over_x, ~over_x
            out.hopeless[part] = hopeless & ~empty

    def _sharpen(
        self, arithmetic: Jets, jet: Jet, centre: Array, hopeless: Array, empty: Array
    ) -> None:
        """Replace float64 values at the centres, where their error decides, by Arb's."""
        rows = np.flatnonzero(hopeless)[: self.patience]
        if self.exact is None or not len(rows):
            return
        self.patience -= len(rows)
        mid, rad = self.exact(centre[rows])
        sharp = Jet(jet.mid[:, rows].copy(), jet.rad[:, rows].copy())
        sharp.mid[0, :, 0], sharp.rad[0, :, 0] = mid, rad
        low, high = (end.reshape(-1) for end in arithmetic.only(rows).range(sharp))
        empty[rows] = (low > 0) | (high < 0)
        hopeless[rows] = (high - low <= 8 * rad) & ~empty[rows]

    def _rim(self, cells: Cells, centre: Array, half: Array, out: Verdicts) -> None:
        """Hold back accepted cells on the rim whose rim edge is not settled."""
        last = (np.int64(1) << cells.level) - 1
        edges = [
            (np.flatnonzero((place == end) & out.ready), axis, rim)
            for axis, place in ((0, cells.i), (1, cells.j))
            for end, rim in ((0, self.frame.low[axis]), (last, self.frame.high[axis]))
        ]
        rows = np.concatenate([found for found, _, _ in edges])
        if not len(rows):
            return
        counts = [len(found) for found, _, _ in edges]
        axes = np.repeat([axis for _, axis, _ in edges], counts)
        each = np.arange(len(rows))
        mid, wide = centre[rows].copy(), half[rows].copy()
        mid[each, axes] = np.repeat([rim for _, _, rim in edges], counts)
        wide[each, axes] = 0.0
        for start in range(0, len(rows), self.batch):
            part = slice(start, start + self.batch)
            zeros = np.zeros(len(rows[part]), dtype=np.int64)
            arithmetic, (jet,) = self.slices.jets(zeros, mid[part], wide[part])
            with np.errstate(all="ignore"):
                low, high = (end.reshape(-1) for end in arithmetic.range(jet))
                fine = (low > 0) | (high < 0)
                for axis, along in enumerate(arithmetic.slopes(jet)):
                    signed = (along.lower.reshape(-1) > 0) | (along.upper.reshape(-1) < 0)
                    fine |= signed & (axes[part] != axis)
            out.ready[rows[part][~fine]] = False

    def run(self, progress: Progress | None = None, start: Cells | None = None) -> Leaves:
        """Return the leaves.

        Args:
            progress: called with the share of cells done.
            start: cells that tile the rectangle; None: a coarse grid.
        """
        cells = _whole() if start is None else start
        work = _Work()
        stopped = ""
        try:
            while len(cells):
                cells = self._refine(cells, work, progress)
                if len(cells):
                    stopped = "budget"
                    break
                cells = self._unbalanced(work)
        except KeyboardInterrupt:
            stopped = "interrupted"
        work.lost.append(cells)
        along = np.concatenate(work.along) if work.along else np.zeros((0, 2))
        lost, empty = joined(work.lost), joined(work.empty)
        return Leaves(joined(work.done), along, lost, self.examined, stopped, empty)

    def _refine(self, cells: Cells, work: _Work, progress: Progress | None) -> Cells:
        """Split cells until they are settled; return what a budget leaves."""
        while len(cells) and not self.clock.over and len(cells) <= MOST_CELLS:
            found = self.verdicts(cells)
            keep = found.ready & ~found.empty
            work.done.append(cells.take(keep))
            work.along.append(found.along[keep])
            work.empty.append(cells.take(found.empty))
            rest = ~found.ready & ~found.empty
            give_up = rest & (found.hopeless | (cells.level >= DEEPEST - 4))
            work.lost.append(cells.take(give_up))
            cells = cells.take(rest & ~give_up).children()
            if progress is not None:
                progress(self.examined / (self.examined + len(cells)))
        return cells

    def _unbalanced(self, work: _Work) -> Cells:
        """Split accepted cells whose accepted neighbours are finer by two levels or more.

        Children inherit the acute angle between gradients; with kinks they are asked again.
        """
        cells, along = joined(work.done), np.concatenate(work.along)
        while True:
            coarse = _too_coarse(cells)
            children = cells.take(coarse).children()
            kept, kept_along = cells.take(~coarse), along[~coarse]
            if self.turned is not None or not len(children):
                work.done, work.along = [kept], [kept_along]
                return children
            stay = ~self.verdicts(children).empty
            work.empty.append(children.take(~stay))
            cells = joined([kept, children.take(stay)])
            along = np.concatenate([kept_along, np.repeat(along[coarse], 4, axis=0)[stay]])


def _whole() -> Cells:
    """Return the cells that a search without an earlier one starts from."""
    side = 1 << START_LEVEL
    i, j = (x.reshape(-1) for x in np.meshgrid(np.arange(side), np.arange(side)))
    return Cells(np.full(side * side, START_LEVEL, dtype=np.int64), i, j)


_TURN = 6
_JUNCTION = 24
_KNOWN_JUNCTION = 12
_PATIENCE = 4000  # values in Arb


def _too_coarse(cells: Cells) -> Array:
    """Return which cells have a neighbour that is two or more levels finer.

    From the finest level upwards, the places next to cells are halved level by level: at level
    ``k`` they are the places that touch a cell of level ``k + 2`` or finer.
    """
    marked = np.zeros(len(cells), dtype=bool)
    if not len(cells):
        return marked
    beside = np.zeros((0, 2), dtype=np.int64)
    for level in range(int(cells.level.max()), int(cells.level.min()) - 1, -1):
        own = np.flatnonzero(cells.level == level)
        place = np.stack((cells.i[own], cells.j[own]), axis=1)
        if len(beside):
            marked[own] = _among(place, beside)
        # the places next to this level's own cells join only after the next halving
        following = beside >> 1
        if level < cells.level.max():
            finer = np.flatnonzero(cells.level == level + 1)
            around = np.stack((cells.i[finer], cells.j[finer]), axis=1)[:, None] + _SIDES
            following = np.concatenate((following, around.reshape(-1, 2) >> 2))
        beside = np.unique(following, axis=0) if level > 31 else _distinct(following)
    return marked


_SIDES = np.array([(1, 0), (-1, 0), (0, 1), (0, -1)])


def _keys(place: Array) -> Array:
    return (place[:, 0] << 32) | (place[:, 1] & 0xFFFFFFFF)


def _distinct(place: Array) -> Array:
    """Return the different rows of places that fit into 32 bits."""
    _, first = np.unique(_keys(place), return_index=True)
    return np.asarray(place[first])


def _among(place: Array, others: Array) -> Array:
    """Return which rows are among the others."""
    if max(place.max(initial=0), others.max(initial=0)) < 1 << 31:
        return np.asarray(np.isin(_keys(place), _keys(others)))
    known = set(map(tuple, others.tolist()))
    return np.array([tuple(row) in known for row in place.tolist()], dtype=bool)


def subdivide(
    slices: Slices,
    frame: Frame,
    clock: Clock,
    *,
    screen: Callable[[Cells], Array] | None = None,
    extra: Extra | None = None,
    near: Callable[[Array, Array], Array] | None = None,
    exact: Exactly | None = None,
    progress: Progress | None = None,
    start: Cells | None = None,
) -> Leaves:
    """Return the balanced cells that carry the curve, and the undecided ones.

    ``start`` are cells that tile the rectangle; None: a coarse grid.
    """
    work = Subdivision(slices, frame, clock, screen=screen, extra=extra, near=near, exact=exact)
    return work.run(progress, start)
