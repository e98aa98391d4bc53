"""Operations on every entry: activation functions, arithmetic, comparisons, logic."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from nneq.adapters.keras.registry import operation
from nneq.errors import UnsupportedError
from nneq.lowering import Value

if TYPE_CHECKING:
    from nneq.adapters.keras.walk import Walk

__all__: list[str] = []

_PLAIN = {
    "Absolute": "abs", "Abs": "abs", "Fabs": "abs", "Arccos": "acos", "Arccosh": "acosh",
    "Arcsin": "asin", "Arcsinh": "asinh", "Arctan": "atan", "Arctanh": "atanh", "Ceil": "ceil",
    "Cos": "cos", "Cosh": "cosh", "Erf": "erf", "Exp": "exp", "Floor": "floor",
    "HardSilu": "hard_swish", "Log": "log", "LogSigmoid": "log_sigmoid", "Mish": "mish",
    "Reciprocal": "reciprocal", "Relu": "relu", "Selu": "selu", "Sigmoid": "sigmoid",
    "Sign": "sign", "Silu": "silu", "Sin": "sin", "Sinh": "sinh", "Softplus": "softplus",
    "Softsign": "softsign", "Sqrt": "sqrt", "Square": "square", "Tan": "tan", "Tanh": "tanh",
    "Trunc": "trunc",
}  # fmt: skip


def _plain(rule: str) -> Any:
    def lower(walk: Walk, _: Any, x: Any) -> Value:
        return walk.b.elementwise(rule, walk.value(x))

    return lower


for _name, _rule in _PLAIN.items():
    operation(_name)(_plain(_rule))


@operation("Relu6", "HardTanh", "HardSigmoid", "SparseSigmoid")
def _bounded(walk: Walk, op: Any, x: Any) -> Value:
    rule, params = {
        "Relu6": ("clip", {"low": 0.0, "high": 6.0}),
        "HardTanh": ("clip", {"low": -1.0, "high": 1.0}),
        "HardSigmoid": ("hard_sigmoid", {"alpha": 1.0 / 6.0, "beta": 0.5}),
        "SparseSigmoid": ("hard_sigmoid", {"alpha": 0.5, "beta": 0.5}),
    }[type(op).__name__]
    return walk.b.elementwise(rule, walk.value(x), **params)


@operation("LeakyRelu")
def _leaky_relu(walk: Walk, op: Any, x: Any) -> Value:
    value = walk.value(x)
    slope = walk.setting(value, op.negative_slope)
    return walk.b.elementwise("leaky_relu", value, alpha=slope)


@operation("Elu", "Celu")
def _elu(walk: Walk, op: Any, x: Any) -> Value:
    return walk.b.elementwise(type(op).__name__.lower(), walk.value(x), alpha=float(op.alpha))


@operation("Gelu")
def _gelu(walk: Walk, op: Any, x: Any) -> Value:
    b, value = walk.b, walk.value(x)
    root, cubic = 0.7071067811865476, 0.044715
    if walk.setting(value, cubic) == cubic:
        return b.elementwise("gelu_tanh" if op.approximate else "gelu", value)
    if op.approximate:
        cube = b.scale(
            b.power(value, b.constant(np.float64(3.0))), np.array(walk.setting(value, cubic))
        )
        inner = b.scale(b.add(value, cube), np.array(2.0 * math.sqrt(2.0 / math.pi)))
        return b.multiply(value, b.elementwise("sigmoid", inner))
    # x/2 (1 + erf(c x)) = gelu(s x)/s with s = c sqrt(2), for TensorFlow's c
    factor = np.array(walk.setting(value, root) * math.sqrt(2.0))
    return b.scale(b.elementwise("gelu", b.scale(value, factor)), np.array(1.0 / factor))


@operation("SoftShrink", "HardShrink")
def _shrink(walk: Walk, op: Any, x: Any) -> Value:
    rule = "soft_shrink" if type(op).__name__ == "SoftShrink" else "hard_shrink"
    return walk.b.elementwise(rule, walk.value(x), lambd=float(op.threshold))


@operation("Threshold")
def _threshold(walk: Walk, op: Any, x: Any) -> Value:
    b, value = walk.b, walk.value(x)
    test = b.subtract(value, b.constant(np.float64(op.threshold)))
    return b.select(test, ">", value, b.constant(np.float64(op.default_value)))


@operation("ReLU")
def _relu(walk: Walk, op: Any, x: Any) -> Value:
    return relu(walk, walk.value(x), op.negative_slope, op.max_value, op.threshold)


def relu(walk: Walk, x: Value, slope: Any, top: Any, threshold: Any) -> Value:
    """Return Keras' rectifier: ``x`` above the threshold (at most ``top``), a line below."""
    b = walk.b
    slope, at = float(slope or 0.0), float(threshold or 0.0)
    zero = b.constant(np.float64(0.0))
    if at == 0.0:
        if top is None:
            if slope == 0.0:
                return b.elementwise("relu", x)
            return b.elementwise("leaky_relu", x, alpha=walk.setting(x, slope))
        high = walk.setting(x, top)
        if slope == 0.0:
            return b.elementwise("clip", x, low=0.0, high=high)
        return b.minimum(b.elementwise("leaky_relu", x, alpha=slope), b.constant(np.float64(high)))
    kept = x if top is None else b.elementwise("clip", x, low=0.0, high=walk.setting(x, top))
    test = b.subtract(x, b.constant(np.float64(walk.setting(x, at))))
    below = zero
    if slope != 0.0:
        below = b.scale(b.subtract(x, b.constant(np.float64(at))), np.array(slope))
    return b.select(test, ">", kept, below)


