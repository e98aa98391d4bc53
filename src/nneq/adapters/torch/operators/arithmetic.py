"""Entrywise arithmetic and elementary functions."""

from __future__ import annotations

import math

import numpy as np

from nneq.adapters.torch.registry import Call, lowers
from nneq.lowering.builder import Value
from nneq.lowering.normalization import inverse_sqrt

__all__: list[str] = []

_RULES = {
    "exp": "exp",
    "log": "log",
    "sqrt": "sqrt",
    "reciprocal": "reciprocal",
    "abs": "abs",
    "sign": "sign",
    "square": "square",
    "sin": "sin",
    "cos": "cos",
    "tan": "tan",
    "asin": "asin",
    "acos": "acos",
    "atan": "atan",
    "sinh": "sinh",
    "cosh": "cosh",
    "asinh": "asinh",
    "acosh": "acosh",
    "atanh": "atanh",
    "erf": "erf",
}
_STEPS = {"floor": "floor", "ceil": "ceil", "trunc": "trunc"}
_COPIES = (
    "clone",
    "alias",
    "detach",
)


def _float(number: float) -> np.ndarray:
    return np.array(float(number))


@lowers(*_RULES)
def _rule(c: Call) -> Value:
    return c.b.elementwise(_RULES[c.op], c.number(c.value("self")))


@lowers(*_STEPS)
def _step(c: Call) -> Value:
    x = c.value("self")
    return x if x.dtype.kind in "iub" else c.b.elementwise(_STEPS[c.op], x)


@lowers("round")
def _round(c: Call) -> Value:
    x = c.value("self")
    if x.dtype.kind in "iub":
        return x
    decimals = int(c.get("decimals", 0))
    if decimals == 0:
        return c.b.elementwise("round", x)
    power = _float(10.0 ** abs(decimals))
    up, down = (power, 1 / power) if decimals > 0 else (1 / power, power)
    return c.b.scale(c.b.elementwise("round", c.b.scale(x, up)), down)


@lowers("frac")
def _frac(c: Call) -> Value:
    x = c.value("self")
    return c.b.subtract(x, c.b.elementwise("trunc", x))


@lowers("exp2")
def _exp2(c: Call) -> Value:
    return c.b.elementwise("exp", c.b.scale(c.number(c.value("self")), _float(math.log(2.0))))


@lowers("expm1")
def _expm1(c: Call) -> Value:
    x = c.number(c.value("self"))
    # expm1(x) = 2 sinh(x/2) exp(x/2), accurate near 0 where exp(x) - 1 is not
    half = c.b.scale(x, _float(0.5))
    twice = c.b.scale(c.b.elementwise("sinh", half), _float(2.0))
    return c.b.multiply(twice, c.b.elementwise("exp", half))


@lowers("log2", "log10", "log1p")
def _logarithm(c: Call) -> Value:
    x = c.number(c.value("self"))
    if c.op.endswith("log1p"):
        # log1p(x) = 2 atanh(x / (x + 2)), accurate near 0
        ratio = c.b.divide(x, c.b.add(x, c.b.constant(np.float64(2.0))))
        return c.b.scale(c.b.elementwise("atanh", ratio), _float(2.0))
    base = 2.0 if c.op == "log2" else 10.0
    return c.b.scale(c.b.elementwise("log", x), _float(1.0 / math.log(base)))


@lowers("rsqrt")
def _rsqrt(c: Call) -> Value:
    return inverse_sqrt(c.b, c.number(c.value("self")))


@lowers("neg")
def _negative(c: Call) -> Value:
    return c.b.negative(c.value("self"))


@lowers("erfc")
def _erfc(c: Call) -> Value:
    one = c.b.constant(np.float64(1.0))
    return c.b.subtract(one, c.b.elementwise("erf", c.number(c.value("self"))))


@lowers("logit")
def _logit(c: Call) -> Value:
    x = c.number(c.value("self"))
    eps = c.get("eps")
    if eps is not None:
        x = c.b.elementwise("clip", x, low=float(eps), high=1.0 - float(eps))
    one = c.b.constant(np.float64(1.0))
    return c.b.elementwise("log", c.b.divide(x, c.b.subtract(one, x)))


@lowers(*_COPIES)
def _copy(c: Call) -> Value:
    return c.value(next(iter(c.arguments)))


@lowers("_to_copy", "type_as")
def _cast(c: Call) -> Value:
    return c.b.cast(c.value("self"), c.dtype)


@lowers("copy")
def _assign(c: Call) -> Value:
    return c.b.broadcast_to(c.b.cast(c.value("src"), c.dtype), c.shapes[0])


def _scaled(c: Call, name: str) -> Value:
    """Return ``alpha * argument``."""
    x, alpha = c.value(name), c.get("alpha", 1)
    return x if alpha == 1 else c.b.multiply(x, c.lift(alpha))


@lowers("add")
def _add(c: Call) -> Value:
    if c.dtype.kind == "b":
        return c.b.logical_or(c.value("self"), c.value("other"))
    return c.b.add(c.value("self"), _scaled(c, "other"))


@lowers("sub")
def _sub(c: Call) -> Value:
    return c.b.subtract(c.value("self"), _scaled(c, "other"))


@lowers("rsub")
def _rsub(c: Call) -> Value:
    return c.b.subtract(c.value("other"), _scaled(c, "self"))


@lowers("mul")
def _mul(c: Call) -> Value:
    if c.dtype.kind == "b":
        return c.b.logical_and(c.value("self"), c.value("other"))
    return c.b.multiply(c.number(c.value("self")), c.number(c.value("other")))


