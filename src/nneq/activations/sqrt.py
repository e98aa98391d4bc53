"""Square root, ``z >= 0``."""

from __future__ import annotations

import numpy as np

from nneq.activations.rule import Rule, register

__all__ = ["RULE"]

RULE = register(
    Rule(
        name="sqrt",
        kind="smooth",
        formula=lambda z, fn, _p: fn.sqrt(z),
        numeric=lambda z, _p: np.sqrt(z),
        derivative=lambda z, fn, _p: 1 / (2 * fn.sqrt(z)),
        second=lambda z, fn, _p: -1 / (4 * z * fn.sqrt(z)),
        monotone=lambda _p: "strict",
        image=lambda _p: (0.0, np.inf),
        domain=(0.0, np.inf),
        turning=((), (), ()),
        inverse=lambda z, _fn, _p: z**2,
        spellings={"onnx": ("Sqrt",), "torch": ("sqrt",), "keras": ("sqrt",)},
    )
)
