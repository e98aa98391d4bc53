"""Inverse sine on [-1, 1]."""

from __future__ import annotations

import numpy as np

from nneq.activations.rule import Rule, register

__all__ = ["RULE"]

RULE = register(
    Rule(
        name="asin",
        kind="smooth",
        formula=lambda z, fn, _p: fn.asin(z),
        numeric=lambda z, _p: np.arcsin(z),
        derivative=lambda z, fn, _p: 1 / fn.sqrt(1 - z**2),
        second=lambda z, fn, _p: z / fn.sqrt(1 - z**2) ** 3,
        monotone=lambda _p: "strict",
        image=lambda _p: (-1.5707963267948968, 1.5707963267948968),
        domain=(-1.0, 1.0),
        turning=((), ("0",), ()),
        spellings={"onnx": ("Asin",), "torch": ("asin",), "keras": ("arcsin",)},
    )
)
