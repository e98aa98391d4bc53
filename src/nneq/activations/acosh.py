"""Inverse hyperbolic cosine, ``z >= 1``."""

from __future__ import annotations

import numpy as np

from nneq.activations.rule import Rule, register

__all__ = ["RULE"]

RULE = register(
    Rule(
        name="acosh",
        kind="smooth",
        formula=lambda z, fn, _p: fn.acosh(z),
        numeric=lambda z, _p: np.arccosh(z),
        derivative=lambda z, fn, _p: 1 / fn.sqrt(z**2 - 1),
        second=lambda z, fn, _p: -z / fn.sqrt(z**2 - 1) ** 3,
        monotone=lambda _p: "strict",
        image=lambda _p: (0.0, np.inf),
        domain=(1.0, np.inf),
        turning=((), (), ()),
        spellings={"onnx": ("Acosh",), "torch": ("acosh",), "keras": ("arccosh",)},
    )
)
