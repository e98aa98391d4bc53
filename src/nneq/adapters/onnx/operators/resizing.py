"""Resize and Upsample, axis by axis."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from nneq.adapters.onnx.call import Call, operator, retyped, wide
from nneq.errors import NneqError
from nneq.lowering import Value
from nneq.lowering.resize import interpolation_matrix, resize, sample_positions

__all__ = []

Array = np.ndarray[Any, Any]


@operator("Upsample")
def upsample(call: Call) -> Value:
    """Nearest or linear interpolation with scales, places counted from the corner."""
    x = call.input(0)
    if call.since < 9:
        scales = call.attribute("scales")
    else:
        found = call.constant(1, "scales")
        scales = None if found is None else [float(s) for s in found.reshape(-1)]
    if scales is None or len(scales) != len(x.shape):
        msg = f"scales {scales} do not fit a tensor of shape {x.shape}"
        raise NneqError(msg)
    mode = str(call.attribute("mode"))
    sizes = [math.floor(s * f) for s, f in zip(x.shape, scales, strict=True)]
    call.shape(sizes, x)
    matrices = {}
    for axis, (size, scale) in enumerate(zip(sizes, scales, strict=True)):
        if scale == 1.0:
            continue
        at = sample_positions(x.shape[axis], size, "asymmetric", scale=scale)
        kind = "nearest" if mode == "nearest" else "linear"
        matrices[axis] = interpolation_matrix(at, x.shape[axis], kind, rounding="floor")
    return _resized(call, x, matrices)


def _resized(call: Call, x: Value, matrices: dict[int, Array]) -> Value:
    out = resize(call.builder, wide(x), matrices)
    return out if out.array is not None else retyped(out, x.dtype)


@operator("Resize")
def resizing(call: Call) -> Value:
    """Interpolation to given sizes or scales."""
    x = call.input(0)
    rank = len(x.shape)
    if call.since < 11:
        scales = call.constant(1, "scales")
        sizes = roi = None
        axes = list(range(rank))
    else:
        roi, scales = call.constant(1, "roi"), call.constant(2, "scales")
        sizes = call.integers(3, "sizes")
        named = call.attribute("axes") if call.since >= 18 else None
        axes = list(range(rank)) if named is None else [call.axis(int(a), rank) for a in named]
    factors = None if scales is None or scales.size == 0 else [float(s) for s in scales.reshape(-1)]
    if factors is None and sizes is None:
        msg = "neither sizes nor scales are given"
        raise NneqError(msg)
    if len(factors if factors is not None else sizes or []) != len(axes):
        msg = f"sizes or scales do not fit {len(axes)} axes"
        raise NneqError(msg)
    named_scales = factors is not None
    extents, factors = _extents(call, x, axes, factors, sizes)
    shape = list(x.shape)
    for axis, size in zip(axes, extents, strict=True):
        shape[axis] = size
    call.shape(shape, x)
    matrices = _matrices(call, x, axes, extents, factors, roi, named_scales=named_scales)
    return _resized(call, x, matrices)


def _extents(
    call: Call, x: Value, axes: list[int], factors: list[float] | None, sizes: list[int] | None
) -> tuple[list[int], list[float]]:
    own = [x.shape[axis] for axis in axes]
    if factors is not None:
        if not all(math.isfinite(f) and 0 < f < 1e9 for f in factors):
            msg = f"scales {factors}"
            raise NneqError(msg)
        return [math.floor(s * f) for s, f in zip(own, factors, strict=True)], factors
    wanted = [int(size) for size in sizes or []]
    policy = call.attribute("keep_aspect_ratio_policy") if call.since >= 18 else "stretch"
    if min(own) < 1 or min(wanted) < 1:
        msg = f"sizes {wanted} from {own}"
        raise NneqError(msg)
    ratios = [size / s for s, size in zip(own, wanted, strict=True)]
    if policy == "stretch":
        return wanted, ratios
    one = min(ratios) if policy == "not_larger" else max(ratios)
    return [math.floor(one * s + 0.5) for s in own], [one] * len(own)


def _matrices(
    call: Call,
    x: Value,
    axes: list[int],
    extents: list[int],
    factors: list[float],
    roi: Array | None,
    *,
    named_scales: bool,
) -> dict[int, Array]:
    mode = str(call.attribute("mode"))
    named = call.attribute("coordinate_transformation_mode")
    transform = named if call.since >= 11 else "asymmetric"
    rounding = call.attribute("nearest_mode") if call.since >= 11 else "floor"
    coefficient = call.attribute("cubic_coeff_a")
    antialias = bool(call.attribute("antialias")) if call.since >= 18 else False
    crop = transform == "tf_crop_and_resize"
    matrices = {}
    for k, (axis, size, factor) in enumerate(zip(axes, extents, factors, strict=True)):
        own = x.shape[axis]
        if size == own and factor == 1.0 and not crop:
            continue
        region = (0.0, 1.0)
        if crop:
            if roi is None or roi.size != 2 * len(axes):
                msg = "tf_crop_and_resize needs a region of interest for every axis"
                raise NneqError(msg)
            flat = roi.reshape(-1)
            region = (float(flat[k]), float(flat[len(axes) + k]))
        if transform == "align_corners" and named_scales and abs(own * factor - size) > 1e-6:
            msg = (
                f"align_corners with a scale of {factor:g} on {own} entries, which the ONNX "
                "reference and onnxruntime read differently; export with sizes"
            )
            raise call.refuse(msg)
        at = sample_positions(own, size, str(transform), scale=factor, roi=region)
        if crop and ((at < 0) | (at > own - 1)).any():
            msg = "a region of interest outside the tensor"
            raise call.refuse(msg)
        matrices[axis] = interpolation_matrix(
            at,
            own,
            mode,
            rounding=str(rounding or "round_prefer_floor"),
            coefficient=-0.75 if coefficient is None else float(coefficient),
            exclude_outside=bool(call.attribute("exclude_outside")),
            antialias_scale=factor if antialias and factor < 1 else None,
        )
    return matrices
