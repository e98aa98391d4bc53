"""The intermediate representation: a frozen straight-line program of eight node kinds.

Every node makes exactly one tensor; a node is named by its place in ``Network.nodes``, and its
arguments are earlier places.  Shapes are those of **one** sample, with the model's own axes: where
the model has a batch axis, it is kept and has extent 1 (``Port.batched`` says so).  Evaluation
adds one sample axis of its own in front, which no node ever sees.

Names that come from a model file are labels (``Port.label``, ``Node.origin``): text to show, never
to execute or to build an identifier from.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import Any, Literal

import numpy as np

from nneq.activations import RULES
from nneq.errors import NneqError, problems_message
from nneq.ir.float64 import evaluate
from nneq.ir.linear_map import LinearMap

__all__ = [
    "Affine",
    "Constant",
    "Elementwise",
    "Input",
    "Maximum",
    "Network",
    "Node",
    "Port",
    "Product",
    "Select",
    "Softmax",
    "Source",
    "Term",
    "verify",
]

Array = np.ndarray[Any, Any]
Shape = tuple[int, ...]
FunctionClass = Literal["piecewise-linear", "smooth", "mixed"]


@dataclass(frozen=True, eq=False)
class Input:
    """One input tensor of the model."""

    shape: Shape
    origin: str = ""

    @property
    def args(self) -> tuple[int, ...]:
        """No arguments."""
        return ()


@dataclass(frozen=True, eq=False)
class Constant:
    """A tensor that does not depend on the inputs and could not be folded into another node."""

    value: Array
    origin: str = ""

    @property
    def shape(self) -> Shape:
        """The value's shape."""
        found: Shape = self.value.shape
        return found

    @property
    def args(self) -> tuple[int, ...]:
        """No arguments."""
        return ()


@dataclass(frozen=True, eq=False)
class Term:
    """One summand of an affine node: ``map`` applied to the tensor of node ``arg``."""

    arg: int
    map: LinearMap


@dataclass(frozen=True, eq=False)
class Affine:
    """``sum_k terms[k].map(arg_k) + bias``; ``bias`` broadcasts to ``shape``."""

    shape: Shape
    terms: tuple[Term, ...]
    bias: Array | None = None
    origin: str = ""

    @property
    def args(self) -> tuple[int, ...]:
        """The arguments of the terms."""
        return tuple(term.arg for term in self.terms)


@dataclass(frozen=True, eq=False)
class Elementwise:
    """``activation rule`` applied to every entry; array parameters broadcast to ``shape``."""

    shape: Shape
    arg: int
    rule: str
    params: Mapping[str, Any] = field(default_factory=dict)
    origin: str = ""

    def __post_init__(self) -> None:
        merged = {**RULES[self.rule].defaults, **self.params} if self.rule in RULES else self.params
        object.__setattr__(self, "params", MappingProxyType(dict(merged)))

    def __reduce__(self) -> tuple[Any, ...]:
        return (
            type(self),
            (self.shape, self.arg, self.rule, dict(self.params), self.origin),
        )

    @property
    def args(self) -> tuple[int, ...]:
        """The one argument."""
        return (self.arg,)


@dataclass(frozen=True, eq=False)
class Product:
    """``einsum(subscripts, left, right)`` of two live tensors, e.g. ``"ab,ab->ab"``."""

    shape: Shape
    left: int
    right: int
    subscripts: str
    origin: str = ""

    @property
    def args(self) -> tuple[int, ...]:
        """Both arguments."""
        return (self.left, self.right)


@dataclass(frozen=True, eq=False)
class Maximum:
    """The largest entry over ``axes``, which disappear."""

    shape: Shape
    arg: int
    axes: tuple[int, ...]
    origin: str = ""

    @property
    def args(self) -> tuple[int, ...]:
        """The one argument."""
        return (self.arg,)


@dataclass(frozen=True, eq=False)
class Select:
    """``yes`` where ``test <relation> 0``, ``no`` elsewhere; all three have the node's shape."""

    shape: Shape
    test: int
    relation: Literal[">", ">=", "=="]
    yes: int
    no: int
    origin: str = ""

    @property
    def args(self) -> tuple[int, ...]:
        """Test, yes, no."""
        return (self.test, self.yes, self.no)


@dataclass(frozen=True, eq=False)
class Softmax:
    """Softmax over one axis, or its logarithm; kept whole because it is stable and strippable."""

    shape: Shape
    arg: int
    axis: int
    log: bool = False
    origin: str = ""

    @property
    def args(self) -> tuple[int, ...]:
        """The one argument."""
        return (self.arg,)


Node = Input | Constant | Affine | Elementwise | Product | Maximum | Select | Softmax


