"""Hyperbolic tangent."""

from __future__ import annotations

import numpy as np

from nneq.activations.rule import Rule, Tails, register

__all__ = ["RULE"]

RULE = register(
    Rule(
        name="tanh",
        kind="smooth",
        formula=lambda z, fn, _p: fn.tanh(z),
        numeric=lambda z, _p: np.tanh(z),
        derivative=lambda z, fn, _p: 1 - fn.tanh(z) ** 2,
        second=lambda z, fn, _p: -2 * fn.tanh(z) * (1 - fn.tanh(z) ** 2),
        monotone=lambda _p: "strict",
        image=lambda _p: (-1.0, 1.0),
        turning=((), ("0",), ("-0.65847894846240835431", "0.65847894846240835431")),
        tails=Tails(0.0, -1.0, 0.0, 1.0),
        inverse=lambda z, fn, _p: fn.atanh(z),
        spellings={"onnx": ("Tanh",), "torch": ("tanh",), "keras": ("tanh",)},
    )
)
