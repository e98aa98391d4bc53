"""Scaled exponential linear unit: ``gamma (max(0, z) + min(0, alpha (exp(z) - 1)))``."""

from __future__ import annotations

import numpy as np

from nneq.activations.rule import Rule, register

__all__ = ["RULE"]

RULE = register(
    Rule(
        name="selu",
        kind="piecewise-smooth",
        formula=lambda z, fn, p: fn.split(z, 0, p["gamma"] * p["alpha"] * fn.expm1(z), p["gamma"] * z),
        numeric=lambda z, p: p["gamma"] * np.where(z < 0, p["alpha"] * np.expm1(np.minimum(z, 0.0)), z),
        defaults={"alpha": 1.6732632423543772, "gamma": 1.0507009873554805},
        monotone=lambda _p: "strict",
        kinks=lambda _p: (0.0,),
        spellings={"onnx": ("Selu",), "torch": ("selu",), "keras": ("selu",)},
    )
)
