r"""Subdivision of a box in three dimensions until every cell is understood.

A cell is dropped when ``g`` keeps a sign on it, accepted when the derivative along an axis keeps
one, so that the surface is a graph in the cell, and split otherwise.  Cells on the rim of the box
also need a derivative along each face and edge they touch, or ``g`` to keep a sign there.
Where kinks cross a cell, every smooth branch is asked (:mod:`nneq.semantics.branches`), and
derivatives along diagonals count too.

References:
    Plantinga and Vegter 2004, Isotopic approximation of implicit curves and surfaces; Lin and Yap
    2011, Adaptive isotopic approximation of nonsingular curves (the test by one derivative).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from nneq.boundary.results import Clock
from nneq.semantics.ball import UNIT
from nneq.semantics.domain import Domain
from nneq.semantics.linear_bounds import LinearBounds
from nneq.semantics.slices import Slices

__all__ = [
    "DEEPEST",
    "DEEPEST_ROUGH",
    "DIRECTIONS",
    "Accepted",
    "Grid",
    "Tree",
    "derivatives",
    "on_rim",
    "subdivide",
    "taylor",
]

Array = np.ndarray[Any, Any]
Progress = Callable[[float], None] | None
Screen = Callable[[Array, Array], Array] | None

DEEPEST = 18
DEEPEST_ROUGH = 8  # at kinks the gradients do not come nearer to one another
_START = 2
_TURN = 4  # from this level on diagonals count
_BATCH = 1024

# of the lattice: axes, diagonals of cubes, diagonals of faces
DIRECTIONS = np.array(
    [
        *[(1, 0, 0), (0, 1, 0), (0, 0, 1)],
        *[(1, 1, 1), (1, 1, -1), (1, -1, 1), (-1, 1, 1)],
        *[(1, 1, 0), (1, -1, 0), (1, 0, 1), (1, 0, -1), (0, 1, 1), (0, 1, -1)],
    ],
    dtype=np.float64,
)


@dataclass(frozen=True, eq=False)
class Grid:
    """The box and its integer grids of ``2**level`` cells per axis.

    Args:
        low: shape ``(3,)``.
        high: shape ``(3,)``.
    """

    low: Array
    high: Array

    def place(self, level: int | Array, index: Array) -> Array:
        """Return coordinates ``(..., 3)`` of lattice points of a level, equal on all levels."""
        share = index * 2.0**-level
        inner = self.low + (self.high - self.low) * share
        return np.where(
            index == 0, self.low, np.where(index == np.left_shift(1, level), self.high, inner)
        )

    def boxes(self, level: int | Array, index: Array) -> tuple[Array, Array]:
        """Return centres and half-widths (rounded up) of cells."""
        low, high = self.place(level, index), self.place(level, index + 1)
        centre = 0.5 * low + 0.5 * high
        half = np.maximum(high - centre, centre - low) * (1 + 4 * UNIT)
        return centre, half


@dataclass(slots=True, eq=False)
class Accepted:
    """Cells of one level that passed, with what the mesh needs.

    Args:
        index: shape ``(C, 3)``.
        steep: largest ``|dg/dt_m|`` on the cell in scaled coordinates, shape ``(C, 3)``.
        ways: least size of the derivatives along ``DIRECTIONS`` on the cell, scaled, with their
            sign, shape ``(C, 13)``; 0: not known.
    """

    index: Array
    steep: Array
    ways: Array

    def take(self, keep: Array) -> Accepted:
        """Return some of the cells."""
        return Accepted(self.index[keep], self.steep[keep], self.ways[keep])

    def joined(self, other: Accepted) -> Accepted:
        """Return the cells of both."""
        return Accepted(
            np.concatenate([self.index, other.index]),
            np.concatenate([self.steep, other.steep]),
            np.concatenate([self.ways, other.ways]),
        )


@dataclass(slots=True, eq=False)
class Tree:
    """The result of the subdivision.

    Args:
        accepted: by level.
        dropped: by level: cells in which ``g`` may vanish, dropped by the screen.
        undecided: ``(level, index)`` of cells given up.
        examined: number of cells looked at.
        stopped: ``""``, ``"budget"`` or ``"interrupted"``.
    """

    accepted: dict[int, Accepted] = field(default_factory=dict)
    dropped: dict[int, Accepted] = field(default_factory=dict)
    undecided: list[tuple[int, Array]] = field(default_factory=list)
    examined: int = 0
    stopped: str = ""


def subdivide(
    slices: Slices,
    bounds: LinearBounds,
    grid: Grid,
    clock: Clock,
    *,
    screen: Screen = None,
    progress: Progress = None,
) -> Tree:
    """Split the box until every cell is dropped, accepted or given up.

    Args:
        slices: ``g`` on the slice (one line of three variables).
        bounds: linear bounds of the same function of the three variables.
        grid: the box.
        clock: the budget.
        screen: returns cells (centre, half) that may be dropped for another reason.
        progress: called with the share of the volume that is decided.
    """
    tree = Tree()
    level = _START
    deepest = DEEPEST_ROUGH if slices.rough else DEEPEST
    steps = np.arange(1 << level)
    todo = np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), axis=-1).reshape(-1, 3)
    worker = _Level(slices, bounds, grid, screen, tree)
    try:
        while len(todo):
            if level > deepest:
                tree.undecided.append((level, todo))
                break
            following: list[Array] = []
            for start in range(0, len(todo), _BATCH):
                if clock.over:
                    tree.stopped = "budget"
                    tree.undecided.append((level, todo[start:]))
                    for rest in following:
                        tree.undecided.append((level + 1, rest))
                    return tree
                part = todo[start : start + _BATCH]
                clock.spend(len(part))
                tree.examined += len(part)
                following.append(_halves(worker.run(level, part)))
            todo = np.concatenate(following)
            level += 1
            if progress is not None:
                progress(1.0 - len(todo) / 8.0**level)
    except KeyboardInterrupt:
        tree.stopped = "interrupted"
        tree.undecided.append((level, todo))
    return tree


def _halves(index: Array) -> Array:
    steps = np.array(list(itertools.product((0, 1), repeat=3)))
    return np.asarray((2 * index[:, None] + steps).reshape(-1, 3))


class _Level:
    """Examines cells of one level."""

    def __init__(
        self, slices: Slices, bounds: LinearBounds, grid: Grid, screen: Screen, tree: Tree
    ) -> None:
        self.slices, self.bounds, self.grid = slices, bounds, grid
        self.screen, self.tree = screen, tree
        self.size = grid.high - grid.low

    def run(self, level: int, index: Array) -> Array:
        """Return the cells that must be split."""
        centre, half = self.grid.boxes(level, index)
        forms = self.bounds(Domain.box(centre - half, centre + half))
        keep = ~((forms.low[:, 0] > 0) | (forms.high[:, 0] < 0))
        index, centre, half = index[keep], centre[keep], half[keep]
        if not len(index):
            return index
        with np.errstate(all="ignore"):
            low, high, steep, ways, noise = taylor(self.slices, self.size, centre, half)
            open_ = ~((low > 0) | (high < 0))
            if self.screen is not None and open_.any():
                known = np.flatnonzero(open_)
                dropped = known[self.screen(centre[known], half[known])]
                open_[dropped] = False
                self._keep(self.tree.dropped, level, index, steep, ways, dropped)
            known = ways if self.slices.rough and level >= _TURN else ways[:, :3]
            good = open_ & (known != 0).any(axis=1)
            good &= self._rim(level, index, centre, half, known)
            # where the value is smaller than its own error, nothing finer can be known
            lost = open_ & ~good & (np.maximum(high, -low) <= 16 * noise)
        self._keep(self.tree.accepted, level, index, steep, ways, np.flatnonzero(good))
        if lost.any():
            self.tree.undecided.append((level, index[lost]))
        return np.asarray(index[open_ & ~good & ~lost])

    @staticmethod
    def _keep(
        cells: dict[int, Accepted], level: int, index: Array, steep: Array, ways: Array, rows: Array
    ) -> None:
        if len(rows):
            new, old = Accepted(index[rows], steep[rows], ways[rows]), cells.get(level)
            cells[level] = new if old is None else old.joined(new)

    def _rim(self, level: int, index: Array, centre: Array, half: Array, ways: Array) -> Array:
        """Return the cells that pass on every face and edge of the box they touch."""
        good = np.ones(len(index), dtype=bool)
        last = (1 << level) - 1
        sides = [(index[:, m] == 0, index[:, m] == last) for m in range(3)]
        for axes in ((0,), (1,), (2,), (0, 1), (0, 2), (1, 2)):
            for ends in itertools.product((0, 1), repeat=len(axes)):
                on = np.all([sides[m][e] for m, e in zip(axes, ends, strict=True)], axis=0) & good
                free = (DIRECTIONS[: ways.shape[1], list(axes)] == 0).all(axis=1)
                on &= ~(ways[:, free] != 0).any(axis=1)
                if on.any():
                    here = np.flatnonzero(on)
                    at = on_rim(self.grid, centre[here], half[here], axes, ends)
                    forms = self.bounds(Domain.box(at[0] - at[1], at[0] + at[1]))
                    low, high, _, _, _ = taylor(self.slices, self.size, *at)
                    good[here] = (low > 0) | (high < 0) | (forms.low[:, 0] > 0)
                    good[here] |= forms.high[:, 0] < 0
        return np.asarray(good)


def on_rim(
    grid: Grid, centre: Array, half: Array, axes: Sequence[int], ends: Sequence[int]
) -> tuple[Array, Array]:
    """Return the faces or edges in which cells meet sides of the box (``ends``: 0 low, 1 high)."""
    centre, half = centre.copy(), half.copy()
    for m, end in zip(axes, ends, strict=True):
        centre[:, m] = (grid.low, grid.high)[end][m]
        half[:, m] = 0.0
    return centre, half


def taylor(
    slices: Slices, size: Array, centre: Array, half: Array
) -> tuple[Array, Array, Array, Array, Array]:
    """Return what is known of ``g`` on cells.

    Args:
        slices: ``g``.
        size: of the whole box, shape ``(3,)``: derivatives are those by ``t / size``.
        centre: shape ``(C, 3)``.
        half: shape ``(C, 3)``.

    Returns:
        Ends of the range, ``steep`` and ``ways`` as in :class:`Accepted`, and the rounding error.
    """
    low, high, steep, least, most, noise = (
        part[:, 0] for part in derivatives(slices, size, centre, half)
    )
    return low, high, steep, np.where(least > 0, least, np.where(most < 0, most, 0.0)), noise


def derivatives(
    slices: Slices, size: Array, centre: Array, half: Array
) -> tuple[Array, Array, Array, Array, Array, Array]:
    """Return ranges ``(C, K)`` of ``K`` functions on cells, and of their derivatives.

    Returns:
        Ends of the ranges; sizes of the partial derivatives, ``(C, K, 3)``; ends of the
        derivatives along ``DIRECTIONS``, ``(C, K, 13)``; rounding errors ``(C, K)``.
    """
    line = np.zeros(len(centre), dtype=np.int64)
    arithmetic, (jet,), owner = slices.branches(line, centre, half)
    first = np.searchsorted(owner, np.arange(len(centre)))
    low, high = (end.reshape(len(owner), -1) for end in arithmetic.range(jet))
    fuzz = arithmetic.fuzz(jet).reshape(low.shape)
    slopes = arithmetic.slopes(jet)
    mid = np.stack([s.mid.reshape(low.shape) for s in slopes], axis=-1) * size
    rad = np.stack([s.rad.reshape(low.shape) for s in slopes], axis=-1) * size
    rad = (rad + 2 * UNIT * np.abs(mid)) * (1 + 8 * UNIT)
    along = np.zeros((*low.shape, len(DIRECTIONS)))
    spread = along.copy()
    for m in range(3):
        # zeros apart: an infinite radius along another axis must not make NaN
        used = DIRECTIONS[:, m] != 0
        along[..., used] += mid[..., m, None] * DIRECTIONS[used, m]
        spread[..., used] += (rad[..., m] + 8 * UNIT * np.abs(mid[..., m]))[..., None]
    spread *= 1 + 8 * UNIT
    return (
        _over(np.minimum, low - fuzz, first),
        _over(np.maximum, high + fuzz, first),
        _over(np.maximum, np.abs(mid) + rad, first),
        _over(np.minimum, along - spread, first),
        _over(np.maximum, along + spread, first),
        _over(np.maximum, arithmetic.value(jet).rad.reshape(low.shape) + fuzz, first),
    )


def _over(combine: np.ufunc, values: Array, first: Array) -> Array:
    """Return the least or largest value of every cell's branches; NaN if one is."""
    if len(first) == len(values):
        return values
    found: Array = combine.reduceat(values, first, axis=0)
    return found
