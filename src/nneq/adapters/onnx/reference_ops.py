"""Old forms of operators that ``onnx.reference`` gets wrong, as the ONNX specification has them.

onnx 1.23 runs ``BatchNormalization`` before opset 14 as in training (its default momentum reads as
a request), and ``Softmax``, ``LogSoftmax`` and ``Hardmax`` before opset 13 over one axis instead of
all axes from ``axis`` on.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from onnx.reference.op_run import OpRun

__all__ = ["replacements"]

Array = np.ndarray[Any, Any]


class BatchNormalization(OpRun):  # type: ignore[misc]  # the package has no types
    """Inference with the stored statistics."""

    op_domain = ""

    def _run(
        self, x: Array, scale: Array, bias: Array, mean: Array, var: Array, **options: Any
    ) -> tuple[Array]:
        shape = (1, -1, *(1,) * (x.ndim - 2))
        spread = np.sqrt(var + np.asarray(options.get("epsilon") or 1e-5, dtype=x.dtype))
        centred = (x - mean.reshape(shape)) / spread.reshape(shape)
        return ((centred * scale.reshape(shape) + bias.reshape(shape)).astype(x.dtype),)


def _rows(x: Array, axis: int | None) -> Array:
    place = (1 if axis is None else axis) % max(1, x.ndim)
    return x.reshape(math.prod(x.shape[:place]), -1)


class Softmax(OpRun):  # type: ignore[misc]  # the package has no types
    """Over all axes from ``axis`` on."""

    op_domain = ""

    def _run(self, x: Array, axis: int | None = None) -> tuple[Array]:
        rows = _rows(x, axis)
        weights = np.exp(rows - rows.max(axis=1, keepdims=True))
        found = weights / weights.sum(axis=1, keepdims=True)
        return (found.reshape(x.shape).astype(x.dtype),)


class LogSoftmax(OpRun):  # type: ignore[misc]  # the package has no types
    """Over all axes from ``axis`` on."""

    op_domain = ""

    def _run(self, x: Array, axis: int | None = None) -> tuple[Array]:
        rows = _rows(x, axis)
        shifted = rows - rows.max(axis=1, keepdims=True)
        found = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
        return (found.reshape(x.shape).astype(x.dtype),)


class Hardmax(OpRun):  # type: ignore[misc]  # the package has no types
    """Over all axes from ``axis`` on."""

    op_domain = ""

    def _run(self, x: Array, axis: int | None = None) -> tuple[Array]:
        rows = _rows(x, axis)
        found = np.zeros_like(rows)
        found[np.arange(len(rows)), rows.argmax(axis=1)] = 1
        return (found.reshape(x.shape),)


def replacements(opset: int) -> list[type[OpRun]]:
    """Return the operators to use in place of the package's own at an opset."""
    found: list[type[OpRun]] = []
    if opset < 14:
        found.append(BatchNormalization)
    if opset < 13:
        found += [Softmax, LogSoftmax, Hardmax]
    return found
