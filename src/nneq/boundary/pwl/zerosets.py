"""The zero set of one output on exact regions of any dimension: facets, ties, what is thinner.

The zero set of a function that is affine on every region is the union of the cuts through regions
in which the sign changes, of common facets of regions on which it is 0, of whole regions (ties),
and of faces of lower dimension (edges, points) that nothing of this touches.  What borders a tie
belongs to it: pieces are the part of the zero set outside the closed ties.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import flint
import numpy as np

from nneq.boundary.pwl.polytopes import Arrangement, edges_between
from nneq.boundary.pwl.walk import Program
from nneq.ir import network as ir
from nneq.semantics.pattern import split_inputs
from nneq.semantics.rational import ExactWeights, Scaled, homogeneous

__all__ = ["ZeroSet", "exact_forms", "ring", "zero_set"]

Array = np.ndarray[Any, Any]
Form = tuple[Fraction, ...]


@dataclass(frozen=True, eq=False)
class ZeroSet:
    """Where one output is 0 in a box, exactly.

    Args:
        points: the vertices of the regions, then those where edges cross the zero set;
            homogeneous ``(x_1, ..., x_d, w)``.
        pieces: the vertices of every piece, in order around it where ``d`` is 3.
        cells: the region of each piece: the one it cuts, or one that it borders.
        inner: whether each piece cuts through its region; else it is a facet of it.
        ties: the regions on which the output is 0 everywhere.
        isolated: the vertices of zero faces of lower dimension that meet no piece and no tie
            with all their points.
    """

    points: list[tuple[int, ...]]
    pieces: tuple[tuple[int, ...], ...]
    cells: tuple[int, ...]
    inner: tuple[bool, ...]
    ties: tuple[int, ...]
    isolated: tuple[tuple[int, ...], ...]


def ring(tights: dict[int, int]) -> tuple[int, ...]:
    """Return the vertices of a polygon in order around it, from the constraints tight at each."""
    beside: dict[int, list[int]] = defaultdict(list)
    names = list(tights)
    for k, p in enumerate(names):
        for _, q, _ in edges_between(tights, [p], names[k + 1 :], 1):
            beside[p].append(q)
            beside[q].append(p)
    order = [names[0]]
    before = None
    while len(order) < len(names):
        last = order[-1]
        following = [v for v in beside[last] if v != before]
        before = last
        order.append(following[0])
    return tuple(order)


class _Crossings:
    """The points where edges meet the zero set; neighbouring regions share them."""

    def __init__(self, found: Arrangement, values: Array, others: Array | None) -> None:
        self.points, self.tight = list(found.points), list(found.tight)
        self.values = [int(v) for v in values]
        self.others = None if others is None else list(others)
        self.known: dict[tuple[int, int], int] = {}

    def between(self, p: int, q: int, common: int) -> int:
        key = (min(p, q), max(p, q))
        if key not in self.known:
            a, b = abs(self.values[q]), abs(self.values[p])
            point = [a * u + b * v for u, v in zip(self.points[p], self.points[q], strict=True)]
            factor = math.gcd(*point)
            self.known[key] = len(self.points)
            self.points.append(tuple(v // factor for v in point))
            self.tight.append(common)
            if self.others is not None:
                self.others.append(a * self.others[p] + b * self.others[q])
        return self.known[key]

    def allowed(self, vertices: Iterable[int]) -> bool:
        """Whether no third output is larger at any of the vertices."""
        return self.others is None or all(bool((self.others[v] >= 0).all()) for v in vertices)


def _spans_facet(points: Sequence[tuple[int, ...]], d: int) -> bool:
    """Whether homogeneous points of a proper face span a hyperplane."""
    return len(points) >= d and flint.fmpz_mat([list(p) for p in points]).rank() == d


def zero_set(found: Arrangement, row: int = 0, others: Array | None = None) -> ZeroSet:
    """Return the zero set of output ``row``.

    Args:
        found: exact regions.
        row: which output.
        others: functions ``(V, k)`` at the vertices, affine and of one sign on every region; only
            what lies where none is negative is returned.

    Guarantee: exact.
    """
    d = len(found.points[0]) - 1
    made = _Crossings(found, found.values[:, row], others)
    sign = [(v > 0) - (v < 0) for v in made.values]
    pieces: dict[frozenset[int], tuple[tuple[int, ...], int, bool]] = {}
    ties: list[int] = []
    # What may cover a thinner zero face: vertex sets of larger parts of the zero set.
    closed: list[frozenset[int]] = []
    facets: dict[frozenset[int], int] = {}
    thin: dict[frozenset[int], int] = {}
    for number, cell in enumerate(found.cells):
        zero = [v for v in cell if sign[v] == 0]
        plus = [v for v in cell if sign[v] > 0]
        minus = [v for v in cell if sign[v] < 0]
        if plus and minus:
            tights = {v: made.tight[v] for v in cell}
            cut = [*zero]
            cut += [made.between(*edge) for edge in edges_between(tights, plus, minus, d - 1)]
            if made.allowed(cut):
                around = ring({v: made.tight[v] for v in cut}) if d == 3 else tuple(cut)
                pieces[frozenset(cut)] = (around, number, True)
            continue
        if not zero or not made.allowed(zero):
            continue
        face = frozenset(zero)
        if not plus and not minus:
            ties.append(number)
            closed.append(face)
        elif _spans_facet([found.points[v] for v in zero], d):
            facets.setdefault(face, number)
        else:
            thin.setdefault(face, number)
    cover = _Cover(closed)
    for face, number in facets.items():
        if not cover.holds(face):
            tights = {v: made.tight[v] for v in sorted(face)}
            pieces[face] = (ring(tights) if d == 3 else tuple(sorted(face)), number, False)
    cover = _Cover([*closed, *pieces, *thin])
    isolated = [tuple(sorted(face)) for face in thin if not cover.holds(face, proper=True)]
    return ZeroSet(
        made.points,
        tuple(piece[0] for piece in pieces.values()),
        tuple(piece[1] for piece in pieces.values()),
        tuple(piece[2] for piece in pieces.values()),
        tuple(ties),
        tuple(isolated),
    )


class _Cover:
    """Vertex sets by vertex, to ask whether one of them holds a face."""

    def __init__(self, sets: Iterable[frozenset[int]]) -> None:
        self.at: dict[int, list[frozenset[int]]] = defaultdict(list)
        for vertices in sets:
            for v in vertices:
                self.at[v].append(vertices)

    def holds(self, face: frozenset[int], *, proper: bool = False) -> bool:
        some = min(face, key=lambda v: len(self.at[v]))
        return any(face <= s and not (proper and face == s) for s in self.at[some])


def exact_forms(
    program: Program,
    slice_of: tuple[Array, Array],
    inside: Sequence[tuple[int, ...]],
    weights: ExactWeights | None = None,
) -> list[tuple[Form, ...]]:
    """Return the outputs' forms on the regions that hold the given points.

    Args:
        program: the prepared network.
        slice_of: ``origin`` ``(n,)`` and ``directions`` ``(n, d)``.
        inside: homogeneous points ``(x_1, ..., x_d, w)``.
        weights: converted weights to share between calls.

    Returns:
        For every point one form ``(a_1, ..., a_d, c)`` for each output.

    Guarantee: exact; where a point lies on a threshold, on the piece to the left of it.
    """
    weights = weights or ExactWeights()
    origin, directions = slice_of
    count, d = len(inside), directions.shape[1]
    columns = np.concatenate([directions.T, origin[None]])
    whole, common = homogeneous([Fraction(float(v)) for v in columns.reshape(-1)])
    wide = np.tile(whole.reshape(d + 1, -1), (count, 1))
    live = {k: Scaled(v, 0) for k, v in split_inputs(program.network, wide).items()}
    q = np.tile(np.array([*[0] * d, common], dtype=object), count)
    ahead = np.array([list(p) for p in inside], dtype=object).reshape(1, count, d + 1, 1)
    for place, node in enumerate(program.network.nodes):
        match node:
            case ir.Affine():
                live[place] = weights.affine(node, [live[arg] for arg in node.args], q)
            case ir.Constant():
                ints, shift = weights.of(node.value)
                live[place] = Scaled(q.reshape(-1, *(1,) * ints.ndim) * ints, shift)
            case ir.Elementwise():
                units = int(np.prod(node.shape))
                gaps = weights.gaps(node, live[node.arg], q).reshape(-1, count, d + 1, units)
                side = ((gaps * ahead).sum(axis=2) > 0).sum(axis=0).astype(np.intp)
                side = np.repeat(side.reshape(count, *node.shape), d + 1, axis=0)
                live[place] = weights.on_pieces(node, live[node.arg], q, side)
            case _:
                pass
        for arg in set(node.args):
            if program.last[arg] == place:
                live.pop(arg, None)
    forms: list[list[Form]] = [[] for _ in inside]
    for place in program.outputs:
        value = live[place]
        flat = value.array.reshape(count, d + 1, -1)
        below = common << value.shift
        for k in range(count):
            for m in range(flat.shape[2]):
                forms[k].append(tuple(Fraction(int(v), below) for v in flat[k, :, m]))
    return [tuple(rows) for rows in forms]
