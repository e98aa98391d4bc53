"""The float64 program made ready to run often: a list of closures over flat rows.

Every tensor is kept as ``(S, size)``; a dense layer is one matrix product, one addition in place
and one activation.  The result is that of ``Float64`` up to the order of summation inside BLAS.
Guarantee: numerical.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from scipy import special

from nneq.activations import RULES
from nneq.ir import linear_map as lm
from nneq.ir import network as ir
from nneq.ir.float64 import Float64

__all__ = ["Compiled", "compile_network"]

Array = np.ndarray[Any, Any]
Step = Callable[..., Array]

_FLOAT64 = Float64()
_KEPT_WEIGHTS = 1 << 22
_FEW = 16
_SPREAD = 4096
_CHUNK_ENTRIES = 1 << 17
_IN_PLACE: dict[str, Callable[[Array], Array]] = {
    "tanh": lambda z: np.tanh(z, z),
    "relu": lambda z: np.maximum(z, 0.0, out=z),
    "sigmoid": lambda z: special.expit(z, z),
}


class Compiled:
    """A function of rows; calling it is thread-safe (it owns no buffers).

    Args:
        network: the program; its weights are converted once.
    """

    def __init__(self, network: ir.Network) -> None:
        """Make the closures."""
        self._count = len(network.nodes)
        self._columns = []
        first = 0
        for port in network.inputs:
            self._columns.append((port.node, first, first + port.size))
            first += port.size
        self._outputs = [(port.node, port.size) for port in network.outputs]
        largest = max((math.prod(node.shape) for node in network.nodes), default=1)
        self._chunk = max(1, _CHUNK_ENTRIES // max(1, largest))
        self._steps = _steps(network)
        self._line = self._straight()
        self._calm = self._line is not None and _calm(network)

    def _straight(self) -> list[Step] | None:
        """Return the steps of a network in which each node reads the one before, or None."""
        if len(self._columns) != 1 or len(self._outputs) != 1 or not self._steps:
            return None
        before = self._columns[0][0]
        for place, _, args, _ in self._steps:
            if args != (before,):
                return None
            before = place
        return [step for _, step, _, _ in self._steps] if before == self._outputs[0][0] else None

    def __call__(self, rows: Array) -> Array:
        """Return ``(S, m)`` for float64 rows ``(S, n)``."""
        count = rows.shape[0]
        if self._calm and count == 1:
            return self._run(rows)
        if count <= self._chunk:
            with np.errstate(all="ignore"):
                return self._run(rows)
        found = np.empty((count, sum(size for _, size in self._outputs)))
        with np.errstate(all="ignore"):
            for low in range(0, count, self._chunk):
                found[low : low + self._chunk] = self._run(rows[low : low + self._chunk])
        return found

    def _run(self, rows: Array) -> Array:
        if self._line is not None:
            value = rows
            for step in self._line:
                value = step(value)
            return value if value.base is None and value is not rows else np.array(value)
        values: list[Any] = [None] * self._count
        for place, low, high in self._columns:
            values[place] = rows[:, low:high]
        for place, step, args, ended in self._steps:
            values[place] = step(*(values[arg] for arg in args))
            for dead in ended:
                values[dead] = None
        shape = rows.shape[0]
        parts = [np.broadcast_to(values[place], (shape, size)) for place, size in self._outputs]
        return np.concatenate(parts, axis=1) if len(parts) != 1 else np.array(parts[0])


def compile_network(network: ir.Network) -> Compiled:
    """Return the network as a function of rows ``(S, n)``."""
    return Compiled(network)


def _calm(network: ir.Network) -> bool:
    """Return whether no step can warn short of an overflow: then no error state is set."""
    for node in network.nodes:
        match node:
            case ir.Input():
                continue
            case ir.Affine():
                maps = [part for term in node.terms for part in term.map.stages()]
                plain = all(isinstance(part, lm.Dense | lm.Reshape) for part in maps)
                arrays = [*(array for part in maps for array in part.parameters)]
                if node.bias is not None:
                    arrays.append(node.bias)
                if not plain or not all(bool(np.isfinite(array).all()) for array in arrays):
                    return False
            case ir.Elementwise() if node.rule in _IN_PLACE:
                continue
            case ir.Softmax() if math.prod(node.shape) <= _FEW and not node.log:
                continue
            case _:
                return False
    return True


def _steps(network: ir.Network) -> list[tuple[int, Step, tuple[int, ...], tuple[int, ...]]]:
    """Return ``(place, function of the arguments, arguments, places that end there)``."""
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
        found.append((place, step, node.args, ended))
    return found


def _step(network: ir.Network, node: ir.Node, own: Sequence[int]) -> tuple[Step, bool]:
    """Return the closure of a node and whether its result is an array of its own.

    ``own`` are arguments that end here and may be overwritten.
    """
    shapes = [network.nodes[arg].shape for arg in node.args]
    size = math.prod(node.shape)
    match node:
        case ir.Affine():
            return _affine(node, shapes, size)
        case ir.Elementwise():
            return _elementwise(node, node.arg in own), True
        case ir.Constant():
            value = node.value.astype(np.float64).reshape(1, -1)
            return lambda: value, False
        case ir.Product():
            first, second = node.subscripts.split("->")[0].split(",")
            if first == second == node.subscripts.split("->")[1]:
                return np.multiply, True
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


def _general(node: ir.Node, shapes: Sequence[Any], size: int, run: Callable[..., Any]) -> Step:
    def step(*values: Array) -> Array:
        full = [
            value.reshape(value.shape[0], *shape)
            for value, shape in zip(values, shapes, strict=True)
        ]
        out: Array = run(node, *full)
        return out.reshape(out.shape[0], size)

    return step


def _softmax(node: ir.Softmax, shapes: Sequence[Any], size: int) -> Step:
    if node.shape[node.axis] != size:
        return _general(node, shapes, size, _FLOAT64.softmax)
    log = node.log

    def step(z: Array) -> Array:
        if z.shape[0] == 1 and size <= _FEW:
            return _small_softmax(z[0].tolist(), log)
        shifted: Array = z - np.maximum.reduce(z, axis=1, keepdims=True)
        if log:
            shifted -= np.log(np.add.reduce(np.exp(shifted), axis=1, keepdims=True))
            return shifted
        np.exp(shifted, out=shifted)
        shifted /= np.add.reduce(shifted, axis=1, keepdims=True)
        return shifted

    return step


def _small_softmax(row: list[float], log: bool) -> Array:
    """Return the softmax of a few numbers: there, NumPy's calls cost more than arithmetic."""
    largest = max(row)
    shifted = [value - largest for value in row]
    powers = [math.exp(value) for value in shifted]
    total = sum(powers)
    if not log:
        return np.array([[power / total for power in powers]])
    if not total > 0:
        return np.full((1, len(row)), np.nan)
    offset = math.log(total)
    return np.array([[value - offset for value in shifted]])


