r"""A stretch of one segment as values at points, with a proven error in between.

A tensor is known at increasing parameters ``t_0 < ... < t_K`` and means its linear interpolant
``F(t)``.  With each point goes ``e_k``, so that the Euclidean distance of ``F(t)`` from the true
tensor is at most the linear interpolant of the ``e_k``, everywhere and not at the points only:

* an affine node maps values to values and ``e`` to ``norm(L) e`` plus its rounding, which is linear
  interpolation again;
* an elementwise node gets a point wherever a unit crosses a threshold, so that it maps chords to
  chords; it multiplies ``e`` by its steepest slope.  A new value is interpolated, and what rounding
  (or a crossing too near to another point to get its own) leaves of a unit at its threshold is
  added to ``e``.

One column per piece is evaluated (forms need two, and a third one for their rounding), neighbours
share their border, and no sign ever has to be certain.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from nneq.boundary.pwl.spectral import absolute_norm, norm
from nneq.ir import network as ir
from nneq.semantics.pattern import Hinges

__all__ = ["Crossings", "Stretch", "Values", "activated", "affine_values", "crossings", "inserted"]

Array = np.ndarray[Any, Any]
# The bounds themselves are computed in float64: sums of few positive terms.
_UP = 1 + 1e-9
_TINY = 1e-290


def unit_of(dtype: np.dtype[Any]) -> float:
    """Return the unit roundoff of a float type."""
    return float(np.finfo(dtype).eps) / 2


@dataclass(frozen=True, eq=False)
class Values:
    """One tensor at the points of a stretch.

    Args:
        at: the values, shape ``(K + 1, *shape)``.
        error: bounds whose interpolant bounds the error's Euclidean norm, shape ``(K + 1,)``.
        size: bounds of the Euclidean norms of the values, shape ``(K + 1,)``.
    """

    at: Array
    error: Array
    size: Array

    @classmethod
    def measured(cls, at: Array, error: Array) -> Values:
        """Return the values with their norms computed."""
        flat = at.reshape(len(at), -1)
        squares = np.einsum("ki,ki->k", flat, flat).astype(np.float64)
        return cls(at, error * _UP + _TINY, np.sqrt(squares) * _UP + _TINY)

    def part(self, begin: int, end: int) -> Values:
        """Return the points ``begin`` to ``end - 1`` (views)."""
        where = slice(begin, end)
        return Values(self.at[where], self.error[where], self.size[where])

    def rows(self, index: Array) -> Values:
        """Return the points at ``index`` (copies)."""
        return Values(self.at[index], self.error[index], self.size[index])


@dataclass(frozen=True, eq=False)
class Stretch:
    """Consecutive points of a segment with every live tensor.

    Args:
        t: increasing parameters, exact floats, shape ``(K + 1,)``.
        live: ``{node: Values}``.
    """

    t: Array
    live: dict[int, Values]

    def __len__(self) -> int:
        return len(self.t)

    def part(self, begin: int, end: int) -> Stretch:
        """Return the points ``begin`` to ``end - 1`` (views)."""
        live = {place: values.part(begin, end) for place, values in self.live.items()}
        return Stretch(self.t[begin:end], live)

    def rows(self, index: Array) -> Stretch:
        """Return the points at ``index`` (copies)."""
        return Stretch(self.t[index], {k: values.rows(index) for k, values in self.live.items()})


def affine_values(node: ir.Affine, args: Sequence[Values], count: int) -> Values:
    r"""Return an affine node's values at ``count`` points.

    When every product meets ``n`` roundings, a sum of products is off by at most
    :math:`\gamma_n |W| |x|` entry by entry (Higham 2002, section 3.1), hence by
    :math:`\gamma_n \||W|\|_2 \|x\|_2` in the Euclidean norm.
    """
    terms = len(node.terms)
    error, carried = np.zeros(count), np.zeros(count)
    total: Array | None = None
    unit = 0.0
    for term, value in zip(node.terms, args, strict=True):
        at, bound, size = value.at, value.error, value.size
        unit = max(unit, unit_of(at.dtype))
        for stage in term.map.stages():
            bound = bound * norm(stage)
            if stage.fan_in:
                n = stage.depth + terms + 2
                size = size * absolute_norm(stage)
                bound = bound + (n * unit * 1.01) * size
            else:
                size = size * norm(stage)
            at = stage.apply(at)
            unit = max(unit, unit_of(at.dtype))
        total = at if total is None else total + at
        error += bound
        carried += size
    if total is None:
        total, unit = np.zeros((count, *node.shape)), unit_of(np.dtype(np.float64))
    if node.bias is not None:
        bias = node.bias.astype(total.dtype, copy=False)
        moved = terms == 1 and np.may_share_memory(total, args[0].at)
        if moved or not total.flags.writeable:
            total = total + bias
        else:
            total += bias
        full = np.broadcast_to(node.bias, node.shape).astype(np.float64, copy=False)
        carried += np.linalg.norm(full)
    if terms > 1 or node.bias is not None:
        error += (terms + 2) * unit * 1.01 * carried
    return Values.measured(total, error)


@dataclass(frozen=True, eq=False)
class Crossings:
    """Where units cross a threshold strictly inside a piece, sorted by piece and parameter.

    Args:
        piece: the piece (it begins at this point), shape ``(n,)``.
        unit: the flat number of the unit, shape ``(n,)``.
        step: the number of the threshold, shape ``(n,)``.
        t: the rounded parameter, within the piece, shape ``(n,)``.
        sag: the distance of the unit's threshold curve from its chord over the whole piece, per
            unit change of slope: ``|v0 v1| / (|v0| + |v1|)``, shape ``(n,)``.
    """

    piece: Array
    unit: Array
    step: Array
    t: Array
    sag: Array

    def __len__(self) -> int:
        return len(self.piece)

    def where(self, mask: Array) -> Crossings:
        """Return some of them."""
        return Crossings(*(getattr(self, name)[mask] for name in self.__dataclass_fields__))


def crossings(z: Values, table: Hinges, t: Array) -> Crossings:
    """Return every strict change of side of the interpolants ``z``."""
    flat = z.at.reshape(len(z.at), -1)
    found: list[tuple[Array, ...]] = []
    for step in range(table.count):
        threshold = table.thresholds[step].reshape(-1)
        plain = not np.any(threshold)
        above = flat > 0 if plain else flat > threshold
        piece, unit = np.divmod(np.flatnonzero(above[1:] != above[:-1]), flat.shape[1])
        v0, v1 = flat[piece, unit], flat[piece + 1, unit]
        if not plain:
            v0, v1 = v0 - threshold[unit], v1 - threshold[unit]
        strict = (v0 != 0) & (v1 != 0)
        piece, unit, v0, v1 = piece[strict], unit[strict], np.abs(v0[strict]), np.abs(v1[strict])
        share = v0 / (v0 + v1)
        begin, end = t[piece], t[piece + 1]
        place = np.clip((begin + (end - begin) * share).astype(np.float64), begin, end)
        found.append((piece, unit, np.full(len(piece), step), place, (share * v1).astype(float)))
    if not found:
        nothing, number = np.zeros(0, dtype=np.intp), np.zeros(0)
        return Crossings(nothing, nothing, nothing, number, number)
    piece, unit, step_of, place, sag = (
        np.concatenate(column) for column in zip(*found, strict=True)
    )
    order = np.lexsort((place, piece))
    return Crossings(piece[order], unit[order], step_of[order], place[order], sag[order])


def inserted(stretch: Stretch, piece: Array, t: Array) -> tuple[Stretch, Array]:
    """Return the stretch with new points, and the places of the new ones.

    Args:
        stretch: the old points.
        piece: the piece of every new point, sorted, shape ``(n,)``.
        t: its parameter, strictly inside the piece and increasing, shape ``(n,)``.
    """
    count, new = len(stretch), len(piece)
    if not new:
        return stretch, np.zeros(0, dtype=np.intp)
    fresh = piece + 1 + np.arange(new)
    old = np.ones(count + new, dtype=bool)
    old[fresh] = False
    kept = np.nonzero(old)[0]
    places = np.empty(count + new)
    places[kept], places[fresh] = stretch.t, t
    live = {}
    for key, values in stretch.live.items():
        kind = values.at.dtype
        begin, end = stretch.t[piece].astype(kind), stretch.t[piece + 1].astype(kind)
        share = (t.astype(kind) - begin) / (end - begin)
        at = np.empty((count + new, *values.at.shape[1:]), dtype=kind)
        at[kept] = values.at
        step = values.at[piece + 1]
        step -= values.at[piece]
        step *= share.reshape(-1, *(1,) * (at.ndim - 1))
        step += values.at[piece]
        at[fresh] = step
        error, size = np.empty(count + new), np.empty(count + new)
        error[kept], size[kept] = values.error, values.size
        ends = values.size[piece] + values.size[piece + 1]
        part = share.astype(np.float64)
        # Six roundings of numbers not larger than both ends; a unit on the wrong side of its
        # threshold by that much costs at most twice as much again.
        slack = 32 * unit_of(kind) * ends
        error[fresh] = (1 - part) * values.error[piece] + part * values.error[piece + 1]
        error[fresh] = error[fresh] * _UP + slack
        size[fresh] = np.maximum(values.size[piece], values.size[piece + 1]) + slack
        live[key] = Values(at, error, size)
    return Stretch(places, live), fresh


def activated(
    stretch: Stretch,
    arg: int,
    table: Hinges,
    cut: Crossings,
    left: Crossings,
    nearest: float,
    *,
    keep: bool,
) -> tuple[Stretch, Values]:
    """Return the stretch with the crossings as points, and the elementwise node's values.

    Args:
        stretch: the points so far.
        arg: the node of the pre-activations.
        table: the unit's pieces.
        cut: the crossings that become points.
        left: the crossings that do not: their sag becomes error.
        nearest: points are at least this far apart (a crossing nearer than that joins a point).
        keep: whether the pre-activations are read by another node, too.
    """
    count = len(stretch)
    steepest = float(np.abs(table.slopes).max(initial=0.0))
    jumps = np.abs(np.diff(table.slopes, axis=0)).reshape(table.count, -1)
    begin, end = stretch.t[cut.piece], stretch.t[cut.piece + 1]
    inside = (cut.t - begin > nearest) & (end - cut.t > nearest)
    apart = np.ones(len(cut), dtype=bool)
    apart[1:] = (cut.piece[1:] != cut.piece[:-1]) | (np.diff(cut.t) > nearest)
    # The first of a group of near crossings is the point of all of them.
    own = inside & (apart | ~np.concatenate([[False], inside[:-1]]))
    new, fresh = inserted(stretch, cut.piece[own], cut.t[own])
    z = new.live[arg]
    charge = np.zeros(len(new))
    if len(cut):
        if keep or not len(fresh):
            z = Values(z.at.copy(), z.error, z.size)
        row = np.searchsorted(new.t, cut.t)
        row = np.clip(row, 1, len(new) - 1)
        row -= cut.t - new.t[row - 1] < new.t[row] - cut.t
        flat = z.at.reshape(len(new), -1)
        threshold = table.thresholds.reshape(table.count, -1)[cut.step, cut.unit]
        away = np.abs(flat[row, cut.unit] - threshold).astype(np.float64)
        flat[row, cut.unit] = threshold
        # Moving the unit to its threshold there, and a second threshold that shares the point.
        np.add.at(charge, row, (steepest + jumps[cut.step, cut.unit]) * away * _UP)
    if len(left):
        squares = np.zeros(count - 1)
        np.add.at(squares, left.piece, (jumps[left.step, left.unit] * left.sag) ** 2)
        sag = np.sqrt(squares * table.count) * _UP
        whole = np.maximum(np.append(sag, 0.0), np.append(0.0, sag))
        old = np.ones(len(new), dtype=bool)
        old[fresh] = False
        home = np.cumsum(old) - 1
        charge += np.where(old, whole[home], sag[np.minimum(home, count - 2)])
    return new, _applied(z, table, charge, steepest, jumps)


def _applied(z: Values, table: Hinges, charge: Array, steepest: float, jumps: Array) -> Values:
    """Return the values of the units; the points hold every change of side."""
    unit = unit_of(z.at.dtype)
    plain = not np.any(table.thresholds)
    error = z.error * (steepest * _UP) + charge
    if plain and table.count == 1 and not np.any(table.intercepts):
        low, high = table.slopes
        if not np.any(low) and np.all(high == 1):
            return Values.measured(np.maximum(z.at, 0.0), error)
        slope = np.where(z.at > 0, high, low)
        return Values.measured(z.at * slope, error + 2 * unit * steepest * z.size)
    side = np.zeros(z.at.shape, dtype=np.intp)
    for threshold in table.thresholds:
        side += ~(z.at <= threshold)
    slope = np.take_along_axis(table.slopes, side, 0)
    offset = np.take_along_axis(table.intercepts, side, 0)
    # The thresholds are rounded themselves: by an ulp, and the unit bends by its change of slope.
    bend = np.nan_to_num(table.thresholds).reshape(table.count, -1) * jumps
    slack = 4 * unit_of(np.dtype(np.float64)) * float(np.linalg.norm(bend))
    shifts = float(np.linalg.norm(np.abs(table.intercepts).max(axis=0)))
    error = error + slack + 4 * unit * (steepest * z.size + shifts)
    return Values.measured(slope * z.at + offset, error)
