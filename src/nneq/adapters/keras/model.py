"""From a Keras model, or the file of one, to a network."""

from __future__ import annotations

import dataclasses
import itertools
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from nneq.adapters.base import Imported
from nneq.adapters.keras import (  # noqa: F401  # tables fill themselves
    graph,
    layers_basic,
    layers_preprocessing,
    layers_recurrent,
    layers_refused,
    ops_elementwise,
    ops_image,
    ops_linear,
    ops_normal,
    ops_reduce,
    ops_shape,
)
from nneq.adapters.keras.load import load_model
from nneq.adapters.keras.walk import Walk, plain_dtype
from nneq.errors import NneqError, UnsupportedError, problems_message
from nneq.ir.network import Port, Source
from nneq.lowering import Builder, Value
from nneq.passes import tidy

__all__ = ["import_model"]

Array = np.ndarray[Any, Any]

_REMEDY = (
    "what Keras layers and operations are read, and what to do about the others, "
    "is listed in docs/keras.md"
)


def import_model(
    model: Any,
    *,
    example_inputs: Any = None,
    input_names: Sequence[str] | None = None,
    output_names: Sequence[str] | None = None,
) -> Imported:
    """Return the network of a Keras model, with the model's own forward pass beside it.

    Args:
        model: a built ``keras.Model``, or the path of a ``.keras`` or ``.h5`` file.
        example_inputs: arrays (with a batch axis) in the structure that the model is called with;
            needed when the model does not say the shapes of its inputs.
        input_names: labels of the input entries, or of the input tensors.
        output_names: labels of the output entries, or of the output tensors.

    Returns:
        The network (batch axis of extent 1) and the reference ``model(x, training=False)``.

    Raises:
        NneqError: when the file or the model cannot be read: not built, unknown input shape.
        UnsupportedError: one error that names every layer and operation outside what nneq reads.

    Guarantee: exact; the network is the real-number function of the stored weights.
    """
    label = ""
    if isinstance(model, str | os.PathLike):
        label = Path(model).name
        model = load_model(Path(model))
    if not isinstance(model, keras.layers.Layer):
        msg = f"expected a keras.Model, a layer or the path of a model, got {type(model).__name__}"
        raise NneqError(msg)
    _check_finite(model)
    structure = _input_structure(model, example_inputs)
    builder = Builder()
    walk = Walk(builder)
    specs = keras.tree.flatten(structure)
    walk.open_axes = graph.input_structure(model) is not None and any(
        None in tensor.shape[1:] for tensor in keras.tree.flatten(graph.input_structure(model))
    )
    batched = [spec.shape[:1] == (None,) for spec in specs]
    labels = _tensor_labels(input_names, len(specs), [spec.name for spec in specs])
    values = []
    for spec, name, free in zip(specs, labels, batched, strict=True):
        shape = _concrete(spec, free)
        kind = plain_dtype(spec.dtype)
        values.append(builder.input(shape, label=name, dtype=kind, batched=free))
    builder.ports[:] = _entry_labels(builder.ports, input_names)
    given = keras.tree.pack_sequence_as(structure, values)
    builder.origin = model.name
    with graph.preserved_nodes(model):
        outputs = _outputs(walk, model, given)
    if walk.problems:
        headline = f"cannot read the Keras model {model.name!r} as equations"
        raise UnsupportedError(problems_message(headline, walk.problems, _REMEDY))
    network = _finish(walk, model, outputs, all(batched), label, output_names)
    return Imported(network, _reference(model, structure), batches=all(batched))


def _check_finite(model: Any) -> None:
    """Raise when a weight is NaN or infinite."""
    problems = []
    for weight in model.weights:
        values = np.asarray(keras.ops.convert_to_numpy(weight.value))
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            problems.append(f"weight {weight.path!r} holds NaN or infinity")
    if problems:
        headline = f"the weights of {model.name!r} are no numbers"
        remedy = "load the weights of a training run that converged"
        raise NneqError(problems_message(headline, problems[:20], remedy))


def _outputs(walk: Walk, model: Any, given: Any) -> list[tuple[Value, str]]:
    try:
        if graph.is_functional(model):
            flat = keras.tree.flatten(given)
            known = {id(t): v for t, v in zip(model.inputs, flat, strict=True)}
            values = walk.run(model.outputs, known)
            for tensor in model.outputs:
                if tensor.shape[:1] != (None,) and model.inputs[0].shape[:1] == (None,):
                    msg = f"the output {tensor.name!r} {tuple(tensor.shape)} has no batch axis"
                    walk.problems.append(msg)
            names = list(getattr(model, "output_names", None) or [])
        else:
            found = walk.top(model, given)
            values, names = keras.tree.flatten(found), []
    except UnsupportedError as error:
        if not walk.problems:
            walk.problems.append(f"model {model.name!r} ({type(model).__name__}): {error}")
        return []
    if len(names) != len(values):
        names = [f"output_{k + 1}" for k in range(len(values))]
    return list(zip(values, names, strict=True))