@operation("TanhShrink")
def _tanh_shrink(walk: Walk, _: Any, x: Any) -> Value:
    value = walk.value(x)
    return walk.b.subtract(value, walk.b.elementwise("tanh", value))


@operation("Squareplus")
def _squareplus(walk: Walk, op: Any, x: Any) -> Value:
    b, value = walk.b, walk.value(x)
    inner = b.add(b.elementwise("square", value), b.constant(np.float64(op.b)))
    return b.scale(b.add(value, b.elementwise("sqrt", inner)), np.array(0.5))


@operation("SparsePlus")
def _sparse_plus(walk: Walk, _: Any, x: Any) -> Value:
    b, value = walk.b, walk.value(x)
    one = b.constant(np.float64(1.0))
    above = b.subtract(value, one)
    below = b.add(value, one)
    middle = b.scale(b.elementwise("square", below), np.array(0.25))
    inner = b.select(above, ">=", value, middle)
    return b.select(below, ">", inner, b.constant(np.float64(0.0)))


@operation("Glu")
def _glu(walk: Walk, op: Any, x: Any) -> Value:
    b, value = walk.b, walk.value(x)
    half = value.shape[op.axis] // 2
    left = b.slice_axis(value, op.axis, 0, half)
    right = b.slice_axis(value, op.axis, half, half)
    return b.multiply(left, b.elementwise("sigmoid", right))


@operation("Exp2", "Log2", "Log10", "Log1p", "Expm1", "Rsqrt", "Erfc", "Cbrt", "Sinc")
def _derived(walk: Walk, op: Any, x: Any) -> Value:
    b, value = walk.b, walk.value(x)
    one = b.constant(np.float64(1.0))
    match type(op).__name__:
        case "Exp2":
            return b.elementwise("exp", b.scale(value, np.array(math.log(2.0))))
        case "Log2":
            return b.scale(b.elementwise("log", value), np.array(1.0 / math.log(2.0)))
        case "Log10":
            return b.scale(b.elementwise("log", value), np.array(1.0 / math.log(10.0)))
        case "Log1p":
            return b.elementwise("log", b.add(value, one))
        case "Expm1":
            return b.subtract(b.elementwise("exp", value), one)
        case "Rsqrt":
            return b.elementwise("reciprocal", b.elementwise("sqrt", value))
        case "Erfc":
            return b.subtract(one, b.elementwise("erf", value))
        case "Cbrt":
            root = b.power(b.elementwise("abs", value), b.constant(np.float64(1.0 / 3.0)))
            return b.multiply(b.elementwise("sign", value), root)
        case _:
            angle = b.scale(value, np.array(math.pi))
            quotient = b.divide(b.elementwise("sin", angle), angle)
            return b.select(value, "==", one, quotient)


