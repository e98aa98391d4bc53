r"""A piecewise-linear network on a box as a linear program whose bounds are proven.

Every unit that can change piece inside the box gets a variable :math:`h = \max(0, z - t)` with its
triangle relaxation; everything else stays affine.  A linear program only proposes multipliers: the
bound that is used is weak duality,
:math:`c v \ge -y b + \sum_j \min_{[l_j, u_j]} (c + A^T y)_j v_j`, true for every
:math:`y \ge 0`, evaluated with its own rounding error (Neumaier and Shcherbina 2004).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import linprog

from nneq.boundary.pwl.walk import UNIT, Live, Program, affine_forms, reached
from nneq.ir import network as ir
from nneq.semantics.pattern import Hinges, split_inputs

__all__ = ["Relaxation", "proven_bound", "ranges"]

Array = np.ndarray[Any, Any]


def _ones(columns: int) -> Array:
    return np.ones((1, columns))


def _grown(live: dict[int, Live], extra: int) -> dict[int, Live]:
    """Return the forms with ``extra`` zero columns before the constant one."""
    out = {}
    for place, value in live.items():
        forms = value.forms
        zeros = np.zeros((1, extra, *forms.shape[2:]))
        out[place] = Live(
            np.concatenate([forms[:, :-1], zeros, forms[:, -1:]], axis=1), value.error
        )
    return out


def _start(program: Program, center: Array, half: Array) -> dict[int, Live]:
    columns = np.concatenate([np.diag(half), center[None]])
    n = len(center)
    live = {}
    for place, value in split_inputs(program.network, columns).items():
        error = 4 * UNIT * np.abs(value).sum(axis=0)[None]
        live[place] = Live(value.reshape(1, n + 1, *value.shape[1:]), error)
    return live


def ranges(
    program: Program, center: Array, half: Array
) -> tuple[dict[int, tuple[Array, Array]], Array]:
    """Return proven ranges of every elementwise argument and of the outputs on a box.

    Affine arithmetic: a unit that can change piece adds one noise symbol.

    Args:
        program: the prepared network.
        center: the middle of the box, shape ``(n,)``.
        half: half widths, shape ``(n,)``.

    Returns:
        ``{place: (low, high)}`` (flat), and the outputs' ``(m, 2)``.

    Guarantee: certified.
    """
    live = _start(program, center, half)
    found: dict[int, tuple[Array, Array]] = {}
    for place, node in enumerate(program.network.nodes):
        columns = next(iter(live.values())).forms.shape[1] if live else 1
        match node:
            case ir.Affine():
                args = [live[arg] for arg in node.args]
                live[place] = affine_forms(node, args, _ones(columns))
            case ir.Constant():
                forms = np.zeros((1, columns, *node.shape))
                forms[0, -1] = node.value
                live[place] = Live(forms, np.zeros((1, *node.shape)))
            case ir.Elementwise():
                low, high = _range(live[node.arg])
                found[place] = (low, high)
                live = _noise(live, place, node, program.tables[place], low, high)
            case _:
                pass
        for arg in set(node.args):
            if program.last[arg] == place:
                live.pop(arg, None)
    bounds = [np.stack(_range(live[p]), axis=1) for p in program.outputs]
    return found, np.concatenate(bounds)


def _range(value: Live) -> tuple[Array, Array]:
    forms = value.forms.reshape(value.forms.shape[1], -1)
    radius = np.abs(forms[:-1]).sum(axis=0)
    size = (len(forms) + 4) * UNIT * (radius + np.abs(forms[-1]))
    radius = radius + value.error.reshape(-1) + size
    return forms[-1] - radius, forms[-1] + radius


def _values(table: Hinges, z: Array, units: int) -> Array:
    thresholds = table.thresholds.reshape(table.count, units)
    side = (z > thresholds).sum(axis=0)[None]
    slope = np.take_along_axis(table.slopes.reshape(-1, units), side, 0)[0]
    return np.asarray(
        slope * z + np.take_along_axis(table.intercepts.reshape(-1, units), side, 0)[0]
    )


def _noise(
    live: dict[int, Live], place: int, node: ir.Elementwise, table: Hinges, low: Array, high: Array
) -> dict[int, Live]:
    """Enter the node: chord slope, and a symbol for the deviation from it."""
    z = live[node.arg]
    units = len(low)
    y_low, y_high = _values(table, low, units), _values(table, high, units)
    width = high - low
    slope = np.where(width > 0, (y_high - y_low) / np.where(width > 0, width, 1.0), 0.0)
    ends = [y_low - slope * low, y_high - slope * high]
    for k in range(table.count):
        t = table.thresholds.reshape(table.count, units)[k]
        inside = (t > low) & (t < high)
        at = np.where(inside, t, low)
        ends.append(_values(table, at, units) - slope * at)
    least, most = np.min(ends, axis=0), np.max(ends, axis=0)
    stable = ((table.thresholds.reshape(table.count, units) <= low)
              | (table.thresholds.reshape(table.count, units) >= high)
              | np.isnan(table.thresholds.reshape(table.count, units))).all(axis=0)  # fmt: skip
    middle = (low + high) / 2
    side = (middle > table.thresholds.reshape(table.count, units)).sum(axis=0)[None]
    slope = np.where(stable, np.take_along_axis(table.slopes.reshape(-1, units), side, 0)[0], slope)
    shift = np.take_along_axis(table.intercepts.reshape(-1, units), side, 0)[0]
    middle_shift = np.where(stable, shift, (least + most) / 2)
    radius = np.where(stable, 0.0, (most - least) / 2)
    loose = np.nonzero(~stable)[0]
    live = _grown(live, len(loose))
    z = live[node.arg]
    forms = (z.forms.reshape(1, -1, units) * slope).copy()
    forms[0, -1] += middle_shift
    begin = forms.shape[1] - 1 - len(loose)
    forms[0, begin + np.arange(len(loose)), loose] = radius[loose]
    size = np.abs(low) + np.abs(high) + np.abs(y_low) + np.abs(y_high) + np.abs(middle_shift)
    error = np.abs(slope) * z.error.reshape(1, -1) + 32 * UNIT * (1 + np.abs(slope)) * size
    live[place] = Live(forms.reshape(1, -1, *node.shape), error.reshape(1, *node.shape))
    return live


@dataclass(frozen=True, eq=False)
class _Row:
    """``z - t`` of one loose threshold: coefficients over the variables, error, range."""

    form: Array
    error: float
    low: float
    high: float


class Relaxation:
    """Variables ``(e_1 .. e_n, h_1 .. h_k)``: ``x = center + half * e``, and one per loose row.

    Args:
        program: the prepared network, ``g`` its output 0.
        center: shape ``(n,)``.
        half: half widths of the box, shape ``(n,)``.
    """

    def __init__(self, program: Program, center: Array, half: Array) -> None:
        """Build the program's forms over the variables."""
        self.n = len(center)
        self.center, self.half = center, half
        bounds, self.g_range = ranges(program, center, half)
        rows: list[_Row] = []
        tops: list[float] = []
        live = _start(program, center, half)
        for place, node in enumerate(program.network.nodes):
            columns = self.n + len(tops) + 1
            far = np.array([[1.0] * self.n + tops + [1.0]])
            match node:
                case ir.Affine():
                    args = [live[arg] for arg in node.args]
                    live[place] = affine_forms(node, args, far)
                case ir.Constant():
                    forms = np.zeros((1, columns, *node.shape))
                    forms[0, -1] = node.value
                    live[place] = Live(forms, np.zeros((1, *node.shape)))
                case ir.Elementwise():
                    live = self._enter(live, place, node, program, bounds[place], rows, tops)
                case _:
                    pass
            for arg in set(node.args):
                if program.last[arg] == place:
                    live.pop(arg, None)
        out = live[program.outputs[0]]
        total = self.n + len(rows)
        self.g = out.forms.reshape(out.forms.shape[1], -1)[:, 0]
        self.g_error = float(out.error.reshape(-1)[0])
        self.rows = rows
        self.low = np.concatenate([-np.ones(self.n), np.zeros(len(rows))])
        self.high = np.concatenate([np.ones(self.n), np.array(tops)])
        self._matrix(total)

    def _enter(
        self,
        live: dict[int, Live],
        place: int,
        node: ir.Elementwise,
        program: Program,
        bounds: tuple[Array, Array],
        rows: list[_Row],
        tops: list[float],
    ) -> dict[int, Live]:
        table = program.tables[place]
        low, high = bounds
        units = len(low)
        thresholds = table.thresholds.reshape(table.count, units)
        slopes = table.slopes.reshape(-1, units)
        intercepts = table.intercepts.reshape(-1, units)
        z = live[node.arg]
        forms = z.forms.reshape(-1, units)
        far = np.array([[1.0] * self.n + tops + [1.0]])
        size = reached(z.forms, far).reshape(-1)
        loose = (thresholds > low) & (thresholds < high)
        side = (low >= thresholds).sum(axis=0)[None]
        slope = np.take_along_axis(slopes, side, 0)[0]
        shift = np.take_along_axis(intercepts, side, 0)[0]
        error = np.abs(slope) * z.error.reshape(-1) + 4 * UNIT * (
            np.abs(slope) * size + np.abs(shift)
        )
        places = [(k, u) for u in range(units) for k in range(table.count) if loose[k, u]]
        jumps = []
        for k, u in places:
            t = thresholds[k, u]
            row = forms[:, u].copy()
            row[-1] -= t
            doubt = float(z.error.reshape(-1)[u] + 4 * UNIT * (size[u] + abs(t)))
            rows.append(_Row(row, doubt, float(low[u] - t), float(high[u] - t)))
            tops.append(float(high[u] - t))
            jump = slopes[k + 1, u] - slopes[k, u]
            jumps.append(jump)
            error[u] += 4 * UNIT * abs(jump) * tops[-1]
        live = _grown(live, len(places))
        out = live[node.arg].forms.reshape(-1, units) * slope
        out[-1] += shift
        begin = len(out) - 1 - len(places)
        for m, ((_, u), jump) in enumerate(zip(places, jumps, strict=True)):
            out[begin + m, u] = jump
        live[place] = Live(out.reshape(1, -1, *node.shape), error.reshape(1, *node.shape))
        return live

    def _matrix(self, total: int) -> None:
        """Write ``h >= z``, the chord, and ``h <= z`` (switched on by branching)."""
        count = len(self.rows)
        A = np.zeros((3 * count, total))
        b = np.zeros(3 * count)
        for k, row in enumerate(self.rows):
            form = np.zeros(total)
            form[: len(row.form) - 1] = row.form[:-1]
            c = row.form[-1]
            chord = row.high / (row.high - row.low)
            h = self.n + k
            A[k] = form
            A[k, h] -= 1.0
            b[k] = -c + row.error
            A[count + k] = -chord * form
            A[count + k, h] += 1.0
            b[count + k] = chord * (c - row.low) + row.error + 8 * UNIT * (abs(c) + abs(row.low))
            A[2 * count + k] = -form
            A[2 * count + k, h] += 1.0
            b[2 * count + k] = c + row.error
        self.A, self.b = A, b
        g = np.zeros(total)
        g[: len(self.g) - 1] = self.g[:-1]
        self.g_row, self.g_shift = g, float(self.g[-1])

    def node(self, sides: dict[int, bool]) -> tuple[Array, Array, Array]:
        """Return the right-hand sides and variable bounds where some rows have a fixed side."""
        count = len(self.rows)
        b = self.b.copy()
        high = self.high.copy()
        for k in range(count):
            if not sides.get(k, False):
                row = self.rows[k]
                b[2 * count + k] = abs(row.low) + row.high + row.error + 1.0
            if sides.get(k) is False:
                high[self.n + k] = 0.0
        return b, self.low, high

    def gaps(self, v: Array) -> Array:
        """Return how far each ``h`` is above ``max(0, z)`` at a point of the program."""
        if not self.rows:
            return np.zeros(0)
        count = len(self.rows)
        z = self.A[:count] @ v - self.b[:count]
        h = v[self.n :]
        z = z + h + np.array([row.error for row in self.rows])
        return np.asarray(h - np.maximum(z, 0.0))

    def point(self, v: Array) -> Array:
        """Return the input of a point of the program."""
        return np.asarray(self.center + self.half * v[: self.n])