def _finish(
    walk: Walk,
    model: Any,
    outputs: list[tuple[Value, str]],
    batched: bool,
    label: str,
    output_names: Sequence[str] | None,
) -> Any:
    builder = walk.b
    labels = _tensor_labels(output_names, len(outputs), [name for _, name in outputs])
    pairs = [(value, name) for (value, _), name in zip(outputs, labels, strict=True)]
    entries = None
    if output_names is not None and sum(v.size for v, _ in pairs) == len(output_names):
        cuts = np.cumsum([0, *(v.size for v, _ in pairs)])
        entries = [tuple(output_names[a:b]) for a, b in itertools.pairwise(cuts)]
    notes = tuple(walk.notes)
    if walk.half:
        notes += (f"Keras runs the model in {walk.half}; the equations do not round",)
    source = Source(
        framework="keras",
        label=label or model.name,
        details=(("keras", keras.__version__), ("backend", keras.backend.backend())),
        notes=notes,
    )
    coarse = keras.backend.backend() != "tensorflow" or bool(walk.notes)
    if coarse:
        builder.ports[:] = [_single(port) for port in builder.ports]
    flags = [batched and value.shape[:1] == (1,) for value, _ in pairs]
    network = builder.build(pairs, source=source, batched=flags, entry_labels=entries)
    if coarse:
        network = dataclasses.replace(network, outputs=tuple(map(_single, network.outputs)))
    if walk.half:
        halved = tuple(dataclasses.replace(p, dtype=walk.half) for p in network.outputs)
        network = dataclasses.replace(network, outputs=halved)
    return tidy(network)


def _single(port: Port) -> Port:
    """Return the port with the precision that Keras computes in on this backend.

    Only on TensorFlow are float64 products computed in float64 (Keras' type promotion).
    """
    return dataclasses.replace(port, dtype="float32") if port.dtype == "float64" else port


def _tensor_labels(names: Sequence[str] | None, count: int, own: list[str]) -> list[str]:
    return list(names) if names is not None and len(names) == count else own


def _entry_labels(ports: list[Any], names: Sequence[str] | None) -> list[Any]:
    total = sum(port.size for port in ports)
    if names is None or len(names) == len(ports) != total:
        return list(ports)
    if len(names) != total:
        msg = f"expected {total} input names (one per entry) or {len(ports)}, got {len(names)}"
        raise NneqError(msg)
    cuts = np.cumsum([0, *(port.size for port in ports)])
    return [
        dataclasses.replace(port, entry_labels=tuple(names[a:b]))
        for port, a, b in zip(ports, cuts, cuts[1:], strict=False)
    ]


# ---------------------------------------------------------------------- inputs
def _input_structure(model: Any, example: Any) -> Any:
    """Return the symbolic inputs, in the structure the model is called with."""
    structure = graph.input_structure(model)
    if structure is None and example is None:
        structure = _from_build(model)
    if example is not None:
        structure = _from_example(model, structure, example)
    if structure is None:
        msg = (
            f"the Keras model {model.name!r} ({type(model).__name__}) does not know the shape of "
            "its inputs: it was never built; call it once on data, or give example_inputs="
        )
        raise NneqError(msg)
    return structure


def _from_build(model: Any) -> Any:
    shapes = graph.known_shapes(model)
    if shapes is None or not model.built:
        return None

    def leaf(shape: Any) -> bool:
        return isinstance(shape, list | tuple) and all(
            s is None or isinstance(s, int) for s in shape
        )

    count = iter(range(1, 1 << 30))

    def build(shape: Any) -> Any:
        if leaf(shape):
            return keras.KerasTensor((None, *shape[1:]), name=f"input_{next(count)}")
        if isinstance(shape, dict):
            return {key: build(value) for key, value in shape.items()}
        return [build(value) for value in shape]

    return build(shapes)


def _from_example(model: Any, structure: Any, example: Any) -> Any:
    """Return the symbolic inputs with the extents of the example (axis 0 stays free)."""
    arrays = keras.tree.map_structure(_as_array, example)
    if structure is not None:
        flat = keras.tree.flatten(arrays)
        specs = keras.tree.flatten(structure)
        if len(flat) != len(specs):
            msg = f"the model takes {len(specs)} input tensors, example_inputs holds {len(flat)}"
            raise NneqError(msg)
        problems = []
        for spec, array in zip(specs, flat, strict=True):
            fits = len(spec.shape) == array.ndim and all(
                s is None or s == n for s, n in zip(spec.shape, array.shape, strict=True)
            )
            if not fits:
                problems.append(f"{spec.name!r} takes {tuple(spec.shape)}, not {array.shape}")
        if problems:
            raise NneqError(problems_message("example_inputs does not fit the model", problems))
        made = [
            keras.KerasTensor((spec.shape[0], *array.shape[1:]), dtype=spec.dtype, name=spec.name)
            for spec, array in zip(specs, flat, strict=True)
        ]
        if graph.is_functional(model) or graph.is_sequential(model):
            return keras.tree.pack_sequence_as(structure, made)
    count = iter(range(1, 1 << 30))
    return keras.tree.map_structure(
        lambda array: keras.KerasTensor(
            (None, *array.shape[1:]),
            dtype="float32" if array.dtype == np.float64 else array.dtype.name,
            name=f"input_{next(count)}",
        ),
        arrays,
    )


def _as_array(x: Any) -> Array:
    return np.asarray(keras.ops.convert_to_numpy(x) if not isinstance(x, np.ndarray) else x)


def _concrete(spec: Any, free: bool) -> tuple[int, ...]:
    shape = (1, *spec.shape[1:]) if free else tuple(spec.shape)
    if any(size is None for size in shape):
        msg = (
            f"the input {spec.name!r} has the shape {tuple(spec.shape)}: axes of unknown extent; "
            "give example_inputs= with the extents that are meant"
        )
        raise NneqError(msg)
    return tuple(int(size) for size in shape)


def _reference(model: Any, structure: Any) -> Any:
    kinds = [plain_dtype(spec.dtype) for spec in keras.tree.flatten(structure)]

    def forward(arrays: Sequence[Array]) -> list[Array]:
        cast = [np.asarray(a).astype(kind) for a, kind in zip(arrays, kinds, strict=True)]
        found = model(keras.tree.pack_sequence_as(structure, cast), training=False)
        return [np.asarray(keras.ops.convert_to_numpy(x)) for x in keras.tree.flatten(found)]

    return forward
