"""Normalisation layers."""

from __future__ import annotations

import numpy as np

from nneq.adapters.torch.registry import Call, lowers, unavailable
from nneq.lowering.builder import Value
from nneq.lowering.normalization import batch_norm, group_norm, layer_norm, rms_norm

__all__: list[str] = []


def _input(c: Call) -> Value:
    return c.value(next(iter(c.arguments)))


@lowers(
    "batch_norm",
    "_native_batch_norm_legit_no_training",
    "_native_batch_norm_legit",
)
def _batch_norm(c: Call) -> Value | list[Value]:
    x = _input(c)
    mean, var = c.optional("running_mean"), c.optional("running_var")
    eps = float(c.get("eps", c.get("epsilon", 1e-5)))
    scale, bias = c.optional("weight"), c.optional("bias")
    if c.get("training", False) and mean is not None:
        raise c.refuse("takes its statistics from the batch (training mode); call model.eval()")
    if mean is None or var is None:
        if x.shape[0] != 1 and len(x.shape) < 3:
            raise c.refuse("takes its statistics from the batch; use track_running_stats=True")
        out = _own_statistics(c, x, eps, scale, bias)
    else:
        out = batch_norm(c.b, x, mean, var, eps=eps, scale=scale, bias=bias)
    if c.op == "batch_norm":
        return out
    return [out, *map(unavailable, c.shapes[1:])]


def _own_statistics(
    c: Call, x: Value, eps: float, scale: Value | None, bias: Value | None
) -> Value:
    axes = [k for k in range(len(x.shape)) if k != 1]
    shape = (x.shape[1], *(1,) * (len(x.shape) - 2))
    spread = [None if v is None else c.b.reshape(v, shape) for v in (scale, bias)]
    return layer_norm(c.b, x, axes, eps=eps, scale=spread[0], bias=spread[1])


@lowers("instance_norm")
def _instance_norm(c: Call) -> Value:
    x, eps = _input(c), float(c["eps"])
    scale, bias = c.optional("weight"), c.optional("bias")
    if c["use_input_stats"]:
        return group_norm(c.b, x, x.shape[1], eps=eps, scale=scale, bias=bias)
    return batch_norm(
        c.b, x, c.value("running_mean"), c.value("running_var"), eps=eps, scale=scale, bias=bias
    )


@lowers("group_norm")
def _group_norm(c: Call) -> Value:
    eps = float(c.get("eps", 1e-5))
    scale, bias = c.optional("weight"), c.optional("bias")
    return group_norm(c.b, _input(c), int(c["num_groups"]), eps=eps, scale=scale, bias=bias)


@lowers("native_group_norm")
def _native_group_norm(c: Call) -> list[Value]:
    scale, bias = c.optional("weight"), c.optional("bias")
    out = group_norm(c.b, _input(c), int(c["group"]), eps=float(c["eps"]), scale=scale, bias=bias)
    return [out, *map(unavailable, c.shapes[1:])]


@lowers("layer_norm", "native_layer_norm")
def _layer_norm(c: Call) -> Value | list[Value]:
    x = _input(c)
    axes = range(-len(c.ints("normalized_shape")), 0)
    eps = float(c.get("eps", 1e-5))
    out = layer_norm(
        c.b, x, list(axes), eps=eps, scale=c.optional("weight"), bias=c.optional("bias")
    )
    if c.op == "layer_norm":
        return out
    return [out, *map(unavailable, c.shapes[1:])]


@lowers("rms_norm")
def _rms_norm(c: Call) -> Value | list[Value]:
    x = _input(c)
    axes = range(-len(c.ints("normalized_shape")), 0)
    eps = c.get("eps")
    small = float(np.finfo(c.dtype).eps) if eps is None else float(eps)
    if eps is None and c.torch_dtype.itemsize == 2:
        small = float(np.finfo(np.float32).eps)
    out = rms_norm(c.b, x, list(axes), eps=small, scale=c.optional("weight"))
    if c.op == "rms_norm":
        return out
    return [out, *map(unavailable, c.shapes[1:])]
