"""The operators by family; importing this package enters them all in ``OPERATORS``."""

from __future__ import annotations

from nneq.adapters.onnx.call import OPERATORS
from nneq.adapters.onnx.operators import (
    arithmetic as _arithmetic,
    control as _control,
    convolution as _convolution,
    creation as _creation,
    elementwise as _elementwise,
    indexing as _indexing,
    layout as _layout,
    logic as _logic,
    ml as _ml,
    normalization as _normalization,
    ordering as _ordering,
    pooling as _pooling,
    products as _products,
    quantization as _quantization,
    recurrent as _recurrent,
    reduction as _reduction,
    resizing as _resizing,
)

__all__ = ["OPERATORS"]

_FAMILIES = (
    _arithmetic,
    _control,
    _convolution,
    _creation,
    _elementwise,
    _indexing,
    _layout,
    _logic,
    _ml,
    _normalization,
    _ordering,
    _pooling,
    _products,
    _quantization,
    _recurrent,
    _reduction,
    _resizing,
)
