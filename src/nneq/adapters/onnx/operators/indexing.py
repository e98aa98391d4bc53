"""Reading and writing at given places."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from nneq.adapters.onnx.call import Call, operator, retyped
from nneq.adapters.onnx.limits import MAX_CONSTANT, check_size
from nneq.adapters.onnx.ports import with_levels
from nneq.errors import NneqError
from nneq.ir import Affine, Input
from nneq.ir import linear_map as lm
from nneq.lowering import Builder, Value
from nneq.lowering.ordering import lookup

__all__ = ["note_levels"]

Array = np.ndarray[Any, Any]

_LIVE_INDEX = (
    "the places depend on the inputs; only Gather and OneHot of an integer input can be written"
)


def _places(index: Array, size: int, what: str = "the index") -> Array:
    """Return places counted from the front.

    Raises:
        NneqError: when a place does not exist.
    """
    whole = index.astype(np.int64)
    if whole.size and not (-size <= int(whole.min()) and int(whole.max()) < size):
        msg = f"{what} {int(whole.min())} .. {int(whole.max())} does not fit an axis of {size}"
        raise NneqError(msg)
    return np.where(whole < 0, whole + size, whole)


def _source(b: Builder, x: Value) -> int | None:
    """Return the input whose entries ``x`` only rearranges, or None."""
    place = x.node
    while place is not None:
        node = b.nodes[place]
        if isinstance(node, Input):
            return place
        if not (isinstance(node, Affine) and len(node.terms) == 1 and node.bias is None):
            return None
        if any(stage.fan_in for stage in node.terms[0].map.stages()):
            return None
        place = node.terms[0].arg
    return None


def note_levels(b: Builder, index: Value, depth: int) -> None:
    """Note that an integer input which ``index`` only rearranges counts ``0 .. depth - 1``."""
    source = _source(b, index)
    if source is not None:
        with_levels(b, source, depth)


@operator("Gather")
def gather(call: Call) -> Value:
    """Slices along an axis; a live integer index becomes a look-up in one-hot form."""
    b, x, index = call.builder, call.input(0), call.input(1)
    axis = call.axis(int(call.attribute("axis")), len(x.shape))
    call.shape((*x.shape[:axis], *index.shape, *x.shape[axis + 1 :]), x, index)
    if index.array is None:
        note_levels(b, index, x.shape[axis])
        return retyped(lookup(b, x, index, axis), x.dtype)
    return b.gather(x, _places(index.array, x.shape[axis]), axis)


@operator("GatherElements")
def gather_elements(call: Call) -> Value:
    """``x[..., index[...], ...]`` along an axis."""
    x = call.input(0)
    index = call.input(1)
    if index.array is None:
        raise call.refuse(_LIVE_INDEX)
    axis = call.axis(int(call.attribute("axis")), len(x.shape))
    places = np.arange(x.size, dtype=np.int64).reshape(x.shape)
    trimmed = places[
        tuple(slice(None) if k == axis else slice(s) for k, s in enumerate(index.shape))
    ]
    found = np.take_along_axis(trimmed, _places(index.array, x.shape[axis]), axis)
    return call.builder.take(x, found)


def _nd_places(shape: tuple[int, ...], index: Array, batch: int = 0) -> Array:
    """Return flat places of the slices that the last axis of ``index`` names."""
    depth = index.shape[-1]
    if depth > len(shape) - batch:
        msg = f"an index of {depth} numbers in a tensor of {len(shape)} axes"
        raise NneqError(msg)
    tail = shape[batch + depth :]
    flat = np.zeros(index.shape[:-1], dtype=np.int64)
    for k in range(depth):
        flat = flat * shape[batch + k] + _places(index[..., k], shape[batch + k])
    inner = math.prod(tail)
    check_size((*flat.shape, inner), MAX_CONSTANT * 2, "the index")
    flat = flat[..., None] * inner + np.arange(inner)
    return flat.reshape(*index.shape[:-1], *tail)


@operator("GatherND")
def gather_nd(call: Call) -> Value:
    """Slices at the places named by the last axis of the index."""
    x = call.input(0)
    index = call.input(1)
    if index.array is None:
        raise call.refuse(_LIVE_INDEX)
    batch = int(call.attribute("batch_dims") or 0)
    found = _nd_places(x.shape, index.array, batch)
    if batch:
        lead = math.prod(x.shape[:batch])
        offset = np.arange(lead).reshape(x.shape[:batch]) * math.prod(x.shape[batch:])
        found = found + offset.reshape(*offset.shape, *(1,) * (found.ndim - batch))
    return call.builder.take(x, found)


@operator("ScatterElements", "Scatter")
def scatter_elements(call: Call) -> Value:
    """The operand with updates written along an axis."""
    x, updates = call.input(0), call.input(2)
    index = call.input(1)
    if index.array is None:
        raise call.refuse(_LIVE_INDEX)
    axis = call.axis(int(call.attribute("axis")), len(x.shape))
    if index.shape != updates.shape or len(index.shape) != len(x.shape):
        msg = f"indices {index.shape} and updates {updates.shape} must have one shape"
        raise NneqError(msg)
    grid = list(np.indices(index.shape, sparse=True))
    grid[axis] = _places(index.array, x.shape[axis])
    if any(s > t for k, (s, t) in enumerate(zip(index.shape, x.shape, strict=True)) if k != axis):
        msg = f"indices {index.shape} reach outside {x.shape}"
        raise NneqError(msg)
    steps = [math.prod(x.shape[k + 1 :]) for k in range(len(x.shape))]
    flat = np.zeros(index.shape, dtype=np.int64)
    for part, step in zip(grid, steps, strict=True):
        flat = flat + part * step
    reduction = call.attribute("reduction") if call.since >= 16 else None
    return _scattered(call, x, flat, updates, reduction or "none")


@operator("ScatterND")
def scatter_nd(call: Call) -> Value:
    """The operand with slices written at the places the last axis of the index names."""
    x, updates = call.input(0), call.input(2)
    index = call.input(1)
    if index.array is None:
        raise call.refuse(_LIVE_INDEX)
    flat = _nd_places(x.shape, index.array)
    if flat.shape != updates.shape:
        msg = f"updates {updates.shape} do not fit the index (they need {flat.shape})"
        raise NneqError(msg)
    reduction = call.attribute("reduction") if call.since >= 16 else None
    return _scattered(call, x, flat, updates, reduction or "none")


def _scattered(call: Call, x: Value, flat: Array, updates: Value, reduction: str) -> Value:
    b = call.builder
    index = flat.reshape(-1)
    entries = b.reshape(updates, (updates.size,))
    if reduction == "none":
        pick = np.arange(x.size, dtype=np.int64)
        pick[index] = x.size + np.arange(index.size)
        both = b.concat([b.reshape(x, (x.size,)), entries], 0)
        return retyped(b.take(both, pick.reshape(x.shape)), x.dtype)
    if reduction == "add":
        spread = b.linear(entries, lm.Scatter(lm.Take(x.shape, index)))
        return retyped(b.add(x, spread), x.dtype)
    if reduction not in {"mul", "max", "min"}:
        msg = f"the reduction {reduction!r} is not known"
        raise NneqError(msg)
    # One round per repetition: round r combines the r-th update of every place.
    order = np.argsort(index, kind="stable")
    ranks = np.arange(index.size) - np.searchsorted(index[order], index[order])
    rounds = int(ranks.max()) + 1 if index.size else 0
    if rounds > 64:
        msg = f"{rounds} updates of one entry with reduction {reduction!r}"
        raise call.refuse(msg)
    choices: dict[str, Callable[..., Value]] = {
        "mul": b.multiply,
        "max": b.maximum,
        "min": b.minimum,
    }
    combine = choices[reduction]
    for level in range(rounds):
        chosen = order[ranks == level]
        places = index[chosen]
        both = combine(b.take(x, places), b.take(entries, chosen))
        pick = np.arange(x.size, dtype=np.int64)
        pick[places] = x.size + np.arange(places.size)
        joined = b.concat([b.reshape(x, (x.size,)), b.reshape(both, (places.size,))], 0)
        x = retyped(b.take(joined, pick.reshape(x.shape)), x.dtype)
    return x


@operator("Compress")
def compress(call: Call) -> Value:
    """The slices where a constant condition holds."""
    x = call.input(0)
    keep = call.constant(1, "the condition")
    axis = call.attribute("axis")
    if axis is None:
        x = call.builder.reshape(x, (x.size,))
        axis = 0
    axis = call.axis(int(axis), len(x.shape))
    chosen = np.flatnonzero(np.asarray(keep))
    return call.builder.gather(x, _places(chosen, x.shape[axis]), axis)


@operator("NonZero")
def non_zero(call: Call) -> Value:
    """Where a constant is not zero."""
    x = call.constant(0, "the operand")
    return call.builder.constant(np.array(np.nonzero(np.asarray(x)), dtype=np.int64))
