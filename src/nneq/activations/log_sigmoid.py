"""``-log(1 + exp(-z))``."""

from __future__ import annotations

import numpy as np

from nneq.activations.rule import Rule, Tails, register

__all__ = ["RULE"]

RULE = register(
    Rule(
        name="log_sigmoid",
        kind="smooth",
        formula=lambda z, fn, _p: -fn.log1p(fn.exp(-z)),
        numeric=lambda z, _p: -np.logaddexp(0.0, -z),
        derivative=lambda z, fn, _p: fn.sigmoid(-z),
        second=lambda z, fn, _p: -fn.sigmoid(z) * fn.sigmoid(-z),
        monotone=lambda _p: "strict",
        image=lambda _p: (-np.inf, 0.0),
        turning=((), (), ("0",)),
        tails=Tails(1.0, 0.0, 0.0, 0.0),
        spellings={"torch": ("log_sigmoid",), "keras": ("log_sigmoid",)},
    )
)
