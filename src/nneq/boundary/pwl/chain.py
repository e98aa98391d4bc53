r"""A dense piecewise-linear network on a plane, as plain arrays for the polygon kernels.

Every unit with thresholds :math:`t_1 < t_2 < \dots` becomes rows :math:`z - t_k`, one for each
threshold, and the next layer is :math:`\sum_v M_v (c_v + j_v [z_v > 0]) z_v + b`: ``c`` the slope
on the left, ``j`` the change of slope.  The plane is composed with the first layer, so the number
of inputs no longer matters.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from nneq.boundary.pwl.walk import UNIT, Program
from nneq.ir import network as ir

__all__ = ["Chain", "chain_of"]

Array = np.ndarray[Any, Any]
_DENSE_ENTRIES = 1 << 24


@dataclass(frozen=True, eq=False)
class Chain:
    """Layers of a network on a plane; layer ``L`` is the outputs.

    Args:
        sizes: rows of each layer, shape ``(L + 1,)``.
        matrices: ``L`` arrays ``(sizes[l], sizes[l + 1])``.
        jumps: ``L`` arrays ``(sizes[l],)``: change of slope at the threshold.
        lows: ``L`` arrays ``(sizes[l],)``: slope left of the first threshold.
        biases: ``L`` arrays ``(sizes[l + 1],)``.
        doubts: ``L`` arrays ``(sizes[l + 1],)``: rounding made while the bias was composed.
        first: forms of layer 0 on the plane, shape ``(3, sizes[0])``: ``a x + b y + c``.
        first_error: per row, an error of each coefficient ``(3, sizes[0])``.
        rows: per hidden layer, ``(units, thresholds per unit)``.
    """

    sizes: Array
    matrices: tuple[Array, ...]
    jumps: tuple[Array, ...]
    lows: tuple[Array, ...]
    biases: tuple[Array, ...]
    doubts: tuple[Array, ...]
    first: Array
    first_error: Array
    rows: tuple[tuple[int, int], ...]

    @property
    def layers(self) -> int:
        """The number of hidden layers."""
        return len(self.matrices)


@dataclass(frozen=True, eq=False)
class _Link:
    """``matrix @ x + bias`` with rounding errors, shapes ``(out, in)`` and ``(out,)``."""

    matrix: Array
    bias: Array
    doubt: Array


def _links(program: Program) -> list[tuple[_Link, int]] | None:
    """Return alternating affine maps and elementwise nodes, or None when there are branches."""
    network = program.network
    if len(network.inputs) != 1 or len(network.outputs) != 1:
        return None
    links: list[tuple[_Link, int]] = []
    source = network.inputs[0].node
    current: _Link | None = None
    for place, node in enumerate(network.nodes):
        if place == network.inputs[0].node:
            continue
        match node:
            case ir.Affine():
                found = _compose(node, source, current, network.nodes[source].shape)
                if found is None:
                    return None
                current, source = found, place
            case ir.Elementwise():
                if node.arg != source or current is None:
                    return None
                links.append((current, place))
                current, source = None, place
            case _:
                return None
    if current is None or network.outputs[0].node != source:
        return None
    return [*links, (current, -1)]


def _compose(
    node: ir.Affine, source: int, before: _Link | None, shape: tuple[int, ...]
) -> _Link | None:
    if before is not None or any(term.arg != source for term in node.terms) or not node.terms:
        return None
    if int(np.prod(node.shape)) * int(np.prod(shape)) > _DENSE_ENTRIES:
        return None
    total = np.zeros((int(np.prod(node.shape)), int(np.prod(shape))))
    doubt = np.zeros(total.shape[0])
    del doubt
    for term in node.terms:
        if sum(bool(stage.fan_in) for stage in term.map.stages()) > 1:
            return None
        total = total + term.map.dense()
    bias = np.zeros(node.shape) if node.bias is None else np.broadcast_to(node.bias, node.shape)
    bias = bias.astype(np.float64).reshape(-1)
    slack = UNIT * (len(node.terms) - 1) * np.abs(total)
    return _Link(total, bias, slack)


def chain_of(program: Program, origin: Array, directions: Array) -> Chain | None:
    """Return the network on ``origin + directions @ (x, y)``, or None when it is no dense chain.

    Args:
        program: the prepared network.
        origin: shape ``(n,)``.
        directions: shape ``(n, 2)``.
    """
    links = _links(program)
    if links is None or len(links) < 2:
        return None
    first = links[0][0]
    columns = np.concatenate([directions, origin[:, None]], axis=1)
    forms = first.matrix @ columns
    fan = columns.shape[0] + 4
    error = fan * UNIT * (np.abs(first.matrix) @ np.abs(columns)) + first.doubt @ np.abs(columns)
    forms[:, 2] += first.bias
    error[:, 2] += 2 * UNIT * (np.abs(first.bias) + np.abs(forms[:, 2]))
    matrices, jumps, lows, biases, doubts, rows, sizes = [], [], [], [], [], [], []
    start, start_error = _rows(forms, program, links[0][1])
    start_error = start_error + _rows_error(error, program, links[0][1])
    sizes.append(start.shape[0])
    for number, (link, _) in enumerate(links[1:], start=1):
        table = program.tables[links[number - 1][1]]
        count = table.count
        units = int(np.prod(table.slopes.shape[1:]))
        slopes = table.slopes.reshape(count + 1, units)
        intercepts = table.intercepts.reshape(count + 1, units)
        thresholds = np.nan_to_num(table.thresholds.reshape(count, units), nan=1e300)
        low = np.zeros((units, count))
        low[:, 0] = slopes[0]
        jump = (slopes[1:] - slopes[:-1]).T
        matrix = np.repeat(link.matrix.T, count, axis=0)
        base = slopes[0] * np.where(slopes[0] == 0, 0.0, thresholds[0]) + intercepts[0]
        bias = link.matrix @ base + link.bias
        size = np.abs(link.matrix) @ np.abs(base) + np.abs(link.bias)
        doubt = (units + 6) * UNIT * size
        if link.doubt.any():
            return None
        target = links[number][1]
        if target >= 0:
            wide = program.tables[target]
            places = np.nan_to_num(wide.thresholds.reshape(wide.count, -1).T.reshape(-1), nan=1e300)
            matrix = np.repeat(matrix, wide.count, axis=1)
            bias = np.repeat(bias, wide.count) - places
            doubt = np.repeat(doubt, wide.count) + 4 * UNIT * (np.abs(bias) + np.abs(places))
        matrices.append(np.ascontiguousarray(matrix))
        jumps.append(np.ascontiguousarray(jump.reshape(-1)))
        lows.append(np.ascontiguousarray(low.reshape(-1)))
        biases.append(np.ascontiguousarray(bias))
        doubts.append(np.ascontiguousarray(doubt))
        rows.append((units, count))
        sizes.append(matrix.shape[1])
    return Chain(
        sizes=np.array(sizes, dtype=np.int64),
        matrices=tuple(matrices),
        jumps=tuple(jumps),
        lows=tuple(lows),
        biases=tuple(biases),
        doubts=tuple(doubts),
        first=np.ascontiguousarray(start.T),
        first_error=np.ascontiguousarray(start_error.T),
        rows=tuple(rows),
    )


def _rows(forms: Array, program: Program, place: int) -> tuple[Array, Array]:
    """Return one row ``z - t_k`` for each threshold, and the rounding of it."""
    table = program.tables[place]
    places = np.nan_to_num(table.thresholds.reshape(table.count, -1).T.reshape(-1), nan=1e300)
    wide = np.repeat(forms, table.count, axis=0)
    wide[:, 2] -= places
    error = np.zeros_like(wide)
    error[:, 2] = 4 * UNIT * (np.abs(places) + np.abs(wide[:, 2])) * (places != 0)
    return wide, error


def _rows_error(error: Array, program: Program, place: int) -> Array:
    return np.repeat(error, program.tables[place].count, axis=0)