@dataclass(frozen=True)
class Port:
    """An input or output tensor of the model.

    Args:
        name: our name, a checked identifier; unique among the ports.
        node: the node that makes the tensor.
        shape: per-sample shape, as the node's.
        batched: axis 0 is the model's batch axis (extent 1 here, any extent in a call).
        dtype: the model's own element type, as NumPy names it.
        label: the name in the model, as text.
        entry_labels: labels of the entries (feature or class names), or empty.
        levels: for an integer input, the number of values 0 .. levels - 1 it takes; else None.
    """

    name: str
    node: int
    shape: Shape
    batched: bool = True
    dtype: str = "float32"
    label: str = ""
    entry_labels: tuple[str, ...] = ()
    levels: int | None = None

    @property
    def size(self) -> int:
        """The number of entries of one sample."""
        return math.prod(self.shape)


@dataclass(frozen=True)
class Source:
    """Where a network came from.

    Args:
        framework: ``torch``, ``keras``, ``tensorflow``, ``onnx`` or ``nneq``.
        label: file or class name, as text.
        details: ``(key, value)`` pairs such as the opset.
        notes: sentences a user must know (a pruned head, an assumed input shape).
    """

    framework: str = "nneq"
    label: str = ""
    details: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Network:
    """A trained model as a frozen program.

    Args:
        nodes: in an order in which every argument comes before its use.
        inputs: the input tensors, in the model's order.
        outputs: the output tensors, in the model's order.
        source: where it came from.
    """

    nodes: tuple[Node, ...]
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    source: Source = field(default_factory=Source)

    def __call__(self, *arrays: Any) -> Any:
        """Evaluate in float64.

        Args:
            arrays: one per input tensor, in the model's own shapes and order; where the model has
                a batch axis, it may have any extent (the same in every batched input).

        Returns:
            An array, or a tuple of arrays when there are several outputs.

        Raises:
            NneqError: when the number or the shape of the arrays does not fit.

        Guarantee: numerical (float64, classical summation).
        """
        found = tuple(self._run(arrays))
        return found[0] if len(found) == 1 else found

    def run(self, feeds: Mapping[str, Any]) -> dict[str, Array]:
        """Evaluate in float64 from ``{tensor_name: array}`` to ``{tensor_name: array}``.

        Names are our names or the model's labels.

        Raises:
            NneqError: when a name is unknown or missing, or a shape does not fit.
        """
        named = dict(feeds)
        arrays = []
        problems = []
        for port in self.inputs:
            key = port.name if port.name in named else port.label
            if key in named:
                arrays.append(named.pop(key))
            else:
                problems.append(f"input {port.name!r} (shape {port.shape}) is missing")
        problems += [f"{key!r} is not an input" for key in named]
        if problems:
            names = ", ".join(port.name for port in self.inputs)
            raise NneqError(problems_message("cannot run", problems, f"the inputs are: {names}"))
        outputs = self._run(arrays)
        return {port.name: array for port, array in zip(self.outputs, outputs, strict=True)}

    def samples(self, arrays: Any) -> tuple[list[Array], bool]:
        """Return the arrays as ``(S, *shape)`` batches, and whether they were a batch of samples.

        Raises:
            NneqError: when the number or the shape of the arrays does not fit.
        """
        if len(arrays) != len(self.inputs):
            wanted = ", ".join(f"{port.name} {port.shape}" for port in self.inputs)
            msg = f"expected {len(self.inputs)} input arrays ({wanted}), got {len(arrays)}"
            raise NneqError(msg)
        found = [np.asarray(array) for array in arrays]
        pairs = list(zip(self.inputs, found, strict=True))
        if all(array.shape == port.shape for port, array in pairs):
            return [array[None] for array in found], False
        extents = {a.shape[0] for p, a in pairs if p.batched and a.ndim}
        if len(extents) == 1:
            count = extents.pop()
            batches = []
            for port, array in pairs:
                if port.batched and array.shape[1:] == port.shape[1:]:
                    batches.append(array[:, None])
                elif not port.batched and array.shape == port.shape:
                    batches.append(np.broadcast_to(array, (count, *port.shape)))
            if len(batches) == len(pairs):
                return batches, True
        problems = [
            f"{port.name}: expected shape "
            f"{('batch', *port.shape[1:]) if port.batched else port.shape}, got {array.shape}"
            for port, array in pairs
        ]
        raise NneqError(problems_message("the input arrays do not fit", problems))

    def _run(self, arrays: Any) -> list[Array]:
        batches, many = self.samples(arrays)
        outputs = evaluate(self, batches)
        found = []
        for port, array in zip(self.outputs, outputs, strict=True):
            if not many:
                found.append(array[0])
            elif port.batched:
                found.append(array.reshape(array.shape[0], *port.shape[1:]))
            else:
                found.append(array)
        return found

    @cached_property
    def parameter_count(self) -> int:
        """The number of stored weights (biases and activation parameters included).

        An array that stands in several nodes (shared weights), transposed or not, counts once.
        """
        seen: dict[tuple[int, int], int] = {}
        for node in self.nodes:
            for array in _arrays(node):
                seen[array.__array_interface__["data"][0], array.size] = array.size
        return sum(seen.values())

    @cached_property
    def function_class(self) -> FunctionClass:
        """``piecewise-linear``, ``smooth`` or ``mixed``.

        Affine networks are piecewise linear.  A network with jumps (``Select``, step functions) is
        ``mixed`` unless everything else is piecewise linear too.
        """
        linear = smooth = False
        for node in self.nodes:
            match node:
                case Maximum() | Select():
                    linear = True
                case Product() | Softmax():
                    smooth = True
                case Elementwise():
                    kind = RULES[node.rule].kind
                    linear |= kind in {"piecewise-linear", "step", "piecewise-smooth"}
                    smooth |= kind in {"smooth", "piecewise-smooth"}
                case Input() | Constant() | Affine():
                    pass
        if linear and smooth:
            return "mixed"
        return "smooth" if smooth else "piecewise-linear"

    @property
    def input_size(self) -> int:
        """The number ``n`` of input entries ``x_1 ... x_n``."""
        return sum(port.size for port in self.inputs)

    @property
    def output_size(self) -> int:
        """The number ``m`` of output entries ``z_1 ... z_m``."""
        return sum(port.size for port in self.outputs)

    @cached_property
    def uses(self) -> tuple[int, ...]:
        """How often every node's tensor is read (an output counts as one reading)."""
        counts = [0] * len(self.nodes)
        for node in self.nodes:
            for arg in node.args:
                counts[arg] += 1
        for port in self.outputs:
            counts[port.node] += 1
        return tuple(counts)

    def __str__(self) -> str:
        from nneq.ir.text import network_text

        return network_text(self)


