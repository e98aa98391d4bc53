r"""Many lines at once through one network: the pieces, with a proven error for every number.

A piece of a line is the span of two homogeneous points ``(p, q)`` (``t = p / q``; ``q = 0`` is
infinity), and every live tensor is an affine form ``a p + c q`` on it, so that an affine node is
just evaluated on the two coefficient samples: one walker serves dense, convolutional, residual and
pooled networks.  With each form goes a bound of its distance from the true function on the whole
piece.  The bound covers rounding (:math:`\gamma_n |W| |x|`) and also units whose side could not be
told: choosing the wrong side of a threshold costs no more than the overshoot.  Nothing therefore
rests on a comparison of rounded numbers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from nneq.boundary.pwl.spectral import norm as norm_of
from nneq.boundary.results import Clock
from nneq.ir import network as ir
from nneq.semantics.pattern import Hinges, expand_maximum, hinges, split_inputs
from nneq.semantics.rounding import require_nearest

__all__ = ["UNIT", "Live", "Program", "Strips", "affine_forms", "reached", "walk_lines"]

Array = np.ndarray[Any, Any]
UNIT = 2.0**-53
_CHUNK = 1 << 20
_TINY = 1e-300
_DEEP = 8


@dataclass(frozen=True, eq=False)
class Live:
    """Forms ``(N, D, *shape)`` and their error: entry by entry, or as one Euclidean norm.

    Args:
        forms: coefficients, the constant one last.
        error: bound of every entry's error, shape ``(N, *shape)``; zeros when ``norm`` is given.
        norm: bound of the Euclidean norm of the error of the whole tensor, shape ``(N,)``.
    """

    forms: Array
    error: Array
    norm: Array | None = None

    def take(self, index: Any) -> Live:
        """Return the pieces at ``index``."""
        forms = self.forms[index]
        if self.norm is None:
            return Live(forms, self.error[index])
        zeros = np.broadcast_to(0.0, (len(forms), *self.error.shape[1:]))
        return Live(forms, zeros, self.norm[index])


@dataclass(frozen=True, eq=False)
class _State:
    line: Array
    start: Array
    end: Array
    live: dict[int, Live]

    def __len__(self) -> int:
        return len(self.line)

    def take(self, index: Any) -> _State:
        live = {k: v.take(index) for k, v in self.live.items()}
        return _State(self.line[index], self.start[index], self.end[index], live)


@dataclass(frozen=True, eq=False)
class Strips:
    """Pieces of lines, sorted by line and position.

    Args:
        line: the number of the line, shape ``(N,)``.
        start: homogeneous start ``(p, q)``, shape ``(N, 2)``.
        end: homogeneous end, shape ``(N, 2)``.
        forms: the outputs ``a p + c q``, shape ``(N, 2, m)``.
        error: proven bound of the outputs' error on the piece, shape ``(N, m)``.
        done: False where the budget ended before the piece was cut to the end.
    """

    line: Array
    start: Array
    end: Array
    forms: Array
    error: Array
    done: Array


class Program:
    """A piecewise-linear network made ready for the walkers: maxima expanded, pieces tabulated."""

    def __init__(self, network: ir.Network) -> None:
        """Prepare ``network``."""
        require_nearest()
        self.network = expand_maximum(network)
        self.tables: dict[int, Hinges] = {}
        self.last: dict[int, int] = {}
        self.outputs = tuple(port.node for port in self.network.outputs)
        for place, node in enumerate(self.network.nodes):
            if isinstance(node, ir.Elementwise):
                self.tables[place] = hinges(node)
            for arg in node.args:
                self.last[arg] = place
        for place in self.outputs:
            self.last[place] = len(self.network.nodes)

    @property
    def size(self) -> int:
        """The number of output entries."""
        return sum(port.size for port in self.network.outputs)

    @cached_property
    def deep(self) -> bool:
        """Whether errors are bounded by Euclidean norms: there are many layers with weights."""
        layers = [
            node
            for node in self.network.nodes
            if isinstance(node, ir.Affine)
            and any(s.fan_in > 1 for t in node.terms for s in t.map.stages())
        ]
        return len(layers) > _DEEP

    @property
    def units(self) -> int:
        """The number of thresholds (units times thresholds of a unit)."""
        return sum(table.thresholds.size for table in self.tables.values())

    @property
    def work(self) -> int:
        """Multiplications of one evaluation (an estimate)."""
        total = 0
        for node in self.network.nodes:
            if isinstance(node, ir.Affine):
                for term in node.terms:
                    total += sum(s.fan_in * s.out_size for s in term.map.stages())
        return max(total, 1)


def _shaped(vector: Array, like: Array) -> Array:
    return vector.reshape(-1, *(1,) * (like.ndim - 1))


def reached(forms: Array, far: Array) -> Array:
    """Return a bound of ``|forms|`` on the piece: the absolute coefficients times ``far``.

    Args:
        forms: shape ``(N, D, *shape)``.
        far: largest absolute coordinates, shape ``(N, D)``.
    """
    total = np.abs(forms[:, 0]) * _shaped(far[:, 0], forms[:, 0])
    for d in range(1, forms.shape[1]):
        total += np.abs(forms[:, d]) * _shaped(far[:, d], forms[:, 0])
    return np.asarray(total)


def affine_forms(node: ir.Affine, args: Sequence[Live], far: Array) -> Live:
    """Return an affine node's forms and errors on ``N`` pieces with ``D`` coefficients each.

    The last coefficient is the constant one; ``far`` is ``(N, D)``: the largest absolute value of
    every coordinate on the piece.
    """
    if args and args[0].norm is not None:
        return _affine_norm(node, args, far)
    count, columns = far.shape
    total: Array | None = None
    error: Array | None = None
    terms = len(node.terms) + 2
    for term, live in zip(node.terms, args, strict=True):
        forms, bound = live.forms, live.error
        for stage in term.map.stages():
            if stage.fan_in:
                gamma = (stage.fan_in + terms + 2) * UNIT * 1.01
                size = reached(forms, far)
                size *= gamma
                size += bound
                bound = stage.apply_abs(size) * (1 + 2 * gamma)
            else:
                bound = stage.apply_abs(bound)
            forms = stage.apply(forms.reshape(columns * count, *stage.in_shape))
            forms = forms.reshape(count, columns, *stage.out_shape)
        total = forms if total is None else total + forms
        error = bound if error is None else error + bound
    if total is None or error is None:
        total = np.zeros((count, columns, *node.shape))
        error = np.zeros((count, *node.shape))
    if len(node.terms) > 1:
        error = error + terms * UNIT * reached(total, far)
    if node.bias is not None:
        full = np.broadcast_to(node.bias, node.shape).astype(np.float64, copy=False)
        total = np.array(total)
        total[:, -1] += full
        slack = 2 * UNIT * (np.abs(full) + np.abs(total[:, -1]))
        error = error + slack * _shaped(far[:, -1], error)
    return Live(total, error + _TINY)


def _affine_norm(node: ir.Affine, args: Sequence[Live], far: Array) -> Live:
    """Return an affine node's forms with the Euclidean norm of their error."""
    count, columns = far.shape
    terms = len(node.terms) + 2
    total = np.zeros((count, columns, *node.shape))
    norm = np.zeros(count)
    for term, live in zip(node.terms, args, strict=True):
        forms, bound = live.forms, live.norm
        bound = np.zeros(count) if bound is None else bound
        for stage in term.map.stages():
            bound = bound * norm_of(stage)
            if stage.fan_in:
                gamma = (stage.fan_in + terms + 2) * UNIT * 1.01
                bound = bound + _euclid(stage.apply_abs(reached(forms, far))) * gamma
            forms = stage.apply(forms.reshape(columns * count, *stage.in_shape))
            forms = forms.reshape(count, columns, *stage.out_shape)
        total += forms
        norm += bound
    slack = terms * UNIT * reached(total, far)
    if node.bias is not None:
        full = np.broadcast_to(node.bias, node.shape).astype(np.float64, copy=False)
        total[:, -1] += full
        slack += 2 * UNIT * (np.abs(full) + np.abs(total[:, -1])) * _shaped(far[:, -1], slack)
    zeros = np.broadcast_to(0.0, (count, *node.shape))
    return Live(total, zeros, norm + _euclid(slack) + _TINY)


