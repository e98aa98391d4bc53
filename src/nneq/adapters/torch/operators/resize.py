"""Interpolation to another size."""

from __future__ import annotations

from nneq.adapters.torch.operators.shape import moved
from nneq.adapters.torch.registry import Call, lowers
from nneq.lowering.builder import Value
from nneq.lowering.resize import interpolation_matrix, resize, sample_positions

__all__: list[str] = []


@lowers(
    "upsample_nearest1d",
    "upsample_nearest2d",
    "upsample_nearest3d",
    "_upsample_nearest_exact1d",
    "_upsample_nearest_exact2d",
    "_upsample_nearest_exact3d",
)
def _nearest(c: Call) -> Value:
    names = list(c.arguments)
    rest = {name: c[name] for name in names[1:]}
    return moved(c, c.value(names[0]), lambda places: c.overload(places, **rest))[0]


@lowers(
    "upsample_linear1d",
    "upsample_bilinear2d",
    "upsample_trilinear3d",
    "upsample_bicubic2d",
    "_upsample_bilinear2d_aa",
    "_upsample_bicubic2d_aa",
)
def _linear(c: Call) -> Value:
    x = c.value(next(iter(c.arguments)))
    targets = c.shapes[0][2:]
    corners = bool(c.get("align_corners", False))
    given = _factors(c, len(targets))
    matrices = {}
    for axis, (target, factor) in enumerate(zip(targets, given, strict=True), start=2):
        size = x.shape[axis]
        transform = "align_corners" if corners else "half_pixel"
        places = sample_positions(size, target, transform, scale=factor)
        scale = target / size if factor is None else factor
        matrices[axis] = interpolation_matrix(
            places,
            size,
            "cubic" if "cubic" in c.op else "linear",
            coefficient=-0.5 if c.op.endswith("aa") else -0.75,
            exclude_outside=c.op.endswith("aa"),
            antialias_scale=scale if c.op.endswith("aa") else None,
        )
    return resize(c.b, x, matrices)


def _factors(c: Call, rank: int) -> list[float | None]:
    """Return the scale factors given by the caller, None where only a size was given."""
    many = c.get("scale_factors")
    if many is not None:
        return [float(v) for v in many]
    names = {1: ("scales",), 2: ("scales_h", "scales_w"), 3: ("scales_d", "scales_h", "scales_w")}
    found = [c.get(name) for name in names[rank]]
    return [None if v is None else float(v) for v in found]


@lowers("grid_sampler", "grid_sampler_2d", "grid_sampler_3d", "affine_grid_generator")
def _grid(c: Call) -> Value:
    raise c.refuse("samples at places that depend on the inputs; use nn.Upsample for fixed places")
