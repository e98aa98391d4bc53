"""ResNet-20 for 32 x 32 images (He et al. 2016, section 4.2), random, as an nneq network."""

from __future__ import annotations

import numpy as np

from nneq.boundary.problem import Problem
from nneq.ir import Network, Source
from nneq.ir import linear_map as lm
from nneq.lowering.builder import Builder, Value
from nneq.passes.difference import difference

_EPSILON = 1e-5


class _Writer:
    """Writes the network and runs it on a batch of random images, for the batch statistics."""

    def __init__(self, size: int, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.builder = Builder()
        self.h = self.builder.input((1, 3, size, size))
        self.batch = self.rng.standard_normal((16, *self.h.shape))

    def conv(self, h: Value, batch: np.ndarray, channels: int, stride: int):
        """Return a 3 x 3 convolution with its batch norm folded, and its batch."""
        weight = self.rng.standard_normal((channels, h.shape[1], 3, 3))
        weight *= np.sqrt(2 / (9 * h.shape[1]))
        ones, pads = (1, 1), ((1, 1), (1, 1))
        z = lm.Conv(weight, h.shape, (stride,) * 2, ones, pads).apply(batch)
        mean, variance = z.mean(axis=(0, 1, 3, 4)), z.var(axis=(0, 1, 3, 4))
        scale = 1 / np.sqrt(variance + _EPSILON)
        weight = (weight * scale[:, None, None, None]).astype(np.float32)
        bias = (-mean * scale).astype(np.float32)
        out = self.builder.conv(
            h, weight, strides=(stride,) * 2, dilations=ones, pads=pads, bias=bias
        )
        return out, (z - mean[:, None, None]) * scale[:, None, None]

    def shortcut(self, h: Value, batch: np.ndarray, channels: int):
        """Return every second pixel between channels of zeros (option A of the paper)."""
        _, c, height, width = h.shape
        small = (1, c, height // 2, width // 2)
        wide = (1, channels, height // 2, width // 2)
        taken = lm.Slice(h.shape, (0, 0, 0, 0), (1, 1, 2, 2), small)
        place = lm.Place(lm.Slice(wide, (0, (channels - c) // 2, 0, 0), (1, 1, 1, 1), small))
        both = lm.chain(taken, place)
        return self.builder.linear(h, both), both.apply(batch)


def resnet(blocks: int = 3, size: int = 32, width: int = 16, seed: int = 0) -> Network:
    """Return a residual network of three stages with ``6 * blocks + 2`` layers of weights.

    Weights are He-initialised, every batch norm has the statistics of random images and is folded,
    and the mean logits of these images are 0.
    """
    writer = _Writer(size, seed)
    builder = writer.builder
    z, batch = writer.conv(writer.h, writer.batch, width, 1)
    h, batch = builder.elementwise("relu", z), np.maximum(batch, 0)
    for stage in range(3):
        channels = width * 2**stage
        for block in range(blocks):
            stride = 2 if stage and not block else 1
            skip, carried = (h, batch) if stride == 1 else writer.shortcut(h, batch, channels)
            z, inner = writer.conv(h, batch, channels, stride)
            z, inner = writer.conv(
                builder.elementwise("relu", z), np.maximum(inner, 0), channels, 1
            )
            h = builder.elementwise("relu", builder.add(z, skip))
            batch = np.maximum(inner + carried, 0)
    _, c, height, breadth = h.shape
    pixels = height * breadth
    pool = lm.Dense(np.repeat(np.eye(c), pixels, axis=1) / pixels, (1,))
    weight = (writer.rng.standard_normal((10, c)) * np.sqrt(1 / c)).astype(np.float32)
    mean = weight @ batch.mean(axis=(0, 1, 3, 4))
    pooled = builder.linear(builder.reshape(h, (1, c * pixels)), pool)
    logits = builder.linear(pooled, lm.Dense(weight, (1,)), -mean)
    return builder.build([(logits, "z")], source=Source())


def question(network: Network, i: int = 0, j: int = 1) -> Problem:
    """Return ``z_i = z_j`` (0-based)."""
    size = sum(port.size for port in network.inputs)
    names = tuple(f"x_{k + 1}" for k in range(size))
    return Problem(difference(network, i, j).network, f"z_{i + 1} = z_{j + 1}", names)
