"""``z**exponent`` with a constant exponent."""

from __future__ import annotations

import numpy as np

from nneq.activations.rule import Rule, register

__all__ = ["RULE"]

RULE = register(
    Rule(
        name="power",
        kind="smooth",
        formula=lambda z, fn, p: fn.power(z, p["exponent"]),
        numeric=lambda z, p: np.power(z, p["exponent"]),
        defaults={"exponent": 2.0},
        derivative=lambda z, fn, p: p["exponent"] * fn.power(z, p["exponent"] - 1),
        second=lambda z, fn, p: (
            p["exponent"] * (p["exponent"] - 1) * fn.power(z, p["exponent"] - 2)
        ),
        turning=(("0",), ("0",), ("0",)),
        spellings={"onnx": ("Pow",), "torch": ("pow",), "keras": ("power",)},
    )
)
