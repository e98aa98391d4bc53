r"""The surface :math:`g = 0` in a box of three free inputs, as a mesh with the right topology.

The octree (:mod:`nneq.boundary.smooth.octree`) leaves cells on which the derivative along some
direction keeps its sign.  They are cut into tetrahedra
(:mod:`nneq.boundary.smooth.tetrahedra`), and the surface of the piecewise linear interpolant
:math:`\hat g` of the corner values is the mesh.  Where the proof that both are isotopic
(:mod:`nneq.boundary.smooth.isotopy`) lacks a direction, cubes are cut along another diagonal, or
halved; what stays open is returned as undecided.

With rivals the surface ends where the largest one ties.  Cells that one wins are kept, but asked
for nothing; where it is open who wins, the same section proves that the rim moves along.
The vertices on the rim are placed by Newton steps, numerically.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from nneq.boundary.problem import Problem
from nneq.boundary.results import Box, Clock, Enclosed, Status, Surface
from nneq.boundary.smooth.isotopy import Function, Vertices, doubtful, lifted, tangent
from nneq.boundary.smooth.octree import (
    DEEPEST,
    DIRECTIONS,
    Accepted,
    Grid,
    Tree,
    derivatives,
    subdivide,
    taylor,
)
from nneq.boundary.smooth.rivals import Filter
from nneq.boundary.smooth.tetrahedra import (
    BITS,
    Tetrahedra,
    cut,
    oriented,
    triangles,
    uneven,
    unpacked,
)
from nneq.passes.restrict import restrict
from nneq.semantics.ball import UNIT
from nneq.semantics.linear_bounds import LinearBounds
from nneq.semantics.slices import Slices

__all__ = ["trace_space"]

Array = np.ndarray[Any, Any]
Progress = Callable[[float], None] | None

_FINE = 5
_TURNS = 4
_WON, _LOST, _OPEN, _ASKED = 1, 2, 3, 0
_ROUNDS = 20  # of other diagonals or smaller cubes where the proof lacks a direction
_MOST_CELLS = 1_000_000
_BATCH = 8192
_TIES, _FEW = 6, 200  # rounds of smaller cubes along the rim, more for few cubes
_NEWTON = 16
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
class _Cubes:
    """Cubes of any size.

    Args:
        level: shape ``(C,)``.
        index: shape ``(C, 3)``.
        steep: as in :class:`Accepted`.
        ways: as in :class:`Accepted`.
        own: whether ``ways`` were evaluated at the cube's own size.
        pattern: the diagonal it is cut along, shape ``(C,)``.
        turned: how often the diagonal was chosen for it.
        state: whether every rival loses (``_WON``), one wins (``_LOST``), or that is not known.
    """

    level: Array
    index: Array
    steep: Array
    ways: Array
    own: Array
    pattern: Array
    turned: Array
    state: Array

    @classmethod
    def made(cls, level: int, cells: Accepted, state: int) -> _Cubes:
        """Return cells of one level."""
        count = len(cells.index)
        own, turned = np.ones(count, dtype=bool), np.zeros(count, dtype=np.int64)
        levels, pattern = np.full(count, level), np.zeros(count, dtype=np.int64)
        states = np.full(count, state)
        return cls(levels, cells.index, cells.steep, cells.ways, own, pattern, turned, states)

    def take(self, keep: Array) -> _Cubes:
        """Return some of the cubes."""
        return _Cubes(*(getattr(self, field.name)[keep] for field in fields(self)))

    def joined(self, *others: _Cubes) -> _Cubes:
        """Return the cubes of all."""
        parts = [[getattr(one, field.name) for one in (self, *others)] for field in fields(self)]
        return _Cubes(*(np.concatenate(part) for part in parts))

    def halved(self) -> _Cubes:
        """Return the eight parts of every cube."""
        eight = self.take(np.repeat(np.arange(len(self.level)), 8))
        index = 2 * eight.index + np.tile(_CORNERS, (len(self.level), 1))
        own, turned = np.zeros(len(index), dtype=bool), np.zeros(len(index), dtype=np.int64)
        state = np.where(eight.state == _OPEN, _ASKED, eight.state)
        return replace(
            eight, level=eight.level + 1, index=index, own=own, turned=turned, state=state
        )


class _Mesh:
    """Cells to triangles."""

    def __init__(
        self, slices: Slices, grid: Grid, tree: Tree, clock: Clock, rivals: Filter | None
    ) -> None:
        self.slices, self.grid, self.tree, self.clock = slices, grid, tree, clock
        self.vertices = np.zeros((0, 3))
        self.faces = np.zeros((0, 3), dtype=np.int64)
        self.size = grid.high - grid.low
        self.cubes = 0
        self.lost: list[tuple[int, Array]] = []
        self.rivals = rivals
        self.known = np.zeros(0, dtype=np.int64)  # keys of places, and the values there
        self.values = np.zeros((2, 0))

    def build(self) -> None:
        """Cut the cells into tetrahedra, finer where the proof asks for it, and mesh them."""
        cubes = self._start()
        if not len(cubes.level):
            return
        random = np.random.default_rng(0)
        most = min(_MOST_CELLS, 4 * len(cubes.level) + 50_000)
        # next to undecided cells the surface stays open
        last = 2 if self.tree.undecided else _ROUNDS
        number = 0
        while True:
            cubes = self._even(cubes)
            if not len(cubes.level):
                return
            self._ask(cubes)
            outside = cubes.state == _LOST
            tetrahedra = cut(cubes.level, cubes.index, cubes.pattern)
            vertices = self._vertices(tetrahedra.keys, cubes)
            known = cubes.level, vertices, cubes.steep, cubes.ways, outside
            doubt, change = doubtful(tetrahedra, *known)
            again = np.flatnonzero(doubt & ~cubes.own)
            if len(again):
                self._sharpen(cubes, again)
                doubt, change = doubtful(tetrahedra, *known)
            if doubt.any():
                raised = lifted(tetrahedra, cubes.level, vertices, cubes.ways, doubt)
                vertices = replace(vertices, interpolant=raised)
                known = cubes.level, vertices, cubes.steep, cubes.ways, outside
                doubt, change = doubtful(tetrahedra, *known)
            ties, margin = self._ties(cubes, tetrahedra, vertices)
            stuck = doubt | ties
            if not stuck.any():
                break
            turn = change & (cubes.turned < np.where(tetrahedra.kind == 1, _TURNS, 1))
            finer = _spread(cubes, change & ~turn & (cubes.level < DEEPEST), tetrahedra)
            if number < _TIES or ties.sum() < _FEW:
                finer |= ties & (cubes.level < DEEPEST)
            late = number == last or self.clock.over or not (turn | finer).any()
            if late or len(cubes.level) + 8 * finer.sum() > most:
                break
            number += 1
            _turn(cubes, turn, tetrahedra, random)
            cubes = cubes.take(~finer).joined(self._split(cubes.take(finer)))
        for level in np.unique(cubes.level[stuck]).tolist():
            self.lost.append((level, cubes.index[stuck & (cubes.level == level)]))
        self.cubes = len(cubes.level)
        self._march(tetrahedra, vertices, margin)

    def _ask(self, cubes: _Cubes) -> None:
        """Ask of cubes whether a rival wins."""
        rows = np.flatnonzero(cubes.state == _ASKED)
        if self.rivals is not None and len(rows):
            centre, half = self._boxes(cubes.take(rows))
            lost, open_ = self.rivals.cells(centre, half)
            cubes.state[rows] = np.where(lost, _LOST, np.where(open_, _OPEN, _WON))

    def _ties(
        self, cubes: _Cubes, tetrahedra: Tetrahedra, vertices: Vertices
    ) -> tuple[Array, Array | None]:
        """Return cubes in which the rim may be torn, and the smallest margin at the corners."""
        bad = np.zeros(len(cubes.level), dtype=bool)
        if self.rivals is None:
            return bad, None
        value, error = self._margins(self._places(tetrahedra.keys))
        state = cubes.state[tetrahedra.cube]
        ahead = (value >= 0)[tetrahedra.corners]
        wrong = np.where((state == _WON)[:, None], ~ahead, (state == _LOST)[:, None] & ahead)
        bad[tetrahedra.cube[wrong.any(axis=1)]] = True
        rows = np.flatnonzero(cubes.state == _OPEN)
        if not len(rows):
            return bad, value
        count = len(cubes.level)
        functions = []
        for slices, own in ((self.slices, vertices), (self.rivals.slices, None)):
            steep = np.full((count, 3), np.inf)
            least, most = np.full((count, 13), -np.inf), np.full((count, 13), np.inf)
            for start in range(0, len(rows), _BATCH):
                part = rows[start : start + _BATCH]
                with np.errstate(all="ignore"):
                    steep[part], least[part], most[part] = _smallest(
                        slices, self.size, *self._boxes(cubes.take(part))
                    )
            at = (value, error, value)
            if own is not None:
                at = (own.value, own.error, own.interpolant)
            functions.append(Function(*at, steep, least, most))
        open_ = cubes.state == _OPEN
        bad |= tangent(tetrahedra, cubes.level, vertices, functions, open_)
        return bad, value

    def _margins(self, points: Array) -> tuple[Array, Array]:
        """Return the margin over the best rival at points, and bounds of its error."""
        if self.rivals is None or not len(points):
            return np.zeros(len(points)), np.zeros(len(points))
        mids, rads = [], []
        for start in range(0, len(points), _BATCH):
            part = points[start : start + _BATCH]
            ball = self.rivals.slices.balls(np.zeros(len(part), dtype=np.int64), part)[0]
            mids.append(ball.mid.reshape(len(part), -1).min(axis=1))
            rads.append(ball.rad.reshape(len(part), -1).max(axis=1))
        return np.concatenate(mids), np.concatenate(rads)

    def _boxes(self, cubes: _Cubes) -> tuple[Array, Array]:
        """Return centres and half-widths."""
        return self.grid.boxes(cubes.level[:, None], cubes.index)

    def _start(self) -> _Cubes:
        """Return the accepted cells, split to a size that looks smooth."""
        state = _WON if self.rivals is None else _ASKED
        parts = [_Cubes.made(level, part, state) for level, part in self.tree.accepted.items()]
        parts += [_Cubes.made(level, part, _LOST) for level, part in self.tree.dropped.items()]
        none = Accepted(np.zeros((0, 3), dtype=np.int64), np.zeros((0, 3)), np.zeros((0, 13)))
        cubes = _Cubes.made(0, none, state).joined(*parts)
        while (coarse := (cubes.level < _FINE) & (cubes.state != _LOST)).any():
            cubes = cubes.take(~coarse).joined(self._split(cubes.take(coarse)))
        return cubes

    def _even(self, cubes: _Cubes) -> _Cubes:
        """Split cubes until those that touch differ by one level at most."""
        while (coarse := uneven(cubes.level, cubes.index)).any():
            cubes = cubes.take(~coarse).joined(self._split(cubes.take(coarse)))
        return cubes

    def _split(self, cubes: _Cubes) -> _Cubes:
        """Return the parts of cubes that the gradient does not keep off zero."""
        made = cubes.halved()
        centre, half = self._boxes(made)
        value, error = self._values(centre)
        reach = (half / self.size * made.steep).sum(axis=1) * (1 + 1e-12)
        return made.take(~(np.abs(value) > error + reach))

    def _sharpen(self, cubes: _Cubes, rows: Array) -> None:
        """Evaluate derivatives on cubes at their own size."""
        centre, half = self._boxes(cubes.take(rows))
        for start in range(0, len(rows), _BATCH):
            part = slice(start, start + _BATCH)
            with np.errstate(all="ignore"):
                _, _, steep, ways, _ = taylor(self.slices, self.size, centre[part], half[part])
            cubes.ways[rows[part]] = ways
            cubes.steep[rows[part]] = np.fmin(cubes.steep[rows[part]], steep)
        cubes.own[rows] = True

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
    def _vertices(self, keys: Array, cubes: _Cubes) -> Vertices:
        """Return what is known at the corners of tetrahedra."""
        fresh = keys[~np.isin(keys, self.known, assume_unique=True)]
        found = np.stack(self._values(self._places(fresh)))
        known = np.concatenate([self.known, fresh])
        order = np.argsort(known)
        self.known = known[order]
        self.values = np.concatenate([self.values, found], axis=1)[:, order]
        value, error = self.values[:, np.searchsorted(self.known, keys)]
        lattice = unpacked(keys)
        ends = np.stack([lattice == 0, lattice == 1 << BITS], axis=-1).reshape(-1, 6)
        sides = ends @ np.left_shift(1, np.arange(6))
        inner = np.ones(len(keys), dtype=bool)
        unsure = np.flatnonzero(~(np.abs(value) > error))
        if len(unsure):
            inner[unsure] = _surrounded(lattice[unsure], cubes)
        far = np.maximum(np.abs(self.grid.low), np.abs(self.grid.high))
        edge = self.size * 2.0 ** -(int(cubes.level.max()) + 1)
        return Vertices(value, error, value, sides, inner, float((4 * UNIT * far / edge).max()))

    def _places(self, keys: Array) -> Array:
        """Return coordinates."""
        return self.grid.place(BITS, unpacked(keys))

    def _march(self, tetrahedra: Tetrahedra, vertices: Vertices, margin: Array | None) -> None:
        """Add the triangles of tetrahedra, cut where the interpolated margin is 0."""
        value = vertices.value
        places = self._places(tetrahedra.keys)
        positive = value[tetrahedra.corners] >= 0
        crossed = positive.any(axis=1) & ~positive.all(axis=1)
        cuts, signs = triangles(tetrahedra.corners[crossed], positive[crossed])
        if not len(cuts):
            return
        count = len(value)
        edges, number = np.unique(
            cuts.min(axis=-1) * count + cuts.max(axis=-1), return_inverse=True
        )
        first, second = edges // count, edges % count
        points = self._crossings(places, value, first, second)
        faces = number.reshape(-1, 3)
        # the middles of the edges: where g is 0 at a corner, crossings coincide
        self.faces = oriented(0.5 * places[first] + 0.5 * places[second], faces, places, signs)
        self.vertices = points
        if margin is not None:
            value = vertices.interpolant
            share = value[first] / (value[first] - value[second])
            self._trim(margin[first] + share * (margin[second] - margin[first]))

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

    def _trim(self, margin: Array) -> None:
        """Cut triangles where the margin changes its sign, and leave out where it is negative."""
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
        step = self.vertices[second] - self.vertices[first]
        fresh = self._onto_rim(
            self.vertices[first] + share[:, None] * step, np.linalg.norm(step, axis=1)
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
        # vertices that the interpolant leaves a little beyond the rim
        beyond = np.flatnonzero(self._margins(self.vertices)[0] < 0)
        reach = np.full(len(beyond), 2.0**-_FINE * np.linalg.norm(self.size))
        self.vertices[beyond] = self._onto_rim(self.vertices[beyond], reach)

    def _onto_rim(self, points: Array, reach: Array) -> Array:
        """Return points moved, within reach, to where both the surface and the rim are.

        Those on a side of the box stay on it.
        """
        if self.rivals is None or not len(points):
            return points
        moved, left = points.copy(), np.arange(len(points))
        free = (points != self.grid.low) & (points != self.grid.high)
        for _ in range(_NEWTON):
            pairs = [
                _pointwise(slices, moved[left]) for slices in (self.slices, self.rivals.slices)
            ]
            values, slopes = (np.stack(part, axis=1) for part in zip(*pairs, strict=True))
            step = _least_step(values, slopes * free[left, None])
            moved[left] = np.clip(moved[left] - step, self.grid.low, self.grid.high)
            left = left[np.linalg.norm(step, axis=1) > 1e-14 * np.linalg.norm(self.size)]
            if not len(left):
                break
        with np.errstate(all="ignore"):
            near = np.linalg.norm(moved - points, axis=1) <= reach
        return np.asarray(np.where(near[:, None], moved, points))


def _smallest(
    slices: Slices, size: Array, centre: Array, half: Array
) -> tuple[Array, Array, Array]:
    """Return bounds of the derivatives of the smallest of some functions on cells."""
    low, high, steep, least, most, _ = derivatives(slices, size, centre, half)
    # only those count that may be the smallest somewhere
    out = (low > high.min(axis=1, keepdims=True))[..., None]
    return (
        np.where(out, 0.0, steep).max(axis=1),
        np.where(out, np.inf, least).min(axis=1),
        np.where(out, -np.inf, most).max(axis=1),
    )


def _pointwise(slices: Slices, points: Array) -> tuple[Array, Array]:
    """Return values and gradients of the smallest output at points, numerically."""
    line = np.zeros(len(points), dtype=np.int64)
    arithmetic, (jet,) = slices.jets(line, points, np.zeros_like(points))
    value = arithmetic.value(jet).mid.reshape(len(points), -1)
    best = value.argmin(axis=1)[:, None]
    slopes = [s.mid.reshape(value.shape) for s in arithmetic.slopes(jet)]
    slope = np.stack([np.take_along_axis(s, best, axis=1)[:, 0] for s in slopes], axis=1)
    return np.take_along_axis(value, best, axis=1)[:, 0], slope


def _least_step(values: Array, slopes: Array) -> Array:
    """Return the shortest steps that solve two linear equations."""
    with np.errstate(all="ignore"):
        square = slopes @ slopes.transpose(0, 2, 1)
        determinant = square[:, 0, 0] * square[:, 1, 1] - square[:, 0, 1] ** 2
        first = (square[:, 1, 1] * values[:, 0] - square[:, 0, 1] * values[:, 1]) / determinant
        second = (square[:, 0, 0] * values[:, 1] - square[:, 0, 1] * values[:, 0]) / determinant
        step = first[:, None] * slopes[:, 0] + second[:, None] * slopes[:, 1]
    return np.asarray(np.where(np.isfinite(step), step, 0.0))


def _turn(cubes: _Cubes, rows: Array, tetrahedra: Tetrahedra, random: np.random.Generator) -> None:
    """Cut cubes, and those that touch them, along a diagonal in which ``g`` surely changes."""
    last = (np.int64(1) << cubes.level[rows]) - 1
    index = cubes.index[rows]
    rim = (index == 0) | (index == last[:, None])
    sure = cubes.ways[rows, 3:] != 0
    # the same for as many as possible; at the rim along it
    along = ~(rim[:, None] & (DIRECTIONS[3:] != 0)).any(axis=2)
    score = sure * (1.0 + sure.sum(axis=0)) * np.where(along, 1e6, 1.0)
    # after that any, so that the places where neighbours differ move
    score = np.where(cubes.turned[rows, None] > 0, sure * random.random(sure.shape), score)
    chosen = np.where(score.max(axis=1) > 0, np.argmax(score, axis=1), cubes.pattern[rows])
    cubes.pattern[rows] = chosen
    cubes.turned[rows] += 1
    corners, cube = tetrahedra.corners, tetrahedra.cube
    around = np.full(len(tetrahedra.keys), -1)
    own = rows[cube]
    around[corners[own]] = cubes.pattern[cube[own], None]
    near = np.full(len(cubes.level), -1)
    np.maximum.at(near, cube, around[corners].max(axis=1))
    beside = (near >= 0) & (cubes.turned == 0)
    cubes.pattern[beside] = near[beside]


def _spread(cubes: _Cubes, finer: Array, tetrahedra: Tetrahedra) -> Array:
    """Add the cubes along the same kink and of the same size: sizes should change away from it."""
    bent = ~(cubes.ways[:, :3] != 0).any(axis=1)
    corners, cube = tetrahedra.corners, tetrahedra.cube
    finer = finer.copy()
    for level in np.unique(cubes.level[finer]).tolist():
        own = cubes.level == level
        keep = (own & (bent | finer))[cube]
        part, where = corners[keep], cube[keep]
        reached = np.zeros(len(tetrahedra.keys), dtype=bool)
        count = -1
        while (now := int((finer & own).sum())) > count:
            count = now
            reached[part[finer[where]]] = True
            finer[where[reached[part].any(axis=1)]] = True
    return finer


def _surrounded(lattice: Array, cubes: _Cubes) -> Array:
    """Return which corners have cubes all around, as far as the box goes."""
    found = np.ones(len(lattice), dtype=bool)
    codes = {level: cubes.index[cubes.level == level] for level in np.unique(cubes.level).tolist()}
    for step in _CORNERS:
        cell = lattice - step
        outside = ((cell < 0) | (cell >= 1 << BITS)).any(axis=1)
        covered = outside.copy()
        for level, index in codes.items():
            own = {tuple(row) for row in index.tolist()}
            above = (cell >> (BITS - level)).tolist()
            covered |= np.array([tuple(row) in own for row in above], dtype=bool)
        found &= covered
    return found
