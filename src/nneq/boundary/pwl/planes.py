r"""All regions of any piecewise-linear network on a plane, in array code.

The same answer as the compiled kernel for dense chains, and the only engine for convolutions,
residual sums, branches and pooling.  Cells are padded polygons; every layer cuts them by the rows
that cross them, one row of each cell per round, all cells at once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from nneq.boundary.pwl.walk import UNIT, Live, Program, affine_forms, reached
from nneq.boundary.results import Box, Clock
from nneq.ir import network as ir
from nneq.semantics.pattern import split_inputs

__all__ = ["Cells", "PlaneState", "PlaneWalker", "Rounds", "padded_areas", "walk_plane"]

Array = np.ndarray[Any, Any]
_CHUNK = 1 << 20
_DRIFT = 4096 * UNIT


@dataclass(frozen=True, eq=False)
class Cells:
    """Regions of a plane as ragged arrays.

    Args:
        ptr: start of each region's corners, shape ``(R + 1,)``.
        xy: corners in order, counter-clockwise, shape ``(K, 2)``.
        forms: outputs ``a x + b y + c``, shape ``(R, m, 3)``.
        error: proven bound of the outputs' error on the region, shape ``(R, m)``.
        patterns: piece number of every unit, ``uint8`` ``(R, units)``.
        open: polygons that the budget did not reach.
        ambiguous: signs that rounding could not decide and the error bound took in.
        splits: number of cuts.
        measured: the areas, where they are known already.
    """

    ptr: Array
    xy: Array
    forms: Array
    error: Array
    patterns: Array
    open: tuple[Array, ...] = ()
    ambiguous: int = 0
    splits: int = 0
    measured: Array | None = None

    def __len__(self) -> int:
        return len(self.ptr) - 1

    def corners(self, k: int) -> Array:
        """Return the corners of region ``k``, shape ``(n, 2)``."""
        return np.asarray(self.xy[self.ptr[k] : self.ptr[k + 1]])

    @cached_property
    def areas(self) -> Array:
        """The area of every region, shape ``(R,)``."""
        if self.measured is not None:
            return self.measured
        if not len(self):
            return np.zeros(0)
        following = np.arange(len(self.xy)) + 1
        following[self.ptr[1:] - 1] = self.ptr[:-1]
        # Relative to the region's first corner, so that small regions keep their digits.
        base = np.repeat(self.xy[self.ptr[:-1]], np.diff(self.ptr), axis=0)
        local, after = self.xy - base, self.xy[following] - base
        # In units of a power of two: areas beyond float64 come out as inf, not as inf - inf.
        scale = 2.0 ** np.round(np.log2(np.abs(local).max(axis=0, initial=2.0**-1000)))
        local, after = local / scale, after / scale
        cross = local[:, 0] * after[:, 1] - local[:, 1] * after[:, 0]
        with np.errstate(over="ignore", under="ignore"):
            return np.asarray(np.add.reduceat(cross, self.ptr[:-1]) / 2 * scale[0] * scale[1])


@dataclass(frozen=True, eq=False)
class PlaneState:
    """Cells on their way through the network.

    Args:
        polys: corners, padded, shape ``(N, K, 2)``.
        sizes: how many corners each cell has, shape ``(N,)``.
        patterns: the pieces of the units so far, shape ``(N, u)``.
        live: the tensors that are still needed.
        cut: inside a node that is cut in stages: which rows are done, shape ``(N, H)``.
        on: the sides of these rows, shape ``(N, H)``.
    """

    polys: Array
    sizes: Array
    patterns: Array
    live: dict[int, Live]
    cut: Array | None = None
    on: Array | None = None

    def __len__(self) -> int:
        return len(self.sizes)

    def take(self, index: Any) -> PlaneState:
        live = {k: Live(v.forms[index], v.error[index]) for k, v in self.live.items()}
        cut = None if self.cut is None else self.cut[index]
        on = None if self.on is None else self.on[index]
        return PlaneState(self.polys[index], self.sizes[index], self.patterns[index], live, cut, on)


def _values(forms: Array, polys: Array) -> Array:
    """Return ``a x + b y + c`` for forms ``(N, 3)`` at corners ``(N, K, 2)``."""
    return np.asarray(
        forms[:, 0, None] * polys[:, :, 0] + forms[:, 1, None] * polys[:, :, 1] + forms[:, 2, None]
    )


def _cut(polys: Array, sizes: Array, values: Array) -> tuple[Array, Array, Array, Array]:
    """Return ``(left, left sizes, right, right sizes)`` of polygons crossed by zero.

    ``values`` is ``(N, K)``, zero where a corner lies on the line.
    """
    count, width = values.shape
    rows = np.arange(count)[:, None]
    place = np.arange(width)[None]
    inside = place < sizes[:, None]
    after = np.where(place + 1 < sizes[:, None], place + 1, 0)
    other, beyond = values[rows, after], polys[rows, after]
    crossing = inside & (values * other < 0)
    first = (polys[..., 0] < beyond[..., 0]) | (
        (polys[..., 0] == beyond[..., 0]) & (polys[..., 1] < beyond[..., 1])
    )
    start = np.where(first[..., None], polys, beyond)
    stop = np.where(first[..., None], beyond, polys)
    near, far = np.where(first, values, other), np.where(first, other, values)
    with np.errstate(divide="ignore", invalid="ignore"):
        share = np.where(crossing, near / (near - far), 0.0)
    new = start + share[..., None] * (stop - start)
    found = []
    for keep in (inside & (values >= 0), inside & (values <= 0)):
        slots = np.stack([keep, crossing], axis=2).reshape(count, -1)
        points = np.stack([polys, new], axis=2).reshape(count, -1, 2)
        order = np.cumsum(slots, axis=1) - 1
        total = order[:, -1] + 1
        out = np.empty((count, width + 2, 2))
        r, c = np.nonzero(slots)
        out[r, order[r, c]] = points[r, c]
        pad = np.arange(width + 2)[None] >= total[:, None]
        out[pad] = np.repeat(out[:, 0], pad.sum(axis=1), axis=0)
        found += [out, total]
    return found[0], found[1], found[2], found[3]


def _trim(polys: Array, sizes: Array) -> Array:
    return polys[:, : int(sizes.max())] if len(sizes) else polys


def _padded(polys: Array, width: int) -> Array:
    if polys.shape[1] >= width:
        return polys
    extra = np.repeat(polys[:, :1], width - polys.shape[1], axis=1)
    return np.concatenate([polys, extra], axis=1)


class Rounds:
    """Cuts every cell by the rows that cross it."""

    def __init__(self, state: PlaneState, rows: Array, tolerance: Array, crossing: Array) -> None:
        """Take rows ``(N, 3, H)``, tolerances ``(N, H)`` and which rows cross which cell."""
        self.rows, self.tolerance, self.crossing = rows, tolerance, crossing
        self.list_cell, self.list_row = np.nonzero(crossing)
        counts = np.bincount(self.list_cell, minlength=len(state))
        self.begin = np.concatenate([[0], np.cumsum(counts)])
        self.counts = counts
        self.polys, self.sizes = state.polys, state.sizes
        self.parent = np.arange(len(state))
        self.splits = 0

    def run(self) -> None:
        """Go through the lists, one row of every cell per round; the left part stays in place."""
        count = len(self.sizes)
        turns = int(self.counts.max(initial=0))
        uniform = bool((self.counts == turns).all())
        for turn in range(turns):
            parent = self.parent[:count]
            if uniform:
                active = np.arange(count)
                owner = parent
            else:
                active = np.nonzero(self.counts[parent] > turn)[0]
                owner = parent[active]
            row = self.list_row[self.begin[owner] + turn]
            polys = self.polys[:count] if uniform else self.polys[active]
            values = _values(self.rows[owner, :, row], polys)
            slack = self.tolerance[owner, row]
            hit = np.nonzero((values.min(axis=1) < -slack) & (values.max(axis=1) > slack))[0]
            if not len(hit):
                continue
            self.splits += len(hit)
            values = values[hit]
            values[np.abs(values) <= slack[hit, None]] = 0.0
            place = active[hit]
            left, left_size, right, right_size = _cut(self.polys[place], self.sizes[place], values)
            count = self.store(place, count, left, left_size, right, right_size)
        self.polys = _trim(self.polys[:count], self.sizes[:count])
        self.sizes = self.sizes[:count]
        self.parent = self.parent[:count]

    def store(
        self,
        place: Array,
        count: int,
        left: Array,
        left_size: Array,
        right: Array,
        right_size: Array,
    ) -> int:
        """Write left parts over their cells and append right parts; returns the new count."""
        width = max(int(left_size.max()), int(right_size.max()))
        need = count + len(place)
        if need > len(self.sizes) or width > self.polys.shape[1]:
            room = max(need, 2 * len(self.sizes)) if need > len(self.sizes) else len(self.sizes)
            wide = max(width, self.polys.shape[1])
            polys = np.zeros((room, wide, 2))
            polys[:count] = _padded(self.polys[:count], wide)
            sizes, parent = np.zeros(room, dtype=int), np.zeros(room, dtype=int)
            sizes[:count], parent[:count] = self.sizes[:count], self.parent[:count]
            self.polys, self.sizes, self.parent = polys, sizes, parent
        wide = self.polys.shape[1]
        self.polys[place] = _padded(left, wide)[:, :wide]
        self.sizes[place] = left_size
        self.polys[count:need] = _padded(right, wide)[:, :wide]
        self.sizes[count:need] = right_size
        self.parent[count:need] = self.parent[place]
        return need


def padded_areas(state: PlaneState) -> Array:
    """Return the areas of padded polygons (the padding repeats a corner)."""
    inside = np.arange(state.polys.shape[1])[None] < state.sizes[:, None]
    polys = np.where(inside[..., None], state.polys, state.polys[:, :1])
    after = np.roll(polys, -1, axis=1)
    cross = polys[..., 0] * after[..., 1] - polys[..., 1] * after[..., 0]
    return np.asarray(cross.sum(axis=1)) / 2


class PlaneWalker:
    """Takes cells through the network node by node, depth first in chunks."""

    def __init__(self, program: Program, far: Array, clock: Clock, limit: float) -> None:
        self.program = program
        self.far = far
        self.drift = _DRIFT * float(far[:2].max())
        self.clock = clock
        self.limit = limit
        self.progress: Callable[[float], None] | None = None
        self.blocks: list[tuple[Array, ...]] = []
        self.open: list[Array] = []
        self.ambiguous = 0
        self.splits = 0
        self.regions = 0
        self.covered, self.area = 0.0, 1.0
        self.interrupted = False

    def run(self, place: int, state: PlaneState) -> None:
        nodes = self.program.network.nodes
        while place < len(nodes):
            if not len(state):
                return
            if self.interrupted or self.clock.over or self.regions >= self.limit:
                self.open += [p[:n] for p, n in zip(state.polys, state.sizes, strict=True)]
                return
            elements = len(state) * sum(v.error[0].size * 4 for v in state.live.values())
            if elements > _CHUNK and len(state) > 1:
                half = len(state) // 2
                self.run(place, state.take(slice(0, half)))
                self.run(place, state.take(slice(half, None)))
                return
            try:
                state = self.step(place, state)
            except KeyboardInterrupt:
                self.interrupted = True
                continue
            place += state.cut is None
        self.emit(state)

    def step(self, place: int, state: PlaneState) -> PlaneState:
        node = self.program.network.nodes[place]
        far = np.broadcast_to(self.far, (len(state), 3))
        live = dict(state.live)
        match node:
            case ir.Affine():
                args = [state.live[arg] for arg in node.args]
                live[place] = affine_forms(node, args, far)
            case ir.Elementwise():
                state, live = self.activate(place, node, state)
            case ir.Constant():
                forms = np.zeros((len(state), 3, *node.shape))
                forms[:, 2] = node.value
                live[place] = Live(forms, np.zeros((len(state), *node.shape)))
            case _:
                pass
        if state.cut is not None:
            return state
        for arg in set(node.args):
            if self.program.last[arg] == place:
                live.pop(arg, None)
        return PlaneState(state.polys, state.sizes, state.patterns, live)

    def ranges(self, rows: Array, polys: Array, tolerance: Array) -> tuple[Array, Array, Array]:
        """Return least and largest corner values ``(N, H)`` and whether one is within tolerance."""
        low = high = near = None
        for k in range(polys.shape[1]):
            z = rows[:, 0] * polys[:, k, :1] + rows[:, 1] * polys[:, k, 1:] + rows[:, 2]
            close = np.abs(z) <= tolerance
            if low is None or high is None or near is None:
                low, high, near = z, z.copy(), close
            else:
                np.minimum(low, z, out=low)
                np.maximum(high, z, out=high)
                near |= close
        return np.asarray(low), np.asarray(high), np.asarray(near)

    def rows(self, place: int, node: ir.Elementwise, state: PlaneState) -> tuple[Array, Array]:
        """Return ``z - threshold`` of every unit as forms ``(N, 3, H)``, and tolerances."""
        table = self.program.tables[place]
        z = state.live[node.arg]
        count, units = len(state), z.error[0].size
        forms = z.forms.reshape(count, 3, units)
        error = z.error.reshape(count, units)
        thresholds = table.thresholds.reshape(table.count, units)
        rows = np.repeat(forms, table.count, axis=2) if table.count > 1 else forms.copy()
        flat = np.nan_to_num(thresholds.T.reshape(-1), nan=np.inf)
        rows[:, 2] -= flat
        far = np.broadcast_to(self.far, (count, 3))
        finite = np.where(np.isinf(flat), 0.0, flat)
        size = np.repeat(reached(forms, far), table.count, axis=1) + np.abs(finite)
        drift = self.drift * (np.abs(rows[:, 0]) + np.abs(rows[:, 1]))
        tolerance = np.repeat(error, table.count, axis=1) + 8 * UNIT * size + drift
        return rows, tolerance

    def doubts(self, place: int, node: ir.Elementwise, doubtful: Array, tolerance: Array) -> Array:
        """Return what wrong sides of doubtful rows ``(N, H)`` can cost every unit ``(N, U)``."""
        table = self.program.tables[place]
        units = int(np.prod(node.shape))
        jump = np.abs(np.diff(table.slopes.reshape(table.count + 1, units), axis=0)).T.reshape(-1)
        cost = np.where(doubtful, 2 * tolerance, 0.0) * jump
        return np.asarray(cost.reshape(len(cost), units, table.count).sum(axis=2))

    def activate(
        self, place: int, node: ir.Elementwise, state: PlaneState
    ) -> tuple[PlaneState, dict[int, Live]]:
        rows, tolerance = self.rows(place, node, state)
        low, high, near = self.ranges(rows, state.polys, tolerance)
        # Rows that are 0 by construction (two dead units compared) are in no doubt.
        near &= (tolerance > 1e-250) | (low != 0) | (high != 0)
        crossing = (low < -tolerance) & (high > tolerance)
        self.ambiguous += int((near & ~crossing).sum())
        on = (low + high) > 0
        extra = self.doubts(place, node, near | crossing, tolerance)
        if crossing.any():
            rounds = Rounds(state, rows, tolerance, crossing)
            rounds.run()
            self.splits += rounds.splits
            parent = rounds.parent
            on, extra = self.sides(rounds, on, rows), extra[parent]
            live = {k: Live(v.forms[parent], v.error[parent]) for k, v in state.live.items()}
            state = PlaneState(rounds.polys, rounds.sizes, state.patterns[parent], live)
        return self.passed(place, node, state, on, extra)

    def passed(
        self, place: int, node: ir.Elementwise, state: PlaneState, on: Array, extra: Array
    ) -> tuple[PlaneState, dict[int, Live]]:
        """Return the cells with the node's value: every unit on the piece that ``on`` says."""
        table = self.program.tables[place]
        z = state.live[node.arg]
        count, units = len(state), int(np.prod(node.shape))
        error = z.error.reshape(count, units)
        side = on.reshape(count, units, table.count).sum(axis=2, dtype=np.uint8)
        slopes = table.slopes.reshape(table.count + 1, units)
        intercepts = table.intercepts.reshape(table.count + 1, units)
        forms = z.forms.reshape(count, 3, units)
        if table.count == 1 and not intercepts.any() and np.isin(slopes, (-1.0, 0.0, 1.0)).all():
            slope = np.where(side > 0, slopes[1], slopes[0])
            out = forms * slope[:, None]
            bound = np.abs(slope) * error + extra
        else:
            slope = np.take_along_axis(slopes, side, 0)
            offset = np.take_along_axis(intercepts, side, 0)
            size = np.abs(slope) * reached(forms, np.broadcast_to(self.far, (count, 3)))
            out = forms * slope[:, None]
            out[:, 2] += offset
            bound = np.abs(slope) * error + extra + 4 * UNIT * (size + np.abs(offset))
        live = dict(state.live)
        live[place] = Live(out.reshape(count, 3, *node.shape), bound.reshape(count, *node.shape))
        patterns = np.concatenate([state.patterns, side], axis=1)
        return PlaneState(state.polys, state.sizes, patterns, live), live

    @staticmethod
    def sides(rounds: Rounds, on: Array, rows: Array) -> Array:
        """Return the sides of the children: the parent's, and those of the rows that crossed it."""
        parent = rounds.parent
        middle = np.ones((len(parent), 3))
        mask = np.arange(rounds.polys.shape[1])[None] < rounds.sizes[:, None]
        middle[:, :2] = (rounds.polys * mask[..., None]).sum(axis=1) / rounds.sizes[:, None]
        if len(rows) == 1:
            return np.where(rounds.crossing, middle @ rows[0] > 0, on)
        sides = on[parent]
        counts = rounds.counts[parent]
        child = np.repeat(np.arange(len(parent)), counts)
        offset = np.arange(len(child)) - np.repeat(np.cumsum(counts) - counts, counts)
        row = rounds.list_row[rounds.begin[parent[child]] + offset]
        picked = rows[parent[child], :, row]
        sides[child, row] = (picked * middle[child]).sum(axis=1) > 0
        return np.asarray(sides)

    def emit(self, state: PlaneState) -> None:
        count = len(state)
        values = [state.live[place] for place in self.program.outputs]
        forms = np.concatenate([v.forms.reshape(count, 3, -1) for v in values], axis=2)
        error = np.concatenate([v.error.reshape(count, -1) for v in values], axis=1)
        mask = np.arange(state.polys.shape[1])[None] < state.sizes[:, None]
        self.blocks.append(
            (state.sizes, state.polys[mask], forms.transpose(0, 2, 1), error, state.patterns)
        )
        self.regions += count
        self.clock.spend(count)
        if self.progress is not None:
            self.covered += float(padded_areas(state).sum())
            self.progress(min(1.0, self.covered / self.area))


