"""``z tanh(log(1 + exp(z)))``."""

from __future__ import annotations

import numpy as np

from nneq.activations.rule import Rule, register

__all__ = ["RULE"]

RULE = register(
    Rule(
        name="mish",
        kind="smooth",
        formula=lambda z, fn, _p: z * fn.tanh(fn.log1p(fn.exp(z))),
        numeric=lambda z, _p: z * np.tanh(np.logaddexp(0.0, z)),
        image=lambda _p: (-0.30884344, np.inf),
        spellings={"onnx": ("Mish",), "torch": ("mish",), "keras": ("mish",)},
    )
)
