r"""Arb balls over the whole network, at any precision: for what float64 leaves open, and for tests.

Values are NumPy object arrays of ``flint.arb`` of shape ``(S, *shape)``.  Every weight is an exact
dyadic rational, so the balls enclose the real-number function of the stored weights.  The
precision is set locally and never left changed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, assert_never

import flint
import numpy as np

from nneq.activations import RULES
from nneq.ir.forward import forward
from nneq.ir.linear_map import Dense, LinearMap

if TYPE_CHECKING:
    from nneq.ir.network import (
        Affine,
        Constant,
        Elementwise,
        Maximum,
        Network,
        Product,
        Select,
        Softmax,
    )

__all__ = ["ARB_FUNCTIONS", "ArbFunctions", "ArbNetwork", "activation", "lift", "sign"]

Array = np.ndarray[Any, Any]


def _root_of(number: Callable[[], Any]) -> Callable[[], Any]:
    return lambda: number().sqrt()


_CONSTANTS: dict[str, Callable[[], Any]] = {
    "pi": flint.arb.pi,
    "sqrt(2)": _root_of(lambda: flint.arb(2)),
    "sqrt(pi)": _root_of(flint.arb.pi),
    "sqrt(2*pi)": _root_of(lambda: 2 * flint.arb.pi()),
    "sqrt(2/pi)": _root_of(lambda: 2 / flint.arb.pi()),
}


class ArbFunctions:
    """The ``Elementary`` protocol for one ``flint.arb``."""

    def exp(self, z: Any) -> Any:
        return z.exp()

    def expm1(self, z: Any) -> Any:
        return z.expm1()

    def log(self, z: Any) -> Any:
        return z.log()

    def log1p(self, z: Any) -> Any:
        return z.log1p()

    def sqrt(self, z: Any) -> Any:
        return z.sqrt()

    def sigmoid(self, z: Any) -> Any:
        return 1 / (1 + (-z).exp())

    def tanh(self, z: Any) -> Any:
        return z.tanh()

    def sinh(self, z: Any) -> Any:
        return z.sinh()

    def cosh(self, z: Any) -> Any:
        return z.cosh()

    def atanh(self, z: Any) -> Any:
        return z.atanh()

    def asinh(self, z: Any) -> Any:
        return z.asinh()

    def acosh(self, z: Any) -> Any:
        return z.acosh()

    def sin(self, z: Any) -> Any:
        return z.sin()

    def cos(self, z: Any) -> Any:
        return z.cos()

    def tan(self, z: Any) -> Any:
        return z.tan()

    def asin(self, z: Any) -> Any:
        return z.asin()

    def acos(self, z: Any) -> Any:
        return z.acos()

    def atan(self, z: Any) -> Any:
        return z.atan()

    def erf(self, z: Any) -> Any:
        return z.erf()

    def floor(self, z: Any) -> Any:
        return z.floor()

    def round(self, z: Any) -> Any:
        """Return the nearest integer, ties to even, or the hull of the candidates."""
        low, high = (z - flint.arb(0.5)).ceil(), (z + flint.arb(0.5)).floor()
        if not low.is_exact() or not high.is_exact():
            return low.union(high)
        return low if low == high or int(float(low)) % 2 == 0 else high

    def power(self, z: Any, exponent: Any) -> Any:
        whole = float(exponent)
        return z ** int(whole) if whole == int(whole) else z ** flint.arb(whole)

    def constant(self, decimal: str) -> Any:
        made = _CONSTANTS.get(decimal)
        return made() if made is not None else flint.arb(decimal)

    def split(self, z: Any, at: Any, below: Any, above: Any) -> Any:
        """Return the side, or the union of both where it is not decided."""
        gap = z - at
        if gap < 0:
            return below if isinstance(below, flint.arb) else flint.arb(below)
        if gap >= 0:
            return above if isinstance(above, flint.arb) else flint.arb(above)
        return flint.arb(below).union(flint.arb(above))


ARB_FUNCTIONS = ArbFunctions()


def lift(weights: Array) -> Array:
    """Return exact Arb numbers for an array of floats or integers."""
    flat = np.empty(weights.size, dtype=object)
    flat[:] = [flint.arb(v) for v in weights.astype(np.float64).reshape(-1).tolist()]
    return flat.reshape(weights.shape)


def sign(ball: Any) -> int:
    """Return the proven sign of a ball: 1, -1 or 0."""
    return 1 if ball > 0 else -1 if ball < 0 else 0


def activation(rule: str, params: Mapping[str, Any], z: Any, order: int = 0) -> Any:
    """Return an enclosure of ``f``, ``f'`` or ``f''`` over one Arb ball.

    Args:
        rule: the activation's name.
        params: scalar parameters.
        z: a ``flint.arb``.
        order: 0, 1 or 2.
    """
    declared = RULES[rule]
    formula = (declared.formula, declared.derivative, declared.second)[order]
    if formula is None:
        msg = f"activation {rule!r} declares no derivative of order {order}"
        raise TypeError(msg)
    exact = {key: flint.arb(float(value)) for key, value in params.items()}
    return formula(z, ARB_FUNCTIONS, exact)


class ArbNetwork:
    """A network evaluated in Arb; weights are converted once.

    Args:
        network: the program.
    """

    def __init__(self, network: Network) -> None:
        """Remember the network."""
        self.network = network
        self._matrices: dict[int, Any] = {}

    def __call__(self, inputs: Sequence[Array], precision: int) -> list[Array]:
        """Return the outputs as object arrays of balls.

        Args:
            inputs: object arrays ``(S, *shape)`` of ``flint.arb``, one per input port.
            precision: working precision in bits.

        Guarantee: certified.
        """
        with flint.ctx.workprec(precision):
            return forward(self.network, self, inputs)

    def on_line(self, origin: Array, direction: Array, t: Sequence[Any], precision: int) -> Array:
        """Return the only output at ``origin + t * direction``, shape ``(S, *shape)``.

        Args:
            origin: shape ``(n,)``, float64 (exact).
            direction: shape ``(n,)``, float64 (exact), or ``(n, d)`` with points ``t`` of ``d``.
            t: parameters: ``flint.arb`` each, or sequences of ``d``.
            precision: working precision in bits.
        """
        with flint.ctx.workprec(precision):
            start = lift(np.asarray(origin))
            step = lift(np.asarray(direction))
            if step.ndim == 1:
                rows = [start + step * place for place in t]
            else:
                rows = [start + sum(step[:, m] * p for m, p in enumerate(place)) for place in t]
            points = np.stack(rows) if rows else np.zeros((0, len(start)), dtype=object)
            inputs, offset = [], 0
            for port in self.network.inputs:
                part = points[:, offset : offset + port.size]
                inputs.append(part.reshape(-1, *port.shape))
                offset += port.size
            found: Array = forward(self.network, self, inputs)[0]
            return found

    # ---------------------------------------------------------------- the node kinds
    def constant(self, node: Constant) -> Array:
        """Return the exact value."""
        return lift(node.value)[None]

    def _mapped(self, map_: LinearMap, value: Array) -> Array:
        for stage in map_.stages():
            if isinstance(stage, Dense):
                matrix = self._matrices.get(id(stage))
                if matrix is None:
                    rows = stage.weight.astype(np.float64).tolist()
                    matrix = (flint.arb_mat(rows), stage)  # the stage is kept alive for its id
                    self._matrices[id(stage)] = matrix
                flat = value.reshape(-1, value.shape[-1])
                product = matrix[0] * flint.arb_mat(flat.T.tolist())
                made = np.empty(product.nrows() * product.ncols(), dtype=object)
                made[:] = product.entries()
                made = made.reshape(product.nrows(), product.ncols()).T
                value = made.reshape(value.shape[0], *stage.out_shape)
            else:
                value = stage.apply(value, lift)
        return value

    def affine(self, node: Affine, args: Sequence[Array]) -> Array:
        """Return the sum of the mapped arguments and the bias."""
        total: Array | None = None
        for term, value in zip(node.terms, args, strict=True):
            part = self._mapped(term.map, value)
            total = part if total is None else total + part
        if node.bias is not None:
            bias = lift(np.broadcast_to(node.bias, node.shape))[None]
            total = bias if total is None else total + bias
        if total is None:
            return lift(np.zeros((1, *node.shape)))
        return total

    def elementwise(self, node: Elementwise, arg: Array) -> Array:
        """Return the rule's formula, entry by entry."""
        made = np.empty(arg.size, dtype=object)
        flat = arg.reshape(-1).tolist()
        if node.rule == "tanh":
            made[:] = [_as_arb(z).tanh() for z in flat]
            return made.reshape(arg.shape)
        scalar = all(np.ndim(value) == 0 for value in node.params.values())
        if scalar:
            exact = {key: flint.arb(float(value)) for key, value in node.params.items()}
            formula = RULES[node.rule].formula
            made[:] = [formula(_as_arb(z), ARB_FUNCTIONS, exact) for z in flat]
            return made.reshape(arg.shape)
        columns = {
            key: np.broadcast_to(value, arg.shape).reshape(-1) for key, value in node.params.items()
        }
        made[:] = [
            activation(node.rule, {key: column[k] for key, column in columns.items()}, _as_arb(z))
            for k, z in enumerate(flat)
        ]
        return made.reshape(arg.shape)

    def product(self, node: Product, left: Array, right: Array) -> Array:
        """Return the contraction of every sample."""
        ins, out = node.subscripts.split("->")
        first, second = ins.split(",")
        count = max(left.shape[0], right.shape[0])
        left = np.broadcast_to(left, (count, *left.shape[1:]))
        right = np.broadcast_to(right, (count, *right.shape[1:]))
        found: Array = np.einsum(f"Z{first},Z{second}->Z{out}", left, right)
        return found

    def maximum(self, node: Maximum, arg: Array) -> Array:
        """Return the largest entries."""
        axes = tuple(axis + 1 for axis in node.axes)
        kept = [k for k in range(arg.ndim) if k not in axes]
        moved = arg.transpose(*kept, *axes).reshape(*(arg.shape[k] for k in kept), -1)
        made = np.empty(moved.shape[:-1], dtype=object)
        for place in np.ndindex(*made.shape):
            best = moved[place][0]
            for value in moved[place][1:]:
                best = _as_arb(best).max(value)
            made[place] = best
        return made

    def select(self, node: Select, test: Array, yes: Array, no: Array) -> Array:
        """Return the chosen entries, or unions."""
        test, yes, no = np.broadcast_arrays(test, yes, no)
        made = np.empty(test.shape, dtype=object)
        for place in np.ndindex(*made.shape):
            z = _as_arb(test[place])
            match node.relation:
                case ">":
                    true, false = z > 0, z <= 0
                case ">=":
                    true, false = z >= 0, z < 0
                case "==":
                    true, false = z == 0, bool(z != 0)
                case _:
                    assert_never(node.relation)
            a, b = _as_arb(yes[place]), _as_arb(no[place])
            made[place] = a if true else b if false else a.union(b)
        return made

    def softmax(self, node: Softmax, arg: Array) -> Array:
        """Return the softmax or its logarithm."""
        axis = node.axis + 1
        moved = np.moveaxis(arg, axis, -1)
        made = np.empty(moved.shape, dtype=object)
        for place in np.ndindex(*moved.shape[:-1]):
            row = [_as_arb(z) for z in moved[place]]
            for k, own in enumerate(row):
                total = sum(((z - own).exp() for j, z in enumerate(row) if j != k), flint.arb(1))
                made[(*place, k)] = -total.log() if node.log else 1 / total
        return np.moveaxis(made, -1, axis)


def _as_arb(value: Any) -> Any:
    return value if isinstance(value, flint.arb) else flint.arb(value)
