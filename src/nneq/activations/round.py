"""The nearest integer, ties to even."""

from __future__ import annotations

import numpy as np

from nneq.activations.rule import Rule, register

__all__ = ["RULE"]

RULE = register(
    Rule(
        name="round",
        kind="step",
        formula=lambda z, fn, _p: fn.round(z),
        numeric=lambda z, _p: np.round(z),
        monotone=lambda _p: "weak",
        spellings={"onnx": ("Round",), "torch": ("round",), "keras": ("round",)},
    )
)
