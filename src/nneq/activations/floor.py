"""The largest integer not above ``z``."""

from __future__ import annotations

import numpy as np

from nneq.activations.rule import Rule, register

__all__ = ["RULE"]

RULE = register(
    Rule(
        name="floor",
        kind="step",
        formula=lambda z, fn, _p: fn.floor(z),
        numeric=lambda z, _p: np.floor(z),
        monotone=lambda _p: "weak",
        spellings={"onnx": ("Floor",), "torch": ("floor",), "keras": ("floor",)},
    )
)
