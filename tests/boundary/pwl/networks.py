"""Small networks for the piecewise-linear engines, written with the package's own builder."""

from __future__ import annotations

import itertools
from fractions import Fraction

import numpy as np

from nneq.boundary.problem import Problem
from nneq.ir import Network, Source
from nneq.ir import linear_map as lm
from nneq.lowering.builder import Builder
from nneq.passes.difference import difference


def dense(widths, seed=0, rule="relu", bias=0.3, *, integer=False, **params) -> Network:
    """Return a dense network; float32 weights, or small integers with many ties."""
    rng = np.random.default_rng(seed)
    builder = Builder()
    h = builder.input((1, widths[0]))
    for k, (n_in, n_out) in enumerate(itertools.pairwise(widths)):
        if integer:
            W = rng.integers(-2, 3, (n_out, n_in)).astype(np.float64)
            b = rng.integers(-2, 3, n_out).astype(np.float64)
        else:
            W = (rng.standard_normal((n_out, n_in)) * np.sqrt(2 / n_in)).astype(np.float32)
            b = (rng.standard_normal(n_out) * bias).astype(np.float32)
        h = builder.linear(h, lm.Dense(W, (1,)), b)
        if k < len(widths) - 2:
            h = builder.elementwise(rule, h, **params)
    return builder.build([(h, "z")], source=Source())


def given(layers, rule="relu") -> Network:
    """Return the dense network with the given ``[(W, b), ...]``."""
    builder = Builder()
    h = builder.input((1, np.asarray(layers[0][0]).shape[1]))
    for k, (W, b) in enumerate(layers):
        h = builder.linear(h, lm.Dense(np.asarray(W, float), (1,)), np.asarray(b, float))
        if k < len(layers) - 1:
            h = builder.elementwise(rule, h)
    return builder.build([(h, "z")], source=Source())


def _conv(builder, h, shape, rng, pad=0):
    W = (rng.standard_normal(shape) * np.sqrt(2 / np.prod(shape[1:]))).astype(np.float32)
    b = (rng.standard_normal(shape[0]) * 0.1).astype(np.float32)
    ones = (1, 1)
    return builder.conv(h, W, strides=ones, dilations=ones, pads=((pad, pad),) * 2, bias=b)


def _pool(builder, h):
    _, channels, height, width = h.shape
    h = builder.reshape(h, (1, channels, height // 2, 2, width // 2, 2))
    return builder.max(h, (3, 5))


def lenet(size=12, seed=0, channels=(4, 6)) -> Network:
    """Return convolution, ReLU, max pool, a residual block, and a dense head with PReLU."""
    rng = np.random.default_rng(seed)
    builder = Builder()
    h = builder.input((1, 1, size, size))
    h = builder.elementwise("relu", _conv(builder, h, (channels[0], 1, 3, 3), rng, 1))
    h = _pool(builder, h)
    skip = h
    h = builder.elementwise("relu", _conv(builder, h, (channels[0], channels[0], 3, 3), rng, 1))
    h = builder.add(h, skip)
    h = builder.elementwise("relu", _conv(builder, h, (channels[1], channels[0], 3, 3), rng, 1))
    h = _pool(builder, h)
    flat = int(np.prod(h.shape))
    h = builder.reshape(h, (1, flat))
    W = (rng.standard_normal((10, flat)) * np.sqrt(2 / flat)).astype(np.float32)
    h = builder.linear(h, lm.Dense(W, (1,)), np.zeros(10))
    alpha = np.float32(rng.uniform(0.1, 0.4, 10)).astype(np.float64)
    h = builder.elementwise("leaky_relu", h, alpha=alpha)
    W = (rng.standard_normal((3, 10)) * 0.4).astype(np.float32)
    h = builder.linear(h, lm.Dense(W, (1,)), np.zeros(3))
    return builder.build([(h, "z")], source=Source())


def problem(network: Network, i=0, j=1) -> Problem:
    """Return the question ``z_i = z_j`` (0-based)."""
    size = sum(port.size for port in network.inputs)
    names = tuple(f"x_{k + 1}" for k in range(size))
    return Problem(difference(network, i, j).network, f"z_{i + 1} = z_{j + 1}", names)


def fractions(values) -> list[Fraction]:
    """Return floats as exact fractions."""
    return [Fraction(float(v)) for v in values]


def residual(size=8, width=4, blocks=2, seed=0) -> Network:
    """Return a small residual convolutional network: two stages, then pooling and a dense layer."""
    rng = np.random.default_rng(seed)
    builder = Builder()
    h = builder.input((1, 2, size, size))
    h = builder.elementwise("relu", _conv(builder, h, (width, 2, 3, 3), rng, 1))
    for stage in range(2):
        for _ in range(blocks):
            inner = builder.elementwise("relu", _conv(builder, h, (width, width, 3, 3), rng, 1))
            inner = _conv(builder, inner, (width, width, 3, 3), rng, 1)
            h = builder.elementwise("relu", builder.add(inner, h))
        if not stage:
            half = lm.Slice(h.shape, (0,) * 4, (1, 1, 2, 2), (1, width, size // 2, size // 2))
            h = builder.linear(h, half)
    flat = builder.reshape(h, (1, int(np.prod(h.shape))))
    W = (rng.standard_normal((3, flat.shape[1])) / flat.shape[1]).astype(np.float32)
    return builder.build([(builder.linear(flat, lm.Dense(W, (1,))), "z")], source=Source())
