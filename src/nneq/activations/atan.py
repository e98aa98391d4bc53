"""Inverse tangent."""

from __future__ import annotations

import numpy as np

from nneq.activations.rule import Rule, register

__all__ = ["RULE"]

RULE = register(
    Rule(
        name="atan",
        kind="smooth",
        formula=lambda z, fn, _p: fn.atan(z),
        numeric=lambda z, _p: np.arctan(z),
        derivative=lambda z, _fn, _p: 1 / (1 + z**2),
        second=lambda z, _fn, _p: -2 * z / (1 + z**2) ** 2,
        monotone=lambda _p: "strict",
        image=lambda _p: (-1.5707963267948968, 1.5707963267948968),
        turning=((), ("0",), ("-0.57735026918962576451", "0.57735026918962576451")),
        spellings={"onnx": ("Atan",), "torch": ("atan",), "keras": ("arctan",)},
    )
)