def walk_plane(
    program: Program,
    origin: Array,
    directions: Array,
    box: Box,
    *,
    clock: Clock,
    limit: float,
    kind: type[PlaneWalker] = PlaneWalker,
    progress: Callable[[float], None] | None = None,
) -> tuple[Cells, bool]:
    """Return the regions on ``origin + directions @ (x, y)`` for ``(x, y)`` in the box.

    Args:
        program: the prepared network.
        origin: shape ``(n,)``.
        directions: shape ``(n, 2)``.
        box: in the coordinates of the plane.
        clock: the budget.
        limit: stop after about so many regions.
        kind: the walker, e.g. one that leaves out what is of no interest.
        progress: called with the share of the box that is done, 0 to 1.

    Returns:
        The cells, and whether Ctrl-C ended the walk.

    Guarantee: certified: on each cell the true outputs lie within ``error`` of the forms.
    """
    reach = [max(abs(a), abs(b)) for a, b in zip(box.low, box.high, strict=True)]
    walker = kind(program, np.array([*reach, 1.0]), clock, limit)
    walker.progress = progress
    walker.area = (box.high[0] - box.low[0]) * (box.high[1] - box.low[1])
    columns = np.concatenate([directions.T, origin[None]]).astype(np.float64)
    live = {
        place: Live(value[None], np.zeros((1, *value.shape[1:])))
        for place, value in split_inputs(program.network, columns).items()
    }
    (x0, y0), (x1, y1) = box.low, box.high
    square = np.array([[[x0, y0], [x1, y0], [x1, y1], [x0, y1]]])
    empty = np.zeros((1, 0), dtype=np.uint8)
    walker.run(0, PlaneState(square, np.array([4]), empty, live))
    cells = _joined(program, walker)
    return cells, walker.interrupted


def _joined(program: Program, walker: PlaneWalker) -> Cells:
    if walker.blocks:
        parts = [np.concatenate(part) for part in zip(*walker.blocks, strict=True)]
    else:
        units = sum(int(np.prod(t.slopes.shape[1:])) for t in program.tables.values())
        parts = [
            np.zeros(0, dtype=int),
            np.zeros((0, 2)),
            np.zeros((0, program.size, 3)),
            np.zeros((0, program.size)),
            np.zeros((0, units), dtype=np.uint8),
        ]
    ptr = np.concatenate([[0], np.cumsum(parts[0])])
    return Cells(
        ptr,
        parts[1],
        parts[2],
        parts[3],
        parts[4],
        open=tuple(walker.open),
        ambiguous=walker.ambiguous,
        splits=walker.splits,
    )
