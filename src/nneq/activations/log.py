"""Natural logarithm, ``z > 0``."""

from __future__ import annotations

import numpy as np

from nneq.activations.rule import Rule, register

__all__ = ["RULE"]

RULE = register(
    Rule(
        name="log",
        kind="smooth",
        formula=lambda z, fn, _p: fn.log(z),
        numeric=lambda z, _p: np.log(z),
        derivative=lambda z, _fn, _p: 1 / z,
        second=lambda z, _fn, _p: -1 / z**2,
        monotone=lambda _p: "strict",
        domain=(0.0, np.inf),
        turning=((), (), ()),
        inverse=lambda z, fn, _p: fn.exp(z),
        spellings={"onnx": ("Log",), "torch": ("log",), "keras": ("log",)},
    )
)
