r"""Exact rational arithmetic: every stored float is an integer over a power of two.

A tensor is an object array of Python integers with one common shift: the numbers are
``array * 2**-shift / q`` with a positive integer ``q`` per sample (the last homogeneous
coordinate).  Piecewise-linear networks never leave these numbers: no rounding, no growth beyond a
few hundred bits, no greatest common divisors.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from nneq.errors import UnsupportedError
from nneq.ir import network as ir
from nneq.ir.forward import forward
from nneq.semantics.pattern import Hinges, hinges

__all__ = ["ExactWeights", "Rational", "Scaled", "evaluate_exact", "homogeneous", "integers"]

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, eq=False)
class Scaled:
    """``array * 2**-shift``; ``array`` holds Python integers, first axis the samples."""

    array: Array
    shift: int

    def at(self, shift: int) -> Array:
        """Return the integers over ``2**shift`` (``shift`` not below the own one)."""
        return self.array if shift == self.shift else self.array * (1 << (shift - self.shift))


def integers(values: Array) -> tuple[Array, int]:
    """Return ``(ints, shift)`` with ``values == ints * 2**-shift`` exactly, shift minimal, >= 0.

    Raises:
        UnsupportedError: when a value is not finite.
    """
    flat = np.asarray(values).astype(np.float64).reshape(-1)
    if not np.isfinite(flat).all():
        msg = "a weight or an input is not finite; exact arithmetic needs finite numbers"
        raise UnsupportedError(msg)
    mantissa, exponent = np.frexp(flat)
    whole = (mantissa * 2.0**53).astype(np.int64)
    lowest = np.where(whole == 0, 1, whole & -whole)
    zeros = np.round(np.log2(lowest.astype(np.float64))).astype(np.int64)
    need = np.where(whole == 0, 0, 53 - exponent.astype(np.int64) - zeros)
    shift = max(0, int(need.max(initial=0)))
    odd = whole >> zeros
    up = np.where(whole == 0, 0, shift - need)
    bits = up + np.ceil(np.log2(np.abs(odd).astype(np.float64) + 1)).astype(np.int64)
    if bits.max(initial=0) <= 62:
        ints = (odd << up).astype(object)
    else:
        ints = np.array([int(o) << int(u) for o, u in zip(odd, up, strict=True)], dtype=object)
    return ints.reshape(np.shape(values)), shift


class ExactWeights:
    """Weights as integers, each array converted once; applies affine nodes exactly."""

    def __init__(self) -> None:
        """Start with nothing converted."""
        self._known: dict[int, tuple[Array, Array, int]] = {}
        self._hinges: dict[int, tuple[ir.Elementwise, tuple[Array, Array, int]]] = {}
        self._tables: dict[int, tuple[ir.Elementwise, Hinges]] = {}

    def of(self, weight: Array) -> tuple[Array, int]:
        """Return ``(ints, shift)`` of an array of stored numbers."""
        if id(weight) not in self._known:
            self._known[id(weight)] = (weight, *integers(weight))
        return self._known[id(weight)][1:]

    def lines(self, node: ir.Elementwise) -> tuple[Array, Array, int]:
        """Return slopes and intercepts ``(k + 1, *shape)`` over one power of two."""
        if id(node) not in self._hinges:
            table = hinges(node)
            both, shift = integers(np.stack([table.slopes, table.intercepts]))
            self._hinges[id(node)] = (node, (both[0], both[1], shift))
        return self._hinges[id(node)][1]

    def affine(self, node: ir.Affine, args: Sequence[Scaled], q: Array) -> Scaled:
        """Return ``L x + q * bias`` exactly; ``q`` holds one integer per sample."""
        parts: list[Scaled] = []
        for term, value in zip(node.terms, args, strict=True):
            array, shift = value.array, value.shift
            for stage in term.map.stages():
                extra = 0

                def lift(weight: Array) -> Array:
                    nonlocal extra
                    found, extra = self.of(weight)
                    return found

                array = stage.apply(array, lift)
                shift += extra
            parts.append(Scaled(array, shift))
        if node.bias is not None:
            ints, shift = self.of(node.bias)
            full = np.broadcast_to(ints, node.shape)
            parts.append(Scaled(q.reshape(-1, *(1,) * len(node.shape)) * full, shift))
        if not parts:
            return Scaled(np.zeros((len(q), *node.shape), dtype=object), 0)
        top = max(part.shift for part in parts)
        total = parts[0].at(top)
        for part in parts[1:]:
            total = total + part.at(top)
        return Scaled(total, top)

    def gaps(self, node: ir.Elementwise, z: Scaled, q: Array) -> Array:
        """Return integers ``(k, S, *shape)`` with the sign of ``z`` minus each threshold.

        Neighbouring pieces meet where their lines cross, so the sign is that of
        ``(a1 - a0) z + (b1 - b0) q`` times the sign of ``a1 - a0``; 0 where the lines are one.
        """
        slopes, intercepts, shift = self.lines(node)
        rise = slopes[1:] - slopes[:-1]
        step = (intercepts[1:] - intercepts[:-1]) * (1 << z.shift)
        del shift
        weight = q.reshape(1, -1, *(1,) * len(node.shape))
        sign = np.sign(rise)[:, None]
        return np.asarray((rise[:, None] * z.array[None] + step[:, None] * weight) * sign)

    def on_pieces(self, node: ir.Elementwise, z: Scaled, q: Array, side: Array) -> Scaled:
        """Return ``slope z + intercept q`` for given piece numbers ``(S, *shape)``."""
        slopes, intercepts, shift = self.lines(node)
        s = np.take_along_axis(slopes, side, 0)
        i = np.take_along_axis(intercepts, side, 0)
        weight = q.reshape(-1, *(1,) * len(node.shape))
        return Scaled(s * z.array + i * weight * (1 << z.shift), z.shift + shift)


class Rational:
    """Exact evaluation at rational points; ``q`` is the common denominator of each sample."""

    def __init__(self, q: Array, weights: ExactWeights | None = None) -> None:
        """Evaluate samples with denominators ``q``, shape ``(S,)``, positive integers."""
        self.q = q
        self.weights = weights or ExactWeights()

    def constant(self, node: ir.Constant) -> Scaled:
        """Return the constant, times ``q``."""
        ints, shift = self.weights.of(node.value)
        return Scaled(self.q.reshape(-1, *(1,) * node.value.ndim) * ints, shift)

    def affine(self, node: ir.Affine, args: Sequence[Scaled]) -> Scaled:
        """Return the affine map."""
        return self.weights.affine(node, args, self.q)

    def elementwise(self, node: ir.Elementwise, arg: Scaled) -> Scaled:
        """Return the piece that holds each entry."""
        side = (self.weights.gaps(node, arg, self.q) > 0).sum(axis=0).astype(np.intp)
        return self.weights.on_pieces(node, arg, self.q, side)

    def maximum(self, node: ir.Maximum, arg: Scaled) -> Scaled:
        """Return the largest entries."""
        return Scaled(np.asarray(arg.array.max(axis=tuple(a + 1 for a in node.axes))), arg.shift)

    def select(self, node: ir.Select, test: Scaled, yes: Scaled, no: Scaled) -> Scaled:
        """Return the chosen entries."""
        tests: dict[str, Callable[[Array], Array]] = {
            ">": lambda t: t > 0,
            ">=": lambda t: t >= 0,
            "==": lambda t: t == 0,
        }
        top = max(yes.shift, no.shift)
        chosen = tests[node.relation](test.array).astype(bool)
        return Scaled(np.where(chosen, yes.at(top), no.at(top)), top)

    def product(self, node: ir.Product, left: Scaled, right: Scaled) -> Scaled:
        """Refuse: a product is not piecewise linear."""
        del left, right
        msg = f"exact evaluation does not take the product of {node.origin!r}"
        raise UnsupportedError(msg)

    def softmax(self, node: ir.Softmax, arg: Scaled) -> Scaled:
        """Refuse: softmax is not rational."""
        del arg
        msg = f"exact evaluation does not take the softmax of {node.origin!r}"
        raise UnsupportedError(msg)


def homogeneous(point: Sequence[Fraction]) -> tuple[Array, int]:
    """Return integers ``p`` and a denominator ``q`` with ``point == p / q``."""
    q = 1
    for value in point:
        q = q * value.denominator // _gcd(q, value.denominator)
    return np.array([v.numerator * (q // v.denominator) for v in point], dtype=object), q


def _gcd(a: int, b: int) -> int:
    while b:
        a, b = b, a % b
    return a


def evaluate_exact(
    network: ir.Network,
    points: Sequence[Sequence[Fraction]],
    weights: ExactWeights | None = None,
) -> list[list[Fraction]]:
    """Return the flat outputs at rational points, exactly.

    Args:
        network: piecewise linear (or piecewise constant).
        points: each ``n`` fractions, the flat inputs.
        weights: converted weights to share between calls.

    Guarantee: exact.
    """
    if not points:
        return []
    pairs = [homogeneous(point) for point in points]
    q = np.array([pair[1] for pair in pairs], dtype=object)
    flat = np.stack([pair[0] for pair in pairs])
    inputs = []
    start = 0
    for port in network.inputs:
        part = flat[:, start : start + port.size].reshape(len(q), *port.shape)
        inputs.append(Scaled(part, 0))
        start += port.size
    outputs = forward(network, Rational(q, weights), inputs)
    found: list[list[Fraction]] = [[] for _ in points]
    for out in outputs:
        rows = np.broadcast_to(out.array, (len(q), *out.array.shape[1:])).reshape(len(q), -1)
        for k, row in enumerate(rows):
            found[k] += [Fraction(int(v), int(q[k]) << out.shift) for v in row]
    return found
