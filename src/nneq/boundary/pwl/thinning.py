r"""Fewer points for the layers to come, where these cannot make the difference count.

From a node on, an error of norm ``d`` changes the outputs by at most ``gain * d``, the product of
the spectral norms of what follows.  Early in a deep network the gain is hopeless, in its last
stages it is small, so that most points that the early layers needed can be dropped there: the true
tensor is then further from the longer chord, by a distance that is computed, not estimated.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from nneq.boundary.pwl.points import Stretch, Values
from nneq.boundary.pwl.spectral import norm
from nneq.boundary.pwl.walk import Program
from nneq.ir import network as ir

__all__ = ["checkpoints", "gains", "thinned"]

Array = np.ndarray[Any, Any]
_UP = 1 + 1e-9
_ROUNDING = 2.0**-48


def gains(program: Program) -> dict[int, float]:
    """Return for every node a Lipschitz constant of the outputs in the node's value.

    Guarantee: certified up to rounding (it only chooses what is dropped and never proves).
    """
    found = dict.fromkeys(program.outputs, 1.0)
    nodes = program.network.nodes
    for place in range(len(nodes) - 1, -1, -1):
        node, own = nodes[place], found.get(place, 0.0)
        if isinstance(node, ir.Affine):
            for term in node.terms:
                part = own
                for stage in term.map.stages():
                    part *= norm(stage)
                found[term.arg] = found.get(term.arg, 0.0) + part
        elif isinstance(node, ir.Elementwise):
            steepest = float(np.abs(program.tables[place].slopes).max(initial=0.0))
            found[node.arg] = found.get(node.arg, 0.0) + own * steepest
    return found


def checkpoints(program: Program) -> frozenset[int]:
    """Return the nodes before which a single tensor is alive, the value of a unit layer."""
    nodes = program.network.nodes
    found = set()
    for place in range(1, len(nodes)):
        live = [k for k, last in program.last.items() if k < place <= last]
        if len(live) == 1 and isinstance(nodes[live[0]], ir.Elementwise):
            found.add(place)
    return frozenset(found)


def thinned(stretch: Stretch, place: int, tolerance: float) -> tuple[Stretch, Array, float]:
    """Return a stretch with fewer points whose new error is at most ``tolerance`` larger.

    Args:
        stretch: three points or more, with one live tensor.
        place: the node of the live tensor.
        tolerance: in the Euclidean norm of the tensor.

    Returns:
        The stretch, the places of its points in the old one, and the error that was added.
    """
    values = stretch.live[place]
    count = len(stretch)
    if not _worthwhile(stretch, values, tolerance):
        return stretch, np.arange(count), 0.0
    ends, charges, _ = _merged(stretch.t, values, 0, count - 1, tolerance)
    index, added = np.array([0, *ends]), np.array(charges)
    both = np.maximum(np.append(added, 0.0), np.append(0.0, added))
    few = stretch.rows(index)
    value = few.live[place]
    live = {place: Values(value.at, (value.error + both) * _UP, value.size)}
    return Stretch(few.t, live), index, float(added.max())


def _merged(
    t: Array, values: Values, begin: int, end: int, tolerance: float
) -> tuple[list[int], list[float], bool]:
    """Return the ends of the chords between two points, their errors, and whether it is one."""
    if end - begin == 1:
        return [end], [0.0], True
    middle = (begin + end) // 2
    ends, charges, left = _merged(t, values, begin, middle, tolerance)
    others, more, right = _merged(t, values, middle, end, tolerance)
    if left and right:
        charge = _distance(t, values, begin, end)
        if charge <= tolerance:
            return [end], [charge], True
    return ends + others, charges + more, False


def _worthwhile(stretch: Stretch, values: Values, tolerance: float) -> bool:
    """Whether one of a few places would bear a dropped point."""
    last = len(stretch) - 2
    places = {1, last, *(1 + (last * k) // 5 for k in range(1, 5))} if last > 0 else set()
    return any(
        _distance(stretch.t, values, k - 1, k + 1) <= tolerance for k in places if 1 <= k <= last
    )


def _distance(t: Array, values: Values, begin: int, end: int) -> float:
    """Return a bound of how much larger the error is on the chord from ``begin`` to ``end``.

    The distance from the chord is convex between two points, so that its largest value lies at one.
    """
    if end - begin == 1:
        return 0.0
    inner = slice(begin + 1, end)
    share = (t[inner] - t[begin]) / (t[end] - t[begin])
    at = values.at
    first, last = at[begin].reshape(1, -1), at[end].reshape(1, -1)
    away = at[inner].reshape(end - begin - 1, -1) - first
    away -= share.astype(at.dtype)[:, None] * (last - first)
    distance = np.sqrt(np.einsum("ki,ki->k", away, away).astype(np.float64)) * _UP
    sizes = values.size[begin] + values.size[end] + values.size[inner]
    chord = (1 - share) * values.error[begin] + share * values.error[end]
    larger = np.maximum(0.0, values.error[inner] - chord * (1 - 1e-9))
    return float((distance + larger + _ROUNDING * sizes).max()) * _UP
