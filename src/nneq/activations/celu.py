"""Continuously differentiable exponential linear unit: ``alpha (exp(z/alpha) - 1)`` below 0."""

from __future__ import annotations

import numpy as np

from nneq.activations.rule import Part, Rule, register

__all__ = ["RULE"]

RULE = register(
    Rule(
        name="celu",
        kind="piecewise-smooth",
        formula=lambda z, fn, p: fn.split(z, 0, p["alpha"] * fn.expm1(z / p["alpha"]), z),
        numeric=lambda z, p: np.where(
            z < 0, p["alpha"] * np.expm1(np.minimum(z, 0.0) / p["alpha"]), z
        ),
        defaults={"alpha": 1.0},
        monotone=lambda _p: "strict",
        kinks=lambda _p: (0.0,),
        derivative=lambda z, fn, p: fn.split(z, 0, fn.exp(z / p["alpha"]), 1 + 0 * z),
        second=lambda z, fn, p: fn.split(z, 0, fn.exp(z / p["alpha"]) / p["alpha"], 0 * z),
        parts=(
            Part(
                0.0,
                lambda z, fn, p: p["alpha"] * fn.expm1(z / p["alpha"]),
                lambda z, fn, p: fn.exp(z / p["alpha"]),
                lambda z, fn, p: fn.exp(z / p["alpha"]) / p["alpha"],
            ),
            Part(
                np.inf, lambda z, _fn, _p: z, lambda z, _fn, _p: 1 + 0 * z, lambda z, _fn, _p: 0 * z
            ),
        ),
        spellings={"onnx": ("Celu",), "torch": ("celu",), "keras": ("celu",)},
    )
)
