"""Runs a TensorFlow graph on values: constants are computed, the rest is written as equations."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.python.framework.function_def_to_graph import function_def_to_graph

from nneq.adapters.tensorflow.registry import OPERATIONS
from nneq.errors import NneqError, UnsupportedError
from nneq.lowering import Builder, Value

__all__ = ["Walk", "plain_dtype"]

Array = np.ndarray[Any, Any]

_DEEPEST = 64


class Walk:
    """The state of one import.

    Args:
        builder: what the network is written with.
        graph: the frozen graph, whose function library is used.
    """

    def __init__(self, builder: Builder, graph: Any) -> None:
        self.b = builder
        self.problems: list[str] = []
        self.notes: list[str] = []
        self._library = {f.signature.name: f for f in graph.as_graph_def().library.function}
        self._graph = graph
        self._bodies: dict[str, Any] = {}
        self._depth = 0
        self._poisoned: dict[int, Value] = {}

    # ------------------------------------------------------------------ values
    def array(self, x: Value) -> Array:
        """Return the array of a constant operand.

        Raises:
            UnsupportedError: when the operand depends on the inputs.
        """
        return self.b.array(x)

    def integers(self, x: Value) -> list[int]:
        """Return a constant operand as a flat list of integers."""
        return [int(k) for k in np.asarray(self.b.array(x)).reshape(-1)]

    def move(self, x: Value, change: Any) -> Value:
        """Return the value with its entries moved as ``change`` moves those of an array."""
        if x.array is not None:
            return self.b.constant(np.asarray(change(x.array)))
        places = np.arange(x.size, dtype=np.int64).reshape(x.shape)
        return self.b.take(x, np.ascontiguousarray(change(places)))

    # ------------------------------------------------------------------ graphs
    def run(self, outputs: Sequence[Any], known: dict[str, Any]) -> list[Any]:
        """Return the values of graph tensors.

        Args:
            outputs: the tensors that are wanted.
            known: values by tensor name of what is given; filled on the way.
        """
        stack = list(outputs)
        while stack:
            tensor = stack[-1]
            if tensor.name in known:
                stack.pop()
                continue
            missing = [t for t in tensor.op.inputs if t.name not in known]
            if missing:
                stack.extend(missing)
                continue
            inputs = [known[t.name] for t in tensor.op.inputs]
            for made, value in zip(
                tensor.op.outputs, self._guarded(tensor.op, inputs), strict=True
            ):
                known[made.name] = value
        return [known[tensor.name] for tensor in outputs]

    def _guarded(self, op: Any, inputs: list[Any]) -> list[Any]:
        outer, self.b.origin = self.b.origin, op.name
        poisoned = any(id(x) in self._poisoned for x in inputs)
        before = len(self.problems)
        try:
            found = self.apply(op, inputs)
            listed = list(found) if isinstance(found, list | tuple) else [found]
            listed += [None] * (len(op.outputs) - len(listed))
            return [self._typed(v, t) for v, t in zip(listed, op.outputs, strict=True)]
        except UnsupportedError as error:
            if not poisoned and len(self.problems) == before:
                self.problems.append(f"operation {op.name!r} ({op.type}): {error}")
        except (NneqError, ValueError, TypeError, IndexError, AttributeError) as error:
            if not poisoned and len(self.problems) == before:
                text = str(error).strip().split("\n")[0]
                self.problems.append(
                    f"operation {op.name!r} ({op.type}): could not be read "
                    f"({type(error).__name__}: {text[:200]})"
                )
        finally:
            self.b.origin = outer
        return [self._stand_in(t) for t in op.outputs]

    def _typed(self, value: Any, tensor: Any) -> Any:
        if not isinstance(value, Value):
            return value
        kind = plain_dtype(tensor.dtype)
        static = tensor.shape.as_list() if tensor.shape.rank is not None else None
        if static is not None:
            fits = len(static) == len(value.shape) and all(
                s is None or s == v for s, v in zip(static, value.shape, strict=True)
            )
            if not fits:
                msg = f"nneq reads the shape {value.shape} where TensorFlow has {tuple(static)}"
                raise UnsupportedError(msg)
        if value.array is not None:
            if kind.kind != value.dtype.kind:
                return self.b.constant(value.array.astype(kind))
            return value
        return value if value.dtype == kind else dataclasses.replace(value, dtype=kind)

    def _stand_in(self, tensor: Any) -> Value:
        known = tensor.shape.as_list() if tensor.shape.rank is not None else []
        value = self.b.input(tuple(1 if s is None else s for s in known), label="stand-in")
        self.b.ports.pop()
        self._poisoned[id(value)] = value
        return value

    # ------------------------------------------------------------------ calls
    def apply(self, op: Any, inputs: list[Any]) -> Any:
        """Return the values that an operation makes of its inputs."""
        lowering = OPERATIONS.get(op.type)
        if lowering is not None:
            return lowering(self, op, *inputs)
        if all(isinstance(x, Value) and x.array is not None for x in inputs) and inputs:
            return self._eager(op, inputs)
        if op.type in _RANDOM:
            msg = "its output is random; call the model with training=False before saving it"
            raise UnsupportedError(msg)
        msg = "this operation is not supported; docs/keras.md lists those that are"
        raise UnsupportedError(msg)

    def _eager(self, op: Any, inputs: list[Any]) -> Any:
        """Let TensorFlow compute an operation on constants."""
        if op.op_def.is_stateful:
            msg = "this operation has state or effects and is never run"
            raise UnsupportedError(msg)
        attributes = {a.name: op.get_attr(a.name) for a in op.op_def.attr}
        arrays = iter(inputs)
        arguments: dict[str, Any] = {}
        for arg in op.op_def.input_arg:
            count = attributes[arg.number_attr] if arg.number_attr else None
            if count is None:
                given = next(arrays)
                arguments[arg.name] = tf.constant(given.array)
            else:
                arguments[arg.name] = [tf.constant(next(arrays).array) for _ in range(count)]
        implied = {a.type_attr for a in op.op_def.input_arg}
        implied |= {a.number_attr for a in op.op_def.input_arg}
        extra = {k: v for k, v in attributes.items() if k not in implied}
        with tf.init_scope():
            found = getattr(tf.raw_ops, op.type)(**arguments, **extra)
        listed = found if isinstance(found, list | tuple) else [found]
        return [self.b.constant(t.numpy()) for t in listed]

    def call(self, name: str, inputs: Sequence[Any]) -> list[Any]:
        """Return what a function of the graph's library makes of values."""
        if self._depth >= _DEEPEST:
            msg = f"functions are nested deeper than {_DEEPEST}"
            raise UnsupportedError(msg)
        body = self._body(name)
        known = {t.name: v for t, v in zip(body.inputs, inputs, strict=True)}
        self._depth += 1
        try:
            return self.run(body.outputs, known)
        finally:
            self._depth -= 1

    def _body(self, name: str) -> Any:
        if name not in self._bodies:
            with self._graph.as_default():
                self._bodies[name] = function_def_to_graph(self._library[name])
        return self._bodies[name]


_RANDOM = frozenset(
    {
        "RandomUniform", "RandomStandardNormal", "TruncatedNormal", "RandomUniformInt",
        "StatelessRandomUniformV2", "StatelessRandomNormalV2", "StatelessRandomUniform",
        "StatelessRandomNormal", "Multinomial", "RandomShuffle", "StatelessRandomGetKeyCounter",
    }
)  # fmt: skip


def plain_dtype(kind: Any) -> np.dtype[Any]:
    """Return the NumPy type that holds a TensorFlow element type."""
    name = str(tf.as_dtype(kind).name)
    if name == "bfloat16" or name.startswith("float8"):
        return np.dtype(np.float32)
    if name in {"resource", "variant", "string"}:
        return np.dtype(np.float32)
    return np.dtype(name)
