"""Cells of a quadtree over a rectangle: levels and places, as integers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from nneq.semantics.ball import UNIT

__all__ = ["DEEPEST", "Cells", "Frame", "joined"]

Array = np.ndarray[Any, Any]

DEEPEST = 40


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
        return joined([self, other])

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


def joined(parts: list[Cells]) -> Cells:
    """Return all the cells."""
    if not parts:
        empty = np.zeros(0, dtype=np.int64)
        return Cells(empty, empty.copy(), empty.copy())
    return Cells(
        np.concatenate([p.level for p in parts]).astype(np.int64),
        np.concatenate([p.i for p in parts]).astype(np.int64),
        np.concatenate([p.j for p in parts]).astype(np.int64),
    )