def _elementwise(node: ir.Elementwise, overwrite: bool) -> Step:
    rule = node.rule
    if overwrite and rule in _IN_PLACE:
        return _IN_PLACE[rule]
    numeric = RULES[rule].numeric
    size = math.prod(node.shape)
    params = {
        key: np.broadcast_to(value, node.shape).reshape(1, size) if np.ndim(value) else value
        for key, value in node.params.items()
    }
    return lambda z: numeric(z, params)


def _affine(node: ir.Affine, shapes: Sequence[Any], size: int) -> tuple[Step, bool]:
    if node.bias is not None and node.terms and node.bias.size < size > _SPREAD:
        return _affine_broadcast(node, shapes, size), True
    bias: Array | None = None
    if node.bias is not None:
        full = np.broadcast_to(node.bias.astype(np.float64), node.shape)
        bias = np.ascontiguousarray(full).reshape(1, size)
    if not node.terms:
        value = np.zeros((1, size)) if bias is None else bias
        return (lambda: value), False
    made = [_term(term.map, shape, size) for term, shape in zip(node.terms, shapes, strict=True)]
    functions = [apply for apply, _ in made]
    if len(made) == 1:
        apply, new = made[0]
        if bias is None:
            return apply, new
        if not new:
            return (lambda x: apply(x) + bias), True

        matrix = _matrix_of(node.terms[0].map)
        if matrix is not None:
            return _dense(matrix, bias), True

        def single(x: Array) -> Array:
            out = apply(x)
            out += bias
            return out

        return single, True

    def step(*values: Array) -> Array:
        total = functions[0](values[0])
        for value, function in zip(values[1:], functions[1:], strict=True):
            total = total + function(value)
        return total if bias is None else total + bias

    return step, True


def _dense(matrix: Array, bias: Array) -> Step:
    """Return one dense layer with local names: a small layer costs no more than a call."""
    dot = np.dot

    def step(x: Array) -> Array:
        out: Array = dot(x, matrix)
        out += bias
        return out

    return step


def _matrix_of(linear: lm.LinearMap) -> Array | None:
    """Return ``W^T`` of a map that is one matrix on flat rows, or None."""
    stages = [part for part in linear.stages() if not isinstance(part, lm.Reshape | lm.Identity)]
    if len(stages) != 1 or not isinstance(stages[0], lm.Dense):
        return None
    part = stages[0]
    if math.prod(part.lead) != 1 or part.weight.size > _KEPT_WEIGHTS:
        return None
    return np.ascontiguousarray(part.weight.T, dtype=np.float64)


def _affine_broadcast(node: ir.Affine, shapes: Sequence[Any], size: int) -> Step:
    """Return the step of a large tensor with a small bias (a convolution): nothing is spread."""
    bare, new = _affine(dataclasses.replace(node, bias=None), shapes, size)
    bias = np.asarray(node.bias, dtype=np.float64)
    shape = node.shape

    def step(*values: Array) -> Array:
        out = bare(*values)
        if not new:
            return (out.reshape(out.shape[0], *shape) + bias).reshape(out.shape[0], size)
        full = out.reshape(out.shape[0], *shape)
        full += bias
        return full.reshape(out.shape[0], size)

    return step


def _term(linear: lm.LinearMap, shape: Any, size: int) -> tuple[Callable[[Array], Array], bool]:
    """Return the map on flat rows, and whether its result never shares memory."""
    stages = [part for part in linear.stages() if not isinstance(part, lm.Reshape | lm.Identity)]
    if not stages:
        return (lambda x: x), False
    if len(stages) == 1:
        part = stages[0]
        matrix = _matrix_of(linear)
        if matrix is not None:
            return (lambda x: np.dot(x, matrix)), True
        if isinstance(part, lm.Scale) and (part.weight.size == size or size <= _SPREAD):
            full = np.broadcast_to(part.weight.astype(np.float64), part.in_shape).reshape(1, size)
            factor = np.ascontiguousarray(full)
            return (lambda x: x * factor), True

    def apply(x: Array) -> Array:
        out = linear.apply(x.reshape(x.shape[0], *shape))
        return out.reshape(out.shape[0], size)

    return apply, False
