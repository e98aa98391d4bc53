r"""From regions to the boundary: segments, polylines, points, tie regions.

The zero set of ``g`` on a plane is the union of the segments inside regions, of region edges on
which ``g`` is 0, of single corners, and of whole regions (ties).  What borders a tie region belongs
to it: segments are the part of the zero set outside the closed tie regions.
"""

from __future__ import annotations

import itertools
import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from scipy.spatial import cKDTree

from nneq.boundary.pwl.exact2d import Corner, ExactCell, point
from nneq.boundary.pwl.magnitude import coefficients
from nneq.boundary.pwl.planes import Cells
from nneq.boundary.pwl.walk import UNIT
from nneq.boundary.results import Component, Segment

__all__ = [
    "ExactBoundary",
    "FloatBoundary",
    "chained",
    "exact_boundary",
    "exact_length",
    "exact_polylines",
    "float_boundary",
    "polylines",
]

Array = np.ndarray[Any, Any]
Point = tuple[Fraction, Fraction]
Line = tuple[Fraction, Fraction, Fraction]


@dataclass(frozen=True)
class ExactBoundary:
    """The exact zero set in a polygon.

    Args:
        segments: ``(start, end, (a, b, c))``.
        points: isolated zeros.
        ties: regions where ``g`` is 0 everywhere.
    """

    segments: tuple[tuple[Point, Point, Line], ...]
    points: tuple[Point, ...]
    ties: tuple[ExactCell, ...]


def _value(form: Line, corner: Corner) -> Fraction:
    return form[0] * corner[0] + form[1] * corner[1] + form[2] * corner[2]


def _meeting(p: Corner, zp: Fraction, q: Corner, zq: Fraction) -> Point:
    a, b = abs(zq), abs(zp)
    w = a * p[2] + b * q[2]
    return (a * p[0] + b * q[0]) / w, (a * p[1] + b * q[1]) / w


def _normal(p: Point, q: Point) -> Line:
    """Return the line through two points, scaled to be the same for every pair on it."""
    a, b = p[1] - q[1], q[0] - p[0]
    lead = a if a != 0 else b
    a, b = a / lead, b / lead
    return a, b, -(a * p[0] + b * p[1])


def exact_boundary(cells: Sequence[ExactCell], row: int = 0) -> ExactBoundary:
    """Return the zero set of output ``row`` from exact regions.

    Guarantee: exact.
    """
    segments: list[tuple[Point, Point, Line]] = []
    edges: dict[Line, list[tuple[Point, Point]]] = defaultdict(list)
    covered: dict[Line, list[tuple[Point, Point]]] = defaultdict(list)
    forms: dict[Line, Line] = {}
    points: list[Point] = []
    ties: list[ExactCell] = []
    for cell in cells:
        form = cell.forms[row]
        values = [_value(form, corner) for corner in cell.corners]
        if all(value == 0 for value in values):
            ties.append(cell)
            ring = [point(corner) for corner in cell.corners]
            for p, q in zip(ring, ring[1:] + ring[:1], strict=True):
                covered[_normal(p, q)].append((p, q))
            continue
        if min(values) < 0 < max(values):
            ends = _crossings(cell.corners, values)
            segments.append((ends[0], ends[1], form))
            continue
        zero = [point(c) for c, v in zip(cell.corners, values, strict=True) if v == 0]
        if len(zero) == 2:
            line = _normal(zero[0], zero[1])
            edges[line].append((zero[0], zero[1]))
            forms.setdefault(line, form)
        elif len(zero) > 2:
            zero.sort()
            line = _normal(zero[0], zero[-1])
            edges[line].append((zero[0], zero[-1]))
            forms.setdefault(line, form)
        else:
            points += zero
    for line, spans in edges.items():
        for p, q in _minus(_union(spans), _union(covered.get(line, ()))):
            segments.append((p, q, line))
    segments = _broken(segments)
    lonely = [p for p in dict.fromkeys(points) if not _touched(p, segments, ties)]
    return ExactBoundary(tuple(segments), tuple(lonely), tuple(ties))


def _crossings(corners: Sequence[Corner], values: Sequence[Fraction]) -> list[Point]:
    ends: list[Point] = []
    for k, (corner, value) in enumerate(zip(corners, values, strict=True)):
        following = (k + 1) % len(corners)
        if value == 0:
            ends.append(point(corner))
        elif value * values[following] < 0:
            ends.append(_meeting(corner, value, corners[following], values[following]))
    return ends


