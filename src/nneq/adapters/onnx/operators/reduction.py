"""Reductions over axes."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from nneq.adapters.onnx.call import Call, operator, retyped, wide
from nneq.errors import NneqError
from nneq.lowering import Builder, Value
from nneq.lowering.ordering import cumulative_sum

__all__ = []

_AXES_AS_INPUT = {"ReduceSum": 13}

Reduce = Callable[[Builder, Value, tuple[int, ...], bool], Value]


def _sum(b: Builder, x: Value, axes: tuple[int, ...], keep: bool) -> Value:
    return b.sum(x, axes, keepdims=keep)


def _mean(b: Builder, x: Value, axes: tuple[int, ...], keep: bool) -> Value:
    return b.mean(x, axes, keepdims=keep)


def _max(b: Builder, x: Value, axes: tuple[int, ...], keep: bool) -> Value:
    return b.max(x, axes, keepdims=keep)


def _min(b: Builder, x: Value, axes: tuple[int, ...], keep: bool) -> Value:
    if x.array is not None:
        return b.constant(x.array.min(axis=axes, keepdims=keep))
    return b.min(x, axes, keepdims=keep)


def _l1(b: Builder, x: Value, axes: tuple[int, ...], keep: bool) -> Value:
    return b.sum(b.elementwise("abs", x), axes, keepdims=keep)


def _l2(b: Builder, x: Value, axes: tuple[int, ...], keep: bool) -> Value:
    return b.elementwise("sqrt", _squares(b, x, axes, keep))


def _squares(b: Builder, x: Value, axes: tuple[int, ...], keep: bool) -> Value:
    return b.sum(b.elementwise("square", x), axes, keepdims=keep)


def _log_sum(b: Builder, x: Value, axes: tuple[int, ...], keep: bool) -> Value:
    return b.elementwise("log", b.sum(x, axes, keepdims=keep))


def _log_sum_exp(b: Builder, x: Value, axes: tuple[int, ...], keep: bool) -> Value:
    return b.logsumexp(x, axes, keepdims=keep)


def _product(b: Builder, x: Value, axes: tuple[int, ...], keep: bool) -> Value:
    """The product, as a tree of products of halves."""
    if x.array is not None:
        return b.constant(np.prod(x.array, axis=axes, keepdims=keep))
    rest = [k for k in range(len(x.shape)) if k not in axes]
    lead = tuple(x.shape[k] for k in rest)
    count = math.prod(x.shape[k] for k in axes)
    flat = b.reshape(b.permute(x, [*rest, *axes]), (*lead, count))
    while flat.shape[-1] > 1:
        half, odd = divmod(flat.shape[-1], 2)
        paired = b.multiply(b.slice_axis(flat, -1, 0, half), b.slice_axis(flat, -1, half, half))
        tail = [b.slice_axis(flat, -1, 2 * half, 1)] if odd else []
        flat = b.concat([paired, *tail], -1) if tail else paired
    kept = tuple(1 if k in axes else s for k, s in enumerate(x.shape))
    return b.reshape(flat, kept if keep else lead)


_REDUCE: dict[str, Reduce] = {
    "ReduceSum": _sum,
    "ReduceMean": _mean,
    "ReduceMax": _max,
    "ReduceMin": _min,
    "ReduceProd": _product,
    "ReduceL1": _l1,
    "ReduceL2": _l2,
    "ReduceSumSquare": _squares,
    "ReduceLogSum": _log_sum,
    "ReduceLogSumExp": _log_sum_exp,
}


@operator(*_REDUCE)
def reduce(call: Call) -> Value:
    """A reduction over the named axes (all when there are none)."""
    name = call.node.op_type
    x = call.input(0)
    rank = len(x.shape)
    given = (
        call.integers(1, "axes")
        if call.since >= _AXES_AS_INPUT.get(name, 18)
        else call.attribute("axes")
    )
    if not given and call.attribute("noop_with_empty_axes"):
        axes: tuple[int, ...] = ()
    else:
        axes = call.axes(given, rank) if given else tuple(range(rank))
    keep = bool(call.attribute("keepdims"))
    if any(x.shape[axis] == 0 for axis in axes) and name not in {
        "ReduceSum", "ReduceL1", "ReduceL2", "ReduceSumSquare",
    }:  # fmt: skip
        return _of_nothing(call, x, axes, keep)
    integral = x.dtype.kind in "iu"
    source = wide(x) if not integral or name in {"ReduceSum", "ReduceMax", "ReduceMin"} else x
    if x.dtype.kind == "b":
        source = retyped(x, np.float64)
    out = _REDUCE[name](call.builder, source, axes, keep)
    if out.array is not None and not integral and x.dtype.kind != "b":
        return out
    return retyped(out, x.dtype)


def _of_nothing(call: Call, x: Value, axes: tuple[int, ...], keep: bool) -> Value:
    """The reduction of no entries where it is a number: an empty product is 1."""
    if call.node.op_type == "ReduceProd":
        shape = [1 if k in axes else s for k, s in enumerate(x.shape) if keep or k not in axes]
        return call.builder.constant(np.ones(call.shape(shape), dtype=x.dtype))
    msg = "a reduction of no entries is not a finite number"
    raise call.refuse(msg)


@operator("CumSum")
def cumulative(call: Call) -> Value:
    """The running sum along an axis."""
    x = call.input(0)
    axis = call.number(1, "the axis")
    if axis is None:
        msg = "the axis is missing"
        raise NneqError(msg)
    place = call.axis(int(axis), len(x.shape))
    if x.shape[place] ** 2 > 1 << 25:
        msg = f"a running sum over {x.shape[place]} entries"
        raise call.refuse(msg)
    return cumulative_sum(
        call.builder, x, place, exclusive=bool(call.attribute("exclusive")),
        reverse=bool(call.attribute("reverse")),
    )  # fmt: skip
