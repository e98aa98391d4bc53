"""Hyperbolic sine."""

from __future__ import annotations

import numpy as np

from nneq.activations.rule import Rule, register

__all__ = ["RULE"]

RULE = register(
    Rule(
        name="sinh",
        kind="smooth",
        formula=lambda z, fn, _p: fn.sinh(z),
        numeric=lambda z, _p: np.sinh(z),
        derivative=lambda z, fn, _p: fn.cosh(z),
        second=lambda z, fn, _p: fn.sinh(z),
        monotone=lambda _p: "strict",
        turning=((), ("0",), ()),
        spellings={"onnx": ("Sinh",), "torch": ("sinh",), "keras": ("sinh",)},
    )
)