@lowers("div", "floor_divide")
def _div(c: Call) -> Value:
    a, d = c.number(c.value("self")), c.number(c.value("other"))
    mode = "floor" if c.op == "floor_divide" else c.get("rounding_mode")
    if mode is None:
        return c.b.divide(a, d)
    if mode == "floor":
        return _floor_quotient(c, a, d)
    size = _floor_quotient(c, c.b.elementwise("abs", a), c.b.elementwise("abs", d))
    sign = c.b.multiply(c.b.elementwise("sign", a), c.b.elementwise("sign", d))
    return c.b.multiply(size, sign)


def _floor_quotient(c: Call, a: Value, d: Value) -> Value:
    """Return ``floor(a / d)``, corrected where the rounded quotient falls on the wrong side."""
    b = c.b
    shape = np.broadcast_shapes(a.shape, d.shape)
    one, zero = b.constant(np.float64(1.0)), b.constant(np.float64(0.0))
    size = b.elementwise("abs", d)
    top = b.broadcast_to(b.multiply(a, b.elementwise("sign", d)), shape)
    guess = b.elementwise("floor", b.divide(top, size))
    rest = b.subtract(top, b.multiply(guess, size))
    high = b.select(b.subtract(rest, size), ">=", one, zero)
    low = b.select(rest, "<", one, zero)
    return b.subtract(b.add(guess, high), low)


@lowers("remainder", "fmod")
def _remainder(c: Call) -> Value:
    a, d = c.number(c.value("self")), c.number(c.value("other"))
    if c.op == "remainder":
        return c.b.subtract(a, c.b.multiply(_floor_quotient(c, a, d), d))
    size, length = c.b.elementwise("abs", a), c.b.elementwise("abs", d)
    rest = c.b.subtract(size, c.b.multiply(_floor_quotient(c, size, length), length))
    return c.b.multiply(rest, c.b.elementwise("sign", a))


@lowers("pow", "float_power")
def _pow(c: Call) -> Value:
    base, exponent = c.number(c.value("self")), c.number(c.value("exponent"))
    if exponent.array is not None:
        if exponent.size == 1:
            return _constant_power(c, base, float(exponent.array.reshape(())))
        return c.b.power(base, exponent)
    if base.array is not None and (base.array > 0).all():
        log = c.b.constant(np.log(base.array.astype(np.float64)))
        return c.b.elementwise("exp", c.b.multiply(exponent, log))
    raise c.refuse(
        "a power with an exponent that depends on the inputs needs a constant positive base; "
        "write torch.exp(exponent * torch.log(base)) where the base is positive"
    )


def _constant_power(c: Call, base: Value, exponent: float) -> Value:
    b = c.b
    if exponent == 0.0:
        return b.constant(np.ones(c.shapes[0]))
    if exponent == -0.5:
        return inverse_sqrt(b, base)
    return b.broadcast_to(b.power(base, b.constant(np.float64(exponent))), c.shapes[0])


@lowers("addcmul", "addcdiv")
def _addc(c: Call) -> Value:
    first, second = c.value("tensor1"), c.value("tensor2")
    part = c.b.multiply(first, second) if c.op == "addcmul" else c.b.divide(first, second)
    return c.b.add(c.value("self"), c.b.multiply(part, c.lift(c.get("value", 1))))


@lowers("lerp")
def _lerp(c: Call) -> Value:
    start, end = c.value("self"), c.value("end")
    return c.b.add(start, c.b.multiply(c.value("weight"), c.b.subtract(end, start)))


@lowers("hypot")
def _hypot(c: Call) -> Value:
    squares = [c.b.elementwise("square", c.value(name)) for name in ("self", "other")]
    return c.b.elementwise("sqrt", c.b.add(*squares))


@lowers("logaddexp", "logaddexp2")
def _logaddexp(c: Call) -> Value:
    x, y = c.value("self"), c.value("other")
    base = 1.0 if c.op == "logaddexp" else math.log(2.0)
    gap = c.b.scale(c.b.subtract(x, y), _float(base))
    return c.b.add(y, c.b.scale(c.b.elementwise("softplus", gap), _float(1.0 / base)))


@lowers("xlogy")
def _xlogy(c: Call) -> Value:
    x, y = c.number(c.value("self")), c.number(c.value("other"))
    shape = np.broadcast_shapes(x.shape, y.shape)
    zero = c.b.constant(np.zeros(shape))
    if y.array is not None:
        with np.errstate(all="ignore"):
            logarithm = np.log(y.array.astype(np.float64))
        if np.isfinite(logarithm).all():
            return c.b.multiply(x, c.b.constant(logarithm))
        return c.b.select(
            x, "==", zero, c.b.multiply(x, c.b.constant(np.where(y.array == 0, -np.inf, logarithm)))
        )
    product = c.b.multiply(x, c.b.elementwise("log", y))
    if x.array is not None and (x.array != 0).all():
        return product
    if x.array is not None:
        safe = c.b.select(c.b.constant(np.broadcast_to(x.array, shape) != 0), ">", y, _one(c))
        return c.b.multiply(x, c.b.elementwise("log", safe))
    return c.b.select(x, "==", zero, product)


def _one(c: Call) -> Value:
    return c.b.constant(np.float64(1.0))


@lowers("sinc")
def _sinc(c: Call) -> Value:
    x = c.b.scale(c.value("self"), _float(math.pi))
    safe = c.b.select(x, "==", _one(c), x)
    return c.b.select(x, "==", _one(c), c.b.divide(c.b.elementwise("sin", safe), safe))


@lowers("deg2rad", "rad2deg")
def _degrees(c: Call) -> Value:
    factor = math.pi / 180 if c.op == "deg2rad" else 180 / math.pi
    return c.b.scale(c.number(c.value("self")), _float(factor))


@lowers("nan_to_num")
def _nan_to_num(c: Call) -> Value:
    raise c.refuse("replaces NaN and infinity, which no equation has; remove the call")
