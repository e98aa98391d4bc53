r"""Activation patterns: which piece every unit is on, and the affine map that follows from it.

A piecewise-linear unit is a list of pieces ``slope * z + intercept`` between thresholds; array
parameters (one slope per channel) give every unit its own list.  ``Maximum`` is rewritten exactly:
:math:`\max(a, b) = b + \mathrm{relu}(a - b)`, so that a pattern is a vector of piece numbers.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from nneq.activations import RULES
from nneq.errors import UnsupportedError, problems_message
from nneq.ir import linear_map as lm
from nneq.ir import network as ir

__all__ = [
    "AffinePiece",
    "Hinges",
    "affine_columns",
    "affine_piece",
    "expand_maximum",
    "hinges",
    "obstacles",
    "split_inputs",
]

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, eq=False)
class Hinges:
    """The pieces of one elementwise node, unit by unit, left to right.

    Args:
        slopes: shape ``(k + 1, *shape)``; exactly the stored numbers.
        intercepts: shape ``(k + 1, *shape)``; exactly the stored numbers.
        thresholds: shape ``(k, *shape)``: where neighbouring pieces meet, rounded to float64 (the
            exact place is ``(b1 - b0) / (a0 - a1)``); NaN where the two pieces are one line.
    """

    slopes: Array
    intercepts: Array
    thresholds: Array

    @property
    def count(self) -> int:
        """The number of thresholds of a unit."""
        return len(self.thresholds)

    @property
    def same(self) -> bool:
        """Whether every unit has the same pieces."""
        return bool(np.ndim(self.slopes) == 1)


def obstacles(network: ir.Network) -> tuple[str, ...]:
    """Return why a network is not continuous and piecewise linear, one line per kind of node."""
    found: dict[str, None] = {}
    for node in network.nodes:
        if isinstance(node, ir.Product | ir.Softmax | ir.Select):
            found[f"{type(node).__name__.lower()} ({node.origin})"] = None
        elif isinstance(node, ir.Elementwise) and RULES[node.rule].pieces is None:
            found[f"{node.rule} ({node.origin})"] = None
    return tuple(found)


def hinges(node: ir.Elementwise) -> Hinges:
    """Return the pieces of a piecewise-linear node; arrays broadcast to ``(k, *node.shape)``.

    Raises:
        UnsupportedError: when the activation is not piecewise linear.
    """
    pieces = RULES[node.rule].pieces
    if pieces is None:
        msg = problems_message(
            "the exact engine needs a piecewise-linear network", [f"{node.rule} ({node.origin})"]
        )
        raise UnsupportedError(msg)
    names = sorted(node.params)
    if all(np.ndim(node.params[name]) == 0 for name in names):
        table = pieces({name: float(node.params[name]) for name in names})
        lines = np.array([(p.slope, p.intercept) for p in table], dtype=np.float64).T
        shaped = lines.reshape(2, -1, *(1,) * len(node.shape))
        slopes, intercepts = np.broadcast_to(shaped, (*shaped.shape[:2], *node.shape))
    else:
        rows = np.stack(
            [
                np.broadcast_to(np.asarray(node.params[name], np.float64), node.shape).reshape(-1)
                for name in names
            ],
            axis=1,
        )
        distinct, which = np.unique(rows, axis=0, return_inverse=True)
        tables = [
            pieces({n: float(v) for n, v in zip(names, row, strict=True)}) for row in distinct
        ]
        lines = np.array([[(p.slope, p.intercept) for p in table] for table in tables])
        per_unit = lines[which.reshape(-1)].transpose(2, 1, 0)
        slopes, intercepts = per_unit.reshape(2, per_unit.shape[1], *node.shape)
    with np.errstate(divide="ignore", invalid="ignore"):
        thresholds = (intercepts[1:] - intercepts[:-1]) / (slopes[:-1] - slopes[1:])
    thresholds = np.where(slopes[:-1] == slopes[1:], np.nan, thresholds)
    return Hinges(slopes, intercepts, thresholds)


def expand_maximum(network: ir.Network) -> ir.Network:
    """Return the network with every ``Maximum`` as a tournament of ``b + relu(a - b)``.

    A ReLU (or leaky ReLU) right before a maximum changes places with it, because it is increasing:
    fewer units, and no unit that touches 0 exactly where another one does.

    Guarantee: the same function in exact arithmetic; no weight is rounded.
    """
    if not any(isinstance(node, ir.Maximum) for node in network.nodes):
        return network
    nodes: list[ir.Node] = []
    new: dict[int, int] = {}
    later = _commuting(network)
    delayed = set(later.values())
    for place, node in enumerate(network.nodes):
        if isinstance(node, ir.Maximum):
            new[place] = _tournament(nodes, node, network.nodes[node.arg].shape, new[node.arg])
            if place in later:
                unit = network.nodes[later[place]]
                if isinstance(unit, ir.Elementwise):
                    moved = dataclasses.replace(unit, shape=node.shape, arg=new[place])
                    nodes.append(moved)
                    new[place] = len(nodes) - 1
        elif place in delayed and isinstance(node, ir.Elementwise):
            new[place] = new[node.arg]
        else:
            nodes.append(_moved(node, new))
            new[place] = len(nodes) - 1
    return dataclasses.replace(
        network,
        nodes=tuple(nodes),
        inputs=tuple(dataclasses.replace(p, node=new[p.node]) for p in network.inputs),
        outputs=tuple(dataclasses.replace(p, node=new[p.node]) for p in network.outputs),
    )


_MOVES = (lm.Identity, lm.Reshape, lm.Permute, lm.Slice, lm.Take)


def _commuting(network: ir.Network) -> dict[int, int]:
    """Return ``{maximum: ReLU}`` where only moves of entries lie between and nothing else reads."""
    found = {}
    for place, node in enumerate(network.nodes):
        if not isinstance(node, ir.Maximum):
            continue
        source = node.arg
        while network.uses[source] == 1:
            inner = network.nodes[source]
            if isinstance(inner, ir.Affine):
                moves = len(inner.terms) == 1 and inner.bias is None
                if not moves or not all(isinstance(m, _MOVES) for m in inner.terms[0].map.stages()):
                    break
                source = inner.terms[0].arg
                continue
            if isinstance(inner, ir.Elementwise) and _increasing_through_zero(inner):
                found[place] = source
            break
    return found


def _increasing_through_zero(node: ir.Elementwise) -> bool:
    if node.rule == "relu":
        return True
    if node.rule != "leaky_relu":
        return False
    alpha = np.asarray(node.params["alpha"])
    return alpha.ndim == 0 and float(alpha) >= 0


def _tournament(nodes: list[ir.Node], node: ir.Maximum, shape: tuple[int, ...], arg: int) -> int:
    kept = [k for k in range(len(shape)) if k not in node.axes]
    order = (*kept, *node.axes)
    rows = math.prod(shape[k] for k in kept)
    size = math.prod(shape[k] for k in node.axes)
    permuted = tuple(shape[k] for k in order)
    moved: lm.LinearMap = lm.chain(lm.Permute(shape, order), lm.Reshape(permuted, (rows, size)))

    def add(new_node: ir.Node) -> int:
        nodes.append(new_node)
        return len(nodes) - 1

    while size > 1:
        half = size // 2
        shape2 = (rows, half)
        first = lm.chain(moved, lm.Slice((rows, size), (0, 0), (1, 1), shape2))
        second = lm.chain(moved, lm.Slice((rows, size), (0, half), (1, 1), shape2))
        minus = lm.chain(second, lm.Scale(np.array(-1.0), shape2))
        gap = add(ir.Affine(shape2, (ir.Term(arg, first), ir.Term(arg, minus)), None, node.origin))
        positive = add(ir.Elementwise(shape2, gap, "relu", {}, node.origin))
        out = (rows, size - half)
        if size % 2:
            place = lm.Place(lm.Slice(out, (0, 0), (1, 1), shape2))
            rest = lm.chain(moved, lm.Slice((rows, size), (0, half), (1, 1), out))
            terms = (ir.Term(arg, rest), ir.Term(positive, place))
        else:
            terms = (ir.Term(arg, second), ir.Term(positive, lm.Identity(shape2)))
        arg = add(ir.Affine(out, terms, None, node.origin))
        moved = lm.Identity(out)
        size -= half
    last = lm.chain(moved, lm.Reshape((rows, 1), node.shape))
    return add(ir.Affine(node.shape, (ir.Term(arg, last),), None, node.origin))


def _moved(node: ir.Node, new: dict[int, int]) -> ir.Node:
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


def split_inputs(network: ir.Network, flat: Array) -> dict[int, Array]:
    """Return ``(S, n)`` flat inputs as ``{input node: (S, *shape)}`` (ports in order)."""
    values: dict[int, Array] = {}
    start = 0
    for port in network.inputs:
        part = flat[:, start : start + port.size]
        values[port.node] = part.reshape(flat.shape[0], *port.shape)
        start += port.size
    return values


def affine_columns(node: ir.Affine, args: Sequence[Array], q: Array) -> Array:
    """Return the affine node on homogeneous samples: ``L x + q * bias``.

    Args:
        node: the node.
        args: one array ``(S, *shape)`` per term.
        q: shape ``(S,)``: 1 for points, 0 for directions.
    """
    total: Array | None = None
    for term, value in zip(node.terms, args, strict=True):
        part = term.map.apply(value)
        total = part if total is None else total + part
    if total is None:
        total = np.zeros((len(q), *node.shape))
    if node.bias is not None:
        full = np.broadcast_to(node.bias, node.shape).astype(np.float64, copy=False)
        total = total + q.reshape(-1, *(1,) * len(node.shape)) * full
    return total


@dataclass(frozen=True, eq=False)
class AffinePiece:
    """The affine map of a network around one point.

    Args:
        pattern: one byte per unit of every elementwise node, in order: the number of its piece.
        W: shape ``(m, n)`` in the flat inputs.
        b: shape ``(m,)``.
        value: the outputs at the point, shape ``(m,)``.
        margin: the smallest distance of a pre-activation from a threshold (0: on a region's edge).
    """

    pattern: bytes
    W: Array
    b: Array
    value: Array
    margin: float


def affine_piece(network: ir.Network, x: Array) -> AffinePiece:
    r"""Return the affine map :math:`W x + b` on the region that holds ``x``.

    On an edge between regions, the piece to the left of a threshold is taken.

    Args:
        network: piecewise linear.
        x: shape ``(n,)``.

    Raises:
        UnsupportedError: when the network is not piecewise linear.

    Guarantee: numerical (float64); the map comes from the pattern, it is not fitted.
    """
    found = obstacles(network)
    if found:
        raise UnsupportedError(problems_message("the network is not piecewise linear", found))
    network = expand_maximum(network)
    values = split_inputs(network, np.asarray(x, np.float64)[None])
    slopes: dict[int, Array] = {}
    pattern: list[Array] = []
    margin = math.inf
    one = np.ones(1)
    for place, node in enumerate(network.nodes):
        match node:
            case ir.Constant():
                values[place] = node.value.astype(np.float64)[None]
            case ir.Affine():
                values[place] = affine_columns(node, [values[a] for a in node.args], one)
            case ir.Elementwise():
                table = hinges(node)
                z = values[node.arg]
                gaps = z - table.thresholds
                side = (gaps > 0).sum(axis=0)[None]
                if gaps.size and not np.isnan(gaps).all():
                    margin = min(margin, float(np.nanmin(np.abs(gaps))))
                slopes[place] = np.take_along_axis(table.slopes, side, 0)[0][None]
                offset = np.take_along_axis(table.intercepts, side, 0)[0][None]
                values[place] = slopes[place] * z + offset
                pattern.append(side.reshape(-1).astype(np.uint8))
            case _:
                pass
    W = _adjoint(network, slopes)
    value = np.concatenate([values[p.node].reshape(-1) for p in network.outputs])
    bits = np.concatenate(pattern).tobytes() if pattern else b""
    return AffinePiece(bits, W, value - W @ np.asarray(x, np.float64), value, margin)


def _adjoint(network: ir.Network, slopes: dict[int, Array]) -> Array:
    """Return the Jacobian ``(m, n)`` for fixed slopes, by one reverse sweep."""
    sizes = [port.size for port in network.outputs]
    total = sum(sizes)
    eye = np.eye(total)
    back: dict[int, Array] = {}
    start = 0
    for port in network.outputs:
        part = eye[:, start : start + port.size].reshape(total, *port.shape)
        back[port.node] = back[port.node] + part if port.node in back else part
        start += port.size
    for place in range(len(network.nodes) - 1, -1, -1):
        node = network.nodes[place]
        if place not in back or isinstance(node, ir.Input | ir.Constant):
            continue
        grad = back.pop(place)
        if isinstance(node, ir.Affine):
            for term in node.terms:
                part = term.map.transpose().apply(grad)
                back[term.arg] = back[term.arg] + part if term.arg in back else part
        elif isinstance(node, ir.Elementwise):
            part = grad * slopes[place]
            back[node.arg] = back[node.arg] + part if node.arg in back else part
    columns = [
        back[p.node].reshape(total, -1) if p.node in back else np.zeros((total, p.size))
        for p in network.inputs
    ]
    return np.concatenate(columns, axis=1)
