r"""All regions of any piecewise-linear network on a plane, in array code.

The same answer as the compiled kernel for dense chains, and the only engine for convolutions,
residual sums, branches and pooling.  Cells are padded polygons; every layer cuts them by the rows
that cross them, one row of each cell per round, all cells at once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from nneq.boundary.pwl.walk import UNIT, Live, Program, affine_forms, reached
from nneq.boundary.results import Box, Clock
from nneq.ir import network as ir
from nneq.semantics.pattern import split_inputs

__all__ = ["Cells", "walk_plane"]

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
    """

    ptr: Array
    xy: Array
    forms: Array
    error: Array
    patterns: Array
    open: tuple[Array, ...] = ()
    ambiguous: int = 0
    splits: int = 0

    def __len__(self) -> int:
        return len(self.ptr) - 1

    def corners(self, k: int) -> Array:
        """Return the corners of region ``k``, shape ``(n, 2)``."""
        return np.asarray(self.xy[self.ptr[k] : self.ptr[k + 1]])

    @property
    def areas(self) -> Array:
        """The area of every region, shape ``(R,)``."""
        if not len(self):
            return np.zeros(0)
        following = np.arange(len(self.xy)) + 1
        following[self.ptr[1:] - 1] = self.ptr[:-1]
        # Relative to the region's first corner, so that small regions keep their digits.
        base = np.repeat(self.xy[self.ptr[:-1]], np.diff(self.ptr), axis=0)
        local, after = self.xy - base, self.xy[following] - base
        cross = local[:, 0] * after[:, 1] - local[:, 1] * after[:, 0]
        return np.asarray(np.add.reduceat(cross, self.ptr[:-1])) / 2


@dataclass(frozen=True, eq=False)
class _State:
    polys: Array
    sizes: Array
    patterns: Array
    live: dict[int, Live]

    def __len__(self) -> int:
        return len(self.sizes)

    def take(self, index: Any) -> _State:
        live = {k: Live(v.forms[index], v.error[index]) for k, v in self.live.items()}
        return _State(self.polys[index], self.sizes[index], self.patterns[index], live)


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


class _Rounds:
    """Cuts every cell by the rows that cross it."""

    def __init__(self, state: _State, rows: Array, tolerance: Array, crossing: Array) -> None:
        """Take rows ``(N, 3, H)``, tolerances ``(N, H)`` and which rows cross which cell."""
        self.rows, self.tolerance = rows, tolerance
        self.list_cell, self.list_row = np.nonzero(crossing)
        counts = np.bincount(self.list_cell, minlength=len(state))
        self.begin = np.concatenate([[0], np.cumsum(counts)])
        self.counts = counts
        self.polys, self.sizes = state.polys, state.sizes
        self.parent = np.arange(len(state))
        self.splits = 0

    def run(self) -> None:
        """Go through the lists, one row of every cell per round."""
        done: list[tuple[Array, Array, Array]] = []
        polys, sizes, parent = self.polys, self.sizes, self.parent
        for turn in range(int(self.counts.max(initial=0))):
            more = self.counts[parent] > turn
            if not more.all():
                done.append((polys[~more], sizes[~more], parent[~more]))
                polys, sizes, parent = polys[more], sizes[more], parent[more]
            row = self.list_row[self.begin[parent] + turn]
            values = _values(self.rows[parent, :, row], polys)
            slack = self.tolerance[parent, row][:, None]
            values[np.abs(values) <= slack] = 0.0
            hit = (values.min(axis=1) < 0) & (values.max(axis=1) > 0)
            if not hit.any():
                continue
            self.splits += int(hit.sum())
            left, left_size, right, right_size = _cut(polys[hit], sizes[hit], values[hit])
            width = max(
                int(left_size.max()),
                int(right_size.max()),
                int(sizes[~hit].max(initial=0)),
            )
            polys = np.concatenate(
                [
                    _padded(polys[~hit], width)[:, :width],
                    _padded(left, width)[:, :width],
                    _padded(right, width)[:, :width],
                ]
            )
            sizes = np.concatenate([sizes[~hit], left_size, right_size])
            parent = np.concatenate([parent[~hit], parent[hit], parent[hit]])
        done.append((polys, sizes, parent))
        width = max(block[0].shape[1] for block in done)
        self.polys = np.concatenate([_padded(block[0], width) for block in done])
        self.sizes = np.concatenate([block[1] for block in done])
        self.parent = np.concatenate([block[2] for block in done])