def _arrays(node: Node) -> list[Array]:
    match node:
        case Constant():
            return [node.value]
        case Affine():
            found = [array for term in node.terms for array in term.map.parameters]
            return found if node.bias is None else [*found, node.bias]
        case Elementwise():
            return [value for value in node.params.values() if isinstance(value, np.ndarray)]
        case Input() | Product() | Maximum() | Select() | Softmax():
            return []


def verify(network: Network) -> Network:
    """Return ``network`` if it is well formed; every problem is in the error otherwise.

    Raises:
        NneqError: arguments that come later than their use, shapes that do not fit, unknown rules.
    """
    problems: list[str] = []
    for place, node in enumerate(network.nodes):
        where = f"node {place} ({type(node).__name__}, from {node.origin!r})"
        if any(not 0 <= arg < place for arg in node.args):
            problems.append(f"{where}: an argument does not come before its use")
            continue
        problems += [f"{where}: {text}" for text in _shape_problems(network, node)]
    for port in (*network.inputs, *network.outputs):
        if not 0 <= port.node < len(network.nodes):
            problems.append(f"port {port.name!r}: there is no node {port.node}")
        elif network.nodes[port.node].shape != port.shape:
            problems.append(f"port {port.name!r}: shape {port.shape} is not its node's")
    if problems:
        raise NneqError(problems_message("the network is not well formed", problems))
    return network


def _shape_problems(network: Network, node: Node) -> list[str]:
    shapes = [network.nodes[arg].shape for arg in node.args]
    match node:
        case Affine():
            return _affine_problems(node, shapes)
        case Elementwise():
            unknown = [] if node.rule in RULES else [f"there is no activation {node.rule!r}"]
            return unknown + _unlike(node.shape, shapes)
        case Softmax() | Select():
            return _unlike(node.shape, shapes)
        case Maximum():
            kept = tuple(size for k, size in enumerate(shapes[0]) if k not in node.axes)
            return [] if kept == node.shape else [f"the maximum has {kept}, not {node.shape}"]
        case Product():
            return _product_problems(node, shapes)
        case Input() | Constant():
            return []


def _unlike(shape: Shape, arguments: list[Shape]) -> list[str]:
    return [f"an argument has {found}, not {shape}" for found in arguments if found != shape]


def _affine_problems(node: Affine, shapes: list[Shape]) -> list[str]:
    problems = []
    for term, shape in zip(node.terms, shapes, strict=True):
        if term.map.in_shape != shape:
            problems.append(f"a map takes {term.map.in_shape}, its argument has {shape}")
        if term.map.out_shape != node.shape:
            problems.append(f"a map gives {term.map.out_shape}, not {node.shape}")
    if node.bias is not None:
        try:
            fits = np.broadcast_shapes(node.bias.shape, node.shape) == node.shape
        except ValueError:
            fits = False
        if not fits:
            problems.append(f"the bias {node.bias.shape} does not fit {node.shape}")
    return problems


def _product_problems(node: Product, shapes: list[Shape]) -> list[str]:
    inputs, out = node.subscripts.split("->")
    problems = []
    sizes: dict[str, int] = {}
    for letters, shape in zip(inputs.split(","), shapes, strict=True):
        if len(letters) != len(shape):
            return [f"subscripts {node.subscripts!r} do not fit {shape}"]
        for letter, size in zip(letters, shape, strict=True):
            if sizes.setdefault(letter, size) != size:
                problems.append(f"axis {letter!r} has two sizes")
    if tuple(sizes[letter] for letter in out) != node.shape:
        problems.append(f"the product does not have {node.shape}")
    return problems
