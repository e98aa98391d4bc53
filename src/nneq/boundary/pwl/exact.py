r"""One line through a piecewise-linear network in rational arithmetic.

Weights are integers over a power of two, so on every piece the outputs are ``a p + c q`` with
integer ``a`` and ``c``; only breakpoints are fractions.  No sign is ever in doubt: ties, units that
cross in one point and outputs that are equal on an interval come out exactly.
"""

from __future__ import annotations

import itertools
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

__all__ = ["ExactPiece", "Point", "exact_pieces", "fraction"]

Array = np.ndarray[Any, Any]
Point = tuple[int, int]

_STEP_WORK = 1 << 19  # products of whole numbers between two looks at the clock


@dataclass(frozen=True)
class ExactPiece:
    """``slope * t + intercept`` between two homogeneous points ``(p, q)``.

    Args:
        start: ``t = p / q``; ``(-1, 0)`` is minus infinity.
        end: the same.
        slope: one fraction per output.
        intercept: one fraction per output.
    """

    start: Point
    end: Point
    slope: tuple[Fraction, ...]
    intercept: tuple[Fraction, ...]


def fraction(point: Point) -> Fraction | None:
    """Return ``p / q``, or None at infinity."""
    return Fraction(point[0], point[1]) if point[1] else None


@dataclass(frozen=True, eq=False)
class _State:
    start: Array
    end: Array
    live: dict[int, Scaled]


_SIGN = np.frompyfunc(lambda v: (v > 0) - (v < 0), 1, 1)


def _signs(values: Array) -> Array:
    return np.asarray(_SIGN(values)).astype(np.int8)


def _at(forms: Array, points: Array) -> Array:
    """Return ``a p + c q`` for forms ``(..., N, 2, *shape)`` at points ``(N, 2)``."""
    tail = (1,) * (forms.ndim - 3)
    p = points[:, 0].reshape(1, -1, *tail)
    q = points[:, 1].reshape(1, -1, *tail)
    return np.asarray(forms[:, :, 0] * p + forms[:, :, 1] * q)


def _cut_points(gaps: Array, start: Array, end: Array) -> list[list[Point]]:
    """Return the breakpoints inside each piece, sorted, each once."""
    low, high = _signs(_at(gaps, start)), _signs(_at(gaps, end))
    found: list[set[Fraction]] = [set() for _ in range(len(start))]
    for place in zip(*np.nonzero(low * high < 0), strict=True):
        k, n, *rest = (int(v) for v in place)
        a, c = gaps[(k, n, 0, *rest)], gaps[(k, n, 1, *rest)]
        found[n].add(Fraction(-c, a))
    return [[(t.numerator, t.denominator) for t in sorted(points)] for points in found]


def _split(state: _State, cuts: list[list[Point]]) -> _State:
    if not any(cuts):
        return state
    index: list[int] = []
    start: list[Point] = []
    end: list[Point] = []
    for n, points in enumerate(cuts):
        first, last = tuple(state.start[n]), tuple(state.end[n])
        chain = [first, *points, last]
        for a, b in itertools.pairwise(chain):
            index.append(n)
            start.append(a)
            end.append(b)
    live = {
        k: Scaled(
            v.array.reshape(-1, 2, *v.array.shape[1:])[index].reshape(-1, *v.array.shape[1:]),
            v.shift,
        )
        for k, v in state.live.items()
    }
    return _State(_points(start), _points(end), live)


def _points(points: Sequence[Point]) -> Array:
    out = np.empty((len(points), 2), dtype=object)
    for k, point in enumerate(points):
        out[k, 0], out[k, 1] = point
    return out


