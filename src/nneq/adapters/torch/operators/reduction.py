"""Sums, means, extremes, norms, sorting."""

from __future__ import annotations

import numpy as np

from nneq.adapters.torch.registry import Call, lowers
from nneq.lowering.builder import Value
from nneq.lowering.normalization import lp_norm, variance
from nneq.lowering.ordering import argmax, argmin, cumulative_sum, top_k

__all__: list[str] = []


def _over(c: Call, name: str = "dim") -> tuple[Value, tuple[int, ...], bool]:
    x = c.value("self")
    return x, c.axes(name, len(x.shape)), bool(c.get("keepdim", False))


@lowers("sum", "mean")
def _sum(c: Call) -> Value:
    x, axes, keep = _over(c)
    reduce = c.b.sum if c.op == "sum" else c.b.mean
    return reduce(c.number(x), axes, keepdims=keep)


@lowers("amax", "amin")
def _extreme(c: Call) -> Value:
    x, axes, keep = _over(c)
    return (c.b.max if c.op == "amax" else c.b.min)(x, axes, keepdims=keep)


@lowers("aminmax")
def _aminmax(c: Call) -> list[Value]:
    x, axes, keep = _over(c)
    return [c.b.min(x, axes, keepdims=keep), c.b.max(x, axes, keepdims=keep)]


@lowers("max", "min")
def _max(c: Call) -> Value | list[Value]:
    if "other" in c.arguments:
        pair = c.number(c.value("self")), c.number(c.value("other"))
        return c.b.maximum(*pair) if c.op == "max" else c.b.minimum(*pair)
    reduce, place = (c.b.max, argmax) if c.op == "max" else (c.b.min, argmin)
    if "dim" not in c.arguments:
        return reduce(c.value("self"))
    x, axes, keep = _over(c)
    if not x.shape:
        return [x, c.b.constant(np.int64(0))]
    found = reduce(x, axes, keepdims=keep)
    return [found, place(c.b, x, axes[0], keepdims=keep)]


@lowers("argmax", "argmin")
def _argmax(c: Call) -> Value:
    x = c.value("self")
    place = argmax if c.op == "argmax" else argmin
    if c.get("dim") is None:
        return c.b.reshape(place(c.b, c.b.reshape(x, (x.size,)), 0), c.shapes[0])
    if not x.shape:
        return c.b.constant(np.int64(0))
    return place(c.b, x, int(c["dim"]), keepdims=bool(c.get("keepdim", False)))


@lowers("prod")
def _prod(c: Call) -> Value:
    x = c.value("self")
    axes = (int(c["dim"]),) if c.get("dim") is not None else None
    if axes is None:
        x, axes = c.b.reshape(x, (x.size,)), (0,)
    axis = axes[0] % max(1, len(x.shape))
    parts = [c.b.slice_axis(x, axis, k, 1) for k in range(x.shape[axis])] if x.shape else [x]
    if not parts:
        return c.b.constant(np.ones(c.shapes[0]))
    while len(parts) > 1:
        parts = [
            c.b.multiply(*parts[k : k + 2]) if k + 1 < len(parts) else parts[k]
            for k in range(0, len(parts), 2)
        ]
    return c.b.reshape(parts[0], c.shapes[0])


@lowers("var", "std", "var_mean", "std_mean")
def _variance(c: Call) -> Value | list[Value]:
    x, axes, keep = _over(c)
    correction = c.get("correction", 1)
    if "unbiased" in c.arguments:
        correction = 1 if c["unbiased"] else 0
    found = variance(c.b, x, axes, correction=float(correction), keepdims=keep)
    if c.op.startswith("std"):
        found = c.b.elementwise("sqrt", found)
    return [found, c.b.mean(x, axes, keepdims=keep)] if c.op.endswith("mean") else found


@lowers("logsumexp")
def _logsumexp(c: Call) -> Value:
    x, axes, keep = _over(c)
    return c.b.logsumexp(c.number(x), axes, keepdims=keep)


@lowers("norm", "linalg_vector_norm")
def _norm(c: Call) -> Value:
    x, axes, keep = _over(c)
    order = c.get("ord", c.get("p", 2))
    if isinstance(order, str):
        raise c.refuse(f"a matrix norm of order {order!r} is not supported")
    return lp_norm(c.b, x, float(order), axes, keepdims=keep)


@lowers("any", "all")
def _any(c: Call) -> Value:
    x, axes, keep = _over(c)
    truth = c.number(c.b.cast(x, np.bool_))
    found = (c.b.max if c.op == "any" else c.b.min)(truth, axes, keepdims=keep)
    return c.b.cast(found, np.bool_)


