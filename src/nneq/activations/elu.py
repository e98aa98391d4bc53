"""Exponential linear unit: ``z`` above 0, ``alpha (exp(z) - 1)`` below."""

from __future__ import annotations

import numpy as np

from nneq.activations.rule import Rule, register

__all__ = ["RULE"]

RULE = register(
    Rule(
        name="elu",
        kind="piecewise-smooth",
        formula=lambda z, fn, p: fn.split(z, 0, p["alpha"] * fn.expm1(z), z),
        numeric=lambda z, p: np.where(z < 0, p["alpha"] * np.expm1(np.minimum(z, 0.0)), z),
        defaults={"alpha": 1.0},
        monotone=lambda p: ("strict" if np.all(np.asarray(p["alpha"]) > 0) else "none"),
        kinks=lambda _p: (0.0,),
        spellings={"onnx": ("Elu",), "torch": ("elu",), "keras": ("elu",)},
    )
)
