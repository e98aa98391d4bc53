"""Tangent, away from its poles."""

from __future__ import annotations

import numpy as np

from nneq.activations.rule import Rule, register

__all__ = ["RULE"]

RULE = register(
    Rule(
        name="tan",
        kind="smooth",
        formula=lambda z, fn, _p: fn.tan(z),
        numeric=lambda z, _p: np.tan(z),
        derivative=lambda z, fn, _p: 1 + fn.tan(z) ** 2,
        second=lambda z, fn, _p: 2 * fn.tan(z) * (1 + fn.tan(z) ** 2),
        spellings={"onnx": ("Tan",), "torch": ("tan",), "keras": ("tan",)},
    )
)
