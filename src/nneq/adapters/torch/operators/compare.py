"""Comparisons, logic, choices and bounds."""

from __future__ import annotations

import numpy as np

from nneq.adapters.torch.registry import Call, lowers
from nneq.lowering.builder import Value

__all__: list[str] = []

_RELATIONS = {
    "gt": ">",
    "ge": ">=",
    "lt": "<",
    "le": "<=",
    "eq": "==",
}


@lowers(*_RELATIONS)
def _compare(c: Call) -> Value:
    a, d = c.number(c.value("self")), c.number(c.value("other"))
    return c.b.compare(a, _RELATIONS[c.op], d)  # type: ignore[arg-type]  # the table's values


@lowers("ne")
def _not_equal(c: Call) -> Value:
    a, d = c.number(c.value("self")), c.number(c.value("other"))
    return c.b.logical_not(c.b.compare(a, "==", d))


def _truth(c: Call, x: Value) -> Value:
    return c.b.cast(x, np.bool_)


@lowers("logical_not", "bitwise_not")
def _not(c: Call) -> Value:
    x = c.value("self")
    if c.op == "bitwise_not" and x.dtype.kind != "b":
        one = c.b.constant(np.int64(1))
        return c.b.negative(c.b.add(x, one))
    return c.b.logical_not(_truth(c, x))


_LOGIC = {"and": "logical_and", "or": "logical_or", "xor": "logical_xor"}


@lowers(
    "logical_and",
    "logical_or",
    "logical_xor",
    "bitwise_and",
    "bitwise_or",
    "bitwise_xor",
)
def _logic(c: Call) -> Value:
    a, d = c.value("self"), c.value("other")
    if not c.op.startswith("logical") and {a.dtype.kind, d.dtype.kind} != {"b"}:
        raise c.refuse("works on the bits of integers; only booleans are supported")
    name = _LOGIC[c.op.strip("_").rsplit("_", maxsplit=1)[-1]]
    out: Value = getattr(c.b, name)(_truth(c, a), _truth(c, d))
    return out


@lowers("where")
def _where(c: Call) -> Value:
    if "self" not in c.arguments:
        raise c.refuse("gives a result whose size depends on the inputs")
    yes, no = c.value("self"), c.value("other")
    return c.b.where(_truth(c, c.value("condition")), yes, no)


@lowers("masked_fill")
def _masked_fill(c: Call) -> Value:
    fill = c.value("value")
    return c.b.where(_truth(c, c.value("mask")), fill, c.value("self"))


@lowers("clamp", "clamp_min", "clamp_max")
def _clamp(c: Call) -> Value:
    x = c.value("self")
    low, high = c.optional("min"), c.optional("max")
    constant = all(v is None or (v.array is not None and v.size == 1) for v in (low, high))
    if constant and x.array is None and low is not None and high is not None:
        bottom, top = (float(c.b.array(v).reshape(())) for v in (low, high))
        if bottom <= top:
            return c.b.elementwise("clip", x, low=bottom, high=top)
    if low is not None:
        x = c.b.maximum(x, low)
    return x if high is None else c.b.minimum(x, high)


@lowers("maximum")
def _maximum(c: Call) -> Value:
    return c.b.maximum(c.number(c.value("self")), c.number(c.value("other")))


@lowers("minimum")
def _minimum(c: Call) -> Value:
    return c.b.minimum(c.number(c.value("self")), c.number(c.value("other")))


@lowers("heaviside")
def _heaviside(c: Call) -> Value:
    x, at_zero = c.value("self"), c.value("values")
    one, zero = c.b.constant(np.float64(1.0)), c.b.constant(np.float64(0.0))
    return c.b.select(x, ">", one, c.b.select(x, "==", at_zero, zero))
