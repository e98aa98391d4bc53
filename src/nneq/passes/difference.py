r"""Two outputs to one function ``g`` whose zeros are the points where they are equal.

Walking back from the outputs, everything that cannot change :math:`z_i = z_j` is cancelled: moves
of entries, softmax and log-softmax over a common axis (order preserving), strictly increasing
activations applied equally to both.  ReLU, hard sigmoid and their like are **kept**: they tie on
sets with interior.  At an affine node the two rows are subtracted once, exactly: :math:`w_i - w_j`
is stored as ``s + e`` with both parts float64 (Knuth's two-sum), so no weight is rounded.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from nneq.activations import RULES
from nneq.ir import linear_map as lm
from nneq.ir import network as ir
from nneq.passes.simplify import drop_dead

__all__ = ["Reduced", "difference", "level", "margins", "stripped"]

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, eq=False)
class Reduced:
    """A network with one output of shape ``(1,)``, and what was cancelled on the way."""

    network: ir.Network
    notes: tuple[str, ...]


@dataclass(frozen=True)
class _Entry:
    node: int
    index: int


def _entry(network: ir.Network, place: int) -> _Entry:
    """Return where output entry ``place`` (0-based over all ports) is made."""
    for port in network.outputs:
        if place < port.size:
            return _Entry(port.node, place)
        place -= port.size
    msg = "no such output"
    raise IndexError(msg)


def _through_moves(network: ir.Network, entry: _Entry) -> _Entry:
    """Follow an entry back through affine nodes that only move numbers."""
    while True:
        node = network.nodes[entry.node]
        if not isinstance(node, ir.Affine) or len(node.terms) != 1 or node.bias is not None:
            return entry
        stages = node.terms[0].map.stages()
        if not all(isinstance(s, _MOVES) for s in stages):
            return entry
        numbers = np.arange(1, node.terms[0].map.in_size + 1, dtype=np.int64)
        moved = numbers.reshape(1, *node.terms[0].map.in_shape)
        for stage in stages:
            moved = stage.apply(moved)
        source = int(moved.reshape(-1)[entry.index])
        if source == 0:
            return entry
        entry = _Entry(node.terms[0].arg, source - 1)


_MOVES = (lm.Identity, lm.Reshape, lm.Permute, lm.Slice, lm.Place, lm.Broadcast, lm.Take)


def _scalar_params(node: ir.Elementwise) -> bool:
    return all(np.ndim(value) == 0 for value in node.params.values())


def stripped(network: ir.Network, i: int, j: int) -> tuple[_Entry, _Entry, tuple[str, ...]]:
    """Return where the two outputs come from once what cannot matter is cancelled, and notes."""
    first, second = (_through_moves(network, _entry(network, k)) for k in (i, j))
    notes: list[str] = []
    while first.node == second.node:
        node = network.nodes[first.node]
        if isinstance(node, ir.Softmax):
            a = np.unravel_index(first.index, node.shape)
            b = np.unravel_index(second.index, node.shape)
            if any(p != q for k, (p, q) in enumerate(zip(a, b, strict=True)) if k != node.axis):
                break
            kind = "log-softmax" if node.log else "softmax"
            notes.append(f"{kind} cancelled: it preserves the order of its inputs")
        elif isinstance(node, ir.Elementwise):
            if RULES[node.rule].monotone(node.params) != "strict" or not _scalar_params(node):
                notes.append(
                    f"{node.rule} kept: it is not strictly increasing, equal outputs need not come "
                    "from equal logits"
                )
                break
            notes.append(f"{node.rule} cancelled: it is strictly increasing")
        else:
            break
        first = _through_moves(network, _Entry(node.arg, first.index))
        second = _through_moves(network, _Entry(node.arg, second.index))
    return first, second, tuple(notes)


def _row(linear: lm.LinearMap, index: int) -> Array | None:
    """Return the row of the map as ``(in_size,)``, or None when that would round a weight."""
    if sum(bool(stage.parameters) for stage in linear.stages()) > 1:
        return None
    unit = np.zeros((1, linear.out_size))
    unit[0, index] = 1.0
    back = linear.transpose().apply(unit.reshape(1, *linear.out_shape))
    return np.asarray(back).reshape(-1)


def _two_sum(a: Array, b: Array) -> tuple[Array, Array]:
    """Return ``s, e`` with ``a + b == s + e`` exactly and ``s = fl(a + b)``."""
    s = a + b
    t = s - a
    e = (a - (s - t)) + (b - t)
    return s, e


def _row_map(shape: tuple[int, ...], row: Array) -> lm.LinearMap:
    return lm.chain(lm.Reshape(shape, (row.size,)), lm.Dense(row[None]))


def _parts(network: ir.Network, entry: _Entry, sign: float) -> tuple[list[Any], list[float]]:
    """Return ``(arg, shape, row or map)`` summands and bias summands of one entry."""
    node = network.nodes[entry.node]
    pick = lm.chain(lm.Take(node.shape, np.array([entry.index])), lm.Scale(np.array(sign), (1,)))
    if not isinstance(node, ir.Affine):
        row = np.zeros(int(np.prod(node.shape, dtype=int)))
        row[entry.index] = sign
        return [(entry.node, node.shape, row)], []
    rows = [_row(term.map, entry.index) for term in node.terms]
    parts: list[Any] = []
    for term, weights in zip(node.terms, rows, strict=True):
        if weights is None:
            parts.append((term.arg, term.map.in_shape, lm.chain(term.map, pick)))
        else:
            parts.append((term.arg, term.map.in_shape, sign * weights))
    bias = []
    if node.bias is not None:
        bias.append(sign * float(np.broadcast_to(node.bias, node.shape).reshape(-1)[entry.index]))
    return parts, bias


def _append(
    nodes: list[ir.Node], parts: list[Any], biases: list[float], *, apart: bool = False
) -> int:
    """Write the sum of the parts and biases as one affine node; return its place.

    With ``apart`` nothing is merged: every part and bias stays a summand of its own.
    """
    if apart:
        return _append_apart(nodes, parts, biases)
    terms: list[ir.Term] = []
    rows: dict[int, list[Array]] = {}
    shapes: dict[int, tuple[int, ...]] = {}
    for arg, shape, part in parts:
        if isinstance(part, lm.LinearMap):
            terms.append(ir.Term(arg, part))
        else:
            rows.setdefault(arg, []).append(part)
            shapes[arg] = shape
    for arg, found in rows.items():
        total, error = found[0], None
        if len(found) > 1:
            total, error = _two_sum(found[0], found[1])
        for extra in found[2:]:
            terms.append(ir.Term(arg, _row_map(shapes[arg], extra)))
        terms.append(ir.Term(arg, _row_map(shapes[arg], total)))
        if error is not None and error.any():
            terms.append(ir.Term(arg, _row_map(shapes[arg], error)))
    bias: Array | None = None
    if biases:
        total_bias, error_bias = np.array([biases[0]]), np.zeros(1)
        for summand in biases[1:]:
            total_bias, error_bias = _two_sum(total_bias, np.array([summand]))
        bias = total_bias
        if error_bias.any():
            nodes.append(ir.Constant(error_bias, "bias difference"))
            terms.append(ir.Term(len(nodes) - 1, lm.Identity((1,))))
    nodes.append(ir.Affine((1,), tuple(terms), bias, "difference"))
    return len(nodes) - 1


def _append_apart(nodes: list[ir.Node], parts: list[Any], biases: list[float]) -> int:
    terms = [
        ir.Term(arg, part if isinstance(part, lm.LinearMap) else _row_map(shape, part))
        for arg, shape, part in parts
    ]
    for bias in biases:
        nodes.append(ir.Constant(np.array([bias]), "bias"))
        terms.append(ir.Term(len(nodes) - 1, lm.Identity((1,))))
    nodes.append(ir.Affine((1,), tuple(terms), None, "difference"))
    return len(nodes) - 1


def _with_output(network: ir.Network, nodes: list[ir.Node], place: int) -> ir.Network:
    port = ir.Port("g", place, nodes[place].shape, batched=False, dtype="float64")
    return drop_dead(dataclasses.replace(network, nodes=tuple(nodes), outputs=(port,)))


def _subtracted(
    network: ir.Network, nodes: list[ir.Node], i: int, j: int, *, apart: bool = False
) -> tuple[int, Any]:
    """Write ``z_i - z_j``, reduced; return its place and the notes."""
    first, second, notes = stripped(network, i, j)
    left, bias_left = _parts(network, first, 1.0)
    right, bias_right = _parts(network, second, -1.0)
    return _append(nodes, left + right, bias_left + bias_right, apart=apart), notes


def difference(network: ir.Network, i: int, j: int, *, apart: bool = False) -> Reduced:
    """Return ``g`` with the zeros of ``z_i - z_j`` (0-based output entries ``i != j``).

    Args:
        network: the model.
        i: an output entry.
        j: another one.
        apart: keep the rows of ``z_i`` and ``z_j`` as summands of their own.  Rounding of the
            executed network grows with both of them, not with their difference, so statements
            about float32 execution need this form; it is the same function.

    Guarantee: exact; the sign of ``g`` is the sign of ``z_i - z_j``.
    """
    nodes = list(network.nodes)
    place, notes = _subtracted(network, nodes, i, j, apart=apart)
    return Reduced(_with_output(network, nodes, place), notes)


def margins(
    network: ir.Network, i: int, others: Sequence[int], *, apart: bool = False
) -> ir.Network:
    """Return the network of ``z_i - z_k`` for every ``k`` in ``others``: one output, ``(k,)``.

    Each entry is reduced as in :func:`difference`, so that its sign is the sign of ``z_i - z_k``.

    Guarantee: exact.
    """
    nodes = list(network.nodes)
    places = [_subtracted(network, nodes, i, k, apart=apart)[0] for k in others]
    shape = (len(places),)
    terms = tuple(
        ir.Term(place, lm.Place(lm.Slice(shape, (k,), (1,), (1,))))
        for k, place in enumerate(places)
    )
    nodes.append(ir.Affine(shape, terms, None, "margins"))
    return _with_output(network, nodes, len(nodes) - 1)


_EXACT_LEVELS = {("sigmoid", 0.5): 0.0, ("tanh", 0.0): 0.0, ("softsign", 0.0): 0.0}


def level(network: ir.Network, i: int, value: float) -> Reduced:
    """Return ``g`` with the zeros of ``z_i - value``.

    An output activation is cancelled only where the level's pre-image is an exact number
    (sigmoid at 1/2, tanh at 0); elsewhere it is kept, so that nothing is rounded.

    Guarantee: exact; the sign of ``g`` is the sign of ``z_i - value``.
    """
    entry = _through_moves(network, _entry(network, i))
    notes: list[str] = []
    node = network.nodes[entry.node]
    if isinstance(node, ir.Elementwise) and (node.rule, value) in _EXACT_LEVELS:
        logit = _EXACT_LEVELS[node.rule, value]
        notes.append(f"{node.rule} cancelled: {node.rule}(a) = {value!r} iff a = {logit!r}")
        value = logit
        entry = _through_moves(network, _Entry(node.arg, entry.index))
    elif isinstance(node, ir.Elementwise):
        notes.append(f"{node.rule} kept: the level's pre-image is not an exact number")
    parts, bias = _parts(network, entry, 1.0)
    nodes = list(network.nodes)
    place = _append(nodes, parts, [*bias, -value] if value else bias)
    return Reduced(_with_output(network, nodes, place), tuple(notes))
