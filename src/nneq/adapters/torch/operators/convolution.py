"""Convolutions of any number of axes, plain and transposed; kernels stay as they are stored."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from nneq.adapters.torch.registry import Call, lowers
from nneq.ir import linear_map as lm
from nneq.lowering.builder import Builder, Value

__all__: list[str] = []


def _batched(c: Call, x: Value, rank: int) -> tuple[Value, bool]:
    """Return ``x`` with a batch axis, and whether one was added."""
    if len(x.shape) == rank + 2:
        return x, False
    return c.b.reshape(x, (1, *x.shape)), True


@lowers("conv1d", "conv2d", "conv3d")
def _conv(c: Call) -> Value:
    weight = c.array("weight")
    rank = weight.ndim - 2
    x, added = _batched(c, c.value("input"), rank)
    dilations = c.ints("dilation", rank) or (1,) * rank
    out = c.b.conv(
        x,
        weight,
        strides=c.ints("stride", rank) or (1,) * rank,
        dilations=dilations,
        pads=_pads(c.get("padding", 0), weight.shape[2:], dilations),
        groups=int(c.get("groups", 1)),
        bias=c.optional_array("bias"),
    )
    return c.b.reshape(out, out.shape[1:]) if added else out


def _pads(
    padding: object, kernel: Sequence[int], dilations: Sequence[int]
) -> list[tuple[int, int]]:
    if padding == "valid":
        return [(0, 0)] * len(kernel)
    if padding == "same":
        totals = [d * (k - 1) for d, k in zip(dilations, kernel, strict=True)]
        return [(total // 2, total - total // 2) for total in totals]
    # What is no string and no number is a sequence; the schema says so, not the types.
    sizes = [padding] if isinstance(padding, int) else list(padding)  # type: ignore[call-overload]
    sizes = sizes * len(kernel) if len(sizes) == 1 else sizes
    return [(int(size), int(size)) for size in sizes]


@lowers("convolution", "_convolution")
def _convolution(c: Call) -> Value:
    weight = c.array("weight")
    rank = weight.ndim - 2
    strides, dilations = c.ints("stride", rank), c.ints("dilation", rank)
    padding, groups = c.ints("padding", rank), int(c["groups"])
    bias = c.optional_array("bias")
    x = c.value("input")
    if c["transposed"]:
        extra = c.ints("output_padding", rank)
        return _adjoint(c.b, x, weight, strides, dilations, padding, extra, groups, bias)
    pads = [(p, p) for p in padding]
    return c.b.conv(
        x, weight, strides=strides, dilations=dilations, pads=pads, groups=groups, bias=bias
    )


@lowers("conv_transpose1d", "conv_transpose2d", "conv_transpose3d")
def _conv_transpose(c: Call) -> Value:
    weight = c.array("weight")
    rank = weight.ndim - 2
    x, added = _batched(c, c.value("input"), rank)
    out = _adjoint(
        c.b,
        x,
        weight,
        c.ints("stride", rank) or (1,) * rank,
        c.ints("dilation", rank) or (1,) * rank,
        c.ints("padding", rank) or (0,) * rank,
        c.ints("output_padding", rank) or (0,) * rank,
        int(c.get("groups", 1)),
        c.optional_array("bias"),
    )
    return c.b.reshape(out, out.shape[1:]) if added else out


def _adjoint(
    b: Builder,
    x: Value,
    weight: np.ndarray,
    strides: Sequence[int],
    dilations: Sequence[int],
    padding: Sequence[int],
    extra: Sequence[int],
    groups: int,
    bias: np.ndarray | None,
) -> Value:
    """Return the transposed convolution: the adjoint of the convolution with the same kernel."""
    kernel = weight.shape[2:]
    shape = (x.shape[0], weight.shape[1] * groups)
    full = tuple(
        (size - 1) * stride + dilation * (k - 1) + 1
        for size, stride, dilation, k in zip(x.shape[2:], strides, dilations, kernel, strict=True)
    )
    crops = [(p, p - e) for p, e in zip(padding, extra, strict=True)]
    inside = all(after >= 0 for _, after in crops)
    pads = tuple(crops) if inside else ((0, 0),) * len(kernel)
    spatial = tuple(f - before - after for f, (before, after) in zip(full, pads, strict=True))
    conv = lm.Conv(weight, (*shape, *spatial), tuple(strides), tuple(dilations), pads, groups)
    shaped = None if bias is None else bias.reshape(-1, *(1,) * len(kernel))
    if inside:
        return b.linear(x, lm.ConvTranspose(conv), shaped)
    grown = [(0, 0), (0, 0), *((-before, -after) for before, after in crops)]
    out = b.pad(b.linear(x, lm.ConvTranspose(conv)), grown)
    return out if shaped is None else b.add(out, b.constant(shaped))
