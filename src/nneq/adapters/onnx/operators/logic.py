"""Comparisons, Boolean operators and choices."""

from __future__ import annotations

from typing import Literal

import numpy as np

from nneq.adapters.onnx.call import Call, operator, retyped
from nneq.lowering import Value

__all__ = []

_RELATIONS: dict[str, Literal[">", ">=", "==", "<", "<="]] = {
    "Greater": ">",
    "GreaterOrEqual": ">=",
    "Equal": "==",
    "Less": "<",
    "LessOrEqual": "<=",
}


@operator(*_RELATIONS)
def compare(call: Call) -> Value:
    """``a > b`` and its kin, as 0 or 1."""
    a, b = call.input(0), call.input(1)
    call.broadcast(a, b)
    return call.builder.compare(a, _RELATIONS[call.node.op_type], b)


@operator("And", "Or", "Xor")
def connect(call: Call) -> Value:
    """The Boolean connectives."""
    a, b = call.input(0), call.input(1)
    call.broadcast(a, b)
    build = call.builder
    made = {"And": build.logical_and, "Or": build.logical_or, "Xor": build.logical_xor}
    return retyped(made[call.node.op_type](a, b), np.bool_)


@operator("Not")
def negate(call: Call) -> Value:
    """``not a``."""
    return call.builder.logical_not(call.input(0))


@operator("Where")
def where(call: Call) -> Value:
    """``a`` where the condition holds, else ``b``."""
    condition, a, b = call.input(0), call.input(1), call.input(2)
    shape = call.broadcast(condition, a, b)
    kind = np.result_type(a.dtype, b.dtype)
    build = call.builder
    if all(v.array is not None for v in (condition, a, b)):
        picked = np.where(np.asarray(condition.array), np.asarray(a.array), np.asarray(b.array))
        return build.constant(picked.astype(kind))
    if condition.array is not None:
        mask = np.asarray(condition.array).astype(bool)
        if mask.all() or not mask.any():
            return retyped(build.broadcast_to(a if mask.all() else b, shape), kind)
    return retyped(build.where(condition, a, b), kind)


@operator("IsNaN", "IsInf")
def is_special(call: Call) -> Value:
    """Whether entries are NaN or infinite; for constants only."""
    x = call.constant(0, "the operand (a real-number function is never NaN or infinite)")
    found = np.asarray(x, dtype=np.float64)
    if call.node.op_type == "IsNaN":
        return call.builder.constant(np.isnan(found))
    plus = np.isposinf(found) & bool(call.attribute("detect_positive"))
    minus = np.isneginf(found) & bool(call.attribute("detect_negative"))
    return call.builder.constant(plus | minus)
