"""Softmax, normalisation and attention operations of ``keras.ops``."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from nneq.adapters.keras.registry import operation
from nneq.lowering import Value
from nneq.lowering import normalization as norm
from nneq.lowering.attention import repeat_heads, scaled_dot_product

if TYPE_CHECKING:
    from nneq.adapters.keras.walk import Walk

__all__ = ["softmax"]


def _axes(axis: Any, rank: int) -> tuple[int, ...]:
    if axis is None:
        return tuple(range(rank))
    listed = (axis,) if isinstance(axis, int) else tuple(axis)
    return tuple(sorted(int(a) % rank for a in listed))


@operation("Softmax", "LogSoftmax")
def _softmax(walk: Walk, op: Any, x: Any) -> Value:
    return softmax(walk, walk.value(x), op.axis, log=type(op).__name__ == "LogSoftmax")


def softmax(walk: Walk, value: Value, axis: Any, *, log: bool = False) -> Value:
    """Return the softmax (or its logarithm) over one axis or over several together."""
    b = walk.b
    axes = _axes(axis, len(value.shape))
    if len(axes) == 1:
        return b.softmax(value, axes[0], log=log)
    rest = [k for k in range(len(value.shape)) if k not in axes]
    order = [*rest, *axes]
    moved = b.permute(value, order)
    lead = moved.shape[: len(rest)]
    flat = b.reshape(moved, (*lead, math.prod(moved.shape[len(rest) :])))
    out = b.reshape(b.softmax(flat, -1, log=log), moved.shape)
    return b.permute(out, [order.index(k) for k in range(len(order))])


@operation("BatchNorm")
def _batch_norm(
    walk: Walk, op: Any, x: Any, mean: Any, variance: Any, offset: Any = None, scale: Any = None
) -> Value:
    return norm.batch_norm(
        walk.b,
        walk.value(x),
        walk.value(mean),
        walk.value(variance),
        eps=float(op.epsilon),
        scale=None if scale is None else walk.value(scale),
        bias=None if offset is None else walk.value(offset),
        axis=op.axis,
    )


def _spread(walk: Walk, vector: Any, x: Value, axes: tuple[int, ...]) -> Value | None:
    if vector is None:
        return None
    value = walk.value(vector)
    shape = [x.shape[k] if k in axes else 1 for k in range(len(x.shape))]
    if len(value.shape) == len(x.shape):
        return value
    return walk.b.reshape(value, shape)


@operation("LayerNorm")
def _layer_norm(walk: Walk, op: Any, x: Any, gamma: Any = None, beta: Any = None) -> Value:
    b, value = walk.b, walk.value(x)
    axes = _axes(op.axis, len(value.shape))
    eps = float(op.epsilon if op.epsilon is not None else keras.backend.epsilon())
    scale, bias = _spread(walk, gamma, value, axes), _spread(walk, beta, value, axes)
    if not op.rms_scaling:
        return norm.layer_norm(b, value, axes, eps=eps, scale=scale, bias=bias)
    spread = norm.variance(b, value, axes, keepdims=True)
    out = b.multiply(value, norm.inverse_sqrt(b, b.add(spread, b.constant(np.float64(eps)))))
    return out if scale is None else b.multiply(out, scale)


@operation("RMSNorm")
def _rms_norm(walk: Walk, op: Any, x: Any, scale: Any = None) -> Value:
    value = walk.value(x)
    axes = _axes(op.axis, len(value.shape))
    eps = float(op.epsilon if op.epsilon is not None else keras.backend.epsilon())
    return norm.rms_norm(walk.b, value, axes, eps=eps, scale=_spread(walk, scale, value, axes))


@operation("Normalize")
def _normalize(walk: Walk, op: Any, x: Any) -> Value:
    value = walk.value(x)
    eps = float(op.epsilon if op.epsilon is not None else keras.backend.epsilon())
    axes = _axes(op.axis, len(value.shape))
    return norm.lp_normalize(walk.b, value, op.order, axes, eps=eps)


@operation("Moments")
def _moments(walk: Walk, op: Any, x: Any) -> tuple[Value, Value]:
    b, value = walk.b, walk.value(x)
    axes = _axes(op.axes, len(value.shape))
    mean = b.mean(value, axes, keepdims=op.keepdims)
    return mean, norm.variance(b, value, axes, keepdims=op.keepdims)


@operation("DotProductAttention")
def _attention(
    walk: Walk,
    op: Any,
    query: Any,
    key: Any,
    value: Any,
    bias: Any = None,
    mask: Any = None,
    scale: Any = None,
) -> Value:
    b = walk.b
    q, k, v = (b.permute(walk.value(x), (0, 2, 1, 3)) for x in (query, key, value))
    factor = float(q.shape[-1]) ** -0.5 if scale is None else float(walk.array(scale))
    factor = walk.setting(q, factor)
    cap = 0.0
    if op.attn_logits_soft_cap is not None and keras.backend.backend() != "tensorflow":
        cap = float(op.attn_logits_soft_cap)
    allowed = None if mask is None else b.cast(walk.value(mask), bool)
    if bias is None and (allowed is None or _rows_open(allowed, q, k, op.is_causal)):
        out, _ = scaled_dot_product(
            b, q, k, v, scale=factor, mask=allowed, causal=op.is_causal, softcap=cap
        )
        return b.permute(out, (0, 2, 1, 3))
    k, v = (repeat_heads(b, x, q.shape[1]) for x in (k, v))
    turned = b.permute(k, (0, 1, 3, 2))
    scores = b.scale(b.matmul(q, turned), np.array(factor))
    if bias is not None:
        scores = b.add(scores, walk.value(bias))
    if op.is_causal:
        triangle = b.constant(np.tril(np.ones(scores.shape[-2:], dtype=bool)))
        allowed = triangle if allowed is None else b.logical_and(allowed, triangle)
    if allowed is not None:
        # Keras writes a large negative number, not minus infinity: a closed row is uniform.
        low = b.constant(np.float64(-0.7 * float(np.finfo(np.float32).max)))
        scores = b.where(b.broadcast_to(allowed, scores.shape), scores, low)
    return b.permute(b.matmul(b.softmax(scores, -1), v), (0, 2, 1, 3))


def _rows_open(mask: Value, query: Value, key: Value, causal: bool) -> bool:
    """Return whether the mask is constant and leaves an entry open in every row."""
    if mask.array is None:
        return False
    full = np.broadcast_to(mask.array, (*mask.shape[:-2], query.shape[-2], key.shape[-2]))
    if causal:
        full = full & np.tril(np.ones(full.shape[-2:], dtype=bool))
    return bool(full.any(axis=-1).all())
