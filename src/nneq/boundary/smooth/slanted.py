"""Cells in which the curve is a graph over a slanted direction: where it crosses a kink."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from nneq.boundary.results import Clock
from nneq.boundary.smooth.cells import Cells, Frame
from nneq.boundary.smooth.isolate import isolate, merge
from nneq.semantics.ball import UNIT
from nneq.semantics.slices import Slices

__all__ = ["Turned", "Verdicts"]

Array = np.ndarray[Any, Any]

_SLANTS = ((1, 1), (1, -1), (2, 1), (1, 2), (2, -1), (1, -2), (3, 1), (1, 3), (3, -1), (1, -3))


@dataclass(slots=True)
class Verdicts:
    """What one evaluation says about every cell."""

    empty: Array
    ready: Array
    hopeless: Array
    along: Array


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

    def accept(self, cells: Cells, centre: Array, half: Array, rows: Array, out: Verdicts) -> None:
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
