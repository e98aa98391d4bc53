"""The weights of a plain ``nn.Sequential``, read without copying and lowering it again."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn

from nneq.adapters.base import Weights
from nneq.adapters.torch.model import unwrapped
from nneq.adapters.torch.sequential import plain_layers, settings_of

__all__ = ["weights_of"]

_FLOATS = {torch.float32, torch.float64}


def weights_of(model: Any) -> Weights | None:
    """Return structure and weights, or None for a model that has to be read in full.

    Args:
        model: any model; read are what the fast path reads, without batch normalisation.
    """
    if not isinstance(model, nn.Module):
        return None
    module = unwrapped(model)
    layers = plain_layers(module)
    if layers is None:
        return None
    structure: list[Any] = [module]
    arrays = []
    for layer in layers:
        structure.append(layer)
        if type(layer) is not nn.Linear:
            structure.append(settings_of(layer))
            continue
        for weight in (layer.weight, layer.bias):
            if weight is None:
                structure.append(None)
                continue
            if type(weight) is not nn.Parameter or weight.dtype not in _FLOATS:
                return None
            structure += [weight.shape, weight.dtype]
            arrays.append(np.array(weight.detach().cpu().numpy()))
    return Weights(tuple(structure), tuple(arrays))
