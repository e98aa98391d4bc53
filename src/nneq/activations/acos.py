"""Inverse cosine on [-1, 1]."""

from __future__ import annotations

import numpy as np

from nneq.activations.rule import Rule, register

__all__ = ["RULE"]

RULE = register(
    Rule(
        name="acos",
        kind="smooth",
        formula=lambda z, fn, _p: fn.acos(z),
        numeric=lambda z, _p: np.arccos(z),
        derivative=lambda z, fn, _p: -1 / fn.sqrt(1 - z**2),
        second=lambda z, fn, _p: -z / fn.sqrt(1 - z**2) ** 3,
        monotone=lambda _p: "decreasing",
        image=lambda _p: (0.0, 3.1415926535897936),
        domain=(-1.0, 1.0),
        turning=((), ("0",), ()),
        spellings={"onnx": ("Acos",), "torch": ("acos",), "keras": ("arccos",)},
    )
)
