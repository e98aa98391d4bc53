"""From a TensorFlow object or a SavedModel folder to one graph with constant weights."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow.python.eager import function as eager_function
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from nneq.errors import NneqError, UnsupportedError, problems_message

__all__ = ["concrete_function", "freeze"]

_FILE_LIMIT = 2 << 30
# Operations that touch files, processes or Python; a model needs none of them.
_UNSAFE = frozenset(
    {
        "ReadFile", "WriteFile", "MatchingFiles", "PyFunc", "PyFuncStateless", "EagerPyFunc",
        "TFRecordReader", "TFRecordReaderV2", "WholeFileReader", "WholeFileReaderV2",
        "DebugIdentity", "DebugIdentityV2", "PrintV2", "Print", "GeneratorDataset", "Rpc",
        "ImmutableConst", "SaveSlices", "DeleteSessionTensor",
    }
) - {"Print", "PrintV2"}  # fmt: skip


def concrete_function(model: Any, example: Any) -> tuple[Any, str, Any]:
    """Return a concrete function, a label, and the object that holds its variables.

    Args:
        model: a ``tf.Module``, ``tf.function``, concrete function, or SavedModel folder.
        example: arrays the model is called with, or None.

    Raises:
        NneqError: when there is no signature and no example, or the folder cannot be read.
    """
    if isinstance(model, str | os.PathLike):
        path = Path(model)
        loaded = _load(path)
        return _by_signature(loaded, path.name), path.name, loaded
    label = getattr(model, "name", None) or type(model).__name__
    if _is_concrete(model):
        return model, str(label), model
    if isinstance(model, tf.types.experimental.PolymorphicFunction):
        return _of_function(model, example, str(label)), str(label), model
    if isinstance(model, tf.Module) or callable(model):
        return _of_module(model, example, str(label)), str(label), model
    msg = f"expected a tf.Module, tf.function or SavedModel folder, got {type(model).__name__}"
    raise NneqError(msg)


def _is_concrete(model: Any) -> bool:
    kinds = (tf.types.experimental.ConcreteFunction, eager_function.ConcreteFunction)
    return isinstance(model, kinds)


def _of_function(function: Any, example: Any, label: str) -> Any:
    if example is not None:
        return function.get_concrete_function(*_specs(example))
    if function.input_signature is not None:
        return function.get_concrete_function()
    known = function._list_all_concrete_functions()  # noqa: SLF001  # no public way
    if len(known) == 1:
        return known[0]
    msg = (
        f"the TensorFlow function {label!r} has no signature: decorate it with "
        "tf.function(input_signature=[tf.TensorSpec(...)]) or give example_inputs="
    )
    raise NneqError(msg)


def _of_module(module: Any, example: Any, label: str) -> Any:
    if example is not None and callable(module):
        return tf.function(module.__call__).get_concrete_function(*_specs(example))
    call = vars(type(module)).get("__call__")
    if isinstance(call, tf.types.experimental.PolymorphicFunction):
        return _of_function(module.__call__, None, label)
    signatures = getattr(module, "signatures", None)
    if signatures:
        return _by_signature(module, label)
    found = {}
    for name in dir(type(module)):
        if isinstance(getattr(type(module), name, None), tf.types.experimental.PolymorphicFunction):
            method = getattr(module, name)
            if method.input_signature is not None:
                found[name] = method
    if len(found) == 1:
        return next(iter(found.values())).get_concrete_function()
    if found:
        msg = f"the tf.Module {label!r} has several functions: give one of {sorted(found)}"
        raise NneqError(msg)
    msg = (
        f"the tf.Module {label!r} has no function with a signature: decorate its __call__ with "
        "tf.function(input_signature=[tf.TensorSpec(...)]) or give example_inputs="
    )
    raise NneqError(msg)


def _specs(example: Any) -> list[Any]:
    listed = list(example) if isinstance(example, tuple) else [example]

    def spec(x: Any) -> Any:
        array = np.asarray(x)
        kind = np.float32 if array.dtype == np.float64 else array.dtype
        if isinstance(x, tf.Tensor):
            kind = array.dtype
        return tf.TensorSpec((None, *array.shape[1:]) if array.ndim else (), kind)

    return [tf.nest.map_structure(spec, part) for part in listed]


# ---------------------------------------------------------------------- folders
def _load(path: Path) -> Any:
    name = path.name
    file = path / "saved_model.pb"
    try:
        status = file.stat()
    except OSError as error:
        msg = f"cannot read {name!r} as a SavedModel: no saved_model.pb ({error.strerror})"
        raise NneqError(msg) from error
    if not stat.S_ISREG(status.st_mode) or not 0 < status.st_size < _FILE_LIMIT:
        msg = f"cannot read {name!r} as a SavedModel: saved_model.pb has {status.st_size} bytes"
        raise NneqError(msg)
    proto = saved_model_pb2.SavedModel()
    try:
        proto.ParseFromString(file.read_bytes())
    except Exception as error:  # protobuf's own error class depends on its build
        msg = f"cannot read {name!r} as a SavedModel: saved_model.pb is damaged ({error})"
        raise NneqError(msg) from error
    unsafe = {op for meta in proto.meta_graphs for op in _operations(meta.graph_def)} & _UNSAFE
    if unsafe:
        msg = f"cannot read {name!r}: it holds operations that nneq never runs: {sorted(unsafe)}"
        raise UnsupportedError(msg)
    try:
        return tf.saved_model.load(os.fspath(path))
    except Exception as error:  # TensorFlow raises anything on a damaged folder
        text = next((t for t in str(error).split("\n") if t.strip()), "")
        msg = f"cannot read {name!r} as a SavedModel: {type(error).__name__}: {text[:300]}"
        raise NneqError(msg) from error


def _operations(graph: Any) -> set[str]:
    found = {node.op for node in graph.node}
    for function in graph.library.function:
        found |= {node.op for node in function.node_def}
    return found


def _by_signature(loaded: Any, label: str) -> Any:
    signatures = getattr(loaded, "signatures", None)
    names = sorted(signatures or ())
    if signatures and "serving_default" in names:
        return signatures["serving_default"]
    if signatures and len(names) == 1:
        return signatures[names[0]]
    for function in (getattr(loaded, "serve", None), loaded.__call__ if callable(loaded) else None):
        known = getattr(function, "concrete_functions", None)
        if known:
            return known[0]
    if names:
        msg = f"{label!r} has several signatures ({', '.join(names)}) and no 'serving_default'"
        raise NneqError(msg)
    msg = (
        f"{label!r} has no signature: save it with tf.saved_model.save(model, path, "
        "signatures=model.__call__.get_concrete_function(...))"
    )
    raise NneqError(msg)


def freeze(function: Any, label: str) -> Any:
    """Return the function with its variables as constants.

    Raises:
        UnsupportedError: when it holds resources that are no variables (tables, iterators).
    """
    try:
        return convert_variables_to_constants_v2(function, lower_control_flow=False)
    except Exception as error:  # TensorFlow raises several classes
        text = next((t for t in str(error).split("\n") if t.strip()), "")
        problem = f"its variables cannot be frozen: {type(error).__name__}: {text[:300]}"
        headline = f"cannot read the TensorFlow model {label!r} as equations"
        raise UnsupportedError(problems_message(headline, [problem])) from error