@lowers("count_nonzero")
def _count(c: Call) -> Value:
    x, axes, _ = _over(c)
    return c.b.sum(c.number(c.b.cast(x, np.bool_)), axes)


@lowers("cumsum")
def _cumsum(c: Call) -> Value:
    x = c.number(c.value("self"))
    return cumulative_sum(c.b, x, int(c["dim"])) if x.shape else x


@lowers("cumprod")
def _cumprod(c: Call) -> Value:
    x = c.value("self")
    if not x.shape:
        return x
    axis = int(c["dim"]) % len(x.shape)
    found = [c.b.slice_axis(x, axis, 0, 1)]
    for k in range(1, x.shape[axis]):
        found.append(c.b.multiply(found[-1], c.b.slice_axis(x, axis, k, 1)))
    return c.b.concat(found, axis)


@lowers("logcumsumexp")
def _logcumsumexp(c: Call) -> Value:
    x = c.value("self")
    if not x.shape:
        return x
    axis = int(c["dim"]) % len(x.shape)
    parts = [
        c.b.logsumexp(c.b.slice_axis(x, axis, 0, k + 1), (axis,), keepdims=True)
        for k in range(x.shape[axis])
    ]
    return c.b.concat(parts, axis)


@lowers("cummax", "cummin")
def _cummax(c: Call) -> list[Value]:
    x = c.value("self")
    if not x.shape:
        return [x, c.b.constant(np.int64(0))]
    axis = int(c["dim"]) % len(x.shape)
    largest = c.op == "cummax"
    reduce, place = (c.b.max, argmax) if largest else (c.b.min, argmin)
    cuts = [c.b.slice_axis(x, axis, 0, k + 1) for k in range(x.shape[axis])]
    found = [reduce(cut, (axis,), keepdims=True) for cut in cuts]
    places = [place(c.b, cut, axis, keepdims=True, last=True) for cut in cuts]
    return [c.b.concat(found, axis), c.b.concat(places, axis)]


@lowers("topk")
def _topk(c: Call) -> list[Value]:
    largest = bool(c.get("largest", True))
    if not c.value("self").shape:
        return [c.value("self"), c.b.constant(np.int64(0))]
    return list(top_k(c.b, c.value("self"), int(c["k"]), int(c.get("dim", -1)), largest=largest))


@lowers("sort", "argsort")
def _sort(c: Call) -> Value | list[Value]:
    x = c.value("self")
    axis = int(c.get("dim", -1))
    descending = bool(c.get("descending", False))
    if not x.shape:
        zero = c.b.constant(np.int64(0))
        return zero if c.op == "argsort" else [x, zero]
    found, places = top_k(c.b, x, x.shape[axis], axis, largest=descending)
    return places if c.op == "argsort" else [found, places]


@lowers("kthvalue", "median")
def _kth(c: Call) -> Value | list[Value]:
    x = c.value("self")
    whole = c.op != "kthvalue" and "dim" not in c.arguments
    if not x.shape and not whole:
        return [x, c.b.constant(np.int64(0))]
    if whole:
        x = c.b.reshape(x, (x.size,))
    axis = 0 if whole else int(c.get("dim", -1)) % len(x.shape)
    k = int(c["k"]) if c.op == "kthvalue" else (x.shape[axis] + 1) // 2
    found = top_k(c.b, x, k, axis, largest=False)
    last = [c.b.slice_axis(v, axis, k - 1, 1) for v in found]
    shaped = [c.b.reshape(v, shape) for v, shape in zip(last, c.shapes, strict=False)]
    return shaped[0] if whole else shaped


@lowers("trace")
def _trace(c: Call) -> Value:
    x = c.value("self")
    count = min(x.shape)
    places = np.arange(count) * (x.shape[1] + 1)
    return c.b.sum(c.b.take(x, places))


@lowers("renorm")
def _renorm(c: Call) -> Value:
    x, axis = c.value("self"), int(c["dim"])
    others = [k for k in range(len(x.shape)) if k != axis % len(x.shape)]
    norm = lp_norm(c.b, x, float(c["p"]), others, keepdims=True)
    most = c.b.constant(np.float64(c["maxnorm"]))
    floor = c.b.add(norm, c.b.constant(np.float64(1e-7)))
    one = c.b.constant(np.float64(1.0))
    factor = c.b.select(c.b.subtract(norm, most), ">", c.b.divide(most, floor), one)
    return c.b.multiply(x, factor)
