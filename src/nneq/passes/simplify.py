"""Structure-only passes: the function is unchanged for every input, in exact arithmetic."""

from __future__ import annotations

import dataclasses

import numpy as np

from nneq.ir import network as ir
from nneq.ir.linear_map import Identity, chain

__all__ = ["drop_dead", "fuse_affine", "renumbered", "tidy"]

_MOST_STAGES = 64
_MOST_TERMS = 256


def tidy(network: ir.Network) -> ir.Network:
    """Return the network with affine nodes fused and unused nodes dropped."""
    return drop_dead(fuse_affine(network))


def drop_dead(network: ir.Network) -> ir.Network:
    """Return the network without the nodes that reach no output (inputs stay)."""
    needed = {port.node for port in network.outputs}
    for place in range(len(network.nodes) - 1, -1, -1):
        if place in needed:
            needed.update(network.nodes[place].args)
    needed.update(port.node for port in network.inputs)
    return _keep(network, sorted(needed))


def _keep(network: ir.Network, places: list[int]) -> ir.Network:
    new = {old: k for k, old in enumerate(places)}
    nodes = tuple(renumbered(network.nodes[old], new) for old in places)
    return dataclasses.replace(
        network,
        nodes=nodes,
        inputs=tuple(dataclasses.replace(p, node=new[p.node]) for p in network.inputs),
        outputs=tuple(dataclasses.replace(p, node=new[p.node]) for p in network.outputs),
    )


def renumbered(node: ir.Node, new: dict[int, int]) -> ir.Node:
    """Return the node with its arguments renumbered."""
    match node:
        case ir.Input() | ir.Constant():
            return node
        case ir.Affine():
            terms = tuple(ir.Term(new[term.arg], term.map) for term in node.terms)
            return dataclasses.replace(node, terms=terms)
        case ir.Product():
            return dataclasses.replace(node, left=new[node.left], right=new[node.right])
        case ir.Select():
            return dataclasses.replace(
                node, test=new[node.test], yes=new[node.yes], no=new[node.no]
            )
        case ir.Elementwise() | ir.Maximum() | ir.Softmax():
            return dataclasses.replace(node, arg=new[node.arg])


def fuse_affine(network: ir.Network) -> ir.Network:
    r"""Return the network with an affine node that is read once, by an affine node, merged into it.

    :math:`L(\sum_k M_k x_k + b) + c = \sum_k (L M_k) x_k + (L b + c)`; maps are chained, never
    multiplied out, so no weight is rounded.  The bias is merged only where that is exact: when it
    is absent, or when ``L`` only moves numbers and ``c`` is absent.
    """
    nodes = list(network.nodes)
    uses = network.uses
    for place, node in enumerate(nodes):
        if isinstance(node, ir.Affine):
            nodes[place] = _fused(nodes, node, uses)
    return dataclasses.replace(network, nodes=tuple(nodes))


def _fused(nodes: list[ir.Node], node: ir.Affine, uses: tuple[int, ...]) -> ir.Affine:
    terms: list[ir.Term] = []
    bias = node.bias
    for term in node.terms:
        inner = nodes[term.arg]
        if not isinstance(inner, ir.Affine) or not inner.terms:
            terms.append(term)
            continue
        moves = all(part.fan_in == 0 for part in term.map.stages())
        mergeable = inner.bias is None or (moves and bias is None)
        mergeable = mergeable and _short(node, inner, term)
        if not mergeable or (uses[term.arg] > 1 and not _pure_move(inner)):
            terms.append(term)
            continue
        terms += [ir.Term(t.arg, chain(t.map, term.map)) for t in inner.terms]
        if inner.bias is not None:
            if isinstance(term.map, Identity):
                bias = inner.bias
            else:
                full = np.broadcast_to(inner.bias, inner.shape)
                bias = term.map.apply(full.astype(np.float64)[None])[0]
    return dataclasses.replace(node, terms=tuple(terms), bias=bias)


def _short(node: ir.Affine, inner: ir.Affine, term: ir.Term) -> bool:
    """Whether the merged node stays small, so that a chain of n nodes costs O(n) time."""
    if len(inner.terms) > 1 and len(node.terms) + len(inner.terms) > _MOST_TERMS:
        return False
    own = len(term.map.stages())
    return all(own + len(t.map.stages()) <= _MOST_STAGES for t in inner.terms)


def _pure_move(node: ir.Affine) -> bool:
    return (
        node.bias is None
        and len(node.terms) == 1
        and all(part.fan_in == 0 for part in node.terms[0].map.stages())
    )
