"""Gaussian error linear unit, tanh form."""

from __future__ import annotations

import numpy as np

from nneq.activations.rule import Rule, register

__all__ = ["RULE"]

RULE = register(
    Rule(
        name="gelu_tanh",
        kind="smooth",
        formula=lambda z, fn, _p: z * (1 + fn.tanh(fn.constant("sqrt(2/pi)") * (z + fn.constant("0.044715") * z**3))) / 2,
        numeric=lambda z, _p: 0.5 * z * (1.0 + np.tanh(np.sqrt(2.0 / np.pi) * (z + 0.044715 * z**3))),
        image=lambda _p: (-0.17004080, np.inf),
        spellings={"onnx": ("Gelu",), "torch": ("gelu",), "keras": ("gelu",)},
    )
)
