r"""A network on many affine slices :math:`t \mapsto f(o + V t)` at once, ready for repeated use.

Everything before the first nonlinearity is affine in ``t``: it is computed once, in ball
arithmetic, as ``c + D t``, so the number of inputs of the model no longer matters.  Boxes and
points of any of the slices are then evaluated together.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from nneq.ir import network as ir
from nneq.ir.float64 import Float64
from nneq.semantics.ball import TINY, UNIT, UNIT32, Ball, Balls, gamma, linear
from nneq.semantics.branches import fork, met
from nneq.semantics.gradient import value_and_gradient
from nneq.semantics.jets import Jet, Jets
from nneq.semantics.ranges import is_kinked
from nneq.semantics.rounding import require_nearest
from nneq.semantics.shares import shared

__all__ = ["Front", "Slices", "is_rough"]

Array = np.ndarray[Any, Any]

_UP = 1.0 + 64 * UNIT
_KEPT_WEIGHTS = 1 << 22  # 64 megabytes in all
_TASKS = 16


def is_rough(network: ir.Network) -> bool:
    """Whether the network has kinks or jumps, so that Hessians need not exist everywhere."""
    return any(
        isinstance(node, ir.Maximum | ir.Select)
        or (isinstance(node, ir.Elementwise) and is_kinked(node.rule))
        for node in network.nodes
    )


@dataclass(slots=True, eq=False)
class Front:
    """A tensor that is affine in the slice's variables: ``value + sum_m slopes[m] t_m``.

    Args:
        value: balls ``(L, *shape)``, one row per slice.
        slopes: balls ``(L, *shape)`` (or one row for all slices) per variable.
        fuzz: float32 statements: the executed tensor is off by at most
            ``fuzz[0] + sum_m fuzz[m + 1] |t_m|``; empty otherwise.
    """

    value: Ball
    slopes: tuple[Ball, ...]
    fuzz: tuple[Array, ...] = ()


class Slices:
    """One network restricted to ``L`` slices of ``d`` variables.

    Args:
        network: over the flat inputs ``x_1 ... x_n`` (ports in order, row-major).
        origins: shape ``(L, n)``.
        directions: shape ``(n, d)`` for all slices, or ``(L, n, d)``.
        precision: ``"real"`` or ``"float32"``.
        executor: shares the boxes of large batches among its workers; None: none.
    """

    def __init__(
        self,
        network: ir.Network,
        origins: Array,
        directions: Array,
        *,
        precision: str = "real",
        executor: Executor | None = None,
    ) -> None:
        """Compute the affine part of every slice."""
        require_nearest()
        self.network = network
        self.executor = executor
        self.precision = precision
        self.float32 = precision == "float32"
        self.rough = is_rough(network)
        origins = np.asarray(origins, dtype=np.float64)
        directions = np.asarray(directions, dtype=np.float64)
        if directions.ndim == 2:
            directions = directions[None]
        self.lines, self.d = origins.shape[0], directions.shape[2]
        self.outputs = [port.node for port in network.outputs]
        self.fronts: dict[int, Front] = {}
        with np.errstate(all="ignore"):
            self._walk_front(origins, directions)
        self._program = self._live()
        self._keep_weights()
        self.depth = len(self._program)
        widest = max(
            (int(np.prod(node.shape, dtype=int)) for _, node, *_ in self._program), default=1
        )
        self.batch = max(128, (1 << 17) // (2 * self.d + 1) // widest)

    def __getstate__(self) -> dict[str, Any]:
        """Return what a worker needs."""
        return {**self.__dict__, "executor": None}

    @property
    def stride(self) -> int:
        """How many boxes to ask for at once."""
        return int(self.batch) * (1 if self.executor is None else _TASKS)

    # ---------------------------------------------------------------- the affine part
    def _walk_front(self, origins: Array, directions: Array) -> None:
        self.origins, self.directions = origins, directions
        offset = 0
        for port in self.network.inputs:
            part = slice(offset, offset + port.size)
            value = Ball.point(origins[:, part].reshape(-1, *port.shape))
            slopes = tuple(
                Ball.point(directions[:, part, m].reshape(-1, *port.shape)) for m in range(self.d)
            )
            fuzz = tuple(UNIT32 * np.abs(b.mid) * _UP + 1e-44 for b in (value, *slopes))
            self.fronts[port.node] = Front(value, slopes, fuzz if self.float32 else ())
            offset += port.size
        for place, node in enumerate(self.network.nodes):
            if isinstance(node, ir.Constant):
                value = Ball.point(np.broadcast_to(node.value, (self.lines, *node.shape)))
                zero = Ball.point(np.zeros((1, *node.shape)))
                fuzz = tuple(UNIT32 * np.abs(b.mid) * _UP for b in (value, *(zero,) * self.d))
                self.fronts[place] = Front(value, (zero,) * self.d, fuzz if self.float32 else ())
            elif isinstance(node, ir.Affine) and all(arg in self.fronts for arg in node.args):
                self.fronts[place] = self._affine(node)

    def _affine(self, node: ir.Affine) -> Front:
        args = [self.fronts[arg] for arg in node.args]
        rows = [
            [_mapped(term.map, front.value) for term, front in zip(node.terms, args, strict=True)]
        ]
        for m in range(self.d):
            rows.append(
                [
                    _mapped(term.map, front.slopes[m])
                    for term, front in zip(node.terms, args, strict=True)
                ]
            )
        zero = Ball.point(np.zeros((1, *node.shape)))
        sums = [_total(parts, zero) for parts in rows]
        value = sums[0]
        if node.bias is not None:
            value = value + Ball.point(np.broadcast_to(node.bias, node.shape)[None])
        shape = (self.lines, *node.shape)
        value = Ball(np.broadcast_to(value.mid, shape), np.broadcast_to(value.rad, shape))
        return Front(value, tuple(sums[1:]), self._affine_fuzz(node, args))

    def _affine_fuzz(self, node: ir.Affine, args: list[Front]) -> tuple[Array, ...]:
        """Return the float32 error of an affine node, split like its value and slopes.

        The error is at most ``|L| e + gamma (|L| (|x| + e) + |b|)`` with ``|x|`` bounded by
        ``|value| + sum_m |slopes[m]| |t_m|``, which is split in the same way.
        """
        if not self.float32:
            return ()
        found = []
        for k in range(1 + self.d):
            total: Any = 0.0
            for term, front in zip(node.terms, args, strict=True):
                ball = front.value if k == 0 else front.slopes[k - 1]
                error, size = front.fuzz[k], ball.magnitude() + front.fuzz[k]
                fan = len(node.terms) + 1
                for stage in term.map.stages():
                    fan += stage.fan_in + 2 if stage.fan_in else 0
                    slack = 1.0 + 2 * gamma(stage.fan_in + 8)
                    error = stage.apply_abs(error) * slack + TINY
                    size = stage.apply_abs(size) * slack + TINY
                moves = fan == len(node.terms) + 1 and len(node.terms) == 1 and node.bias is None
                total = total + error + (0.0 if moves else gamma(fan, UNIT32) * size)
            if k == 0 and node.bias is not None:
                fan = (
                    8
                    + len(node.terms)
                    + sum(s.fan_in + 2 for term in node.terms for s in term.map.stages())
                )
                total = total + gamma(fan, UNIT32) * np.abs(node.bias)
            shape = (1, *node.shape)
            found.append(
                np.broadcast_to(total * _UP + 1e-44, np.broadcast_shapes(np.shape(total), shape))
            )
        return tuple(found)

    def _live(self) -> list[tuple[int, Any, tuple[int, ...], tuple[int, ...]]]:
        """Return the nodes behind the affine part: ``(place, node, args, values to forget)``."""
        needed = {place for place in self.outputs if place not in self.fronts}
        for place in range(len(self.network.nodes) - 1, -1, -1):
            if place in needed:
                needed.update(
                    arg for arg in self.network.nodes[place].args if arg not in self.fronts
                )
        used = set(self.outputs)
        last: dict[int, int] = {}
        for place in sorted(needed):
            for arg in self.network.nodes[place].args:
                last[arg] = place
                used.add(arg)
        self.fronts = {place: front for place, front in self.fronts.items() if place in used}
        program = []
        for place in sorted(needed):
            node = self.network.nodes[place]
            ends = tuple(a for a in set(node.args) if last[a] == place and a not in self.outputs)
            program.append((place, node, node.args, ends))
        return program

    def _keep_weights(self) -> None:
        """Hold the weights behind the affine part in float64, unless there are very many."""
        maps = [
            stage
            for _, node, *_ in self._program
            if isinstance(node, ir.Affine)
            for term in node.terms
            for stage in term.map.stages()
        ]
        if sum(array.size for stage in maps for array in stage.parameters) <= _KEPT_WEIGHTS:
            for stage in maps:
                stage.keep()

    def _run(self, arithmetic: Any, made: dict[int, Any], lift: Any) -> list[Any]:
        """Walk the program; ``lift`` turns a front into a value of the arithmetic."""
        for place, node, args, ends in self._program:
            values = []
            for arg in args:
                if arg not in made:
                    made[arg] = lift(self.fronts[arg])
                values.append(made[arg])
            made[place] = _step(arithmetic, node, values)
            for arg in ends:
                del made[arg]
        for place in self.outputs:
            if place not in made:
                made[place] = lift(self.fronts[place])
        return [made[place] for place in self.outputs]

    # ---------------------------------------------------------------- evaluations
    def jets(self, line: Array, centre: Array, half: Array) -> tuple[Jets, list[Jet]]:
        """Return the outputs' Taylor enclosures on boxes.

        Args:
            line: which slice, shape ``(B,)``.
            centre: shape ``(B, d)``.
            half: half-widths, shape ``(B, d)``, such that the box is inside centre +- half.
        """
        arithmetic = Jets(half, rough=self.rough, float32=self.float32)
        if self.executor is None or len(line) <= self.batch:
            return arithmetic, self._jets(line, centre, half)
        parts = shared(self.executor, self._jets, len(line), self.batch, line, centre, half)
        return arithmetic, [
            Jet(
                np.concatenate([jet.mid for jet in jets], axis=1),
                np.concatenate([jet.rad for jet in jets], axis=1),
            )
            for jets in zip(*parts, strict=True)
        ]

    def _jets(self, line: Array, centre: Array, half: Array) -> list[Jet]:
        arithmetic = Jets(half, rough=self.rough, float32=self.float32)

        def lift(front: Front) -> Jet:
            fuzz = _fuzz(front, line, np.abs(centre) + half) if self.float32 else None
            return arithmetic.front(*_placed(front, line, centre), fuzz)

        with np.errstate(all="ignore"):
            return self._run(arithmetic, {}, lift)

    def branches(
        self, line: Array, centre: Array, half: Array, most: int = 16
    ) -> tuple[Jets, list[Jet], Array]:
        """Return Taylor enclosures of every smooth branch, and the box each one belongs to.

        On every box the network is one of the branches at each point
        (:mod:`nneq.semantics.branches`); where more than ``most`` would be needed, kinks are
        enclosed as by :meth:`jets`.

        Args:
            line: which slice, shape ``(B,)``.
            centre: shape ``(B, d)``.
            half: half-widths, shape ``(B, d)``, such that the box is inside centre +- half.
            most: branches of one box.
        """
        if not self.rough:
            return *self.jets(line, centre, half), np.arange(len(line))
        if self.executor is None or len(line) <= self.batch:
            jets, owner = self._branches(most, line, centre, half)
        else:
            task = partial(self._branches, most)
            parts = shared(self.executor, task, len(line), self.batch, line, centre, half)
            jets = [
                Jet(
                    np.concatenate([jet.mid for jet in own], axis=1),
                    np.concatenate([jet.rad for jet in own], axis=1),
                )
                for own in zip(*(part[0] for part in parts), strict=True)
            ]
            owner = np.concatenate([part[1] + k * self.batch for k, part in enumerate(parts)])
        return Jets(half[owner], rough=True, float32=self.float32), jets, owner

    def _branches(
        self, most: int, line: Array, centre: Array, half: Array
    ) -> tuple[list[Jet], Array]:
        owner, weight = np.arange(len(line)), np.ones(len(line))
        made: dict[int, Jet] = {}
        arithmetic = Jets(half, rough=True, float32=self.float32)

        def lifted(place: int) -> Jet:
            if place not in made:
                own, at, wide = line[owner], centre[owner], half[owner]
                front = self.fronts[place]
                fuzz = _fuzz(front, own, np.abs(at) + wide) if self.float32 else None
                made[place] = arithmetic.front(*_placed(front, own, at), fuzz)
            return made[place]

        with np.errstate(all="ignore"):
            for place, node, args, ends in self._program:
                values = [lifted(arg) for arg in args]
                piece = None
                if isinstance(node, ir.Elementwise | ir.Maximum):
                    found = met(node, *arithmetic.range(values[0]))
                    if found is not None:
                        row, piece, weight = fork(found, weight, most)
                        owner = owner[row]
                        arithmetic = Jets(half[owner], rough=True, float32=self.float32)
                        for key, jet in made.items():
                            made[key] = Jet(jet.mid[:, row], jet.rad[:, row])
                        values = [made[arg] for arg in args]
                        piece = piece.reshape(len(row), *node.shape)
                match node:
                    case ir.Elementwise() if piece is not None:
                        made[place] = arithmetic.elementwise(node, values[0], piece)
                    case ir.Maximum() if piece is not None:
                        made[place] = arithmetic.maximum(node, values[0], piece)
                    case _:
                        made[place] = _step(arithmetic, node, values)
                for arg in ends:
                    del made[arg]
            return [lifted(place) for place in self.outputs], owner

    def balls(self, line: Array, t: Array, rad: Array | None = None) -> list[Ball]:
        """Return proven values of the outputs at points (or over boxes) of the slices.

        Args:
            line: which slice, shape ``(B,)``.
            t: shape ``(B, d)``.
            rad: radii of the boxes ``(B, d)``, or None for points.
        """

        def lift(front: Front) -> Ball:
            value = _widened(front, line, t, rad)
            if not self.float32:
                return value
            reach = np.abs(t) if rad is None else np.abs(t) + rad
            return Ball(value.mid, (value.rad + _fuzz(front, line, reach)) * _UP)

        with np.errstate(all="ignore"):
            return [_broad(b, len(line)) for b in self._run(Balls(self.precision), {}, lift)]

    def turned(self, basis: Array) -> Slices | None:
        """Return the same plane in another basis, or None where that would round.

        Args:
            basis: shape ``(d, k)``: the new directions are ``directions @ basis``.
        """
        made = self.directions @ basis
        exact = np.sum((self.directions != 0)[..., None] & (basis != 0), axis=-2) <= 1
        # small multiples of numbers with some bits to spare, and multiples by powers of two
        digits = np.ldexp(np.frexp(self.directions)[0], 50)
        spare = np.all(digits == np.round(digits)) and np.all(np.abs(basis) <= 8)
        spare = spare and np.all(basis == np.round(basis))
        exact &= spare or bool(np.all(np.isin(np.frexp(basis)[0], (-0.5, 0.0, 0.5))))
        whole = all(
            np.all(part == np.round(part)) and np.all(np.abs(part) < bound)
            for part, bound in ((self.directions, 2.0**40), (basis, 2.0**8))
        )
        if not (whole or exact.all()):
            return None
        return Slices(
            self.network, self.origins, made, precision=self.precision, executor=self.executor
        )

    def along_axis(self, points: Array, axis: int) -> Slices:
        """Return lines in the plane: through ``points`` in direction ``axis``, in its coordinate.

        Args:
            points: shape ``(B, d)``; coordinate ``axis`` is ignored (the line's own variable).
            axis: which of the plane's directions.
        """
        line = np.zeros(len(points), dtype=np.int64)
        made = object.__new__(Slices)
        made.network, made.precision, made.float32 = self.network, self.precision, self.float32
        made.rough, made.lines, made.d = self.rough, len(points), 1
        made.origins, made.directions = self.origins, self.directions
        made.outputs, made._program, made.depth = self.outputs, self._program, self.depth
        made.batch, made.executor = self.batch, self.executor
        fixed = points.copy()
        fixed[:, axis] = 0.0
        made.fronts = {}
        with np.errstate(all="ignore"):
            for place, front in self.fronts.items():
                value, _ = _placed(front, line, fixed)
                fuzz: tuple[Array, ...] = ()
                if self.float32:
                    fuzz = (_fuzz(front, line, np.abs(fixed)), front.fuzz[1 + axis])
                made.fronts[place] = Front(value, (front.slopes[axis],), fuzz)
        return made

    def walk(self, arithmetic: Any, lift: Callable[[Front], Any]) -> Callable[[Any], Any]:
        """Run the program in another arithmetic; the result applies a reader to the output.

        Args:
            arithmetic: what the nodes mean.
            lift: turns an affine tensor into a value of the arithmetic.
        """
        with np.errstate(all="ignore"):
            (output,) = self._run(arithmetic, {}, lift)

        def read(reader: Any) -> Any:
            with np.errstate(all="ignore"):
                return reader(output)

        return read

    def floats(self, line: Array, t: Array) -> list[Array]:
        """Return the outputs in plain float64, without any guarantee, ``(B, *shape)``."""

        def lift(front: Front) -> Array:
            value = front.value.mid[line]
            rank = value.ndim - 1
            for m, slope in enumerate(front.slopes):
                row = slope.mid if slope.mid.shape[0] == 1 else slope.mid[line]
                value = value + row * t[:, m].reshape(-1, *(1,) * rank)
            return value

        with np.errstate(all="ignore"):
            return self._run(Float64(), {}, lift)

    def gradients(self, t: Array) -> tuple[Array, Array]:
        """Return the one output of the first slice ``(B,)`` and its gradient ``(B, d)``.

        In plain float64, without any guarantee.
        """
        directions = self.directions[0]
        value, slope = value_and_gradient(self.network, self.origins[0] + t @ directions.T)
        return value, slope @ directions


def _broad(ball: Ball, count: int) -> Ball:
    shape = (count, *ball.shape[1:])
    return Ball(np.broadcast_to(ball.mid, shape), np.broadcast_to(ball.rad, shape))


def _step(arithmetic: Any, node: Any, values: Sequence[Any]) -> Any:
    match node:
        case ir.Affine():
            return arithmetic.affine(node, values)
        case ir.Elementwise():
            return arithmetic.elementwise(node, values[0])
        case ir.Product():
            return arithmetic.product(node, values[0], values[1])
        case ir.Maximum():
            return arithmetic.maximum(node, values[0])
        case ir.Select():
            return arithmetic.select(node, values[0], values[1], values[2])
        case ir.Softmax():
            return arithmetic.softmax(node, values[0])
        case _:
            msg = "inputs and constants are affine in the slice's variables"
            raise TypeError(msg)


def _mapped(map_: Any, ball: Ball) -> Ball:
    return Ball(*linear(map_, ball.mid, ball.rad, zeros=True))


def _total(parts: list[Ball], zero: Ball) -> Ball:
    """Return the sum; entries whose parts are all exactly 0 stay exactly 0."""
    if not parts:
        return zero
    total = parts[0]
    for part in parts[1:]:
        mid = total.mid + part.mid
        total = Ball(mid, (total.rad + part.rad + 1.0625 * UNIT * np.abs(mid)) * _UP)
    return total


def _row(ball: Ball, line: Array) -> Ball:
    if ball.mid.shape[0] == 1:
        shape = (len(line), *ball.shape[1:])
        return Ball(np.broadcast_to(ball.mid, shape), np.broadcast_to(ball.rad, shape))
    return Ball(ball.mid[line], ball.rad[line])


def _placed(front: Front, line: Array, centre: Array) -> tuple[Ball, list[Ball]]:
    """Return the value at the centres and the slopes, one row per box."""
    value = _row(front.value, line)
    mid, rad = value.mid, value.rad
    slopes = []
    rank = mid.ndim - 1
    for m, part in enumerate(front.slopes):
        slope = _row(part, line)
        t = centre[:, m].reshape(-1, *(1,) * rank)
        step = slope.mid * t
        mid = mid + step
        rad = (rad + slope.rad * np.abs(t) + 2 * UNIT * (np.abs(step) + np.abs(mid))) * _UP + TINY
        slopes.append(slope)
    return Ball(mid, rad), slopes


def _fuzz(front: Front, line: Array, reach: Array) -> Array:
    """Return how far the tensor executed in float32 may be off where ``|t| <= reach``."""
    parts = [f if f.shape[0] == 1 else f[line] for f in front.fuzz]
    shape = (len(line), *front.value.shape[1:])
    total = np.broadcast_to(parts[0], shape)
    for m, part in enumerate(parts[1:]):
        total = total + part * reach[:, m].reshape(-1, *(1,) * (len(shape) - 1))
    return total * _UP


def _widened(front: Front, line: Array, t: Array, rad: Array | None) -> Ball:
    value, slopes = _placed(front, line, t)
    if rad is not None:
        rank = value.mid.ndim - 1
        for m, slope in enumerate(slopes):
            width = rad[:, m].reshape(-1, *(1,) * rank)
            value = Ball(value.mid, (value.rad + slope.magnitude() * width) * _UP + TINY)
    return value
