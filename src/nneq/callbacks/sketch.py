"""The curve read off a grid of signs: every epoch afresh, so that nothing is carried along wrong.

Between two proven records an epoch is measured on the grid that the class areas need anyway.  The
signs at its nodes say which edges the curve crosses; each crossing is then found on its edge by
bracketing, so that no vertex can leave its place, no piece can fold back, and every curve ends at
the rim or closes.  What a grid cannot tell apart is refused instead of guessed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from nneq.api.framing import Slice
from nneq.boundary.results import Box, Component
from nneq.ir import Network

__all__ = ["CELLS", "agrees", "cell_points", "grid_axes", "grid_values", "sketched"]

Array = np.ndarray[Any, Any]

CELLS = 96
_ROUNDS = 6
_FEWEST = 12  # vertices of a closed component, which is then three cells wide
_LENGTHS = 0.05
_SMALL = 1e-10


def grid_axes(box: Box) -> tuple[Array, Array]:
    """Return the two axes of the grid: the centres of ``CELLS`` cells, and both ends."""
    middles = (np.arange(CELLS) + 0.5) / CELLS
    shares = np.concatenate([[0.0], middles, [1.0]])
    first, second = (
        low * (1 - shares) + high * shares for low, high in zip(box.low, box.high, strict=True)
    )
    return first, second


def grid_values(network: Network, part: Slice) -> Array:
    """Return ``g`` at every node of the grid, shape ``(CELLS + 2, CELLS + 2)``."""
    values = _at(network, part, _nodes(*grid_axes(part.box)))
    return values.reshape(CELLS + 2, CELLS + 2)


def cell_points(part: Slice) -> Array:
    """Return the centres of all cells as full inputs, shape ``(CELLS**2, n)``."""
    first, second = grid_axes(part.box)
    return np.asarray(part.origin + _nodes(first[1:-1], second[1:-1]) @ part.directions.T)


def _nodes(first: Array, second: Array) -> Array:
    """Return the points of a grid, the second input running faster."""
    across, up = np.meshgrid(first, second, indexing="ij")
    return np.stack([across.ravel(), up.ravel()], axis=1)


def _at(network: Network, part: Slice, points: Array) -> Array:
    return np.asarray(network(part.origin + points @ part.directions.T))[:, 0]


def sketched(
    network: Network, part: Slice, values: Array, last: Sequence[Component] = ()
) -> tuple[Component, ...] | None:
    """Return the curve as the grid sees it, or None where the grid is too coarse for it.

    It is too coarse where the signs around a cell alternate, where a strip is one node thin over
    three nodes, and for a closed component less than three cells wide.  What is thinner than a cell
    and lies between the nodes is not seen at all: compare with a proven curve (:func:`agrees`).

    Args:
        network: ``g``, one output of shape ``(1,)``.
        part: the slice and its box.
        values: ``g`` on the grid, from :func:`grid_values`.
        last: the curve of an epoch before: where the search for each vertex starts.

    Guarantee: numerical; the vertices lie on ``g = 0``, the topology is that of the grid.
    """
    signs = values > 0
    a, b, c, d = signs[:-1, :-1], signs[1:, :-1], signs[1:, 1:], signs[:-1, 1:]
    if ((a == c) & (b == d) & (a != b)).any() or _thin(signs) or _thin(signs.T):
        return None
    rows, columns = signs.shape
    # an edge is named by its first node, those along the second axis behind all the others
    nodes = np.arange(rows * columns).reshape(rows, columns)
    along, across = nodes[:-1], nodes[:, :-1] + nodes.size
    cells = np.argwhere((a != b) | (b != c) | (c != d))
    i, j = cells[:, 0], cells[:, 1]
    edges = np.stack([along[i, j], across[i + 1, j], along[i, j + 1], across[i, j]], axis=1)
    p, q, r, s = a[i, j], b[i, j], c[i, j], d[i, j]
    pairs = edges[np.stack([p != q, q != r, r != s, s != p], axis=1)].reshape(-1, 2)
    names, ends = np.unique(pairs, return_inverse=True)
    near = np.concatenate([c.points for c in last]) if last else np.zeros((0, 2))
    points = _crossings(network, part, values, names, near)
    found = [Component(points[line], closed) for line, closed in _lines(ends.reshape(-1, 2))]
    if any(component.closed and len(component.points) < _FEWEST for component in found):
        return None
    return tuple(found)


def _thin(signs: Array) -> bool:
    """Whether a strip along the second axis, straight or slanted, is one node thin over three."""
    alone = np.zeros_like(signs)
    alone[1:-1] = (signs[1:-1] != signs[:-2]) & (signs[1:-1] != signs[2:])
    for sign in (False, True):
        strip = alone & (signs == sign)
        near = strip.copy()
        near[1:] |= strip[:-1]
        near[:-1] |= strip[1:]
        if (strip[:, 1:-1] & near[:, :-2] & near[:, 2:]).any():
            return True
    return False


def _crossings(network: Network, part: Slice, values: Array, names: Array, near: Array) -> Array:
    """Return where ``g`` is zero on the named edges, whose ends differ in sign, ``(k, 2)``.

    Regula falsi with the Illinois weights: the zero stays between its bracketing ends.  The first
    guess is where the last curve, with vertices ``near``, passes the edge, if it does.
    """
    size, columns = values.size, values.shape[1]
    across = names >= size
    start = names - size * across
    end = start + np.where(across, 1, columns)
    axes = grid_axes(part.box)
    low, high = (
        np.stack([axes[0][n // columns], axes[1][n % columns]], axis=1) for n in (start, end)
    )
    left, right = np.zeros(len(names)), np.ones(len(names))
    f, g = values.ravel()[start], values.ravel()[end]
    share, side = left, np.zeros(len(names))
    small = _SMALL * np.minimum(np.abs(f), np.abs(g)).max(initial=0.0)
    h = f
    for k in range(_ROUNDS):
        share = np.clip(np.nan_to_num(left + f / (f - g) * (right - left), nan=0.5), left, right)
        if k == 0 and len(near):
            share = _passed(low, high, share, near)
        h = _at(network, part, low + share[:, None] * (high - low))
        new = np.where((h > 0) == (g > 0), 1.0, -1.0)  # which end the new point takes the place of
        weight = np.where(new == side, 0.5, 1.0)  # an end that stays twice counts half
        f, g = np.where(new > 0, weight * f, h), np.where(new > 0, h, weight * g)
        left, right = np.where(new > 0, left, share), np.where(new > 0, share, right)
        side = new
        if (np.abs(h) <= small).all():
            break
    return np.asarray(low + share[:, None] * (high - low))


def _passed(low: Array, high: Array, share: Array, near: Array) -> Array:
    """Return where on each edge its nearest vertex of the last curve lies; ``share`` if beyond."""
    step = high - low
    gaps = ((low + share[:, None] * step)[:, None] - near).astype(np.float32)
    vertex = near[(gaps * gaps).sum(axis=2).argmin(axis=1)]
    place = ((vertex - low) * step).sum(axis=1) / (step * step).sum(axis=1)
    return np.where((place > 0) & (place < 1), place, share)


def _lines(pairs: Array) -> list[tuple[list[int], bool]]:
    """Return the polylines that segments between numbered vertices make, and which are closed."""
    beside: dict[int, list[int]] = {}
    for a, b in pairs.tolist():
        beside.setdefault(a, []).append(b)
        beside.setdefault(b, []).append(a)
    found = []
    ends = [vertex for vertex, others in beside.items() if len(others) == 1]
    for start in [*ends, *beside]:
        if start not in beside:
            continue
        line, closed = [start], len(beside[start]) == 2
        ahead = beside.pop(start)
        while ahead:
            line.append(ahead[0])
            ahead = [vertex for vertex in beside.pop(ahead[0]) if vertex in beside]
        found.append((line, closed))
    return found


def agrees(sketch: Sequence[Component] | None, traced: Sequence[Component]) -> bool:
    """Whether the grid found what a trace found: components, closed ones, length to 5 %."""
    if sketch is None or len(sketch) != len(traced):
        return False
    if sum(c.closed for c in sketch) != sum(c.closed for c in traced):
        return False
    length = sum(c.length for c in traced)
    return abs(sum(c.length for c in sketch) - length) <= _LENGTHS * length
