"""A network as layers of named units: the plan that every scalar form is printed from.

A *layer* is a node whose entries get names.  Activations, products, maxima, selections and
softmaxes are layers (``y``); affine nodes are written inside the one unit that reads them, or are
layers of their own (``u``) when several read them; nodes that only move entries disappear.  The
outputs are ``z_1 ... z_m``, the inputs ``x_1 ... x_n``.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from nneq.ir import linear_map as lm
from nneq.ir import network as ir
from nneq.passes.simplify import drop_dead, renumbered, tidy
from nneq.symbolic import rows
from nneq.symbolic.names import Variable, entry_name

__all__ = ["Layer", "Layout", "Operand", "layout_of", "variables"]

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, eq=False)
class Layer:
    """Entries with names.

    Args:
        place: the node in ``Layout.network`` that computes them, or None when the layer only
            copies (an output that is also an input or a hidden layer).
        prefix: ``y``, ``y2``, ``u``, ``z`` ...
        first: number of the first entry.
        size: number of entries.
        args: places of the nodes whose entries the formula reads.
        origin: where the node came from, as text.
    """

    place: int | None
    prefix: str
    first: int
    size: int
    args: tuple[int, ...]
    origin: str = ""

    def name(self, k: int) -> str:
        """Return the name of entry ``k`` (counted from 0)."""
        return entry_name(self.prefix, self.first + k)


@dataclass(frozen=True, eq=False)
class Operand:
    """Entries as affine forms of named entries: ``sum of rows @ layer + bias``.

    Args:
        parts: ``(layer, CSR matrix (size, layer.size))`` pairs; weights are exact in float64.
        bias: ``(size,)`` in float64, or None.
        size: the number of entries.
    """

    parts: tuple[tuple[Layer, Any], ...]
    bias: Array | None
    size: int

    def terms(self, k: int) -> Iterator[tuple[float, str]]:
        """Yield ``(weight, name)`` of entry ``k``."""
        for layer, csr in self.parts:
            low, high = csr.indptr[k], csr.indptr[k + 1]
            for place, weight in zip(
                csr.indices[low:high].tolist(), csr.data[low:high].tolist(), strict=True
            ):
                yield weight, layer.name(place)

    def constant(self, k: int) -> float:
        """Return the constant of entry ``k``."""
        return 0.0 if self.bias is None else float(self.bias[k])


@dataclass(frozen=True, eq=False)
class Layout:
    """The plan: the prepared network and its layers, inputs first, in order of computation."""

    network: ir.Network
    inputs: tuple[Layer, ...]
    layers: tuple[Layer, ...]
    outputs: tuple[Layer, ...]

    @cached_property
    def _by_place(self) -> dict[int, Layer]:
        found = {layer.place: layer for layer in self.inputs if layer.place is not None}
        found.update({layer.place: layer for layer in self.layers if layer.place is not None})
        return found

    def layer_at(self, place: int) -> Layer | None:
        """Return the layer (an input included) whose names the entries of a node have."""
        return self._by_place.get(place)

    @cached_property
    def input_names(self) -> tuple[Variable, ...]:
        """``x_1 ... x_n`` with the feature names of the model."""
        return variables(self.network.inputs, "x")

    @cached_property
    def output_names(self) -> tuple[Variable, ...]:
        """``z_1 ... z_m`` with the class names of the model."""
        return variables(self.network.outputs, "z")

    @cached_property
    def term_count(self) -> int:
        """The number of terms of the system (an upper bound): linear in the parameters."""
        total = 0
        for layer in self.layers:
            total += layer.size
            node = None if layer.place is None else self.network.nodes[layer.place]
            if isinstance(node, ir.Affine):
                total += sum(rows.terms_of(term.map) for term in node.terms)
                continue
            total += sum(self._operand_terms(arg) for arg in layer.args)
            if isinstance(node, ir.Product | ir.Maximum | ir.Softmax):
                total += _reads(self.network, node)
        return total

    def _operand_terms(self, place: int) -> int:
        node = self.network.nodes[place]
        if place in self._by_place or not isinstance(node, ir.Affine):
            return int(np.prod(node.shape))
        return sum(rows.terms_of(term.map) for term in node.terms)

    @cached_property
    def unit_count(self) -> int:
        """The number of equations."""
        return sum(layer.size for layer in self.layers)

    def operand(self, place: int) -> Operand:
        """Return the entries of a node as affine forms of named entries."""
        size = int(np.prod(self.network.nodes[place].shape))
        if place in self._by_place:
            layer = self._by_place[place]
            return Operand(((layer, rows.matrix(lm.Identity((size,)))),), None, size)
        needed, stack = set(), [place]
        while stack:
            at = stack.pop()
            if at not in needed and at not in self._by_place:
                needed.add(at)
                stack.extend(self.network.nodes[at].args)
        found: dict[int, Operand] = {}
        for at in sorted(needed):
            found[at] = self._resolve(at, found)
        return found[place]

    def _resolve(self, place: int, known: dict[int, Operand]) -> Operand:
        node = self.network.nodes[place]
        size = int(np.prod(node.shape))
        if isinstance(node, ir.Constant):
            return Operand((), node.value.astype(np.float64).reshape(-1), size)
        if not isinstance(node, ir.Affine):
            msg = f"node {place} has no name"
            raise TypeError(msg)
        bias: Array | None = None
        if node.bias is not None:
            bias = np.broadcast_to(node.bias.astype(np.float64), node.shape).reshape(-1)
        parts: list[tuple[Layer, Any]] = []
        for term in node.terms:
            csr = rows.matrix(term.map)
            if term.arg in self._by_place:
                parts.append((self._by_place[term.arg], csr))
                continue
            inner = known[term.arg]
            parts += [(layer, (csr @ block).tocsr()) for layer, block in inner.parts]
            if inner.bias is not None:
                moved = csr @ inner.bias
                bias = moved if bias is None else bias + moved
        return Operand(tuple(parts), bias, size)

    def formula_operands(self, layer: Layer) -> list[Operand]:
        """Return the operands of a layer's formula: of its node's arguments, or of the copy."""
        if layer.place is not None and isinstance(self.network.nodes[layer.place], ir.Affine):
            return [self._resolve_affine(layer.place)]
        return [self.operand(arg) for arg in layer.args]

    def _resolve_affine(self, place: int) -> Operand:
        known = {
            arg: self.operand(arg)
            for arg in set(self.network.nodes[place].args)
            if arg not in self._by_place
        }
        return self._resolve(place, known)


def _reads(network: ir.Network, node: ir.Node) -> int:
    """Return how many entries all formulas of a node read together."""
    match node:
        case ir.Product():
            left, right = (network.nodes[arg].shape for arg in node.args)
            first, second = node.subscripts.split("->")[0].split(",")
            sizes = dict(zip(first, left, strict=True)) | dict(zip(second, right, strict=True))
            return int(np.prod(list(sizes.values())))
        case ir.Softmax():
            return 2 * int(np.prod(node.shape))
        case _:
            return int(np.prod(network.nodes[node.args[0]].shape))


def variables(ports: tuple[ir.Port, ...], prefix: str) -> tuple[Variable, ...]:
    """Return the names of the entries of ports, with the model's own labels."""
    found: list[Variable] = []
    for port in ports:
        labels = port.entry_labels if len(port.entry_labels) == port.size else ()
        for k in range(port.size):
            label = labels[k] if labels else ""
            found.append(Variable(entry_name(prefix, len(found) + 1), label))
    return tuple(found)


