"""Functions of one number: every activation is looked up in the rules by its ONNX spelling."""

from __future__ import annotations

from typing import Any

import numpy as np

from nneq.activations import RULES
from nneq.adapters.onnx.call import Call, operator, retyped, wide
from nneq.errors import NneqError
from nneq.lowering import Builder, Value

__all__ = ["unary"]

_OWN = {"Clip", "Pow", "PRelu", "Gelu", "Swish", "Celu", "Mish", "ThresholdedRelu"}
_FLOAT32_MAX = float(np.finfo(np.float32).max)


def unary(b: Builder, rule: str, x: Value, **params: Any) -> Value:
    """Return an activation of every entry, with the operand's own element type noted."""
    if x.dtype.kind in "iub":
        x = retyped(x, np.float64 if x.array is not None else x.dtype)
    out = b.elementwise(rule, wide(x), **params)
    return out if x.array is not None else retyped(out, x.dtype)


def _parameters(call: Call, rule: str) -> dict[str, float]:
    found = {}
    for name in RULES[rule].defaults:
        value = call.attribute(name)
        if value is not None:
            found[name] = float(value)
    return found


def _spelled() -> dict[str, str]:
    """Return ONNX operator to rule, for the rules whose parameters have ONNX's own names."""
    found = {}
    for name, rule in RULES.items():
        for spelling in rule.spellings.get("onnx", ()):
            if spelling not in _OWN:
                found[spelling] = name
    return found


_RULE_OF = _spelled()


def _activation(call: Call) -> Value:
    rule = _RULE_OF[call.node.op_type]
    x = call.input(0)
    out = unary(call.builder, rule, x, **_parameters(call, rule))
    if x.dtype.kind in "iu" and call.node.op_type in {"Abs", "Relu", "Sign"}:
        return retyped(out, x.dtype)
    return out


operator(*_RULE_OF)(_activation)


@operator("Celu")
def celu(call: Call) -> Value:
    """``max(0, x) + min(0, alpha (exp(x / alpha) - 1))``."""
    alpha = float(call.attribute("alpha"))
    if alpha == 0.0:
        msg = "alpha is 0"
        raise NneqError(msg)
    return unary(call.builder, "celu", call.input(0), alpha=alpha)


@operator("Mish")
def mish(call: Call) -> Value:
    """``x tanh(softplus(x))``."""
    return unary(call.builder, "mish", call.input(0))


@operator("ThresholdedRelu")
def thresholded(call: Call) -> Value:
    """``x`` above ``alpha``, else 0."""
    theta = float(call.attribute("alpha"))
    return unary(call.builder, "thresholded_relu", call.input(0), theta=theta)


@operator("Gelu")
def gelu(call: Call) -> Value:
    """Both forms of Gelu."""
    form = call.attribute("approximate")
    if form not in {"none", "tanh"}:
        msg = f"approximate={form!r} is not a form of Gelu"
        raise NneqError(msg)
    return unary(call.builder, "gelu_tanh" if form == "tanh" else "gelu", call.input(0))


@operator("Swish")
def swish(call: Call) -> Value:
    """``x sigmoid(alpha x) = silu(alpha x) / alpha``."""
    b, x, alpha = call.builder, call.input(0), float(call.attribute("alpha"))
    if alpha == 1.0:
        return unary(b, "silu", x)
    if alpha == 0.0:
        return b.scale(x, np.array(0.5))
    scaled = b.scale(wide(x), np.array(alpha))
    return retyped(b.scale(unary(b, "silu", scaled), np.array(1.0 / alpha)), x.dtype)


@operator("PRelu")
def prelu(call: Call) -> Value:
    """``x`` above 0, ``slope x`` below; a live slope needs a product."""
    b, x, slope = call.builder, call.input(0), call.input(1)
    rank = len(x.shape)
    if rank > 2 and slope.shape == (x.shape[1],) and x.shape[-1] not in {1, slope.size}:
        slope = b.reshape(slope, (slope.size, *(1,) * (rank - 2)))  # PyTorch's old exporter
    shape = call.broadcast(x, slope)
    if slope.array is not None:
        alpha = wide(slope).array
        return unary(b, "leaky_relu", b.broadcast_to(x, shape), alpha=alpha)
    negative = b.negative(b.elementwise("relu", b.negative(x)))
    return b.add(b.elementwise("relu", x), b.multiply(slope, negative))


