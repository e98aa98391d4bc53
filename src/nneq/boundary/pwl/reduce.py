"""A network on a box without the units that are dead there or always on one piece."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np

from nneq.boundary.pwl.relax import ranges
from nneq.boundary.pwl.walk import Program
from nneq.boundary.results import Box
from nneq.errors import NneqError, UnsupportedError, problems_message
from nneq.ir import linear_map as lm
from nneq.ir import network as ir
from nneq.passes.simplify import tidy
from nneq.semantics.pattern import hinges, obstacles

__all__ = ["Reduction", "reduced_on_box"]

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, eq=False)
class Reduction:
    """A network that equals the given one on a box.

    Args:
        network: the reduced network; elementwise nodes hold only units that can change piece.
        box: where both are equal.
        dead: number of units that are constant on the box.
        affine: number of units on one piece of non-zero slope.
        kept: number of units that can change piece.
    """

    network: ir.Network
    box: Box
    dead: int
    affine: int
    kept: int


def reduced_on_box(network: ir.Network, box: Box) -> Reduction:
    """Return the network with units removed that are proven to stay on one piece in the box.

    Args:
        network: piecewise linear.
        box: of ``n`` sides, in the flat inputs.

    Raises:
        UnsupportedError: when the network is not piecewise linear.
        NneqError: when the box does not fit the inputs.

    Guarantee: both networks are the same function on the box, in exact arithmetic (slopes and
    intercepts are the stored numbers; the ranges are certified).
    """
    found = obstacles(network)
    if found:
        raise UnsupportedError(problems_message("the network is not piecewise linear", found))
    size = sum(port.size for port in network.inputs)
    if len(box.low) != size or not np.isfinite([*box.low, *box.high]).all():
        msg = f"the box must have {size} finite sides, one for each input entry"
        raise NneqError(msg)
    program = Program(network)
    low, high = np.array(box.low), np.array(box.high)
    center = low + (high - low) / 2
    half = np.maximum(high - center, center - low) * (1 + 2**-50)
    bounds, _ = ranges(program, center, half)
    nodes: list[ir.Node] = []
    new: dict[int, int] = {}
    counts = [0, 0, 0]
    for place, node in enumerate(program.network.nodes):
        if isinstance(node, ir.Elementwise):
            new[place] = _unit(nodes, node, new[node.arg], bounds[place], counts)
            continue
        moved = node
        if isinstance(node, ir.Affine):
            terms = tuple(ir.Term(new[term.arg], term.map) for term in node.terms)
            moved = dataclasses.replace(node, terms=terms)
        nodes.append(moved)
        new[place] = len(nodes) - 1
    old = program.network
    reduced = dataclasses.replace(
        old,
        nodes=tuple(nodes),
        inputs=tuple(dataclasses.replace(p, node=new[p.node]) for p in old.inputs),
        outputs=tuple(dataclasses.replace(p, node=new[p.node]) for p in old.outputs),
    )
    return Reduction(tidy(reduced), box, *counts)


def _unit(
    nodes: list[ir.Node],
    node: ir.Elementwise,
    arg: int,
    bounds: tuple[Array, Array],
    counts: list[int],
) -> int:
    """Write one elementwise node reduced; returns its place."""
    table = hinges(node)
    low, high = bounds
    units = len(low)
    thresholds = table.thresholds.reshape(table.count, units)
    with np.errstate(invalid="ignore"):
        loose = ((thresholds > low) & (thresholds < high)).any(axis=0)
    side = (low >= thresholds).sum(axis=0)[None]
    slope = np.take_along_axis(table.slopes.reshape(-1, units), side, 0)[0]
    shift = np.take_along_axis(table.intercepts.reshape(-1, units), side, 0)[0]
    slope, shift = np.where(loose, 0.0, slope), np.where(loose, 0.0, shift)
    counts[0] += int((~loose & (slope == 0)).sum())
    counts[1] += int((~loose & (slope != 0)).sum())
    counts[2] += int(loose.sum())
    terms = []
    if slope.any():
        scale = lm.Scale(slope.reshape(node.shape), node.shape)
        terms.append(ir.Term(arg, scale))
    if loose.any():
        index = np.nonzero(loose)[0]
        pick = lm.Take(node.shape, index)
        nodes.append(ir.Affine(index.shape, (ir.Term(arg, pick),), None, node.origin))
        params = {
            name: value
            if np.ndim(value) == 0
            else np.broadcast_to(value, node.shape).reshape(-1)[index]
            for name, value in node.params.items()
        }
        nodes.append(ir.Elementwise(index.shape, len(nodes) - 1, node.rule, params, node.origin))
        terms.append(ir.Term(len(nodes) - 1, pick.transpose()))
    bias = shift.reshape(node.shape) if shift.any() or not terms else None
    nodes.append(ir.Affine(node.shape, tuple(terms), bias, node.origin))
    return len(nodes) - 1
