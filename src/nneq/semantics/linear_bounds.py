r"""Linear lower and upper bounds of a network on boxes and balls (CROWN), proven.

For every node that feeds a nonlinear one, and for the outputs, the rows :math:`\Lambda` of
:math:`\Lambda x + c` are pulled back from the node to the inputs; each nonlinear node on the way is
replaced by straight lines around it on the range found for its argument.  Ranges of interval
arithmetic are intersected on the way, so nothing is ever wider than those.

Rounding is carried in adjoint form.  When a row is pulled through a node ``v``, the rounded new
coefficients differ from the exact ones by at most :math:`\gamma |\Lambda||W|`; applied to arguments
of magnitude at most ``M`` that is :math:`|\Lambda| \gamma |W| M`.  So each node has a vector of
slips, and ``|rows| @ slip`` is added to the error: no more than the rows themselves already cost.
In ``precision="float32"`` the slips also hold the node's own error when it is executed in float32.

References:
    Zhang et al. 2018, "Efficient Neural Network Robustness Certification with General Activation
    Functions"; Higham 2002, section 3.1, for the rounding errors.
"""

from __future__ import annotations

import math
from concurrent.futures import Executor
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from nneq.ir import network as ir
from nneq.ir.linear_map import Dense, LinearMap
from nneq.semantics import local_lines as local
from nneq.semantics.ball import TINY, UNIT, UNIT32, Ball, Balls, gamma
from nneq.semantics.domain import Domain
from nneq.semantics.rows import Forms, Rows
from nneq.semantics.shares import shared

__all__ = ["Forms", "LinearBounds"]

Array = np.ndarray[Any, Any]

_ROWS_LIMIT = 1 << 25
_BATCH_LIMIT = 1 << 22
_TASK = 64  # sets, for one worker


@dataclass(eq=False)
class _State:
    """What is known of every node on a batch of sets."""

    domain: Domain
    ranges: dict[int, Ball] = field(default_factory=dict)
    sizes: dict[int, Array] = field(default_factory=dict)
    ends: dict[int, tuple[Array, Array]] = field(default_factory=dict)
    steps: dict[int, local.Step] = field(default_factory=dict)
    affine: dict[int, tuple[list[list[tuple[LinearMap, Array | None]]], Array]] = field(
        default_factory=dict
    )


