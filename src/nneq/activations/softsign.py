"""``z/(1 + |z|)``."""

from __future__ import annotations

import numpy as np

from nneq.activations.rule import Rule, register

__all__ = ["RULE"]

RULE = register(
    Rule(
        name="softsign",
        kind="piecewise-smooth",
        formula=lambda z, fn, _p: z / (1 + fn.split(z, 0, -z, z)),
        numeric=lambda z, _p: z / (1.0 + np.abs(z)),
        monotone=lambda _p: "strict",
        image=lambda _p: (-1.0, 1.0),
        kinks=lambda _p: (0.0,),
        spellings={"onnx": ("Softsign",), "torch": ("softsign",), "keras": ("softsign",)},
    )
)
