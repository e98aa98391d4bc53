r"""Whether the surface :math:`g = 0` moves into that of its interpolant without tearing.

Let :math:`\hat g` interpolate ``g`` linearly on tetrahedra that fit together, and
:math:`g_t = (1 - t) g + t \hat g`.  Asked of every vertex, edge, triangle and tetrahedron
:math:`\sigma` on which some :math:`g_t` may vanish: one direction, along the faces of the box that
hold :math:`\sigma`, in which both ``g`` and :math:`\hat g` increase on all tetrahedra around
:math:`\sigma`.  Then all :math:`g_t` increase in it at a rate bounded below near :math:`\sigma`,
kinks or not.  The zeros :math:`(x, t)` of :math:`g_t` are a compact set: finitely many such
neighbourhoods cover it, and a partition of unity makes one field of directions, tangent to the
faces of the box, along which all :math:`g_t` increase near their zeros.  For close ``t`` the
surfaces :math:`g_t = 0` are sections of its flow, so each slides into the next along the flow:
:math:`g = 0` and :math:`\hat g = 0` are isotopic in the box.  Outside the tetrahedra ``g`` has a
proven sign, and so has :math:`\hat g` on their rim.

At a vertex all :math:`g_t` are the value there: one that is larger than its error asks for nothing.
An edge with such values of one sign at its ends may be too short for a zero.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np

from nneq.boundary.smooth.octree import DIRECTIONS
from nneq.boundary.smooth.tetrahedra import BITS, Tetrahedra, unpacked
from nneq.semantics.ball import TINY, UNIT

__all__ = ["Function", "Vertices", "doubtful", "gradients", "lifted", "tangent"]

Array = np.ndarray[Any, Any]

_EDGES = np.array(list(itertools.combinations(range(4), 2)))
_TRIANGLES = np.array(list(itertools.combinations(range(4), 3)))
_SIDES = np.array([[0, 1, 3], [0, 2, 4], [1, 2, 5], [3, 4, 5]])  # the edges of the triangles
_BITS = np.left_shift(np.uint32(1), np.arange(2 * len(DIRECTIONS), dtype=np.uint32))


def _allowed() -> Array:
    """Return the directions along a face of the box, by a bit for each side it lies on."""
    found = np.zeros(64, dtype=np.uint32)
    for sides in range(64):
        axes = [axis for axis in range(3) if (sides >> (2 * axis)) & 3]
        fine = (DIRECTIONS[:, axes] == 0).all(axis=1)
        found[sides] = _BITS[np.concatenate([fine, fine])].sum()
    return found


_ALLOWED = _allowed()


@dataclass(frozen=True, eq=False)
class Vertices:
    """The corners of the tetrahedra.

    Args:
        value: of ``g`` in float64, shape ``(V,)``.
        error: of the value.
        interpolant: its value, of the same sign, shape ``(V,)``.
        sides: the sides of the box a corner lies on, one bit each, shape ``(V,)``.
        inner: whether cubes surround a corner (within the box), shape ``(V,)``.
        blur: how far rounding moves a corner, in half edges of its smallest cube.
    """

    value: Array
    error: Array
    interpolant: Array
    sides: Array
    inner: Array
    blur: float


def gradients(tetrahedra: Tetrahedra, level: Array, value: Array) -> tuple[Array, Array]:
    """Return the interpolant's gradients on tetrahedra and how sure they are, ``(T, 3)``, ``(T,)``.

    Args:
        tetrahedra: the tetrahedra.
        level: of their cubes, shape ``(C,)``.
        value: at the corners.

    Returns:
        Derivatives by half the cube's edge, and the largest difference of values times the norm of
        the inverse: relative errors of values and places enter times this.
    """
    corners = tetrahedra.corners
    half = np.left_shift(np.int64(1), BITS - 1 - level[tetrahedra.cube])[:, None]
    places = unpacked(tetrahedra.keys)
    first = places[corners[:, 0]]
    a, b, c = ((places[corners[:, k]] - first) / half for k in (1, 2, 3))
    normals = np.cross(b, c), np.cross(c, a), np.cross(a, b)
    volume = (a * normals[0]).sum(axis=1)[:, None]
    total: Any = 0.0
    for k, normal in enumerate(normals, start=1):
        step = (value[corners[:, k]] - value[corners[:, 0]])[:, None]
        total = total + step * (normal / volume)
    size = np.abs(value[corners]).max(axis=1)
    worst = sum(np.abs(normal / volume).sum(axis=1) for normal in normals)
    return total, size * worst


def doubtful(
    tetrahedra: Tetrahedra,
    level: Array,
    vertices: Vertices,
    steep: Array,
    ways: Array,
    outside: Array,
) -> tuple[Array, Array]:
    """Return the cubes at which the proof lacks a direction, and which of them to change.

    Args:
        tetrahedra: the tetrahedra.
        level: of their cubes, shape ``(C,)``.
        vertices: their corners.
        steep: largest derivatives on the cubes, by ``t / size``, shape ``(C, 3)``.
        ways: least derivatives along ``DIRECTIONS``, signed, shape ``(C, 13)``.
        outside: cubes in which the surface does not count, shape ``(C,)``.
    """
    corners, cube = tetrahedra.corners, tetrahedra.cube
    value, error, sides = vertices.value, vertices.error, vertices.sides
    mask = _mask(tetrahedra, level, vertices, ways)
    bad, change = np.zeros(len(level), dtype=bool), np.zeros(len(level), dtype=bool)
    # vertices
    unsure = ~(np.abs(value) > error)
    if unsure.any():
        around = np.full(len(value), _BITS.sum(), dtype=np.uint32)
        np.bitwise_and.at(around, corners.reshape(-1), np.repeat(mask, 4))
        open_ = unsure & (((around & _ALLOWED[sides]) == 0) | ~vertices.inner)
        open_[corners[outside[cube]]] = False
        bad[cube[open_[corners].any(axis=1)]] = True
        change |= bad
    number, order, start, ends = _edges(corners, len(value))
    first, second = ends.T
    shared = np.bitwise_and.reduceat(np.repeat(mask, 6)[order], start)
    fine = (shared & _ALLOWED[sides[first] & sides[second]]) != 0
    places = unpacked(tetrahedra.keys) * 2.0**-BITS
    if not fine.all():
        left = ~fine[number]
        row, side = np.nonzero(left)
        p, q = corners[row, _EDGES[side, 0]], corners[row, _EDGES[side, 1]]
        empty = np.zeros(len(fine), dtype=bool)
        extent = np.abs(places[p] - places[q])
        empty[number[row, side][_short(value, error, p, q, steep[cube[row]], extent)]] = True
        empty[number[outside[cube]]] = True
        edges = ~fine & ~empty
        bad[cube[edges[number].any(axis=1)]] = True
        # most likely those that are cut from their centres
        cone = tetrahedra.kind[cube] > 0
        mixed = np.zeros(len(fine), dtype=bool)
        mixed[number[cone]] = True
        change[
            cube[((edges & ~mixed)[number].any(axis=1)) | (edges[number].any(axis=1) & cone)]
        ] = True
        # triangles and tetrahedra none of whose edges has a direction
        row, side = np.nonzero(left[:, _SIDES].all(axis=2))
        three = np.sort(corners[row[:, None], _TRIANGLES[side]], axis=1)
        _, which = np.unique(three, axis=0, return_inverse=True)
        which = which.reshape(-1)
        around = np.full(which.max(initial=-1) + 1, _BITS.sum(), dtype=np.uint32)
        np.bitwise_and.at(around, which, mask[row])
        rim = _ALLOWED[np.bitwise_and.reduce(sides[three], axis=1)]
        away = np.zeros(len(around), dtype=bool)
        away[which[outside[cube[row]]]] = True
        open_ = ((around[which] & rim) == 0) & ~away[which]
        open_ &= ~_empty(three, value, error, steep[cube[row]], places)
        bad[cube[row[open_]]] = change[cube[row[open_]]] = True
        row = np.flatnonzero(left.all(axis=1) & (mask == 0) & ~outside[cube])
        row = row[~_empty(corners[row], value, error, steep[cube[row]], places)]
        bad[cube[row]] = change[cube[row]] = True
    return bad, change


def lifted(
    tetrahedra: Tetrahedra, level: Array, vertices: Vertices, ways: Array, rows: Array
) -> Array:
    """Return values of the interpolant, with those at centres of cubes moved where that helps.

    A cube that is cut from its centre has one tetrahedron on every triangle of its faces.  The
    value there is free (within its sign); it is chosen such that the interpolant increases on the
    whole cube in as many directions as possible.

    Args:
        tetrahedra: the tetrahedra.
        level: of their cubes.
        vertices: their corners.
        ways: as in :func:`doubtful`.
        rows: the cubes to look at, shape ``(C,)``.
    """
    value = vertices.interpolant.copy()
    keep = (rows & (tetrahedra.kind > 0))[tetrahedra.cube]
    corners, cube = tetrahedra.corners[keep], tetrahedra.cube[keep]
    part = Tetrahedra(tetrahedra.keys, corners, cube, tetrahedra.kind)
    cubes, number = np.unique(part.cube, return_inverse=True)
    if not len(cubes):
        return value
    centre = np.zeros(len(cubes), dtype=np.int64)
    centre[number] = part.corners[:, 0]
    zero = value.copy()
    zero[centre] = 0.0
    one = np.zeros(len(value))
    one[centre] = 1.0
    base, slant = (gradients(part, level, v)[0] @ DIRECTIONS.T for v in (zero, one))
    sign = np.sign(ways[part.cube])
    base, slant = base * sign, slant * sign
    with np.errstate(all="ignore"):
        bound = -base / slant
    low = np.full((len(cubes), len(DIRECTIONS)), -np.inf)
    high = -low
    np.maximum.at(low, number, np.where(slant > 1e-9, bound, -np.inf))
    np.minimum.at(high, number, np.where(slant < -1e-9, bound, np.inf))
    shut = (sign == 0) | ((np.abs(slant) <= 1e-9) & (base <= 0))
    np.minimum.at(high, number, np.where(shut, -np.inf, np.inf))
    # within the sign that g has there
    old = vertices.value[centre]
    low = np.where((old > 0)[:, None], np.maximum(low, 0.0), low)
    high = np.where((old < 0)[:, None], np.minimum(high, 0.0), high)
    for k in np.flatnonzero(np.abs(old) > vertices.error[centre]):
        fine = np.flatnonzero(high[k] > low[k])
        bottom = np.maximum(low[k, fine, None], low[k, fine]).reshape(-1)
        top = np.minimum(high[k, fine, None], high[k, fine]).reshape(-1)
        middle = 0.5 * (bottom + top)[(top > bottom) & np.isfinite(bottom + top)]
        if len(middle):
            inside = (middle[:, None] > low[k]) & (middle[:, None] < high[k])
            value[centre[k]] = middle[np.argmax(inside.sum(axis=1))]
    return value


def _mask(tetrahedra: Tetrahedra, level: Array, vertices: Vertices, ways: Array) -> Array:
    """Return the directions in which ``g`` and its interpolant increase, as bits, ``(T,)``."""
    slope, size = gradients(tetrahedra, level, vertices.interpolant)
    noise = (1e-12 + 64 * vertices.blur) * size
    mask = np.zeros(len(noise), dtype=np.uint32)
    with np.errstate(all="ignore"):
        for k, direction in enumerate(DIRECTIONS):
            along = slope @ direction
            known = ways[tetrahedra.cube, k]
            for sign, bit in ((1, _BITS[k]), (-1, _BITS[k + len(DIRECTIONS)])):
                mask |= np.where((sign * along > noise) & (sign * known > 0), bit, np.uint32(0))
    return mask


def _edges(corners: Array, count: int) -> tuple[Array, Array, Array, Array]:
    """Return the edges' numbers ``(T, 6)``, the order and starts of their uses, and their ends."""
    ends = np.sort(corners[:, _EDGES], axis=2).reshape(-1, 2)
    keys = ends[:, 0] * count + ends[:, 1]
    order = np.argsort(keys, kind="stable")
    fresh = np.ones(len(keys), dtype=bool)
    fresh[1:] = np.diff(keys[order]) != 0
    start = np.flatnonzero(fresh)
    number = np.empty(len(keys), dtype=np.int64)
    number[order] = np.cumsum(fresh) - 1
    return number.reshape(-1, 6), order, start, ends[order[start]]


