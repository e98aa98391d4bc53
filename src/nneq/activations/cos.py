"""Cosine."""

from __future__ import annotations

import numpy as np

from nneq.activations.rule import Rule, register

__all__ = ["RULE"]

RULE = register(
    Rule(
        name="cos",
        kind="smooth",
        formula=lambda z, fn, _p: fn.cos(z),
        numeric=lambda z, _p: np.cos(z),
        derivative=lambda z, fn, _p: -fn.sin(z),
        second=lambda z, fn, _p: -fn.cos(z),
        image=lambda _p: (-1.0, 1.0),
        spellings={"onnx": ("Cos",), "torch": ("cos",), "keras": ("cos",)},
    )
)
