"""The part of ``z_i = z_j`` where no third output is larger, filtered with proof."""

from __future__ import annotations

from typing import Any

import numpy as np

from nneq.boundary.problem import Problem
from nneq.semantics.slices import Slices

__all__ = ["Filter"]

Array = np.ndarray[Any, Any]

_BATCH = 512


class Filter:
    """Proven signs of ``z_i - z_k`` on a slice.

    Args:
        problem: with ``rivals``.
        origin: shape ``(n,)``, or ``(L, n)`` for many lines.
        directions: shape ``(n, d)`` or ``(L, n, d)``.
        precision: ``"real"`` or ``"float32"``.
    """

    def __init__(self, problem: Problem, origin: Array, directions: Array, precision: str) -> None:
        """Restrict the rivals to the slice."""
        posed = problem.rivals_posed(precision)
        if posed is None:
            msg = "the problem has no third output to filter with"
            raise TypeError(msg)
        self.slices = Slices(posed, np.atleast_2d(origin), directions, precision=precision)

    def lost(self, centre: Array, half: Array) -> Array:
        """Return where some rival is proven larger, on the first slice."""
        return self.cells(centre, half)[0]

    def cells(self, centre: Array, half: Array, line: Array | None = None) -> tuple[Array, Array]:
        """Return where some rival is proven larger, and where that is not decided.

        Args:
            centre: shape ``(B, d)``.
            half: shape ``(B, d)``.
            line: which slice, shape ``(B,)``; all the first when None.
        """
        count = len(centre)
        lost, open_ = np.zeros(count, dtype=bool), np.zeros(count, dtype=bool)
        if line is None:
            line = np.zeros(count, dtype=np.int64)
        for start in range(0, count, _BATCH):
            part = slice(start, start + _BATCH)
            arithmetic, (jet,) = self.slices.jets(line[part], centre[part], half[part])
            with np.errstate(all="ignore"):
                low, high = arithmetic.range(jet)
                fuzz = arithmetic.fuzz(jet)
                larger = (high < -fuzz).reshape(len(low), -1).any(axis=1)
                won = (low > fuzz).reshape(len(low), -1).all(axis=1)
            lost[part] = larger
            open_[part] = ~larger & ~won
        return lost, open_