def layout_of(network: ir.Network) -> Layout:
    """Return the plan of a network; nothing scalar is built."""
    prepared = drop_dead(_split(tidy(network)))  # fusing again would round again
    nodes, uses = prepared.nodes, prepared.uses
    named = _named(prepared)
    inputs, first = [], 1
    for port in prepared.inputs:
        inputs.append(Layer(port.node, "x", first, port.size, ()))
        first += port.size
    owners = _output_owners(prepared, named, uses)
    y_places = [p for p in sorted(named) if p not in owners and not isinstance(nodes[p], ir.Affine)]
    u_places = [p for p in sorted(named) if p not in owners and isinstance(nodes[p], ir.Affine)]
    prefixes = {
        **{p: "y" if len(y_places) == 1 else f"y{k}" for k, p in enumerate(y_places, 1)},
        **{p: "u" if len(u_places) == 1 else f"u{k}" for k, p in enumerate(u_places, 1)},
    }
    starts, first = [], 1
    for port in prepared.outputs:
        starts.append(first)
        first += port.size
    layers, outputs = [], {}
    for place in sorted(named):
        node = nodes[place]
        size = int(np.prod(node.shape))
        if place in owners:
            number = owners[place]
            layer = Layer(place, "z", starts[number], size, node.args, node.origin)
            outputs[number] = layer
        else:
            layer = Layer(place, prefixes[place], 1, size, node.args, node.origin)
        layers.append(layer)
    for number, port in enumerate(prepared.outputs):
        if number not in outputs:
            layer = Layer(None, "z", starts[number], port.size, (port.node,), "output")
            outputs[number] = layer
            layers.append(layer)
    ordered = tuple(outputs[number] for number in range(len(prepared.outputs)))
    return Layout(prepared, tuple(inputs), tuple(layers), ordered)


