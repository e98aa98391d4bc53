"""Inverse hyperbolic sine."""

from __future__ import annotations

import numpy as np

from nneq.activations.rule import Rule, register

__all__ = ["RULE"]

RULE = register(
    Rule(
        name="asinh",
        kind="smooth",
        formula=lambda z, fn, _p: fn.asinh(z),
        numeric=lambda z, _p: np.arcsinh(z),
        derivative=lambda z, fn, _p: 1 / fn.sqrt(1 + z**2),
        second=lambda z, fn, _p: -z / fn.sqrt(1 + z**2) ** 3,
        monotone=lambda _p: "strict",
        turning=((), ("0",), ("-0.70710678118654752440", "0.70710678118654752440")),
        spellings={"onnx": ("Asinh",), "torch": ("asinh",), "keras": ("arcsinh",)},
    )
)