class _Walker:
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
        self.interrupted = False
        self.keep: Callable[[_State, int], Array | None] | None = None

    def run(self, place: int, state: _State) -> None:
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
            place += 1
        self.emit(state)

    def step(self, place: int, state: _State) -> _State:
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
        for arg in set(node.args):
            if self.program.last[arg] == place:
                live.pop(arg, None)
        return _State(state.polys, state.sizes, state.patterns, live)

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

    def activate(
        self, place: int, node: ir.Elementwise, state: _State
    ) -> tuple[_State, dict[int, Live]]:
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
        low, high, near = self.ranges(rows, state.polys, tolerance)
        # Rows that are 0 by construction (two dead units compared) are in no doubt.
        near &= (tolerance > 1e-250) | (low != 0) | (high != 0)
        crossing = (low < -tolerance) & (high > tolerance)
        self.ambiguous += int((near & ~crossing).sum())
        on = (low + high) > 0
        doubt = np.where(near | crossing, 2 * tolerance, 0.0)
        jump = np.abs(np.diff(table.slopes.reshape(table.count + 1, units), axis=0)).T.reshape(-1)
        extra = (doubt * jump).reshape(count, units, table.count).sum(axis=2)
        if crossing.any():
            rounds = _Rounds(state, rows, tolerance, crossing)
            rounds.run()
            self.splits += rounds.splits
            parent = rounds.parent
            on = self.sides(rounds, on, rows)
            live = {k: Live(v.forms[parent], v.error[parent]) for k, v in state.live.items()}
            state = _State(rounds.polys, rounds.sizes, state.patterns[parent], live)
            z, extra, error = live[node.arg], extra[parent], error[parent]
            count = len(state)
        side = on.reshape(count, units, table.count).sum(axis=2)
        slopes = table.slopes.reshape(table.count + 1, units)
        intercepts = table.intercepts.reshape(table.count + 1, units)
        slope = np.take_along_axis(slopes, side, 0)
        offset = np.take_along_axis(intercepts, side, 0)
        forms = z.forms.reshape(count, 3, units)
        far = np.broadcast_to(self.far, (count, 3))
        size = np.abs(slope) * reached(forms, far) + np.abs(offset)
        out = forms * slope[:, None]
        out[:, 2] += offset
        bound = np.abs(slope) * error + extra + 4 * UNIT * size
        live = dict(state.live)
        live[place] = Live(
            out.reshape(count, 3, *node.shape), bound.reshape(count, *node.shape)
        )
        patterns = np.concatenate([state.patterns, side.astype(np.uint8)], axis=1)
        return _State(state.polys, state.sizes, patterns, live), live

    @staticmethod
    def sides(rounds: _Rounds, on: Array, rows: Array) -> Array:
        """Return the sides of the children: the parent's, and those of the rows that crossed it."""
        parent = rounds.parent
        sides = on[parent].copy()
        counts = rounds.counts[parent]
        child = np.repeat(np.arange(len(parent)), counts)
        offset = np.arange(len(child)) - np.repeat(np.cumsum(counts) - counts, counts)
        row = rounds.list_row[rounds.begin[parent[child]] + offset]
        total = np.zeros(len(child))
        low = np.full(len(child), np.inf)
        high = np.full(len(child), -np.inf)
        picked = rows[parent[child], :, row]
        for k in range(rounds.polys.shape[1]):
            corner = rounds.polys[child, k]
            z = picked[:, 0] * corner[:, 0] + picked[:, 1] * corner[:, 1] + picked[:, 2]
            np.minimum(low, z, out=low)
            np.maximum(high, z, out=high)
        total = low + high
        sides[child, row] = total > 0
        return np.asarray(sides)

    def emit(self, state: _State) -> None:
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
            self.progress(float(self.regions))


def walk_plane(
    program: Program,
    origin: Array,
    directions: Array,
    box: Box,
    *,
    clock: Clock,
    limit: float,
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
        progress: called with the number of regions found.

    Returns:
        The cells, and whether Ctrl-C ended the walk.

    Guarantee: certified: on each cell the true outputs lie within ``error`` of the forms.
    """
    reach = [max(abs(a), abs(b)) for a, b in zip(box.low, box.high, strict=True)]
    walker = _Walker(program, np.array([*reach, 1.0]), clock, limit)
    walker.progress = progress
    columns = np.concatenate([directions.T, origin[None]]).astype(np.float64)
    live = {
        place: Live(value[None], np.zeros((1, *value.shape[1:])))
        for place, value in split_inputs(program.network, columns).items()
    }
    (x0, y0), (x1, y1) = box.low, box.high
    square = np.array([[[x0, y0], [x1, y0], [x1, y1], [x0, y1]]])
    empty = np.zeros((1, 0), dtype=np.uint8)
    walker.run(0, _State(square, np.array([4]), empty, live))
    cells = _joined(program, walker)
    return cells, walker.interrupted


def _joined(program: Program, walker: _Walker) -> Cells:
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
