"""Triangles in tetrahedra, and the connected groups of cells of an octree."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
from scipy import sparse

from nneq.boundary.smooth.octree import Accepted

__all__ = ["TETRAHEDRA", "connected", "oriented", "triangles"]

Array = np.ndarray[Any, Any]

# corners along the six paths from (0, 0, 0) to (1, 1, 1)
TETRAHEDRA = np.array(
    [
        [0, *itertools.accumulate(1 << (2 - axis) for axis in path)]
        for path in itertools.permutations(range(3))
    ]
)


def connected(accepted: dict[int, Accepted]) -> list[dict[int, Accepted]]:
    """Return connected groups of cells; cells of different sizes that touch are connected."""
    levels = sorted(accepted)
    if len(levels) <= 1:
        return [accepted] if levels else []
    start, total = {}, 0
    for level in levels:
        start[level] = total
        total += len(accepted[level].index)
    keys = {level: _keys(accepted[level].index, level) for level in levels}
    order = {level: np.argsort(keys[level]) for level in levels}
    rows, columns = [], []
    steps = np.array(list(itertools.product((-1, 0, 1), repeat=3)))
    for level in levels:
        index = accepted[level].index
        around = (index[:, None] + steps).reshape(-1, 3)
        own = np.repeat(np.arange(len(index)) + start[level], len(steps))
        inside = ((around >= 0) & (around < 1 << level)).all(axis=1)
        around, own = around[inside], own[inside]
        for coarse in levels:
            if coarse > level:
                break
            wanted = _keys(around >> (level - coarse), coarse)
            ranked = keys[coarse][order[coarse]]
            spot = np.minimum(np.searchsorted(ranked, wanted), len(ranked) - 1)
            hit = ranked[spot] == wanted
            rows.append(own[hit])
            columns.append(order[coarse][spot[hit]] + start[coarse])
    row, column = np.concatenate(rows), np.concatenate(columns)
    graph = sparse.coo_matrix((np.ones(len(row), dtype=np.int8), (row, column)), (total, total))
    count, label = sparse.csgraph.connected_components(graph, directed=False)
    found: list[dict[int, Accepted]] = []
    for k in range(count):
        group = {}
        for level in levels:
            part = accepted[level]
            mine = label[start[level] : start[level] + len(part.index)] == k
            if mine.any():
                group[level] = part.take(mine)
        found.append(group)
    return found


def _keys(index: Array, level: int) -> Array:
    side = 1 << level
    return np.asarray((index[:, 0] * side + index[:, 1]) * side + index[:, 2])


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
