"""Sine."""

from __future__ import annotations

import numpy as np

from nneq.activations.rule import Rule, register

__all__ = ["RULE"]

RULE = register(
    Rule(
        name="sin",
        kind="smooth",
        formula=lambda z, fn, _p: fn.sin(z),
        numeric=lambda z, _p: np.sin(z),
        derivative=lambda z, fn, _p: fn.cos(z),
        second=lambda z, fn, _p: -fn.sin(z),
        image=lambda _p: (-1.0, 1.0),
        spellings={"onnx": ("Sin",), "torch": ("sin",), "keras": ("sin",)},
    )
)