def _short(value: Array, error: Array, p: Array, q: Array, steep: Array, extent: Array) -> Array:
    """Return which edges are too short for a zero between equal signs at their ends."""
    reach = (steep * extent).sum(axis=1) * (1 + 1e-9)
    room = np.abs(value[p]) - error[p] + np.abs(value[q]) - error[q]
    return np.asarray(((value[p] >= 0) == (value[q] >= 0)) & (room > reach))


def _empty(simplices: Array, value: Array, error: Array, steep: Array, places: Array) -> Array:
    """Return on which simplices one value is too large for a zero, and no sign differs."""
    value, error = value[simplices], error[simplices]
    where = places[simplices]
    extent = where.max(axis=1) - where.min(axis=1)
    reach = (steep * extent).sum(axis=1) * (1 + 1e-9)
    positive = value >= 0
    same = positive.all(axis=1) | ~positive.any(axis=1)
    return np.asarray(same & ((np.abs(value) - error).max(axis=1) > reach))


@dataclass(frozen=True, eq=False)
class Function:
    """A function on cubes, and its interpolant.

    Args:
        value: at the corners of the tetrahedra, shape ``(V,)``.
        error: of the value.
        interpolant: its value.
        steep: largest derivatives on the cubes, by ``t / size``, shape ``(C, 3)``.
        least: least derivatives along ``DIRECTIONS``, shape ``(C, 13)``.
        most: largest ones.
    """

    value: Array
    error: Array
    interpolant: Array
    steep: Array
    least: Array
    most: Array

    def spans(self, tetrahedra: Tetrahedra, level: Array, blur: float) -> tuple[Array, Array]:
        """Return ends of the derivatives of function and interpolant, ``(T, 13)`` each."""
        slope, size = gradients(tetrahedra, level, self.interpolant)
        step = np.ldexp(1.0, level[tetrahedra.cube] + 1)[:, None]
        along = slope @ DIRECTIONS.T * step
        noise = ((1e-12 + 64 * blur) * size)[:, None] * step
        cube = tetrahedra.cube
        return np.minimum(self.least[cube], along - noise), np.maximum(
            self.most[cube], along + noise
        )


