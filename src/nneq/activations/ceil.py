"""The smallest integer not below ``z``."""

from __future__ import annotations

import numpy as np

from nneq.activations.rule import Rule, register

__all__ = ["RULE"]

RULE = register(
    Rule(
        name="ceil",
        kind="step",
        formula=lambda z, fn, _p: -fn.floor(-z),
        numeric=lambda z, _p: np.ceil(z),
        monotone=lambda _p: "weak",
        spellings={"onnx": ("Ceil",), "torch": ("ceil",), "keras": ("ceil",)},
    )
)
