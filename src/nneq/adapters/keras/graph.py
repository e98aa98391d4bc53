"""The few places where a Keras graph is read through attributes that Keras keeps to itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
from keras.src.models.functional import Functional
from keras.src.models.sequential import Sequential
from keras.src.random.seed_generator import global_seed_generator

__all__ = [
    "attach_mask",
    "find_node",
    "input_structure",
    "is_functional",
    "is_sequential",
    "known_shapes",
    "preserved_nodes",
    "random_states",
    "symbolic_twin",
    "traceable",
]


def find_node(tensor: Any) -> Any | None:
    """Return the call that made a symbolic tensor, or None for a tensor nothing made."""
    history = getattr(tensor, "_keras_history", None)
    if history is None or history.operation is None:
        return None
    return history.operation._inbound_nodes[history.node_index]  # noqa: SLF001  # no public way


def is_functional(model: Any) -> bool:
    """Return whether calling the model means running its graph of operations."""
    return isinstance(model, Functional) and type(model).call is Functional.call


def is_sequential(model: Any) -> bool:
    """Return whether calling the model means running its layers one after the other."""
    return isinstance(model, Sequential) and type(model).call is Sequential.call


def input_structure(model: Any) -> Any:
    """Return the structure of symbolic inputs of a graph model, or None when it has none."""
    if isinstance(model, Sequential):
        inner = getattr(model, "_functional", None)
        return None if inner is None else inner.input
    if isinstance(model, Functional):
        return model._inputs_struct  # noqa: SLF001  # `input` differs for dict inputs
    return None


def known_shapes(model: Any) -> Any:
    """Return the input shapes a subclassed model was built with, or None."""
    shapes = getattr(model, "_build_shapes_dict", None)
    if not shapes:
        return None
    return next(iter(shapes.values())) if len(shapes) == 1 else dict(shapes)


def random_states(function: Callable[..., Any]) -> list[list[int]]:
    """Return the states of the random generators that a function of a layer may draw from."""
    generators = [global_seed_generator()]
    layer = getattr(function, "__self__", None)
    generators += [
        value for value in getattr(layer, "__dict__", {}).values()
        if isinstance(value, keras.random.SeedGenerator)
    ]  # fmt: skip
    states = [keras.ops.convert_to_numpy(generator.state) for generator in generators]
    return [[int(k) for k in state.reshape(-1)] for state in states]


def symbolic_twin(
    function: Callable[..., Any], symbol: Callable[[Any], Any]
) -> Callable[..., Any] | None:
    """Return a bound method of a layer on a copy whose weights are symbolic tensors.

    A layer may compute with its weights first (``self.scale * x``), which runs on symbolic tensors
    only when the weights are symbolic too.  The layer itself is not touched.

    Args:
        function: a method of a layer.
        symbol: makes the symbolic tensor of a weight.

    Returns:
        The method, or None when ``function`` is no method of a layer.
    """
    layer = getattr(function, "__self__", None)
    method = getattr(function, "__func__", None)
    if method is None or not isinstance(layer, keras.layers.Layer):
        return None
    made: dict[int, Any] = {}

    def replaced(x: Any) -> Any:
        if isinstance(x, keras.Variable) or (keras.ops.is_tensor(x) and not is_symbol(x)):
            if id(x) not in made:
                made[id(x)] = symbol(x)
            return made[id(x)]
        if callable(x):
            return traceable(x)
        if isinstance(x, list):
            return [replaced(part) for part in x]
        if type(x) is tuple:
            return tuple(replaced(part) for part in x)
        if isinstance(x, dict):
            return {key: replaced(part) for key, part in x.items()}
        return x

    twin = object.__new__(type(layer))
    own = {key: value for key, value in vars(layer).items() if key not in _BOOKKEEPING}
    twin.__dict__.update(vars(layer))
    twin.__dict__.update({key: replaced(value) for key, value in own.items()})
    bound: Callable[..., Any] = method.__get__(twin)
    return bound


_BOOKKEEPING = frozenset(
    {
        "_inbound_nodes", "_outbound_nodes", "_layers", "_metrics", "_trainable_variables",
        "_non_trainable_variables", "_seed_generators", "_losses", "_tracker", "_parameters",
        "_buffers", "_modules", "_torch_params", "_call_context_args", "_self_tracked_trackables",
        "_build_shapes_dict", "_auto_config", "_parent_path",
    }
)  # fmt: skip


def traceable(activation: Callable[..., Any]) -> Callable[..., Any]:
    """Return an activation function in a form that runs on symbolic tensors."""
    if activation is keras.activations.mish:
        return _mish
    return _hard_silu if activation is keras.activations.hard_silu else activation


def is_symbol(x: Any) -> bool:
    """Return whether ``x`` is a symbolic tensor."""
    return isinstance(x, keras.KerasTensor)


def _mish(x: Any) -> Any:
    return x * keras.ops.tanh(keras.ops.softplus(x))


def _hard_silu(x: Any) -> Any:
    return keras.ops.hard_silu(x)


def attach_mask(tensor: Any, mask: Any) -> None:
    """Attach a mask to a symbolic tensor, as Keras layers do."""
    tensor._keras_mask = mask  # noqa: SLF001  # what keras.src.backend.set_keras_mask does


class preserved_nodes:  # noqa: N801  # used like a function in a with statement
    """Forget, on exit, every call that a trace recorded on the model's own layers."""

    def __init__(self, model: Any) -> None:
        self._operations: list[Any] = []
        if isinstance(model, keras.layers.Layer):
            # Keras has no public way to nested layers and the nodes that a call adds.
            found = [model, *model._flatten_layers(include_self=False)]  # noqa: SLF001  # see above
            for layer in found:
                self._operations.append(layer)
                self._operations += getattr(layer, "operations", [])

    def __enter__(self) -> None:
        self._lengths = [
            (len(op._inbound_nodes), len(op._outbound_nodes))  # noqa: SLF001  # as in __init__
            for op in self._operations
        ]

    def __exit__(self, *_: object) -> None:
        for op, (inbound, outbound) in zip(self._operations, self._lengths, strict=True):
            del op._inbound_nodes[inbound:]  # noqa: SLF001  # as in __init__
            del op._outbound_nodes[outbound:]  # noqa: SLF001  # as in __init__
