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
from nneq.boundary.smooth.isolate import isolate, merge
from nneq.semantics.ball import UNIT
from nneq.semantics.jets import Jet, Jets
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

    def joined(self, other: Cells) -> Cells:
        """Return the cells of both."""
        return _joined([self, other])

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
        along: shape ``(C, 2)``: the curve is a graph over this direction in the cell.
        undecided: cells given up.
        examined: how many cells were evaluated.
        stopped: ``""``, ``"budget"`` or ``"interrupted"``.
    """

    cells: Cells
    along: Array
    undecided: Cells
    examined: int = 0
    stopped: str = ""


@dataclass(slots=True)
class _Verdicts:
    """What one evaluation says about every cell."""

    empty: Array
    ready: Array
    hopeless: Array
    along: Array


@dataclass(slots=True)
class _Work:
    done: list[Cells] = field(default_factory=list)
    along: list[Array] = field(default_factory=list)
    lost: list[Cells] = field(default_factory=list)


Extra = Callable[[Array, Array], tuple[Array, Array]]
Exactly = Callable[[Array], tuple[Array, Array]]


class Subdivision:
    """Branch and prune on one plane.

    Args:
        slices: the network on its plane (one slice, ``d = 2``).
        frame: the rectangle.
        clock: the budget.
        screen: ``screen(centre, half)``: where a cheaper bound proves that ``g`` has a sign; or
        None. extra: ``extra(centre, half)``: where a cell is not wanted, and where that is still
        open; or
            None (the filter of decision boundaries).
        exact: ``exact(points)``: values of ``g`` as midpoints and radii, from Arb; or None.
    """

    def __init__(
        self,
        slices: Slices,
        frame: Frame,
        clock: Clock,
        *,
        screen: Callable[[Array, Array], Array] | None = None,
        extra: Extra | None = None,
        exact: Exactly | None = None,
    ) -> None:
        """Fix the question."""
        self.exact, self.patience = exact, _PATIENCE
        self.slices, self.frame, self.clock = slices, frame, clock
        self.screen, self.wanted = screen, extra
        widths = [int(np.prod(node.shape, dtype=int)) for node in slices.network.nodes]
        self.batch = max(64, (1 << 19) // max(64, 6 * max(widths)))
        self.examined = 0
        self.turned = Turned(slices, frame, clock) if slices.rough else None

    def verdicts(self, cells: Cells) -> _Verdicts:
        """Evaluate cells."""
        count = len(cells)
        self.examined += count
        self.clock.spend(count)
        empty, ready, hopeless = (np.zeros(count, dtype=bool) for _ in range(3))
        result = _Verdicts(empty, ready, hopeless, np.zeros((count, 2)))
        centre, half = cells.boxes(self.frame)
        live = np.arange(count)
        if self.screen is not None and count:
            result.empty[:] = self.screen(centre, half)
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
                cells = self._refine(cells, work, progress)
                if len(cells):
                    stopped = "budget"
                    break
                cells = self._unbalanced(work)
        except KeyboardInterrupt:
            stopped = "interrupted"
        work.lost.append(cells)
        along = np.concatenate(work.along) if work.along else np.zeros((0, 2))
        return Leaves(_joined(work.done), along, _joined(work.lost), self.examined, stopped)

    def _refine(self, cells: Cells, work: _Work, progress: Progress | None) -> Cells:
        """Split cells until they are settled; return what a budget leaves."""
        while len(cells) and not self.clock.over:
            found = self.verdicts(cells)
            keep = found.ready & ~found.empty
            work.done.append(cells.take(keep))
            work.along.append(found.along[keep])
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
        cells, along = _joined(work.done), np.concatenate(work.along)
        while True:
            coarse = _too_coarse(cells)
            children = cells.take(coarse).children()
            kept, kept_along = cells.take(~coarse), along[~coarse]
            if self.turned is not None or not len(children):
                work.done, work.along = [kept], [kept_along]
                return children
            stay = ~self.verdicts(children).empty
            cells = _joined([kept, children.take(stay)])
            along = np.concatenate([kept_along, np.repeat(along[coarse], 4, axis=0)[stay]])


class Turned:
    """Accepts cells in which ``g`` is monotone along a slanted direction.

    Where the curve crosses a kink the gradients of both sides may only agree along a slanted
    direction.  If ``g`` is strictly monotone along ``w`` on the cell, the curve is a graph over the
    direction across ``w``; if every edge holds at most one root, proven, the crossings sorted
    across ``w`` and joined in pairs are the curve.
    """

    def __init__(self, slices: Slices, frame: Frame, clock: Clock) -> None:
        """Restrict the network to the slanted bases (exact: small integer combinations)."""
        self.slices, self.frame, self.clock = slices, frame, clock
        self.bases: list[tuple[Array, Slices]] = []
        for w in _SLANTS:
            basis = np.array([[w[0], -w[1]], [w[1], w[0]]], dtype=np.float64)
            turned = slices.turned(basis)
            if turned is not None:
                self.bases.append((basis, turned))

    def accept(self, cells: Cells, centre: Array, half: Array, rows: Array, out: _Verdicts) -> None:
        """Mark cells as ready."""
        live = np.arange(len(rows))
        for basis, turned in self.bases:
            if not len(live):
                return
            size = float(basis[0, 0] ** 2 + basis[1, 0] ** 2)
            inverse = basis.T / size
            places = centre[live] @ inverse.T
            width = half[live] @ np.abs(inverse).T
            reach = np.abs(centre[live]).sum(axis=1, keepdims=True) + width
            width = width * (1 + 64 * UNIT) + 64 * UNIT * reach
            arithmetic, (jet,) = turned.jets(np.zeros(len(live), dtype=np.int64), places, width)
            with np.errstate(all="ignore"):
                steep = arithmetic.slopes(jet)[0]
                sure = (steep.lower.reshape(-1) > 0) | (steep.upper.reshape(-1) < 0)
            found = live[sure]
            if len(found):
                fine = found[self._edges(cells.take(found))]
                out.ready[rows[fine]] = True
                out.along[rows[fine]] = basis[:, 1]
                live = np.setdiff1d(live, fine)

    def _edges(self, cells: Cells) -> Array:
        """Return which cells have at most one root on every edge, proven."""
        x, y, size = cells.grid()
        starts, ends, axes = [], [], []
        for way, a, b in (
            (0, (x, y), (x + size, y)),
            (0, (x, y + size), (x + size, y + size)),
            (1, (x, y), (x, y + size)),
            (1, (x + size, y), (x + size, y + size)),
        ):
            starts.append(np.stack([self.frame.place(k, a[k]) for k in range(2)], axis=1))
            ends.append(np.stack([self.frame.place(k, b[k]) for k in range(2)], axis=1))
            axes.append(np.full(len(x), way))
        start, end, axis = np.concatenate(starts), np.concatenate(ends), np.concatenate(axes)
        count = len(start)
        good = np.zeros(count, dtype=bool)
        for side in (0, 1):
            part = np.flatnonzero(axis == side)
            lines = self.slices.along_axis(start[part], side)
            places = np.arange(len(part))
            pieces = isolate(
                lines, places, start[part, side], end[part, side], clock=self.clock, levels=8
            )
            runs = merge(lines, pieces)
            up, down = runs.kind == 2, runs.kind == -2
            root = (up & (runs.left < 0) & (runs.right > 0)) | (
                down & (runs.left > 0) & (runs.right < 0)
            )
            none = (up & ((runs.left > 0) | (runs.right < 0))) | (
                down & ((runs.left < 0) | (runs.right > 0))
            )
            signed = np.abs(runs.kind) == 1
            open_ = np.bincount(runs.line[~(root | none | signed)], minlength=len(part))
            roots = np.bincount(runs.line[root], minlength=len(part))
            good[part] = (open_ == 0) & (roots <= 1)
        return np.asarray(good.reshape(4, -1).all(axis=0))


_TURN = 6
_SLANTS = ((1, 1), (1, -1), (2, 1), (1, 2), (2, -1), (1, -2), (3, 1), (1, 3), (3, -1), (1, -3))
_JUNCTION = 24
_PATIENCE = 4000  # values in Arb


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
    exact: Exactly | None = None,
    progress: Progress | None = None,
) -> Leaves:
    """Return the balanced cells that carry the curve, and the undecided ones."""
    return Subdivision(slices, frame, clock, screen=screen, extra=extra, exact=exact).run(progress)
