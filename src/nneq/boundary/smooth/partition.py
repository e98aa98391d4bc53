"""The cells that a subdivision ended with, as the start of another: a warm start.

A trace proves every cell that it ends with: empty, or a graph, or given up.  Which cells it starts
from is its own choice, as long as they tile the rectangle.  So the trace of a network that has
hardly changed may start from the leaves of the last one instead of the whole rectangle: the
statements are proven afresh on every leaf, and only the inner cells are never looked at.

Cells only become finer on the way, so every eighth trace starts from the whole rectangle again, and
so does the one after a trace that had to look at more cells than such a one.  (Merging four leaves
where their verdicts have room to spare was tried instead: most merged cells need their quarters.)
"""

from __future__ import annotations

from typing import Any

import numpy as np

from nneq.boundary.smooth.cells import Cells, Frame, joined

__all__ = ["Memory", "tiles"]

Array = np.ndarray[Any, Any]

_FINEST = 30  # places of two axes in one integer
_MOST = 1 << 16  # cells kept
_WARM = 7  # traces in a row that start warm


class Memory:
    """Holds the leaves of the last trace.

    It is for traces of one rectangle while a network changes; any other rectangle, and cells that
    do not tile it, make the next trace start cold.
    """

    def __init__(self) -> None:
        """Begin with nothing."""
        self._frame: Frame | None = None
        self._cells = joined([])
        self._warm = self._examined = 0

    def start(self, frame: Frame) -> Cells | None:
        """Return cells that tile the rectangle, or None where a trace has to start cold."""
        if self._frame == frame and self._warm < _WARM and tiles(self._cells):
            self._warm += 1
            return self._cells
        self._warm = self._examined = 0
        return None

    def keep(self, frame: Frame, cells: Cells, examined: int) -> None:
        """Keep the leaves of a trace.

        Args:
            frame: the rectangle.
            cells: all leaves, empty ones too.
            examined: how many cells were looked at.
        """
        if not self._warm:
            self._examined = examined
        saved = not self._warm or examined < self._examined
        self._frame = frame if saved and len(cells) <= _MOST else None
        self._cells = cells if self._frame is not None else joined([])


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