def tangent(
    tetrahedra: Tetrahedra,
    level: Array,
    vertices: Vertices,
    functions: list[Function],
    open_: Array,
) -> Array:
    r"""Return the cubes in which ``g = 0`` and ``h = 0`` may touch, or move off one another.

    The part of :math:`g_t = 0` on which :math:`h_t \ge 0` moves along with ``t`` where its rim, the
    zeros of :math:`(g_t, h_t)`, does.  Asked around every simplex on which both may vanish: two
    directions along which the derivatives of both functions and their interpolants, taken from
    anywhere around it, make a matrix with determinant other than 0.  The map
    :math:`x \mapsto (g_t, h_t)` and the remaining coordinate is then a homeomorphism near the
    simplex (Clarke 1976, On the inverse function theorem), for all ``t`` alike.

    Args:
        tetrahedra: the tetrahedra.
        level: of their cubes.
        vertices: their corners.
        functions: ``g``, whose zeros are the surface, and ``h``, positive on the part of it.
        open_: cubes in which the sign of ``h`` is not known, shape ``(C,)``.
    """
    g, h = functions
    bad = np.zeros(len(level), dtype=bool)
    mine = open_[tetrahedra.cube]
    if not mine.any():
        return bad
    count = len(vertices.value)
    number, _, _, ends = _edges(tetrahedra.corners, count)
    elsewhere = np.zeros(len(ends), dtype=bool)
    elsewhere[number[~mine]] = True
    keys = ends @ np.array([count, 1])
    part = Tetrahedra(
        tetrahedra.keys, tetrahedra.corners[mine], tetrahedra.cube[mine], tetrahedra.kind
    )
    corners, cube, sides = part.corners, part.cube, vertices.sides
    places = unpacked(tetrahedra.keys) * 2.0**-BITS
    spans = [function.spans(part, level, vertices.blur) for function in functions]
    # corners at which both may vanish
    both = ~(np.abs(g.value) > g.error) & ~(np.abs(h.value) > h.error)
    both[tetrahedra.corners[~mine]] = False
    if both.any():
        row, corner = np.nonzero(both[corners])
        name, which = np.unique(corners[row, corner], return_inverse=True)
        around = _joined(spans, row, which.reshape(-1))
        both[name] = ~_across(around, sides[name]) | ~vertices.inner[name]
        bad[cube[both[corners].any(axis=1)]] = True
    # edges all around which the sign of h is open
    number, _, _, ends = _edges(corners, count)
    inner = ~elsewhere[np.searchsorted(keys, ends @ np.array([count, 1]))]
    none = ~inner
    for function in functions:
        p, q = (corners[:, _EDGES[:, k]].reshape(-1) for k in (0, 1))
        steep = np.repeat(function.steep[cube], 6, axis=0)
        short = _short(function.value, function.error, p, q, steep, np.abs(places[p] - places[q]))
        none[number.reshape(-1)[short]] = True
    around = _joined(spans, np.repeat(np.arange(len(cube)), 6), number.reshape(-1))
    fine = _across(around, sides[ends[:, 0]] & sides[ends[:, 1]])
    bad[cube[(~fine & ~none)[number].any(axis=1)]] = True
    # triangles and tetrahedra without such an edge
    left = ~(fine & inner)[number]
    row, side = np.nonzero(left[:, _SIDES].all(axis=2))
    three = np.sort(corners[row[:, None], _TRIANGLES[side]], axis=1)
    away = np.zeros(len(row), dtype=bool)
    for function in functions:
        away |= _empty(three, function.value, function.error, function.steep[cube[row]], places)
    row, three = row[~away], three[~away]
    if len(row):
        _, which = np.unique(three, axis=0, return_inverse=True)
        which = which.reshape(-1)
        rim = np.empty(which.max() + 1, dtype=np.int64)
        rim[which] = np.bitwise_and.reduce(sides[three], axis=1)
        bad[cube[row[~_across(_joined(spans, row, which), rim)[which]]]] = True
    row = np.flatnonzero(left.all(axis=1))
    for function in functions:
        row = row[
            ~_empty(corners[row], function.value, function.error, function.steep[cube[row]], places)
        ]
    around = [(low[row], high[row]) for low, high in spans]
    bad[cube[row[~_across(around, np.zeros(len(row), dtype=np.int64))]]] = True
    return bad


