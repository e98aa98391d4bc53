r"""The equations layer by layer, with the weights as named arrays: any size of network.

Nothing scalar is built and no matrix of a convolution: a dense layer reads
``y1 = tanh(W1 x + b1)``, a convolution ``y2 = relu(conv(W2, y1; strides 2x2) + b2)``.  The arrays
behind the names are the stored ones, in their stored precision.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np

from nneq.activations import RULES
from nneq.ir import linear_map as lm
from nneq.ir import network as ir
from nneq.symbolic.layout import Layer, Layout
from nneq.symbolic.names import latex_text, terminal_text

__all__ = ["MatrixEquation", "MatrixForm", "matrix_form"]

Array = np.ndarray[Any, Any]
Medium = Literal["text", "latex"]


@dataclass(frozen=True, eq=False)
class MatrixEquation:
    """One layer.

    Args:
        name: the vector (or tensor) it defines.
        shape: its shape, for one sample.
        formula: the right-hand side as text.
        latex_formula: the right-hand side as LaTeX.
        weights: the arrays it names, as stored.
        origin: where the layer came from in the model, as text.
    """

    name: str
    shape: tuple[int, ...]
    formula: str
    latex_formula: str
    weights: Mapping[str, Array]
    origin: str = ""

    def __str__(self) -> str:
        return f"{self.name} = {self.formula}"

    def latex(self) -> str:
        """Return the equation as LaTeX."""
        return f"{_bold(self.name)} = {self.latex_formula}"


@dataclass(frozen=True, eq=False)
class MatrixForm:
    """All layers, in order of computation; made by ``eqs.matrix_form()``."""

    layout: Layout

    @cached_property
    def equations(self) -> tuple[MatrixEquation, ...]:
        """One equation per layer."""
        return tuple(_equations(self.layout))

    @cached_property
    def weights(self) -> dict[str, Array]:
        """Every array by its name, as stored."""
        return {name: array for eq in self.equations for name, array in eq.weights.items()}

    def lines(self) -> Iterator[str]:
        """Yield the text: inputs, equations, and the shapes of the arrays."""
        for layer, port in zip(self.layout.inputs, self.layout.network.inputs, strict=True):
            name = vector_name(self.layout, layer)
            label = f" ({terminal_text(port.label)})" if port.label else ""
            yield f"input {name}: {_dims(port.shape)}{label}"
        for equation in self.equations:
            yield str(equation)
        if self.weights:
            yield "where"
        for name, array in self.weights.items():
            yield f"  {name}: {_dims(array.shape)} {array.dtype.name}"

    def __str__(self) -> str:
        return "\n".join(self.lines())

    def latex(self) -> str:
        """Return all equations as one aligned LaTeX environment."""
        body = " \\\\\n".join(f"{_bold(eq.name)} &= {eq.latex_formula}" for eq in self.equations)
        return f"\\begin{{aligned}}\n{body}\n\\end{{aligned}}"

    def _repr_latex_(self) -> str:
        return f"$\\displaystyle {self.latex()}$"


def matrix_form(layout: Layout) -> MatrixForm:
    """Return the layer-wise form; nothing is computed before it is printed."""
    return MatrixForm(layout)


def vector_name(layout: Layout, layer: Layer) -> str:
    """Return the name of a whole layer: ``x``, ``y2``, ``z``; numbered where there are several."""
    for group in (layout.inputs, layout.outputs):
        if layer in group:
            return layer.prefix if len(group) == 1 else f"{layer.prefix}{group.index(layer) + 1}"
    return layer.prefix


def _dims(shape: tuple[int, ...]) -> str:
    return " x ".join(str(size) for size in shape) or "scalar"


def _bold(name: str) -> str:
    letters = name.rstrip("0123456789")
    number = name[len(letters) :]
    upper = f"^{{({number})}}" if number else ""
    return rf"\mathbf{{{letters}}}{upper}"


def _weight_latex(name: str) -> str:
    letter, rest = name[0], name[1:]
    return f"{letter}_{{{rest}}}" if rest else letter


class _Scribe:
    """Writes one layer in both media at once; every expression is a pair (text, LaTeX)."""

    def __init__(self, layout: Layout, number: int, known: dict[int, tuple[str, Array]]) -> None:
        self.layout = layout
        self._known = known
        self.number = number
        self.weights: dict[str, Array] = {}
        self._used: dict[str, int] = {}

    def named(self, letter: str, array: Array) -> tuple[str, str]:
        if id(array) in self._known:
            name = self._known[id(array)][0]
            self.weights[name] = array
            return name, _weight_latex(name.replace("_", ","))
        count = self._used.get(letter, 0)
        self._used[letter] = count + 1
        name = f"{letter}{self.number}" + (f"_{count + 1}" if count else "")
        self.weights[name] = array
        self._known[id(array)] = (name, array)
        return name, _weight_latex(name.replace("_", ","))

    def place(self, place: int) -> tuple[str, str]:
        """Return the expression of a node: its name, or what it is made of."""
        layout = self.layout
        needed, stack = set(), [place]
        while stack:
            at = stack.pop()
            if at not in needed:
                needed.add(at)
                if layout.layer_at(at) is None:
                    stack.extend(layout.network.nodes[at].args)
        found: dict[int, tuple[str, str]] = {}
        for at in sorted(needed):
            layer = layout.layer_at(at)
            if layer is not None:
                name = vector_name(layout, layer)
                found[at] = (name, _bold(name))
            else:
                found[at] = self.body(layout.network.nodes[at], found)
        return found[place]

    def body(self, node: ir.Node, known: Mapping[int, tuple[str, str]]) -> tuple[str, str]:
        """Return the formula of a node over the expressions of its arguments."""
        args = [known[arg] for arg in node.args]
        match node:
            case ir.Affine():
                return self._affine(node, args)
            case ir.Elementwise():
                return self._elementwise(node, args[0])
            case ir.Product():
                (a, la), (b, lb) = (_grouped(arg) for arg in args)
                first, second = node.subscripts.split("->")[0].split(",")
                if first == second == node.subscripts.split("->")[1]:
                    return f"{a} * {b}", rf"{la} \odot {lb}"
                spec = node.subscripts
                return _call("einsum", [(a, la), (b, lb)], f'"{spec}"')
            case ir.Maximum():
                return _call("max", args, f"axes {', '.join(map(str, node.axes))}")
            case ir.Select():
                (t, lt), (y, ly), (n, ln) = args
                relation = {">=": r"\geq", "==": "=", ">": ">"}[node.relation]
                cases = rf"{ly} & {lt} {relation} 0 \\ {ln} & \text{{otherwise}}"
                return (
                    f"({y} if {t} {node.relation} 0 else {n})",
                    rf"\begin{{cases}} {cases} \end{{cases}}",
                )
            case ir.Softmax():
                name = "log_softmax" if node.log else "softmax"
                return _call(name, args, f"axis {node.axis}" if len(node.shape) > 2 else "")
            case ir.Constant():
                return self.named("c", node.value)
            case _:
                msg = f"a {type(node).__name__} has no formula"
                raise TypeError(msg)

    def _elementwise(self, node: ir.Elementwise, arg: tuple[str, str]) -> tuple[str, str]:
        notes = []
        for key in RULES[node.rule].defaults:
            value = node.params[key]
            shown = self.named("p", value)[0] if np.ndim(value) else repr(float(value))
            notes.append(f"{key}={shown}")
        return _call(node.rule, [arg], ", ".join(notes))

    def _affine(self, node: ir.Affine, args: list[tuple[str, str]]) -> tuple[str, str]:
        texts, latexes = [], []
        for term, arg in zip(node.terms, args, strict=True):
            text, latex = arg
            for part in term.map.stages():
                text, latex = self._stage(part, (text, latex))
            texts.append(text)
            latexes.append(latex)
        if node.bias is not None:
            text, latex = self.named("b", node.bias)
            texts.append(text)
            latexes.append(latex)
        return (
            " + ".join(texts).replace("+ -", "- ") or "0",
            " + ".join(latexes).replace("+ -", "- ") or "0",
        )

    def _stage(self, part: lm.LinearMap, arg: tuple[str, str]) -> tuple[str, str]:
        text, latex = _grouped(arg)
        match part:
            case lm.Identity():
                return arg
            case lm.Dense():
                name, tex = self.named("W", part.weight)
                return f"{name} {text}", f"{tex} {latex}"
            case lm.Scale():
                return self._scale(part, (text, latex))
            case lm.Contract():
                return _call("einsum", [self.named("W", part.weight), arg], f'"{part.subscripts}"')
            case lm.Conv():
                return _call("conv", [self.named("W", part.weight), arg], _conv_note(part))
            case lm.ConvTranspose():
                weight = self.named("W", part.conv.weight)
                return _call("conv_transpose", [weight, arg], _conv_note(part.conv))
            case _:
                return _call(type(part).__name__.lower(), [arg], _move_note(part))

    def _scale(self, part: lm.Scale, arg: tuple[str, str]) -> tuple[str, str]:
        text, latex = arg
        if part.weight.size == 1:
            factor = float(part.weight.reshape(-1)[0])
            if factor == -1.0:
                return f"-{text}", f"-{latex}"
            return f"{factor!r} {text}", rf"{factor!r} \, {latex}"
        name, tex = self.named("W", part.weight)
        return f"{name} * {text}", rf"{tex} \odot {latex}"


def _grouped(arg: tuple[str, str]) -> tuple[str, str]:
    text, latex = arg
    if (" + " in text or " - " in text or text.startswith("-")) and not text.endswith(")"):
        return f"({text})", rf"\left({latex}\right)"
    return arg


def _call(name: str, args: list[tuple[str, str]], note: str = "") -> tuple[str, str]:
    inside = ", ".join(text for text, _ in args) + (f"; {note}" if note else "")
    tex = ", ".join(latex for _, latex in args)
    tex += rf";\ \text{{{latex_text(note)}}}" if note else ""
    known = {"tanh": r"\tanh", "exp": r"\exp", "log": r"\log", "max": r"\max"}
    head = known.get(name, rf"\operatorname{{{latex_text(name)}}}")
    return f"{name}({inside})", rf"{head}\left({tex}\right)"


def _x(sizes: tuple[int, ...]) -> str:
    return "x".join(str(size) for size in sizes)


def _conv_note(conv: lm.Conv) -> str:
    notes = [f"strides {_x(conv.strides)}"]
    if any(before or after for before, after in conv.pads):
        notes.append("pads " + " ".join(f"{before}:{after}" for before, after in conv.pads))
    if any(size != 1 for size in conv.dilations):
        notes.append(f"dilations {_x(conv.dilations)}")
    if conv.groups != 1:
        notes.append(f"groups {conv.groups}")
    return ", ".join(notes)


def _move_note(part: lm.LinearMap) -> str:
    match part:
        case lm.Permute() | lm.Sum():
            return f"axes {', '.join(map(str, part.axes))}"
        case lm.Slice():
            return _slices(part)
        case lm.Place():
            return f"at {_slices(part.cut)} of {_x(part.out_shape)}"
        case _:
            return f"to {_x(part.out_shape) or 'scalar'}"


def _slices(cut: lm.Slice) -> str:
    shown = []
    for part in cut.cut:
        stop = "" if part.stop is None else str(part.stop)
        step = "" if part.step in {None, 1} else f":{part.step}"
        shown.append(f"{part.start}:{stop}{step}")
    return f"[{', '.join(shown)}]"


def _equations(layout: Layout) -> Iterator[MatrixEquation]:
    known: dict[int, tuple[str, Array]] = {}
    for number, layer in enumerate(layout.layers, 1):
        scribe = _Scribe(layout, number, known)
        if layer.place is None:
            arg = layer.args[0]
            text, latex = scribe.place(arg)
            shape = layout.network.nodes[arg].shape
        else:
            node = layout.network.nodes[layer.place]
            text, latex = scribe.body(node, {arg: scribe.place(arg) for arg in node.args})
            shape = node.shape
        name = vector_name(layout, layer)
        yield MatrixEquation(name, shape, text, latex, scribe.weights, layer.origin)