def _euclid(values: Array) -> Array:
    flat = values.reshape(len(values), -1)
    return np.asarray(np.sqrt((flat * flat).sum(axis=1)) * (1 + 1e-9))


def _far(state: _State) -> Array:
    return np.maximum(np.abs(state.start), np.abs(state.end))


def _gaps(z: Live, table: Hinges, k: int, state: _State, far: Array) -> tuple[Array, ...]:
    """Return the gap to threshold ``k`` at both ends, and the tolerance of both."""
    a, c = z.forms[:, 0], z.forms[:, 1]
    threshold = table.thresholds[k]
    plain = not np.any(threshold)
    offset = c if plain else c - threshold
    low = a * _shaped(state.start[:, 0], a) + offset * _shaped(state.start[:, 1], a)
    high = a * _shaped(state.end[:, 0], a) + offset * _shaped(state.end[:, 1], a)
    size = np.abs(a) * _shaped(far[:, 0], a)
    size += (np.abs(c) + (0.0 if plain else np.abs(threshold))) * _shaped(far[:, 1], a)
    return low, high, z.error + 8 * UNIT * size


def _cuts(z: Live, table: Hinges, state: _State, far: Array) -> tuple[Array, Array, Array]:
    """Return ``(piece, t, slack)`` of every certain crossing, sorted by piece and ``t``."""
    pieces, places, slacks = [], [], []
    for k in range(table.count):
        low, high, tolerance = _gaps(z, table, k, state, far)
        crossing = (low < -tolerance) & (high > tolerance)
        crossing |= (low > tolerance) & (high < -tolerance)
        found = np.nonzero(crossing)
        if not found[0].size:
            continue
        a, c = z.forms[:, 0][found], z.forms[:, 1][found]
        threshold = np.broadcast_to(table.thresholds[k], crossing.shape[1:])[found[1:]]
        pieces.append(found[0])
        places.append((threshold - c) / a)
        slacks.append(tolerance[found] / np.abs(a))
    if not pieces:
        empty = np.zeros(0)
        return empty.astype(int), empty, empty
    piece, t, slack = np.concatenate(pieces), np.concatenate(places), np.concatenate(slacks)
    order = np.lexsort((t, piece))
    piece, t, slack = piece[order], t[order], slack[order]
    # Crossings closer than their uncertainty are one breakpoint; the error bound covers the rest.
    keep = np.ones(len(piece), dtype=bool)
    near = (piece[1:] == piece[:-1]) & (t[1:] - t[:-1] <= slack[1:] + slack[:-1])
    keep[1:] = ~near
    with np.errstate(divide="ignore"):
        first = state.start[piece, 0] / state.start[piece, 1]
        last = state.end[piece, 0] / state.end[piece, 1]
    keep &= (t > first) & (t < last)
    return piece[keep], t[keep], slack[keep]


