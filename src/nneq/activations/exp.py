"""Exponential function."""

from __future__ import annotations

import numpy as np

from nneq.activations.rule import Rule, register

__all__ = ["RULE"]

RULE = register(
    Rule(
        name="exp",
        kind="smooth",
        formula=lambda z, fn, _p: fn.exp(z),
        numeric=lambda z, _p: np.exp(z),
        derivative=lambda z, fn, _p: fn.exp(z),
        second=lambda z, fn, _p: fn.exp(z),
        monotone=lambda _p: "strict",
        image=lambda _p: (0.0, np.inf),
        turning=((), (), ()),
        inverse=lambda z, fn, _p: fn.log(z),
        spellings={"onnx": ("Exp",), "torch": ("exp",), "keras": ("exp", "exponential")},
    )
)