@operator("Clip")
def clip(call: Call) -> Value:
    """``min(max(x, low), high)``; a bound at the end of the float range is no bound."""
    b, x = call.builder, call.input(0)
    if call.since < 11:
        low = _bound_of(call.attribute("min"), b)
        high = _bound_of(call.attribute("max"), b)
    else:
        low, high = call.optional(1), call.optional(2)
    low = None if _unbounded(low, -1) else low
    high = None if _unbounded(high, 1) else high
    if low is None and high is None:
        return x
    if _scalar(low) and _scalar(high) and low is not None and high is not None:
        bounds = {"low": _number(low), "high": _number(high)}
        if bounds["low"] <= bounds["high"]:
            return retyped(unary(b, "clip", x, **bounds), x.dtype)
    if low is not None:
        x = retyped(b.maximum(x, low), x.dtype)
    if high is not None:
        x = retyped(b.minimum(x, high), x.dtype)
    return x


def _bound_of(value: float | None, b: Builder) -> Value | None:
    return None if value is None else b.constant(np.float64(value))


def _scalar(bound: Value | None) -> bool:
    return bound is not None and bound.array is not None and bound.size == 1


def _number(bound: Value) -> float:
    return float(np.asarray(bound.array).reshape(-1)[0])


def _unbounded(bound: Value | None, side: int) -> bool:
    return bound is None or (_scalar(bound) and side * _number(bound) >= _FLOAT32_MAX)


@operator("Shrink")
def shrink(call: Call) -> Value:
    """``x + bias`` below ``-lambd``, ``x - bias`` above ``lambd``, else 0."""
    b, x = call.builder, wide(call.input(0))
    lambd, bias = float(call.attribute("lambd")), float(call.attribute("bias"))
    zero = b.constant(np.float64(0.0))
    below = b.compare(x, "<", b.constant(np.float64(-lambd)))
    above = b.compare(x, ">", b.constant(np.float64(lambd)))
    low = b.where(below, b.add(x, b.constant(np.float64(bias))), zero)
    high = b.where(above, b.subtract(x, b.constant(np.float64(bias))), zero)
    return retyped(b.add(low, high), call.input(0).dtype)


@operator("Softmax", "LogSoftmax")
def softmax(call: Call) -> Value:
    """Softmax over one axis; before opset 13 over all axes from ``axis`` on."""
    b, x = call.builder, call.input(0)
    log = call.node.op_type == "LogSoftmax"
    rank = len(x.shape)
    if rank == 0:
        return (
            b.scale(x, np.array(0.0))
            if log
            else b.add(b.scale(x, np.array(0.0)), b.constant(np.float64(1.0)))
        )
    axis = call.axis(int(call.attribute("axis")), rank)
    if call.since >= 13:
        return masked_softmax(b, x, axis, log=log)
    lead = int(np.prod(x.shape[:axis], dtype=np.int64))
    flat = b.reshape(x, (lead, int(np.prod(x.shape[axis:], dtype=np.int64))))
    return b.reshape(masked_softmax(b, flat, 1, log=log), x.shape)


def masked_softmax(b: Builder, x: Value, axis: int, *, log: bool = False) -> Value:
    """Return the softmax; entries to which minus infinity was added are left out exactly.

    A row of nothing else, on which softmax is 0 / 0, is 0 (exporters replace such rows by 0).
    """
    from nneq.ir import Affine
    from nneq.lowering.attention import masked_softmax as over_allowed

    node = b.nodes[x.node] if x.node is not None else None
    if not isinstance(node, Affine) or node.bias is None or not np.isneginf(node.bias).any():
        return b.softmax(x, axis, log=log)
    full = np.broadcast_to(node.bias, node.shape)
    closed = np.isneginf(full)
    if log or axis % len(x.shape) != len(x.shape) - 1:
        return b.softmax(x, axis, log=log)
    finite = np.where(closed, 0.0, full)
    b.nodes.append(Affine(node.shape, node.terms, finite if finite.any() else None, node.origin))
    scores = Value(x.shape, x.dtype, node=len(b.nodes) - 1)
    return retyped(over_allowed(b, scores, b.constant(~closed)), x.dtype)
