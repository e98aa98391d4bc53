"""Continuously differentiable exponential linear unit: ``alpha (exp(z/alpha) - 1)`` below 0."""

from __future__ import annotations

import numpy as np

from nneq.activations.rule import Rule, register

__all__ = ["RULE"]

RULE = register(
    Rule(
        name="celu",
        kind="piecewise-smooth",
        formula=lambda z, fn, p: fn.split(z, 0, p["alpha"] * fn.expm1(z / p["alpha"]), z),
        numeric=lambda z, p: np.where(z < 0, p["alpha"] * np.expm1(np.minimum(z, 0.0) / p["alpha"]), z),
        defaults={"alpha": 1.0},
        monotone=lambda _p: "strict",
        kinks=lambda _p: (0.0,),
        spellings={"onnx": ("Celu",), "torch": ("celu",), "keras": ("celu",)},
    )
)
