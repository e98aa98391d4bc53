"""Hyperbolic cosine."""

from __future__ import annotations

import numpy as np

from nneq.activations.rule import Rule, register

__all__ = ["RULE"]

RULE = register(
    Rule(
        name="cosh",
        kind="smooth",
        formula=lambda z, fn, _p: fn.cosh(z),
        numeric=lambda z, _p: np.cosh(z),
        derivative=lambda z, fn, _p: fn.sinh(z),
        second=lambda z, fn, _p: fn.cosh(z),
        image=lambda _p: (1.0, np.inf),
        turning=(("0",), (), ("0",)),
        spellings={"onnx": ("Cosh",), "torch": ("cosh",), "keras": ("cosh",)},
    )
)
