"""Values with directional derivatives in float64: one pass for many directions at one point.

Guarantee: numerical.  At a kink the derivative of the piece to the right is taken, as in
``nneq.semantics.gradient``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from nneq.errors import UnsupportedError
from nneq.ir import network as ir
from nneq.ir.float64 import Float64
from nneq.ir.forward import forward
from nneq.semantics.gradient import derivative_of_rule

__all__ = ["Tangent", "jacobian"]

Array = np.ndarray[Any, Any]
_PLAIN = Float64()
_CHUNK_ENTRIES = 1 << 24
_LARGEST = 1 << 31


class Tangent:
    """A value is ``(point (1, *shape), directions (K, *shape))``."""

    def constant(self, node: ir.Constant) -> tuple[Array, Array]:
        """Return the value and no change."""
        value = _PLAIN.constant(node)
        return value, np.zeros_like(value)

    def affine(self, node: ir.Affine, args: Sequence[tuple[Array, Array]]) -> tuple[Array, Array]:
        """Return the affine value and the linear change."""
        value = _PLAIN.affine(node, [point for point, _ in args])
        moved: Any = np.zeros((1, *node.shape))
        for term, (_, direction) in zip(node.terms, args, strict=True):
            moved = moved + term.map.apply(direction)
        return np.asarray(value).reshape(1, *node.shape), moved

    def elementwise(self, node: ir.Elementwise, arg: tuple[Array, Array]) -> tuple[Array, Array]:
        """Return ``f(z)`` and ``f'(z) dz``."""
        slope = derivative_of_rule(node.rule, arg[0], node.params)
        return _PLAIN.elementwise(node, arg[0]), np.where(arg[1] == 0, 0.0, slope * arg[1])

    def product(
        self, node: ir.Product, left: tuple[Array, Array], right: tuple[Array, Array]
    ) -> tuple[Array, Array]:
        """Return the product rule."""
        value = _PLAIN.product(node, left[0], right[0])
        return value, _PLAIN.product(node, left[1], right[0]) + _PLAIN.product(
            node, left[0], right[1]
        )

    def maximum(self, node: ir.Maximum, arg: tuple[Array, Array]) -> tuple[Array, Array]:
        """Return the first largest entry and its change."""
        point, direction = arg
        kept = [k for k in range(point.ndim) if k == 0 or k - 1 not in node.axes]
        order = (*kept, *(axis + 1 for axis in node.axes))
        rows = point.transpose(order).reshape(1, *node.shape, -1)
        moves = direction.transpose(order).reshape(direction.shape[0], *node.shape, -1)
        place = rows.argmax(axis=-1)[..., None]
        index = np.broadcast_to(place, (moves.shape[0], *place.shape[1:]))
        return (
            np.take_along_axis(rows, place, -1)[..., 0],
            np.take_along_axis(moves, index, -1)[..., 0],
        )

    def select(
        self,
        node: ir.Select,
        test: tuple[Array, Array],
        yes: tuple[Array, Array],
        no: tuple[Array, Array],
    ) -> tuple[Array, Array]:
        """Return the chosen entry and its change."""
        return (
            _PLAIN.select(node, test[0], yes[0], no[0]),
            _PLAIN.select(node, test[0], yes[1], no[1]),
        )

    def softmax(self, node: ir.Softmax, arg: tuple[Array, Array]) -> tuple[Array, Array]:
        """Return ``p (dz - sum p dz)``, or ``dz - sum p dz`` for the logarithm."""
        value = _PLAIN.softmax(node, arg[0])
        share = np.exp(value) if node.log else value
        mean = (share * arg[1]).sum(axis=node.axis + 1, keepdims=True)
        return value, (arg[1] - mean) if node.log else share * (arg[1] - mean)


def jacobian(network: ir.Network, point: Array) -> tuple[Array, Array]:
    """Return the outputs ``(m,)`` and the Jacobian ``(m, n)`` at the input entries ``(n,)``.

    Raises:
        UnsupportedError: the Jacobian of a very large model (more than 2**31 products).
    """
    n, m = network.input_size, network.output_size
    largest = max((int(np.prod(node.shape)) for node in network.nodes), default=1)
    if n * largest > _LARGEST or n * m > _CHUNK_ENTRIES * 4:
        msg = (
            f"the local affine map has {m} x {n} entries over layers of up to {largest} units, "
            "which is too large; ask for fewer inputs, for example through a box"
        )
        raise UnsupportedError(msg)
    chunk = max(1, _CHUNK_ENTRIES // max(1, largest))
    found = np.zeros((m, n))
    value = np.zeros(m)
    with np.errstate(all="ignore"):
        for low in range(0, max(n, 1), chunk):
            high = min(n, low + chunk)
            rows = np.zeros((high - low, n))
            rows[np.arange(high - low), np.arange(low, high)] = 1.0
            inputs, first = [], 0
            for port in network.inputs:
                cut = slice(first, first + port.size)
                inputs.append(
                    (
                        point[cut].reshape(1, *port.shape),
                        rows[:, cut].reshape(high - low, *port.shape),
                    )
                )
                first += port.size
            at = 0
            for port, (out, moved) in zip(
                network.outputs, forward(network, Tangent(), inputs), strict=True
            ):
                value[at : at + port.size] = np.asarray(out).reshape(-1)
                full = np.broadcast_to(moved, (high - low, *port.shape))
                found[at : at + port.size, low:high] = full.reshape(high - low, -1).T
                at += port.size
    return value, found
