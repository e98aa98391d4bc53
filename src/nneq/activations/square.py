"""``z**2``."""

from __future__ import annotations

import numpy as np

from nneq.activations.rule import Rule, register

__all__ = ["RULE"]

RULE = register(
    Rule(
        name="square",
        kind="smooth",
        formula=lambda z, _fn, _p: z**2,
        numeric=lambda z, _p: z * z,
        derivative=lambda z, _fn, _p: 2 * z,
        second=lambda z, _fn, _p: 2 + 0 * z,
        image=lambda _p: (0.0, np.inf),
        turning=(("0",), (), ()),
        spellings={"torch": ("square",), "keras": ("square",)},
    )
)
