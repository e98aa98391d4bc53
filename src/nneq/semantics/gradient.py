"""The gradient of a scalar network in float64, by the reverse mode.

Numerical: for local searches and drawings, never inside a proof.  At a kink the derivative of the
piece to the right is taken.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from nneq.activations import RULES
from nneq.ir import network as ir
from nneq.ir.float64 import Float64
from nneq.ir.forward import forward_all
from nneq.semantics.numpy_elementary import NUMPY

__all__ = ["derivative_of_rule", "value_and_gradient"]

Array = np.ndarray[Any, Any]


def derivative_of_rule(name: str, z: Array, params: Mapping[str, Any]) -> Array:
    """Return ``f'(z)`` of an activation rule in float64.

    Args:
        name: the rule.
        z: pre-activations, any shape.
        params: the rule's parameters; arrays broadcast to ``z``.
    """
    rule = RULES[name]
    with np.errstate(all="ignore"):
        if rule.derivative is not None:
            found = rule.derivative(z, NUMPY, params)
            return np.broadcast_to(np.asarray(found, dtype=np.float64), z.shape)
        if rule.kind == "piecewise-linear" and rule.pieces is not None:
            slope = np.zeros_like(z)
            low: Any = -np.inf
            for piece in rule.pieces(params):
                slope = np.where(z >= low, piece.slope, slope)
                low = piece.upper
            return slope
        step = 1e-6 * np.maximum(1.0, np.abs(z))
        high, below = rule.numeric(z + step, params), rule.numeric(z - step, params)
        return np.asarray((high - below) / (2 * step))


def value_and_gradient(network: ir.Network, points: Array) -> tuple[Array, Array]:
    """Return ``g`` of shape ``(S,)`` and its gradient ``(S, n)`` at flat points ``(S, n)``.

    Args:
        network: one output port with one entry.
        points: float64, inputs in order, flattened.

    Guarantee: numerical.
    """
    points = np.atleast_2d(np.asarray(points, dtype=np.float64))
    count = points.shape[0]
    inputs, start = [], 0
    for port in network.inputs:
        part = points[:, start : start + port.size]
        inputs.append(part.reshape(count, *port.shape))
        start += port.size
    out = network.outputs[0].node
    with np.errstate(all="ignore"):
        values = forward_all(network, Float64(), inputs, range(len(network.nodes)))
        adjoint: dict[int, Array] = {out: np.ones((count, *network.nodes[out].shape))}
        for place in range(len(network.nodes) - 1, -1, -1):
            if place in adjoint:
                _backward(network.nodes[place], values, adjoint, place)
    parts = [
        adjoint.get(port.node, np.zeros((count, *port.shape))).reshape(count, -1)
        for port in network.inputs
    ]
    value = np.broadcast_to(values[out], (count, *network.nodes[out].shape)).reshape(count)
    return value, np.concatenate(parts, axis=1)


def _add(adjoint: dict[int, Array], place: int, part: Array) -> None:
    adjoint[place] = adjoint[place] + part if place in adjoint else part


def _backward(
    node: ir.Node, values: dict[int, Array], adjoint: dict[int, Array], place: int
) -> None:
    y = adjoint[place]
    match node:
        case ir.Affine():
            for term in node.terms:
                _add(adjoint, term.arg, term.map.transpose().apply(y))
        case ir.Elementwise():
            slope = derivative_of_rule(node.rule, values[node.arg], node.params)
            _add(adjoint, node.arg, y * slope)
        case ir.Product():
            _backward_product(node, values, adjoint, y)
        case ir.Maximum():
            _add(adjoint, node.arg, _backward_maximum(node, values[node.arg], y))
        case ir.Select():
            test = values[node.test]
            chosen = {">": test > 0, ">=": test >= 0, "==": test == 0}[node.relation]
            _add(adjoint, node.yes, np.where(chosen, y, 0.0))
            _add(adjoint, node.no, np.where(chosen, 0.0, y))
        case ir.Softmax():
            axis = node.axis + 1
            if node.log:
                weights = np.exp(values[place])
                back = y - weights * y.sum(axis=axis, keepdims=True)
            else:
                weights = values[place]
                back = weights * (y - (weights * y).sum(axis=axis, keepdims=True))
            _add(adjoint, node.arg, back)
        case ir.Input() | ir.Constant():
            pass


def _backward_product(
    node: ir.Product, values: dict[int, Array], adjoint: dict[int, Array], y: Array
) -> None:
    ins, out = node.subscripts.split("->")
    first, second = ins.split(",")
    count = y.shape[0]
    left, right = (
        np.broadcast_to(v, (count, *v.shape[1:]))
        for v in (
            values[node.left],
            values[node.right],
        )
    )
    for arg, own, other, letters in (
        (node.left, first, right, second),
        (node.right, second, left, first),
    ):
        _add(adjoint, arg, np.einsum(f"Z{out},Z{letters}->Z{own}", y, other, optimize=True))


def _backward_maximum(node: ir.Maximum, x: Array, y: Array) -> Array:
    axes = tuple(axis + 1 for axis in node.axes)
    kept = [k for k in range(x.ndim) if k not in axes]
    order = [*kept, *axes]
    moved = x.transpose(order)
    size = math.prod(x.shape[k] for k in axes)
    flat = moved.reshape(*moved.shape[: len(kept)], size)
    winner = flat.argmax(axis=-1)
    back = np.zeros((*y.shape, size))
    shaped = np.broadcast_to(winner, y.shape)
    np.put_along_axis(back, shaped[..., None], y[..., None], axis=-1)
    back = back.reshape(y.shape[0], *moved.shape[1:])
    return back.transpose(np.argsort(order))
