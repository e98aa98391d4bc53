"""Masks travel beside tensors by Keras' own rules: ``Layer.__call__`` fills and sets them."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

import keras

from nneq.adapters.keras.tracing import trace
from nneq.lowering import Value

if TYPE_CHECKING:
    from nneq.adapters.keras.walk import Walk

__all__ = ["add_masks", "set_masks"]


def add_masks(walk: Walk, layer: Any, args: Any, kwargs: dict[str, Any]) -> None:
    """Hand the masks of the tensor arguments to ``call``: one goes to ``mask``, several by name."""
    names = list(inspect.signature(layer.call).parameters)
    given = {**dict(zip(names, args, strict=False)), **kwargs}
    tensors = {
        name: value
        for name, value in given.items()
        if any(isinstance(x, Value) for x in keras.tree.flatten(value))
    }
    for name, value in tensors.items():
        target = "mask" if len(tensors) == 1 else f"{name}_mask"
        if target not in names or given.get(target) is not None:
            continue
        mask = keras.tree.map_structure(walk.mask_of, value)
        if any(m is not None for m in keras.tree.flatten(mask)):
            kwargs[target] = mask


def set_masks(walk: Walk, layer: Any, first: Any, outputs: Any, previous: Any) -> None:
    """Give the outputs of a layer the masks that its ``compute_mask`` says.

    Args:
        walk: the import.
        layer: the layer that was called.
        first: its first argument.
        outputs: what it returned.
        previous: the masks of the first argument, in its structure.
    """
    flat = keras.tree.flatten(outputs)
    if not layer.supports_masking:
        for value in flat:
            walk.drop_mask(value)
        return
    plain = type(layer).compute_mask is keras.layers.Layer.compute_mask
    nothing = all(m is None for m in keras.tree.flatten(previous))
    if nothing and (plain or isinstance(layer, keras.Model)):
        return
    if all(walk.mask_of(v) is not None for v in flat):
        return
    masks = previous if plain else trace(walk, layer.compute_mask, (first, previous), {})
    if masks is None:
        return
    for value, mask in zip(flat, keras.tree.flatten(masks), strict=False):
        if mask is not None and walk.mask_of(value) is None:
            walk.set_mask(value, mask)
