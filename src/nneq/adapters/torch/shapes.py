"""An example input when none is given: the first layer that fixes its shape."""

from __future__ import annotations

import inspect

import torch
from torch import nn

from nneq.errors import NneqError

__all__ = ["assumed_example"]

_SPATIAL = {
    nn.Conv1d: "(1, {c}, length)",
    nn.Conv2d: "(1, {c}, height, width)",
    nn.Conv3d: "(1, {c}, depth, height, width)",
}


def assumed_example(model: nn.Module) -> tuple[torch.Tensor, str]:
    """Return an example input ``(1, n)`` and the sentence that says what was assumed.

    The first layer with weights decides: a ``Linear`` or ``BatchNorm1d`` fixes the number of
    inputs.

    Raises:
        NneqError: no layer fixes the shape; the message says what to give.
    """
    required = [
        p.name
        for p in inspect.signature(model.forward).parameters.values()
        if p.default is p.empty and p.kind in {p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD}
    ]
    if len(required) != 1:
        listed = ", ".join(required) or "no required ones"
        msg = (
            f"{type(model).__name__}.forward() takes several inputs ({listed}), and their shapes "
            "are not in the model; give example_inputs=(...), or call nneq.watch(model) and run "
            "the model once"
        )
        raise NneqError(msg)
    for name, layer in model.named_modules():
        if isinstance(layer, nn.Linear):
            return _vector(layer.in_features, layer.weight.dtype, name, layer)
        if isinstance(layer, nn.BatchNorm1d) and layer.weight is not None:
            return _vector(layer.num_features, layer.weight.dtype, name, layer)
        if not any(True for _ in layer.parameters(recurse=False)):
            continue
        raise NneqError(_unknown(model, name, layer))
    msg = (
        f"{type(model).__name__} has no layer that fixes the shape of its input; give "
        "example_inputs=..., or call nneq.watch(model) and run the model once"
    )
    raise NneqError(msg)


def _vector(size: int, dtype: torch.dtype, name: str, layer: nn.Module) -> tuple[torch.Tensor, str]:
    example = torch.linspace(-1.0, 1.0, size, dtype=torch.float64).reshape(1, size).to(dtype)
    place = f"{name!r} " if name else ""
    note = (
        f"the input shape (1, {size}) was assumed from the first layer {place}"
        f"({type(layer).__name__}); give example_inputs for another shape"
    )
    return example, note


def _unknown(model: nn.Module, name: str, layer: nn.Module) -> str:
    kind = type(layer).__name__
    if type(layer) in _SPATIAL:
        shape = _SPATIAL[type(layer)].format(c=layer.in_channels)
        missing = f"the input has shape {shape}, and nothing fixes its extents"
    elif isinstance(layer, nn.RNNBase):
        form = "(1, steps, {n})" if layer.batch_first else "(steps, 1, {n})"
        missing = (
            f"the input has shape {form.format(n=layer.input_size)}; steps is not in the model"
        )
    elif isinstance(layer, nn.Embedding | nn.EmbeddingBag):
        missing = f"the input holds integers 0 .. {layer.num_embeddings - 1}; how many is not known"
    else:
        missing = "it does not fix the shape of the input"
    return (
        f"the first layer of {type(model).__name__} is {name or 'the model itself'!r} ({kind}): "
        f"{missing}; give example_inputs=..., or call nneq.watch(model) and run the model once"
    )
