"""Random small networks of every node kind, from a seed."""

from __future__ import annotations

from typing import Any

import numpy as np

from nneq.activations import RULES
from nneq.ir import Network, Source
from nneq.lowering import Builder
from nneq.passes import tidy

__all__ = ["SMOOTH_EVERYWHERE", "random_network"]

SMOOTH_EVERYWHERE = sorted(
    name
    for name, rule in RULES.items()
    if rule.kind in {"smooth", "piecewise-linear", "piecewise-smooth"}
    and rule.domain == (-np.inf, np.inf)
    and name not in {"exp", "sinh", "cosh", "tan", "power", "square", "reciprocal"}
)
_INSIDE = ("asin", "acos", "atanh")


def _weights(random: Any, *shape: int) -> Any:
    return (random.normal(size=shape) / np.sqrt(max(1, shape[0]))).astype(np.float32)


def _dense(b: Builder, random: Any, x: Any, width: int) -> Any:
    flat = b.reshape(x, (1, x.size))
    product = b.matmul(flat, b.constant(_weights(random, x.size, width)))
    return b.add(product, b.constant(_weights(random, width)))


def _squashed(b: Builder, x: Any) -> Any:
    return b.scale(b.elementwise("tanh", x), np.array(0.75))


def _step(b: Builder, random: Any, x: Any) -> Any:
    kind = random.integers(0, 14)
    x = b.reshape(x, (1, x.size))
    width = int(random.integers(2, 5))
    match kind:
        case 0 | 1:
            rule = SMOOTH_EVERYWHERE[random.integers(len(SMOOTH_EVERYWHERE))]
            return b.elementwise(rule, _dense(b, random, x, width))
        case 2:
            return b.multiply(
                _dense(b, random, x, 3), b.elementwise("sigmoid", _dense(b, random, x, 3))
            )
        case 3:
            left = b.reshape(_dense(b, random, x, 4), (1, 2, 2))
            right = b.reshape(_dense(b, random, x, 6), (1, 2, 3))
            return b.matmul(b.elementwise("tanh", left), right)
        case 4:
            return b.max(b.reshape(_dense(b, random, x, 6), (1, 3, 2)), (2,))
        case 5:
            test = _dense(b, random, x, width)
            yes, no = _dense(b, random, x, width), b.constant(_weights(random, width))
            return b.select(test, (">", ">=")[kind % 2], yes, b.broadcast_to(no, (1, width)))
        case 6:
            return b.softmax(b.reshape(_dense(b, random, x, 6), (1, 2, 3)), 2)
        case 7:
            return b.softmax(_dense(b, random, x, 3), 1, log=True)
        case 8:
            parts = [b.elementwise("relu", _dense(b, random, x, 2)), x]
            return b.concat(parts, 1)
        case 9:
            image = b.reshape(_dense(b, random, x, 18), (1, 2, 3, 3))
            kernel = random.normal(size=(2, 1, 2, 2)).astype(np.float32)
            out = b.conv(
                image, kernel, strides=(1, 1), dilations=(1, 1), pads=((0, 1), (1, 0)), groups=2
            )
            return b.elementwise("relu", b.slice_axis(out, 2, 0, 2, 1))
        case 10:
            h = b.elementwise("tanh", _dense(b, random, x, x.size))
            return b.add(x, h)
        case 11:
            squared = b.elementwise("square", _dense(b, random, x, 3))
            return b.divide(
                x if x.size == 3 else squared, b.add(squared, b.constant(np.ones((1, 3))))
            )
        case 12:
            rule = _INSIDE[random.integers(len(_INSIDE))]
            return b.elementwise(rule, _squashed(b, _dense(b, random, x, width)))
        case _:
            spread = b.broadcast_to(b.reshape(x, (1, x.size, 1)), (1, x.size, 2))
            return b.sum(b.scale(spread, _weights(random, x.size, 2)), (1,))


def random_network(seed: int, depth: int = 3, *, dtype: str = "float64") -> Network:
    """Return a network with one or two inputs and one or two outputs."""
    random = np.random.default_rng(seed)
    b = Builder()
    first = b.input((1, int(random.integers(1, 4))), dtype=dtype)
    x = first
    if random.random() < 0.3:
        second = b.input((1, 1, 2), dtype=dtype)
        x = b.concat([first, b.reshape(second, (1, 2))], 1)
    middle = x
    for layer in range(depth):
        x = _step(b, random, x)
        if layer == 0:
            middle = x
    outputs = [(x, "out")]
    choice = random.integers(0, 4)
    if choice == 0:
        outputs = [(b.elementwise("sigmoid", _dense(b, random, x, 2)), "out")]
    elif choice == 1:
        outputs = [(b.softmax(_dense(b, random, x, 3), 1), "out"), (middle, "hidden")]
    elif choice == 2:
        outputs = [(_dense(b, random, x, 2), "out"), (first, "copy")]
    return tidy(b.build(outputs, source=Source()))
