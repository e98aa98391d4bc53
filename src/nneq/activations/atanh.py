"""Inverse hyperbolic tangent on (-1, 1)."""

from __future__ import annotations

import numpy as np

from nneq.activations.rule import Rule, register

__all__ = ["RULE"]

RULE = register(
    Rule(
        name="atanh",
        kind="smooth",
        formula=lambda z, fn, _p: fn.atanh(z),
        numeric=lambda z, _p: np.arctanh(z),
        derivative=lambda z, _fn, _p: 1 / (1 - z**2),
        second=lambda z, _fn, _p: 2 * z / (1 - z**2) ** 2,
        monotone=lambda _p: "strict",
        domain=(-1.0, 1.0),
        turning=((), ("0",), ()),
        spellings={"onnx": ("Atanh",), "torch": ("atanh",), "keras": ("arctanh",)},
    )
)
