"""The weights of a chain of plain layers, read without walking the model again."""

from __future__ import annotations

import inspect
from typing import Any

import keras
import numpy as np

from nneq.adapters.base import Weights
from nneq.adapters.keras import graph

__all__ = ["weights_of"]

_NOTHING = (keras.layers.InputLayer, keras.layers.Dropout, keras.layers.Identity)


def weights_of(model: Any) -> Weights | None:
    """Return structure and weights, or None for a model that has to be read in full.

    Args:
        model: any model; read are Keras' own Sequential and functional models of Dense layers,
            layers that do nothing at inference, and Keras' own activations.
    """
    own = type(model).__module__.startswith("keras.src.")
    if not own or not (graph.is_sequential(model) or graph.is_functional(model)):
        return None
    if "call" in vars(model):
        return None
    structure: list[Any] = [model]
    arrays = []
    for layer in model.layers:
        if "call" in vars(layer):
            return None
        if type(layer) in _NOTHING:
            structure.append(layer)
            continue
        if type(layer) not in {keras.layers.Dense, keras.layers.Activation}:
            return None
        activation = layer.activation
        if not inspect.isfunction(activation):  # a layer as activation has settings of its own
            return None
        if not activation.__module__.startswith("keras.src."):
            return None
        structure += [layer, activation, layer.compute_dtype]
        if type(layer) is keras.layers.Dense:
            if layer.quantization_mode is not None or not layer.built:
                return None
            for weight in (layer.kernel, layer.bias):
                if weight is not None:
                    own = keras.ops.convert_to_numpy(weight)  # maybe the model's own memory
                    array = np.array(own)
                    arrays.append(array.T)
                    structure += [array.shape, array.dtype]
                else:
                    structure.append(None)
    return Weights(tuple(structure), tuple(arrays))
