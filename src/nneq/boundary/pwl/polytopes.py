r"""Linear regions in any number of inputs in rational arithmetic: no sign is ever in doubt.

A region is nothing but the list of its vertices.  A vertex is a homogeneous integer point
``(x_1, ..., x_d, w)`` with the set of box sides and thresholds that hold with equality there, one
bit each.  Two vertices of a polytope span an edge exactly when no third vertex satisfies every
constraint that is tight at both; this holds for any polytope, also where more than ``d`` facets
meet in a vertex, and redundant constraints do no harm.  So no degeneracy needs a case of its own,
and flat regions cannot arise: a threshold cuts a region only if vertices lie strictly on both
sides of it.

The network is continuous, so every value belongs to a vertex, whichever region asks for it: each
vertex is evaluated once, and neighbours cut their common faces in the same points.

References:
    Fukuda and Prodon 1996, "Double description method revisited", propositions 5 and 7 (adjacency).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import product
from typing import Any

import numpy as np

from nneq.boundary.pwl.regions2d import growth, too_many
from nneq.boundary.pwl.walk import Program
from nneq.boundary.results import Box, Clock
from nneq.ir import network as ir
from nneq.ir.forward import forward
from nneq.semantics.pattern import split_inputs
from nneq.semantics.rational import ExactWeights, Rational, Scaled, homogeneous

__all__ = ["Arrangement", "edges_between", "exact_arrangement"]

Array = np.ndarray[Any, Any]
_LOOK = 64  # regions between two looks at the clock
_SIGN = np.frompyfunc(lambda v: (v > 0) - (v < 0), 1, 1)


@dataclass(eq=False)
class Arrangement:
    """All regions of a box, exactly.

    Args:
        points: vertices ``(x_1, ..., x_d, w)``, reduced, ``w > 0``.
        tight: the constraints that hold with equality at each vertex: bits ``2 k`` and ``2 k + 1``
            are the low and the high end of input ``k``, then one for every threshold.
        cells: the vertices of each region.
        patterns: the piece number of every unit, for each region.
        values: outputs at the vertices, integers ``(V, m)``, each a positive multiple of the value.
    """

    points: list[tuple[int, ...]]
    tight: list[int]
    cells: list[tuple[int, ...]]
    patterns: list[bytes]
    values: Array = field(default_factory=lambda: np.zeros((0, 0), dtype=object))

    @property
    def coordinates(self) -> Array:
        """The vertices rounded to float64, shape ``(V, d)``."""
        return np.array([[v / p[-1] for v in p[:-1]] for p in self.points])

    def middle(self, cell: int) -> tuple[int, ...]:
        """Return a homogeneous point strictly inside a region."""
        return tuple(map(sum, zip(*(self.points[v] for v in self.cells[cell]), strict=True)))


def edges_between(
    tights: dict[int, int], first: Sequence[int], second: Sequence[int], least: int
) -> list[tuple[int, int, int]]:
    """Return the edges of a polytope from one set of its vertices to another.

    Args:
        tights: for **every** vertex of the polytope the constraints that are tight there.
        first: some of the vertices.
        second: others.
        least: the constraints that an edge needs: ``d - 1`` for ``d`` dimensions.

    Returns:
        ``(p, q, common constraints)``.
    """
    every = list(tights.values())
    found = []
    for p in first:
        own = tights[p]
        for q in second:
            common = own & tights[q]
            if common.bit_count() >= least:
                holders = 0
                for other in every:
                    if other & common == common:
                        holders += 1
                        if holders > 2:
                            break
                if holders == 2:
                    found.append((p, q, common))
    return found


class _Cutter:
    """Cuts regions by the columns of one node; sees vertices as rows of integers."""

    def __init__(
        self, found: Arrangement, rows: list[Array], columns: list[tuple[int, int, int]], base: int
    ) -> None:
        """Prepare signs; a column ``(place, rise, step)`` is ``rise * row[place] + step * w``."""
        self.found, self.rows, self.columns, self.base = found, rows, columns, base
        self.d = len(found.points[0]) - 1
        self.born: dict[tuple[int, int], int] = {}
        self.full = sum(1 << j for j, column in enumerate(columns) if column[1])
        places, rises, steps = (np.array(part, dtype=object) for part in zip(*columns, strict=True))
        w = np.array([p[-1] for p in found.points], dtype=object)
        values = np.stack(rows)[:, places.astype(np.intp)] * rises + w[:, None] * steps
        signs = np.asarray(_SIGN(values)).astype(np.int8)
        self.above = [self.packed(row) for row in signs > 0]
        self.below = [self.packed(row) for row in signs < 0]
        for v, (above, below) in enumerate(zip(self.above, self.below, strict=True)):
            found.tight[v] |= (self.full & ~(above | below)) << base

    @staticmethod
    def packed(bits: Array) -> int:
        return int.from_bytes(np.packbits(bits, bitorder="little").tobytes(), "little")

    def value(self, column: int, vertex: int) -> int:
        place, rise, step = self.columns[column]
        return int(rise * self.rows[vertex][place] + step * self.found.points[vertex][-1])

    def sides(self, cell: Sequence[int]) -> tuple[int, int]:
        """Return the columns that are positive, and negative, somewhere on the region."""
        above = below = 0
        for v in cell:
            above |= self.above[v]
            below |= self.below[v]
        return above, below

    def split(
        self, cell: tuple[int, ...], crossing: int
    ) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Cut by the first crossing column."""
        bit = crossing & -crossing
        # A threshold that still crosses the region is no face of it.
        faces = ~(crossing << self.base)
        tights = {v: self.found.tight[v] & faces for v in cell}
        plus = [v for v in cell if self.above[v] & bit]
        minus = [v for v in cell if self.below[v] & bit]
        shared = [v for v in cell if not (self.above[v] | self.below[v]) & bit]
        column = bit.bit_length() - 1
        for p, q, _ in edges_between(tights, plus, minus, self.d - 1):
            shared.append(self.between(p, q, column))
        return (*plus, *shared), (*minus, *shared)

    def between(self, p: int, q: int, column: int) -> int:
        """Return the vertex where an edge meets a column's zero; neighbours share it."""
        key = (min(p, q), max(p, q))
        if key in self.born:
            return self.born[key]
        found = self.found
        a, b = abs(self.value(column, q)), abs(self.value(column, p))
        lead = math.gcd(a, b)
        a, b = a // lead, b // lead
        point = [a * u + b * v for u, v in zip(found.points[p], found.points[q], strict=True)]
        common = math.gcd(*point)
        number = len(found.points)
        found.points.append(tuple(u // common for u in point))
        # Every tensor is an integer form of the homogeneous point: the division has no rest.
        self.rows.append((a * self.rows[p] + b * self.rows[q]) // common)
        above_p, above_q, below_p, below_q = (
            side[v] for side in (self.above, self.below) for v in (p, q)
        )
        open_ = (above_p & below_q) | (below_p & above_q)
        above, below = (above_p | above_q) & ~open_, (below_p | below_q) & ~open_
        open_ &= ~(1 << column)
        while open_:
            bit = open_ & -open_
            value = self.value(bit.bit_length() - 1, number)
            above |= bit if value > 0 else 0
            below |= bit if value < 0 else 0
            open_ ^= bit
        self.above.append(above)
        self.below.append(below)
        zero = self.full & ~(above | below)
        found.tight.append(found.tight[p] & found.tight[q] | zero << self.base)
        self.born[key] = number
        return number


class _Walker:
    def __init__(
        self,
        found: Arrangement,
        slice_of: tuple[Array, Array],
        total: int,
        clock: Clock,
        limit: float,
        afford: float,
        progress: Callable[[float], None] | None,
    ) -> None:
        self.found, self.slice_of, self.total = found, slice_of, total
        self.afford = afford
        self.clock, self.limit, self.progress = clock, limit, progress
        self.weights = ExactWeights()
        self.d = len(found.points[0]) - 1
        self.base = 2 * self.d

    @property
    def over(self) -> bool:
        """Whether a limit is reached; regions count as boxes while they are made."""
        made = len(self.found.cells)
        most = min(self.afford, self.clock.budget.boxes - self.clock.boxes)
        return self.clock.over or made > most

    @property
    def q(self) -> Array:
        return np.array([p[-1] for p in self.found.points], dtype=object)

    def inputs(self, network: ir.Network) -> dict[int, Scaled]:
        """Return the inputs at the vertices, each times its ``w``."""
        origin, directions = self.slice_of
        flat = [Fraction(float(v)) for v in (*directions.reshape(-1), *origin)]
        whole, common = homogeneous(flat)
        columns = np.concatenate(
            [whole[: directions.size].reshape(directions.shape), whole[directions.size :, None]], 1
        )
        points = np.array(self.found.points, dtype=object).reshape(-1, self.d + 1)
        # Floats are dyadic, so the common denominator is a power of two.
        shift = common.bit_length() - 1
        return {
            place: Scaled(value, shift)
            for place, value in split_inputs(network, points @ columns.T).items()
        }

    def evaluate(self, program: Program) -> Array:
        """Return the outputs at the vertices, each times a positive number, shape ``(V, m)``."""
        network = program.network
        inputs = self.inputs(network)
        ports = [inputs[port.node] for port in network.inputs]
        outputs = forward(network, Rational(self.q, self.weights), ports)
        count = len(self.found.points)
        return np.concatenate(
            [np.broadcast_to(o.array, (count, *o.array.shape[1:])).reshape(count, -1)
             for o in outputs], axis=1,
        )  # fmt: skip

    def run(self, program: Program, *, cut_outputs: bool = False) -> bool:
        """Cut by every unit (and by the zero sets of the outputs); False when time is over."""
        live = self.inputs(program.network)
        for place, node in enumerate(program.network.nodes):
            if self.over:
                return False
            match node:
                case ir.Affine():
                    args = [live[arg] for arg in node.args]
                    live[place] = self.weights.affine(node, args, self.q)
                case ir.Constant():
                    ints, shift = self.weights.of(node.value)
                    live[place] = Scaled(self.q.reshape(-1, *(1,) * ints.ndim) * ints, shift)
                case ir.Elementwise():
                    if not self.activate(place, node, live):
                        return False
                case _:
                    pass
            for arg in set(node.args):
                if program.last[arg] == place:
                    live.pop(arg, None)
            if self.progress is not None:
                self.progress((place + 1) / len(program.network.nodes))
        if not cut_outputs:
            return True
        columns = [(k, 1, 0) for k in range(program.size)]
        return self.cut_by({p: live[p] for p in program.outputs}, columns, live)

    def activate(self, place: int, node: ir.Elementwise, live: dict[int, Scaled]) -> bool:
        slopes, intercepts, _ = self.weights.lines(node)
        units = int(np.prod(node.shape))
        rise = (slopes[1:] - slopes[:-1]).reshape(-1, units)
        step = (intercepts[1:] - intercepts[:-1]).reshape(-1, units) << live[node.arg].shift
        sign = np.asarray(_SIGN(rise))
        columns = [
            (u, int(rise[k, u] * sign[k, u]), int(step[k, u] * sign[k, u]))
            for k in range(len(rise))
            for u in range(units)
        ]
        if columns and not self.cut_by({node.arg: live[node.arg]}, columns, live, pieces=len(rise)):
            return False
        z, q = live[node.arg], self.q
        side = (self.weights.gaps(node, z, q) > 0).sum(axis=0).astype(np.intp)
        live[place] = self.weights.on_pieces(node, z, q, side.reshape(len(q), *node.shape))
        return True

    def cut_by(
        self,
        first: dict[int, Scaled],
        columns: list[tuple[int, int, int]],
        live: dict[int, Scaled],
        pieces: int = 0,
    ) -> bool:
        """Cut every region by columns of the tensors ``first``; ``live`` gets the new vertices.

        With ``pieces`` thresholds for each unit, the patterns are continued.
        """
        found = self.found
        names = [*first, *(name for name in live if name not in first)]
        count = len(found.points)
        blocks = [live[name].array.reshape(count, -1) for name in names]
        rows = list(np.concatenate(blocks, axis=1))
        cutter = _Cutter(found, rows, columns, self.base)
        self.base += len(columns)
        cells, patterns = found.cells, found.patterns
        found.cells, found.patterns = [], []
        for cell, pattern in zip(cells, patterns, strict=True):
            stack = [cell]
            while stack:
                part = stack.pop()
                above, below = cutter.sides(part)
                if above & below:
                    stack += cutter.split(part, above & below)
                    continue
                found.cells.append(part)
                found.patterns.append(pattern + _side(above, len(columns), pieces))
                if len(found.cells) % _LOOK == 0 and self.over:
                    return False
            if len(found.cells) > self.limit:
                factor = growth(self.base - 2 * self.d, self.total, self.d)
                raise too_many(len(found.cells) * factor, self.limit, self.d)
        start = 0
        whole = np.stack(rows)
        for name, block in zip(names, blocks, strict=True):
            width = block.shape[1]
            values = whole[:, start : start + width]
            shape = live[name].array.shape[1:]
            live[name] = Scaled(values.reshape(-1, *shape), live[name].shift)
            start += width
        return True


def _side(above: int, columns: int, pieces: int) -> bytes:
    """Return the piece number of every unit: how many of its thresholds are passed."""
    if not pieces:
        return b""
    raw = np.frombuffer(above.to_bytes((columns + 7) // 8, "little"), dtype=np.uint8)
    bits = np.unpackbits(raw, count=columns, bitorder="little")
    return bytes(bits.reshape(pieces, -1).sum(axis=0, dtype=np.uint8))


def exact_arrangement(
    program: Program,
    slice_of: tuple[Array, Array],
    box: Box,
    *,
    clock: Clock,
    limit: float,
    afford: float = np.inf,
    rivals: Program | None = None,
    progress: Callable[[float], None] | None = None,
) -> tuple[Arrangement, Array | None] | None:
    """Return the regions of ``x = origin + directions @ t`` for ``t`` in a box, exactly.

    Args:
        program: the prepared network.
        slice_of: ``origin`` ``(n,)`` and ``directions`` ``(n, d)``.
        box: of ``d`` sides.
        clock: the budget.
        limit: the largest number of regions; more are an error.
        afford: more regions than this are not worth the time; they end it like the budget.
        rivals: a second network; its regions and the zero sets of its outputs cut as well.
        progress: called with the share of the layers that is done.

    Returns:
        The regions and the outputs of ``rivals`` at the vertices (positive multiples, ``(V, k)``)
        or None; None alone when the budget ended it.

    Raises:
        NneqError: when there are more regions than the limit; gives an estimate.

    Guarantee: exact.  Regions are the polytopes of full dimension on which every unit stays on one
    piece; neighbours share whole faces.
    """
    d = len(box.low)
    ends = [(Fraction(a), Fraction(b)) for a, b in zip(box.low, box.high, strict=True)]
    points: list[tuple[int, ...]] = []
    tight: list[int] = []
    for corner in product((0, 1), repeat=d):
        ints, w = homogeneous([ends[k][side] for k, side in enumerate(corner)])
        points.append((*(int(v) for v in ints), int(w)))
        tight.append(sum(1 << (2 * k + side) for k, side in enumerate(corner)))
    found = Arrangement(points, tight, [tuple(range(len(points)))], [b""])
    walker = _Walker(found, slice_of, program.units, clock, limit, afford, progress)
    if not walker.run(program):
        return None
    others = None
    if rivals is not None:
        if not walker.run(rivals, cut_outputs=True):
            return None
        others = walker.evaluate(rivals)
    found.values = walker.evaluate(program)
    clock.spend(len(found.cells))
    return found, others
