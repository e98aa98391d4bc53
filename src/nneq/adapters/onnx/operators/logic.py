"""Comparisons, Boolean operators and choices."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from nneq.adapters.onnx.call import Call, operator, retyped
from nneq.ir import Constant
from nneq.lowering import Builder, Value

__all__ = []

Array = np.ndarray[Any, Any]
Relation = Literal[">", ">=", "==", "<", "<="]

_TURNED: dict[Relation, Relation] = {">": "<", ">=": "<=", "==": "==", "<": ">", "<=": ">="}
_RELATIONS: dict[str, Relation] = {
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
    shape = call.broadcast(a, b)
    relation = _RELATIONS[call.node.op_type]
    if a.array is None and b.array is not None and _infinite(b.array):
        return _with_infinity(call, a, relation, float(b.array.flat[0]), shape)
    if b.array is None and a.array is not None and _infinite(a.array):
        return _with_infinity(call, b, _TURNED[relation], float(a.array.flat[0]), shape)
    return call.builder.compare(a, relation, b)


def _infinite(array: Array) -> bool:
    return array.size > 0 and array.dtype.kind == "f" and bool(np.isinf(array).all())


def _with_infinity(
    call: Call, x: Value, relation: Relation, bound: float, shape: tuple[int, ...]
) -> Value:
    """Compare with plus or minus infinity.

    A real number never equals it, so the answer is known, unless masks with infinite entries came
    before; then the largest float stands for infinity, which no finite value passes.
    """
    b = call.builder
    if not _may_be_infinite(b, x):
        above = relation in {">", ">="} if bound < 0 else relation in {"<", "<="}
        return b.constant(np.broadcast_to(np.array(above), shape))
    edge = b.constant(np.float64(np.finfo(np.float64).max * np.sign(bound)))
    if relation == "==":
        return b.broadcast_to(b.compare(x, "<" if bound < 0 else ">", edge), shape)
    strict: Relation
    if bound < 0:
        strict = ">=" if relation == ">" else "<"
        if relation in {">=", "<"}:
            return b.constant(np.broadcast_to(np.array(relation == ">="), shape))
    else:
        strict = "<=" if relation == "<" else ">"
        if relation in {"<=", ">"}:
            return b.constant(np.broadcast_to(np.array(relation == "<="), shape))
    return b.broadcast_to(b.compare(x, strict, edge), shape)


def _may_be_infinite(b: Builder, x: Value) -> bool:
    """Whether a stored infinity lies among the nodes that ``x`` is made from."""
    waiting = [x.node] if x.node is not None else []
    seen: set[int] = set()
    while waiting:
        place = waiting.pop()
        if place in seen:
            continue
        seen.add(place)
        node = b.nodes[place]
        stored = node.value if isinstance(node, Constant) else getattr(node, "bias", None)
        if stored is not None and stored.dtype.kind == "f" and np.isinf(stored).any():
            return True
        waiting.extend(node.args)
    return False


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
