"""The float64 program made ready to run often: a list of closures over flat rows.

Every tensor is kept as ``(S, size)``; a dense layer is one matrix product, one addition in place
and one activation.  The result is that of ``Float64`` up to the order of summation inside BLAS.
Guarantee: numerical.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from nneq.activations import RULES
from nneq.ir import linear_map as lm
from nneq.ir import network as ir
from nneq.ir.float64 import Float64

__all__ = ["Compiled", "compile_network"]

Array = np.ndarray[Any, Any]
Step = Callable[[list[Any]], Any]

_FLOAT64 = Float64()
_KEPT_WEIGHTS = 1 << 22
_CHUNK_ENTRIES = 1 << 17
_IN_PLACE: dict[str, Callable[[Array], Array]] = {
    "tanh": lambda z: np.tanh(z, out=z),
    "relu": lambda z: np.maximum(z, 0.0, out=z),
}


class Compiled:
    """A function of rows; calling it is thread-safe (it owns no buffers).

    Args:
        steps: ``(place, what to compute, places whose values end there)`` in order.
        network: the program.
    """

    def __init__(self, network: ir.Network) -> None:
        """Make the closures; weights are converted once."""
        self._network = network
        self._width = len(network.nodes)
        self._columns = []
        first = 0
        for port in network.inputs:
            self._columns.append((port.node, first, first + port.size))
            first += port.size
        self._single = len(self._columns) == 1
        self._outputs = [(port.node, port.size) for port in network.outputs]
        largest = max((int(np.prod(node.shape)) for node in network.nodes), default=1)
        self._chunk = max(1, _CHUNK_ENTRIES // max(1, largest))
        self._steps = _steps(network)

    def __call__(self, rows: Array) -> Array:
        """Return ``(S, m)`` for float64 rows ``(S, n)``."""
        count = rows.shape[0]
        if count <= self._chunk:
            with np.errstate(all="ignore"):
                return self._run(rows)
        found = np.empty((count, sum(size for _, size in self._outputs)))
        with np.errstate(all="ignore"):
            for low in range(0, count, self._chunk):
                found[low : low + self._chunk] = self._run(rows[low : low + self._chunk])
        return found

    def _run(self, rows: Array) -> Array:
        values: list[Any] = [None] * self._width
        if self._single:
            values[self._columns[0][0]] = rows
        else:
            for place, low, high in self._columns:
                values[place] = rows[:, low:high]
        for place, step, ended in self._steps:
            values[place] = step(values)
            for dead in ended:
                values[dead] = None
        if len(self._outputs) == 1:
            place, _ = self._outputs[0]
            out = values[place]
            if out is rows or out.shape[0] != rows.shape[0]:
                return np.array(np.broadcast_to(out, (rows.shape[0], out.shape[1])))
            return np.asarray(out)
        shape = rows.shape[0]
        return np.concatenate(
            [np.broadcast_to(values[place], (shape, size)) for place, size in self._outputs], axis=1
        )


def compile_network(network: ir.Network) -> Compiled:
    """Return the network as a function of rows ``(S, n)``."""
    return Compiled(network)


def _steps(network: ir.Network) -> list[tuple[int, Step, tuple[int, ...]]]:
    last = {port.node: len(network.nodes) for port in network.outputs}
    for place in range(len(network.nodes) - 1, -1, -1):
        if place in last:
            for arg in network.nodes[place].args:
                last.setdefault(arg, place)
    dies: dict[int, list[int]] = {}
    inputs = {port.node for port in network.inputs}
    for place, end in last.items():
        dies.setdefault(end, []).append(place)
    found = []
    fresh: set[int] = set()
    for place, node in enumerate(network.nodes):
        if place not in last or place in inputs:
            continue
        ended = tuple(dies.get(place, ()))
        own = tuple(arg for arg in ended if arg in fresh)
        step, new = _step(network, node, own)
        if new:
            fresh.add(place)
        found.append((place, step, ended))
    return found


def _step(network: ir.Network, node: ir.Node, own: Sequence[int]) -> tuple[Step, bool]:
    """Return the closure of a node and whether its result is an array of its own.

    ``own`` are arguments that end here and may be overwritten.
    """
    shapes = [network.nodes[arg].shape for arg in node.args]
    size = int(np.prod(node.shape))
    match node:
        case ir.Affine():
            return _affine(node, shapes, size)
        case ir.Elementwise():
            return _elementwise(node, node.arg in own), True
        case ir.Constant():
            value = node.value.astype(np.float64).reshape(1, -1)
            return lambda _values: value, False
        case ir.Product():
            left, right = node.left, node.right
            first, second = node.subscripts.split("->")[0].split(",")
            if first == second == node.subscripts.split("->")[1]:
                return lambda values: values[left] * values[right], True
            return _general(node, shapes, size, _FLOAT64.product), True
        case ir.Maximum():
            return _general(node, shapes, size, _FLOAT64.maximum), True
        case ir.Select():
            return _general(node, shapes, size, _FLOAT64.select), True
        case ir.Softmax():
            return _softmax(node, shapes, size), True
        case _:
            msg = f"a {type(node).__name__} node without a port"
            raise ValueError(msg)


def _general(node: ir.Node, shapes: Sequence[Any], size: int, run: Callable[..., Array]) -> Step:
    args = node.args

    def step(values: list[Any]) -> Array:
        full = [
            values[arg].reshape(values[arg].shape[0], *shape)
            for arg, shape in zip(args, shapes, strict=True)
        ]
        out = run(node, *full)
        return out.reshape(out.shape[0], size)

    return step


def _softmax(node: ir.Softmax, shapes: Sequence[Any], size: int) -> Step:
    if node.shape[node.axis] != size:
        return _general(node, shapes, size, _FLOAT64.softmax)
    arg, log = node.arg, node.log

    def step(values: list[Any]) -> Array:
        z = values[arg]
        shifted: Array = z - np.maximum.reduce(z, axis=1, keepdims=True)
        if log:
            shifted -= np.log(np.add.reduce(np.exp(shifted), axis=1, keepdims=True))
            return shifted
        np.exp(shifted, out=shifted)
        shifted /= np.add.reduce(shifted, axis=1, keepdims=True)
        return shifted

    return step


def _elementwise(node: ir.Elementwise, overwrite: bool) -> Step:  # one caller
    arg, rule = node.arg, node.rule
    if overwrite and rule in _IN_PLACE:
        place = _IN_PLACE[rule]
        return lambda values: place(values[arg])
    numeric = RULES[rule].numeric
    size = int(np.prod(node.shape))
    params = {
        key: np.broadcast_to(value, node.shape).reshape(1, size) if np.ndim(value) else value
        for key, value in node.params.items()
    }
    return lambda values: numeric(values[arg], params)


def _affine(node: ir.Affine, shapes: Sequence[Any], size: int) -> tuple[Step, bool]:
    bias: Array | None = None
    if node.bias is not None:
        full = np.broadcast_to(node.bias.astype(np.float64), node.shape)
        bias = np.ascontiguousarray(full).reshape(1, size)
    if not node.terms:
        value = np.zeros((1, size)) if bias is None else bias
        return (lambda _values: value), False
    made = [_term(term.map, shape, size) for term, shape in zip(node.terms, shapes, strict=True)]
    args = node.args
    if len(made) == 1:
        arg, (apply, new) = args[0], made[0]
        if bias is None:
            return (lambda values: apply(values[arg])), new
        if not new:
            return (lambda values: apply(values[arg]) + bias), True

        def single(values: list[Any]) -> Array:
            out = apply(values[arg])
            out += bias
            return out

        return single, True
    functions = [apply for apply, _ in made]

    def step(values: list[Any]) -> Array:
        total = functions[0](values[args[0]])
        for arg, function in zip(args[1:], functions[1:], strict=True):
            total = total + function(values[arg])
        if bias is not None:
            total = total + bias
        return total

    return step, True


def _term(linear: lm.LinearMap, shape: Any, size: int) -> tuple[Callable[[Array], Array], bool]:
    """Return the map on flat rows, and whether its result never shares memory."""
    stages = [part for part in linear.stages() if not isinstance(part, lm.Reshape | lm.Identity)]
    if not stages:
        return (lambda x: x), False
    if len(stages) == 1:
        part = stages[0]
        if isinstance(part, lm.Dense) and int(np.prod(part.lead)) == 1:
            if part.weight.size <= _KEPT_WEIGHTS:
                matrix = np.ascontiguousarray(part.weight.T, dtype=np.float64)
                return (lambda x: np.dot(x, matrix)), True
        elif isinstance(part, lm.Scale):
            full = np.broadcast_to(part.weight.astype(np.float64), part.in_shape).reshape(1, size)
            factor = np.ascontiguousarray(full)
            return (lambda x: x * factor), True

    def apply(x: Array) -> Array:
        out = linear.apply(x.reshape(x.shape[0], *shape))
        return out.reshape(out.shape[0], size)

    return apply, False
