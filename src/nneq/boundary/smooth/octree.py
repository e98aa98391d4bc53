r"""Subdivision of a box in three dimensions until every cell is understood.

A cell is dropped when ``g`` keeps a sign on it, accepted when any two gradients of the cell form an
acute angle (in coordinates where the whole box is a cube), and split otherwise.  Cells on the rim
of the box also need this for the derivatives along each face and edge of the rim they touch, or
``g`` to keep a sign there.

References:
    Plantinga and Vegter 2004, Isotopic approximation of implicit curves and surfaces.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from nneq.boundary.results import Clock
from nneq.semantics.ball import UNIT
from nneq.semantics.domain import Domain
from nneq.semantics.linear_bounds import LinearBounds
from nneq.semantics.slices import Slices

__all__ = ["DEEPEST", "DEEPEST_ROUGH", "Accepted", "Grid", "Tree", "subdivide"]

Array = np.ndarray[Any, Any]
Progress = Callable[[float], None] | None
Screen = Callable[[Array, Array], Array] | None

DEEPEST = 20
DEEPEST_ROUGH = 8  # at kinks the gradients do not come nearer to one another
_START = 2
_BATCH = 1024


@dataclass(frozen=True, eq=False)
class Grid:
    """The box and its integer grids of ``2**level`` cells per axis.

    Args:
        low: shape ``(3,)``.
        high: shape ``(3,)``.
    """

    low: Array
    high: Array

    def place(self, level: int, index: Array) -> Array:
        """Return coordinates ``(..., 3)`` of lattice points of a level, equal on all levels."""
        share = index * 2.0**-level
        inner = self.low + (self.high - self.low) * share
        return np.where(index == 0, self.low, np.where(index == 1 << level, self.high, inner))

    def boxes(self, level: int, index: Array) -> tuple[Array, Array]:
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
        acute: lower bound of the inner product of two gradients, scaled, shape ``(C,)``.
    """

    index: Array
    steep: Array
    acute: Array


@dataclass(slots=True, eq=False)
class Tree:
    """The result of the subdivision.

    Args:
        accepted: by level.
        undecided: ``(level, index)`` of cells given up.
        examined: number of cells looked at.
        stopped: ``""``, ``"budget"`` or ``"interrupted"``.
    """

    accepted: dict[int, Accepted] = field(default_factory=dict)
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
        if self.screen is not None and keep.any():
            lost = np.zeros(len(index), dtype=bool)
            lost[keep] = self.screen(centre[keep], half[keep])
            keep &= ~lost
        index, centre, half = index[keep], centre[keep], half[keep]
        if not len(index):
            return index
        with np.errstate(all="ignore"):
            low, high, mid, rad, noise = self._taylor(centre, half)
            open_ = ~((low > 0) | (high < 0))
            acute = _acute(mid, rad)
            good = open_ & (acute > 0) & self._rim(level, index, centre, half, mid, rad)
            # where the value is smaller than its own error, nothing finer can be known
            lost = open_ & ~good & (np.maximum(high, -low) <= 16 * noise)
        if good.any():
            steep = np.abs(mid[good]) + rad[good]
            self._accept(level, Accepted(index[good], steep, acute[good]))
        if lost.any():
            self.tree.undecided.append((level, index[lost]))
        return index[open_ & ~good & ~lost]

    def _taylor(self, centre: Array, half: Array) -> tuple[Array, Array, Array, Array, Array]:
        """Return ends of the range, scaled gradient balls, and the rounding error."""
        line = np.zeros(len(centre), dtype=np.int64)
        arithmetic, (jet,) = self.slices.jets(line, centre, half)
        low, high = arithmetic.range(jet)
        fuzz = arithmetic.fuzz(jet).reshape(len(centre))
        slopes = arithmetic.slopes(jet)
        mid = np.stack([s.mid.reshape(-1) for s in slopes], axis=1) * self.size
        rad = np.stack([s.rad.reshape(-1) for s in slopes], axis=1) * self.size
        rad = (rad + 2 * UNIT * np.abs(mid)) * (1 + 8 * UNIT)
        noise = arithmetic.value(jet).rad.reshape(-1) + fuzz
        return low.reshape(-1) - fuzz, high.reshape(-1) + fuzz, mid, rad, noise

    def _rim(
        self, level: int, index: Array, centre: Array, half: Array, mid: Array, rad: Array
    ) -> Array:
        """Return the cells that pass on every face and edge of the box they touch."""
        good = np.ones(len(index), dtype=bool)
        last = (1 << level) - 1
        sides = [(index[:, m] == 0, index[:, m] == last) for m in range(3)]
        for axes in ((0,), (1,), (2,), (0, 1), (0, 2), (1, 2)):
            for ends in itertools.product((0, 1), repeat=len(axes)):
                on = np.all([sides[m][e] for m, e in zip(axes, ends, strict=True)], axis=0) & good
                free = [m for m in range(3) if m not in axes]
                on &= ~(_acute(mid[:, free], rad[:, free]) > 0)
                if on.any():
                    here = np.flatnonzero(on)
                    good[here] = self._signed(centre[here], half[here], axes, ends)
        return good

    def _signed(self, centre: Array, half: Array, axes: Any, ends: Any) -> Array:
        """Return where ``g`` keeps a sign on a face or edge of cells."""
        centre, half = centre.copy(), half.copy()
        for m, end in zip(axes, ends, strict=True):
            centre[:, m] = (self.grid.low, self.grid.high)[end][m]
            half[:, m] = 0.0
        forms = self.bounds(Domain.box(centre - half, centre + half))
        low, high, _, _, _ = self._taylor(centre, half)
        return np.asarray((low > 0) | (high < 0) | (forms.low[:, 0] > 0) | (forms.high[:, 0] < 0))

    def _accept(self, level: int, new: Accepted) -> None:
        old = self.tree.accepted.get(level)
        if old is not None:
            new = Accepted(
                np.concatenate([old.index, new.index]),
                np.concatenate([old.steep, new.steep]),
                np.concatenate([old.acute, new.acute]),
            )
        self.tree.accepted[level] = new


def _acute(mid: Array, rad: Array) -> Array:
    """Return a lower bound of the inner product of any two vectors of the boxes ``(B, m)``."""
    size = np.abs(mid)
    least = np.where(size >= rad, (size - rad) ** 2, -(rad - size) * (rad + size))
    total = least.sum(axis=1)
    return np.asarray(total - 32 * UNIT * ((size + rad) ** 2).sum(axis=1))
