"""Arithmetic, comparisons, reductions and products of TensorFlow graphs."""

from __future__ import annotations

import string
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from nneq.adapters.tensorflow.registry import operation
from nneq.errors import UnsupportedError
from nneq.lowering import Value
from nneq.lowering.ordering import argmax, argmin, cumulative_sum, top_k

if TYPE_CHECKING:
    from nneq.adapters.tensorflow.walk import Walk

__all__: list[str] = []

_PLAIN = {
    "Abs": "abs", "Acos": "acos", "Acosh": "acosh", "Asin": "asin", "Asinh": "asinh",
    "Atan": "atan", "Atanh": "atanh", "Ceil": "ceil", "Cos": "cos", "Cosh": "cosh", "Erf": "erf",
    "Exp": "exp", "Floor": "floor", "Inv": "reciprocal", "Log": "log", "Reciprocal": "reciprocal",
    "Relu": "relu", "Rint": "round", "Round": "round", "Selu": "selu", "Sigmoid": "sigmoid",
    "Sign": "sign", "Sin": "sin", "Sinh": "sinh", "Softplus": "softplus", "Softsign": "softsign",
    "Sqrt": "sqrt", "Square": "square", "Tan": "tan", "Tanh": "tanh",
}  # fmt: skip


def _plain(rule: str) -> Any:
    def lower(walk: Walk, _: Any, x: Value) -> Value:
        return walk.b.elementwise(rule, x)

    return lower


for _name, _rule in _PLAIN.items():
    operation(_name)(_plain(_rule))


@operation("Identity", "StopGradient", "PreventGradient", "CheckNumerics", "Snapshot",
           "EnsureShape", "PlaceholderWithDefault", "NoOp", "DeepCopy")  # fmt: skip
def _identity(_: Walk, __: Any, x: Any = None, *___: Any) -> Any:
    return x


@operation("IdentityN")
def _identity_n(_: Walk, __: Any, *xs: Any) -> list[Any]:
    return list(xs)


@operation("Const")
def _const(walk: Walk, op: Any) -> Value:
    array = tf.make_ndarray(op.get_attr("value"))
    if array.dtype.kind in "OSU":
        return walk.b.constant(np.zeros(array.shape, dtype=np.float32))
    if array.dtype.kind == "V" or array.dtype.name.startswith(("bfloat16", "float8")):
        array = array.astype(np.float32)
    return walk.b.constant(array)


@operation("Cast")
def _cast(walk: Walk, op: Any, x: Value) -> Value:
    from nneq.adapters.tensorflow.walk import plain_dtype

    kind = plain_dtype(op.get_attr("DstT"))
    if kind.kind == "f" and x.dtype.kind == "f":
        return x
    return walk.b.cast(x, kind)


@operation("Relu6", "LeakyRelu", "Elu")
def _activations(walk: Walk, op: Any, x: Value) -> Value:
    match op.type:
        case "Relu6":
            return walk.b.elementwise("clip", x, low=0.0, high=6.0)
        case "LeakyRelu":
            return walk.b.elementwise("leaky_relu", x, alpha=_decimal(op.get_attr("alpha"), x))
        case _:
            return walk.b.elementwise("elu", x, alpha=1.0)


def _decimal(number: float, x: Value) -> float:
    """Return a float32 attribute as written, unless the model is float64 and uses the rounding."""
    return float(number) if x.dtype == np.float64 else float(str(np.float32(number)))


@operation("Log1p", "Expm1", "Rsqrt", "Erfc", "Neg", "Invert")
def _derived(walk: Walk, op: Any, x: Value) -> Value:
    b = walk.b
    one = b.constant(np.float64(1.0))
    match op.type:
        case "Log1p":
            return b.elementwise("log", b.add(x, one))
        case "Expm1":
            return b.subtract(b.elementwise("exp", x), one)
        case "Rsqrt":
            return b.elementwise("reciprocal", b.elementwise("sqrt", x))
        case "Erfc":
            return b.subtract(one, b.elementwise("erf", x))
        case "Neg":
            return b.negative(x)
        case _:
            return b.constant(~walk.array(x))


@operation("Add", "AddV2", "Sub", "Mul", "RealDiv", "Maximum", "Minimum", "Pow", "BiasAddV1")
def _arithmetic(walk: Walk, op: Any, x: Value, y: Value) -> Value:
    b = walk.b
    write: dict[str, Callable[..., Value]] = {
        "Add": b.add, "AddV2": b.add, "BiasAddV1": b.add, "Sub": b.subtract, "Mul": b.multiply,
        "RealDiv": b.divide, "Maximum": b.maximum, "Minimum": b.minimum, "Pow": b.power,
    }  # fmt: skip
    return write[op.type](x, y)


