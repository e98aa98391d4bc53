"""The operators by family; importing this package enters them all in ``OPERATORS``."""

from __future__ import annotations

from nneq.adapters.onnx.call import OPERATORS
from nneq.adapters.onnx.operators import (
    arithmetic,
    control,
    convolution,
    creation,
    elementwise,
    indexing,
    layout,
    logic,
    ml,
    normalization,
    ordering,
    pooling,
    products,
    quantization,
    recurrent,
    reduction,
    resizing,
)

__all__ = ["OPERATORS"]

_FAMILIES = (
    arithmetic,
    control,
    convolution,
    creation,
    elementwise,
    indexing,
    layout,
    logic,
    ml,
    normalization,
    ordering,
    pooling,
    products,
    quantization,
    recurrent,
    reduction,
    resizing,
)
