"""``z`` rounded towards 0 (a cast to an integer type)."""

from __future__ import annotations

import numpy as np

from nneq.activations.rule import Rule, register

__all__ = ["RULE"]

RULE = register(
    Rule(
        name="trunc",
        kind="step",
        formula=lambda z, fn, _p: fn.split(z, 0, -fn.floor(-z), fn.floor(z)),
        numeric=lambda z, _p: np.trunc(z),
        monotone=lambda _p: "weak",
        spellings={"torch": ("trunc",)},
    )
)
