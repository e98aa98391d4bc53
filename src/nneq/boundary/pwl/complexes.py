r"""Linear regions in three to six dimensions by edge subdivision.

The complex is kept as vertices and edges only.  Every hyperplane ``h`` (a threshold of one unit,
flat inside each region) splits the edges whose ends it separates; in each two-dimensional face it
meets exactly two of them, which gives the new edge.  Faces are found by hashing: a face's sign
vector :math:`s` has the hash :math:`\sum_h s_h R_h` with random 64-bit :math:`R_h` (Zobrist), so
that the faces around an edge are ``hash +- R[q]`` for its tight hyperplanes ``q``.

References:
    Berzins 2023, "Polyhedral complex extraction from ReLU networks using edge subdivision".
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

from nneq.boundary.pwl.regions2d import growth, too_many
from nneq.boundary.pwl.walk import UNIT, Live, Program, affine_forms
from nneq.boundary.results import Box, Clock, Enclosed, Sampled
from nneq.ir import network as ir
from nneq.semantics.pattern import affine_columns, split_inputs

__all__ = [
    "Complex",
    "affine_batch",
    "boundary_polytopes",
    "build",
    "certificate_of",
    "incidence",
]

Array = np.ndarray[Any, Any]
_MASK = (1 << 64) - 1


class _Rows:
    """An array that grows at its end."""

    def __init__(self, array: Array) -> None:
        self._data = array
        self.count = len(array)

    @property
    def array(self) -> Array:
        return self._data[: self.count]

    def append(self, rows: Array) -> None:
        need = self.count + len(rows)
        if need > len(self._data):
            wider = np.empty((max(need, 2 * len(self._data)), *self._data.shape[1:]), rows.dtype)
            wider[: self.count] = self.array
            self._data = wider
        self._data[self.count : need] = rows
        self.count = need


@dataclass(frozen=True, eq=False)
class Complex:
    """Vertices and edges of the regions in a box.

    Args:
        points: vertices, shape ``(V, d)``.
        tight: the hyperplanes through each vertex, shape ``(V, d)``.
        hashes: of the vertices' sign vectors, ``uint64`` ``(V,)``.
        edges: pairs of vertices, shape ``(E, 2)``.
        edge_tight: hyperplanes along each edge, shape ``(E, d - 1)``.
        edge_hashes: shape ``(E,)``.
        keys: the random number of every hyperplane; the first ``2 d`` are the box faces.
        outputs: values at the vertices, shape ``(V, m)``.
        errors: proven bound of the outputs' errors, shape ``(V, m)``.
        margin: the smallest ratio of a value that decided a sign to the bound of its error.
        sound: every two-dimensional face was met in exactly two points.
    """

    points: Array
    tight: Array
    hashes: Array
    edges: Array
    edge_tight: Array
    edge_hashes: Array
    keys: Array
    outputs: Array
    errors: Array
    margin: float
    sound: bool


class _Builder:
    def __init__(self, program: Program, slice_of: tuple[Array, Array], box: Box) -> None:
        self.program = program
        self.d = len(box.low)
        rng = np.random.default_rng(20260101)
        self.keys = rng.integers(0, _MASK, 2 * self.d + program.units, dtype=np.uint64)
        self.next = 2 * self.d
        self.margin = np.inf
        self.sound = True
        self.low, self.high = np.array(box.low), np.array(box.high)
        self.start(slice_of)

    def start(self, slice_of: tuple[Array, Array]) -> None:
        """Enter the box: face ``2 k`` is the low end of input ``k``, ``2 k + 1`` the high end."""
        d = self.d
        corners = np.array(list(product((0, 1), repeat=d)))
        points = np.where(corners == 1, self.high, self.low)
        tight = 2 * np.arange(d) + corners
        whole = np.uint64(int(self.keys[: 2 * d].astype(object).sum()) & _MASK)
        hashes = whole - self.keys[tight].sum(axis=1, dtype=np.uint64)
        place = {tuple(c): k for k, c in enumerate(corners.tolist())}
        edges, edge_tight = [], []
        for k, corner in enumerate(corners.tolist()):
            for axis in range(d):
                if corner[axis] == 0:
                    other = list(corner)
                    other[axis] = 1
                    edges.append((k, place[tuple(other)]))
                    edge_tight.append([t for i, t in enumerate(tight[k]) if i != axis])
        self.tight = _Rows(tight.astype(np.int32))
        self.hashes = _Rows(hashes)
        self.edges = _Rows(np.array(edges, dtype=np.int64))
        self.edge_tight = _Rows(np.array(edge_tight, dtype=np.int32).reshape(len(edges), d - 1))
        flat = self.edge_tight.array
        self.edge_hashes = _Rows(whole - self.keys[flat].sum(axis=1, dtype=np.uint64))
        origin, directions = slice_of
        self.points = _Rows(points.astype(np.float64))
        inputs = origin + self.points.array @ directions.T
        size = np.abs(origin) + np.abs(self.points.array) @ np.abs(directions).T
        slack = (directions.shape[1] + 2) * UNIT * size
        doubts = split_inputs(self.program.network, slack)
        values = split_inputs(self.program.network, inputs)
        self.live = {place: (value, doubts[place]) for place, value in values.items()}

    def evaluate(self, place: int, node: Any) -> None:
        count = self.points.count
        match node:
            case ir.Affine():
                args = [Live(v[:, None], e) for v, e in (self.live[arg] for arg in node.args)]
                out = affine_forms(node, args, np.ones((count, 1)))
                self.live[place] = (out.forms[:, 0], out.error)
            case ir.Constant():
                value = np.broadcast_to(node.value, (count, *node.shape)).copy()
                self.live[place] = (value, np.zeros_like(value))
            case _:
                pass

    def activate(self, place: int, node: ir.Elementwise, check: Callable[[int], bool]) -> bool:
        """Cut by every threshold of the node; False when ``check`` stopped it."""
        table = self.program.tables[place]
        names = list(self.live)
        shapes = [self.live[name][0].shape[1:] for name in names]
        widths = [int(np.prod(shape)) for shape in shapes]
        self.all, self.doubt = (
            _Rows(
                np.concatenate(
                    [self.live[name][k].reshape(self.points.count, -1) for name in names], axis=1
                )
            )
            for k in range(2)
        )
        begin = sum(widths[: names.index(node.arg)])
        units = int(np.prod(node.shape))
        thresholds = table.thresholds.reshape(table.count, units)
        for k in range(table.count):
            for unit in range(units):
                number = self.next
                self.next += 1
                if np.isnan(thresholds[k, unit]):
                    continue
                self.cut(number, begin + unit, float(thresholds[k, unit]))
                if not check(self.next):
                    return False
        start = 0
        for name, shape, width in zip(names, shapes, widths, strict=True):
            part = slice(start, start + width)
            self.live[name] = (
                self.all.array[:, part].reshape(-1, *shape).copy(),
                self.doubt.array[:, part].reshape(-1, *shape).copy(),
            )
            start += width
        z, doubt = (block.reshape(-1, units) for block in self.live[node.arg])
        side = (z[:, None] > thresholds[None]).sum(axis=1)
        slopes = table.slopes.reshape(table.count + 1, units)
        intercepts = table.intercepts.reshape(table.count + 1, units)
        slope = np.take_along_axis(slopes, side, 0)
        offset = np.take_along_axis(intercepts, side, 0)
        out = slope * z + offset
        error = np.abs(slopes).max(axis=0) * doubt
        error += 4 * UNIT * (np.abs(slope * z) + np.abs(offset))
        self.live[place] = (out.reshape(-1, *node.shape), error.reshape(-1, *node.shape))
        return True

    def cut(self, number: int, column: int, threshold: float) -> None:
        z = self.all.array[:, column] - threshold
        doubt = self.doubt.array[:, column] + 4 * UNIT * (abs(threshold) + np.abs(z))
        positive = z >= 0
        key = self.keys[number]
        minus = np.uint64(-int(key) & _MASK)
        ends = self.edges.array
        side = positive[ends]
        crossing = np.nonzero(side[:, 0] != side[:, 1])[0]
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = np.abs(z) / doubt
        self.margin = min(self.margin, float(np.nanmin(ratio)))
        old_hash = self.edge_hashes.array[crossing].copy()
        self.hashes.array[:] += np.where(positive, key, minus)
        self.edge_hashes.array[:] += np.where(side[:, 0], key, minus)
        if not len(crossing):
            return
        cut_ends = ends[crossing]
        new, new_doubt, spot = self.between(cut_ends, z, doubt)
        new[:, column] = threshold
        new_doubt[:, column] = 2 * UNIT * abs(threshold)
        old_tight = self.edge_tight.array[crossing].copy()
        first = self.points.count
        fresh = np.arange(first, first + len(crossing))
        # The edge keeps its first end; the second half is a new edge.
        second = cut_ends[:, 1].copy()
        self.edges.array[crossing, 1] = fresh
        half_hash = old_hash + np.where(positive[second], key, minus)
        self.all.append(new)
        self.doubt.append(new_doubt)
        self.points.append(spot)
        self.hashes.append(old_hash)
        column_of = np.full((len(crossing), 1), number, dtype=np.int32)
        self.tight.append(np.concatenate([old_tight, column_of], axis=1))
        self.edges.append(np.stack([fresh, second], axis=1))
        self.edge_tight.append(old_tight)
        self.edge_hashes.append(half_hash)
        self.join(number, fresh, old_tight, old_hash)

    def between(self, ends: Array, z: Array, doubt: Array) -> tuple[Array, Array, Array]:
        """Return values, error bounds and coordinates where edges meet ``z = 0``.

        With :math:`t = z_a / (z_a - z_b)`, an error of the ends moves ``t`` by at most
        :math:`((1 - t) e_a + t e_b) / (|z_a - z_b| - e_a - e_b)`.
        """
        a, b = ends[:, 0], ends[:, 1]
        gap = np.abs(z[a] - z[b])
        share = z[a] / (z[a] - z[b])
        sure = np.maximum(gap - doubt[a] - doubt[b], 1e-300)
        slip = ((1 - share) * doubt[a] + share * doubt[b]) / sure + 4 * UNIT
        slip = np.minimum(slip, 1.0)[:, None]
        t = share[:, None]
        va, vb = self.all.array[a], self.all.array[b]
        ea, eb = self.doubt.array[a], self.doubt.array[b]
        step = vb - va
        error = ea + t * (eb - ea) + slip * (np.abs(step) + ea + eb)
        error += 4 * UNIT * (np.abs(va) + np.abs(vb))
        pa, pb = self.points.array[a], self.points.array[b]
        return va + t * step, error, pa + t * (pb - pa)

    def join(self, number: int, fresh: Array, old_tight: Array, old_hash: Array) -> None:
        """Join the two new vertices of every two-dimensional face."""
        keys, owners, tights = [], [], []
        for k in range(self.d - 1):
            q = old_tight[:, k]
            rest = np.delete(old_tight, k, axis=1)
            wide = np.concatenate([rest, np.full((len(q), 1), number, dtype=np.int32)], axis=1)
            plus = old_hash + self.keys[q]
            keys.append(plus)
            owners.append(fresh)
            tights.append(wide)
            inner = q >= 2 * self.d
            keys.append((old_hash - self.keys[q])[inner])
            owners.append(fresh[inner])
            tights.append(wide[inner])
        key, owner = np.concatenate(keys), np.concatenate(owners)
        tight = np.concatenate(tights)
        order = np.argsort(key, kind="stable")
        key, owner, tight = key[order], owner[order], tight[order]
        if len(key) % 2 or not (key[0::2] == key[1::2]).all() or (key[1:-1:2] == key[2::2]).any():
            self.sound = False
            same = np.nonzero(key[1:] == key[:-1])[0]
            same = same[np.concatenate([[True], np.diff(same) > 1])]
        else:
            same = np.arange(0, len(key), 2)
        self.edges.append(np.stack([owner[same], owner[same + 1]], axis=1))
        self.edge_tight.append(tight[same])
        self.edge_hashes.append(key[same])


def build(
    program: Program,
    slice_of: tuple[Array, Array],
    box: Box,
    *,
    clock: Clock,
    limit: float,
    progress: Callable[[float], None] | None = None,
) -> Complex | None:
    """Return the complex of all regions in the box, or None when the budget ended it.

    Raises:
        NneqError: when it grows beyond the limit; gives an estimate of the regions.

    Guarantee: certified where ``sound`` is true and ``margin`` exceeds 1: then every sign that
    decided a cut is larger than the proven bound of its rounding error.
    """
    builder = _Builder(program, slice_of, box)
    total = program.units

    def check(number: int) -> bool:
        cut = number - 2 * builder.d
        if progress is not None:
            progress(cut / max(total, 1))
        count = builder.points.count
        if count > limit / 8 and cut >= min(2 * builder.d, total):
            # Refuse long before the memory is full, but not because of units that may be dead.
            made = count - (1 << builder.d) + 1
            estimate = made * growth(cut, total, builder.d)
            if count > 2 * limit or estimate > 16 * limit:
                raise too_many(max(estimate, count), limit, builder.d)
        return not clock.over

    network = program.network
    for place, node in enumerate(network.nodes):
        if isinstance(node, ir.Elementwise):
            if not builder.activate(place, node, check):
                return None
        else:
            builder.evaluate(place, node)
        for arg in set(node.args):
            if program.last[arg] == place:
                builder.live.pop(arg, None)
    count = builder.points.count
    outputs, errors = (
        np.concatenate([builder.live[p][k].reshape(count, -1) for p in program.outputs], axis=1)
        for k in range(2)
    )
    clock.spend(count)
    return Complex(
        builder.points.array,
        builder.tight.array,
        builder.hashes.array,
        builder.edges.array,
        builder.edge_tight.array,
        builder.edge_hashes.array,
        builder.keys,
        outputs,
        errors,
        builder.margin,
        builder.sound,
    )


def _around(hashes: Array, tight: Array, keys: Array, d: int) -> tuple[Array, Array]:
    """Return the cells around faces: ``(cell hash, number of the face)`` pairs."""
    cells = hashes[:, None]
    owner = np.arange(len(hashes))[:, None]
    for k in range(tight.shape[1]):
        key = keys[tight[:, k]]
        inner = (tight[:, k] >= 2 * d)[:, None]
        minus = np.where(inner, cells - key[:, None], np.uint64(0))
        keep = np.broadcast_to(inner, minus.shape)
        if not keep.all():
            # Box faces have no outside: mark by repeating the inside.
            minus = np.where(keep, minus, cells + key[:, None])
        cells = np.concatenate([cells + key[:, None], minus], axis=1)
    owner = np.broadcast_to(owner, cells.shape)
    return cells.reshape(-1), owner.reshape(-1)


def incidence(found: Complex) -> tuple[Array, Array, Array]:
    """Return ``(cell hashes, ptr, vertices)``: the vertices of every cell, ragged."""
    d = found.points.shape[1]
    cells, owner = _around(found.hashes, found.tight, found.keys, d)
    order = np.lexsort((owner, cells))
    cells, owner = cells[order], owner[order]
    fresh = np.ones(len(cells), dtype=bool)
    fresh[1:] = (cells[1:] != cells[:-1]) | (owner[1:] != owner[:-1])
    cells, owner = cells[fresh], owner[fresh]
    heads = np.nonzero(np.concatenate([[True], cells[1:] != cells[:-1]]))[0]
    return cells[heads], np.concatenate([heads, [len(cells)]]), owner


def affine_batch(program: Program, slice_of: tuple[Array, Array], points: Array) -> Array:
    """Return the outputs' forms ``(N, m, d + 1)`` on the regions that hold ``points`` ``(N, d)``.

    Guarantee: numerical; the forms come from the activation patterns.
    """
    origin, directions = slice_of
    count, d = points.shape
    columns = np.concatenate([directions.T, origin[None]])
    live = {
        place: np.repeat(value, count, axis=0).reshape(d + 1, count, *value.shape[1:])
        .swapaxes(0, 1).reshape(count * (d + 1), *value.shape[1:])
        for place, value in split_inputs(program.network, columns).items()
    }  # fmt: skip
    q = np.tile(np.array([0.0] * d + [1.0]), count)
    ahead = np.concatenate([points, np.ones((count, 1))], axis=1)
    for place, node in enumerate(program.network.nodes):
        match node:
            case ir.Affine():
                live[place] = affine_columns(node, [live[arg] for arg in node.args], q)
            case ir.Constant():
                live[place] = q.reshape(-1, *(1,) * len(node.shape)) * node.value
            case ir.Elementwise():
                table = program.tables[place]
                units = int(np.prod(node.shape))
                forms = live[node.arg].reshape(count, d + 1, units)
                z = np.einsum("nk,nku->nu", ahead, forms)
                thresholds = table.thresholds.reshape(table.count, 1, units)
                side = (z > thresholds).sum(axis=0)
                slope = np.take_along_axis(table.slopes.reshape(-1, units), side, 0)
                offset = np.take_along_axis(table.intercepts.reshape(-1, units), side, 0)
                out = forms * slope[:, None]
                out[:, -1] += offset
                live[place] = out.reshape(count * (d + 1), *node.shape)
            case _:
                pass
        for arg in set(node.args):
            if program.last[arg] == place:
                live.pop(arg, None)
    blocks = [live[p].reshape(count, d + 1, -1) for p in program.outputs]
    return np.concatenate(blocks, axis=2).transpose(0, 2, 1)


def boundary_polytopes(found: Complex, row: int = 0) -> tuple[Array, list[Array]]:
    """Return the points where edges meet ``output[row] = 0`` and, per cell, which of them.

    Args:
        found: the complex.
        row: which output is ``g``.

    Returns:
        Points ``(P, d)``, and one array of point numbers for each piece of the boundary.
    """
    d = found.points.shape[1]
    g = found.outputs[:, row]
    side = (g >= 0)[found.edges]
    crossing = np.nonzero(side[:, 0] != side[:, 1])[0]
    ends = found.edges[crossing]
    a, b = g[ends[:, 0]], g[ends[:, 1]]
    share = (a / (a - b))[:, None] if len(crossing) else np.zeros((0, 1))
    points = found.points[ends[:, 0]] + share * (
        found.points[ends[:, 1]] - found.points[ends[:, 0]]
    )
    if not len(crossing):
        return points, []
    cells, owner = _around(found.edge_hashes[crossing], found.edge_tight[crossing], found.keys, d)
    order = np.lexsort((owner, cells))
    cells, owner = cells[order], owner[order]
    fresh = np.ones(len(cells), dtype=bool)
    fresh[1:] = (cells[1:] != cells[:-1]) | (owner[1:] != owner[:-1])
    cells, owner = cells[fresh], owner[fresh]
    heads = np.nonzero(np.concatenate([[True], cells[1:] != cells[:-1]]))[0]
    groups = np.split(owner, heads[1:])
    return points, [group for group in groups if len(group) >= d]


def certificate_of(found: Complex) -> Enclosed | Sampled:
    """Return what is proven about a complex."""
    if found.sound and found.margin > 1:
        return Enclosed(
            "edge subdivision; every sign that decided a cut is at least "
            f"{found.margin:.3g} times the bound of its rounding error"
        )
    reason = (
        "some signs are within their rounding error" if found.sound else "some faces degenerate"
    )
    return Sampled(f"edge subdivision in float64; {reason}, zeros count as positive")
