"""Pooling."""

from __future__ import annotations

from typing import Any

import numpy as np

from nneq.adapters.torch.registry import Call, lowers, unavailable
from nneq.lowering.builder import Value
from nneq.lowering.pooling import average_pool, max_pool, max_pool_indices
from nneq.lowering.resize import resize

__all__: list[str] = []


def _rank(c: Call) -> int:
    return int(next(ch for ch in c.op if ch.isdigit()))


def _framed(c: Call, rank: int) -> tuple[Value, bool]:
    x = c.value("self")
    if len(x.shape) == rank + 2:
        return x, False
    return c.b.reshape(x, (1, *x.shape)), True


def _unframed(c: Call, x: Value, added: bool) -> Value:
    return c.b.reshape(x, x.shape[1:]) if added else x


@lowers(
    "max_pool1d",
    "max_pool2d",
    "max_pool3d",
    "max_pool1d_with_indices",
    "max_pool2d_with_indices",
    "max_pool3d_with_indices",
)
def _max_pool(c: Call) -> Value | list[Value]:
    rank = _rank(c)
    x, added = _framed(c, rank)
    kernel = c.ints("kernel_size", rank)
    padding = c.ints("padding", rank) or (0,) * rank
    options: dict[str, Any] = {
        "strides": c.ints("stride", rank) or kernel,
        "pads": [(p, p) for p in padding],
        "dilations": c.ints("dilation", rank) or (1,) * rank,
        "ceil_mode": bool(c.get("ceil_mode", False)),
    }
    out = _unframed(c, max_pool(c.b, x, kernel, **options), added)
    if not c.op.endswith("indices"):
        return out
    places = max_pool_indices(c.b, x, kernel, **options, per_plane=True)
    return [out, _unframed(c, places, added)]


@lowers("avg_pool1d", "avg_pool2d", "avg_pool3d")
def _avg_pool(c: Call) -> Value:
    rank = _rank(c)
    x, added = _framed(c, rank)
    kernel = c.ints("kernel_size", rank)
    divisor = c.get("divisor_override")
    out = average_pool(
        c.b,
        x,
        kernel,
        strides=c.ints("stride", rank) or kernel,
        pads=[(p, p) for p in c.ints("padding", rank) or (0,) * rank],
        ceil_mode=bool(c.get("ceil_mode", False)),
        count_include_pad=bool(c.get("count_include_pad", True)),
        divisor=None if divisor is None else float(divisor),
    )
    return _unframed(c, out, added)


def _bins(size: int, count: int) -> list[tuple[int, int]]:
    """Return the entries ``[floor(k n / m), ceil((k + 1) n / m))`` of every output ``k``."""
    return [((k * size) // count, -(-((k + 1) * size) // count)) for k in range(count)]


@lowers(
    "adaptive_avg_pool1d",
    "adaptive_avg_pool2d",
    "adaptive_avg_pool3d",
    "_adaptive_avg_pool2d",
    "_adaptive_avg_pool3d",
)
def _adaptive_avg_pool(c: Call) -> Value:
    x, rank = c.value("self"), _rank(c)
    start = len(x.shape) - rank
    targets = c.shapes[0][start:]
    if all(target == 1 for target in targets):
        return c.b.mean(x, list(range(start, len(x.shape))), keepdims=True)
    matrices = {}
    for axis, target in enumerate(targets, start=start):
        matrix = np.zeros((target, x.shape[axis]))
        for k, (low, high) in enumerate(_bins(x.shape[axis], target)):
            matrix[k, low:high] = 1.0 / (high - low)
        matrices[axis] = matrix
    return resize(c.b, x, matrices)


@lowers("adaptive_max_pool1d", "adaptive_max_pool2d", "adaptive_max_pool3d")
def _adaptive_max_pool(c: Call) -> list[Value]:
    """Return the maxima of the bins, each gathered with entries repeated to one size."""
    x, rank = c.value("self"), _rank(c)
    start = len(x.shape) - rank
    out = x
    for axis, target in enumerate(c.shapes[0][start:], start=start):
        bins = _bins(out.shape[axis], target)
        width = max(high - low for low, high in bins)
        index = np.array([[min(low + k, high - 1) for k in range(width)] for low, high in bins])
        out = c.b.max(c.b.gather(out, index, axis), (axis + 1,))
    return [out, unavailable(c.shapes[1])]


@lowers("max_unpool2d", "max_unpool3d", "fractional_max_pool2d", "fractional_max_pool3d")
def _unpool(c: Call) -> Value:
    if c.op.startswith("fractional"):
        raise c.refuse("draws its windows at random; use nn.MaxPool or nn.AdaptiveMaxPool")
    raise c.refuse("writes to places that depend on the inputs")
