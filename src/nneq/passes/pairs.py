r"""Many differences :math:`z_i - z_j` as the outputs of one network.

What cannot change the order of the outputs is cancelled first, as in
:mod:`nneq.passes.difference`; rows of a last dense layer are subtracted exactly (``s + e``).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from nneq.ir import linear_map as lm
from nneq.ir import network as ir
from nneq.passes.difference import stripped
from nneq.passes.simplify import drop_dead

__all__ = ["pair_differences"]

Array = np.ndarray[Any, Any]


def pair_differences(
    network: ir.Network, pairs: Sequence[tuple[int, int]], *, apart: bool = False
) -> ir.Network:
    """Return a network with one output of shape ``(len(pairs),)``: ``z_i - z_j`` for every pair.

    Args:
        network: any number of outputs; entries are counted over all ports.
        pairs: 0-based output entries, ``i != j``.
        apart: do not subtract rows: needed by statements about float32 execution.

    Guarantee: exact; each entry has the sign of its ``z_i - z_j``.
    """
    places: dict[int, list[tuple[int, int, float]]] = {}
    for row, (i, j) in enumerate(pairs):
        first, second, _ = stripped(network, i, j)
        places.setdefault(first.node, []).append((row, first.index, 1.0))
        places.setdefault(second.node, []).append((row, second.index, -1.0))
    nodes = list(network.nodes)
    terms: list[ir.Term] = []
    biases: list[Array] = []
    for node, entries in places.items():
        shape = network.nodes[node].shape
        matrix = np.zeros((len(pairs), int(np.prod(shape, dtype=int))))
        for row, column, sign in entries:
            matrix[row, column] += sign
        found = None if apart else _through_dense(network, node, matrix)
        if found is None:
            terms.append(ir.Term(node, _flat(shape, matrix)))
        else:
            terms += found[0]
            biases += found[1]
    bias = None
    for part in biases:
        if bias is None:
            bias = part
            continue
        bias, error = _two_sum(bias, part)
        if error.any():
            nodes.append(ir.Constant(error, "bias difference"))
            terms.append(ir.Term(len(nodes) - 1, lm.Identity(error.shape)))
    size = (len(pairs),)
    nodes.append(ir.Affine(size, tuple(terms), bias, "differences"))
    port = ir.Port("g", len(nodes) - 1, size, batched=False, dtype="float64")
    return drop_dead(dataclasses.replace(network, nodes=tuple(nodes), outputs=(port,)))


def _flat(shape: tuple[int, ...], matrix: Array) -> lm.LinearMap:
    return lm.chain(lm.Reshape(shape, (matrix.shape[1],)), lm.Dense(matrix))


def _through_dense(
    network: ir.Network, place: int, matrix: Array
) -> tuple[list[ir.Term], list[Array]] | None:
    """Return the differences of a dense layer's rows, or None where they are not plain rows."""
    node = network.nodes[place]
    if not isinstance(node, ir.Affine) or not node.terms:
        return None
    if not ((np.abs(matrix).sum(axis=1) == 2).all() and (matrix.sum(axis=1) == 0).all()):
        return None
    plus, minus = matrix.argmax(axis=1), matrix.argmin(axis=1)
    terms: list[ir.Term] = []
    for term in node.terms:
        *before, last = term.map.stages()
        if not isinstance(last, lm.Dense) or any(extent != 1 for extent in last.lead):
            return None
        weight = last.weight.astype(np.float64)
        total, error = _two_sum(weight[plus], -weight[minus])
        for rows in (total, error):
            if rows is total or rows.any():
                tail = (lm.Reshape(last.in_shape, (rows.shape[1],)), lm.Dense(rows))
                terms.append(ir.Term(term.arg, lm.chain(*before, *tail)))
    if node.bias is None:
        return terms, []
    bias = np.broadcast_to(node.bias, node.shape).reshape(-1).astype(np.float64)
    return terms, list(_two_sum(bias[plus], -bias[minus]))


def _two_sum(a: Array, b: Array) -> tuple[Array, Array]:
    """Return ``s, e`` with ``a + b == s + e`` exactly and ``s = fl(a + b)``."""
    s = a + b
    t = s - a
    return s, (a - (s - t)) + (b - t)
