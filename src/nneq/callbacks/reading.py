"""A model read again and again: in full when its structure is new, else its weights only.

Reading a model in full walks its layers and compares the network with the framework's own forward
pass.  While a network learns only its weights change.  For chains of plain layers an adapter says
what the structure is and returns the weights (:func:`nneq.api.importing.weights_of`).  Where the
structure is that of the network read last, and the arrays of that network were those weights bit
for bit, in order, the new weights take their places.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from nneq.adapters.base import Weights
from nneq.api.importing import to_network, weights_of
from nneq.ir import Affine, Constant, Network, Term
from nneq.ir.linear_map import Dense

__all__ = ["Reader"]

Array = np.ndarray[Any, Any]


class Reader:
    """Reads the states of one model.

    Args:
        example_inputs: passed to ``to_network``.
    """

    def __init__(self, example_inputs: Any = None) -> None:
        """Begin without a network."""
        self._example_inputs = example_inputs
        self._structure: tuple[Any, ...] | None = None
        self._network: Network | None = None

    def read(self, model: Any) -> Network:
        """Return the network as the model is now; its arrays are copies.

        Raises:
            NneqError: the model cannot be read, or its weights are not finite.
            UnsupportedError: it holds something that has no equations.
        """
        weights = weights_of(model)
        if weights is not None and self._network is not None:
            known = self._structure is not None and weights.structure == self._structure
            if known and all(np.isfinite(array).all() for array in weights.arrays):
                return _replaced(self._network, weights.arrays)
        self._structure = None
        network = to_network(model, example_inputs=self._example_inputs)
        if weights is not None and _holds(network, weights):
            self._structure, self._network = weights.structure, network
        return network


def _holds(network: Network, weights: Weights) -> bool:
    """Return whether the arrays of a chain of nodes are these weights, bit for bit and in order."""
    found: list[Array] = []
    for place, node in enumerate(network.nodes):
        if isinstance(node, Constant) or any(arg != place - 1 for arg in node.args):
            return False
        if isinstance(node, Affine):
            if len(node.terms) != 1 or not isinstance(node.terms[0].map, Dense):
                return False
            found += [*node.terms[0].map.parameters, *([] if node.bias is None else [node.bias])]
    return len(found) == len(weights.arrays) and all(
        own.dtype == array.dtype and np.array_equal(own, array)
        for own, array in zip(found, weights.arrays, strict=True)
    )


def _replaced(network: Network, arrays: Sequence[Array]) -> Network:
    """Return the network with other arrays in the places of its own."""
    rest = iter(arrays)
    nodes = []
    for node in network.nodes:
        if isinstance(node, Affine):
            term = node.terms[0]
            linear = Dense(next(rest), term.map.in_shape[:-1])
            bias = None if node.bias is None else next(rest)
            node = dataclasses.replace(node, terms=(Term(term.arg, linear),), bias=bias)
        nodes.append(node)
    return dataclasses.replace(network, nodes=tuple(nodes))
