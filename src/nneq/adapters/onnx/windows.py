"""Windows of convolutions and pooling: attributes common to both families."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from nneq.adapters.onnx.call import Call
from nneq.adapters.onnx.limits import MAX_LIVE, check_size
from nneq.errors import NneqError
from nneq.lowering import Value

__all__ = ["Windows", "window_attributes"]

Pads = tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Windows:
    """Window geometry, one entry per spatial axis."""

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    pads: Pads


def window_attributes(
    call: Call, x: Value, kernel: Sequence[int] | None, *, ceil_mode: bool = False
) -> Windows:
    """Return the geometry a node asks for, automatic padding included.

    Raises:
        NneqError: when attributes do not fit the operand.
    """
    rank = len(x.shape) - 2
    if rank < 1:
        msg = f"a window over a tensor of shape {x.shape}, which has no spatial axes"
        raise NneqError(msg)
    named = call.attribute("kernel_shape")
    size = tuple(int(k) for k in (named if named is not None else kernel or ()))
    strides = _per_axis(call, "strides", rank)
    dilations = _per_axis(call, "dilations", rank)
    if len(size) != rank or min(size) < 1:
        msg = f"a window {size} over {rank} spatial axes"
        raise NneqError(msg)
    pads = _pads(call, x.shape[2:], size, strides, dilations)
    windows = Windows(size, strides, dilations, pads)
    _check(windows, x, ceil_mode=ceil_mode)
    return windows


def _per_axis(call: Call, name: str, rank: int) -> tuple[int, ...]:
    found = call.attribute(name)
    values = tuple(int(v) for v in found) if found is not None else (1,) * rank
    if len(values) != rank or min(values) < 1:
        msg = f"{name} {values} over {rank} spatial axes"
        raise NneqError(msg)
    return values


def _pads(
    call: Call,
    spatial: Sequence[int],
    kernel: Sequence[int],
    strides: Sequence[int],
    dilations: Sequence[int],
) -> Pads:
    rank = len(kernel)
    mode = call.attribute("auto_pad") or "NOTSET"
    if mode in {"NOTSET", ""}:
        pads = [int(p) for p in (call.attribute("pads") or [0] * (2 * rank))]
        if len(pads) != 2 * rank:
            msg = f"{len(pads)} pads over {rank} spatial axes"
            raise NneqError(msg)
        return tuple((pads[k], pads[rank + k]) for k in range(rank))
    if mode == "VALID":
        return ((0, 0),) * rank
    if mode not in {"SAME_UPPER", "SAME_LOWER"}:
        msg = f"auto_pad {mode!r} is not known"
        raise NneqError(msg)
    found = []
    for size, k, stride, dilation in zip(spatial, kernel, strides, dilations, strict=True):
        total = max(0, (-(-size // stride) - 1) * stride + (k - 1) * dilation + 1 - size)
        small = total // 2
        found.append((small, total - small) if mode == "SAME_UPPER" else (total - small, small))
    return tuple(found)


def _check(windows: Windows, x: Value, *, ceil_mode: bool) -> None:
    padded, outs = [], []
    for size, k, stride, dilation, (before, after) in zip(
        x.shape[2:], windows.kernel, windows.strides, windows.dilations, windows.pads, strict=True
    ):
        whole = size + before + after
        free = whole - dilation * (k - 1) - 1
        outs.append(max(0, (-(-free // stride) if ceil_mode else free // stride) + 1))
        padded.append(max(0, whole))
    check_size((*x.shape[:2], *padded), MAX_LIVE * 4, "the padded operand")
    check_size((*x.shape[:1], *outs), MAX_LIVE, "the result")
    check_size((math.prod(windows.kernel),), 1 << 20, "the window")
