"""Activation functions: each asks the registry of rules."""

from __future__ import annotations

import math

import numpy as np

from nneq.adapters.torch.registry import Call, lowers, unavailable
from nneq.lowering.attention import open_softmax
from nneq.lowering.builder import Value

__all__: list[str] = []

_PLAIN = {
    "relu": "relu",
    "sigmoid": "sigmoid",
    "tanh": "tanh",
    "silu": "silu",
    "mish": "mish",
    "selu": "selu",
    "hardswish": "hard_swish",
    "log_sigmoid": "log_sigmoid",
    "softsign": "softsign",
}


@lowers(*_PLAIN)
def _plain(c: Call) -> Value:
    return c.b.elementwise(_PLAIN[c.op], c.number(c.value("self")))


@lowers("log_sigmoid_forward")
def _log_sigmoid_forward(c: Call) -> list[Value]:
    return [c.b.elementwise("log_sigmoid", c.value("self")), unavailable(c.shapes[1])]


@lowers("gelu")
def _gelu(c: Call) -> Value:
    rule = "gelu_tanh" if c.get("approximate", "none") == "tanh" else "gelu"
    return c.b.elementwise(rule, c.value("self"))


@lowers("relu6")
def _relu6(c: Call) -> Value:
    return c.b.elementwise("clip", c.value("self"), low=0.0, high=6.0)


@lowers("hardtanh")
def _hardtanh(c: Call) -> Value:
    low, high = float(c.get("min_val", -1.0)), float(c.get("max_val", 1.0))
    return c.b.elementwise("clip", c.value("self"), low=low, high=high)


@lowers("hardsigmoid")
def _hardsigmoid(c: Call) -> Value:
    return c.b.elementwise("hard_sigmoid", c.value("self"), alpha=1.0 / 6.0, beta=0.5)


@lowers("elu")
def _elu(c: Call) -> Value:
    alpha, scale = float(c.get("alpha", 1.0)), float(c.get("scale", 1.0))
    inner = float(c.get("input_scale", 1.0))
    x = c.value("self")
    if inner == 1.0:
        out = c.b.elementwise("elu", x, alpha=alpha)
    else:
        below = c.b.elementwise("elu", c.b.scale(x, np.array(inner)), alpha=alpha)
        out = c.b.select(x, ">", x, below)
    return out if scale == 1.0 else c.b.scale(out, np.array(scale))


@lowers("celu")
def _celu(c: Call) -> Value:
    return c.b.elementwise("celu", c.value("self"), alpha=float(c.get("alpha", 1.0)))


@lowers("leaky_relu")
def _leaky_relu(c: Call) -> Value:
    return c.b.elementwise("leaky_relu", c.value("self"), alpha=float(c["negative_slope"]))


@lowers("rrelu")
def _rrelu(c: Call) -> Value:
    if c.get("training", False):
        raise c.refuse("draws random slopes in training mode; put the module into eval mode")
    slope = (float(c["lower"]) + float(c["upper"])) / 2
    return c.b.elementwise("leaky_relu", c.value("self"), alpha=slope)


@lowers("prelu", "_prelu_kernel")
def _prelu(c: Call) -> Value:
    x, slope = c.value("self"), c.value("weight")
    if len(slope.shape) == 1 and slope.size > 1 and len(x.shape) > 1:
        slope = c.b.reshape(slope, (slope.size, *(1,) * (len(x.shape) - 2)))
    elif slope.size == 1:
        slope = c.b.reshape(slope, ())
    if slope.array is not None:
        return c.b.elementwise("leaky_relu", x, alpha=slope.array.astype(np.float64))
    return c.b.select(x, ">=", x, c.b.multiply(x, slope))


@lowers("softplus")
def _softplus(c: Call) -> Value:
    """Return softplus with PyTorch's switch to ``x`` above ``threshold`` where it is visible.

    Below one rounding unit of the element type the switch changes nothing that the framework
    itself computes; then the smooth function stands alone.
    """
    beta, threshold = float(c.get("beta", 1.0)), float(c.get("threshold", 20.0))
    x = c.value("self")
    scaled = x if beta == 1.0 else c.b.scale(x, np.array(beta))
    soft = c.b.elementwise("softplus", scaled)
    soft = soft if beta == 1.0 else c.b.scale(soft, np.array(1.0 / beta))
    gap = math.log1p(math.exp(-threshold)) if threshold < 700 else 0.0
    unit = np.finfo(c.dtype).eps if c.dtype.kind == "f" else np.finfo(np.float64).eps
    if threshold > 0 and gap <= unit / 2 * threshold:
        return soft
    return c.b.select(c.b.subtract(scaled, c.b.constant(np.float64(threshold))), ">", x, soft)


@lowers("threshold")
def _threshold(c: Call) -> Value:
    limit, other = float(c["threshold"]), float(c["value"])
    x = c.value("self")
    if other == 0.0:
        if limit == 0.0:
            return c.b.elementwise("relu", x)
        return c.b.elementwise("thresholded_relu", x, theta=limit)
    test = c.b.subtract(x, c.b.constant(np.float64(limit)))
    return c.b.select(test, ">", x, c.b.constant(np.float64(other)))


@lowers("hardshrink")
def _hardshrink(c: Call) -> Value:
    return c.b.elementwise("hard_shrink", c.value("self"), lambd=float(c.get("lambd", 0.5)))


@lowers("softshrink")
def _softshrink(c: Call) -> Value:
    return c.b.elementwise("soft_shrink", c.value("self"), lambd=float(c.get("lambd", 0.5)))


@lowers("tanhshrink")
def _tanhshrink(c: Call) -> Value:
    x = c.value("self")
    return c.b.subtract(x, c.b.elementwise("tanh", x))


@lowers("glu")
def _glu(c: Call) -> Value:
    x = c.value("self")
    axis = int(c.get("dim", -1))
    half = x.shape[axis] // 2
    gate = c.b.elementwise("sigmoid", c.b.slice_axis(x, axis, half, half))
    return c.b.multiply(c.b.slice_axis(x, axis, 0, half), gate)


@lowers("softmax", "_softmax", "_safe_softmax")
def _softmax(c: Call) -> Value:
    x = c.value("self")
    return open_softmax(c.b, x, int(c["dim"])) if x.shape else c.b.constant(np.ones(()))


@lowers("log_softmax", "_log_softmax")
def _log_softmax(c: Call) -> Value:
    x = c.value("self")
    return c.b.softmax(x, int(c["dim"]), log=True) if x.shape else c.b.constant(np.zeros(()))


@lowers("native_dropout")
def _dropout(c: Call) -> list[Value]:
    if not c.get("train", False) or c["p"] == 0:
        return [c.value("input"), unavailable(c.shapes[1])]
    raise c.refuse("drops entries at random in training mode; use nn.Dropout and eval mode")