def _split(network: ir.Network) -> ir.Network:
    """Return the network with affine nodes cut where one matrix would round (see ``rows``)."""
    nodes: list[ir.Node] = []
    new: dict[int, int] = {}
    for place, node in enumerate(network.nodes):
        if isinstance(node, ir.Affine):
            terms = []
            for term in node.terms:
                if _reads_zeros(term.map):
                    continue
                arg = new[term.arg]
                *early, last = rows.segments(term.map)
                for part in early:
                    cut = ir.Affine(part.out_shape, (ir.Term(arg, part),), None, node.origin)
                    nodes.append(cut)
                    arg = len(nodes) - 1
                terms.append(ir.Term(arg, last))
            moved: ir.Node = dataclasses.replace(node, terms=tuple(terms))
        else:
            moved = renumbered(node, new)
        nodes.append(moved)
        new[place] = len(nodes) - 1
    return dataclasses.replace(
        network,
        nodes=tuple(nodes),
        inputs=tuple(dataclasses.replace(p, node=new[p.node]) for p in network.inputs),
        outputs=tuple(dataclasses.replace(p, node=new[p.node]) for p in network.outputs),
    )


def _reads_zeros(linear: lm.LinearMap) -> bool:
    """Return whether a map is zero because it slices where nothing was placed."""
    placed = False
    for count, part in enumerate(linear.stages()):
        if placed and isinstance(part, lm.Slice | lm.Take):
            marks = np.ones((1, *linear.in_shape), dtype=np.int8)
            for move in linear.stages()[: count + 1]:
                if move.fan_in:
                    return False
                marks = np.abs(move.apply(marks)).astype(np.int8)
            if not marks.any():
                return True
        placed = placed or isinstance(part, lm.Place)
    return False


def _alias(node: ir.Node) -> bool:
    """Return whether every entry of the node is 0 or plus or minus one entry of an argument."""
    if not isinstance(node, ir.Affine) or node.bias is not None or not node.terms:
        return False
    if any(part.fan_in for term in node.terms for part in term.map.stages()):
        return False
    if len(node.terms) == 1:
        return True
    partial = (lm.Place, lm.Take, lm.Scatter)
    if not all(any(isinstance(p, partial) for p in t.map.stages()) for t in node.terms):
        return False
    met = np.zeros(node.shape, dtype=np.int64)
    for term in node.terms:
        ones = np.ones((1, *term.map.in_shape), dtype=np.int64)
        met = met + np.abs(term.map.apply(ones)[0]).astype(np.int64)
    return bool((met <= 1).all())


def _copying(node: ir.Affine) -> bool:
    return len({term.arg for term in node.terms}) < len(node.terms) or any(
        isinstance(part, lm.Broadcast | lm.Take)
        for term in node.terms
        for part in term.map.stages()
    )


def _named(network: ir.Network) -> set[int]:
    """Return the places whose entries get names."""
    nodes, uses = network.nodes, network.uses
    readers: dict[int, list[ir.Node]] = {}
    for node in nodes:
        for arg in node.args:
            readers.setdefault(arg, []).append(node)
    output_nodes = {port.node for port in network.outputs}
    named = set()
    for place, node in enumerate(nodes):
        match node:
            case ir.Input() | ir.Constant():
                continue
            case ir.Affine() if not node.terms:
                continue
            case ir.Affine() if _alias(node):
                affine = any(isinstance(r, ir.Affine) for r in readers.get(place, []))
                if affine and _copying(node):
                    named.add(place)
            case ir.Affine():
                inside = (
                    uses[place] == 1
                    and place not in output_nodes
                    and _reads_once(readers[place][0])
                )
                if not inside:
                    named.add(place)
            case _:
                named.add(place)
    return named


def _reads_once(reader: ir.Node) -> bool:
    """Return whether the reader's formulas contain every entry of its argument once."""
    match reader:
        case ir.Elementwise() | ir.Select():
            return True
        case ir.Maximum():
            return True
        case ir.Product():
            ins, out = reader.subscripts.split("->")
            first, second = ins.split(",")
            return first == second == out
        case _:
            return False


def _output_owners(network: ir.Network, named: set[int], uses: tuple[int, ...]) -> dict[int, int]:
    """Return ``{place: output port}`` for the nodes whose own names are the outputs' names."""
    owners: dict[int, int] = {}
    for number, port in enumerate(network.outputs):
        place = port.node
        node = network.nodes[place]
        while (
            place not in named
            and uses[place] == 1
            and isinstance(node, ir.Affine)
            and node.bias is None
            and len(node.terms) == 1
            and all(isinstance(part, lm.Reshape) for part in node.terms[0].map.stages())
        ):
            place = node.terms[0].arg
            node = network.nodes[place]
        if place in named and uses[place] == 1:
            owners[place] = number
    return owners
