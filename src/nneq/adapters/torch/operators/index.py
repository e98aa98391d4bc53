"""Look-ups and scatters: embeddings, gathers by a live index, one-hot, writes into a tensor."""

from __future__ import annotations

import numpy as np
import torch

from nneq.adapters.torch.registry import Call, lowers, unavailable
from nneq.lowering.builder import Value
from nneq.lowering.levels import note_levels
from nneq.lowering.ordering import lookup, one_hot

__all__ = ["live_look_up"]


@lowers("embedding")
def _embedding(c: Call) -> Value:
    table, index = c.value("weight"), c.value("indices")
    note_levels(c.b, index, table.shape[0])
    return lookup(c.b, table, index, 0, wrap=False)


@lowers("embedding_bag", "_embedding_bag")
def _embedding_bag(c: Call) -> list[Value]:
    b = c.b
    table, index = c.value("weight"), c.value("indices")
    offsets = c.array("offsets")
    mode = int(c.get("mode", 0))
    if c.get("padding_idx", -1) not in {-1, None}:
        raise c.refuse("padding_idx is not supported; leave the padding out of the bags")
    note_levels(b, index, table.shape[0])
    rows = lookup(b, table, index, 0, wrap=False)
    weights = c.optional("per_sample_weights")
    if weights is not None:
        rows = b.multiply(rows, b.reshape(weights, (weights.size, 1)))
    ends = [*offsets[1:].tolist(), index.size]
    if c.get("include_last_offset", False):
        ends = offsets[1:].tolist()
    bags = []
    for start, end in zip(offsets.tolist(), ends, strict=False):
        cut = b.slice_axis(rows, 0, start, end - start)
        if end == start:
            bags.append(b.constant(np.zeros(rows.shape[1:])))
        else:
            bags.append((b.sum, b.mean, b.max)[mode](cut, (0,)))
    out = b.stack(bags, 0)
    return [out, *map(unavailable, c.shapes[1:])]


@lowers("one_hot")
def _one_hot(c: Call) -> Value:
    depth = int(c.get("num_classes", -1))
    if depth < 0:
        raise c.refuse("the number of classes depends on the inputs; give num_classes")
    note_levels(c.b, c.value("self"), depth)
    return one_hot(c.b, c.value("self"), depth, dtype=np.int64)


def live_look_up(c: Call, x: Value) -> Value:
    """Return a gather by an index that depends on the inputs, as a sum over one-hot rows."""
    if c.op == "index_select":
        note_levels(c.b, c.value("index"), x.shape[int(c["dim"])])
        return lookup(c.b, x, c.value("index"), int(c["dim"]), wrap=False)
    if c.op in {"gather", "take_along_dim"}:
        return _gather(c, x)
    if c.op in {"index", "_unsafe_index"}:
        indices = list(c["indices"])
        places = [k for k, item in enumerate(indices) if item is not None]
        if len(places) == 1 and isinstance(indices[places[0]], Value):
            index = indices[places[0]]
            if index.dtype.kind != "b":
                note_levels(c.b, index, x.shape[places[0]])
                return lookup(c.b, x, index, places[0])
        raise c.refuse("several indices, or a mask, depend on the inputs")
    raise c.refuse("its index depends on the inputs")


def _gather(c: Call, x: Value) -> Value:
    """Return ``y[.., k, ..] = x[.., index[.., k, ..], ..]``."""
    b, index = c.b, c.value("index" if "index" in c.arguments else "indices")
    axis = int(c["dim"]) % len(x.shape)
    for k, size in enumerate(index.shape):
        if k != axis:
            x = b.slice_axis(x, k, 0, size)
    count = x.shape[axis]
    note_levels(b, index, count)
    last = [k for k in range(len(x.shape)) if k != axis] + [axis]
    rows = b.permute(x, last)
    chosen = one_hot(b, b.permute(index, last), count)
    wide = b.reshape(rows, (*rows.shape[:-1], 1, count))
    out = b.sum(b.multiply(b.broadcast_to(wide, chosen.shape), chosen), (-1,))
    return b.permute(out, [int(k) for k in np.argsort(last)])


@lowers(
    "select_scatter",
    "slice_scatter",
    "scatter",
    "index_copy",
    "index_put",
    "_unsafe_index_put",
    "index_fill",
    "diagonal_scatter",
    "scatter_add",
    "index_add",
    "scatter_reduce",
)
def _scatter(c: Call) -> Value:
    """Return the write into ``self``, read off two runs on the places of the entries.

    Every entry of the result is an entry of ``self``, an entry of the source, a constant, or (for
    the adding operators) a sum of one of the first and some of the second kind.
    """
    names = list(c.arguments)
    source = next((n for n in ("src", "source", "values", "value") if n in names), None)
    for name in names[1:]:
        items = c[name] if isinstance(c[name], list | tuple) else [c[name]]
        if name != source and any(isinstance(item, Value) for item in items):
            raise c.refuse(f"its argument {name!r} depends on the inputs")
    adds = c.op in {"scatter_add", "index_add"} or bool(c.get("accumulate", False))
    if c.op in {"scatter_reduce", "masked_scatter"} or c.get("reduce") is not None:
        raise c.refuse("only plain writes and sums are supported")
    x = c.value(names[0])
    other = c.value(source) if source is not None else c.b.constant(np.zeros(()))
    if adds:
        return _added(c, x, other, str(source))
    return _written(c, x, other, source)


def _run(c: Call, first: torch.Tensor, source: str | None, second: torch.Tensor) -> torch.Tensor:
    names = list(c.arguments)
    rest = {name: c[name] for name in names[1:]}
    if source is not None:
        number = isinstance(c[source], int | float)
        rest[source] = float(second) if number else second
    found: torch.Tensor = c.overload(first, **rest)
    return found


def _written(c: Call, x: Value, other: Value, source: str | None) -> Value:
    own = torch.arange(x.size, dtype=torch.float64).reshape(x.shape)
    theirs = -2.0 - torch.arange(other.size, dtype=torch.float64).reshape(other.shape)
    places = _run(c, own, source, theirs).numpy().astype(np.int64)
    from_own = np.where(places >= 0, places, -1)
    from_other = np.where(places <= -2, -2 - places, -1)
    return c.b.add(c.b.take(x, from_own), c.b.take(other, from_other))


def _added(c: Call, x: Value, other: Value, source: str) -> Value:
    """Return ``x`` plus the scattered source; one run per entry of it says where it goes."""
    if other.size * x.size > 1 << 24:
        raise c.refuse("the scattered sum is too large to be read off entry by entry")
    zero = torch.zeros(x.shape, dtype=torch.float64)
    columns = []
    for k in range(other.size):
        unit = torch.zeros(other.size, dtype=torch.float64)
        unit[k] = 1.0
        columns.append(_run(c, zero, source, unit.reshape(other.shape)).numpy().reshape(-1))
    matrix = np.stack(columns, axis=1)
    flat = c.b.reshape(other, (other.size,))
    part = c.b.matmul(c.b.constant(matrix), flat)
    return c.b.add(x, c.b.reshape(part, x.shape))
