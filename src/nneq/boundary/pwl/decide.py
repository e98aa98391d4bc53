"""Decision boundaries: the parts of ``z_i = z_j`` where no third output is larger."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from nneq.boundary.pwl.arrange import FloatBoundary, polylines
from nneq.boundary.pwl.planes import walk_plane
from nneq.boundary.pwl.walk import Program, Strips, walk_lines
from nneq.boundary.results import Box, Clock, Component

__all__ = ["allowed_spans", "decided"]

Array = np.ndarray[Any, Any]


def allowed_spans(strips: Strips, count: int) -> list[list[tuple[float, float]]]:
    """Return, per line, the spans of ``t`` on which every output is at least 0."""
    spans: list[list[tuple[float, float]]] = [[] for _ in range(count)]
    for k in range(len(strips.line)):
        low = strips.start[k, 0] / strips.start[k, 1]
        high = strips.end[k, 0] / strips.end[k, 1]
        if not strips.done[k]:
            continue
        for slope, intercept in zip(strips.forms[k, 0], strips.forms[k, 1], strict=True):
            if slope == 0:
                high = low if intercept < 0 else high
                continue
            t = -intercept / slope
            low, high = (max(low, t), high) if slope > 0 else (low, min(high, t))
        if low < high:
            row = spans[int(strips.line[k])]
            if row and low - row[-1][1] <= 1e-13:
                row[-1] = (row[-1][0], float(high))
            else:
                row.append((float(low), float(high)))
    return spans


def decided(
    rivals: Program,
    slice_of: tuple[Array, Array],
    components: Sequence[Component],
    ties: Sequence[Array],
    clock: Clock,
) -> tuple[list[Component], list[Array], bool]:
    """Return the parts of components and ties where every rival difference is at least 0.

    The last value is False when the budget or Ctrl-C ended it: parts may be missing.

    Guarantee: numerical (float64) at the ends where a third output takes over.
    """
    origin, directions = slice_of
    segments = [segment for component in components for segment in component.segments]
    kept: list[Component] = []
    whole = True
    if segments:
        starts = np.array([s.start for s in segments])
        steps = np.array([s.end for s in segments]) - starts
        strips, stopped = walk_lines(
            rivals, origin + starts @ directions.T, steps @ directions.T, (0.0, 1.0), clock
        )
        whole = bool(strips.done.all()) and not stopped
        spans = allowed_spans(strips, len(segments))
        cuts = [(k, a, b) for k, row in enumerate(spans) for a, b in row]
        places = [k for k, _, _ in cuts]
        low = np.array([starts[k] + a * steps[k] for k, a, _ in cuts]).reshape(-1, 2)
        high = np.array([starts[k] + b * steps[k] for k, _, b in cuts]).reshape(-1, 2)
        lines = np.array([segments[k].coefficients for k in places]).reshape(-1, 3)
        none = np.zeros(0, dtype=int)
        scale = float(np.abs(starts).max(initial=1.0))
        kept = polylines(FloatBoundary(low, high, lines, none, none), scale)[0]
    for component in components:
        if not component.segments:
            point = (origin + directions @ component.points[0])[None]
            strips, _ = walk_lines(rivals, point, np.ones_like(point), (0.0, 1e-300), clock)
            if not strips.done.all():
                whole = False
            elif (strips.forms[0, 1] >= 0).all():
                kept.append(component)
    parts = [part for tie in ties for part in _clipped_tie(rivals, slice_of, tie, clock)]
    return kept, parts, whole and not (ties and clock.over)


def _clipped_tie(
    rivals: Program, slice_of: tuple[Array, Array], tie: Array, clock: Clock
) -> list[Array]:
    """Return the parts of a polygon where every rival difference is at least 0."""
    box = Box(tuple(tie.min(axis=0)), tuple(tie.max(axis=0)))
    cells, _ = walk_plane(rivals, *slice_of, box, clock=clock, limit=np.inf)
    found = []
    for k in range(len(cells)):
        polygon = cells.corners(k)
        ring = np.roll(tie, -1, axis=0) - tie
        for corner, edge in zip(tie, ring, strict=True):
            polygon = _half(polygon, np.array([-edge[1], edge[0]]), corner)
        for form in cells.forms[k]:
            size = float(form[:2] @ form[:2])
            if size:
                polygon = _half(polygon, form[:2], -form[2] * form[:2] / size)
            elif form[2] < 0:
                polygon = polygon[:0]
        if len(polygon) >= 3 and _area(polygon) > 0:
            found.append(polygon)
    return found


def _area(polygon: Array) -> float:
    after = np.roll(polygon, -1, axis=0)
    return float((polygon[:, 0] * after[:, 1] - polygon[:, 1] * after[:, 0]).sum()) / 2


def _half(polygon: Array, normal: Array, through: Array) -> Array:
    """Return the part of a convex polygon with ``normal . (x - through) >= 0``."""
    values = (polygon - through) @ normal
    out = []
    for k, (p, z) in enumerate(zip(polygon, values, strict=True)):
        following = (k + 1) % len(polygon)
        q, w = polygon[following], values[following]
        if z >= 0:
            out.append(p)
        if z * w < 0:
            out.append(p + z / (z - w) * (q - p))
    return np.array(out).reshape(-1, 2)
