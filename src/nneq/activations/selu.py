"""Scaled exponential linear unit: ``gamma (max(0, z) + min(0, alpha (exp(z) - 1)))``."""

from __future__ import annotations

import numpy as np

from nneq.activations.rule import Part, Rule, register

__all__ = ["RULE"]

RULE = register(
    Rule(
        name="selu",
        kind="piecewise-smooth",
        formula=lambda z, fn, p: fn.split(
            z, 0, p["gamma"] * (p["alpha"] * fn.expm1(z)), p["gamma"] * z
        ),
        numeric=lambda z, p: (
            p["gamma"] * np.where(z < 0, p["alpha"] * np.expm1(np.minimum(z, 0.0)), z)
        ),
        defaults={"alpha": 1.6732632423543772, "gamma": 1.0507009873554805},
        monotone=lambda _p: "strict",
        kinks=lambda _p: (0.0,),
        derivative=lambda z, fn, p: fn.split(
            z, 0, p["gamma"] * (p["alpha"] * fn.exp(z)), p["gamma"] + 0 * z
        ),
        second=lambda z, fn, p: fn.split(z, 0, p["gamma"] * (p["alpha"] * fn.exp(z)), 0 * z),
        parts=(
            Part(
                0.0,
                lambda z, fn, p: p["gamma"] * (p["alpha"] * fn.expm1(z)),
                lambda z, fn, p: p["gamma"] * (p["alpha"] * fn.exp(z)),
                lambda z, fn, p: p["gamma"] * (p["alpha"] * fn.exp(z)),
            ),
            Part(
                np.inf,
                lambda z, _fn, p: p["gamma"] * z,
                lambda z, _fn, p: p["gamma"] + 0 * z,
                lambda z, _fn, _p: 0 * z,
            ),
        ),
        spellings={"onnx": ("Selu",), "torch": ("selu",), "keras": ("selu",)},
    )
)
