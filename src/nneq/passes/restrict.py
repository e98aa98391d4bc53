r"""A network on a line, a plane or any affine slice: :math:`t \mapsto f(o + V t)`."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from nneq.ir import linear_map as lm
from nneq.ir import network as ir
from nneq.passes.simplify import fuse_affine

__all__ = ["restrict"]

Array = np.ndarray[Any, Any]


def restrict(network: ir.Network, origin: Array, directions: Array) -> ir.Network:
    """Return the network on the slice ``x = origin + directions @ t``.

    The result has one input port ``t`` of shape ``(d,)``; every input of the model is an affine
    node of it, and all other nodes are unchanged, so nothing is rounded here.

    Args:
        network: over the flat inputs ``x_1 ... x_n`` (ports in order, row-major).
        origin: shape ``(n,)``.
        directions: shape ``(n, d)``.
    """
    nodes: list[ir.Node] = [ir.Input((directions.shape[1],), "t")]
    offset = {port.node: k for port, k in zip(network.inputs, _offsets(network), strict=True)}
    for place, node in enumerate(network.nodes):
        if place in offset:
            part = slice(offset[place], offset[place] + int(np.prod(node.shape, dtype=int)))
            rows = np.ascontiguousarray(directions[part], dtype=np.float64)
            steps = lm.chain(lm.Dense(rows), lm.Reshape((rows.shape[0],), node.shape))
            bias = np.asarray(origin[part], dtype=np.float64).reshape(node.shape)
            nodes.append(ir.Affine(node.shape, (ir.Term(0, steps),), bias, node.origin))
        else:
            nodes.append(_shifted(node))
    port = ir.Port("t", 0, (directions.shape[1],), batched=False, dtype="float64")
    outputs = tuple(dataclasses.replace(p, node=p.node + 1) for p in network.outputs)
    return fuse_affine(
        dataclasses.replace(network, nodes=tuple(nodes), inputs=(port,), outputs=outputs)
    )


def _offsets(network: ir.Network) -> list[int]:
    sizes = [0, *(port.size for port in network.inputs)]
    return [int(total) for total in np.cumsum(sizes)[:-1]]


def _shifted(node: ir.Node) -> ir.Node:
    match node:
        case ir.Input() | ir.Constant():
            return node
        case ir.Affine():
            terms = tuple(ir.Term(term.arg + 1, term.map) for term in node.terms)
            return dataclasses.replace(node, terms=terms)
        case ir.Product():
            return dataclasses.replace(node, left=node.left + 1, right=node.right + 1)
        case ir.Select():
            return dataclasses.replace(node, test=node.test + 1, yes=node.yes + 1, no=node.no + 1)
        case ir.Elementwise() | ir.Maximum() | ir.Softmax():
            return dataclasses.replace(node, arg=node.arg + 1)
