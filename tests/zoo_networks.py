"""Small random networks as data, for every test that needs one without a framework."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from nneq.ir import Network, Source
from nneq.lowering import Builder
from nneq.passes import tidy

__all__ = ["mlp"]


def mlp(
    sizes: Sequence[int],
    activation: str = "tanh",
    *,
    seed: int = 0,
    gain: float = 1.0,
    last: str | None = "softmax",
    weights: Sequence[np.ndarray[Any, Any]] | None = None,
    biases: Sequence[np.ndarray[Any, Any]] | None = None,
    dtype: str = "float32",
) -> Network:
    """Return a multilayer perceptron with random (or given) weights.

    Args:
        sizes: widths, inputs first.
        activation: rule of the hidden layers.
        seed: of the weights.
        gain: factor of the random weights, over the square root of the fan-in.
        last: ``softmax``, a rule name, or None.
        weights: ``(n_in, n_out)`` per layer.
        biases: ``(n_out,)`` per layer.
        dtype: stored precision.
    """
    random = np.random.default_rng(seed)
    builder = Builder()
    value = builder.input((1, sizes[0]))
    for layer, (fan_in, fan_out) in enumerate(itertools.pairwise(sizes)):
        w = random.normal(scale=gain / np.sqrt(fan_in), size=(fan_in, fan_out))
        b = random.normal(scale=0.3, size=fan_out)
        w = (w if weights is None else weights[layer]).astype(dtype)
        b = (b if biases is None else biases[layer]).astype(dtype)
        value = builder.add(builder.matmul(value, builder.constant(w)), builder.constant(b))
        if layer < len(sizes) - 2:
            value = builder.elementwise(activation, value)
    if last == "softmax":
        value = builder.softmax(value, -1)
    elif last is not None:
        value = builder.elementwise(last, value)
    return tidy(builder.build([(value, "out")], source=Source()))