class LinearBounds:
    """Bounds of one network, for any number of batches of sets.

    Args:
        network: over the flat inputs ``x_1 ... x_n`` (ports in order, row-major).
        precision: ``real``: the real-number function of the stored weights; ``float32``: also the
            network executed in float32 in any order of summation.
        adaptive: slopes of their own for lower and upper lines; None: at activations with kinks.
        executor: shares large batches of sets among its workers; None: none.

    Guarantee: certified.
    """

    def __init__(
        self,
        network: ir.Network,
        *,
        precision: str = "real",
        adaptive: bool | None = None,
        executor: Executor | None = None,
    ) -> None:
        """Prepare the rows that do not depend on the sets."""
        self.network = network
        self.unit = UNIT32 if precision == "float32" else UNIT
        self.adaptive = adaptive
        self.executor = executor
        self._balls = Balls(precision)
        self._needed = _needed(network)
        self._sloped = {
            arg
            for place in self._needed
            if not isinstance(network.nodes[place], ir.Affine)
            for arg in network.nodes[place].args
            if isinstance(network.nodes[arg], ir.Affine)
        }
        self._first: dict[int, list[tuple[int, Array]] | None] = {}
        widest = max(math.prod(node.shape) for node in network.nodes)
        rows = [math.prod(network.nodes[p].shape) for p in self._sloped]
        self.batch = max(1, _BATCH_LIMIT // (widest * max([1, *rows])))

    def __call__(self, domain: Domain, port: int = 0) -> Forms:
        """Return linear bounds of the entries of one output port on every set."""
        size = self.batch if self.executor is None else min(self.batch, _TASK)
        place = self.network.outputs[port].node
        parts = shared(self.executor, partial(self._bounded, place), domain.count, size, domain)
        return _joined(parts) if len(parts) > 1 else parts[0]

    def __getstate__(self) -> dict[str, Any]:
        """Return what a worker needs."""
        return {**self.__dict__, "executor": None}

    def _bounded(self, place: int, domain: Domain) -> Forms:
        with np.errstate(all="ignore"):
            return self._forms(self._run(domain), place)

    def ranges(self, domain: Domain) -> list[tuple[Array, Array]]:
        """Return proven ``(low, high)`` of every output port, shapes ``(B, *shape)``."""
        found: list[list[tuple[Array, Array]]] = []
        with np.errstate(all="ignore"):
            for start in range(0, domain.count, self.batch):
                state = self._run(domain[start : start + self.batch])
                count = state.domain.count
                parts = []
                for port in self.network.outputs:
                    forms = self._forms(state, port.node)
                    shape = (count, *port.shape)
                    parts.append((forms.low.reshape(shape), forms.high.reshape(shape)))
                found.append(parts)
        return [
            (np.concatenate([p[k][0] for p in found]), np.concatenate([p[k][1] for p in found]))
            for k in range(len(self.network.outputs))
        ]

    # -------------------------------------------------------------------------------- forward
    def _run(self, domain: Domain) -> _State:
        state = _State(domain)
        magnitude = domain.magnitude()
        offset = 0
        extra = self.unit * magnitude + 1e-44 if self.unit != UNIT else np.zeros(1)
        for port in self.network.inputs:
            cut = slice(offset, offset + port.size)
            shape = (domain.count, *port.shape)
            reach = (domain.reach + extra)[:, cut] * (1 + 4 * UNIT)
            ball = Ball(domain.center[:, cut].reshape(shape), reach.reshape(shape))
            self._keep(state, port.node, ball)
            offset += port.size
        for place in self._needed:
            node = self.network.nodes[place]
            if isinstance(node, ir.Input):
                continue
            args = [state.ranges[arg] for arg in node.args]
            match node:
                case ir.Affine():
                    self._keep(state, place, self._balls.affine(node, args))
                    if state.domain.ends is not None:
                        self._endless(state, place, node)
                    state.affine[place] = self._slips(state, node)
                    if place in self._sloped:
                        self._sharpen(state, place)
                case ir.Constant():
                    self._keep(state, place, self._balls.constant(node))
                case _:
                    ends = state.ends.get(node.args[0], (args[0].lower, args[0].upper))
                    step = local.step(node, args, ends, self._balls, self.adaptive)
                    state.steps[place] = step
                    self._keep(state, place, step.range)
        return state

    def _keep(self, state: _State, place: int, ball: Ball) -> None:
        state.ranges[place] = ball
        state.sizes[place] = ball.magnitude()

    def _sharpen(self, state: _State, place: int) -> None:
        """Intersect the node's interval with its linear bounds."""
        old = state.ranges[place]
        forms = self._pull(state, place)
        if forms is None:
            return
        shape = (state.domain.count, *self.network.nodes[place].shape)
        known = state.ends.get(place, (old.lower, old.upper))
        low = np.fmax(known[0], forms.low.reshape(shape))
        high = np.fmin(known[1], forms.high.reshape(shape))
        low = np.where(np.isnan(low), -np.inf, low)
        high = np.where(np.isnan(high), np.inf, np.maximum(low, high))
        state.ends[place] = low, high
        ball = Ball.interval(low, high)
        open_ = ~(np.isfinite(low) & np.isfinite(high))
        if open_.any():
            ball = Ball(np.where(open_, 0.0, ball.mid), np.where(open_, np.inf, ball.rad))
        self._keep(state, place, ball)

    def _endless(self, state: _State, place: int, node: ir.Affine) -> None:
        """Find the ends of an affine node over inputs of which some are unbounded.

        Unbounded inputs count as 0 in the finite part; a weight on them opens one end.
        """
        ports = {port.node: port for port in self.network.inputs}
        if state.domain.ends is None or any(arg not in ports for arg in node.args):
            return
        parts, offset = {}, 0
        for port in self.network.inputs:
            shape = (state.domain.count, *port.shape)
            cut = slice(offset, offset + port.size)
            parts[port.node] = [end[:, cut].reshape(shape) for end in state.domain.ends]
            offset += port.size
        balls = []
        up = np.zeros((state.domain.count, *node.shape))
        down = up
        for term in node.terms:
            low, high = parts[term.arg]
            closed = np.isfinite(low) & np.isfinite(high)
            balls.append(Ball.interval(np.where(closed, low, 0.0), np.where(closed, high, 0.0)))
            # half-bounded inputs: the bounded side is kept as an offset of the open side
            base = np.where(closed, 0.0, np.where(np.isfinite(low), low, 0.0))
            base = np.where(~closed & np.isfinite(high), high, base)
            balls[-1] = Ball(balls[-1].mid + base, balls[-1].rad)
            rise, fall = np.isinf(high).astype(float), np.isinf(low).astype(float)
            for stage in term.map.stages():
                rise, fall = (
                    _positive(stage, rise) + _negative(stage, fall),
                    _positive(stage, fall) + _negative(stage, rise),
                )
            up, down = up + rise, down + fall
        ball = self._balls.affine(node, balls)
        state.ends[place] = (
            np.where(down > 0, -np.inf, ball.lower),
            np.where(up > 0, np.inf, ball.upper),
        )

    def _slips(
        self, state: _State, node: ir.Affine
    ) -> tuple[list[list[tuple[LinearMap, Array | None]]], Array]:
        """Return the adjoint stages of every term with their slips, and the slip of the node."""
        slip = np.zeros((1, *node.shape))
        terms = []
        bias = 0.0 if node.bias is None else np.abs(node.bias.astype(np.float64))
        whole = np.zeros((1, *node.shape)) + bias
        for term in node.terms:
            size = state.sizes[term.arg]
            own = np.zeros((1, *term.map.in_shape))
            stages: list[tuple[LinearMap, Array | None]] = []
            for stage in term.map.stages():
                adjoint = stage.transpose()
                fan = stage.fan_in
                size = stage.apply_abs(size) * (1 + gamma(fan + 8)) + TINY * (fan > 0)
                if self.unit != UNIT:
                    own = stage.apply_abs(own) + gamma(fan + 2, self.unit) * size * (fan > 0)
                width = adjoint.fan_in
                stages.append((adjoint, gamma(width + 8) * size if width else None))
            terms.append(stages[::-1])
            whole = whole + size
            if self.unit != UNIT:
                slip = slip + own
        slip = slip + gamma(math.prod(node.shape) + 8) * bias
        if self.unit != UNIT:
            slip = (slip + gamma(len(node.terms) + 2, self.unit) * whole) * 1.0625
        return terms, slip

    # ------------------------------------------------------------------------------- backward
    def _forms(self, state: _State, place: int) -> Forms:
        forms = self._pull(state, place)
        ball = state.ranges[place]
        count = state.domain.count
        size = math.prod(self.network.nodes[place].shape)
        low = np.broadcast_to(ball.lower, (count, *ball.shape[1:])).reshape(count, size)
        high = np.broadcast_to(ball.upper, (count, *ball.shape[1:])).reshape(count, size)
        low = np.where(np.isnan(low), -np.inf, low)
        high = np.where(np.isnan(high), np.inf, high)
        if forms is None:
            zero = np.zeros((1, size, state.domain.center.shape[1]))
            return Forms(zero, low, zero, high, low, high)
        return Forms(
            forms.slope_low,
            forms.offset_low,
            forms.slope_high,
            forms.offset_high,
            np.fmax(low, forms.low),
            np.fmin(high, forms.high),
        )

    def _first_rows(self, place: int, node: ir.Affine) -> list[tuple[int, Array]] | None:
        """Return the node's own rows per term, ``(1, K, *in_shape)``, if they are exact weights."""
        if place not in self._first:
            exact = all(_plain(term.map) for term in node.terms)
            self._first[place] = (
                [(term.arg, _unit_rows(term.map)) for term in node.terms] if exact else None
            )
        return self._first[place]

    def _pull(self, state: _State, place: int) -> Forms | None:
        """Return the linear bounds of every entry of a node, or None when it is too large."""
        node = self.network.nodes[place]
        size = math.prod(node.shape)
        inside = max(math.prod(self.network.nodes[arg].shape) for arg in (place, *node.args))
        if size * inside > _ROWS_LIMIT:
            return None
        rows = Rows(state.domain, state.sizes, size)
        first = self._first_rows(place, node) if isinstance(node, ir.Affine) else None
        if isinstance(node, ir.Affine) and first is not None:
            for arg, part in first:
                rows.add(arg, part, part)
            slip = state.affine[place][1].reshape(-1, size)
            bias = np.zeros((1, size))
            if node.bias is not None:
                bias = bias + np.broadcast_to(node.bias, node.shape).reshape(1, size)
            rows.shift(bias - slip, bias + slip)
        else:
            eye = np.eye(size).reshape(1, size, *node.shape)
            rows.add(place, eye, eye)
        for arg in range(place, -1, -1):
            if arg in rows.waiting:
                self._through(state, rows, arg)
        return rows.finish(self.network, self.unit)

    def _through(self, state: _State, rows: Rows, place: int) -> None:
        """Pull the rows that wait at a node through it."""
        node = self.network.nodes[place]
        if isinstance(node, ir.Input):
            return
        low, high = rows.waiting.pop(place)
        match node:
            case ir.Constant():
                value = node.value.astype(np.float64)[None]
                rows.offset(low, high, value, gamma(node.value.size + 8) * np.abs(value))
            case ir.Affine():
                terms, slip = state.affine[place]
                bias = np.zeros((1, *node.shape))
                if node.bias is not None:
                    bias = bias + node.bias
                rows.offset(low, high, bias, slip)
                for term, stages in zip(node.terms, terms, strict=True):
                    rows.add(term.arg, *rows.transposed(low, high, stages))
            case _:
                step = state.steps[place]
                rows.offset(low, high, step.middle, step.spread)
                for arg, part_low, part_high in step.pull(low, high):
                    rows.add(arg, part_low, part_high)


def _needed(network: ir.Network) -> list[int]:
    """Return the places that reach an output, in order."""
    wanted = {port.node for port in network.outputs}
    for place in range(len(network.nodes) - 1, -1, -1):
        if place in wanted:
            wanted.update(network.nodes[place].args)
    return sorted(wanted)


def _positive(stage: LinearMap, count: Array) -> Array:
    """Return how many of the marked entries meet a positive weight."""
    return stage.apply(count, lambda weight: (weight > 0).astype(np.float64))


def _negative(stage: LinearMap, count: Array) -> Array:
    """Return how many of the marked entries meet a negative weight."""
    if not stage.parameters:
        return np.zeros((count.shape[0], *stage.out_shape))
    return stage.apply(count, lambda weight: (weight < 0).astype(np.float64))


def _plain(map_: LinearMap) -> bool:
    """Return whether the map's rows are its stored weights, moved but never summed."""
    stages = map_.stages()
    weighted = [stage for stage in stages if stage.parameters]
    moves = [stage for stage in stages if not stage.parameters]
    return len(weighted) <= 1 and all(
        stage.fan_in == 0 and stage.transpose().fan_in == 0 for stage in moves
    )


def _unit_rows(map_: LinearMap) -> Array:
    """Return the rows ``(1, out_size, *in_shape)`` of the map."""
    if isinstance(map_, Dense) and not map_.lead:
        return map_.weight.astype(np.float64)[None]
    eye = np.eye(map_.out_size).reshape(map_.out_size, *map_.out_shape)
    return map_.transpose().apply(eye)[None]


def _joined(parts: list[Forms]) -> Forms:
    def whole(name: str) -> Array:
        arrays = [getattr(part, name) for part in parts]
        counts = [part.low.shape[0] for part in parts]
        full = [np.broadcast_to(a, (n, *a.shape[1:])) for a, n in zip(arrays, counts, strict=True)]
        return np.concatenate(full)

    low = whole("slope_low")
    parallel = all(part.slope_low is part.slope_high for part in parts)
    return Forms(
        low,
        whole("offset_low"),
        low if parallel else whole("slope_high"),
        whole("offset_high"),
        whole("low"),
        whole("high"),
    )
