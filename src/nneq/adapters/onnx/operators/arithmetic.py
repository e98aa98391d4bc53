"""Sums, products and quotients with broadcasting, on numbers and on integers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from nneq.adapters.onnx.call import Call, operator, retyped, wide
from nneq.errors import NneqError
from nneq.lowering import Builder, Value

__all__ = []

Array = np.ndarray[Any, Any]


def _pair(call: Call) -> tuple[Value, Value]:
    """Return both operands, in float64 where the result is computed at once."""
    a, b = call.input(0), call.input(1)
    call.broadcast(a, b)
    if a.array is not None and b.array is not None:
        return wide(a), wide(b)
    return a, b


@operator("Add")
def add(call: Call) -> Value:
    """``a + b``."""
    return call.builder.add(*_pair(call))


@operator("Sub")
def subtract(call: Call) -> Value:
    """``a - b``."""
    a, b = _pair(call)
    if a.array is not None and b.array is not None:
        with np.errstate(over="ignore"):
            return call.builder.constant(np.subtract(a.array, b.array))
    return call.builder.subtract(a, b)


@operator("Mul")
def multiply(call: Call) -> Value:
    """``a * b``."""
    a, b = _pair(call)
    with np.errstate(over="ignore"):
        return _integral(call, call.builder.multiply(a, b))


def _integral(call: Call, out: Value) -> Value:
    """Return the result marked as an integer when both operands are."""
    a, b = call.input(0), call.input(1)
    if out.array is None and a.dtype.kind in "iu" and b.dtype.kind in "iu":
        return retyped(out, np.result_type(a.dtype, b.dtype))
    return out


@operator("Div")
def divide(call: Call) -> Value:
    """``a / b``; integers are divided towards zero."""
    a, b = _pair(call)
    build = call.builder
    if not (a.dtype.kind in "iu" and b.dtype.kind in "iu"):
        _no_zero(b)
        return build.divide(a, b)
    _no_zero(b)
    kind = np.result_type(a.dtype, b.dtype)
    if a.array is not None and b.array is not None:
        quotient = np.abs(a.array) // np.abs(b.array)
        return build.constant((quotient * np.sign(a.array) * np.sign(b.array)).astype(kind))
    if b.array is None:
        msg = "an integer division by a value that depends on the inputs; cast to float first"
        raise call.refuse(msg)
    return retyped(_truncated(build, a, b.array), kind)


def _no_zero(b: Value) -> None:
    if b.array is not None and b.dtype.kind in "iu" and not np.all(b.array):
        msg = "a division by the constant 0"
        raise NneqError(msg)


def _truncated(b: Builder, a: Value, divisor: Array) -> Value:
    """Return whole ``a`` divided towards zero: half a step keeps exact quotients whole."""
    exact = divisor.astype(np.float64)
    share = b.scale(a, 1.0 / exact)
    half = b.scale(b.elementwise("sign", a), 0.5 / exact)
    return b.elementwise("trunc", b.add(share, half))


@operator("Mod")
def modulo(call: Call) -> Value:
    """The remainder: with the divisor's sign, or with ``fmod`` the dividend's."""
    a, b = _pair(call)
    build = call.builder
    fmod = bool(call.attribute("fmod"))
    if a.array is not None and b.array is not None:
        _no_zero(b)
        return build.constant((np.fmod if fmod else np.mod)(a.array, b.array))
    if b.array is None:
        msg = "the divisor depends on the inputs"
        raise call.refuse(msg)
    _no_zero(b)
    if not np.all(b.array):
        msg = "a division by the constant 0"
        raise NneqError(msg)
    shape = call.broadcast(a, b)
    a = build.broadcast_to(a, shape)
    whole = a.dtype.kind in "iu"
    if fmod:
        quotient = (
            _truncated(build, a, b.array)
            if whole
            else build.elementwise("trunc", build.divide(a, b))
        )
    else:
        share = build.scale(a, 1.0 / b.array.astype(np.float64))
        if whole:
            share = build.add(share, build.constant(0.5 / np.abs(b.array.astype(np.float64))))
        quotient = build.elementwise("floor", share)
    return retyped(build.subtract(a, build.scale(quotient, b.array)), a.dtype)


@operator("Pow")
def power(call: Call) -> Value:
    """``a ** b``, in the type of ``a``."""
    a, b = call.input(0), call.input(1)
    call.broadcast(a, b)
    if a.array is not None and b.array is not None:
        with np.errstate(all="ignore"):
            out = np.power(a.array.astype(np.float64), b.array.astype(np.float64))
        kind = a.dtype if a.dtype.kind in "iu" else np.float64
        return call.builder.constant(out.astype(kind))
    return retyped(call.builder.power(a, b), a.dtype)


@operator("Neg")
def negate(call: Call) -> Value:
    """``-x``."""
    x = call.input(0)
    return retyped(call.builder.negative(x), x.dtype)


@operator("Sum")
def total(call: Call) -> Value:
    """The sum of all operands."""
    values = call.operands()
    call.broadcast(*values)
    if all(value.array is not None for value in values):
        values = [wide(value) for value in values]
    return call.builder.add(*values)


@operator("Mean")
def mean(call: Call) -> Value:
    """The mean of all operands."""
    values = call.operands()
    call.broadcast(*values)
    return call.builder.divide(
        call.builder.add(*map(wide, values)), call.builder.constant(np.float64(len(values)))
    )


def _extreme(choose: Callable[..., Value], call: Call) -> Value:
    values = call.operands()
    call.broadcast(*values)
    kind = np.result_type(*(value.dtype for value in values))
    if len(values) == 1:
        return values[0]
    if all(value.array is not None for value in values):
        values = [retyped(value, kind) for value in values]
    else:
        values = [
            retyped(v, np.float64) if v.array is not None and v.dtype.kind in "iub" else v
            for v in values
        ]
    return retyped(choose(*values), kind)


@operator("Max")
def maximum(call: Call) -> Value:
    """The entrywise maximum of all operands."""
    return _extreme(call.builder.maximum, call)


@operator("Min")
def minimum(call: Call) -> Value:
    """The entrywise minimum of all operands."""
    values = call.operands()
    if all(value.array is not None for value in values):
        call.broadcast(*values)
        out = np.asarray(values[0].array)
        for value in values[1:]:
            out = np.minimum(out, np.asarray(value.array))
        return call.builder.constant(out)
    return _extreme(call.builder.minimum, call)