@operation("AddN", "AccumulateNV2")
def _add_n(walk: Walk, _: Any, *xs: Value) -> Value:
    return walk.b.add(*xs)


@operation("Div", "FloorDiv", "FloorMod", "Mod", "TruncateDiv", "TruncateMod")
def _division(walk: Walk, op: Any, x: Value, y: Value) -> Value:
    b = walk.b
    whole_numbers = x.dtype.kind in "iu" and y.dtype.kind in "iu"
    if x.array is not None and y.array is not None and whole_numbers:
        floor = op.type in {"FloorDiv", "FloorMod"}
        quotient = x.array // y.array if floor else np.trunc(x.array / y.array).astype(x.dtype)
        if op.type.endswith("Div"):
            return b.constant(quotient)
        return b.constant(x.array - quotient * y.array)
    quotient_ = b.divide(x, y)
    if op.type == "Div" and not whole_numbers:
        return quotient_
    rule = "floor" if op.type in {"FloorDiv", "FloorMod"} else "trunc"
    whole = b.elementwise(rule, quotient_)
    return whole if op.type.endswith("Div") else b.subtract(x, b.multiply(whole, y))


@operation("DivNoNan", "MulNoNan", "Xdivy", "SquaredDifference")
def _careful(walk: Walk, op: Any, x: Value, y: Value) -> Value:
    b = walk.b
    zero = b.constant(np.float64(0.0))
    match op.type:
        case "SquaredDifference":
            return b.elementwise("square", b.subtract(x, y))
        case "MulNoNan":
            return b.select(y, "==", zero, b.multiply(x, y))
        case "Xdivy":
            return b.select(x, "==", zero, b.divide(x, y))
        case _:
            safe = b.select(y, "==", b.constant(np.float64(1.0)), y)
            return b.select(y, "==", zero, b.divide(x, safe))


@operation("Equal", "NotEqual", "Greater", "GreaterEqual", "Less", "LessEqual")
def _compare(walk: Walk, op: Any, x: Value, y: Value) -> Value:
    b = walk.b
    if op.type == "NotEqual":
        return b.logical_not(b.compare(x, "==", y))
    relations: dict[str, Any] = {
        "Equal": "==", "Greater": ">", "GreaterEqual": ">=", "Less": "<", "LessEqual": "<=",
    }  # fmt: skip
    return b.compare(x, relations[op.type], y)


@operation("LogicalAnd", "LogicalOr", "LogicalNot")
def _logical(walk: Walk, op: Any, *xs: Value) -> Value:
    b = walk.b
    if op.type == "LogicalNot":
        return b.logical_not(xs[0])
    return (b.logical_and if op.type == "LogicalAnd" else b.logical_or)(*xs)


@operation("Select", "SelectV2")
def _select(walk: Walk, op: Any, test: Value, yes: Value, no: Value) -> Value:
    b = walk.b
    if op.type == "Select" and len(test.shape) == 1 and len(yes.shape) > 1:
        test = b.reshape(test, (*test.shape, *(1,) * (len(yes.shape) - 1)))
    shape = np.broadcast_shapes(test.shape, yes.shape, no.shape)
    return b.where(b.broadcast_to(test, shape), yes, no)


@operation("ClipByValue")
def _clip(walk: Walk, _: Any, x: Value, low: Value, high: Value) -> Value:
    b = walk.b
    if low.array is not None and high.array is not None and low.size == high.size == 1:
        ends = {"low": float(low.array), "high": float(high.array)}
        return b.elementwise("clip", x, **ends)
    return b.minimum(b.maximum(x, low), high)


@operation("IsNan", "IsInf", "IsFinite")
def _finite(walk: Walk, op: Any, x: Value) -> Value:
    return walk.b.constant(np.full(x.shape, op.type == "IsFinite"))


# ---------------------------------------------------------------------- reductions
@operation("Sum", "Mean", "Max", "Min", "Prod", "All", "Any", "EuclideanNorm")
def _reduce(walk: Walk, op: Any, x: Value, axes: Value) -> Value:
    b = walk.b
    over = tuple(a % max(1, len(x.shape)) for a in walk.integers(axes))
    keep = bool(op.get_attr("keep_dims"))
    if x.array is not None:
        return b.constant(np.asarray(_NUMPY[op.type](x.array, axis=over, keepdims=keep)))
    match op.type:
        case "Sum":
            return b.sum(x, over, keepdims=keep)
        case "Mean":
            return b.mean(x, over, keepdims=keep)
        case "Max":
            return b.max(x, over, keepdims=keep)
        case "Min":
            return b.min(x, over, keepdims=keep)
        case "Prod":
            return _product(walk, x, over, keep)
        case "EuclideanNorm":
            total = b.sum(b.elementwise("square", x), over, keepdims=keep)
            return b.elementwise("sqrt", total)
        case _:
            truth = b.cast(b.cast(x, bool), np.float64)
            return b.cast((b.min if op.type == "All" else b.max)(truth, over, keepdims=keep), bool)