@operation("Negative", "Deg2rad", "Rad2deg")
def _scaled(walk: Walk, op: Any, x: Any) -> Value:
    factor = {"Negative": -1.0, "Deg2rad": math.pi / 180, "Rad2deg": 180 / math.pi}
    value = walk.value(x)
    if type(op).__name__ == "Negative":
        return walk.b.negative(value)
    return walk.b.scale(value, np.array(factor[type(op).__name__]))


@operation("Copy", "Conjugate", "Conj", "Real", "StopGradient", "ConvertToTensor", "Array")
def _same(walk: Walk, _: Any, x: Any) -> Value:
    return walk.value(x)


@operation("Cast", "SaturateCast")
def _cast(walk: Walk, op: Any, x: Any) -> Value:
    from nneq.adapters.keras.walk import plain_dtype

    kind = plain_dtype(op.dtype)
    value = walk.value(x)
    if type(op).__name__ == "SaturateCast" and kind.kind in "iu":
        limits = np.iinfo(kind)
        value = walk.b.elementwise("clip", value, low=float(limits.min), high=float(limits.max))
    if kind.kind == "f" and value.array is not None and value.dtype.kind == "f":
        return value
    return walk.b.cast(value, kind)


@operation("NanToNum")
def _finite(walk: Walk, _: Any, x: Any) -> Value:
    return walk.value(x)


@operation("Isfinite", "Isreal", "Isnan", "Isinf", "Isneginf", "Isposinf")
def _finite_test(walk: Walk, op: Any, x: Any) -> Value:
    value = walk.value(x)
    answer = type(op).__name__ in {"Isfinite", "Isreal"}
    return walk.b.constant(np.full(value.shape, answer))


@operation("Add", "Subtract", "Multiply", "Divide", "TrueDivide", "Power", "Maximum", "Minimum",
           "Fmax", "Fmin")  # fmt: skip
def _arithmetic(walk: Walk, op: Any, x1: Any, x2: Any) -> Value:
    b = walk.b
    left, right = walk.value(x1), walk.value(x2)
    write: dict[str, Callable[..., Value]] = {
        "Add": b.add, "Subtract": b.subtract, "Multiply": b.multiply, "Divide": b.divide,
        "TrueDivide": b.divide, "Power": b.power, "Maximum": b.maximum, "Minimum": b.minimum,
        "Fmax": b.maximum, "Fmin": b.minimum,
    }  # fmt: skip
    return write[type(op).__name__](left, right)


@operation("DivideNoNan")
def _divide_no_nan(walk: Walk, _: Any, x1: Any, x2: Any) -> Value:
    b = walk.b
    left, right = walk.value(x1), walk.value(x2)
    zero = b.constant(np.float64(0.0))
    safe = b.select(right, "==", b.constant(np.float64(1.0)), right)
    return b.select(right, "==", zero, b.divide(left, safe))


@operation("FloorDivide", "Mod", "Fmod")
def _remainder(walk: Walk, op: Any, x1: Any, x2: Any) -> Value:
    b = walk.b
    left, right = walk.value(x1), walk.value(x2)
    rule = "trunc" if type(op).__name__ == "Fmod" else "floor"
    whole = b.elementwise(rule, b.divide(left, right))
    if type(op).__name__ == "FloorDivide":
        return whole
    return b.subtract(left, b.multiply(whole, right))


@operation("Hypot")
def _hypot(walk: Walk, _: Any, x1: Any, x2: Any) -> Value:
    b = walk.b
    squares = [b.elementwise("square", walk.value(x)) for x in (x1, x2)]
    return b.elementwise("sqrt", b.add(*squares))


@operation("Logaddexp", "Logaddexp2")
def _logaddexp(walk: Walk, op: Any, x1: Any, x2: Any) -> Value:
    b = walk.b
    left, right = walk.value(x1), walk.value(x2)
    two = type(op).__name__ == "Logaddexp2"
    if two:
        left, right = (b.scale(v, np.array(math.log(2.0))) for v in (left, right))
    gap = b.elementwise("softplus", b.subtract(right, left))
    out = b.add(left, gap)
    return b.scale(out, np.array(1.0 / math.log(2.0))) if two else out


