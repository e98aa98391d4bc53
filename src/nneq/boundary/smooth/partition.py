"""The cells that a subdivision ended with, as the start of another: a warm start.

A trace proves every cell that it ends with: empty, or a graph, or given up.  Which cells it starts
from is its own choice, as long as they tile the rectangle.  So the trace of a network that has
hardly changed may start from the leaves of the last one instead of the whole rectangle: the
statements are proven afresh on every leaf, and only the inner cells are never looked at.

Leaves whose verdict would stand with twice the uncertainty are merged, four siblings into one, so
that a partition can become coarser again; in every fourth trace only, because most of the merged
cells turn out to need their quarters.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from nneq.boundary.smooth.cells import Cells, Frame, joined

__all__ = ["START_LEVEL", "Memory", "tiles"]

Array = np.ndarray[Any, Any]

START_LEVEL = 3
_FINEST = 30  # places of two axes in one integer
_MOST = 1 << 16  # cells kept
_MERGE = 4


class Memory:
    """Holds the leaves of the last trace.

    It speeds up traces of one rectangle after another network change; any other rectangle, and
    cells that do not tile it, make the next trace start cold.
    """

    def __init__(self) -> None:
        """Begin with nothing."""
        self._frame: Frame | None = None
        self._cells = joined([])
        self._kept = 0

    def start(self, frame: Frame) -> Cells | None:
        """Return cells that tile the rectangle, or None where there is nothing to start from."""
        warm = self._frame == frame and tiles(self._cells)
        return self._cells if warm else None

    def keep(self, frame: Frame, cells: Cells, loose: Array) -> None:
        """Keep the leaves of a trace.

        Args:
            frame: the rectangle.
            cells: all leaves, empty ones too.
            loose: which of them may be merged.
        """
        self._frame, self._cells = None, joined([])
        if len(cells) <= _MOST:
            self._kept += 1
            again = self._kept % _MERGE == 0
            self._frame, self._cells = frame, merged(cells, loose) if again else cells


def merged(cells: Cells, loose: Array) -> Cells:
    """Return the cells with four loose siblings made one, where they are all there."""
    able = loose & (cells.level > START_LEVEL)
    rows = np.flatnonzero(able)
    level, i, j = cells.level[rows], cells.i[rows] >> 1, cells.j[rows] >> 1
    order = np.lexsort((j, i, level))
    rows, level, i, j = rows[order], level[order], i[order], j[order]
    if len(rows) < 4:
        return cells
    same = (level[3:] == level[:-3]) & (i[3:] == i[:-3]) & (j[3:] == j[:-3])
    first = np.flatnonzero(same)
    gone = np.zeros(len(cells), dtype=bool)
    gone[rows[first[:, None] + np.arange(4)].reshape(-1)] = True
    parents = Cells(level[first] - 1, i[first], j[first])
    return joined([cells.take(~gone), parents])


def tiles(cells: Cells) -> bool:
    """Return whether the cells cover the rectangle without overlap.

    Along the curve that visits the quarters of every cell one after the other, each cell is one
    run of places; the runs must follow one another from the first place to the last.
    """
    if not len(cells):
        return False
    finest = int(cells.level.max())
    low = int(cells.level.min())
    if finest > _FINEST or low < 0:
        return False
    side = np.int64(1) << cells.level
    if ((cells.i < 0) | (cells.j < 0) | (cells.i >= side) | (cells.j >= side)).any():
        return False
    shift = finest - cells.level
    start = _interleaved(cells.i << shift, cells.j << shift, finest)
    order = np.argsort(start)
    start, length = start[order], (np.int64(1) << (2 * shift))[order]
    ends = start + length
    return bool(start[0] == 0 and (start[1:] == ends[:-1]).all() and ends[-1] == 1 << (2 * finest))


def _interleaved(i: Array, j: Array, bits: int) -> Array:
    found = np.zeros(len(i), dtype=np.int64)
    for k in range(bits):
        found |= ((i >> k) & 1) << (2 * k + 1)
        found |= ((j >> k) & 1) << (2 * k)
    return found
