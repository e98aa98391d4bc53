r"""One hidden layer, exactly: :math:`F = \delta_0 + \sum_i \delta_i\,\varphi(r_i \cdot x + c_i)`.

The coefficients are the fractions that the stored weights are (every float is a dyadic rational),
so nothing is rounded between the model and the formula.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from nneq.errors import UnsupportedError
from nneq.ir import network as ir

__all__ = ["OneHidden", "affine_form", "fractions_of", "one_hidden"]

Array = np.ndarray[Any, Any]

_ENTRIES = 2_000_000


@dataclass(frozen=True, eq=False)
class OneHidden:
    r"""``delta_0 + sum_i delta_i f(r_i . x + c_i)`` in fractions.

    Args:
        rule: ``sigmoid`` or ``tanh``.
        r: slopes, an object array of fractions, shape ``(N, n)``.
        c: offsets, shape ``(N,)``.
        delta: output weights, shape ``(N,)``.
        delta_0: output bias.
    """

    rule: str
    r: Array
    c: Array
    delta: Array
    delta_0: Fraction

    @property
    def units(self) -> int:
        """The number ``N`` of hidden units."""
        return self.delta.size

    @property
    def kappa(self) -> int:
        """1 for the sigmoid, 2 for tanh: ``1 + exp(-kappa a)`` is the unit's denominator."""
        return 1 if self.rule == "sigmoid" else 2

    @property
    def low(self) -> int:
        """The unit's value far to the left (0 or -1); far to the right it is 1."""
        return 0 if self.rule == "sigmoid" else -1

    def __call__(self, x: Array) -> Array:
        """Evaluate ``F`` in float64 for points of shape ``(S, n)``."""
        a = x @ self.r.astype(np.float64).T + self.c.astype(np.float64)
        y = np.tanh(a) if self.rule == "tanh" else 0.5 * (1.0 + np.tanh(0.5 * a))
        return np.asarray(y @ self.delta.astype(np.float64) + float(self.delta_0))


def fractions_of(array: Array) -> Array:
    """Return the array's entries as fractions (object array)."""
    out = np.empty(array.shape, dtype=object)
    flat = out.reshape(-1)
    for k, value in enumerate(array.reshape(-1)):
        flat[k] = Fraction(float(value))
    return out


def _form(node: ir.Affine, values: dict[int, Array], size: int) -> Array | None:
    """Return the node's affine form ``(1 + size, *shape)``: constant part, then coefficients."""
    total = np.full((1 + size, *node.shape), Fraction(0), dtype=object)
    for term in node.terms:
        if term.arg not in values:
            return None
        total = total + term.map.apply(values[term.arg], fractions_of)
    if node.bias is not None:
        total[0] = total[0] + fractions_of(np.broadcast_to(node.bias, node.shape))
    return total


def _basis(sizes: dict[int, tuple[int, tuple[int, ...]]], size: int) -> dict[int, Array]:
    values = {}
    for place, (start, shape) in sizes.items():
        block = np.full((1 + size, int(np.prod(shape, dtype=int))), Fraction(0), dtype=object)
        for k in range(block.shape[1]):
            block[1 + start + k, k] = Fraction(1)
        values[place] = block.reshape(1 + size, *shape)
    return values


def _constant(node: ir.Constant, size: int) -> Array:
    total = np.full((1 + size, *node.shape), Fraction(0), dtype=object)
    total[0] = fractions_of(node.value)
    return total


def _depth(network: ir.Network) -> int:
    """Return how many activations lie on the longest path."""
    depths: list[int] = []
    for node in network.nodes:
        below = max((depths[arg] for arg in node.args), default=0)
        depths.append(below + isinstance(node, ir.Elementwise))
    return depths[network.outputs[0].node]


def affine_form(network: ir.Network) -> tuple[Array, Fraction] | None:
    """Return ``(slopes (n,), constant)`` of an affine ``g`` as fractions, or None if it is not.

    Guarantee: exact.
    """
    if not all(isinstance(n, ir.Input | ir.Affine | ir.Constant) for n in network.nodes):
        return None
    n = network.input_size
    starts = np.cumsum([0, *(port.size for port in network.inputs)])
    inputs = {p.node: (int(s), p.shape) for p, s in zip(network.inputs, starts, strict=False)}
    values = _basis(inputs, n)
    for place, node in enumerate(network.nodes):
        if isinstance(node, ir.Constant):
            values[place] = _constant(node, n)
        elif isinstance(node, ir.Affine):
            form = _form(node, values, n)
            if form is not None:
                values[place] = form
    final = values[network.outputs[0].node].reshape(-1)
    return final[1:], final[0]


def one_hidden(network: ir.Network) -> OneHidden:
    """Return the exact one-hidden-layer form of a network with one output of shape ``(1,)``.

    Raises:
        UnsupportedError: the network is not of this form; the message says why.

    Guarantee: exact.
    """
    hidden = [k for k, n in enumerate(network.nodes) if isinstance(n, ir.Elementwise)]
    others = {type(n).__name__ for n in network.nodes} - {
        "Input",
        "Affine",
        "Elementwise",
        "Constant",
    }
    rules = sorted({network.nodes[k].rule for k in hidden})  # type: ignore[union-attr]  # chosen above
    if others or len(rules) != 1 or rules[0] not in {"sigmoid", "tanh"}:
        found = ", ".join(sorted(others) + rules) or "no hidden units"
        msg = f"this form needs one hidden layer of sigmoid or tanh units; the network has {found}"
        raise UnsupportedError(msg)
    if _depth(network) > 1:
        msg = "this form needs one hidden layer; the network is deeper"
        raise UnsupportedError(msg)
    n = network.input_size
    units = sum(int(np.prod(network.nodes[k].shape, dtype=int)) for k in hidden)
    if units * (n + 1) > _ENTRIES:
        msg = f"{units} units of {n} inputs are more than the exact form is made for"
        raise UnsupportedError(msg)
    starts = np.cumsum([0, *(port.size for port in network.inputs)])
    inputs = {p.node: (int(s), p.shape) for p, s in zip(network.inputs, starts, strict=False)}
    in_x = _basis(inputs, n)
    in_y: dict[int, Array] = {}
    blocks: list[Array] = []
    layout: dict[int, tuple[int, tuple[int, ...]]] = {}
    start = 0
    for place in hidden:
        shape = network.nodes[place].shape
        layout[place] = (start, shape)
        start += int(np.prod(shape, dtype=int))
    in_y = _basis(layout, units)
    for place, node in enumerate(network.nodes):
        if isinstance(node, ir.Constant):
            in_x[place], in_y[place] = _constant(node, n), _constant(node, units)
        elif isinstance(node, ir.Affine):
            for values, size in ((in_x, n), (in_y, units)):
                form = _form(node, values, size)
                if form is not None:
                    values[place] = form
        elif isinstance(node, ir.Elementwise):
            blocks.append(in_x[node.arg].reshape(1 + n, -1))
    out = network.outputs[0].node
    if out not in in_y:
        msg = "this form needs outputs that read hidden units only, not inputs as well"
        raise UnsupportedError(msg)
    final = in_y[out].reshape(-1)
    first = np.concatenate(blocks, axis=1)
    return OneHidden(rules[0], first[1:].T.copy(), first[0].copy(), final[1:].copy(), final[0])