@operation("Equal", "NotEqual", "Greater", "GreaterEqual", "Less", "LessEqual")
def _compare(walk: Walk, op: Any, x1: Any, x2: Any) -> Value:
    b = walk.b
    left, right = walk.value(x1), walk.value(x2)
    match type(op).__name__:
        case "Equal":
            return b.compare(left, "==", right)
        case "NotEqual":
            return b.logical_not(b.compare(left, "==", right))
        case "Greater":
            return b.compare(left, ">", right)
        case "GreaterEqual":
            return b.compare(left, ">=", right)
        case "Less":
            return b.compare(left, "<", right)
        case _:
            return b.compare(left, "<=", right)


@operation("LogicalAnd", "LogicalOr", "LogicalXor", "LogicalNot")
def _logical(walk: Walk, op: Any, *xs: Any) -> Value:
    b = walk.b
    values = [b.cast(walk.value(x), bool) for x in xs]
    match type(op).__name__:
        case "LogicalAnd":
            return b.logical_and(*values)
        case "LogicalOr":
            return b.logical_or(*values)
        case "LogicalXor":
            return b.logical_xor(*values)
        case _:
            return b.logical_not(values[0])


@operation("Where")
def _where(walk: Walk, _: Any, condition: Any, x1: Any = None, x2: Any = None) -> Value:
    if x1 is None or x2 is None:
        msg = "where() with a condition only has an output of unknown size; give both values"
        raise UnsupportedError(msg)
    test = walk.b.cast(walk.value(condition), bool)
    return walk.b.where(test, walk.value(x1), walk.value(x2))


@operation("Select")
def _select(walk: Walk, _: Any, condlist: Any, choicelist: Any, default: Any = 0) -> Value:
    out = walk.value(default)
    pairs = list(zip(condlist, choicelist, strict=True))
    for condition, choice in reversed(pairs):
        out = walk.b.where(walk.b.cast(walk.value(condition), bool), walk.value(choice), out)
    return out


@operation("Heaviside")
def _heaviside(walk: Walk, _: Any, x1: Any, x2: Any) -> Value:
    b, value = walk.b, walk.value(x1)
    step = b.select(value, ">", b.constant(np.float64(1.0)), b.constant(np.float64(0.0)))
    return b.select(value, "==", walk.value(x2), step)


@operation("Signbit")
def _signbit(walk: Walk, _: Any, x: Any) -> Value:
    return walk.b.compare(walk.value(x), "<", walk.b.constant(np.float64(0.0)))


@operation("Clip")
def _clip(walk: Walk, op: Any, x: Any) -> Value:
    b, value = walk.b, walk.value(x)
    low, high = walk.value(op.x_min), walk.value(op.x_max)
    if low.array is not None and high.array is not None:
        ends = [np.asarray(v.array, dtype=np.float64) for v in (low, high)]
        if (ends[0] <= ends[1]).all():
            shape = np.broadcast_shapes(value.shape, ends[0].shape, ends[1].shape)
            value = b.broadcast_to(value, shape)
            bounds = [float(e) if e.ndim == 0 else e for e in ends]
            return b.elementwise("clip", value, low=bounds[0], high=bounds[1])
    return b.minimum(b.maximum(value, low), high)


@operation("Round")
def _round(walk: Walk, op: Any, x: Any) -> Value:
    b, value = walk.b, walk.value(x)
    if not op.decimals:
        return b.elementwise("round", value)
    factor = 10.0**op.decimals
    whole = b.elementwise("round", b.scale(value, np.array(factor)))
    return b.divide(whole, b.constant(np.float64(factor)))


@operation("Isclose")
def _isclose(walk: Walk, _: Any, x1: Any, x2: Any, rtol: Any = 1e-5, atol: Any = 1e-8) -> Value:
    b = walk.b
    left, right = walk.value(x1), walk.value(x2)
    gap = b.elementwise("abs", b.subtract(left, right))
    room = b.add(walk.value(atol), b.multiply(walk.value(rtol), b.elementwise("abs", right)))
    return b.compare(gap, "<=", room)
