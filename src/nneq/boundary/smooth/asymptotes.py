r"""Unbounded branches of the curve in a whole plane, and the lines they approach.

Far out in a direction ``v`` every first-layer unit is saturated unless its row is perpendicular to
``v``.  For each of these finitely many critical directions the rest of the network is a function of
one variable, the position across ``v``: the parallel units are free, all others sit at their
limits. Each of its roots is one branch that approaches the line at that position.  The directions
and the limits are exact (rational rows; limits 0 and +-1), the roots are proven on the whole real
line.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from nneq.boundary.problem import Problem
from nneq.boundary.results import Budget, Certificate, Clock, Enclosed, Root, Status
from nneq.boundary.smooth.lines import solve_lines
from nneq.errors import UnsupportedError
from nneq.ir import linear_map as lm
from nneq.ir import network as ir

__all__ = ["Asymptote", "Asymptotes", "asymptotes"]

Array = np.ndarray[Any, Any]

# limits at -inf and inf that are exact numbers
_LIMITS = {"tanh": (-1.0, 1.0), "sigmoid": (0.0, 1.0), "erf": (-1.0, 1.0), "softsign": (-1.0, 1.0)}


@dataclass(frozen=True)
class Asymptote:
    """One unbounded branch.

    Args:
        point: a point of the line it approaches, in the two free inputs.
        direction: the direction in which it goes to infinity.
        row: ``(a, b)``: the line is ``a u + b v = offset``.
        offset: an enclosure of the offset.
        root: the root across the line, in units of ``row``.
    """

    point: tuple[float, float]
    direction: tuple[float, float]
    row: tuple[float, float]
    offset: tuple[float, float]
    root: Root


@dataclass(frozen=True)
class Asymptotes:
    """All unbounded branches of the curve in a plane.

    Args:
        branches: one per branch going to infinity.
        complete: proven: there are no others.
        certificate: how it is proven.
    """

    branches: tuple[Asymptote, ...]
    complete: bool
    certificate: Certificate


def asymptotes(
    problem: Problem, origin: Array, directions: Array, *, clock: Clock | None = None
) -> Asymptotes:
    """Return the unbounded branches in the plane ``origin + directions @ (u, v)``.

    Args:
        problem: the reduced question.
        origin: shape ``(n,)``.
        directions: shape ``(n, 2)``.
        clock: the budget; none when None.  When it is over, or after Ctrl-C, the branches found
            by then are returned with ``complete=False``.

    Raises:
        UnsupportedError: first-layer activations without exact limits (ReLU, GELU, atan, ...).

    Guarantee: certified, for branches that are simple roots across their line.
    """
    clock = clock or Budget().start()
    origin, directions = np.asarray(origin, float), np.asarray(directions, float)
    first = _first_layer(problem.network)
    rows = {place: _rows(problem.network, place, directions) for place in first}
    found: list[Asymptote] = []
    complete, interrupted = True, False
    for row in _critical(rows):
        for side in (1, -1):
            if clock.over or interrupted:
                complete = False
                break
            direction = (-row[1] * side, row[0] * side)
            network = _saturated(problem.network, rows, direction)
            step = np.array([float(row[0]), float(row[1])])
            step /= np.linalg.norm(step)
            one = dataclasses.replace(problem, network=network, rivals=None)
            (solutions,) = solve_lines(
                one, origin[None], directions @ step, (-np.inf, np.inf), clock=clock
            )
            interrupted |= solutions.status is Status.INTERRUPTED
            complete &= solutions.complete and not solutions.identical
            found += [_branch(root, step, direction) for root in solutions]
    return Asymptotes(
        tuple(found), complete, Enclosed("saturated first layer, roots on the whole line")
    )


def _branch(root: Root, step: Array, direction: tuple[Fraction, Fraction]) -> Asymptote:
    way = np.array([float(direction[0]), float(direction[1])])
    way /= np.linalg.norm(way)
    return Asymptote(
        point=(float(root.value * step[0]), float(root.value * step[1])),
        direction=(float(way[0]), float(way[1])),
        row=(float(step[0]), float(step[1])),
        offset=(root.lower, root.upper),
        root=root,
    )


def _first_layer(network: ir.Network) -> list[int]:
    """Return the first nonlinear nodes.

    Raises:
        UnsupportedError: when one of them has no exact limits.
    """
    affine = {port.node for port in network.inputs}
    constant: set[int] = set()
    first = []
    for place, node in enumerate(network.nodes):
        if not isinstance(node, ir.Input) and all(arg in constant for arg in node.args):
            constant.add(place)
        elif isinstance(node, ir.Affine) and all(arg in affine | constant for arg in node.args):
            affine.add(place)
        elif not isinstance(node, ir.Input) and any(arg in affine for arg in node.args):
            rule = node.rule if isinstance(node, ir.Elementwise) else type(node).__name__.lower()
            live = not isinstance(node, ir.Affine)
            if rule not in _LIMITS and live:
                msg = (
                    f"asymptotes need first-layer activations with exact limits "
                    f"({', '.join(sorted(_LIMITS))}), not {rule} ({node.origin}); "
                    "use trace on a large box instead"
                )
                raise UnsupportedError(msg)
            if not live:
                msg = f"a skip connection carries the inputs past the first layer ({node.origin})"
                raise UnsupportedError(msg)
            first.append(place)
    return first


def _fractions(array: Array) -> Array:
    made = np.empty(array.size, dtype=object)
    made[:] = [Fraction(float(v)) for v in np.asarray(array, dtype=np.float64).reshape(-1)]
    return made.reshape(array.shape)


def _rows(network: ir.Network, place: int, directions: Array) -> list[tuple[Fraction, Fraction]]:
    """Return the exact rows of the first layer in the plane's two variables."""
    columns = []
    for m in range(2):
        values: dict[int, Array] = {}
        offset = 0
        for port in network.inputs:
            part = directions[offset : offset + port.size, m]
            values[port.node] = _fractions(part).reshape(1, *port.shape)
            offset += port.size
        node = network.nodes[place]
        columns.append(_linear(network, node.args[0], values).reshape(-1))
    return list(zip(columns[0].tolist(), columns[1].tolist(), strict=True))


