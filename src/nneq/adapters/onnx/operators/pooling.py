"""Pooling and local response normalisation."""

from __future__ import annotations

import numpy as np

from nneq.adapters.onnx.call import Call, operator, retyped, wide
from nneq.adapters.onnx.limits import MAX_LIVE, check_size
from nneq.adapters.onnx.windows import window_attributes
from nneq.errors import NneqError
from nneq.lowering import Value
from nneq.lowering.normalization import lp_norm
from nneq.lowering.pooling import average_pool, lp_pool, max_pool, max_pool_indices

__all__ = []


def _ceil(call: Call) -> bool:
    return bool(call.attribute("ceil_mode"))


@operator("MaxPool")
def max_pooling(call: Call) -> list[Value]:
    """The maximum over windows, and where it stands."""
    x = call.input(0)
    w = window_attributes(call, x, None, ceil_mode=_ceil(call))
    b, ceil = call.builder, _ceil(call)
    out = max_pool(b, x, w.kernel, w.strides, w.pads, w.dilations, ceil_mode=ceil)
    found = [retyped(out, x.dtype)]
    if len(call.node.output) > 1 and call.node.output[1]:
        found.append(
            max_pool_indices(
                b, x, w.kernel, w.strides, w.pads, w.dilations, ceil_mode=ceil,
                column_major=bool(call.attribute("storage_order")),
            )
        )  # fmt: skip
    return found


@operator("AveragePool")
def average_pooling(call: Call) -> Value:
    """The mean over windows."""
    x = call.input(0)
    w = window_attributes(call, x, None, ceil_mode=_ceil(call))
    out = average_pool(
        call.builder, wide(x), w.kernel, w.strides, w.pads, w.dilations, ceil_mode=_ceil(call),
        count_include_pad=bool(call.attribute("count_include_pad")),
    )  # fmt: skip
    return out if out.array is not None else retyped(out, x.dtype)


@operator("LpPool")
def lp_pooling(call: Call) -> Value:
    """The p-norm over windows."""
    x = call.input(0)
    w = window_attributes(call, x, None, ceil_mode=_ceil(call))
    p = float(call.attribute("p"))
    if p <= 0:
        msg = f"p is {p}"
        raise NneqError(msg)
    out = lp_pool(
        call.builder, wide(x), w.kernel, w.strides, w.pads, w.dilations, p=p, ceil_mode=_ceil(call)
    )
    return out if out.array is not None else retyped(out, x.dtype)


@operator("GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool")
def global_pooling(call: Call) -> Value:
    """Pooling over all spatial axes."""
    b, x = call.builder, call.input(0)
    axes = tuple(range(2, len(x.shape)))
    if not axes:
        msg = f"pooling over a tensor of shape {x.shape}, which has no spatial axes"
        raise NneqError(msg)
    kind = call.node.op_type
    if kind == "GlobalMaxPool":
        return retyped(b.max(x, axes, keepdims=True), x.dtype)
    if kind == "GlobalAveragePool":
        out = b.mean(wide(x), axes, keepdims=True)
    else:
        out = lp_norm(b, wide(x), float(call.attribute("p")), axes, keepdims=True)
    return out if out.array is not None else retyped(out, x.dtype)


@operator("LRN")
def local_response(call: Call) -> Value:
    r""":math:`x \,(k + \tfrac{\alpha}{n} \sum_{window} x^2)^{-\beta}` over channels."""
    b, x = call.builder, wide(call.input(0))
    size = int(call.attribute("size"))
    if size < 1 or len(x.shape) < 3:
        msg = f"a window of {size} channels of a tensor {x.shape}"
        raise NneqError(msg)
    n, channels = x.shape[:2]
    points = x.size // max(1, n * channels)
    before, after = min((size - 1) // 2, channels), min(size // 2, channels)
    check_size((n, channels + before + after, points), MAX_LIVE)
    squares = b.reshape(b.elementwise("square", x), (n, 1, channels, points))
    kernel = np.ones((1, 1, before + after + 1, 1), dtype=np.float32)
    total = b.conv(
        squares, kernel, strides=(1, 1), dilations=(1, 1), pads=((before, after), (0, 0))
    )
    scaled = b.scale(total, np.array(float(call.attribute("alpha")) / size))
    base = b.add(scaled, b.constant(np.float64(call.attribute("bias"))))
    factor = b.power(base, b.constant(np.float64(-float(call.attribute("beta")))))
    out = b.multiply(x, b.reshape(factor, x.shape))
    return out if out.array is not None else retyped(out, call.input(0).dtype)