def _union(spans: Iterable[tuple[Point, Point]]) -> list[tuple[Point, Point]]:
    """Return the union of collinear spans, each from its smaller to its larger end."""
    found: list[tuple[Point, Point]] = []
    for p, q in sorted((min(s), max(s)) for s in spans):
        if found and p <= found[-1][1]:
            found[-1] = (found[-1][0], max(found[-1][1], q))
        else:
            found.append((p, q))
    return found


def _minus(
    spans: list[tuple[Point, Point]], holes: list[tuple[Point, Point]]
) -> list[tuple[Point, Point]]:
    found = []
    for p, q in spans:
        start = p
        for a, b in holes:
            if b <= start or a >= q:
                continue
            if a > start:
                found.append((start, a))
            start = max(start, b)
        if start < q:
            found.append((start, q))
    return found


def _broken(
    segments: list[tuple[Point, Point, Line]],
) -> list[tuple[Point, Point, Line]]:
    """Cut segments where another one ends in their interior."""
    ends = sorted({end for s in segments for end in s[:2]})
    found = []
    for p, q, form in segments:
        low, high = min(p, q), max(p, q)
        inner = (
            [e for e in ends if low < e < high and form[0] * e[0] + form[1] * e[1] + form[2] == 0]
            if len(ends) < 4000
            else []
        )
        chain = [low, *inner, high]
        found += [(a, b, form) for a, b in itertools.pairwise(chain)]
    return found


def _touched(
    p: Point, segments: Sequence[tuple[Point, Point, Line]], ties: Sequence[ExactCell]
) -> bool:
    for a, b, form in segments:
        on_line = form[0] * p[0] + form[1] * p[1] + form[2] == 0
        if on_line and min(a, b) <= p <= max(a, b):
            return True
    for tie in ties:
        ring = [point(corner) for corner in tie.corners]
        turns = [
            (b[0] - a[0]) * (p[1] - a[1]) - (b[1] - a[1]) * (p[0] - a[0])
            for a, b in zip(ring, ring[1:] + ring[:1], strict=True)
        ]
        if all(turn >= 0 for turn in turns):
            return True
    return False


# ---------------------------------------------------------------------------- float cells
@dataclass(frozen=True, eq=False)
class FloatBoundary:
    """The zero set found in float cells.

    Args:
        start: shape ``(S, 2)``.
        end: shape ``(S, 2)``.
        coefficients: ``(a, b, c)``, shape ``(S, 3)``.
        cell: the region of each segment, shape ``(S,)``.
        doubtful: regions with a corner where the sign of ``g`` is within its error.
    """

    start: Array
    end: Array
    coefficients: Array
    cell: Array
    doubtful: Array


def float_boundary(cells: Cells, scale: float, row: int = 0) -> FloatBoundary:
    """Return the segments of output ``row``, and the regions that rounding leaves in doubt.

    Guarantee: certified: outside the doubtful regions, the zero set lies within
    ``error / |gradient|`` of the segments, one in each region where the sign changes.
    """
    counts = np.diff(cells.ptr)
    owner = np.repeat(np.arange(len(cells)), counts)
    forms = cells.forms[:, row]
    wide = forms[owner]
    values = wide[:, 0] * cells.xy[:, 0] + wide[:, 1] * cells.xy[:, 1] + wide[:, 2]
    slope = np.abs(forms[:, 0]) + np.abs(forms[:, 1])
    slack = cells.error[:, row] + 8 * UNIT * (slope * scale + np.abs(forms[:, 2]))
    slack += 4096 * UNIT * scale * slope
    sign = np.where(np.abs(values) > slack[owner], np.sign(values), 0).astype(np.int8)
    low = np.minimum.reduceat(sign, cells.ptr[:-1]) if len(cells) else np.zeros(0)
    high = np.maximum.reduceat(sign, cells.ptr[:-1]) if len(cells) else np.zeros(0)
    near = np.logical_or.reduceat(sign == 0, cells.ptr[:-1]) if len(cells) else np.zeros(0, bool)
    doubtful = np.nonzero(near)[0]
    crossing = np.nonzero((low < 0) & (high > 0))[0]
    following = np.arange(len(values)) + 1
    following[cells.ptr[1:] - 1] = cells.ptr[:-1]
    cut = np.zeros(len(cells), dtype=bool)
    cut[crossing] = True
    hits = np.nonzero(cut[owner] & ((values > 0) != (values[following] > 0)))[0]
    # the first two changes of sign around each region
    number = np.arange(len(hits)) - np.searchsorted(owner[hits], owner[hits])
    hits = hits[number < 2]
    share = values[hits] / (values[hits] - values[following[hits]])
    points = cells.xy[hits] + share[:, None] * (cells.xy[following[hits]] - cells.xy[hits])
    return FloatBoundary(points[::2], points[1::2], forms[crossing], crossing, doubtful)


