"""From TensorFlow code or a SavedModel folder to a network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from nneq.adapters.base import Imported
from nneq.adapters.tensorflow import (  # noqa: F401  # the table fills itself
    ops_control,
    ops_math,
    ops_nn,
    ops_shape,
)
from nneq.adapters.tensorflow.freeze import concrete_function, freeze
from nneq.adapters.tensorflow.walk import Walk, plain_dtype
from nneq.errors import NneqError, UnsupportedError, problems_message
from nneq.ir.network import Source
from nneq.lowering import Builder, Value
from nneq.passes import tidy

__all__ = ["import_model"]

Array = np.ndarray[Any, Any]

_REMEDY = "the operations that are read are listed in docs/keras.md"


def import_model(model: Any, *, example_inputs: Any = None) -> Imported:
    """Return the network of a TensorFlow function, with the function itself beside it.

    Args:
        model: a ``tf.Module``, a ``tf.function`` (with a signature, or called once), a concrete
            function, or the path of a SavedModel folder (its ``serving_default`` signature).
        example_inputs: an array, or a tuple of arrays (one per argument), with a batch axis; needed
            when there is no signature, or when the signature leaves more than axis 0 open.

    Returns:
        The network (an open axis 0 is the batch axis, of extent 1) and the function as reference.

    Raises:
        NneqError: no signature, a folder that cannot be read, axes of unknown extent.
        UnsupportedError: one error that names every operation outside what nneq reads.

    Guarantee: exact; the network is the real-number function of the stored weights.
    """
    function, label, owner = concrete_function(model, example_inputs)
    frozen = freeze(function, label)
    del owner  # its variables had to live until they were copied
    builder = Builder()
    walk = Walk(builder, frozen.graph)
    extents = _extents(frozen.inputs, example_inputs)
    names = _input_names(function, frozen)
    known: dict[str, Any] = {}
    batched = []
    for tensor, shape, name in zip(frozen.inputs, extents, names, strict=True):
        free = tensor.shape.as_list()[:1] == [None]
        batched.append(free)
        kind = plain_dtype(tensor.dtype)
        known[tensor.name] = builder.input(shape, label=name, dtype=kind, batched=free)
    tensors = tf.nest.flatten(frozen.structured_outputs)
    values = walk.run(frozen.outputs, known)
    if not walk.problems:
        walk.problems += [
            f"output {k + 1}: it is no tensor of numbers"
            for k, value in enumerate(values)
            if not isinstance(value, Value)
        ]
    if walk.problems:
        headline = f"cannot read the TensorFlow model {label!r} as equations"
        raise UnsupportedError(problems_message(headline, walk.problems, _REMEDY))
    labels = _output_names(function, len(tensors))
    source = Source(framework="tensorflow", label=label, details=(("tensorflow", tf.__version__),))
    many = bool(batched) and all(batched)
    flags = [many and value.shape[:1] == (1,) for value in values]
    network = builder.build(list(zip(values, labels, strict=True)), source=source, batched=flags)
    return Imported(tidy(network), _reference(frozen), batches=many)


def _extents(tensors: Sequence[Any], example: Any) -> list[tuple[int, ...]]:
    given = [np.shape(x) for x in tf.nest.flatten(example)] if example is not None else []
    problems = []
    found = []
    for k, tensor in enumerate(tensors):
        if tensor.shape.rank is None:
            problems.append(f"input {tensor.name!r} has an unknown number of axes")
            continue
        shape = tensor.shape.as_list()
        if len(given) == len(tensors):
            shape = [
                s if s is not None or axis == 0 else given[k][axis] for axis, s in enumerate(shape)
            ]
        shape = [1 if s is None and axis == 0 else s for axis, s in enumerate(shape)]
        if None in shape:
            problems.append(f"input {tensor.name!r} has the shape {tuple(tensor.shape.as_list())}")
        found.append(tuple(int(s or 0) for s in shape))
    if problems:
        headline = "axes of unknown extent"
        remedy = "give example_inputs= with the extents that are meant"
        raise NneqError(problems_message(headline, problems, remedy))
    return found


def _input_names(function: Any, frozen: Any) -> list[str]:
    specs = tf.nest.flatten(getattr(function, "structured_input_signature", None))
    names = [getattr(spec, "name", None) for spec in specs if isinstance(spec, tf.TensorSpec)]
    if len(names) == len(frozen.inputs) and all(names):
        return [str(name) for name in names]
    return [tensor.op.name for tensor in frozen.inputs]


def _output_names(function: Any, count: int) -> list[str]:
    structure = getattr(function, "structured_outputs", None)
    if isinstance(structure, dict) and len(structure) == count:
        return [str(key) for key in sorted(structure)]
    return [f"output_{k + 1}" for k in range(count)]


def _reference(frozen: Any) -> Any:
    tensors = list(frozen.inputs)

    def forward(arrays: Sequence[Array]) -> list[Array]:
        feeds = [
            tf.constant(np.asarray(a), dtype=tensor.dtype)
            for a, tensor in zip(arrays, tensors, strict=True)
        ]
        found = frozen(*feeds)
        return [_plain(t) for t in tf.nest.flatten(found)]

    return forward


def _plain(tensor: Any) -> Array:
    wide = tf.cast(tensor, tf.float32) if tensor.dtype == tf.bfloat16 else tensor
    return np.asarray(wide.numpy())