def proven_bound(
    c: Array, shift: float, A: Array, b: Array, low: Array, high: Array
) -> tuple[float, Array | None]:
    """Return a proven lower bound of ``min c v + shift`` under ``A v <= b``, and a point.

    The bound is ``inf`` when a multiplier proves that there is no such ``v``.

    Guarantee: certified; a failed linear program gives the bound of the box alone.
    """
    found = linprog(c, A_ub=A if len(A) else None, b_ub=b if len(A) else None,
                    bounds=np.stack([low, high], axis=1), method="highs")  # fmt: skip
    if found.status == 0:
        y = np.maximum(0.0, -found.ineqlin.marginals) if len(A) else np.zeros(0)
        return _weak(c, shift, A, b, low, high, y), found.x
    if found.status == 2 and len(A):
        # Infeasible: the multipliers of the least violation prove it when their bound is positive.
        wide = np.concatenate([A, -np.ones((len(A), 1))], axis=1)
        phase = linprog(
            np.concatenate([np.zeros(len(c)), [1.0]]), A_ub=wide, b_ub=b,
            bounds=np.concatenate([np.stack([low, high], axis=1), [[0.0, 1e9]]]), method="highs",
        )  # fmt: skip
        if phase.status == 0:
            y = np.maximum(0.0, -phase.ineqlin.marginals)
            if _weak(np.zeros(len(c)), 0.0, A, b, low, high, y) > 0:
                return np.inf, None
    return _weak(c, shift, A, b, low, high, np.zeros(len(A))), None


def _weak(c: Array, shift: float, A: Array, b: Array, low: Array, high: Array, y: Array) -> float:
    """Return weak duality's bound minus its rounding error."""
    reduced = c + A.T @ y if len(A) else c
    terms = np.minimum(reduced * low, reduced * high)
    reach = np.maximum(np.abs(low), np.abs(high))
    size = np.abs(c) + (np.abs(A).T @ y if len(A) else 0.0)
    dual = float(y @ b) if len(A) else 0.0
    total = float(size @ reach) + float(np.abs(y) @ np.abs(b) if len(A) else 0.0) + abs(shift)
    slack = (len(c) + len(b) + 16) * UNIT * total * 2
    return float(terms.sum()) - dual + shift - slack
