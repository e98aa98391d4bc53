"""Exponential linear unit: ``z`` above 0, ``alpha (exp(z) - 1)`` below."""

from __future__ import annotations

import numpy as np

from nneq.activations.rule import Part, Rule, register

__all__ = ["RULE"]

RULE = register(
    Rule(
        name="elu",
        kind="piecewise-smooth",
        formula=lambda z, fn, p: fn.split(z, 0, p["alpha"] * fn.expm1(z), z),
        numeric=lambda z, p: np.where(z < 0, p["alpha"] * np.expm1(np.minimum(z, 0.0)), z),
        defaults={"alpha": 1.0},
        monotone=lambda p: "strict" if np.all(np.asarray(p["alpha"]) > 0) else "none",
        kinks=lambda _p: (0.0,),
        derivative=lambda z, fn, p: fn.split(z, 0, p["alpha"] * fn.exp(z), 1 + 0 * z),
        second=lambda z, fn, p: fn.split(z, 0, p["alpha"] * fn.exp(z), 0 * z),
        parts=(
            Part(
                0.0,
                lambda z, fn, p: p["alpha"] * fn.expm1(z),
                lambda z, fn, p: p["alpha"] * fn.exp(z),
                lambda z, fn, p: p["alpha"] * fn.exp(z),
            ),
            Part(
                np.inf, lambda z, _fn, _p: z, lambda z, _fn, _p: 1 + 0 * z, lambda z, _fn, _p: 0 * z
            ),
        ),
        spellings={"onnx": ("Elu",), "torch": ("elu",), "keras": ("elu",)},
    )
)
