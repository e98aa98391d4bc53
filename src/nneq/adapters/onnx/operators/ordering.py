"""Operators that order entries."""

from __future__ import annotations

import numpy as np

from nneq.adapters.onnx.call import Call, operator, retyped
from nneq.adapters.onnx.limits import MAX_CONSTANT, MAX_LIVE, check_size
from nneq.adapters.onnx.operators.indexing import note_levels
from nneq.errors import NneqError
from nneq.lowering import Value
from nneq.lowering.ordering import argmax, argmin, hardmax, one_hot, top_k

__all__ = []


@operator("ArgMax", "ArgMin")
def arg_extreme(call: Call) -> Value:
    """The place of the largest (smallest) entry along an axis."""
    x = call.input(0)
    axis = call.axis(int(call.attribute("axis")), len(x.shape))
    if not x.shape or x.shape[axis] == 0:
        msg = f"an axis without entries in a tensor of shape {x.shape}"
        raise NneqError(msg)
    choose = argmax if call.node.op_type == "ArgMax" else argmin
    return choose(
        call.builder, x, axis, keepdims=bool(call.attribute("keepdims")),
        last=bool(call.attribute("select_last_index")),
    )  # fmt: skip


@operator("Hardmax")
def hard(call: Call) -> Value:
    """1 at the first largest entry, 0 elsewhere; before opset 13 over all axes from ``axis`` on."""
    b, x = call.builder, call.input(0)
    rank = len(x.shape)
    axis = call.axis(int(call.attribute("axis")), rank)
    if call.since >= 13:
        return retyped(hardmax(b, x, axis), x.dtype)
    lead = int(np.prod(x.shape[:axis], dtype=np.int64))
    flat = b.reshape(x, (lead, x.size // max(1, lead)))
    return retyped(b.reshape(hardmax(b, flat, 1), x.shape), x.dtype)


@operator("TopK")
def top(call: Call) -> list[Value]:
    """The k largest (smallest) entries in order, and their places."""
    x = call.input(0)
    axis = call.axis(int(call.attribute("axis")), len(x.shape))
    k = call.attribute("k") if call.since < 10 else call.number(1, "k")
    largest = bool(call.attribute("largest")) if call.since >= 11 else True
    if k is None:
        msg = "k is missing"
        raise NneqError(msg)
    values, indices = top_k(call.builder, x, int(k), axis, largest=largest)
    return [retyped(values, x.dtype), indices]


@operator("OneHot")
def hot(call: Call) -> Value:
    """``on`` at the place each integer names, ``off`` elsewhere."""
    b, index = call.builder, call.input(0)
    depth = call.number(1, "the depth")
    values = call.input(2)
    if depth is None or int(depth) < 1 or values.shape != (2,):
        msg = f"a depth of {depth} with values of shape {values.shape}"
        raise NneqError(msg)
    rank = len(index.shape) + 1
    axis = call.axis(int(call.attribute("axis")), rank)
    size = int(depth)
    full = (*index.shape[:axis], size, *index.shape[axis:])
    check_size(full, MAX_CONSTANT if index.array is not None else MAX_LIVE // 4)
    off, on = b.slice_axis(values, 0, 0, 1), b.slice_axis(values, 0, 1, 1)
    off, on = b.reshape(off, ()), b.reshape(on, ())
    if index.array is not None:
        whole = np.expand_dims(index.array.astype(np.int64), axis)
        places = np.arange(size).reshape([size if a == axis else 1 for a in range(rank)])
        hit = (whole == places) | (whole == places - size)
        if values.array is not None:
            return b.constant(np.where(hit, b.array(on), b.array(off)).astype(values.dtype))
        return retyped(b.where(b.constant(hit), on, off), values.dtype)
    note_levels(b, index, size)
    source = index if index.dtype.kind in "iub" else b.cast(index, np.int64)
    out = one_hot(b, source, size, axis=axis, on=on, off=off, wrap=True)
    return retyped(out, values.dtype)
