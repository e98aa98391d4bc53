"""``z min(max(z/6 + 1/2, 0), 1)``: piecewise quadratic."""

from __future__ import annotations

import numpy as np

from nneq.activations.rule import Part, Rule, register

__all__ = ["RULE"]

RULE = register(
    Rule(
        name="hard_swish",
        kind="piecewise-smooth",
        formula=lambda z, fn, _p: fn.split(z, -3, 0 * z, fn.split(z, 3, z * (z + 3) / 6, z)),
        numeric=lambda z, _p: z * np.clip(z / 6.0 + 0.5, 0.0, 1.0),
        image=lambda _p: (-0.375, np.inf),
        kinks=lambda _p: (-3.0, 3.0),
        derivative=lambda z, fn, _p: fn.split(
            z, -3, 0 * z, fn.split(z, 3, (2 * z + 3) / 6, 1 + 0 * z)
        ),
        second=lambda z, fn, _p: fn.split(z, -3, 0 * z, fn.split(z, 3, (2 + 0 * z) / 6, 0 * z)),
        parts=(
            Part(
                -3.0, lambda z, _fn, _p: 0 * z, lambda z, _fn, _p: 0 * z, lambda z, _fn, _p: 0 * z
            ),
            Part(
                3.0,
                lambda z, _fn, _p: z * (z + 3) / 6,
                lambda z, _fn, _p: (2 * z + 3) / 6,
                lambda z, _fn, _p: (2 + 0 * z) / 6,
                (("-1.5",), (), ()),
            ),
            Part(
                np.inf, lambda z, _fn, _p: z, lambda z, _fn, _p: 1 + 0 * z, lambda z, _fn, _p: 0 * z
            ),
        ),
        spellings={
            "onnx": ("HardSwish",),
            "torch": ("hardswish",),
            "keras": ("hard_silu", "hard_swish"),
        },
    )
)