# ---------------------------------------------------------------------------- polylines
def chained(segments: Sequence[tuple[Any, Any]]) -> list[tuple[list[int], bool]]:
    """Return runs of segments that meet end to end, and whether each run is closed.

    Args:
        segments: pairs of hashable ends; a run stops where other than two segments meet.

    Returns:
        Signed numbers ``k + 1`` (forwards) or ``-(k + 1)`` (backwards) in order.
    """
    at: dict[Any, list[int]] = defaultdict(list)
    for k, (p, q) in enumerate(segments):
        at[p].append(k)
        at[q].append(k)
    used = [False] * len(segments)
    runs: list[tuple[list[int], bool]] = []

    def follow(k: int, head: Any) -> list[int]:
        run = []
        while not used[k]:
            used[k] = True
            forwards = segments[k][0] == head
            run.append(k + 1 if forwards else -(k + 1))
            head = segments[k][1] if forwards else segments[k][0]
            if len(at[head]) != 2:
                break
            first, second = at[head]
            k = second if first == k else first
        return run

    for end, meeting in at.items():
        if len(meeting) != 2:
            for k in meeting:
                if not used[k]:
                    runs.append((follow(k, end), False))
    for k in range(len(segments)):
        if not used[k]:
            runs.append((follow(k, segments[k][0]), True))
    return runs


def _grouped(points: Array, reach: float) -> Array:
    """Return a group number for every point; points within ``reach`` are one."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    pairs = cKDTree(points).query_pairs(reach, output_type="ndarray")
    graph = coo_matrix((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(len(points),) * 2)
    return np.asarray(connected_components(graph, directed=False)[1])


def polylines(found: FloatBoundary, scale: float) -> tuple[list[Component], int]:
    """Return the components, and the number of ends that meet nothing (box edges included)."""
    count = len(found.start)
    if not count:
        return [], 0
    points = np.concatenate([found.start, found.end])
    groups = _grouped(points, 1e-12 * scale)
    sizes = np.bincount(groups)
    alone = sizes[groups] != 2
    if alone.any():
        # Ends whose partner was computed with more rounding: join what is left a little further.
        places = np.nonzero(alone)[0]
        wider = _grouped(points[places], 1e-9 * scale)
        groups = groups.copy()
        groups[places] = len(points) + wider
    pairs = list(zip(groups[:count].tolist(), groups[count:].tolist(), strict=True))
    components = []
    for run, closed in chained(pairs):
        segments, vertices = [], []
        for signed in run:
            k = abs(signed) - 1
            p, q = found.start[k], found.end[k]
            if signed < 0:
                p, q = q, p
            a, b, c = (float(v) for v in found.coefficients[k])
            segments.append(
                Segment((float(p[0]), float(p[1])), (float(q[0]), float(q[1])), (a, b, c))
            )
            vertices.append(p)
        if not closed:
            last = segments[-1].end
            vertices.append(np.array(last))
        components.append(Component(np.array(vertices), closed, tuple(segments)))
    loose = sum(1 for _, n in zip(*np.unique(groups, return_counts=True), strict=True) if n == 1)
    return components, loose


def exact_polylines(found: ExactBoundary) -> list[Component]:
    """Return the components of an exact boundary; isolated points are components of one vertex."""
    components = []
    for run, closed in chained([(p, q) for p, q, _ in found.segments]):
        segments, vertices = [], []
        last: Point = (Fraction(0), Fraction(0))
        for signed in run:
            p, q, line = found.segments[abs(signed) - 1]
            if signed < 0:
                p, q = q, p
            a, b, c = coefficients(line)
            segments.append(
                Segment((float(p[0]), float(p[1])), (float(q[0]), float(q[1])), (a, b, c), line)
            )
            vertices.append((float(p[0]), float(p[1])))
            last = q
        if not closed:
            vertices.append((float(last[0]), float(last[1])))
        components.append(Component(np.array(vertices), closed, tuple(segments)))
    for p in found.points:
        components.append(Component(np.array([[float(p[0]), float(p[1])]]), closed=False))
    return components


def exact_length(found: ExactBoundary) -> float:
    """Return the total length of the segments."""
    return sum(math.hypot(float(p[0] - q[0]), float(p[1] - q[1])) for p, q, _ in found.segments)
