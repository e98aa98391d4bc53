r"""Regions of a plane in rational arithmetic: no sign is ever in doubt.

Corners are homogeneous integer points ``(x, y, w)``, forms are integers over a power of two.  Used
where rounding cannot decide (ties, boundaries along region edges, many units crossing in one
point), which is the normal case of networks with small integer weights.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from nneq.boundary.pwl.walk import Program
from nneq.boundary.results import Clock
from nneq.ir import network as ir
from nneq.semantics.pattern import split_inputs
from nneq.semantics.rational import ExactWeights, Scaled, homogeneous

__all__ = ["Corner", "ExactCell", "exact_cells", "point"]

Array = np.ndarray[Any, Any]
Corner = tuple[int, int, int]
Form = tuple[Fraction, Fraction, Fraction]


@dataclass(frozen=True)
class ExactCell:
    """One region: corners counter-clockwise, outputs ``a x + b y + c``.

    Args:
        corners: homogeneous, reduced, ``w > 0``.
        forms: one ``(a, b, c)`` per output.
        pattern: the piece number of every unit.
    """

    corners: tuple[Corner, ...]
    forms: tuple[Form, ...]
    pattern: bytes


def point(corner: Corner) -> tuple[Fraction, Fraction]:
    """Return the corner as two fractions."""
    return Fraction(corner[0], corner[2]), Fraction(corner[1], corner[2])


@dataclass(frozen=True, eq=False)
class _State:
    polys: list[list[Corner]]
    patterns: list[bytes]
    live: dict[int, Scaled]


def _between(p: Corner, zp: int, q: Corner, zq: int) -> Corner:
    """Return the point of the edge where the form is 0; ``zp`` and ``zq`` have opposite signs.

    A homogeneous value is the form's value times ``w``, so the weights need no further factor.
    """
    a, b = abs(zq), abs(zp)
    x, y, w = (a * u + b * v for u, v in zip(p, q, strict=True))
    common = math.gcd(math.gcd(x, y), w)
    return (x // common, y // common, w // common)


def _cut(poly: list[Corner], values: list[int]) -> tuple[list[Corner], list[Corner]]:
    left: list[Corner] = []
    right: list[Corner] = []
    for k, (p, z) in enumerate(zip(poly, values, strict=True)):
        following = (k + 1) % len(poly)
        q, v = poly[following], values[following]
        if z >= 0:
            left.append(p)
        if z <= 0:
            right.append(p)
        if (z > 0 > v) or (z < 0 < v):
            new = _between(p, z, q, v)
            left.append(new)
            right.append(new)
    return left, right


def _split(poly: list[Corner], rows: list[tuple[int, int, int]]) -> list[list[Corner]]:
    """Return the polygon cut by every row that strictly crosses it."""
    cells = [poly]
    for a, b, c in rows:
        following: list[list[Corner]] = []
        for cell in cells:
            values = [a * x + b * y + c * w for x, y, w in cell]
            if min(values) < 0 < max(values):
                following += _cut(cell, values)
            else:
                following.append(cell)
        cells = following
    return cells


def _corner_values(gaps: Array, poly: list[Corner]) -> Array:
    """Return values ``(corners, k, U)`` of forms ``(k, 3, U)``."""
    corners = np.array(poly, dtype=object).reshape(-1, 3, 1, 1)
    moved = gaps.transpose(1, 0, 2)[None]
    return np.asarray((corners * moved).sum(axis=1))


_SIGN = np.frompyfunc(lambda v: (v > 0) - (v < 0), 1, 1)


class _Walker:
    def __init__(
        self, program: Program, weights: ExactWeights, unit: int, clock: Clock, limit: int
    ) -> None:
        self.program, self.weights, self.unit = program, weights, unit
        self.clock, self.limit = clock, limit

    def over(self, state: _State) -> bool:
        return self.clock.over or len(state.polys) > self.limit

    def q(self, count: int) -> Array:
        return np.tile(np.array([0, 0, self.unit], dtype=object), count)

    def step(self, place: int, state: _State) -> _State:
        node = self.program.network.nodes[place]
        live = dict(state.live)
        count = len(state.polys)
        match node:
            case ir.Affine():
                args = [state.live[arg] for arg in node.args]
                live[place] = self.weights.affine(node, args, self.q(count))
            case ir.Constant():
                ints, shift = self.weights.of(node.value)
                live[place] = Scaled(self.q(count).reshape(-1, *(1,) * ints.ndim) * ints, shift)
            case ir.Elementwise():
                state = self.activate(place, node, state)
                live = state.live
            case _:
                pass
        for arg in set(node.args):
            if self.program.last[arg] == place:
                live.pop(arg, None)
        return _State(state.polys, state.patterns, live)

    def activate(self, place: int, node: ir.Elementwise, state: _State) -> _State:
        z = state.live[node.arg]
        count = len(state.polys)
        units = int(np.prod(node.shape))
        gaps = self.weights.gaps(node, z, self.q(count))
        gaps = gaps.reshape(len(gaps), count, 3, units)
        index: list[int] = []
        polys: list[list[Corner]] = []
        sides: list[Array] = []
        for n, poly in enumerate(state.polys):
            signs = np.asarray(_SIGN(_corner_values(gaps[:, n], poly))).astype(np.int8)
            hit = (signs.min(axis=0) < 0) & (signs.max(axis=0) > 0)
            rows = [
                (int(gaps[k, n, 0, u]), int(gaps[k, n, 1, u]), int(gaps[k, n, 2, u]))
                for k, u in zip(*np.nonzero(hit), strict=True)
            ]
            pieces = _split(poly, rows)
            base = signs.max(axis=0) > 0
            for piece in pieces:
                side = base.copy()
                if rows:
                    # A sum of the corners with positive weights is a point inside.
                    x, y, w = (sum(corner[i] for corner in piece) for i in range(3))
                    side[hit] = [a * x + b * y + c * w > 0 for a, b, c in rows]
                index.append(n)
                polys.append(piece)
                sides.append(side.sum(axis=0).astype(np.intp))
        live = {}
        pick = (3 * np.array(index)[:, None] + np.arange(3)).reshape(-1)
        for key, value in state.live.items():
            live[key] = Scaled(value.array[pick], value.shift)
        side = np.stack(sides).reshape(len(polys), *node.shape)
        moved = live[node.arg]
        live[place] = self.weights.on_pieces(
            node, moved, self.q(len(polys)), np.repeat(side, 3, axis=0)
        )
        patterns = [
            state.patterns[n] + s.astype(np.uint8).tobytes()
            for n, s in zip(index, sides, strict=True)
        ]
        return _State(polys, patterns, live)


def exact_cells(
    program: Program,
    origin: Sequence[Fraction],
    directions: Sequence[Sequence[Fraction]],
    corners: Sequence[tuple[Fraction, Fraction]],
    *,
    clock: Clock,
    limit: int,
    weights: ExactWeights | None = None,
) -> list[ExactCell] | None:
    """Return the regions on ``origin + x * directions[0] + y * directions[1]`` in a polygon.

    Args:
        program: the prepared network.
        origin: ``n`` fractions.
        directions: two times ``n`` fractions.
        corners: of the convex polygon, counter-clockwise.
        clock: the budget.
        limit: the largest number of regions.
        weights: converted weights to share between calls.

    Returns:
        The regions of full dimension, or None when the budget or the limit ended it.

    Guarantee: exact.
    """
    weights = weights or ExactWeights()
    flat, common = homogeneous([*directions[0], *directions[1], *origin])
    columns = flat.reshape(3, -1)
    live = {
        place: Scaled(value, 0) for place, value in split_inputs(program.network, columns).items()
    }
    start: list[Corner] = []
    for corner in corners:
        ints, w = homogeneous(corner)
        start.append((int(ints[0]), int(ints[1]), w))
    state = _State([start], [b""], live)
    walker = _Walker(program, weights, common, clock, limit)
    for place in range(len(program.network.nodes)):
        if walker.over(state):
            return None
        state = walker.step(place, state)
    if walker.over(state):
        return None
    clock.spend(len(state.polys))
    return _collect(program, state, common)


def _collect(program: Program, state: _State, common: int) -> list[ExactCell]:
    count = len(state.polys)
    rows = []
    for place in program.outputs:
        value = state.live[place]
        flat = value.array.reshape(count, 3, -1)
        denominator = common << value.shift
        rows.append(np.frompyfunc(lambda v, d=denominator: Fraction(int(v), d), 1, 1)(flat))
    forms = np.concatenate(rows, axis=2)
    return [
        ExactCell(
            tuple(state.polys[n]),
            tuple((forms[n, 0, m], forms[n, 1, m], forms[n, 2, m]) for m in range(forms.shape[2])),
            state.patterns[n],
        )
        for n in range(count)
    ]
