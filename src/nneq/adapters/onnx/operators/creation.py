"""Constants, shapes, ranges and casts."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from onnx import TensorProto

from nneq.adapters.onnx.call import Call, operator, retyped
from nneq.adapters.onnx.limits import MAX_CONSTANT, check_size
from nneq.adapters.onnx.tensors import element_dtype
from nneq.errors import NneqError
from nneq.lowering import Value

__all__ = []

Array = np.ndarray[Any, Any]

_KINDS = {
    "value": None,
    "sparse_value": None,
    "value_float": np.float32,
    "value_floats": np.float32,
    "value_int": np.int64,
    "value_ints": np.int64,
}


@operator("Constant")
def constant(call: Call) -> Value:
    """A stored tensor."""
    for name, kind in _KINDS.items():
        found = call.attribute(name)
        if found is not None:
            return call.builder.constant(np.asarray(found, dtype=kind))
    msg = "a constant that is text" if len(call.node.attribute) else "a constant without a value"
    raise call.refuse(msg)


@operator("ConstantOfShape")
def constant_of_shape(call: Call) -> Value:
    """One number everywhere; kept as a view, so that it takes no memory."""
    shape = call.integers(0, "the shape") or []
    value = call.attribute("value")
    fill = np.zeros(1, dtype=np.float32) if value is None else np.asarray(value).reshape(-1)
    if fill.size != 1:
        msg = "value must hold one number"
        raise NneqError(msg)
    check_size(shape, 8 * MAX_CONSTANT)
    return call.builder.constant(np.broadcast_to(fill[0], tuple(shape)))


@operator("EyeLike")
def eye_like(call: Call) -> Value:
    """Ones on a diagonal, in the shape of the operand."""
    x = call.input(0)
    if len(x.shape) != 2:
        msg = f"a diagonal of a tensor of shape {x.shape}"
        raise NneqError(msg)
    check_size(x.shape, MAX_CONSTANT)
    code = call.attribute("dtype")
    kind = x.dtype if code is None else element_dtype(int(code))
    return call.builder.constant(np.eye(*x.shape, k=int(call.attribute("k")), dtype=kind))


@operator("Shape")
def shape(call: Call) -> Value:
    """The shape of the operand, for one sample."""
    sizes = call.input(0).shape
    if call.since >= 15:
        end = call.attribute("end")
        sizes = sizes[int(call.attribute("start")) : None if end is None else int(end)]
    return call.builder.constant(np.array(sizes, dtype=np.int64))


@operator("Size")
def size(call: Call) -> Value:
    """The number of entries of the operand, for one sample."""
    return call.builder.constant(np.array(call.input(0).size, dtype=np.int64))


@operator("Range")
def range_(call: Call) -> Value:
    """``start, start + delta, ...`` before ``limit``."""
    start, limit, delta = (call.number(k, n) for k, n in enumerate(("start", "limit", "delta")))
    kind = call.input(0).dtype
    if not delta or not all(math.isfinite(n) for n in (start, limit, delta)):
        msg = "a range needs finite numbers and a step that is not 0"
        raise NneqError(msg)
    count = max(0, math.ceil((limit - start) / delta))
    check_size((count,), MAX_CONSTANT, "the range")
    return call.builder.constant((start + delta * np.arange(count)).astype(kind))


@operator("Cast", "CastLike")
def cast(call: Call) -> Value:
    """The operand in another element type.

    Between floating types a live value is not rounded: equations are over the real numbers, and a
    note says so.
    """
    x = call.input(0)
    if call.node.op_type == "CastLike":
        kind = call.input(1).dtype
        code = call.walk.codes.get(call.node.input[1], 0) if call.walk.depth == 0 else 0
    else:
        code = int(call.attribute("to"))
        if code == TensorProto.STRING:
            msg = "a cast to text; remove it"
            raise call.refuse(msg)
        kind = element_dtype(code)
    if x.array is not None:
        return _constant_cast(call, x, kind, code)
    if kind.kind == "f" and x.dtype.kind == "f":
        if _narrow(code):
            msg = "a cast of a live value to an 8-bit float rounds coarsely; export in float32"
            raise call.refuse(msg)
        if kind.itemsize < x.dtype.itemsize or code == TensorProto.BFLOAT16:
            call.walk.notes.append(
                f"casts to {kind.name if code != TensorProto.BFLOAT16 else 'bfloat16'} are read "
                "as exact: the equations do not round"
            )
    if kind.kind in "iu" and x.dtype.kind == "f":
        return retyped(call.builder.cast(x, np.int64), kind)
    return call.builder.cast(x, kind)


def _narrow(code: int) -> bool:
    return code in {
        TensorProto.FLOAT8E4M3FN, TensorProto.FLOAT8E4M3FNUZ, TensorProto.FLOAT8E5M2,
        TensorProto.FLOAT8E5M2FNUZ,
    }  # fmt: skip


def _constant_cast(call: Call, x: Value, kind: np.dtype[Any], code: int) -> Value:
    array: Array = np.asarray(x.array)
    if _narrow(code) or code in {TensorProto.BFLOAT16, TensorProto.INT4, TensorProto.UINT4}:
        from onnx import helper

        exact = helper.tensor_dtype_to_np_dtype(code)
        with np.errstate(all="ignore"):
            return call.builder.constant(array.astype(np.float32).astype(exact).astype(kind))
    if array.size > 1 and all(stride == 0 for stride in array.strides):
        one = call.builder.cast(call.builder.constant(array[(0,) * array.ndim]), kind)
        return call.builder.constant(np.broadcast_to(np.asarray(one.array), array.shape))
    return call.builder.cast(x, kind)


@operator("Trilu")
def trilu(call: Call) -> Value:
    """The upper or the lower triangle, zero elsewhere."""
    x = call.input(0)
    offset = call.number(1, "k") or 0
    if len(x.shape) < 2:
        msg = f"a triangle of a tensor of shape {x.shape}"
        raise NneqError(msg)
    rows, columns = np.arange(x.shape[-2])[:, None], np.arange(x.shape[-1])
    gap = columns - rows
    keep = gap >= offset if call.attribute("upper") else gap <= offset
    if x.array is not None:
        return call.builder.constant(np.where(keep, x.array, np.zeros((), dtype=x.dtype)))
    return retyped(call.builder.scale(x, keep.astype(np.float64)), x.dtype)
