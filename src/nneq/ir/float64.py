"""The reference meaning of the program: float64 arrays of shape ``(S, *shape)``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from nneq.activations import RULES
from nneq.ir.forward import forward

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

__all__ = ["Float64", "evaluate"]

Array = np.ndarray[Any, Any]


class Float64:
    """Float64 arithmetic; overflow and undefined operations give inf and NaN, as in NumPy."""

    def constant(self, node: Constant) -> Array:
        """Return the value with a sample axis of extent 1."""
        return node.value.astype(np.float64, copy=False)[None]

    def affine(self, node: Affine, args: Sequence[Array]) -> Array:
        """Return the sum of the mapped arguments and the bias."""
        total: Array | None = None
        for term, value in zip(node.terms, args, strict=True):
            part = term.map.apply(value)
            total = part if total is None else total + part
        if node.bias is not None:
            total = node.bias.astype(np.float64, copy=False) if total is None else total + node.bias
        if total is None:
            return np.zeros((1, *node.shape))
        return total

    def elementwise(self, node: Elementwise, arg: Array) -> Array:
        """Return the rule's stable numeric form."""
        return RULES[node.rule].numeric(arg, node.params)

    def product(self, node: Product, left: Array, right: Array) -> Array:
        """Return the contraction of every sample."""
        ins, out = node.subscripts.split("->")
        first, second = ins.split(",")
        if first == second == out:
            return left * right
        left, right = _same_samples(left, right)
        found: Array = np.einsum(f"Z{first},Z{second}->Z{out}", left, right, optimize=True)
        return found

    def maximum(self, node: Maximum, arg: Array) -> Array:
        """Return the largest entries."""
        return np.asarray(arg.max(axis=tuple(axis + 1 for axis in node.axes)))

    def select(self, node: Select, test: Array, yes: Array, no: Array) -> Array:
        """Return the chosen entries."""
        match node.relation:
            case ">":
                return np.where(test > 0, yes, no)
            case ">=":
                return np.where(test >= 0, yes, no)
            case "==":
                return np.where(test == 0, yes, no)

    def softmax(self, node: Softmax, arg: Array) -> Array:
        """Return the softmax or its logarithm, shifted by the largest entry."""
        axis = node.axis + 1
        shifted = arg - arg.max(axis=axis, keepdims=True)
        weights = np.exp(shifted)
        total = weights.sum(axis=axis, keepdims=True)
        found: Array = shifted - np.log(total) if node.log else weights / total
        return found


def _same_samples(left: Array, right: Array) -> tuple[Array, Array]:
    count = max(left.shape[0], right.shape[0])
    return (
        np.broadcast_to(left, (count, *left.shape[1:])),
        np.broadcast_to(right, (count, *right.shape[1:])),
    )


_FLOAT64 = Float64()


def evaluate(network: Network, batches: Sequence[Array]) -> list[Array]:
    """Return the outputs ``(S, *shape)`` for inputs ``(S, *shape)``, in float64."""
    count = batches[0].shape[0] if batches else 1
    inputs = [batch.astype(np.float64, copy=False) for batch in batches]
    with np.errstate(all="ignore"):
        outputs = forward(network, _FLOAT64, inputs)
    return [np.broadcast_to(out, (count, *out.shape[1:])) for out in outputs]