def _split(state: _State, piece: Array, t: Array) -> _State:
    """Return the state with ``piece`` cut at ``t`` (both sorted)."""
    if not len(piece):
        return state
    counts = np.bincount(piece, minlength=len(state))
    index = np.repeat(np.arange(len(state)), counts + 1)
    new = state.take(index)
    place = np.arange(len(piece)) + piece
    start, end = new.start.copy(), new.end.copy()
    end[place] = np.stack([t, np.ones_like(t)], axis=1)
    start[place + 1] = np.stack([t, np.ones_like(t)], axis=1)
    return _State(new.line, start, end, new.live)


def _activate(table: Hinges, state: _State, z: Live) -> Live:
    """Return the piece each unit is on, as forms, with the error a wrong side would make."""
    far = _far(state)
    side = np.zeros(z.error.shape, dtype=np.intp)
    extra = np.zeros(z.error.shape)
    steepest = np.abs(table.slopes).max(initial=0.0)
    for k in range(table.count):
        low, high, tolerance = _gaps(z, table, k, state, far)
        above = (low + high) > 0
        side += above
        clear = np.where(above, np.minimum(low, high), np.minimum(-low, -high))
        jump = np.abs(table.slopes[k + 1] - table.slopes[k])
        extra += jump * np.maximum(0.0, tolerance - clear)
    simple = table.count == 1 and not np.any(table.intercepts)
    if simple:
        slope = np.where(side > 0, table.slopes[1], table.slopes[0])
        forms = z.forms * slope[:, None]
        error = np.abs(slope) * z.error + extra
        if not np.isin(slope, (-1.0, 0.0, 1.0)).all():
            error += 2 * UNIT * np.abs(slope) * reached(z.forms, far)
        return _passed(z, forms, error, steepest)
    slope = np.take_along_axis(table.slopes, side, 0)
    offset = np.take_along_axis(table.intercepts, side, 0)
    forms = z.forms * slope[:, None]
    forms[:, 1] += offset
    size = np.abs(slope) * reached(z.forms, far) + np.abs(offset) * _shaped(far[:, 1], offset)
    return _passed(z, forms, np.abs(slope) * z.error + extra + 4 * UNIT * size, steepest)


