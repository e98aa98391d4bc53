"""Cubes of different sizes cut into tetrahedra that fit together, and triangles in tetrahedra.

A cube is cut into six tetrahedra along a diagonal of its own (Freudenthal, Kuhn) or of a face, if
its neighbours agree and are not finer.  Else it is cut into cones from its centre over triangles of
its faces: those of the finer cubes where they are, else those around the face's centre where a side
of the face is halved, else two.
Places are integers: those of a lattice of ``2**BITS`` steps per axis.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["BITS", "Tetrahedra", "cut", "oriented", "triangles", "uneven", "unpacked"]

Array = np.ndarray[Any, Any]

BITS = 20  # three coordinates fit into one number
_PACK = np.array([1 << 42, 1 << 21, 1], dtype=np.int64)
_CORNERS = 2 * np.array(list(itertools.product((0, 1), repeat=3)))
_STEPS = np.array(list(itertools.product((-1, 0, 1), repeat=3)))

_HALVES = np.array([o for o in itertools.product(range(3), repeat=3) if 1 in o and o.count(1) < 3])
_OTHERS = ((1, 2), (0, 2), (0, 1))


def _patterns() -> tuple[Array, Array]:
    """Return ten ways to cut a cube into six tetrahedra, and the diagonals of its faces.

    Those of the first four hold an edge along a diagonal of the cube, and along every axis (paths
    of edges between the ends of the diagonal); those of the others hold an edge along the diagonal
    of a face (three in each of two prisms, between bottom and top).
    """
    paths = [
        [0, *itertools.accumulate(1 << (2 - axis) for axis in path)]
        for path in itertools.permutations(range(3))
    ]
    # along (1, 1, 0): corners 0 and 6 below, 1 and 7 above, with 4 below or with 3 above
    prisms = [(4, 0, 6, 7), (4, 0, 1, 7), (4, 5, 1, 7), (0, 6, 2, 3), (0, 6, 7, 3), (0, 1, 7, 3)]
    found = [np.array(paths) ^ mirror for mirror in (0, 1, 2, 4)]
    for turn, flip in (
        ((0, 1), 0),
        ((0, 1), 2),
        ((0, 2), 0),
        ((0, 2), 1),
        ((1, 2), 0),
        ((1, 2), 1),
    ):
        axes = (*turn, 3 - sum(turn))  # where x, y and z go
        moved = sum(((np.array(prisms) >> (2 - k)) & 1) << (2 - axes[k]) for k in range(3))
        found.append(np.asarray(moved) ^ flip)
    patterns = np.stack(found)
    along = np.zeros((len(patterns), 3), dtype=bool)
    for k, cuts in enumerate(patterns):
        edges = {
            frozenset(pair) for cut in cuts.tolist() for pair in itertools.combinations(cut, 2)
        }
        for axis, (first, second) in enumerate(_OTHERS):
            along[k, axis] = {0, (4 >> first) | (4 >> second)} in edges
    return patterns, along


# how a cube is cut, and whether the diagonals of the faces across an axis run along (1, 1)
_PATTERNS, _ALONG = _patterns()


@dataclass(frozen=True, eq=False)
class Tetrahedra:
    """Tetrahedra that fit together.

    Args:
        keys: of the corners, ascending; :func:`unpacked` gives their places.
        corners: places among the keys, shape ``(T, 4)``.
        cube: the cube of every tetrahedron, shape ``(T,)``.
        kind: of the cubes, shape ``(C,)``: 0: cut along a diagonal; from the centre (the first
            corner of the tetrahedra): 1: because of a neighbour's diagonal, 2: of its size.
    """

    keys: Array
    corners: Array
    cube: Array
    kind: Array


def unpacked(keys: Array) -> Array:
    """Return places ``(..., 3)``."""
    mask = (1 << 21) - 1
    return np.stack([keys >> 42, (keys >> 21) & mask, keys & mask], axis=-1)


def _among(keys: Array, known: Array) -> Array:
    """Return which keys are among the known ones (ascending)."""
    if not len(known):
        return np.zeros(keys.shape, dtype=bool)
    spot = np.minimum(np.searchsorted(known, keys), len(known) - 1)
    return np.asarray(known[spot] == keys)


def uneven(level: Array, index: Array) -> Array:
    """Return which cubes touch one that is finer by two levels or more."""
    marked = np.zeros(len(level), dtype=bool)
    levels = np.unique(level)
    for fine in levels[::-1].tolist():
        if not (levels <= fine - 2).any():
            break
        around = (index[level == fine][:, None] + _STEPS).reshape(-1, 3)
        around = around[((around >= 0) & (around < 1 << fine)).all(axis=1)]
        for coarse in levels[levels <= fine - 2].tolist():
            own = np.flatnonzero(level == coarse)
            near = np.unique((around >> (fine - coarse)) @ _PACK)
            marked[own] |= _among(index[own] @ _PACK, near)
    return marked


def cut(level: Array, index: Array, pattern: Array) -> Tetrahedra:
    """Return the tetrahedra of cubes, touching ones of which differ by at most one level.

    Args:
        level: of every cube, at most ``BITS - 2``, shape ``(C,)``.
        index: shape ``(C, 3)``.
        pattern: the diagonal that every cube is cut along, a place in ``DIRECTIONS[3:]``; where
            faces of neighbours disagree, those that are not 0 decide, and the other cube is cut as
            if its neighbour were finer.
    """
    half = np.left_shift(np.int64(1), BITS - 1 - level)
    start = (2 * index * half[:, None]) @ _PACK
    centre = start + half * _PACK.sum()
    corners = start[:, None] + half[:, None] * (_CORNERS @ _PACK)
    known = np.unique(corners)
    coarse = _among(start[:, None] + half[:, None] * (_HALVES @ _PACK), known).any(axis=1)
    faces = _Faces(start, half, known, centre, pattern)
    plain = np.flatnonzero(~(coarse | faces.mixed))
    found = [corners[plain[:, None, None], _PATTERNS[pattern[plain]]].reshape(-1, 4)]
    cubes = [np.repeat(plain, 6)]
    rows = np.flatnonzero(coarse | faces.mixed)
    if len(rows):
        for axis, end in itertools.product(range(3), (0, 2)):
            for own, three in faces.cut(rows, axis, end):
                found.append(np.concatenate([centre[own, None], three], axis=1))
                cubes.append(own)
    keys, number = np.unique(np.concatenate(found), return_inverse=True)
    kind = np.where(coarse, 2, np.where(faces.mixed, 1, 0))
    return Tetrahedra(keys, number.reshape(-1, 4), np.concatenate(cubes), kind)


class _Faces:
    """Triangles of the faces of cubes.

    Args:
        start: keys of the lowest corners, shape ``(C,)``.
        half: half the edges.
        known: keys of the corners of all cubes.
        centre: keys of the centres.
        pattern: how the cubes are cut.
    """

    def __init__(
        self, start: Array, half: Array, known: Array, centre: Array, pattern: Array
    ) -> None:
        self.start, self.half, self.known, self.centre = start, half, known, centre
        self.order = np.argsort(centre)
        self.ranked = centre[self.order]
        self.own = _ALONG[pattern]
        self.along = np.repeat(self.own[:, :, None], 2, axis=2)
        if pattern.any():
            rank = np.where(pattern != 0, len(pattern), 0) + np.arange(len(pattern))
            for axis, side in itertools.product(range(3), (0, 1)):
                beyond = centre + (4 * side - 2) * half * _PACK[axis]
                there, other = self._find(beyond)
                there &= rank[other] > rank
                chosen = np.where(there, self.own[other, axis], self.own[:, axis])
                self.along[:, axis, side] = chosen
        self.mixed = (self.along != self.own[:, :, None]).any(axis=(1, 2))

    def _find(self, centre: Array) -> tuple[Array, Array]:
        """Return which places are centres of cubes, and of which."""
        spot = np.minimum(np.searchsorted(self.ranked, centre), len(self.ranked) - 1)
        return self.ranked[spot] == centre, self.order[spot]

    def cut(self, rows: Array, axis: int, end: int) -> list[tuple[Array, Array]]:
        """Return triangles of one face of cubes: ``(which cubes, keys of corners)``.

        Args:
            rows: the cubes.
            axis: across which the face lies.
            end: 0 or 2: on which side.
        """
        first, second = _OTHERS[axis]
        half = self.half[rows]
        base = self.start[rows] + half * (end * _PACK[axis])

        def at(i: int, j: int) -> Array:
            return np.asarray(base + half * (i * _PACK[first] + j * _PACK[second]))

        middle = at(1, 1)
        split = {side: _among(at(*side), self.known) for side in ((1, 0), (1, 2), (0, 1), (2, 1))}
        fan = _among(middle, self.known) | np.any(list(split.values()), axis=0)
        along = self.along[rows, axis, end // 2]
        found: list[tuple[Array, Array]] = []

        def add(which: Array, *three: Array) -> None:
            own = np.flatnonzero(which)
            found.append((rows[own], np.stack([part[own] for part in three], axis=1)))

        for tip in ((2, 0), (0, 2)):
            add(~fan & along, at(0, 0), at(*tip), at(2, 2))
        for tip in ((0, 0), (2, 2)):
            add(~fan & ~along, at(2, 0), at(*tip), at(0, 2))
        # a quarter with a finer cube on it is cut as that cube's face
        turned = {}
        for i, j in itertools.product((0, 2), repeat=2):
            step = (end - 1) * _PACK[axis] + (1 + i) * _PACK[first] + (1 + j) * _PACK[second]
            live, finer = self._find(base + (half >> 1) * step)
            aligned = ((1 - i) * (1 - j) > 0) == self.own[finer, axis]
            turned[i, j] = live & ~aligned
            add(fan & turned[i, j], middle, at(1, j), at(i, 1))
            add(fan & turned[i, j], at(i, j), at(1, j), at(i, 1))
        for side, halved in split.items():
            tips = [(i, j) for i, j in itertools.product((0, 2), repeat=2) if _on(side, i, j)]
            add(fan & ~halved, middle, at(*tips[0]), at(*tips[1]))
            for tip in tips:
                add(fan & halved & ~turned[tip], middle, at(*tip), at(*side))
        return found


def _on(side: tuple[int, int], i: int, j: int) -> bool:
    """Return whether a corner of a face is an end of the side with this middle."""
    return side[0] in {1, i} and side[1] in {1, j}


def triangles(tetrahedra: Array, positive: Array) -> tuple[Array, Array]:
    """Return triangles as three edges ``(T, 3, 2)`` and, per triangle, an edge from - to +."""
    found, ways = [], []
    count = positive.sum(axis=1)
    order = np.argsort(positive, axis=1, kind="stable")
    ranked = np.take_along_axis(tetrahedra, order, axis=1)  # negative corners first
    for minus, plus in ((1, 3), (3, 1)):
        rows = ranked[count == plus]
        lone = rows[:, 0] if minus == 1 else rows[:, 3]
        rest = rows[:, 1:] if minus == 1 else rows[:, :3]
        edges = np.stack([np.stack([lone, rest[:, k]], axis=1) for k in range(3)], axis=1)
        found.append(edges)
        ways.append(np.stack([rows[:, 0], rows[:, 3]], axis=1))
    rows = ranked[count == 2]
    ac, ad = rows[:, [0, 2]], rows[:, [0, 3]]
    bc, bd = rows[:, [1, 2]], rows[:, [1, 3]]
    for three in ((ac, ad, bd), (ac, bd, bc)):
        found.append(np.stack(three, axis=1))
        ways.append(ac)
    return np.concatenate(found), np.concatenate(ways)


def oriented(points: Array, faces: Array, places: Array, ways: Array) -> Array:
    """Return the faces turned so that their normals point to where ``g`` is positive."""
    a, b, c = (points[faces[:, k]] for k in range(3))
    normal = np.cross(b - a, c - a)
    forward = places[ways[:, 1]] - places[ways[:, 0]]
    wrong = (normal * forward).sum(axis=1) < 0
    return np.where(wrong[:, None], faces[:, [0, 2, 1]], faces)
