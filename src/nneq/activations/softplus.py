"""``log(1 + exp(z))``."""

from __future__ import annotations

import numpy as np

from nneq.activations.rule import Rule, Tails, register

__all__ = ["RULE"]

RULE = register(
    Rule(
        name="softplus",
        kind="smooth",
        formula=lambda z, fn, _p: fn.log1p(fn.exp(z)),
        numeric=lambda z, _p: np.logaddexp(0.0, z),
        derivative=lambda z, fn, _p: fn.sigmoid(z),
        second=lambda z, fn, _p: fn.sigmoid(z) * fn.sigmoid(-z),
        monotone=lambda _p: "strict",
        image=lambda _p: (0.0, np.inf),
        turning=((), (), ("0",)),
        tails=Tails(0.0, 0.0, 1.0, 0.0),
        inverse=lambda z, fn, _p: fn.log(fn.expm1(z)),
        spellings={"onnx": ("Softplus",), "torch": ("softplus",), "keras": ("softplus",)},
    )
)
