r"""Scaled dot-product attention and softmax under a mask.

A constant mask never becomes :math:`-\infty` in the program: rows of scores with the same allowed
columns share one softmax over those columns only, and forbidden entries are exactly 0.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np

from nneq.ir.network import Affine
from nneq.lowering.builder import Builder, Value

__all__ = ["masked_softmax", "open_softmax", "repeat_heads", "scaled_dot_product"]

Array = np.ndarray[Any, Any]

_MOST_PATTERNS = 512


def masked_softmax(b: Builder, scores: Value, allowed: Value) -> Value:
    """Return the softmax over the allowed entries of the last axis; forbidden entries are 0.

    A row without an allowed entry is 0.

    Args:
        b: the builder.
        scores: ``(..., S)``.
        allowed: booleans that broadcast to ``scores``; constant or live.
    """
    if allowed.array is None:
        return b.softmax(b.where(allowed, scores, b.constant(np.array(-np.inf))), -1)
    mask = np.broadcast_to(allowed.array.astype(bool), scores.shape)
    if mask.all():
        return b.softmax(scores, -1)
    width = scores.shape[-1]
    rows = mask.reshape(-1, width)
    patterns, which = np.unique(rows, axis=0, return_inverse=True)
    if len(patterns) > _MOST_PATTERNS and rows.any(axis=1).all():
        return b.softmax(b.add(scores, b.constant(np.where(mask, 0.0, -np.inf))), -1)
    return _by_pattern(b, scores, patterns, which.reshape(-1))


def _by_pattern(b: Builder, scores: Value, patterns: Array, which: Array) -> Value:
    width = scores.shape[-1]
    places = np.full((which.size, width), -1, dtype=np.int64)
    parts: list[Value] = []
    start = 0
    for k, pattern in enumerate(patterns):
        columns = np.flatnonzero(pattern)
        if not columns.size:
            continue
        rows = np.flatnonzero(which == k)
        index = rows[:, None] * width + columns
        weights = b.softmax(b.take(scores, index), -1)
        parts.append(b.reshape(weights, (index.size,)))
        places[np.ix_(rows, columns)] = start + np.arange(index.size).reshape(index.shape)
        start += index.size
    if not parts:
        return b.constant(np.zeros(scores.shape))
    return b.take(b.concat(parts, 0), places.reshape(scores.shape))


def repeat_heads(b: Builder, x: Value, heads: int, axis: int = -3) -> Value:
    """Return ``x`` with every head of ``axis`` repeated so that there are ``heads`` of them."""
    axis %= len(x.shape)
    own = x.shape[axis]
    if own == heads:
        return x
    return b.gather(x, np.repeat(np.arange(own), heads // own), axis)


def scaled_dot_product(
    b: Builder,
    query: Value,
    key: Value,
    value: Value,
    *,
    scale: float | None = None,
    mask: Value | None = None,
    causal: bool = False,
    softcap: float = 0.0,
) -> tuple[Value, Value]:
    r"""Return :math:`\operatorname{softmax}(s\,Q K^T + M) V` and the attention weights.

    Args:
        b: the builder.
        query: ``(..., L, E)``.
        key: ``(..., S, E)``; fewer heads (axis -3) than ``query`` are repeated.
        value: ``(..., S, F)``.
        scale: ``s``; :math:`1/\sqrt E` when None.
        mask: broadcasts to ``(..., L, S)``: booleans (true: take part) or numbers to be added.
        causal: row ``l`` sees the columns up to ``l`` only.
        softcap: ``c > 0`` turns scores ``u`` into ``c tanh(u / c)`` before the mask.

    Returns:
        ``(..., L, F)`` and ``(..., L, S)``.

    References:
        Vaswani et al. 2017, equation 1.
    """
    if len(query.shape) > 2 and len(key.shape) > 2:
        key = repeat_heads(b, key, query.shape[-3])
        value = repeat_heads(b, value, query.shape[-3])
    factor = 1.0 / math.sqrt(query.shape[-1]) if scale is None else scale
    turned = b.permute(key, (*range(len(key.shape) - 2), -1, -2))
    scores = b.scale(b.matmul(query, turned), np.array(factor))
    if softcap:
        small = b.scale(scores, np.array(1.0 / softcap))
        scores = b.scale(b.elementwise("tanh", small), np.array(softcap))
    allowed = np.ones(scores.shape[-2:], dtype=bool)
    if causal:
        allowed = np.tril(allowed)
    scores, open_ = _with_mask(b, scores, mask, allowed)
    weights = masked_softmax(b, scores, open_)
    return b.matmul(weights, value), weights


def _with_mask(
    b: Builder, scores: Value, mask: Value | None, allowed: Array
) -> tuple[Value, Value]:
    """Return the scores with the finite part of the mask, and the allowed entries."""
    if mask is None:
        return scores, b.constant(allowed)
    if mask.array is None:
        if mask.dtype.kind != "b":
            return b.add(scores, mask), b.constant(allowed)
        if not allowed.all():
            scores = b.add(scores, b.constant(np.where(allowed, 0.0, -np.inf)))
        return scores, mask
    if mask.array.dtype.kind == "b":
        return scores, b.constant(allowed & mask.array)
    open_ = ~np.isneginf(mask.array)
    finite = np.where(open_, mask.array, 0.0)
    if finite.any():
        scores = b.add(scores, b.constant(finite))
    return scores, b.constant(allowed & open_)


def open_softmax(b: Builder, x: Value, axis: int) -> Value:
    r"""Return the softmax over ``axis``, entries with a constant :math:`-\infty` left out.

    A mask that was added as :math:`-\infty` stands in the bias of an affine node; it becomes a
    softmax over the other entries, and the program holds finite numbers only.
    """
    axis %= len(x.shape)
    node = b.nodes[x.node] if x.node is not None else None
    if not isinstance(node, Affine) or node.bias is None or not np.isneginf(node.bias).any():
        return b.softmax(x, axis)
    closed = np.isneginf(node.bias)
    if np.broadcast_to(closed, x.shape).all(axis=axis).any():
        return b.softmax(x, axis)
    finite = dataclasses.replace(node, bias=np.where(closed, 0.0, node.bias))
    b.nodes.append(finite)
    scores = Value(x.shape, x.dtype, node=len(b.nodes) - 1)
    order = [k for k in range(len(x.shape)) if k != axis] + [axis]
    allowed = np.broadcast_to(~closed, x.shape).transpose(order)
    out = masked_softmax(b, b.permute(scores, order), b.constant(allowed))
    return b.permute(out, [int(k) for k in np.argsort(order)])
