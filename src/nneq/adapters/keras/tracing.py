"""Runs Python code written with ``keras.ops`` on symbolic tensors, and the recording on values."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import keras

from nneq.adapters.keras import graph
from nneq.errors import UnsupportedError
from nneq.lowering import Value

if TYPE_CHECKING:
    from nneq.adapters.keras.walk import Walk

__all__ = ["Recording", "record", "replay", "trace"]


@dataclass(frozen=True, eq=False)
class Recording:
    """A function run once on symbolic tensors.

    Args:
        inputs: the symbolic tensors it was given, masks behind their tensors.
        outputs: the structure it returned.
        weights: symbolic tensors that stand for weights, with their values.
    """

    inputs: tuple[Any, ...]
    outputs: Any
    weights: tuple[tuple[Any, Value], ...] = ()


def trace(walk: Walk, function: Callable[..., Any], args: Any, kwargs: dict[str, Any]) -> Any:
    """Return what ``function`` makes of values, by calling it with symbolic tensors.

    Args:
        walk: the import.
        function: written with ``keras.ops`` and layers.
        args: positional arguments, values among them.
        kwargs: keyword arguments.

    Raises:
        UnsupportedError: when the function cannot run on symbolic tensors.
    """
    return replay(walk, record(walk, function, args, kwargs), args, kwargs)


def record(
    walk: Walk, function: Callable[..., Any], args: Any, kwargs: dict[str, Any]
) -> Recording:
    """Return the symbolic run of ``function`` on tensors like the given values.

    A method of a layer that fails is tried once more on a copy of the layer whose weights are
    symbolic too, since ``self.weight * x`` needs that.
    """
    inputs: list[Any] = []
    weights: list[tuple[Any, Value]] = []

    def tensor(value: Value) -> Any:
        made = keras.KerasTensor(value.shape, dtype=value.dtype.name)
        inputs.append(made)
        return made

    def symbol(x: Any) -> Any:
        if not isinstance(x, Value):
            return x
        made = tensor(x)
        mask = walk.mask_of(x)
        if mask is not None:
            graph.attach_mask(made, tensor(mask))
        return made

    def weight(x: Any) -> Any:
        value = walk.value(x)
        weights.append((keras.KerasTensor(value.shape, dtype=value.dtype.name), value))
        return weights[-1][0]

    symbols = keras.tree.map_structure(symbol, (args, kwargs))
    before = graph.random_states(function)
    try:
        found = function(*symbols[0], **symbols[1])
    except UnsupportedError:
        raise
    except Exception as error:  # a model's own code may raise anything
        twin = graph.symbolic_twin(function, weight)
        if twin is None:
            raise UnsupportedError(_untraceable(error)) from error
        try:
            found = twin(*symbols[0], **symbols[1])
        except Exception:  # noqa: BLE001  # the first failure is the one to report
            raise UnsupportedError(_untraceable(error)) from error
    if graph.random_states(function) != before:
        msg = "it draws random numbers, so its output is no function of its inputs"
        raise UnsupportedError(msg)
    return Recording(tuple(inputs), found, tuple(weights))


def replay(walk: Walk, recording: Recording, args: Any, kwargs: dict[str, Any]) -> Any:
    """Return what a recording makes of values of the same structure, shapes and masks."""
    given: list[Value] = []
    for x in keras.tree.flatten((args, kwargs)):
        if isinstance(x, Value):
            mask = walk.mask_of(x)
            given += [x] if mask is None else [x, mask]
    known = {id(t): v for t, v in zip(recording.inputs, given, strict=True)}
    known.update({id(t): v for t, v in recording.weights})
    leaves = [x for x in keras.tree.flatten(recording.outputs) if graph.is_symbol(x)]
    before = len(walk.problems)
    outer, walk.forced = walk.forced, False
    try:
        values = dict(zip(map(id, leaves), walk.run(leaves, known), strict=True))
    finally:
        walk.forced = outer
    if len(walk.problems) > before:
        raise UnsupportedError("")  # already noted, one by one

    def result(x: Any) -> Any:
        if x is None:
            return None
        return values[id(x)] if id(x) in values else walk.value(x)

    return keras.tree.map_structure(result, recording.outputs)


def _untraceable(error: Exception) -> str:
    text = next((t for t in str(error).split("\n") if t.strip()), "").strip()
    return (
        f"its call() cannot run on symbolic tensors ({type(error).__name__}: {text[:160]}); "
        "write it with keras.ops, without data-dependent branches"
    )
