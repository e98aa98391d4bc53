"""Walks a Keras graph and writes it with the builder; one place for masks, weights and problems."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np

from nneq.adapters.keras import graph
from nneq.adapters.keras.masks import add_masks, set_masks
from nneq.adapters.keras.registry import LAYERS, OPERATIONS
from nneq.adapters.keras.tracing import trace
from nneq.errors import NneqError, UnsupportedError
from nneq.lowering import Builder, Value

__all__ = ["Walk", "plain_dtype"]

Array = np.ndarray[Any, Any]

_HARMLESS = frozenset({"__init__", "build", "get_config", "from_config", "compute_output_shape"})
_RANDOM = frozenset(
    {
        "Dropout", "SpatialDropout1D", "SpatialDropout2D", "SpatialDropout3D", "GaussianDropout",
        "GaussianNoise", "AlphaDropout", "BatchNormalization", "SpectralNormalization",
    }
)  # fmt: skip

# Their symbolic shape is not the shape they compute (Keras 3.13 to 3.15).
_MISSTATED = frozenset(
    {"Activation", "AdaptiveAveragePool", "AdaptiveMaxPool", "DotProductAttention", "Glu"}
)

_ABOUT_SHAPES = frozenset({"Size", "Ndim"})


class Walk:
    """The state of one import.

    Args:
        builder: what the network is written with.
    """

    def __init__(self, builder: Builder) -> None:
        self.b = builder
        self.problems: list[str] = []
        self.notes: list[str] = []
        self.open_axes = False
        self.half = ""
        self._path: list[str] = []
        self._masks: dict[int, tuple[Value, Value]] = {}
        self._weights: dict[int, tuple[Any, Value]] = {}
        self._poisoned: dict[int, Value] = {}
        self.forced = True

    # ------------------------------------------------------------------ values
    def value(self, x: Any) -> Value:
        """Return a live value as it is, anything else (weight, array, number) as a constant.

        Weights keep their stored precision; the same weight gives the same array every time.
        """
        if isinstance(x, Value):
            return x
        if isinstance(x, bool | int | float | np.ndarray | np.generic):
            return self.b.constant(_plain(np.asarray(x)))
        if isinstance(x, list | tuple):
            parts = [self.value(part) for part in x]
            if all(part.array is not None for part in parts):
                return self.b.constant(np.asarray([part.array for part in parts]))
            return self.b.stack(parts, 0)
        known = self._weights.get(id(x))
        if known is None:
            array = np.asarray(keras.ops.convert_to_numpy(x))
            known = (x, self.b.constant(_plain(array)))
            self._weights[id(x)] = known
        return known[1]

    def array(self, x: Any) -> Array:
        """Return the array of a constant operand.

        Raises:
            UnsupportedError: when the operand depends on the inputs.
        """
        return self.b.array(self.value(x))

    def move(self, x: Value, change: Callable[[Array], Array]) -> Value:
        """Return the value with its entries moved as ``change`` moves those of an array."""
        if x.array is not None:
            return self.b.constant(np.asarray(change(x.array)))
        places = np.arange(x.size, dtype=np.int64).reshape(x.shape)
        return self.b.take(x, np.ascontiguousarray(change(places)))

    def setting(self, x: Value, number: Any) -> float:
        """Return a layer's number as the backend uses it beside ``x``.

        TensorFlow turns Python numbers into float32 even in float64 models.
        """
        if x.dtype == np.float64 and keras.backend.backend() == "tensorflow":
            return float(np.float32(number))
        return float(number)

    def in_single(self, what: str) -> None:
        """Note that the backend computes ``what`` in float32 although the model is float64."""
        note = f"the {keras.backend.backend()} backend computes {what} in float32"
        if note not in self.notes:
            self.notes.append(note)

    def mask_of(self, x: Any) -> Value | None:
        """Return the mask that travels with a value, or None."""
        found = self._masks.get(id(x))
        return None if found is None else found[1]

    def drop_mask(self, x: Value) -> None:
        """Let no mask travel with a value."""
        self._masks.pop(id(x), None)

    def set_mask(self, x: Value, mask: Value) -> None:
        """Let a mask travel with a value."""
        self._masks[id(x)] = (x, mask)

    # ------------------------------------------------------------------ graphs
    def run(self, outputs: Sequence[Any], known: dict[int, Value]) -> list[Value]:
        """Return the values of symbolic tensors.

        Args:
            outputs: the symbolic tensors that are wanted.
            known: values by ``id`` of the tensors that are given; filled on the way.

        Raises:
            UnsupportedError: when a tensor does not depend on the given ones.
        """
        stack = list(outputs)
        while stack:
            tensor = stack[-1]
            if id(tensor) in known:
                stack.pop()
                continue
            node = graph.find_node(tensor)
            if node is None or node.is_input:
                name = getattr(tensor, "name", "?")
                msg = f"the tensor {name!r} is not computed from the model's inputs"
                raise UnsupportedError(msg)
            missing = [t for t in node.input_tensors if id(t) not in known]
            if missing:
                stack.extend(missing)
                continue
            args, kwargs = node.arguments.fill_in(known)
            stated = all(self._fits(known[id(t)], t) for t in node.input_tensors)
            self._check_samples(node)
            specs = node.output_tensors
            found = self._guarded(node.operation, args, kwargs, specs, stated)
            known.update({id(t): v for t, v in zip(node.output_tensors, found, strict=True)})
        return [known[id(tensor)] for tensor in outputs]

    def _guarded(
        self, operation: Any, args: Any, kwargs: Any, specs: Sequence[Any], stated: bool
    ) -> list[Value]:
        """Lower one call; a problem is noted, and the walk goes on with stand-ins.

        ``stated`` says whether Keras knows the shapes of the arguments, hence of the results.
        """
        stated = stated and type(operation).__name__ not in _MISSTATED
        self._path.append(operation.name)
        outer, self.b.origin = self.b.origin, "/".join(self._path)
        before = len(self.problems)
        inputs = [x for x in keras.tree.flatten((args, kwargs)) if isinstance(x, Value)]
        poisoned = any(id(x) in self._poisoned for x in inputs)
        try:
            found = keras.tree.flatten(self.apply(operation, args, kwargs))
            pairs = list(zip(found, specs, strict=True))
            found = [self._fitted(v, spec, inputs, stated) for v, spec in pairs]
        except UnsupportedError as error:
            if not poisoned and len(self.problems) == before:
                self.problem(operation, str(error))
            found = [self._stand_in(spec) for spec in specs]
        except (NneqError, ValueError, TypeError, IndexError, AttributeError, KeyError) as error:
            if not poisoned and len(self.problems) == before:
                text = str(error).strip().split("\n")[0]
                self.problem(operation, f"could not be read ({type(error).__name__}: {text})")
            found = [self._stand_in(spec) for spec in specs]
        finally:
            self._path.pop()
            self.b.origin = outer
        return found

    def problem(self, operation: Any, text: str) -> None:
        """Note what stands in the way; every problem is in the one error at the end."""
        kind = type(operation).__name__
        sort = "layer" if isinstance(operation, keras.layers.Layer) else "operation"
        self.problems.append(f"{sort} {self.b.origin!r} ({kind}): {text}")

    def _fitted(self, value: Value, spec: Any, inputs: list[Value], stated: bool) -> Value:
        """Check the shape against Keras' own and take over the element type."""
        if stated and not self._fits(value, spec):
            msg = f"nneq reads the shape {value.shape} where Keras has {tuple(spec.shape)}"
            raise UnsupportedError(msg)
        kind = plain_dtype(spec.dtype)
        if value.array is not None and (value.dtype.kind == "f") != (kind.kind == "f"):
            return self.b.constant(value.array.astype(kind))
        if any(value is x for x in inputs) or (value.array is None and kind != value.dtype):
            kept = value.dtype if value.array is not None else kind
            fresh = dataclasses.replace(value, dtype=kept)
            mask = self.mask_of(value)
            if mask is not None:
                self.set_mask(fresh, mask)
            return fresh
        return value

    def _fits(self, value: Value, spec: Any) -> bool:
        """Return whether the shape is the stated one; an unstated axis 0 is the batch axis."""
        return len(value.shape) == len(spec.shape) and all(
            have == want or (want is None and (axis > 0 or have == 1 or self.open_axes))
            for axis, (have, want) in enumerate(zip(value.shape, spec.shape, strict=True))
        )

    def _check_samples(self, node: Any) -> None:
        """Note a call that computes across the samples of a batch."""
        first = next(iter(keras.tree.flatten((node.arguments.args, node.arguments.kwargs))), None)
        if (
            not isinstance(first, keras.KerasTensor)
            or first.shape[:1] != (None,)
            or isinstance(node.operation, keras.layers.Layer)
        ):
            return
        operation = node.operation
        axis = getattr(operation, "axis", None)
        across = isinstance(axis, int) and axis % len(first.shape) == 0
        across = across and type(operation).__name__ not in {"Stack", "ExpandDims", "OneHot"}
        lost = all(None not in t.shape for t in node.output_tensors)
        if across or (lost and type(operation).__name__ not in _ABOUT_SHAPES):
            msg = "it computes across the samples of a batch, so it is no function of one sample"
            self.b.origin = operation.name
            self.problem(operation, msg)

    def _stand_in(self, spec: Any) -> Value:
        shape = tuple(1 if size is None else int(size) for size in spec.shape)
        value = self.b.input(shape, label="stand-in")
        self.b.ports.pop()
        self._poisoned[id(value)] = value
        return value

    # ------------------------------------------------------------------ calls
    def apply(self, operation: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        """Return the values that a layer or an operation makes of its arguments."""
        if isinstance(operation, keras.layers.Layer):
            return self._apply_layer(operation, args, kwargs)
        lowering = OPERATIONS.get(type(operation).__name__)
        if lowering is not None and type(operation).__module__.startswith("keras.src."):
            return lowering(self, operation, *args, **kwargs)
        leaves = keras.tree.flatten((args, kwargs))
        if not any(isinstance(x, Value) and x.array is None for x in leaves):
            return self._eager(operation, args, kwargs)
        if type(operation).__module__.startswith("keras.src."):
            msg = "this operation is not supported; write it with the operations in docs/keras.md"
            raise UnsupportedError(msg)
        return trace(self, operation.call, args, kwargs)

    def _eager(self, operation: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        def given(x: Any) -> Any:
            return x.array if isinstance(x, Value) else x

        found = operation.call(
            *keras.tree.map_structure(given, args), **keras.tree.map_structure(given, kwargs)
        )
        return keras.tree.map_structure(self.value, found)

    def _apply_layer(self, layer: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        kwargs = {key: value for key, value in kwargs.items() if value is not None}
        known = self._own_class(layer)
        if layer.compute_dtype in {"float16", "bfloat16"}:
            self.half = layer.compute_dtype
        if kwargs.pop("training", None) is True and not self.forced:
            if known in _RANDOM or isinstance(layer, keras.Model):
                msg = "it is called with training=True: its output is random or needs a batch"
                raise UnsupportedError(msg)
            if known == "":
                kwargs["training"] = True
        add_masks(self, layer, args, kwargs)
        first = args[0] if args else next(iter(kwargs.values()))
        previous = kwargs.get("mask")
        if previous is None:
            previous = keras.tree.map_structure(self.mask_of, first)
        outputs = self._call_layer(layer, known, args, kwargs)
        set_masks(self, layer, first, outputs, previous)
        return outputs

    def _call_layer(self, layer: Any, known: str, args: Any, kwargs: dict[str, Any]) -> Any:
        if not layer.built and not isinstance(layer, keras.Model):
            msg = "it is not built: call the model once on data"
            raise UnsupportedError(msg)
        if known in LAYERS:
            return LAYERS[known](self, layer, *args, **kwargs)
        if graph.is_sequential(layer):
            found = args[0]
            for inner in layer.layers:
                found = self.child(inner, found)
            return found
        if graph.is_functional(layer):
            return self._apply_graph(layer, args[0])
        if getattr(layer, "quantization_mode", None) is not None:
            msg = (
                f"it is quantised ({layer.quantization_mode}): it rounds its inputs by a scale "
                "that depends on them; use the model before quantisation"
            )
            raise UnsupportedError(msg)
        return trace(self, layer.call, args, kwargs)

    def top(self, model: Any, given: Any) -> Any:
        """Return what a model that is no graph makes of its inputs (structured as it is called)."""
        return self.apply(model, (given,), {})

    def child(self, layer: Any, *args: Any, **kwargs: Any) -> Any:
        """Return what an inner layer makes of values (its name joins the origin)."""
        self._path.append(layer.name)
        outer, self.b.origin = self.b.origin, "/".join(self._path)
        try:
            return self.apply(layer, args, kwargs)
        except UnsupportedError as error:
            if str(error):
                self.problem(layer, str(error))
            raise
        finally:
            self._path.pop()
            self.b.origin = outer

    def _own_class(self, layer: Any) -> str:
        """Return the Keras class whose behaviour the layer has, or an empty string.

        A user's subclass counts as its Keras base only when it changes nothing but construction.
        """
        for kind in type(layer).__mro__:
            if kind.__module__.startswith("keras.src."):
                return str(kind.__name__)
            changed = {n for n, v in vars(kind).items() if callable(v)} - _HARMLESS
            if changed:
                return ""
        return ""

    def _apply_graph(self, model: Any, inputs: Any) -> Any:
        structure = graph.input_structure(model)
        if isinstance(inputs, dict) and not isinstance(structure, dict):
            flat = [inputs[tensor.name] for tensor in model.inputs]
        else:
            flat = keras.tree.flatten(inputs)
        known: dict[int, Value] = {}
        for tensor, given in zip(model.inputs, flat, strict=True):
            value = given
            if len(value.shape) == len(tensor.shape) + 1 and value.shape[-1] == 1:
                value = self.b.reshape(value, value.shape[:-1])
            elif len(value.shape) == len(tensor.shape) - 1 and tensor.shape[-1] == 1:
                value = self.b.reshape(value, (*value.shape, 1))
            known[id(tensor)] = value
        found = iter(self.run(model.outputs, known))
        return keras.tree.map_structure(lambda _: next(found), model.output)


def plain_dtype(name: Any) -> np.dtype[Any]:
    """Return the NumPy type that holds a Keras element type."""
    text = str(name)
    if text == "bfloat16" or text.startswith("float8"):
        return np.dtype(np.float32)
    return np.dtype(np.float32) if text == "string" else np.dtype(text)


def _plain(array: Array) -> Array:
    """Return the array in a NumPy type: bfloat16 and float8 become float32, which holds them."""
    if array.dtype.kind == "V" or array.dtype.name.startswith(("bfloat16", "float8")):
        return array.astype(np.float32)
    return array
