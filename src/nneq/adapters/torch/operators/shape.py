"""Operators that move entries: no number changes.

The frequent ones have their own linear map.  All others are read off by running the operator itself
on the numbers ``0, 1, 2, ...``: the result says where every entry comes from.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from nneq.adapters.torch.registry import Call, lowers
from nneq.lowering.builder import Value

__all__ = ["moved"]


def moved(c: Call, x: Value, run: Any) -> list[Value]:
    """Return the results of a moving operator, as gathers.

    Args:
        c: the call.
        x: its one live operand.
        run: the operator; it takes the places of the entries and gives one or several tensors; an
            entry of -1 is 0 in the result.
    """
    places = torch.arange(x.size, dtype=torch.float64).reshape(x.shape)
    found = run(places)
    tensors = [found] if isinstance(found, torch.Tensor) else list(found)
    return [c.b.take(x, tensor.to(torch.int64).numpy()) for tensor in tensors]


def _shape(c: Call) -> tuple[int, ...]:
    return c.shapes[0]


@lowers(
    "view",
    "_unsafe_view",
    "squeeze",
    "unsqueeze",
)
def _reshape(c: Call) -> Value:
    x = c.value(next(iter(c.arguments)))
    if c.op == "view" and "dtype" in c.arguments:
        raise c.refuse("reads the bits of a tensor as another element type")
    return c.b.reshape(x, _shape(c))


@lowers("permute")
def _permute(c: Call) -> Value:
    return c.b.permute(c.value("self"), c.ints("dims"))


@lowers("transpose")
def _transpose(c: Call) -> Value:
    x = c.value("self")
    if not x.shape:
        return x
    first, second = (int(v) % len(x.shape) for v in list(c.arguments.values())[1:3])
    order = list(range(len(x.shape)))
    order[first], order[second] = second, first
    return c.b.permute(x, order)


@lowers("t")
def _t(c: Call) -> Value:
    x = c.value("self")
    rank = len(x.shape)
    if rank < 2:
        return x
    if c.op == "mT":
        return c.b.permute(x, (*range(rank - 2), rank - 1, rank - 2))
    return c.b.permute(x, tuple(range(rank))[::-1])


@lowers("expand")
def _expand(c: Call) -> Value:
    return c.b.broadcast_to(c.value("self"), _shape(c))


@lowers("broadcast_tensors")
def _broadcast_tensors(c: Call) -> list[Value]:
    return [
        c.b.broadcast_to(value, shape)
        for value, shape in zip(c.values("tensors"), c.shapes, strict=True)
    ]


@lowers("cat")
def _cat(c: Call) -> Value:
    axis = int(c.get("dim", 0))
    values = c.values("tensors")
    rank = len(_shape(c))
    kept = [v for v in values if len(v.shape) == rank and not (v.shape == (0,) and rank != 1)]
    return c.b.concat(kept, axis % rank)


@lowers("stack")
def _stack(c: Call) -> Value:
    return c.b.stack(c.values("tensors"), int(c.get("dim", 0)))


@lowers("slice")
def _slice(c: Call) -> Value:
    x = c.value("self")
    axis = int(c.get("dim", 0)) % len(x.shape)
    start, stop, step = slice(c.get("start"), c.get("end"), c.get("step", 1)).indices(x.shape[axis])
    return c.b.slice_axis(x, axis, start, len(range(start, stop, step)), step)


@lowers("select")
def _select(c: Call) -> Value:
    x, axis, index = c.value("self"), int(c["dim"]), int(c["index"])
    axis %= len(x.shape)
    cut = c.b.slice_axis(x, axis, index % x.shape[axis], 1)
    return c.b.reshape(cut, _shape(c))


@lowers(
    "split",
    "split_with_sizes",
    "unsafe_split",
)
def _split(c: Call) -> list[Value]:
    x = c.value("self")
    axis = int(c.get("dim", 0)) % len(x.shape)
    found, start = [], 0
    for shape in c.shapes:
        found.append(c.b.slice_axis(x, axis, start, shape[axis]))
        start += shape[axis]
    return found


@lowers("unbind")
def _unbind(c: Call) -> list[Value]:
    x = c.value("self")
    axis = int(c.get("dim", 0)) % len(x.shape)
    return [c.b.reshape(c.b.slice_axis(x, axis, k, 1), shape) for k, shape in enumerate(c.shapes)]


@lowers("constant_pad_nd")
def _constant_pad(c: Call) -> Value:
    return _padded(c, c.ints("pad"), float(c.get("value", 0.0)))


def _padded(c: Call, pad: tuple[int, ...], fill: float) -> Value:
    x = c.value("self")
    pairs = [(pad[k], pad[k + 1]) for k in range(0, len(pad), 2)][::-1]
    return c.b.pad(x, [(0, 0)] * (len(x.shape) - len(pairs)) + pairs, fill)


@lowers("pad")
def _pad(c: Call) -> Value:
    pad, mode = c.ints("pad"), str(c.get("mode", "constant"))
    if mode == "constant":
        return _padded(c, pad, float(c.get("value", 0.0)))
    run = torch.nn.functional.pad
    return moved(c, c.value("self"), lambda places: run(places, list(pad), mode=mode))[0]


_MOVES = (
    "flip",
    "roll",
    "rot90",
    "repeat",
    "repeat_interleave",
    "pixel_shuffle",
    "pixel_unshuffle",
    "channel_shuffle",
    "unfold",
    "diagonal",
    "reflection_pad1d",
    "reflection_pad2d",
    "reflection_pad3d",
    "replication_pad1d",
    "replication_pad2d",
    "replication_pad3d",
    "as_strided",
    "take",
    "index_select",
    "gather",
    "index",
    "_unsafe_index",
)


@lowers(*_MOVES)
def _move(c: Call) -> Value:
    """Return the operator read off the places of the entries."""
    from nneq.adapters.torch.operators.index import live_look_up

    names = list(c.arguments)
    live = [n for n in names[1:] if _is_live(c.arguments[n])]
    x = c.value(names[0])
    if live:
        return live_look_up(c, x)
    rest = {name: c.arguments[name] for name in names[1:]}
    run = c.overload
    if x.array is not None and x.node is None:
        return c.b.constant(run(torch.from_numpy(np.array(x.array)), **rest).numpy())
    return moved(c, x, lambda places: run(places, **rest))[0]


def _is_live(argument: Any) -> bool:
    many = argument if isinstance(argument, list | tuple) else [argument]
    return any(isinstance(item, Value) for item in many)


@lowers("im2col")
def _im2col(c: Call) -> Value:
    x = c.value("self")
    names = ("kernel_size", "dilation", "padding", "stride")
    options = {name: list(c.ints(name)) for name in names}

    def run(places: torch.Tensor) -> torch.Tensor:
        flat = places.reshape(1, 1, *places.shape[-2:]) if places.ndim == 2 else places + 1
        return torch.nn.functional.unfold(flat, **options) - 1

    return moved(c, x, run)[0]


@lowers("col2im")
def _col2im(c: Call) -> Value:
    """Return the adjoint of ``im2col``: every entry is added to the place it came from."""
    from nneq.ir import linear_map as lm

    x, out = c.value("self"), _shape(c)
    names = ("kernel_size", "dilation", "padding", "stride")
    options = {name: list(c.ints(name)) for name in names}
    count = int(np.prod(out))
    places = torch.arange(1, count + 1, dtype=torch.float64).reshape(out)
    index = torch.nn.functional.unfold(places, **options) - 1
    take = lm.Take(out, index.to(torch.int64).numpy().reshape(x.shape))
    return c.b.linear(x, take.transpose())


@lowers("tril", "triu")
def _triangle(c: Call) -> Value:
    x = c.value("self")
    cut = np.tril if c.op == "tril" else np.triu
    return c.b.scale(x, cut(np.ones(x.shape[-2:]), int(c.get("diagonal", 0))))


@lowers("diag_embed", "diag")
def _diag(c: Call) -> Value:
    x = c.value("self")
    rest = {name: c.arguments[name] for name in list(c.arguments)[1:]}
    run = torch.diag if c.op == "diag" else torch.diag_embed
    return moved(c, x, lambda places: run(places + 1, **rest) - 1)[0]


@lowers("zeros_like", "ones_like", "full_like", "new_zeros", "new_ones", "new_full")
def _filled(c: Call) -> Value:
    if "zeros" in c.op:
        fill = 0.0
    elif "ones" in c.op:
        fill = 1.0
    else:
        fill = c["fill_value"]
    return c.b.constant(np.full(_shape(c), fill, dtype=c.dtype))
