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

from nneq.boundary.results import Component
from nneq.callbacks.section import Section

__all__ = ["agrees", "sketched"]

Array = np.ndarray[Any, Any]

_ROUNDS = 8
_FEWEST = 12  # vertices of a closed component, which is then three cells wide
_LENGTHS = 0.05
_SMALL = 1e-9  # of the larger end: a vertex is then off by as much of a cell


def sketched(section: Section, values: Array) -> tuple[Component, ...] | None:
    """Return the curve as the grid sees it, or None where the grid is too coarse for it.

    It is too coarse where the signs around a cell alternate, where a strip is one node thin over
    three nodes, and for a closed component less than three cells wide.  What is thinner than a cell
    and lies between the nodes is not seen at all: compare with a proven curve (:func:`agrees`).

    Args:
        section: ``g`` on the plane.
        values: ``g`` on the grid, from :meth:`Section.grid`.

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
    points = _crossings(section, values, names)
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


def _crossings(section: Section, values: Array, names: Array) -> Array:
    """Return where ``g`` is zero on the named edges, whose ends differ in sign, ``(k, 2)``.

    Inverse quadratic interpolation through the ends of the bracket and the point before, regula
    falsi with the Illinois weights where that would leave the bracket: the zero stays between its
    bracketing ends.
    """
    size, columns = values.size, values.shape[1]
    across = names >= size
    start = names - size * across
    end = start + np.where(across, 1, columns)
    axes = section.axes
    low, high = (
        np.stack([axes[0][n // columns], axes[1][n % columns]], axis=1) for n in (start, end)
    )
    step = high - low
    left, right = np.zeros(len(names)), np.ones(len(names))
    f, g = values.ravel()[start], values.ravel()[end]
    small = _SMALL * np.maximum(np.abs(f), np.abs(g))
    share = _secant(left, right, f, g)
    for _ in range(_ROUNDS):
        h = section(low + share[:, None] * step)
        if (np.abs(h) <= small).all():
            break
        # the new point takes the place of the end with its sign, which is remembered
        rises = (h > 0) == (g > 0)
        old, old_value = np.where(rises, right, left), np.where(rises, g, f)
        f, g = np.where(rises, f, h), np.where(rises, h, g)
        left, right = np.where(rises, left, share), np.where(rises, share, right)
        with np.errstate(all="ignore"):  # equal values: the guess is no number
            guess = (
                left * g / (f - g) * old_value / (f - old_value)
                + right * f / (g - f) * old_value / (g - old_value)
                + old * f / (old_value - f) * g / (old_value - g)
            )
        inside = (guess > left) & (guess < right)
        # where it is not: the end that stays counts half
        half_f, half_g = np.where(rises, 0.5 * f, f), np.where(rises, g, 0.5 * g)
        share = np.where(inside, guess, _secant(left, right, half_f, half_g))
    return np.asarray(low + share[:, None] * step)


def _secant(left: Array, right: Array, f: Array, g: Array) -> Array:
    with np.errstate(all="ignore"):
        share = left + f / (f - g) * (right - left)
    return np.asarray(np.clip(np.nan_to_num(share, nan=0.5), left, right))


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
