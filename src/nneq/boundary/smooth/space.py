r"""The surface :math:`g = 0` in a box of three free inputs, as a mesh with the right topology.

The octree (:mod:`nneq.boundary.smooth.octree`) leaves cells on which a partial derivative keeps its
sign.  Connected cells are split to one size, every small cube is cut into six tetrahedra along the
same diagonal (Freudenthal, Kuhn), and the surface of the piecewise linear interpolant
:math:`\hat g` of the corner values is the mesh.

Why this is isotopic to :math:`g = 0`.  Asked of every corner of the cubes: one partial derivative,
the same for all cubes that meet there, keeps one sign on them.  Let :math:`V` be the vector field
that interpolates these directions between the corners (with hat functions).  In a cube it is a
combination of directions in which ``g`` increases, and so does :math:`\hat g`, whose partial
derivatives on a tetrahedron are difference quotients of ``g`` along edges of the same cube.  So
both increase along the flow lines of :math:`V`, and each zero slides along its line from one
surface to the other; it cannot leave the cubes, because outside both functions have the same sign.
Corners on the rim of the box need a direction along the rim, or ``g`` to have a sign there; the
corners of the box itself need a proven sign, because nothing can move there.
Rounding of the corner values changes a difference quotient by at most twice the error over the
edge; a derivative that is not larger counts as unknown.  Cubes at corners for which no direction is
found are returned as undecided.  So are cubes in which it is not proven that every rival loses, or
that one wins: there the mesh is cut where the rival ties at its vertices, which proves nothing.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from nneq.boundary.problem import Problem
from nneq.boundary.results import Box, Clock, Enclosed, Status, Surface
from nneq.boundary.smooth.octree import (
    Accepted,
    Grid,
    Tree,
    on_rim,
    one_way,
    subdivide,
    taylor,
)
from nneq.boundary.smooth.rivals import Filter
from nneq.boundary.smooth.tetrahedra import TETRAHEDRA, connected, oriented, triangles
from nneq.passes.restrict import restrict
from nneq.semantics.linear_bounds import LinearBounds
from nneq.semantics.slices import Slices

__all__ = ["trace_space"]

Array = np.ndarray[Any, Any]
Progress = Callable[[float], None] | None

_FINE = 5
_FINER = 2
_MOST_CELLS = 1_000_000
_BATCH = 8192
_ROOT_STEPS = 90  # every third one is a bisection: slow only next to kinks
_CORNERS = np.array(list(itertools.product((0, 1), repeat=3)))


def trace_space(
    problem: Problem,
    origin: Array,
    directions: Array,
    box: Box,
    *,
    names: tuple[str, str, str],
    precision: str = "real",
    clock: Clock,
    progress: Progress = None,
) -> Surface:
    """Return the boundary in ``box`` of the slice ``origin + directions @ t``.

    Args:
        problem: the question; with rivals, parts where some rival wins are left out.
        origin: shape ``(n,)``.
        directions: shape ``(n, 3)``.
        box: of the three variables ``t``.
        names: the three free inputs.
        precision: ``real``, or ``float32``: nothing of the executed network's sign changes lies
            outside the cells examined.
        clock: the budget.
        progress: called with the share of the volume decided.

    Guarantee: certified topology (every part, closed or not); vertices refined on the edges of the
    mesh, numerical to about 1e-12 of the box.
    """
    began = time.perf_counter()
    executor = clock.executor
    posed = problem.posed(precision)
    slices = Slices(posed, origin[None], directions, precision=precision, executor=executor)
    bounds = LinearBounds(
        restrict(posed, origin, directions), precision=precision, executor=executor
    )
    grid = Grid(np.array(box.low), np.array(box.high))
    sieve = None
    if problem.rivals is not None:
        sieve = Filter(problem, origin, directions, precision)
    screen = None if sieve is None else sieve.lost
    tree = subdivide(slices, bounds, grid, clock, screen=screen, progress=progress)
    mesh = _Mesh(slices, grid, tree, clock, sieve)
    status = {"": Status.COMPLETE, "budget": Status.BUDGET, "interrupted": Status.INTERRUPTED}[
        tree.stopped
    ]
    try:
        mesh.build()
    except KeyboardInterrupt:
        status = Status.INTERRUPTED
        for level, part in tree.accepted.items():
            mesh.lost.append((level, part.index))
    if problem.rivals is not None:
        mesh.filter(Slices(problem.rivals, origin[None], directions))
    undecided = _boxes(grid, [*tree.undecided, *mesh.lost])
    if undecided and status is Status.COMPLETE:
        status = Status.UNDECIDED
    complete = not undecided and status is Status.COMPLETE
    words = f"{problem.title}: {len(mesh.faces)} triangles; " + (
        "every part of the surface in the box, with the right topology"
        if complete
        else "the parts that could be decided"
    )
    return Surface(
        mesh.vertices,
        mesh.faces,
        names,
        box,
        complete,
        undecided,
        status,
        {
            "cells": tree.examined,
            "leaves": sum(len(part.index) for part in tree.accepted.values()),
            "cubes": mesh.cubes,
            "seconds": time.perf_counter() - began,
        },
        Enclosed("octree with second-order Taylor bounds, isotopic tetrahedral mesh", precision),
        words,
    )


def _boxes(grid: Grid, cells: list[tuple[int, Array]]) -> tuple[Box, ...]:
    found = []
    for level, index in cells:
        for low, high in zip(grid.place(level, index), grid.place(level, index + 1), strict=True):
            found.append(Box(tuple(low), tuple(high)))
    return tuple(found)


@dataclass(frozen=True, eq=False)
class _Corners:
    """Corners of cubes of one size.

    Args:
        places: shape ``(V, 3)``.
        fixed: whether a corner lies on the rim across each axis, shape ``(V, 3)``.
        value: of ``g``, in float64, shape ``(V,)``.
        error: of the value, shape ``(V,)``.
        where: the corners of every cube, shape ``(C, 8)``.
    """

    places: Array
    fixed: Array
    value: Array
    error: Array
    where: Array


class _Mesh:
    """Cells to triangles."""

    def __init__(
        self, slices: Slices, grid: Grid, tree: Tree, clock: Clock, sieve: Filter | None
    ) -> None:
        self.slices, self.grid, self.tree, self.clock = slices, grid, tree, clock
        self.vertices = np.zeros((0, 3))
        self.faces = np.zeros((0, 3), dtype=np.int64)
        self.size = grid.high - grid.low
        self.cubes = 0
        self.lost: list[tuple[int, Array]] = []
        self.sieve = sieve

    def build(self) -> None:
        """Mesh every connected group of cells at the size of its finest cell, or a little finer."""
        for cells in connected(self.tree.accepted):
            level, group = self._one_size(cells)
            corners = self._corners(level, group)
            stuck = self._stuck(level, group, corners)
            for _ in range(0 if self.tree.undecided else _FINER):
                if not stuck.any() or 4 * len(group.index) > _MOST_CELLS or self.clock.over:
                    break
                # smaller cubes have sharper derivatives, which agree with those of more neighbours
                group = self._split(level, group)
                level += 1
                corners = self._corners(level, group)
                stuck = self._stuck(level, group, corners)
            stuck |= self._contested(level, group.index)
            if stuck.any():
                self.lost.append((level, group.index[stuck]))
            if len(group.index):
                self.cubes += len(group.index)
                self._march(corners)

    def _contested(self, level: int, index: Array) -> Array:
        """Return the cubes in which it is open whether a rival wins."""
        if self.sieve is None or not len(index):
            return np.zeros(len(index), dtype=bool)
        return self.sieve.cells(*self.grid.boxes(level, index))[1]

    def _one_size(self, cells: dict[int, Accepted]) -> tuple[int, Accepted]:
        """Split cells to the size of the finest; drop parts that the gradient keeps off zero."""
        target = max(*cells, _FINE)
        current: Accepted | None = None
        for level in range(min(cells), target + 1):
            if level in cells:
                own = cells[level]
                current = own if current is None else current.joined(own)
            if level == target or current is None:
                continue
            late = self.clock.over and level >= _FINE
            if 8 * len(current.index) > _MOST_CELLS or late:
                # too many cubes of the finest size: what is finer stays undecided
                for finer, part in cells.items():
                    if finer > level:
                        self.lost.append((finer, part.index))
                target = level
                break
            current = self._split(level, current)
        if current is None:
            msg = "a group without cells"
            raise ValueError(msg)
        return target, current

    def _split(self, level: int, cells: Accepted) -> Accepted:
        index = (2 * cells.index[:, None] + _CORNERS).reshape(-1, 3)
        steep, ways = (np.repeat(part, 8, axis=0) for part in (cells.steep, cells.ways))
        centre, half = self.grid.boxes(level + 1, index)
        value, error = self._values(centre)
        # far from 0 the cells are not quite of one size
        reach = (half / (self.size) * steep).sum(axis=1) * (1 + 1e-12)
        near = ~(np.abs(value) > error + reach)
        return Accepted(index, steep, ways).take(near)

    def _values(self, points: Array) -> tuple[Array, Array]:
        """Return values at points and bounds of their errors."""
        mids, rads = [], []
        for start in range(0, len(points), _BATCH):
            part = points[start : start + _BATCH]
            ball = self.slices.balls(np.zeros(len(part), dtype=np.int64), part)[0]
            mids.append(ball.mid.reshape(-1))
            rads.append(ball.rad.reshape(-1))
        if not mids:
            return np.zeros(0), np.zeros(0)
        return np.concatenate(mids), np.concatenate(rads)

    # ------------------------------------------------------------------------------ triangles
    def _corners(self, level: int, cells: Accepted) -> _Corners:
        """Return the corners of cubes of one size, each once, with the values there."""
        corners = (cells.index[:, None] + _CORNERS).reshape(-1, 3)
        side = (1 << level) + 1
        keys = (corners[:, 0] * side + corners[:, 1]) * side + corners[:, 2]
        _, first, where = np.unique(keys, return_index=True, return_inverse=True)
        lattice = corners[first]
        places = self.grid.place(level, lattice)
        fixed = (lattice == 0) | (lattice == 1 << level)
        return _Corners(places, fixed, *self._values(places), where.reshape(-1, 8))

    def _march(self, corners: _Corners) -> None:
        """Add the triangles of cubes of one size."""
        places, value, where = corners.places, corners.value, corners.where
        tetrahedra = where[:, TETRAHEDRA].reshape(-1, 4)
        positive = value[tetrahedra] >= 0
        crossed = positive.any(axis=1) & ~positive.all(axis=1)
        tetrahedra, positive = tetrahedra[crossed], positive[crossed]
        cut, signs = triangles(tetrahedra, positive)
        if not len(cut):
            return
        count = len(value)
        edges, number = np.unique(cut.min(axis=-1) * count + cut.max(axis=-1), return_inverse=True)
        first, second = edges // count, edges % count
        points = self._crossings(places, value, first, second)
        faces = number.reshape(-1, 3)
        # the middles of the edges: where g is 0 at a corner, crossings coincide
        faces = oriented(0.5 * places[first] + 0.5 * places[second], faces, places, signs)
        self.faces = np.concatenate([self.faces, faces + len(self.vertices)])
        self.vertices = np.concatenate([self.vertices, points])

    def _stuck(self, level: int, cells: Accepted, corners: _Corners) -> Array:
        """Return the cubes at corners for which the proof has no direction."""
        places, where, fixed = corners.places, corners.where, corners.fixed
        value, error = corners.value, corners.error
        if not len(where):
            return np.zeros(0, dtype=bool)
        unsure = ~(np.abs(value) > error)
        edge = ((places[where[:, 7]] - places[where[:, 0]]) / self.size).min(axis=1)
        with np.errstate(all="ignore"):
            tilt = (2 * error[where].max(axis=1) / edge * (1 + 1e-12))[:, None]
        ways = cells.ways
        stuck = _astray(np.where(np.abs(ways) > tilt, np.sign(ways), 0), where, fixed)
        again = np.flatnonzero(stuck[where].any(axis=1))
        if len(again):
            ways = ways.copy()
            ways[again] = self._ways(level, cells.index[again])
            signs = np.where(np.abs(ways) > tilt, np.sign(ways), 0)
            stuck = _astray(signs, where, fixed)
            inner = _astray(signs, where, np.zeros_like(fixed))
            rim = stuck & fixed.any(axis=1) & ~inner
            touching = np.flatnonzero(rim[where].any(axis=1))
            signed = self._rim_signed(level, cells.index[touching])
            # the interpolant must have that sign too
            signed &= ~(unsure & fixed.any(axis=1))[where[touching]].any(axis=1)
            open_ = touching[~signed]
            rim[where[open_].reshape(-1)] = False
            stuck &= ~rim
        # nothing can move at a corner of the box
        bad = (stuck | (unsure & fixed.all(axis=1)))[where].any(axis=1)
        # a corner shared with dropped cells must have the sign that was proven there (cells that
        # a rival wins are dropped without one: the mesh is cut away from them later)
        shared = np.bincount(where.reshape(-1), minlength=len(value))
        if unsure.any() and self.sieve is None:
            full = shared >= 8 >> fixed.sum(axis=1)
            bad |= (unsure & ~full)[where].any(axis=1)
        return np.asarray(bad)

    def _ways(self, level: int, index: Array) -> Array:
        """Return the signed least derivatives on cubes, evaluated at their own size."""
        found = []
        for start in range(0, len(index), _BATCH):
            box = self.grid.boxes(level, index[start : start + _BATCH])
            with np.errstate(all="ignore"):
                _, _, mid, rad, _ = taylor(self.slices, self.size, *box)
                found.append(one_way(mid, rad))
        return np.concatenate(found) if found else np.zeros((0, 3))

    def _rim_signed(self, level: int, index: Array) -> Array:
        """Return which cubes have a proven sign of ``g`` on every face they have on the rim."""
        good = np.ones(len(index), dtype=bool)
        centre, half = self.grid.boxes(level, index)
        for axis in range(3):
            for end, at in ((0, 0), (1, (1 << level) - 1)):
                rows = np.flatnonzero(index[:, axis] == at)
                if len(rows):
                    face = on_rim(self.grid, centre[rows], half[rows], (axis,), (end,))
                    with np.errstate(all="ignore"):
                        low, high, *_ = taylor(self.slices, self.size, *face)
                    good[rows] &= (low > 0) | (high < 0)
        return good

    def _crossings(self, places: Array, value: Array, first: Array, second: Array) -> Array:
        """Return points of the surface on edges, by the safeguarded secant (Illinois) rule."""
        a, b = places[first], places[second]
        share = np.full(len(a), 0.5)
        low, high = np.zeros(len(a)), np.ones(len(a))
        f_low, f_high = value[first].copy(), value[second].copy()
        last = np.zeros(len(a))
        size = 1e-14 * (np.abs(f_low) + np.abs(f_high))
        open_ = np.arange(len(a))
        with np.errstate(all="ignore"):
            for k in range(_ROOT_STEPS):
                x0, x1, f0, f1 = low[open_], high[open_], f_low[open_], f_high[open_]
                guess = (x0 * f1 - x1 * f0) / (f1 - f0)
                middle = 0.5 * (x0 + x1)
                guess = np.where(np.isfinite(guess) & (k % 3 < 2), guess, middle)
                guess = np.clip(guess, x0, x1)
                share[open_] = guess
                found = self._floats(a[open_] + guess[:, None] * (b[open_] - a[open_]))
                same = (found >= 0) == (f0 >= 0)
                f_high[open_] = np.where(same, np.where(last[open_] > 0, 0.5 * f1, f1), found)
                f_low[open_] = np.where(same, found, np.where(last[open_] < 0, 0.5 * f0, f0))
                low[open_], high[open_] = np.where(same, guess, x0), np.where(same, x1, guess)
                last[open_] = np.where(same, 1.0, -1.0)
                open_ = open_[np.abs(found) > size[open_]]
                if not len(open_):
                    break
        return np.asarray(a + share[:, None] * (b - a))

    def _floats(self, points: Array) -> Array:
        line = np.zeros(len(points), dtype=np.int64)
        parts = [
            self.slices.floats(line[k : k + _BATCH], points[k : k + _BATCH])[0].reshape(-1)
            for k in range(0, len(points), _BATCH)
        ]
        return np.concatenate(parts)

    def filter(self, rivals: Slices) -> None:
        """Cut the mesh where the largest rival ties (numerically) and leave out what it wins."""
        if not len(self.faces):
            return
        line = np.zeros(len(self.vertices), dtype=np.int64)
        margin = rivals.floats(line, self.vertices)[0].reshape(len(line), -1).min(axis=1)
        won = (margin >= 0)[self.faces]
        count = won.sum(axis=1)
        cut = (count == 1) | (count == 2)
        # every cut face is turned so that its first corner is alone on its side
        faces, ours = self.faces[cut], won[cut]
        alone = np.where(count[cut] == 1, ours.argmax(axis=1), (~ours).argmax(axis=1))
        faces = np.take_along_axis(faces, (alone[:, None] + np.arange(3)) % 3, axis=1)
        ends = np.stack([faces[:, [0, 1]], faces[:, [0, 2]]], axis=1)
        low, high = ends.min(axis=2), ends.max(axis=2)
        size = len(self.vertices)
        edges, number = np.unique(low * size + high, return_inverse=True)
        first, second = edges // size, edges % size
        share = margin[first] / (margin[first] - margin[second])
        fresh = self.vertices[first] + share[:, None] * (
            self.vertices[second] - self.vertices[first]
        )
        number = number.reshape(-1, 2) + size
        tips = count[cut] == 1
        corner, b, c = faces[:, 0], number[:, 0], number[:, 1]
        tip = np.stack([corner, b, c], axis=1)[tips]
        base = np.concatenate(
            [
                np.stack([b, faces[:, 1], faces[:, 2]], axis=1)[~tips],
                np.stack([b, faces[:, 2], c], axis=1)[~tips],
            ]
        )
        kept = np.concatenate([self.faces[count == 3], tip, base])
        used, renamed = np.unique(kept, return_inverse=True)
        self.vertices = np.concatenate([self.vertices, fresh])[used]
        self.faces = renamed.reshape(-1, 3)


def _astray(signs: Array, where: Array, fixed: Array) -> Array:
    """Return the corners for which no derivative has one sign on all cubes around.

    Args:
        signs: of the partial derivatives on the cubes, shape ``(C, 3)``.
        where: corners of the cubes, shape ``(C, 8)``.
        fixed: axes along which a corner must stay (those across the rim), shape ``(V, 3)``.
    """
    count = len(fixed)
    total = np.bincount(where.reshape(-1), minlength=count)
    found = np.zeros(count, dtype=bool)
    for axis in range(3):
        for sign in (1, -1):
            agree = np.repeat(signs[:, axis] == sign, 8)
            same = np.bincount(where.reshape(-1), weights=agree, minlength=count) == total
            found |= same & ~fixed[:, axis]
    return ~found & ~fixed.all(axis=1)
