"""Numbers that say how a boundary moved from one epoch to the next.

All of them are numerical: distances are taken between polylines sampled at a stated spacing, areas
on a grid of cell centres.  What is proven (components, roots) comes from the engines.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.spatial import cKDTree

from nneq.boundary.results import Box, Component

__all__ = [
    "changed_share",
    "diagonal",
    "events",
    "hausdorff",
    "point_distances",
    "sampled",
]

Array = np.ndarray[Any, Any]

_SPACING = 1 / 400
_LINK = 0.25


def diagonal(box: Box) -> float:
    """Return the length of a box's diagonal, in input units."""
    return math.dist(box.low, box.high)


def sampled(points: Array, closed: bool, spacing: float) -> Array:
    """Return a polyline's vertices with points added so that none are further apart.

    Args:
        points: vertices, shape ``(k, 2)``.
        closed: whether the last vertex is joined to the first.
        spacing: largest distance between neighbours, in input units.
    """
    ring = np.vstack([points, points[:1]]) if closed and len(points) > 1 else points
    steps = np.diff(ring, axis=0)
    counts = np.maximum(1, np.ceil(np.linalg.norm(steps, axis=1) / spacing)).astype(int)
    first = np.repeat(np.cumsum(counts) - counts, counts)
    shares = (np.arange(len(first)) - first) / np.repeat(counts, counts)
    inner = np.repeat(ring[:-1], counts, axis=0) + shares[:, None] * np.repeat(
        steps, counts, axis=0
    )
    return np.concatenate([inner, ring[-1:]])


def _cloud(components: Sequence[Component], spacing: float) -> Array:
    clouds = [sampled(c.points, c.closed, spacing) for c in components if len(c.points)]
    return np.concatenate(clouds) if clouds else np.zeros((0, 2))


class _Target:
    """A curve that distances are measured to: the nearest sample and the segments beside it."""

    def __init__(self, components: Sequence[Component], spacing: float) -> None:
        clouds = [sampled(c.points, c.closed, spacing) for c in components if len(c.points)]
        self.cloud = np.concatenate(clouds)
        self._before = np.concatenate([np.vstack([c[:1], c[:-1]]) for c in clouds])
        self._after = np.concatenate([np.vstack([c[1:], c[-1:]]) for c in clouds])
        self._tree = cKDTree(self.cloud)

    def distances(self, points: Array) -> Array:
        gaps, nearest = self._tree.query(points)
        here = self.cloud[nearest]
        for there in (self._before[nearest], self._after[nearest]):
            step = there - here
            size = (step * step).sum(axis=1)
            share = ((points - here) * step).sum(axis=1) / np.where(size > 0, size, 1.0)
            foot = here + np.clip(share, 0.0, 1.0)[:, None] * step
            gaps = np.minimum(gaps, np.linalg.norm(points - foot, axis=1))
        return np.asarray(gaps)


def hausdorff(old: Sequence[Component], new: Sequence[Component], box: Box) -> float:
    """Return the Hausdorff distance of two curves, in input units.

    Both empty: 0.  One empty: the box's diagonal, the largest distance there is.
    The polylines are sampled at 1/400 of the diagonal, which bounds the error.
    """
    size = diagonal(box)
    old, new = ([c for c in curve if len(c.points)] for curve in (old, new))
    if not old and not new:
        return 0.0
    if not old or not new:
        return size
    first, second = (_Target(curve, size * _SPACING) for curve in (old, new))
    there, back = second.distances(first.cloud), first.distances(second.cloud)
    return float(max(there.max(), back.max()))


def events(old: Sequence[Component], new: Sequence[Component], box: Box) -> dict[str, int]:
    """Return how many components appeared, vanished, split and merged.

    A component is linked to the one nearest to it (mean distance, at most a quarter of the box's
    diagonal); groups of linked components are then one to one, one to many (split) or many to one
    (merged).  A heuristic for display, not a proof.
    """
    size = diagonal(box)
    clouds = [[_cloud([c], size * _SPACING) for c in curve] for curve in (old, new)]
    links: set[tuple[int, int]] = set()
    for swap in (False, True):
        sources, targets = clouds[::-1] if swap else clouds
        trees = [cKDTree(target) for target in targets]
        for k, cloud in enumerate(sources):
            gaps = [float(tree.query(cloud)[0].mean()) for tree in trees]
            if gaps and min(gaps) <= _LINK * size:
                j = int(np.argmin(gaps))
                links.add((j, k) if swap else (k, j))
    found = {"appeared": 0, "vanished": 0, "split": 0, "merged": 0}
    found["vanished"] = len(old) - len({i for i, _ in links})
    found["appeared"] = len(new) - len({j for _, j in links})
    for group_old, group_new in _groups(links):
        found["split"] += max(0, len(group_new) - len(group_old))
        found["merged"] += max(0, len(group_old) - len(group_new))
    return found


def _groups(links: set[tuple[int, int]]) -> list[tuple[set[int], set[int]]]:
    """Return the connected groups of a bipartite graph."""
    groups: list[tuple[set[int], set[int]]] = []
    for i, j in sorted(links):
        touching = [g for g in groups if i in g[0] or j in g[1]]
        merged = ({i}.union(*(g[0] for g in touching)), {j}.union(*(g[1] for g in touching)))
        groups = [g for g in groups if g not in touching]
        groups.append(merged)
    return groups


def changed_share(old: Array | None, new: Array) -> float:
    """Return the share of grid cells whose class changed; 1 when there is no earlier epoch."""
    return 1.0 if old is None else float((old != new).mean())


def point_distances(points: Array, components: Sequence[Component], box: Box) -> Array:
    """Return every point's distance to the curve (inf without a curve), shape ``(k,)``."""
    kept = [c for c in components if len(c.points)]
    if not kept:
        return np.full(len(points), np.inf)
    return _Target(kept, diagonal(box) * _SPACING).distances(points)
