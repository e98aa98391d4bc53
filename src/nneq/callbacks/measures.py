"""Numbers that say how a boundary moved from one epoch to the next.

All of them are numerical: distances are taken between polylines sampled at a stated spacing, areas
on a grid of cell centres.  What is proven (components, roots) comes from the engines.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from scipy.spatial import cKDTree

from nneq.boundary.results import Box, Component

__all__ = [
    "Move",
    "Outline",
    "changed_share",
    "diagonal",
    "move",
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


class Outline:
    """A curve that distances are measured to, sampled at 1/400 of the box's diagonal.

    What costs time is made when it is first asked for, and kept: the curve of one epoch is the
    earlier one of the next.

    Args:
        components: the curve.
        box: its box.
    """

    def __init__(self, components: Sequence[Component], box: Box) -> None:
        """Sample the components that have points."""
        self.size = diagonal(box)
        kept = [c for c in components if len(c.points)]
        self.clouds = [sampled(c.points, c.closed, self.size * _SPACING) for c in kept]

    @cached_property
    def cloud(self) -> Array:
        """All samples, shape ``(k, 2)``."""
        return np.concatenate(self.clouds)

    @cached_property
    def _tree(self) -> cKDTree:
        return cKDTree(self.cloud, balanced_tree=False, compact_nodes=False)

    @cached_property
    def _owners(self) -> Array:
        """The component of every sample."""
        return np.repeat(np.arange(len(self.clouds)), [len(cloud) for cloud in self.clouds])

    @cached_property
    def _beside(self) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
        """The steps from every sample to the one before and the one after, and their squares."""
        before = np.concatenate([np.vstack([c[:1], c[:-1]]) for c in self.clouds]) - self.cloud
        after = np.concatenate([np.vstack([c[1:], c[-1:]]) for c in self.clouds]) - self.cloud
        return (before, _squares(before)), (after, _squares(after))

    def distances(self, points: Array) -> tuple[Array, Array]:
        """Return the distances of points to the curve, and the component each is nearest to.

        The distance to the nearest sample and to the segments beside it.
        """
        gaps, nearest = self._tree.query(points)
        best = gaps * gaps
        away = points - self.cloud[nearest]
        for steps, sizes in self._beside:
            step, size = steps[nearest], sizes[nearest]
            share = np.einsum("ij,ij->i", away, step) / np.where(size > 0, size, 1.0)
            share = np.minimum(np.maximum(share, 0.0), 1.0)
            best = np.minimum(best, _squares(away - share[:, None] * step))
        return np.sqrt(best), self._owners[nearest]


def _squares(vectors: Array) -> Array:
    return np.asarray(np.einsum("ij,ij->i", vectors, vectors))


@dataclass(frozen=True)
class Move:
    """How a curve moved from one epoch to the next.

    Args:
        shift: the Hausdorff distance, in input units; both curves empty: 0; one of them empty: the
            box's diagonal, the largest distance there is.  The sampling bounds the error.
        events: how many components appeared, vanished, split and merged.
    """

    shift: float
    events: dict[str, int]


def move(old: Outline, new: Outline) -> Move:
    """Return how a curve moved.

    For the events a component is linked to the one that most of it is nearest to, if it is a
    quarter of the box's diagonal away at most, on average; groups of linked components are then one
    to one, one to many (split) or many to one (merged).  A heuristic for display, not a proof.
    """
    links: set[tuple[int, int]] = set()
    shift = 0.0 if len(old.clouds) == len(new.clouds) == 0 else new.size
    if old.clouds and new.clouds:
        there, near_new = new.distances(old.cloud)
        back, near_old = old.distances(new.cloud)
        shift = float(max(there.max(), back.max()))
        links = {(k, j) for k, j in _links(old, there, near_new, _LINK * new.size)}
        links |= {(j, k) for k, j in _links(new, back, near_old, _LINK * new.size)}
    found = {"appeared": 0, "vanished": 0, "split": 0, "merged": 0}
    found["vanished"] = len(old.clouds) - len({i for i, _ in links})
    found["appeared"] = len(new.clouds) - len({j for _, j in links})
    for group_old, group_new in _groups(links):
        found["split"] += max(0, len(group_new) - len(group_old))
        found["merged"] += max(0, len(group_old) - len(group_new))
    return Move(shift, found)


def _links(source: Outline, gaps: Array, nearest: Array, most: float) -> list[tuple[int, int]]:
    """Return which component of the other curve belongs to each of these."""
    found, first = [], 0
    for k, cloud in enumerate(source.clouds):
        part = slice(first, first + len(cloud))
        first = part.stop
        if gaps[part].mean() <= most:
            found.append((k, int(np.bincount(nearest[part]).argmax())))
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


def point_distances(points: Array, curve: Outline) -> Array:
    """Return every point's distance to the curve (inf without a curve), shape ``(k,)``."""
    return curve.distances(points)[0] if curve.clouds else np.full(len(points), np.inf)