def _linear(network: ir.Network, place: int, values: dict[int, Array]) -> Array:
    """Return the exact linear part of an affine tensor."""
    for k in range(place + 1):
        node = network.nodes[k]
        if k in values:
            continue
        if isinstance(node, ir.Constant):
            values[k] = _fractions(np.zeros((1, *node.shape)))
        elif isinstance(node, ir.Affine) and all(arg in values for arg in node.args):
            total: Any = _fractions(np.zeros((1, *node.shape)))
            for term in node.terms:
                total = total + term.map.apply(values[term.arg], _fractions)
            values[k] = total
    return values[place]


def _critical(
    rows: dict[int, list[tuple[Fraction, Fraction]]],
) -> list[tuple[Fraction, Fraction]]:
    """Return one row per direction of rows, scaled so that parallel rows are equal."""
    found: dict[tuple[Fraction, Fraction], None] = {}
    for a, b in (row for part in rows.values() for row in part):
        if a:
            found[Fraction(1), Fraction(b) / Fraction(a)] = None
        elif b:
            found[Fraction(0), Fraction(1)] = None
    return list(found)


def _saturated(
    network: ir.Network,
    rows: dict[int, list[tuple[Fraction, Fraction]]],
    direction: tuple[Fraction, Fraction],
) -> ir.Network:
    """Return the network with every unit that grows along ``direction`` at its limit."""
    nodes: list[ir.Node] = []
    new: dict[int, int] = {}
    for place, node in enumerate(network.nodes):
        nodes.append(_renumbered(node, new))
        new[place] = len(nodes) - 1
        if place not in rows:
            continue
        unit = network.nodes[place]
        rates = [a * direction[0] + b * direction[1] for a, b in rows[place]]
        free = np.array([float(rate == 0) for rate in rates])
        low, high = _LIMITS[unit.rule] if isinstance(unit, ir.Elementwise) else (0.0, 0.0)
        ends = np.array([0.0 if rate == 0 else high if rate > 0 else low for rate in rates])
        mask = lm.Scale(free.reshape(unit.shape), unit.shape)
        bias = ends.reshape(unit.shape)
        nodes.append(ir.Affine(unit.shape, (ir.Term(new[place], mask),), bias, "limits"))
        new[place] = len(nodes) - 1
    return dataclasses.replace(
        network,
        nodes=tuple(nodes),
        inputs=tuple(dataclasses.replace(p, node=new[p.node]) for p in network.inputs),
        outputs=tuple(dataclasses.replace(p, node=new[p.node]) for p in network.outputs),
    )


def _renumbered(node: ir.Node, new: dict[int, int]) -> ir.Node:
    match node:
        case ir.Input() | ir.Constant():
            return node
        case ir.Affine():
            return dataclasses.replace(
                node, terms=tuple(ir.Term(new[term.arg], term.map) for term in node.terms)
            )
        case ir.Product():
            return dataclasses.replace(node, left=new[node.left], right=new[node.right])
        case ir.Select():
            return dataclasses.replace(
                node, test=new[node.test], yes=new[node.yes], no=new[node.no]
            )
        case ir.Elementwise() | ir.Maximum() | ir.Softmax():
            return dataclasses.replace(node, arg=new[node.arg])
