r"""Proof that ``g`` is zero on a whole interval of a line, in exact rational arithmetic.

Every entry is a linear combination, with rational coefficients, of 1, ``t`` and *atoms*: nonlinear
units named by their rule and their exact argument, so that two units that compute the same thing
are the same atom.  Piecewise-linear units whose piece is proven on the interval are linear again.
If all coefficients of ``g`` cancel, ``g`` is zero there; if they do not, nothing is claimed.

An atom is the number of its name in a table, so that names stay short however deep the network is.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from fractions import Fraction
from typing import Any

import numpy as np

from nneq.activations import RULES
from nneq.boundary.results import Clock
from nneq.ir import network as ir
from nneq.ir.forward import forward
from nneq.semantics.ball import Ball, Balls

__all__ = ["LIMIT", "Combination", "vanishes"]

Array = np.ndarray[Any, Any]

LIMIT = 50_000
_ONE, _T = 0, 1


class _StoppedError(Exception):
    """The budget is over."""


class Atoms:
    """The numbers of the atoms of one network on one interval.

    Args:
        clock: the budget.
    """

    def __init__(self, clock: Clock) -> None:
        """Number 1 and ``t`` first."""
        self.numbers: dict[Any, int] = {"1": _ONE, "t": _T}
        self._clock = clock

    def number(self, name: Any) -> int:
        """Return the number of an atom: the same for the same name."""
        return self.numbers.setdefault(name, len(self.numbers))

    def one(self, name: Any) -> Combination:
        """Return an atom as a combination."""
        return Combination(self, [(self.number(name), Fraction(1))])

    def value(self, value: Any) -> Combination:
        """Return a number as a combination."""
        return Combination(self, [(_ONE, Fraction(value))])

    def check(self) -> None:
        """Stop when the budget is over."""
        if self._clock.over:
            raise _StoppedError


class Combination:
    """``sum_k coefficient_k atom_k`` with exact coefficients."""

    __slots__ = ("atoms", "terms")

    def __init__(self, atoms: Atoms, terms: Iterable[tuple[int, Fraction]] = ()) -> None:
        """Keep the non-zero terms."""
        self.atoms = atoms
        self.terms = {atom: value for atom, value in terms if value}

    @property
    def key(self) -> tuple[Any, ...]:
        """A hashable name: equal for equal combinations."""
        return tuple(sorted(self.terms.items()))

    @property
    def constant(self) -> Fraction | None:
        """The value where it does not depend on anything, else None."""
        if not self.terms:
            return Fraction(0)
        return self.terms[_ONE] if set(self.terms) == {_ONE} else None

    def range(self, low: float, high: float) -> tuple[Any, Any] | None:
        """Return the exact ends over ``t`` in ``[low, high]`` where it is affine in ``t``."""
        if not set(self.terms) <= {_ONE, _T}:
            return None
        base, slope = self.terms.get(_ONE, Fraction(0)), self.terms.get(_T, Fraction(0))
        if not slope:
            return base, base
        ends = [
            base + slope * Fraction(t) if math.isfinite(t) else math.copysign(math.inf, t * slope)
            for t in (low, high)
        ]
        return min(ends), max(ends)

    def __add__(self, other: Any) -> Combination:
        self.atoms.check()
        if not isinstance(other, Combination):
            other = self.atoms.value(other)
        total = dict(self.terms)
        for atom, value in other.terms.items():
            total[atom] = total.get(atom, Fraction(0)) + value
        return Combination(self.atoms, total.items())

    __radd__ = __add__

    def __mul__(self, factor: Any) -> Combination:
        if isinstance(factor, Combination):
            first, second = self.constant, factor.constant
            if first is not None:
                return factor * first
            if second is not None:
                return self * second
            return self.atoms.one(("*", frozenset([self.key, factor.key])))
        return Combination(self.atoms, ((k, value * factor) for k, value in self.terms.items()))

    __rmul__ = __mul__


def _lift(weights: Array) -> Array:
    flat = np.empty(weights.size, dtype=object)
    flat[:] = [Fraction(v) for v in weights.astype(np.float64).reshape(-1).tolist()]
    return flat.reshape(weights.shape)


Pair = tuple[Array, Ball]


class _Combinations:
    """The arithmetic: pairs of combinations and their ranges on the interval."""

    def __init__(self, atoms: Atoms, low: float, high: float) -> None:
        self.atoms = atoms
        self.balls = Balls()
        self.ends = (low, high)

    def constant(self, node: ir.Constant) -> Pair:
        made = np.empty(node.value.size, dtype=object)
        made[:] = [self.atoms.value(v) for v in _floats(node.value)]
        return made.reshape(1, *node.shape), self.balls.constant(node)

    def affine(self, node: ir.Affine, args: Sequence[Pair]) -> Pair:
        total: Any = None
        for term, (value, _) in zip(node.terms, args, strict=True):
            part = term.map.apply(value, _lift)
            total = part if total is None else total + part
        if node.bias is not None:
            bias = _lift(np.broadcast_to(node.bias, node.shape))[None]
            total = bias if total is None else total + bias
        if total is None:
            total = np.zeros((1, *node.shape))
        made = np.empty(total.size, dtype=object)
        made[:] = [
            v if isinstance(v, Combination) else self.atoms.value(v) for v in total.reshape(-1)
        ]
        return made.reshape(total.shape), self.balls.affine(node, [ball for _, ball in args])

    def elementwise(self, node: ir.Elementwise, arg: Pair) -> Pair:
        value, ball = arg
        names = sorted(node.params)
        columns = [np.broadcast_to(node.params[k], node.shape).reshape(-1) for k in names]
        low, high = ball.lower.reshape(-1), ball.upper.reshape(-1)
        made = np.empty(value.size, dtype=object)
        for k, entry in enumerate(value.reshape(-1)):
            params = {name: float(column[k]) for name, column in zip(names, columns, strict=True)}
            ends = entry.range(*self.ends) or (float(low[k]), float(high[k]))
            made[k] = _unit(node.rule, params, entry, *ends)
        return made.reshape(value.shape), self.balls.elementwise(node, ball)

    def product(self, node: ir.Product, left: Pair, right: Pair) -> Pair:
        ins, out = node.subscripts.split("->")
        first, second = ins.split(",")
        made = np.einsum(f"Z{first},Z{second}->Z{out}", left[0], right[0])
        return made, self.balls.product(node, left[1], right[1])

    def maximum(self, node: ir.Maximum, arg: Pair) -> Pair:
        axes = tuple(axis + 1 for axis in node.axes)
        return _grouped(self.atoms, "max", arg[0], axes), self.balls.maximum(node, arg[1])

    def select(self, node: ir.Select, test: Pair, yes: Pair, no: Pair) -> Pair:
        a, b, c = np.broadcast_arrays(test[0], yes[0], no[0])
        made = np.empty(a.size, dtype=object)
        made[:] = [
            self.atoms.one((node.relation, x.key, y.key, z.key))
            for x, y, z in zip(a.reshape(-1), b.reshape(-1), c.reshape(-1), strict=True)
        ]
        ball = self.balls.select(node, test[1], yes[1], no[1])
        return made.reshape(a.shape), ball

    def softmax(self, node: ir.Softmax, arg: Pair) -> Pair:
        moved = np.moveaxis(arg[0], node.axis + 1, -1)
        made = np.empty(moved.shape, dtype=object)
        for place in np.ndindex(*moved.shape[:-1]):
            row = tuple(entry.key for entry in moved[place])
            for k in range(len(row)):
                others = tuple(sorted(row[:k] + row[k + 1 :]))
                name = ("softmax", node.log, row[k], others)
                made[(*place, k)] = self.atoms.one(name)
        return np.moveaxis(made, -1, node.axis + 1), self.balls.softmax(node, arg[1])


def _floats(value: Array) -> list[float]:
    return [float(v) for v in np.asarray(value, dtype=np.float64).reshape(-1)]


def _grouped(atoms: Atoms, name: str, value: Array, axes: tuple[int, ...]) -> Array:
    kept = [k for k in range(value.ndim) if k not in axes]
    moved = value.transpose(*kept, *axes).reshape(*(value.shape[k] for k in kept), -1)
    made = np.empty(moved.shape[:-1], dtype=object)
    for place in np.ndindex(*made.shape):
        keys = frozenset(entry.key for entry in moved[place])
        if len(keys) == 1:
            made[place] = moved[place][0]
        else:
            made[place] = atoms.one((name, keys))
    return made


def _unit(
    rule: str, params: dict[str, float], entry: Combination, low: Any, high: Any
) -> Combination:
    """Return the linear piece a unit stays on, or an atom."""
    declared = RULES[rule]
    if declared.pieces is not None:
        left = -np.inf
        for piece in declared.pieces(params):
            if low >= left and high <= piece.upper:
                slope, rest = Fraction(float(piece.slope)), Fraction(float(piece.intercept))
                if rule == "hard_sigmoid":
                    exact = slope == 0
                    if not exact:
                        break
                return entry * slope + rest
            left = piece.upper
    name = (rule, tuple(sorted(params.items())), entry.key)
    return entry.atoms.one(name)


def vanishes(
    network: ir.Network, origin: Array, direction: Array, low: float, high: float, clock: Clock
) -> bool:
    """Return whether ``g(origin + t direction)`` is proven 0 for every ``t`` in ``[low, high]``.

    Args:
        network: one output entry, over the flat inputs.
        origin: shape ``(n,)``.
        direction: shape ``(n,)``.
        low: left end of the interval.
        high: right end.
        clock: the budget; when it is over, nothing is proven.
    """
    if network.parameter_count > LIMIT or clock.over:
        return False
    atoms = Atoms(clock)
    with np.errstate(all="ignore"):
        t = Ball.interval(np.array(low), np.array(high))
    inputs, offset = [], 0
    for port in network.inputs:
        part = slice(offset, offset + port.size)
        offset += port.size
        made = np.empty(port.size, dtype=object)
        made[:] = [
            Combination(atoms, [(_ONE, Fraction(float(a))), (_T, Fraction(float(b)))])
            for a, b in zip(origin[part], direction[part], strict=True)
        ]
        with np.errstate(all="ignore"):
            ball = Ball.point(origin[part]) + Ball.point(direction[part]) * t
        shape = (1, *port.shape)
        inputs.append((made.reshape(shape), ball.reshape(*shape)))
    try:
        with np.errstate(all="ignore"):
            (output,) = forward(network, _Combinations(atoms, low, high), inputs)
    except _StoppedError:
        return False
    return all(not entry.terms for entry in output[0].reshape(-1))
