"""Distances and similarities."""

from __future__ import annotations

import numpy as np

from nneq.adapters.torch.registry import Call, lowers
from nneq.lowering.builder import Value
from nneq.lowering.normalization import lp_norm

__all__: list[str] = []


@lowers("cosine_similarity")
def _cosine(c: Call) -> Value:
    b, axis = c.b, int(c.get("dim", 1))
    shape = np.broadcast_shapes(c.value("x1").shape, c.value("x2").shape)
    first, second = (b.broadcast_to(c.value(name), shape) for name in ("x1", "x2"))
    dot = b.sum(b.multiply(first, second), (axis,))
    small = b.constant(np.float64(c.get("eps", 1e-8)))
    lengths = [b.maximum(lp_norm(b, x, 2, (axis,)), small) for x in (first, second)]
    return b.divide(dot, b.multiply(*lengths))


@lowers("pairwise_distance")
def _pairwise(c: Call) -> Value:
    gap = c.b.subtract(c.value("x1"), c.value("x2"))
    shifted = c.b.add(gap, c.b.constant(np.float64(c.get("eps", 1e-6))))
    return lp_norm(c.b, shifted, float(c.get("p", 2)), (-1,), keepdims=bool(c.get("keepdim")))


@lowers("cdist", "_cdist_forward")
def _cdist(c: Call) -> Value:
    x, y = c.value("x1"), c.value("x2")
    rows = c.b.reshape(x, (*x.shape[:-1], 1, x.shape[-1]))
    columns = c.b.reshape(y, (*y.shape[:-2], 1, *y.shape[-2:]))
    return lp_norm(c.b, c.b.subtract(rows, columns), float(c.get("p", 2)), (-1,))
