"""Normalisations that ONNX does not define by other operators."""

from __future__ import annotations

from nneq.adapters.onnx.call import Call, operator, retyped, wide
from nneq.errors import NneqError
from nneq.lowering import Value
from nneq.lowering.normalization import batch_norm, group_norm, lp_normalize

__all__ = []


def _typed(out: Value, x: Value) -> Value:
    return out if out.array is not None else retyped(out, x.dtype)


@operator("BatchNormalization")
def batch_normalization(call: Call) -> Value:
    """Batch normalisation with the stored statistics."""
    x = call.input(0)
    if call.since >= 14 and call.attribute("training_mode"):
        msg = "batch normalisation in training mode uses the statistics of the batch"
        raise call.refuse(f"{msg}; export the model in inference mode")
    if call.since < 9 and call.attribute("spatial") == 0:
        msg = "statistics per entry (spatial=0); export with opset 9 or newer"
        raise call.refuse(msg)
    scale, bias, mean, var = (call.input(k) for k in range(1, 5))
    if len(x.shape) < 2 or any(v.shape != (x.shape[1],) for v in (scale, bias, mean, var)):
        msg = f"statistics of shape {mean.shape} do not fit a tensor of shape {x.shape}"
        raise NneqError(msg)
    out = batch_norm(
        call.builder, wide(x), mean, var,
        eps=float(call.attribute("epsilon")), scale=scale, bias=bias,
    )  # fmt: skip
    return _typed(out, x)


@operator("InstanceNormalization")
def instance_normalization(call: Call) -> Value:
    """Every channel of every sample normalised by itself."""
    x, scale, bias = call.input(0), call.input(1), call.input(2)
    if len(x.shape) < 3 or scale.shape != (x.shape[1],) or bias.shape != (x.shape[1],):
        msg = f"a scale of shape {scale.shape} does not fit a tensor of shape {x.shape}"
        raise NneqError(msg)
    out = group_norm(
        call.builder, wide(x), x.shape[1],
        eps=float(call.attribute("epsilon")), scale=wide(scale), bias=wide(bias),
    )  # fmt: skip
    return _typed(out, x)


@operator("LpNormalization")
def lp_normalization(call: Call) -> Value:
    """``x / norm(x)`` along an axis; zero where the norm is zero."""
    x = call.input(0)
    axis = call.axis(int(call.attribute("axis")), len(x.shape))
    out = lp_normalize(call.builder, wide(x), float(call.attribute("p")), (axis,))
    return _typed(out, x)