_NUMPY: dict[str, Any] = {
    "Sum": np.sum, "Mean": np.mean, "Max": np.max, "Min": np.min, "Prod": np.prod, "All": np.all,
    "Any": np.any,
    "EuclideanNorm": lambda a, axis, keepdims: np.sqrt(np.sum(a * a, axis=axis, keepdims=keepdims)),
}  # fmt: skip


def _product(walk: Walk, x: Value, axes: tuple[int, ...], keep: bool) -> Value:
    b = walk.b
    for axis in axes:
        parts = [b.slice_axis(x, axis, k, 1) for k in range(x.shape[axis])]
        out = parts[0]
        for part in parts[1:]:
            out = b.multiply(out, part)
        x = out
    return x if keep else b.reshape(x, [s for k, s in enumerate(x.shape) if k not in axes])


@operation("ArgMax", "ArgMin")
def _arg(walk: Walk, op: Any, x: Value, axis: Value) -> Value:
    pick = argmax if op.type == "ArgMax" else argmin
    return pick(walk.b, x, walk.integers(axis)[0])


@operation("TopKV2")
def _top_k(walk: Walk, _: Any, x: Value, k: Value) -> tuple[Value, Value]:
    return top_k(walk.b, x, walk.integers(k)[0], -1)


@operation("Cumsum")
def _cumsum(walk: Walk, op: Any, x: Value, axis: Value) -> Value:
    return cumulative_sum(
        walk.b,
        x,
        walk.integers(axis)[0],
        exclusive=bool(op.get_attr("exclusive")),
        reverse=bool(op.get_attr("reverse")),
    )


# ---------------------------------------------------------------------- products
@operation("MatMul", "BatchMatMul", "BatchMatMulV2", "BatchMatMulV3")
def _matmul(walk: Walk, op: Any, x: Value, y: Value) -> Value:
    b = walk.b
    names = ("transpose_a", "transpose_b") if op.type == "MatMul" else ("adj_x", "adj_y")
    left, right = (
        b.permute(v, (*range(len(v.shape) - 2), -1, -2)) if op.get_attr(name) else v
        for v, name in zip((x, y), names, strict=True)
    )
    return b.matmul(left, right)


@operation("Einsum")
def _einsum(walk: Walk, op: Any, *xs: Value) -> Value:
    b = walk.b
    equation = op.get_attr("equation")
    text = equation.decode() if isinstance(equation, bytes) else str(equation)
    ins, _, out = text.partition("->")
    terms = ins.split(",")
    free = iter(c for c in string.ascii_letters if c not in text)
    widths = [len(x.shape) - len(t.replace("...", "")) for t, x in zip(terms, xs, strict=True)]
    dots = "".join(next(free) for _ in range(max([w for w in widths if w > 0], default=0)))
    terms = [
        t.replace("...", dots[len(dots) - w :] if w else "")
        for t, w in zip(terms, widths, strict=True)
    ]
    out = out.replace("...", dots)
    if any(len(set(t)) < len(t) for t in terms) or len(terms) > 2:  # pairs only
        msg = f"the equation {text!r} is not supported"
        raise UnsupportedError(msg)
    if len(terms) == 2:
        return b.einsum(f"{terms[0]},{terms[1]}->{out}", xs[0], xs[1])
    gone = [k for k, c in enumerate(terms[0]) if c not in out]
    x = b.sum(xs[0], gone) if gone else xs[0]
    kept = "".join(c for c in terms[0] if c in out)
    return b.permute(x, [kept.index(c) for c in out])


@operation("L2Loss")
def _l2(walk: Walk, _: Any, x: Value) -> Value:
    b = walk.b
    return b.scale(b.sum(b.elementwise("square", x)), np.array(0.5))


@operation("Atan2")
def _atan2(walk: Walk, _: Any, y: Value, x: Value) -> Value:
    b = walk.b
    if x.array is None or not (x.array > 0).all():
        msg = "atan2 with a second operand that is not a positive constant is not supported"
        raise UnsupportedError(msg)
    return b.elementwise("atan", b.divide(y, x))
