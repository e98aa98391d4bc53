"""Sigmoid linear unit (swish): ``z/(1 + exp(-z))``."""

from __future__ import annotations

import numpy as np

from nneq.activations.rule import Rule, Tails, register

__all__ = ["RULE"]

RULE = register(
    Rule(
        name="silu",
        kind="smooth",
        formula=lambda z, fn, _p: z / (1 + fn.exp(-z)),
        numeric=lambda z, _p: (
            z * np.where(z >= 0, 1.0, np.exp(-np.abs(z))) / (1.0 + np.exp(-np.abs(z)))
        ),
        derivative=lambda z, fn, _p: fn.sigmoid(z) * (1 + z * fn.sigmoid(-z)),
        second=lambda z, fn, _p: fn.sigmoid(z) * fn.sigmoid(-z) * (2 + z * (1 - 2 * fn.sigmoid(z))),
        image=lambda _p: (-0.2784645427610739, np.inf),
        turning=(
            ("-1.2784645427610737951",),
            ("-2.3993572805154676678", "2.3993572805154676678"),
            ("-3.4358409935351106716", "0", "3.4358409935351106716"),
        ),
        tails=Tails(0.0, 0.0, 1.0, 0.0),
        spellings={"onnx": ("Swish",), "torch": ("silu",), "keras": ("silu", "swish")},
    )
)