def _joined(
    spans: list[tuple[Array, Array]], row: Array, which: Array
) -> list[tuple[Array, Array]]:
    """Return the hulls of the ends on the tetrahedra around every simplex.

    Args:
        spans: ends on tetrahedra, for each function.
        row: a tetrahedron around a simplex.
        which: the simplex, all from 0 on.
    """
    order = np.argsort(which, kind="stable")
    start = np.flatnonzero(np.diff(which[order], prepend=-1))
    row = row[order]
    return [
        (np.minimum.reduceat(low[row], start), np.maximum.reduceat(high[row], start))
        for low, high in spans
    ]


def _across(spans: list[tuple[Array, Array]], rim: Array) -> Array:
    """Return where some 2 x 2 determinant of derivatives along the rim is not 0.

    Args:
        spans: ends of the derivatives of both functions, ``(S, 13)`` each.
        rim: the sides of the box that hold the simplices.
    """
    first, second = spans
    found = np.zeros(len(rim), dtype=bool)
    allowed = (_ALLOWED[rim][:, None] & _BITS[: len(DIRECTIONS)]) != 0
    with np.errstate(all="ignore"):
        for k, l in itertools.combinations(range(len(DIRECTIONS)), 2):
            todo = np.flatnonzero(~found & allowed[:, k] & allowed[:, l])
            if not len(todo):
                continue
            a, b, c, d = (
                (ends[0][todo, m], ends[1][todo, m])
                for ends, m in ((first, k), (first, l), (second, k), (second, l))
            )
            one, two = _product(a, d), _product(b, c)
            found[todo] = (one[0] > two[1]) | (one[1] < two[0])
    return found


def _product(a: tuple[Array, Array], b: tuple[Array, Array]) -> tuple[Array, Array]:
    """Return ends of products of intervals."""
    four = np.stack([x * y for x in a for y in b])
    slack = 4 * UNIT * np.abs(four).max(axis=0) + TINY
    return four.min(axis=0) - slack, four.max(axis=0) + slack
