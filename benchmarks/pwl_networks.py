"""Random ReLU networks for the piecewise-linear benchmarks, as weights and as nneq networks."""

from __future__ import annotations

import itertools

import numpy as np

from nneq.boundary.problem import Problem
from nneq.ir import Network, Source
from nneq.ir import linear_map as lm
from nneq.lowering.builder import Builder
from nneq.passes.difference import difference

Layers = list[tuple[np.ndarray, np.ndarray]]


def layers(widths: tuple[int, ...], seed: int) -> Layers:
    """Return He-initialised float32 weights ``(n_out, n_in)`` and biases."""
    rng = np.random.default_rng(seed)
    return [
        (
            (rng.standard_normal((n_out, n_in)) * np.sqrt(2 / n_in)).astype(np.float32),
            (rng.standard_normal(n_out) * 0.3).astype(np.float32),
        )
        for n_in, n_out in itertools.pairwise(widths)
    ]


def moons(widths: tuple[int, ...], seed: int, epochs: int = 400) -> Layers:
    """Return a network trained on two half moons (full-batch Adam in NumPy)."""
    rng = np.random.default_rng(seed)
    t = rng.uniform(0, np.pi, 400)
    x = np.concatenate(
        [
            np.stack([np.cos(t), np.sin(t)], 1),
            np.stack([1 - np.cos(t), 0.5 - np.sin(t)], 1),
        ]
    )
    x += 0.1 * rng.standard_normal(x.shape)
    y = np.repeat([0, 1], 400)
    found = [[W.astype(float), b.astype(float)] for W, b in layers(widths, seed)]
    moments = [[np.zeros_like(p) for p in pair for _ in range(2)] for pair in found]
    for step in range(1, epochs + 1):
        values, h = [x], x
        for k, (W, b) in enumerate(found):
            h = h @ W.T + b
            if k < len(found) - 1:
                h = np.maximum(h, 0)
            values.append(h)
        p = np.exp(h - h.max(1, keepdims=True))
        p /= p.sum(1, keepdims=True)
        p[np.arange(len(y)), y] -= 1
        grad = p / len(y)
        for k in range(len(found) - 1, -1, -1):
            steps = (grad.T @ values[k], grad.sum(0))
            grad = grad @ found[k][0]
            if k:
                grad = grad * (values[k] > 0)
            for i, g in enumerate(steps):
                m, v = moments[k][2 * i], moments[k][2 * i + 1]
                m += 0.1 * (g - m)
                v += 0.001 * (g * g - v)
                rate = 0.01 * np.sqrt(1 - 0.999**step) / (1 - 0.9**step)
                found[k][i] -= rate * m / (np.sqrt(v) + 1e-8)
    return [(W.astype(np.float32), b.astype(np.float32)) for W, b in found]


def network(found: Layers) -> Network:
    """Return the ReLU network."""
    builder = Builder()
    h = builder.input((1, found[0][0].shape[1]))
    for k, (W, b) in enumerate(found):
        h = builder.linear(h, lm.Dense(W, (1,)), b)
        if k < len(found) - 1:
            h = builder.elementwise("relu", h)
    return builder.build([(h, "z")], source=Source())


def problem(net: Network) -> Problem:
    """Return ``z_1 = z_2``."""
    size = sum(port.size for port in net.inputs)
    names = tuple(f"x_{k + 1}" for k in range(size))
    return Problem(difference(net, 0, 1).network, "z_1 = z_2", names)


def lenet(seed: int = 0) -> Network:
    """Return a LeNet for 28 x 28 images with max pooling."""
    rng = np.random.default_rng(seed)
    builder = Builder()
    h = builder.input((1, 1, 28, 28))
    for c_in, c_out, pad in ((1, 6, 2), (6, 16, 0)):
        W = (rng.standard_normal((c_out, c_in, 5, 5)) * np.sqrt(2 / (25 * c_in))).astype(np.float32)
        b = (rng.standard_normal(c_out) * 0.1).astype(np.float32)
        ones = (1, 1)
        h = builder.conv(h, W, strides=ones, dilations=ones, pads=((pad, pad),) * 2, bias=b)
        h = builder.elementwise("relu", h)
        _, c, height, width = h.shape
        h = builder.max(builder.reshape(h, (1, c, height // 2, 2, width // 2, 2)), (3, 5))
    h = builder.reshape(h, (1, int(np.prod(h.shape))))
    for k, (W, b) in enumerate(layers((h.shape[1], 120, 84, 10), seed)):
        h = builder.linear(h, lm.Dense(W, (1,)), b)
        if k < 2:
            h = builder.elementwise("relu", h)
    return builder.build([(h, "z")], source=Source())
