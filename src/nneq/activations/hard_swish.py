"""``z min(max(z/6 + 1/2, 0), 1)``: piecewise quadratic."""

from __future__ import annotations

import numpy as np

from nneq.activations.rule import Rule, register

__all__ = ["RULE"]

RULE = register(
    Rule(
        name="hard_swish",
        kind="piecewise-smooth",
        formula=lambda z, fn, _p: fn.split(z, -3, 0 * z, fn.split(z, 3, z * (z + 3) / 6, z)),
        numeric=lambda z, _p: z * np.clip(z / 6.0 + 0.5, 0.0, 1.0),
        image=lambda _p: (-0.375, np.inf),
        kinks=lambda _p: (-3.0, 3.0),
        spellings={"onnx": ("HardSwish",), "torch": ("hardswish",), "keras": ("hard_silu", "hard_swish")},
    )
)
