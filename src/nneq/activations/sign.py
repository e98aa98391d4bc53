"""-1, 0 or 1."""

from __future__ import annotations

import numpy as np

from nneq.activations.rule import Rule, register

__all__ = ["RULE"]

RULE = register(
    Rule(
        name="sign",
        kind="step",
        formula=lambda z, fn, _p: fn.split(z, 0, -1 + 0 * z, fn.split(-z, 0, 1 + 0 * z, 0 * z)),
        numeric=lambda z, _p: np.sign(z),
        monotone=lambda _p: "weak",
        image=lambda _p: (-1.0, 1.0),
        spellings={"onnx": ("Sign",), "torch": ("sign",), "keras": ("sign",)},
    )
)
