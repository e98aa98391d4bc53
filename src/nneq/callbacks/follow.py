"""The last epoch's curve moved onto the new boundary: a warm start for epochs short of time."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from nneq.api.framing import Slice
from nneq.boundary.results import Component
from nneq.ir import Network
from nneq.semantics.gradient import value_and_gradient

__all__ = ["followed"]

Array = np.ndarray[Any, Any]

_STEPS = 6
_STILL = 1e-12
_REACH = 0.25


def followed(
    network: Network, part: Slice, components: Sequence[Component]
) -> tuple[Component, ...]:
    """Return the components with every vertex moved onto ``g = 0`` by Newton's method.

    Vertices that do not arrive or move further than a quarter of the box's diagonal are dropped,
    and what leaves the box is cut off; a component that loses a part is no longer closed.  No new
    component is found and none is proven.

    Args:
        network: ``g``, one output of shape ``(1,)``.
        part: the slice and its box.
        components: the last known curve, in the free inputs.

    Guarantee: numerical.
    """
    kept = [c for c in components if len(c.points)]
    if not kept:
        return ()
    starts = np.concatenate([c.points for c in kept])
    moved, arrived = _newton(network, part, starts)
    low, high = np.array(part.box.low), np.array(part.box.high)
    good = arrived & (np.linalg.norm(moved - starts, axis=1) <= _REACH * np.linalg.norm(high - low))
    ends = np.cumsum([0, *(len(c.points) for c in kept)])
    found = []
    for component, (start, end) in zip(kept, itertools.pairwise(ends), strict=True):
        keep = good[start:end]
        points = moved[start:end][keep]
        if component.closed and len(points):
            points = np.vstack([points, points[:1]])
        for run in _inside(points, low, high):
            whole = component.closed and bool(keep.all()) and len(run) == len(points)
            found.append(Component(run[:-1] if whole else run, whole))
    return tuple(found)


def _inside(points: Array, low: Array, high: Array) -> list[Array]:
    """Return the parts of a polyline that lie in the box, cut at its edges."""
    runs: list[list[Array]] = [[]]
    for a, b in itertools.pairwise(points):
        # Liang-Barsky: the parameters at which the segment enters and leaves the box
        step = b - a
        with np.errstate(all="ignore"):
            first, second = (low - a) / step, (high - a) / step
        flat = step == 0
        enter = np.where(
            flat, np.where((a < low) | (a > high), 2.0, 0.0), np.minimum(first, second)
        )
        leave = np.where(flat, 1.0, np.maximum(first, second))
        start, end = max(0.0, float(enter.max())), min(1.0, float(leave.min()))
        if start > end:
            continue
        if start > 0 or not runs[-1]:
            runs.append([a + start * step])
        runs[-1].append(a + end * step)
        if end < 1:
            runs.append([])
    return [np.array(run) for run in runs if len(run) > 1]


def _newton(network: Network, part: Slice, starts: Array) -> tuple[Array, Array]:
    """Return the moved points ``(k, 2)`` and whether each one lies on the curve.

    Points that would move by rounding error alone stay where they are.
    """
    points = starts.copy()
    places = list(part.places)
    last = np.full(len(points), np.inf)
    scale = np.linalg.norm(np.array(part.box.high) - np.array(part.box.low))
    for _ in range(_STEPS):
        full = part.origin + points @ part.directions.T
        value, gradient = value_and_gradient(network, full)
        plane = gradient[:, places]
        size = (plane * plane).sum(axis=1)
        with np.errstate(all="ignore"):
            step = np.where(size > 0, value / size, np.nan)[:, None] * plane
        step = np.nan_to_num(step)
        points = points - step
        last = np.where(size > 0, np.linalg.norm(step, axis=1), np.inf)
        if last.max() <= 1e-8 * scale:  # the next step would be its square
            break
    still = np.linalg.norm(points - starts, axis=1) <= _STILL * scale
    points = np.where(still[:, None], starts, points)
    return points, last <= 1e-6 * scale
