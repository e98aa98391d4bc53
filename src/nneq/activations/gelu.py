"""Gaussian error linear unit, exact form: ``z/2 (1 + erf(z/sqrt(2)))``."""

from __future__ import annotations

import numpy as np
from scipy import special

from nneq.activations.rule import Rule, Tails, register

__all__ = ["RULE"]

RULE = register(
    Rule(
        name="gelu",
        kind="smooth",
        formula=lambda z, fn, _p: z * (1 + fn.erf(z / fn.constant("sqrt(2)"))) / 2,
        numeric=lambda z, _p: 0.5 * z * special.erfc(-z / np.sqrt(2.0)),
        derivative=lambda z, fn, _p: (
            (1 + fn.erf(z / fn.constant("sqrt(2)"))) / 2
            + z * fn.exp(-(z**2) / 2) / fn.constant("sqrt(2*pi)")
        ),
        second=lambda z, fn, _p: (2 - z**2) * fn.exp(-(z**2) / 2) / fn.constant("sqrt(2*pi)"),
        image=lambda _p: (-0.1699712074779246, np.inf),
        turning=(
            ("-0.7517915246935644574579",),
            ("-1.4142135623730950488", "1.4142135623730950488"),
            ("-2", "0", "2"),
        ),
        tails=Tails(0.0, 0.0, 1.0, 0.0),
        spellings={"onnx": ("Gelu",), "torch": ("gelu",), "keras": ("gelu",)},
    )
)
