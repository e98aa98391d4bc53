r"""Regions of a plane near the boundary only, for any architecture.

A layer is cut a few rows at a time, those first that pass through the middle of a cell, and before
every cut the cells on which ``g`` cannot be 0 are dropped.  The bound of ``g`` on a cell is the
rest of the network in affine arithmetic: every tensor stays an affine form in the two coordinates
with an error; a unit whose range on the cell holds a threshold becomes its chord, with the distance
of the unit from the chord as its error.  Cells become small quickly, and on a small cell few units
change sides, so that the bound is nearly exact.

References:
    Singh, Gehr, Mirman, Puschel, Vechev 2018, "Fast and effective robustness certification"
    (affine arithmetic with the chord of a unit).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from nneq.boundary.pwl.planes import PlaneState, PlaneWalker, Rounds, padded_areas
from nneq.boundary.pwl.walk import UNIT, Live, affine_forms, reached
from nneq.ir import network as ir
from nneq.semantics.pattern import Hinges

__all__ = ["PruningWalker"]

Array = np.ndarray[Any, Any]
# Rows that cut a cell between two looks at the bound: the fewest, and the most, taken where the
# bound drops less than a tenth of the cells.
_FEW, _MANY = 2, 16
_USEFUL = 0.1


class PruningWalker(PlaneWalker):
    """Cuts like :class:`PlaneWalker`, and drops cells on which output 0 is proven not 0."""

    width = _FEW

    def activate(
        self, place: int, node: ir.Elementwise, state: PlaneState
    ) -> tuple[PlaneState, dict[int, Live]]:
        """Cut by a few rows; ``state.cut`` is None when none is left."""
        rows, tolerance = self.rows(place, node, state)
        low, high, near = self.ranges(rows, state.polys, tolerance)
        cut = np.zeros(low.shape, dtype=bool) if state.cut is None else state.cut
        on = cut if state.on is None else state.on
        crossing = (low < -tolerance) & (high > tolerance) & ~cut
        if not crossing.any():
            near &= (tolerance > 1e-250) | (low != 0) | (high != 0)
            self.ambiguous += int((near & ~cut).sum())
            extra = self.doubts(place, node, near | cut, tolerance)
            sides = np.where(cut, on, (low + high) > 0)
            bare = PlaneState(state.polys, state.sizes, state.patterns, state.live)
            return self.passed(place, node, bare, sides, extra)
        state = PlaneState(state.polys, state.sizes, state.patterns, state.live, cut, on)
        keep = self.kept(place, state, np.asarray(crossing.any(axis=1)))
        if not keep.all():
            self.clock.spend(int((~keep).sum()))
            if self.progress is not None:
                self.covered += float(padded_areas(state.take(~keep)).sum())
            state = state.take(keep)
            rows, tolerance, crossing = rows[keep], tolerance[keep], crossing[keep]
            low, high = low[keep], high[keep]
            if not len(state):
                return state, state.live
        chosen = _through_the_middle(crossing, low, high, self.width)
        rounds = Rounds(state, rows, tolerance, chosen)
        rounds.run()
        self.splits += rounds.splits
        parent = rounds.parent
        before = state.take(parent)
        on = self.sides(rounds, np.asarray(state.on), rows)
        done = np.asarray(before.cut) | chosen[parent]
        state = PlaneState(rounds.polys, rounds.sizes, before.patterns, before.live, done, on)
        return state, state.live

    def kept(self, place: int, state: PlaneState, asked: Array) -> Array:
        """Return which cells may hold a zero; cells that are not ``asked`` about are kept."""
        keep = np.ones(len(state), dtype=bool)
        numbers = np.nonzero(asked)[0]
        low, high = self.bounds(place, state.take(numbers))
        keep[numbers] = (low <= 0) & (high >= 0)
        useful = (~keep).sum() >= _USEFUL * len(numbers)
        self.width = _FEW if useful else min(2 * self.width, _MANY)
        return keep

    def bounds(self, place: int, state: PlaneState) -> tuple[Array, Array]:
        """Return proven bounds of output 0 on every cell, from node ``place`` on.

        Guarantee: certified: rounding and the distance from the chords are in the error.
        """
        network = self.program.network
        far = np.broadcast_to(self.far, (len(state), 3))
        live = dict(state.live)
        for number in range(place, len(network.nodes)):
            node = network.nodes[number]
            match node:
                case ir.Affine():
                    live[number] = affine_forms(node, [live[arg] for arg in node.args], far)
                case ir.Constant():
                    forms = np.zeros((len(state), 3, *node.shape))
                    forms[:, 2] = node.value
                    live[number] = Live(forms, np.zeros((len(state), *node.shape)))
                case ir.Elementwise():
                    live[number] = self.chord(number, node, live[node.arg], state.polys, far)
                case _:
                    pass
            for arg in set(node.args):
                if self.program.last[arg] == number:
                    live.pop(arg, None)
        out = live[self.program.outputs[0]]
        forms = out.forms.reshape(len(state), 3, -1)[:, :, :1]
        error = out.error.reshape(len(state), -1)[:, :1] + 8 * UNIT * reached(forms, far)
        low, high, _ = self.ranges(forms, state.polys, error)
        return (low - error)[:, 0], (high + error)[:, 0]

    def chord(self, place: int, node: ir.Elementwise, z: Live, polys: Array, far: Array) -> Live:
        """Return a unit as its chord over its range on each cell, with the distance as error."""
        table = self.program.tables[place]
        count, units = len(polys), int(np.prod(node.shape))
        forms, error = z.forms.reshape(count, 3, units), z.error.reshape(count, units)
        size = reached(forms, far)
        error = error + 8 * UNIT * size + self.drift * (np.abs(forms[:, 0]) + np.abs(forms[:, 1]))
        low, high, _ = self.ranges(forms, polys, error)
        low, high = low - error, high + error
        at_low, at_high = _applied(table, low), _applied(table, high)
        width = high - low
        with np.errstate(divide="ignore", invalid="ignore"):
            slope = np.where(width > 0, (at_high - at_low) / width, 0.0)
        above = below = np.zeros_like(low)
        for threshold in table.thresholds.reshape(table.count, units):
            inside = (threshold > low) & (threshold < high)
            kink = np.where(inside, threshold, low)
            apart = _applied(table, kink) - at_low - slope * (kink - low)
            above, below = np.maximum(above, apart), np.minimum(below, apart)
        # Where no threshold is inside, the chord is the piece itself.
        out = forms * slope[:, None]
        out[:, 2] += at_low - slope * low + (above + below) / 2
        rounding = np.abs(slope) * (size + np.abs(low) + np.abs(high)) + np.abs(at_low)
        rounding += np.abs(at_high) + np.abs(above) + np.abs(below)
        bound = np.abs(slope) * error + (above - below) / 2 + 32 * UNIT * rounding
        return Live(out.reshape(count, 3, *node.shape), bound.reshape(count, *node.shape))


def _applied(table: Hinges, z: Array) -> Array:
    """Return the units' values at ``z`` ``(N, U)``."""
    units = z.shape[1]
    side = np.zeros(z.shape, dtype=np.intp)
    for threshold in table.thresholds.reshape(table.count, units):
        side += z > threshold
    slopes = table.slopes.reshape(table.count + 1, units)
    intercepts = table.intercepts.reshape(table.count + 1, units)
    return np.asarray(
        np.take_along_axis(slopes, side, 0) * z + np.take_along_axis(intercepts, side, 0)
    )


def _through_the_middle(crossing: Array, low: Array, high: Array, few: int) -> Array:
    """Return for each cell the few crossing rows that divide it most evenly."""
    if crossing.shape[1] <= few:
        return crossing
    even = np.where(crossing, np.minimum(-low, high) / (high - low + 1e-300), -1.0)
    best = np.argpartition(-even, few - 1, axis=1)[:, :few]
    chosen = np.zeros_like(crossing)
    chosen[np.arange(len(crossing))[:, None], best] = True
    return chosen & crossing
