"""``z - bias`` above ``lambd``, ``z + bias`` below ``-lambd``, else 0; continuous when ``bias == lambd``."""

from __future__ import annotations

import numpy as np

from nneq.activations.rule import Piece, Rule, register

__all__ = ["RULE"]

RULE = register(
    Rule(
        name="soft_shrink",
        kind="piecewise-linear",
        formula=lambda z, fn, p: fn.split(
            z, -p["lambd"], z + p["lambd"], fn.split(z, p["lambd"], 0 * z, z - p["lambd"])
        ),
        numeric=lambda z, p: np.sign(z) * np.maximum(np.abs(z) - p["lambd"], 0.0),
        defaults={"lambd": 0.5},
        pieces=lambda p: (
            Piece(-p["lambd"], 1.0, p["lambd"]),
            Piece(p["lambd"], 0.0, 0.0),
            Piece(np.inf, 1.0, -p["lambd"]),
        ),
        monotone=lambda _p: "weak",
        spellings={"torch": ("softshrink",), "keras": ("soft_shrink",)},
    )
)
