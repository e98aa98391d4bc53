"""Quantised weights: linear in the integers, so constants become floats again."""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import TensorProto

from nneq.adapters.onnx.call import Call, operator, retyped
from nneq.adapters.onnx.tensors import element_dtype
from nneq.errors import NneqError
from nneq.lowering import Value

__all__ = []

Array = np.ndarray[Any, Any]

_INTEGERS = {
    TensorProto.INT8: (-128, 127),
    TensorProto.UINT8: (0, 255),
    TensorProto.INT16: (-(1 << 15), (1 << 15) - 1),
    TensorProto.UINT16: (0, (1 << 16) - 1),
    TensorProto.INT4: (-8, 7),
    TensorProto.UINT4: (0, 15),
}


def _spread(call: Call, scale: Array, x: Value) -> Array:
    """Return a scale or zero point so that it broadcasts to the operand."""
    if scale.ndim == 0 or scale.size == 1:
        return scale.reshape(())
    axis = call.axis(int(call.attribute("axis")), len(x.shape))
    block = int(call.attribute("block_size") or 0) if call.since >= 21 else 0
    if block and scale.ndim == len(x.shape):
        if -(-x.shape[axis] // block) != scale.shape[axis]:
            msg = f"scales {scale.shape} do not fit blocks of {block} in {x.shape}"
            raise NneqError(msg)
        index = np.arange(x.shape[axis]) // block
        return np.take(scale, index, axis=axis)
    if scale.ndim != 1 or scale.shape[0] != x.shape[axis]:
        msg = f"scales {scale.shape} do not fit axis {axis} of {x.shape}"
        raise NneqError(msg)
    return scale.reshape([-1 if k == axis else 1 for k in range(len(x.shape))])


@operator("DequantizeLinear")
def dequantize(call: Call) -> Value:
    """``(x - zero_point) scale``: affine, so a live integer operand is possible too."""
    b, x = call.builder, call.input(0)
    scale = np.asarray(call.constant(1, "the scale"))
    zero = call.constant(2, "the zero point")
    factor = _spread(call, scale, x).astype(np.float64)
    if x.array is not None:
        shift = 0.0 if zero is None else _spread(call, zero, x).astype(np.float64)
        return b.constant((x.array.astype(np.float64) - shift) * factor)
    if zero is not None and zero.any():
        x = b.subtract(x, b.constant(_spread(call, zero, x).astype(np.float64)))
    return retyped(b.scale(x, factor), scale.dtype)


@operator("QuantizeLinear")
def quantize(call: Call) -> Value:
    """``saturate(round(x / scale) + zero_point)`` of a constant."""
    x = call.input(0)
    if x.array is None:
        msg = (
            "quantising a value that depends on the inputs rounds it; export the float model "
            "(before quantisation)"
        )
        raise call.refuse(msg)
    scale = np.asarray(call.constant(1, "the scale"))
    zero = call.constant(2, "the zero point")
    code = int(call.attribute("output_dtype") or 0) if call.since >= 21 else 0
    if zero is not None:
        kind = zero.dtype
        whole = kind.kind in "iu"
        low, high = (int(np.iinfo(kind).min), int(np.iinfo(kind).max)) if whole else (0, 0)
    else:
        code = code or TensorProto.UINT8
        kind = element_dtype(code)
        low, high = _INTEGERS.get(code, (0, 0))
    if low == high:
        msg = "quantising to an 8-bit float"
        raise call.refuse(msg)
    shift = 0 if zero is None else _spread(call, zero, x).astype(np.float64)
    steps = np.round(x.array / _spread(call, scale, x)) + shift
    return call.builder.constant(np.clip(steps, low, high).astype(kind))
