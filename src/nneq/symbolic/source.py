"""The network as one self-contained NumPy function: source text, and the function it defines.

Every tensor is computed once, so common subexpressions are shared.  The text holds our own
identifiers and decimals only; no label of a model ever enters it.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from nneq.activations import RULES
from nneq.errors import NneqError, UnsupportedError
from nneq.ir import network as ir
from nneq.symbolic.formulas import groups
from nneq.symbolic.layout import Layer, Layout, Operand
from nneq.symbolic.tracing import activation_source

__all__ = ["SOURCE_LIMIT", "function_of", "numpy_source", "plain_function"]

Array = np.ndarray[Any, Any]
SOURCE_LIMIT = 2_000_000
"""Largest number of weights that are written into a source text."""
_DENSE = 0.25
_CHUNK_ENTRIES = 1 << 15
_FEWEST_ROWS = 64


def numpy_source(layout: Layout) -> str:
    """Return the text of ``outputs(x)``: ``(S, n)`` float64 rows to ``(S, m)``.

    Raises:
        UnsupportedError: above ``SOURCE_LIMIT`` terms.
    """
    if layout.term_count > SOURCE_LIMIT:
        msg = (
            f"the function's source would hold about {layout.term_count} weights, more than "
            f"{SOURCE_LIMIT}; call the equations themselves, eqs(x), which is as fast"
        )
        raise UnsupportedError(msg)
    return _Author(layout).text()


def function_of(source: str, constants: dict[str, Array] | None = None) -> Callable[[Array], Array]:
    """Return the function that a text of :func:`numpy_source` defines."""
    space: dict[str, Any] = dict(constants or {})
    exec(compile(source, "<nneq equations>", "exec"), space)  # noqa: S102  # our own text: identifiers and decimals
    found: Callable[[Array], Array] = space["outputs"]
    return found


class _Author:
    """Writes constants above and lines inside the function."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.constants: list[str] = []
        self.lines: list[str] = []
        self._numbers = itertools.count(1)
        self._arrays = itertools.count(1)
        self.values: dict[int, str] = {}

    def fresh(self) -> str:
        return f"t{next(self._numbers)}"

    def array(self, value: Array, kind: str = "") -> str:
        """Write an array as a constant and return its name."""
        name = f"c{next(self._arrays)}"
        option = f", dtype={kind}" if kind else ""
        self.constants.append(f"{name} = np.array({_literal(value)}{option})")
        return name

    def let(self, expression: str) -> str:
        name = self.fresh()
        self.lines.append(f"{name} = {expression}")
        return name

    def text(self) -> str:
        first = 0
        for layer in self.layout.inputs:
            cut = f"x[:, {first}:{first + layer.size}]" if len(self.layout.inputs) > 1 else "x"
            self.values[id(layer)] = self.let(cut) if cut != "x" else "x"
            first += layer.size
        for layer in self.layout.layers:
            self.values[id(layer)] = self._layer(layer)
        outs = [self.values[id(layer)] for layer in self.layout.outputs]
        result = outs[0] if len(outs) == 1 else f"np.concatenate([{', '.join(outs)}], axis=1)"
        size = sum(layer.size for layer in self.layout.outputs)
        body = "\n".join(
            f"        {line}"
            for line in (
                *self.lines,
                f"return np.array(np.broadcast_to({result}, (x.shape[0], {size})))"
                if result == "x" or self._constant_only()
                else f"return {result}",
            )
        )
        head = ["import numpy as np", "from scipy import special", "", *self.constants, "", ""]
        widest = max((layer.size for layer in self.layout.layers), default=1)
        rows = max(_FEWEST_ROWS, _CHUNK_ENTRIES // widest)
        return "\n".join(head) + (
            "def outputs(x):\n"
            '    """Return the outputs (S, m) for rows (S, n), in chunks that stay in cache."""\n'
            f"    if len(x) > {rows}:\n"
            f"        starts = range(0, len(x), {rows})\n"
            f"        return np.concatenate([outputs(x[k : k + {rows}]) for k in starts])\n"
            '    with np.errstate(all="ignore"):\n'
            f"{body}\n"
        )

    def _constant_only(self) -> bool:
        return any(
            isinstance(node, ir.Constant) or (isinstance(node, ir.Affine) and not node.terms)
            for node in self.layout.network.nodes
        )

    # ------------------------------------------------------------------ layers
    def _layer(self, layer: Layer) -> str:
        layout = self.layout
        node = None if layer.place is None else layout.network.nodes[layer.place]
        operands = [self._operand(operand) for operand in layout.formula_operands(layer)]
        match node:
            case None | ir.Affine():
                return operands[0]
            case ir.Elementwise():
                return self._elementwise(node, operands[0])
            case ir.Product():
                return self._product(node, operands)
            case ir.Maximum():
                shape = layout.network.nodes[node.arg].shape
                return self._reduced(node, shape, operands[0])
            case ir.Select():
                test, yes, no = operands
                return self.let(f"np.where({test} {node.relation} 0, {yes}, {no})")
            case ir.Softmax():
                return self._softmax(node, operands[0])
            case _:
                msg = f"a {type(node).__name__} has no source of its own"
                raise TypeError(msg)

    def _operand(self, operand: Operand) -> str:
        parts = [self._block(self.values[id(layer)], csr) for layer, csr in operand.parts]
        if (operand.bias is not None and operand.bias.any()) or not parts:
            bias = np.zeros(operand.size) if operand.bias is None else operand.bias
            parts.append(self.array(bias.reshape(1, -1)))
        if len(parts) == 1 and parts[0].isidentifier():
            return parts[0]
        return self.let(" + ".join(parts))

    def _block(self, value: str, csr: Any) -> str:
        rows, columns = csr.shape
        counts = np.diff(csr.indptr)
        if csr.nnz == rows == columns and _identity(csr):
            return value
        if counts.size and counts.max() == 1 and counts.min() == 1:
            taken = f"{value}[:, {self._index(csr.indices)}]"
            if np.all(csr.data == 1.0):
                return taken
            return f"{taken} * {self.array(csr.data.reshape(1, -1))}"
        if csr.nnz >= _DENSE * rows * columns or rows * columns <= 4096:
            return f"{value} @ {self.array(np.ascontiguousarray(csr.toarray().T))}"
        width = int(counts.max(initial=1))
        index = np.zeros((rows, width), dtype=np.int64)
        weight = np.zeros((rows, width))
        for row in range(rows):
            low, high = csr.indptr[row], csr.indptr[row + 1]
            index[row, : high - low] = csr.indices[low:high]
            weight[row, : high - low] = csr.data[low:high]
        taken = f"{value}[:, {self.array(index)}]"
        return f'np.einsum("sok,ok->so", {taken}, {self.array(weight)})'

    def _index(self, indices: Array) -> str:
        steps = np.diff(indices)
        if indices.size and (indices.size == 1 or (steps == 1).all()):
            return f"{int(indices[0])}:{int(indices[-1]) + 1}"
        return self.array(indices.astype(np.int64))

    def _elementwise(self, node: ir.Elementwise, argument: str) -> str:
        params: dict[str, Any] = {}
        for key in RULES[node.rule].defaults:
            value = node.params[key]
            if np.ndim(value):
                full = np.broadcast_to(np.asarray(value, dtype=np.float64), node.shape)
                params[key] = self.array(full.reshape(1, -1))
            else:
                params[key] = float(value)
        lines, result = activation_source(node.rule, argument, params, self.fresh)
        self.lines += [f"{name} = {text}" for name, text in lines]
        return result

    def _product(self, node: ir.Product, operands: list[str]) -> str:
        ins, out = node.subscripts.split("->")
        first, second = ins.split(",")
        if first == second == out:
            return self.let(f"{operands[0]} * {operands[1]}")
        shapes = [self.layout.network.nodes[arg].shape for arg in node.args]
        count = "x.shape[0]"
        full = [
            f"np.broadcast_to({value}, ({count}, {math.prod(shape)}))"
            f".reshape({count}, {_row(shape)})"
            for value, shape in zip(operands, shapes, strict=True)
        ]
        sample = "Z"
        spec = f"{sample}{first},{sample}{second}->{sample}{out}"
        product = f'np.einsum("{spec}", {full[0]}, {full[1]})'
        return self.let(f"{product}.reshape({count}, {math.prod(node.shape)})")

    def _reduced(self, node: ir.Maximum, shape: tuple[int, ...], value: str) -> str:
        members = groups(shape, node.axes)
        if members.shape[0] == 1:
            return self.let(f"np.max({value}, axis=1, keepdims=True)")
        return self.let(f"np.max({value}[:, {self.array(members)}], axis=2)")

    def _softmax(self, node: ir.Softmax, value: str) -> str:
        size = math.prod(node.shape)
        whole = node.shape[node.axis] == size
        axis = 1 if whole else node.axis + 1
        full = value
        if not whole:
            full = self.let(f"{value}.reshape({value}.shape[0], {_row(node.shape)})")
        shifted = self.let(f"{full} - {full}.max(axis={axis}, keepdims=True)")
        weights = self.let(f"np.exp({shifted})")
        total = f"{weights}.sum(axis={axis}, keepdims=True)"
        found = f"{shifted} - np.log({total})" if node.log else f"{weights} / {total}"
        return self.let(found if whole else f"({found}).reshape({value}.shape[0], {size})")


def _row(shape: tuple[int, ...]) -> str:
    return ", ".join(str(size) for size in shape) or "1"


def _identity(csr: Any) -> bool:
    return bool(np.array_equal(csr.indices, np.arange(csr.shape[0])) and np.all(csr.data == 1.0))


def _literal(value: Array) -> str:
    """Return nested lists of decimals that give the same numbers back."""
    if value.ndim == 1:
        return "[" + ", ".join(_decimals(value)) + "]"
    return "[" + ",\n    ".join(_literal(row) for row in value) + "]"


def _decimals(row: Array) -> Iterator[str]:
    for number in row.tolist():
        if isinstance(number, float) and not math.isfinite(number):
            yield "np.nan" if math.isnan(number) else f"{'-' if number < 0 else ''}np.inf"
        else:
            yield repr(number)


def plain_function(rows: Callable[[Array], Array], source: str, count: int) -> Callable[..., Any]:
    """Return ``rows`` as a function of one array or of ``count`` separate values."""

    def equations(*values: Any) -> Any:
        if len(values) == 1:
            x = np.asarray(values[0], dtype=np.float64)
            if x.ndim == 2 and x.shape[1] == count:
                return rows(x)
            if x.shape == (count,) or (count == 1 and x.ndim == 0):
                return rows(x.reshape(1, count))[0]
            msg = f"expected inputs of shape (batch, {count}) or ({count},), got {x.shape}"
            raise NneqError(msg)
        if len(values) != count:
            msg = f"expected one array or {count} values, got {len(values)} values"
            raise NneqError(msg)
        columns = np.broadcast_arrays(*(np.asarray(v, dtype=np.float64) for v in values))
        shape = columns[0].shape
        found = rows(np.stack([column.reshape(-1) for column in columns], axis=1))
        return tuple(column.reshape(shape)[()] for column in found.T)

    equations.source = source  # type: ignore[attr-defined]  # an attribute of a function
    return equations
