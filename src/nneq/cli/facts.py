"""What ``nneq inspect`` says about a network; nothing is built, sizes are estimated."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from nneq.activations import RULES
from nneq.ir import (
    Affine,
    Constant,
    Elementwise,
    Input,
    Maximum,
    Network,
    Node,
    Port,
    Product,
    Select,
    Softmax,
)
from nneq.ir.linear_map import LinearMap
from nneq.ir.text import map_text
from nneq.passes import stripped

__all__ = ["depth_and_widths", "facts", "formula_sizes", "layers"]

# A term "0.12345678901234567*y2_13 + " of a printed formula has about this many characters.
_CHARACTERS_PER_TERM = 28
_MANY_UNITS = 20_000


def _port(port: Port, first: int, letter: str) -> dict[str, Any]:
    return {
        "name": port.name,
        "label": port.label,
        "shape": (["batch", *port.shape[1:]] if port.batched else list(port.shape)),
        "dtype": port.dtype,
        "entries": [f"{letter}_{first}", f"{letter}_{first + port.size - 1}"] if port.size else [],
        "entry_labels": list(port.entry_labels),
        "levels": port.levels,
    }


def _ports(ports: tuple[Port, ...], letter: str) -> list[dict[str, Any]]:
    found, first = [], 1
    for port in ports:
        found.append(_port(port, first, letter))
        first += port.size
    return found


def _arrays(node: Node) -> list[np.ndarray[Any, Any]]:
    match node:
        case Affine():
            found = [array for term in node.terms for array in term.map.parameters]
            return found if node.bias is None else [*found, node.bias]
        case Constant():
            return [node.value]
        case Elementwise():
            return [value for value in node.params.values() if isinstance(value, np.ndarray)]
        case Input() | Product() | Maximum() | Select() | Softmax():
            return []


def _what(node: Node) -> str:
    match node:
        case Affine():
            parts = [map_text(term.map) for term in node.terms]
            return " + ".join(parts[:3] + (["..."] if len(parts) > 3 else [])) or "constant"
        case Elementwise():
            return node.rule
        case Product():
            return f"product {node.subscripts}"
        case Maximum():
            return f"maximum over axes {', '.join(map(str, node.axes))}"
        case Select():
            return f"select where {node.relation} 0"
        case Softmax():
            return "log-softmax" if node.log else "softmax"
        case Input() | Constant():
            return type(node).__name__.lower()


def layers(network: Network) -> list[dict[str, Any]]:
    """Return one record per node: place, kind, what, shape, parameters, origin."""
    seen: set[int] = set()
    found = []
    for place, node in enumerate(network.nodes):
        if isinstance(node, Input):
            continue
        fresh = [array for array in _arrays(node) if id(array) not in seen]
        seen.update(id(array) for array in fresh)
        found.append(
            {
                "node": place,
                "kind": type(node).__name__.lower(),
                "what": _what(node),
                "shape": list(node.shape),
                "parameters": sum(array.size for array in fresh),
                "origin": node.origin,
            }
        )
    return found


def depth_and_widths(network: Network) -> tuple[int, list[int]]:
    """Return the nonlinear steps on the longest path, and the sizes along it, inputs first."""
    depth = [0] * len(network.nodes)
    before = [-1] * len(network.nodes)
    for place, node in enumerate(network.nodes):
        if node.args:
            deepest = max(node.args, key=lambda arg: depth[arg])
            nonlinear = not isinstance(node, Affine)
            depth[place] = depth[deepest] + nonlinear
            before[place] = deepest
    ends = [port.node for port in network.outputs]
    place = max(ends, key=lambda end: depth[end])
    deepest_end = depth[place]
    widths = [network.output_size]
    last = place
    while place >= 0:
        node = network.nodes[place]
        if place != last and not isinstance(node, Affine | Input | Constant):
            widths.append(math.prod(node.shape))
        place = before[place]
    return deepest_end, [*reversed([*widths, network.input_size])]


def _terms_per_entry(linear: LinearMap) -> int:
    return math.prod(max(1, stage.fan_in) for stage in linear.stages())


def _log_sum(values: list[float]) -> float:
    top = max(values)
    if top == -math.inf:
        return top
    return top + math.log10(sum(10 ** (value - top) for value in values))


def _expression_size(network: Network, node: Node, size: list[float]) -> float:
    """Return log10 of the terms of one entry when every argument is written out."""
    match node:
        case Input() | Constant():
            return 0.0
        case Affine():
            parts = [math.log10(_terms_per_entry(t.map)) + size[t.arg] for t in node.terms]
            return _log_sum([*parts, 0.0] if node.bias is not None or not parts else parts)
        case Elementwise():
            return size[node.arg]
        case Product():
            pair = _log_sum([size[node.left], size[node.right]])
            return pair + math.log10(_summed(network, node))
        case Maximum():
            entries = math.prod(network.nodes[node.arg].shape)
            return size[node.arg] + math.log10(max(1, entries // max(1, math.prod(node.shape))))
        case Select():
            return _log_sum([size[node.test], size[node.yes], size[node.no]])
        case Softmax():
            return size[node.arg] + math.log10(node.shape[node.axis] + 1)


def _summed(network: Network, node: Product) -> int:
    """Return how many products one entry of an einsum adds up."""
    inputs, out = node.subscripts.split("->")
    extents: dict[str, int] = {}
    for letters, arg in zip(inputs.split(","), (node.left, node.right), strict=True):
        extents.update(zip(letters, network.nodes[arg].shape, strict=True))
    return max(1, math.prod(extents[letter] for letter in set(extents) - set(out)))


def _system_terms(network: Network, node: Node) -> int:
    """Return the terms that a node adds to the printed system."""
    entries = math.prod(node.shape)
    match node:
        case Affine():
            if all(part.fan_in == 0 for term in node.terms for part in term.map.stages()):
                return entries if node.bias is not None or len(node.terms) > 1 else 0
            return entries * sum(_terms_per_entry(term.map) for term in node.terms)
        case Product():
            return entries * _summed(network, node)
        case Maximum():
            return math.prod(network.nodes[node.arg].shape)
        case Elementwise() | Select():
            return entries
        case Softmax():
            return 2 * entries
        case Input() | Constant():
            return 0


def formula_sizes(network: Network) -> dict[str, Any]:
    """Return the estimated length of every form, in characters (log10 for the expression).

    The system has one equation for every unit and output; the matrix form one for every layer; the
    single expression repeats each unit wherever it is read, and grows exponentially with depth.
    """
    size: list[float] = []
    terms = 0
    units = 0
    for node in network.nodes:
        size.append(_expression_size(network, node, size))
        terms += _system_terms(network, node)
        if not isinstance(node, Affine | Input | Constant):
            units += math.prod(node.shape)
    last = {port.node for port in network.outputs}
    units += sum(p.size for p in network.outputs if isinstance(network.nodes[p.node], Affine))
    longest = max(size[place] for place in last)
    rows = sum(not isinstance(node, Input) for node in network.nodes)
    return {
        "system": {"equations": units, "characters": terms * _CHARACTERS_PER_TERM},
        "matrix": {"equations": rows, "characters": rows * 60},
        "expression": {
            "outputs": network.output_size,
            "characters_log10": round(longest + math.log10(_CHARACTERS_PER_TERM), 2),
        },
    }


def _reached(network: Network, ends: set[int]) -> list[Node]:
    """Return the nodes that the ends depend on, themselves included."""
    wanted = set(ends)
    for place in range(len(network.nodes) - 1, -1, -1):
        if place in wanted:
            wanted.update(network.nodes[place].args)
    return [network.nodes[place] for place in sorted(wanted)]


def _solving(network: Network) -> dict[str, Any]:
    """Return what can be solved exactly, what with proof, and why not exactly."""
    n, m = network.input_size, network.output_size
    if m >= 2:
        first, second, notes = stripped(network, 0, 1)
        question = "z_i = z_j"
        nodes = _reached(network, {first.node, second.node})
    else:
        notes = ()
        question = "z_1 = c"
        nodes = _reached(network, {port.node for port in network.outputs})
    curved = [node for node in nodes if _obstacle(node)]
    jumps = [node for node in nodes if isinstance(node, Select) or _is_step(node)]
    exact: list[str] = []
    certified: list[str] = []
    if not curved:
        exact.append(f"{question} along a line or a segment, {_inputs(n)}: every solution")
        if n >= 2:
            exact.append(
                f"{question} in a plane of inputs: every straight piece, with its equation"
            )
    else:
        hidden = _one_hidden(nodes)
        if hidden and not jumps:
            exact.append(f"{question} as an exponential sum with 2^{hidden} constants")
        certified.append(f"{question} along a line or a segment, {_inputs(n)}: enclosed, complete")
        if n >= 2 and not jumps:
            certified.append(f"{question} in a plane of inputs: every curve, closed ones included")
    units = sum(math.prod(node.shape) for node in nodes if not isinstance(node, Affine | Input))
    cost = [f"with {units:,} units an answer may take long: set a time limit"]
    shown = list(dict.fromkeys(_reason(node) for node in curved))
    return {
        "question": question,
        "reduction": list(notes),
        "exact": exact,
        "certified": certified,
        "cost": cost if units > _MANY_UNITS else [],
        "not_exact_because": shown,
    }


def _inputs(n: int) -> str:
    return "the one input" if n == 1 else f"any of the {n:,} inputs free"


def _is_step(node: Node) -> bool:
    return isinstance(node, Elementwise) and RULES[node.rule].kind == "step"


def _obstacle(node: Node) -> bool:
    if isinstance(node, Elementwise):
        return RULES[node.rule].kind != "piecewise-linear"
    return isinstance(node, Product | Softmax | Select)


def _reason(node: Node) -> str:
    name = node.rule if isinstance(node, Elementwise) else type(node).__name__.lower()
    return f"{name} is not piecewise linear" if not _is_step(node) else f"{name} jumps"


def _one_hidden(nodes: list[Node]) -> int:
    """Return the number of hidden units when there is one layer of sigmoid or tanh, else 0."""
    live = [node for node in nodes if not isinstance(node, Affine | Input | Constant)]
    if len(live) != 1 or not isinstance(live[0], Elementwise):
        return 0
    return math.prod(live[0].shape) if live[0].rule in {"sigmoid", "tanh"} else 0


def facts(network: Network) -> dict[str, Any]:
    """Return everything ``nneq inspect`` says, as plain data (the schema of its ``--json``)."""
    depth, widths = depth_and_widths(network)
    source = network.source
    return {
        "source": {
            "framework": source.framework,
            "label": source.label,
            "details": dict(source.details),
        },
        "inputs": _ports(network.inputs, "x"),
        "outputs": _ports(network.outputs, "z"),
        "function_class": network.function_class,
        "parameters": network.parameter_count,
        "depth": depth,
        "widths": widths,
        "layers": layers(network),
        "formula": formula_sizes(network),
        "solving": _solving(network),
        "notes": list(source.notes),
    }
