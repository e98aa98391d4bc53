r"""The reduced function on the plane of a slice: at points, and at all nodes of one grid.

The grid is evaluated in single precision where the network is a chain of dense layers and of
activations with slopes between 0 and 1, with a bound of the error beside it.  Only the nodes where
the bound leaves the sign open, and the ends of the edges that the curve crosses, are evaluated in
float64 again.  So every sign is that of float64, and so are all values that a crossing is found
from; the other values are good to single precision.

The bound, layer by layer and unit by unit, with :math:`u = 2^{-24}`: an affine map of :math:`n`
terms turns an error :math:`e` into :math:`|W| e + (n + 4) u (|W| m + |b|)`, where :math:`m` bounds
the arguments; an activation with slopes of at most 1 hands :math:`e` on and adds its own error, at
most 8 units in the last place.  Below the smallest normal number, :math:`2^{-126}`, rounding is no
longer relative: every operation may be off by that much, too.  Float64's own rounding is far below
and is not counted.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from nneq.api.framing import Slice
from nneq.boundary.results import Box
from nneq.ir import Affine, Elementwise, Input, Network
from nneq.ir.linear_map import Dense, Identity, Reshape
from nneq.semantics.compiled import compile_network

__all__ = ["CELLS", "Section", "cell_points", "grid_axes"]

Array = np.ndarray[Any, Any]

CELLS = 96
_UNIT = 2.0**-24
_TINY = 2.0**-126  # below it single precision loses digits, or all where it is flushed to zero
_ULPS = 8.0
_MOST_OPEN = 0.25  # nodes to evaluate again; above, all are
_LARGEST = 1e30  # of an argument in single precision
_BLOCK = 1 << 18  # entries of a layer at once: they stay in the cache


def grid_axes(box: Box, cells: int = CELLS) -> tuple[Array, Array]:
    """Return the two axes of the grid: the centres of so many cells, and both ends."""
    middles = (np.arange(cells) + 0.5) / cells
    shares = np.concatenate([[0.0], middles, [1.0]])
    first, second = (
        low * (1 - shares) + high * shares for low, high in zip(box.low, box.high, strict=True)
    )
    return first, second


def cell_points(part: Slice, every: int = 1) -> Array:
    """Return the centres of all cells, or every so many, as full inputs, shape ``(k, n)``."""
    first, second = grid_axes(part.box)
    i, j = np.divmod(np.arange(0, CELLS * CELLS, every), CELLS)  # the second input runs faster
    places = np.stack([first[1:-1][i], second[1:-1][j]], axis=1)
    return np.asarray(part.origin + places @ part.directions.T)


class Section:
    """``g`` on the plane of a slice.

    Args:
        network: ``g``, one output of shape ``(1,)``.
        part: the slice and its box.
        cells: of the grid, along each axis.

    Guarantee: numerical (float64).
    """

    def __init__(self, network: Network, part: Slice, cells: int = CELLS) -> None:
        """Make the function; nothing is evaluated yet."""
        self.network, self.part = network, part
        self.axes = grid_axes(part.box, cells)
        self._function = compile_network(network)
        self._directions = part.directions.T

    def __call__(self, points: Array) -> Array:
        """Return ``g`` at points ``(k, 2)`` of the plane, shape ``(k,)``."""
        return np.asarray(self._function(self.part.origin + points @ self._directions)[:, 0])

    def grid(self) -> Array:
        """Return ``g`` at every node of the grid, shape ``(cells + 2, cells + 2)``."""
        rough = self._single()
        if rough is not None:
            values, error = rough
            if np.isfinite(values).all():
                again = np.abs(values) <= 2 * error
                if again.mean() <= _MOST_OPEN:
                    self._repeat(values, again)
                    self._repeat(values, _crossed(values > 0) & ~again)
                    return values
        across, up = np.meshgrid(*self.axes, indexing="ij")
        return self(np.stack([across.ravel(), up.ravel()], axis=1)).reshape(across.shape)

    def _repeat(self, values: Array, where: Array) -> None:
        """Replace values by those of float64."""
        i, j = np.nonzero(where)
        if len(i):
            values[i, j] = self(np.stack([self.axes[0][i], self.axes[1][j]], axis=1))

    def _single(self) -> tuple[Array, float] | None:
        """Return all values from single precision, and a bound of their error; None: no chain."""
        layers = _chain(self.network)
        if layers is None:
            return None
        (weight, bias, _), *rest = layers
        turned, shift = weight @ self.part.directions, weight @ self.part.origin + bias
        across = turned[:, :1] * self.axes[0]
        up = turned[:, 1:] * self.axes[1] + shift[:, None]
        error = _error(across, up, layers)
        if not error < np.inf:
            return None
        narrow = [(w.astype(np.float32), b.astype(np.float32)[:, None], r) for w, b, r in rest]
        starts, steps = across.astype(np.float32)[:, :, None], up.astype(np.float32)[:, None, :]
        widest = max(len(w) for w, _, _ in layers)
        rows = max(1, _BLOCK // (widest * up.shape[1]))
        found = np.empty((across.shape[1], up.shape[1]))
        for first in range(0, len(found), rows):
            z = (starts[:, first : first + rows] + steps).reshape(len(starts), -1)
            _activate(z, layers[0][2])
            for matrix, offset, rule in narrow:
                z = matrix @ z
                z += offset
                _activate(z, rule)
            found[first : first + rows] = z[0].reshape(-1, up.shape[1])
        return found, error


def _activate(z: Array, rule: str) -> None:
    """Apply an activation in place."""
    match rule:
        case "tanh":
            np.tanh(z, out=z)
        case "sigmoid":  # (1 + tanh(z / 2)) / 2
            z *= np.float32(0.5)
            np.tanh(z, out=z)
            z += np.float32(1.0)
            z *= np.float32(0.5)
        case "relu":
            np.maximum(z, np.float32(0.0), out=z)
        case _:
            pass


def _error(across: Array, up: Array, layers: list[tuple[Array, Array, str]]) -> float:
    """Return how far single precision may be off at any node; inf where it may overflow.

    Args:
        across: the first layer's part of the first free input, shape ``(units, nodes)``.
        up: the rest of the first layer.
        layers: all of them.
    """
    most = np.abs(across).max(axis=1) + np.abs(up).max(axis=1)
    error = 4 * (_UNIT * most + _TINY)
    for k, (weight, bias, rule) in enumerate(layers):
        if k:
            size = np.abs(weight)
            terms = size @ most + np.abs(bias)
            tiny = _TINY * (1 + most.sum())  # of the weights, and of the products
            error = size @ error + (weight.shape[1] + 4) * (_UNIT * terms + tiny)
            most = terms
            if not size.max(initial=0.0) < _LARGEST:
                return np.inf
        if not most.max(initial=0.0) < _LARGEST:
            return np.inf
        if rule in {"tanh", "sigmoid"}:
            most = np.minimum(most, 1.0) if rule == "tanh" else np.ones_like(most)
            error = error + _ULPS * _UNIT
    return float(error[0])


def _chain(network: Network) -> list[tuple[Array, Array, str]] | None:
    """Return ``(matrix, bias, activation)`` of every layer, or None for other networks."""
    layers: list[tuple[Array, Array, str]] = []
    for place, node in enumerate(network.nodes):
        if place and node.args != (place - 1,):
            return None
        match node:
            case Input() if place == 0:
                continue
            case Affine() if len(node.terms) == 1:
                stages = [
                    stage
                    for stage in node.terms[0].map.stages()
                    if not isinstance(stage, Reshape | Identity)
                ]
                if (
                    len(stages) != 1
                    or not isinstance(stages[0], Dense)
                    or stages[0].lead not in {(), (1,)}
                ):
                    return None
                weight = stages[0].weight.astype(np.float64)
                bias = np.zeros(len(weight)) if node.bias is None else node.bias
                bias = np.broadcast_to(bias, node.shape).reshape(-1).astype(np.float64)
                layers.append((weight, bias, ""))
            case Elementwise() if node.rule in {"tanh", "sigmoid", "relu"} and layers:
                if layers[-1][2]:
                    return None
                layers[-1] = (*layers[-1][:2], node.rule)
            case _:
                return None
    single = len(network.outputs) == 1 and network.outputs[0].node == len(network.nodes) - 1
    return layers if single and layers else None


def _crossed(signs: Array) -> Array:
    """Return which nodes are ends of an edge with two signs."""
    found = np.zeros_like(signs)
    for a, b in ((np.s_[:-1], np.s_[1:]), (np.s_[:, :-1], np.s_[:, 1:])):
        change = signs[a] != signs[b]
        found[a] |= change
        found[b] |= change
    return found