def _affine(
    weights: ExactWeights, node: ir.Affine, args: Sequence[Scaled], q: Array, clock: Clock
) -> Scaled | None:
    """Return the exact layer a few pieces at a time, or None when the budget ends first."""
    work = math.prod(node.shape) * sum(max(1, term.map.fan_in) for term in node.terms)
    step = max(1, _STEP_WORK // max(1, work))
    parts: list[Scaled] = []
    for first in range(0, len(q), step):
        if clock.over:
            return None
        rows = slice(first, first + step)
        some = [Scaled(value.array[rows], value.shift) for value in args]
        parts.append(weights.affine(node, some, q[rows]))
    return Scaled(np.concatenate([part.array for part in parts]), parts[0].shift)


def _step(
    program: Program, weights: ExactWeights, place: int, state: _State, unit: int, clock: Clock
) -> _State | None:
    """Return the state after one node, or None when the budget ends first."""
    node = program.network.nodes[place]
    live = dict(state.live)
    count = len(state.start)
    q = np.tile(np.array([0, unit], dtype=object), count)
    match node:
        case ir.Affine():
            made = _affine(weights, node, [state.live[a] for a in node.args], q, clock)
            if made is None:
                return None
            live[place] = made
        case ir.Constant():
            ints, shift = weights.of(node.value)
            live[place] = Scaled(q.reshape(-1, *(1,) * ints.ndim) * ints, shift)
        case ir.Elementwise():
            gaps = weights.gaps(node, state.live[node.arg], q)
            gaps = gaps.reshape(len(gaps), count, 2, *node.shape)
            state = _split(state, _cut_points(gaps, state.start, state.end))
            live = dict(state.live)
            count = len(state.start)
            q = np.tile(np.array([0, unit], dtype=object), count)
            z = state.live[node.arg]
            gaps = weights.gaps(node, z, q).reshape(-1, count, 2, *node.shape)
            # The mediant (p0 + p1, q0 + q1) lies inside; forms are linear in (p, q).
            inside = _signs(_at(gaps, state.start + state.end))
            side = (inside > 0).sum(axis=0).astype(np.intp)
            both = np.repeat(side, 2, axis=0)
            live[place] = weights.on_pieces(node, z, q, both)
        case _:
            pass
    for arg in set(node.args):
        if program.last[arg] == place:
            live.pop(arg, None)
    return _State(state.start, state.end, live)


def exact_pieces(
    program: Program,
    origin: Sequence[Fraction],
    direction: Sequence[Fraction],
    domain: tuple[Point, Point],
    clock: Clock,
    weights: ExactWeights | None = None,
) -> list[ExactPiece] | None:
    """Return the pieces of the outputs on ``origin + t * direction``, merged where they are one.

    Args:
        program: the prepared network.
        origin: ``n`` fractions.
        direction: ``n`` fractions.
        domain: homogeneous ends; ``((-1, 0), (1, 0))`` is the whole line.
        clock: the budget.
        weights: converted weights to share between calls.

    Returns:
        The pieces in order, or None when the budget ended first.

    Guarantee: exact.
    """
    weights = weights or ExactWeights()
    both, common = homogeneous([*direction, *origin])
    n = len(direction)
    columns = np.stack([both[:n], both[n:]])
    ends = [domain[0], domain[1]]
    if ends[0][1] == 0 and ends[1][1] == 0:
        ends.insert(1, (0, 1))
    pieces = len(ends) - 1
    start, end = _points(ends[:-1]), _points(ends[1:])
    # The inputs are (direction p + origin q) / common: constants count in units of 1 / common.
    live = {}
    for place, value in split_inputs(program.network, columns).items():
        live[place] = Scaled(np.concatenate([value] * pieces), 0)
    state = _State(start, end, live)
    for place in range(len(program.network.nodes)):
        if clock.over:
            return None
        found = _step(program, weights, place, state, common, clock)
        if found is None:
            return None
        state = found
    clock.spend(len(state.start))
    return _collect(program, state, common)


def _collect(program: Program, state: _State, scale: int) -> list[ExactPiece]:
    count = len(state.start)
    rows: list[Array] = []
    for place in program.outputs:
        value = state.live[place]
        flat = value.array.reshape(count, 2, -1)
        denominator = scale << value.shift
        rows.append(np.frompyfunc(lambda v, d=denominator: Fraction(int(v), d), 1, 1)(flat))
    forms = np.concatenate(rows, axis=2)
    found: list[ExactPiece] = []
    for n in range(count):
        slope, intercept = tuple(forms[n, 0]), tuple(forms[n, 1])
        start: Point = (int(state.start[n, 0]), int(state.start[n, 1]))
        end: Point = (int(state.end[n, 0]), int(state.end[n, 1]))
        last = found[-1] if found else None
        if last is not None and last.slope == slope and last.intercept == intercept:
            found[-1] = ExactPiece(last.start, end, slope, intercept)
        else:
            found.append(ExactPiece(start, end, slope, intercept))
    return found


def is_finite(point: Point) -> bool:
    """Return whether the point is not at infinity."""
    return point[1] != 0


def as_float(point: Point) -> float:
    """Return ``p / q`` as the nearest float64; infinities as such."""
    if point[1] == 0:
        return math.copysign(math.inf, point[0])
    return float(Fraction(point[0], point[1]))
