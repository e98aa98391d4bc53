"""``z`` where ``|z| > lambd``, else 0: jumps at ``+-lambd``."""

from __future__ import annotations

import numpy as np

from nneq.activations.rule import Rule, register

__all__ = ["RULE"]

RULE = register(
    Rule(
        name="hard_shrink",
        kind="step",
        formula=lambda z, fn, p: fn.split(z, -p["lambd"], z, fn.split(-z, -p["lambd"], z, 0 * z)),
        numeric=lambda z, p: np.where(np.abs(z) > p["lambd"], z, 0.0),
        defaults={"lambd": 0.5},
        spellings={"torch": ("hardshrink",), "keras": ("hard_shrink",)},
    )
)
