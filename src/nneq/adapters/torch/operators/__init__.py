"""One file per family of ATen operators; importing this package enters them all."""

from __future__ import annotations

from nneq.adapters.torch.operators import (
    activation as _activation,
    arithmetic as _arithmetic,
    attention as _attention,
    compare as _compare,
    convolution as _convolution,
    distance as _distance,
    index as _index,
    linear as _linear,
    normalization as _normalization,
    pooling as _pooling,
    recurrent as _recurrent,
    reduction as _reduction,
    resize as _resize,
    shape as _shape,
)

__all__ = ["FAMILIES"]

FAMILIES = (
    _activation,
    _arithmetic,
    _attention,
    _compare,
    _convolution,
    _distance,
    _index,
    _linear,
    _normalization,
    _pooling,
    _recurrent,
    _reduction,
    _resize,
    _shape,
)
