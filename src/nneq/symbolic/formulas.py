"""The formula of every unit, in whatever form a writer makes: text, LaTeX, SymPy, a size.

One walk over the layers decides what the formula of a unit is; a writer only says what sums,
products and functions look like.  The walk is a stream: the rows of one layer live at a time.
"""

from __future__ import annotations

import math
from collections.abc import Container, Iterator, Sequence
from typing import Any, Protocol

import numpy as np

from nneq.activations import RULES
from nneq.ir import network as ir
from nneq.symbolic.layout import Layer, Layout, Operand

__all__ = [
    "LARGEST_SHARE",
    "Writer",
    "entry_params",
    "formulas",
    "groups",
    "pre_formulas",
    "product_pairs",
]

Array = np.ndarray[Any, Any]
Params = tuple[tuple[str, float], ...]
LARGEST_SHARE = 10
"""A softmax over more entries names its sum instead of repeating it in every equation."""


class Writer(Protocol):
    """What the parts of a formula become; every result is a value of the writer's own kind."""

    def affine(self, terms: Sequence[tuple[float, str]], constant: float, /) -> Any: ...
    def call(self, rule: str, argument: Any, params: Params, /) -> Any: ...
    def products(self, pairs: Sequence[tuple[Any, Any]], /) -> Any: ...
    def maximum(self, parts: Sequence[Any], /) -> Any: ...
    def select(self, test: Any, relation: str, yes: Any, no: Any, /) -> Any: ...
    def exponentials(self, members: Sequence[Any], /) -> Any:
        """``sum exp(member)``."""

    def share(self, member: Any, total: Any, log: bool, /) -> Any:  # a node's flag
        """``exp(member) / total``, or its logarithm ``member - log(total)``."""


def entry_params(node: ir.Elementwise, k: int) -> Params:
    """Return the rule's parameters of entry ``k``, in declared order."""
    found = []
    for key in RULES[node.rule].defaults:
        value = node.params[key]
        if np.ndim(value):
            value = np.broadcast_to(value, node.shape).reshape(-1)[k]
        found.append((key, float(value)))
    return tuple(found)


def groups(shape: tuple[int, ...], axes: tuple[int, ...]) -> Array:
    """Return the flat indices ``(groups, members)`` of a reduction over ``axes``."""
    index = np.arange(math.prod(shape)).reshape(shape)
    kept = [k for k in range(len(shape)) if k not in axes]
    count = math.prod(shape[k] for k in kept)
    return index.transpose(*kept, *axes).reshape(count, math.prod(shape[k] for k in axes))


def product_pairs(network: ir.Network, node: ir.Product) -> Array:
    """Return the flat indices ``(out_size, summed, 2)`` of the factors of every output entry."""
    ins, out = node.subscripts.split("->")
    first, second = ins.split(",")
    shapes = [network.nodes[arg].shape for arg in node.args]
    sizes = dict(zip(first, shapes[0], strict=True)) | dict(zip(second, shapes[1], strict=True))
    order = list(out) + [letter for letter in sizes if letter not in out]
    grid = np.indices([sizes[k] for k in order]).reshape(len(order), math.prod(sizes.values()))
    grids = dict(zip(order, grid, strict=True))

    def flat(letters: str) -> Array:
        place = np.zeros(math.prod(sizes.values()), dtype=np.int64)
        for letter in letters:
            place = place * sizes[letter] + grids[letter]
        return place

    pairs = np.stack([flat(first), flat(second)], axis=-1)
    inner = math.prod(sizes[letter] for letter in sizes if letter not in out)
    return pairs.reshape(math.prod(node.shape), inner, 2)


def formulas(
    layout: Layout, writer: Writer, needed: Container[str] | None = None
) -> Iterator[tuple[str, Any]]:
    """Yield ``(name, formula)`` of every unit, in order of computation.

    Args:
        layout: the plan.
        writer: what formulas become.
        needed: the names to write; all when None.
    """
    sums = 0
    for layer in layout.layers:
        node = None if layer.place is None else layout.network.nodes[layer.place]
        if isinstance(node, ir.Softmax):
            yield from _softmax(layout, layer, node, writer, sums, needed)
            sums += math.prod(node.shape) // max(1, node.shape[node.axis])
        else:
            chosen = [k for k in range(layer.size) if needed is None or layer.name(k) in needed]
            if not chosen:
                continue
            for k, formula in zip(
                chosen, _entries(layout, layer, node, writer, chosen), strict=True
            ):
                yield layer.name(k), formula


def pre_formulas(
    layout: Layout, layer: Layer, writer: Writer, entries: Sequence[int]
) -> list[Any] | None:
    """Return what an output layer's activation is applied to, or None when it has none."""
    node = None if layer.place is None else layout.network.nodes[layer.place]
    if not isinstance(node, ir.Elementwise | ir.Softmax):
        return None
    operand = layout.operand(node.arg)
    return [_affine(operand, k, writer) for k in entries]


def _affine(operand: Operand, k: int, writer: Writer) -> Any:
    terms = [(weight, name) for weight, name in operand.terms(k) if weight != 0]
    return writer.affine(terms, operand.constant(k))


def _entries(
    layout: Layout, layer: Layer, node: ir.Node | None, writer: Writer, entries: Sequence[int]
) -> Iterator[Any]:
    operands = layout.formula_operands(layer)
    match node:
        case None | ir.Affine():
            yield from (_affine(operands[0], k, writer) for k in entries)
        case ir.Elementwise():
            for k in entries:
                argument = _affine(operands[0], k, writer)
                yield writer.call(node.rule, argument, entry_params(node, k))
        case ir.Product():
            left, right = operands
            for pairs in product_pairs(layout.network, node)[list(entries)].tolist():
                yield writer.products(
                    [(_affine(left, a, writer), _affine(right, b, writer)) for a, b in pairs]
                )
        case ir.Maximum():
            members = groups(layout.network.nodes[node.arg].shape, node.axes)
            for group in members[list(entries)].tolist():
                yield writer.maximum([_affine(operands[0], m, writer) for m in group])
        case ir.Select():
            for k in entries:
                test, yes, no = (_affine(operand, k, writer) for operand in operands)
                yield writer.select(test, node.relation, yes, no)
        case _:
            msg = f"a {type(node).__name__} has no formula of its own"
            raise TypeError(msg)


def _softmax(
    layout: Layout,
    layer: Layer,
    node: ir.Softmax,
    writer: Writer,
    sums: int,
    needed: Container[str] | None,
) -> Iterator[tuple[str, Any]]:
    chosen = {k for k in range(layer.size) if needed is None or layer.name(k) in needed}
    if not chosen:
        return
    operand = layout.formula_operands(layer)[0]
    totals: dict[int, Any] = {}
    for number, group in enumerate(groups(node.shape, (node.axis,)).tolist(), sums + 1):
        if chosen.isdisjoint(group):
            continue
        total = writer.exponentials([_affine(operand, k, writer) for k in group])
        if len(group) > LARGEST_SHARE:
            name = f"s_{number}"
            yield name, total
            total = writer.affine([(1.0, name)], 0.0)
        totals.update(dict.fromkeys(group, total))
    for k in sorted(chosen):
        yield layer.name(k), writer.share(_affine(operand, k, writer), totals[k], node.log)
