r"""From balanced leaves to polylines: signs at corners, crossings on edges, links, refinement.

In a leaf the curve is a graph over one coordinate, so its crossings with the cell's edges, sorted
along that coordinate, are joined in pairs (Plantinga and Vegter 2004, section 3).  Every crossing
is refined on its edge; polylines are then refined by projecting midpoints onto the curve.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from nneq.boundary.smooth.quadtree import DEEPEST, Cells, Frame, Leaves
from nneq.boundary.smooth.roots import bracketed
from nneq.semantics.slices import Slices

__all__ = ["Mesh", "link", "polylines", "refine"]

Array = np.ndarray[Any, Any]

_BITS = DEEPEST + 1
_APART = 1e-9  # of the cell's arcs


@dataclass(slots=True, eq=False)
class Mesh:
    """Crossings and the segments between them.

    Args:
        points: shape ``(P, 2)``.
        segments: pairs of points, shape ``(S, 2)``.
        cell: the leaf of every segment, shape ``(S,)``.
        open_signs: corners whose sign neither float64 nor Arb decided (taken as positive).
        bad: leaves whose crossings cannot be paired (an odd number, next to an undecided corner).
    """

    points: Array
    segments: Array
    cell: Array
    open_signs: int
    bad: Array


def _key(x: Array, y: Array, salt: int) -> Array:
    """Return one 64-bit number per grid point; two points may share one (the caller looks)."""
    mixed = x.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15 + 2 * salt)
    return mixed ^ (y.astype(np.uint64) * np.uint64(0xC2B2AE3D27D4EB4F))


def _numbered(x: Array, y: Array) -> tuple[Array, Array, Array, Array, int]:
    """Return sorted keys, a first place and the number of every point, and the salt used."""
    salt = 0
    while True:
        keys = _key(x, y, salt)
        unique, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
        inverse = inverse.reshape(-1)
        if np.array_equal(x[first][inverse], x) and np.array_equal(y[first][inverse], y):
            return unique, first, inverse, keys, salt
        salt += 1


def corner_signs(slices: Slices, frame: Frame, x: Array, y: Array) -> tuple[Array, Array]:
    """Return signs of ``g`` at grid points (0 becomes 1), and which stayed undecided."""
    points = np.stack((frame.place(0, x), frame.place(1, y)), axis=1)
    (ball,) = slices.balls(np.zeros(len(x), dtype=np.int64), points)
    low, high = ball.lower.reshape(-1), ball.upper.reshape(-1)
    signs = np.where(low > 0, 1, np.where(high < 0, -1, 0)).astype(np.int8)
    return signs, points


def link(slices: Slices, frame: Frame, leaves: Leaves, exact_sign: Any) -> Mesh:
    """Return the mesh of the leaves.

    Args:
        slices: the network on its plane.
        frame: the rectangle.
        leaves: balanced leaves.
        exact_sign: ``exact_sign(point)``: the sign at a point in Arb, 0 when undecided.
    """
    cells = leaves.cells
    count = len(cells)
    x, y, size = cells.grid()
    corner_x = np.stack((x, x + size, x + size, x), axis=1)
    corner_y = np.stack((y, y, y + size, y + size), axis=1)
    unique, first, inverse, _, salt = _numbered(corner_x.reshape(-1), corner_y.reshape(-1))
    corner = inverse.reshape(count, 4)
    px, py = corner_x.reshape(-1)[first], corner_y.reshape(-1)[first]
    signs, points = corner_signs(slices, frame, px, py)
    unknown = np.flatnonzero(signs == 0)
    still_open = 0
    for k in unknown:
        found = exact_sign(points[k])
        still_open += found == 0
        signs[k] = found or 1
    # sides in order bottom, right, top, left; a side is halved where its midpoint is a corner
    half = size >> 1
    middle_x = np.stack((x + half, x + size, x + half, x), axis=1)
    middle_y = np.stack((y, y + half, y + size, y + half), axis=1)
    middle_key = _key(middle_x, middle_y, salt)
    place = np.minimum(np.searchsorted(unique, middle_key), len(unique) - 1)
    split = (unique[place] == middle_key) if count else np.zeros((0, 4), dtype=bool)
    if count:
        split &= (px[place] == middle_x) & (py[place] == middle_y)
    split &= (size > 1)[:, None]
    a, b = corner, np.roll(corner, -1, axis=1)
    whole_cell, whole_side = np.nonzero(~split)
    half_cell, half_side = np.nonzero(split)
    owner = np.concatenate((whole_cell, half_cell, half_cell))
    middle = place[half_cell, half_side]
    start = np.concatenate((a[whole_cell, whole_side], a[half_cell, half_side], middle))
    stop = np.concatenate((b[whole_cell, whole_side], middle, b[half_cell, half_side]))
    crossing = signs[start] != signs[stop]
    owner, start, stop = owner[crossing], start[crossing], stop[crossing]
    low, high = np.minimum(start, stop), np.maximum(start, stop)
    edges, edge = np.unique(low.astype(np.int64) * len(unique) + high, return_inverse=True)
    ends_low, ends_high = edges // max(len(unique), 1), edges % max(len(unique), 1)
    vertices = _crossings(slices, points, signs, ends_low, ends_high)
    segments, cell, bad = _paired(owner, edge.reshape(-1), vertices, leaves.along, count)
    return Mesh(vertices, segments, cell, int(still_open), bad)


def _crossings(slices: Slices, points: Array, signs: Array, low: Array, high: Array) -> Array:
    """Return the point of the curve on every edge, refined in float64."""
    if not len(low):
        return np.zeros((0, 2))
    start, step = points[low], points[high] - points[low]

    def function(places: Array, t: Array) -> Array:
        where = start[places] + step[places] * t[:, None]
        found = slices.floats(np.zeros(len(places), dtype=np.int64), where)
        return np.asarray(found[0].reshape(-1))

    t = bracketed(function, np.zeros(len(low)), np.ones(len(low)), signs[high] > 0)
    return np.asarray(start + step * t[:, None])


def _paired(
    owner: Array, edge: Array, vertices: Array, directions: Array, count: int
) -> tuple[Array, Array, Array]:
    """Return segments, their cells, and cells whose crossings cannot be paired.

    These are an odd number of them, and two arcs whose ends are too near to one another to be told
    apart by places in float64.
    """
    along = np.sum(directions[owner] * vertices[edge], axis=1)
    order = np.lexsort((along, owner))
    owner, edge, along = owner[order], edge[order], along[order]
    number = np.bincount(owner, minlength=count)
    first = np.cumsum(number) - number
    odd_place = (np.arange(len(owner)) - first[owner]) % 2 == 1
    near = np.flatnonzero(odd_place[:-1] & (owner[1:] == owner[:-1]))
    last = first + np.maximum(number, 1) - 1
    reach = along[last[owner[near]]] - along[first[owner[near]]]
    close = owner[near[~(along[near + 1] - along[near] > _APART * reach)]]
    unclear = number % 2 == 1
    unclear[close] = True
    keep = ~unclear[owner]
    owner, edge = owner[keep], edge[keep]
    return edge.reshape(-1, 2), owner[::2], np.flatnonzero(unclear)


def polylines(mesh: Mesh) -> list[tuple[list[int], bool]]:
    """Return the chains of points, each with whether it is closed."""
    neighbours: dict[int, list[int]] = {}
    for a, b in mesh.segments.tolist():
        if a != b:
            neighbours.setdefault(a, []).append(b)
            neighbours.setdefault(b, []).append(a)
    seen: set[int] = set()
    chains: list[tuple[list[int], bool]] = []
    starts = [p for p, others in neighbours.items() if len(others) == 1]
    for start in [*starts, *neighbours]:
        if start in seen:
            continue
        chain = [start]
        seen.add(start)
        current = start
        while True:
            following = [p for p in neighbours[current] if p not in seen]
            if not following:
                break
            current = following[0]
            seen.add(current)
            chain.append(current)
        closed = len(neighbours[start]) == 2 and len(chain) > 1 and start in neighbours[chain[-1]]
        chains.append((chain, closed))
    return chains


def refine(slices: Slices, points: Array, closed: bool, size: float, rounds: int = 6) -> Array:
    """Return a polyline with midpoints projected onto the curve until it is smooth to the eye.

    Args:
        slices: the network on its plane.
        points: vertices on the curve, shape ``(k, 2)``.
        closed: whether the last vertex is joined to the first.
        size: the diagonal of the rectangle; deviations above 2e-4 of it are refined.
        rounds: how often segments may be halved.
    """
    wanted = np.ones(len(points), dtype=bool)
    if not closed:
        wanted[-1] = False
    for _ in range(rounds):
        places = np.flatnonzero(wanted)
        if not len(places):
            break
        ends = points[(places + 1) % len(points)]
        step = ends - points[places]
        middle = points[places] + 0.5 * step
        found = _project(slices, middle)
        moved = np.linalg.norm(found - middle, axis=1)
        length = np.linalg.norm(step, axis=1)
        fine = np.isfinite(moved) & (moved < 0.5 * length)
        insert = fine & (moved > 2e-4 * size)
        if not insert.any():
            break
        at = places[insert]
        again = np.zeros(len(points), dtype=bool)
        again[at] = True
        points = np.insert(points, at + 1, found[insert], axis=0)
        new_places = at + 1 + np.arange(len(at))
        wanted = np.insert(again, at + 1, True)
        del new_places
    return points


def _project(slices: Slices, start: Array) -> Array:
    """Return points moved onto the curve by Newton steps along the gradient."""
    points = start.copy()
    for _ in range(4):
        with np.errstate(all="ignore"):
            value, slope = slices.gradients(points)
            step = value[:, None] * slope / np.sum(slope * slope, axis=1, keepdims=True)
            points = points - np.where(np.isfinite(step), step, 0.0)
            if np.max(np.abs(step), initial=0.0) < 1e-14:
                break
    return points


def touches(cells: Cells, other: Cells) -> Array:
    """Return which of ``cells`` share a side or a corner with one of ``other``."""
    x, y, size = cells.grid()
    u, v, wide = other.grid()
    marked = np.zeros(len(cells), dtype=bool)
    for k in range(len(other)):
        marked |= (
            (x <= u[k] + wide[k]) & (u[k] <= x + size) & (y <= v[k] + wide[k]) & (v[k] <= y + size)
        )
    return marked