def _passed(z: Live, forms: Array, error: Array, steepest: float) -> Live:
    """Return the value of a unit: with norms, the unit is ``steepest``-Lipschitz."""
    if z.norm is None:
        return Live(forms, error)
    zeros = np.broadcast_to(0.0, error.shape)
    return Live(forms, zeros, z.norm * (steepest * (1 + 1e-9)) + _euclid(error))


class _Walker:
    def __init__(
        self, program: Program, clock: Clock, progress: Callable[[float], None] | None
    ) -> None:
        self.program = program
        self.clock = clock
        self.progress = progress
        self.done: list[Strips] = []
        self.interrupted = False

    def run(self, place: int, state: _State) -> None:
        nodes = self.program.network.nodes
        while place < len(nodes):
            if self.interrupted or self.clock.over:
                self.give_up(state)
                return
            try:
                parts = self.divided(place, state)
                if len(parts) > 1:
                    for part in parts:
                        self.run(place, part)
                    return
                state = self.step(place, state)
            except KeyboardInterrupt:
                self.interrupted = True
                self.give_up(state)
                return
            place += 1
        self.emit(state)

    def divided(self, place: int, state: _State) -> list[_State]:
        """Return the state in parts small enough for the next step, in order."""
        each = sum(v.error[0].size * 3 for v in state.live.values())
        count = len(state)
        if count * each > _CHUNK and count > 1:
            return [state.take(slice(0, count // 2)), state.take(slice(count // 2, None))]
        node = self.program.network.nodes[place]
        small = each < 4096 and count * each < _CHUNK // 16
        if small or not isinstance(node, ir.Elementwise):
            return [state]
        piece, t, _ = _cuts(state.live[node.arg], self.program.tables[place], state, _far(state))
        if (count + len(piece)) * each <= 4 * _CHUNK or not len(piece):
            return [state]
        if count > 1:
            return [state.take(slice(0, count // 2)), state.take(slice(count // 2, None))]
        # One large piece with many breakpoints: cut it at the middle one first.
        middle = len(t) // 2
        halves = _split(state, piece[middle : middle + 1], t[middle : middle + 1])
        return [halves.take(slice(0, 1)), halves.take(slice(1, 2))]

    def step(self, place: int, state: _State) -> _State:
        node = self.program.network.nodes[place]
        live = dict(state.live)
        match node:
            case ir.Affine():
                args = [state.live[arg] for arg in node.args]
                live[place] = affine_forms(node, args, _far(state))
            case ir.Elementwise():
                table = self.program.tables[place]
                z = state.live[node.arg]
                piece, t, _ = _cuts(z, table, state, _far(state))
                state = _split(state, piece, t)
                live = dict(state.live)
                live[place] = _activate(table, state, state.live[node.arg])
            case ir.Constant():
                forms = np.zeros((len(state), 2, *node.shape))
                forms[:, 1] = node.value
                norm = np.zeros(len(state)) if self.program.deep else None
                live[place] = Live(forms, np.zeros((len(state), *node.shape)), norm)
            case _:
                pass
        for arg in set(node.args):
            if self.program.last[arg] == place:
                live.pop(arg, None)
        return _State(state.line, state.start, state.end, live)

    def emit(self, state: _State) -> None:
        count = len(state)
        values = [state.live[place] for place in self.program.outputs]
        forms = np.concatenate([v.forms.reshape(count, 2, -1) for v in values], axis=2)
        error = np.concatenate(
            [
                v.error.reshape(count, -1) + (0.0 if v.norm is None else v.norm[:, None])
                for v in values
            ],
            axis=1,
        )
        self.clock.spend(count)
        done = np.ones(count, dtype=bool)
        self.done.append(Strips(state.line, state.start, state.end, forms, error, done))
        if self.progress is not None:
            self.progress(float(state.line[-1]))

    def give_up(self, state: _State) -> None:
        count, size = len(state), self.program.size
        self.done.append(
            Strips(
                state.line,
                state.start,
                state.end,
                np.zeros((count, 2, size)),
                np.full((count, size), math.inf),
                np.zeros(count, dtype=bool),
            )
        )


def walk_lines(
    program: Program,
    origins: Array,
    directions: Array,
    domain: tuple[float, float],
    clock: Clock,
    progress: Callable[[float], None] | None = None,
) -> tuple[Strips, bool]:
    """Return every piece of ``origins[k] + t * directions[k]``, ``t`` in ``domain``.

    Args:
        program: the prepared network.
        origins: shape ``(L, n)``.
        directions: shape ``(L, n)``.
        domain: the interval of ``t``; its ends may be infinite.
        clock: the budget; what it did not reach has ``done`` False.
        progress: called with the number of the line last finished.

    Returns:
        The pieces, and whether Ctrl-C ended the walk.

    Guarantee: certified: on each piece the true outputs lie within ``error`` of the forms.
    """
    low, high = domain
    count = len(origins)
    ends: list[tuple[float, float]] = [(low, 1.0) if math.isfinite(low) else (-1.0, 0.0)]
    if not math.isfinite(low) and not math.isfinite(high):
        ends.append((0.0, 1.0))
    ends.append((high, 1.0) if math.isfinite(high) else (1.0, 0.0))
    pieces = len(ends) - 1
    line = np.repeat(np.arange(count), pieces)
    start = np.tile(np.array(ends[:-1]), (count, 1))
    end = np.tile(np.array(ends[1:]), (count, 1))
    walker = _Walker(program, clock, progress)
    group = max(1, _CHUNK // max(1, origins.shape[1] * 3 * pieces))
    for begin in range(0, count, group):
        rows = np.repeat(np.arange(begin, min(begin + group, count)), pieces)
        block = slice(begin * pieces, begin * pieces + len(rows))
        columns = np.stack([directions[rows], origins[rows]], axis=1).reshape(2 * len(rows), -1)
        values = split_inputs(program.network, columns.astype(np.float64, copy=False))
        live = {
            place: Live(
                value.reshape(len(rows), 2, *value.shape[1:]),
                np.zeros((len(rows), *value.shape[1:])),
                np.zeros(len(rows)) if program.deep else None,
            )
            for place, value in values.items()
        }
        walker.run(0, _State(line[block], start[block], end[block], live))
    found = walker.done
    joined = Strips(
        *(
            np.concatenate([getattr(s, name) for s in found])
            for name in ("line", "start", "end", "forms", "error", "done")
        )
    )
    return joined, walker.interrupted
