"""Leaky rectifier: ``z`` for ``z >= 0``, ``alpha z`` below; ``alpha`` may be an array (PReLU)."""

from __future__ import annotations

import numpy as np

from nneq.activations.rule import Piece, Rule, register

__all__ = ["RULE"]

RULE = register(
    Rule(
        name="leaky_relu",
        kind="piecewise-linear",
        formula=lambda z, fn, p: fn.split(z, 0, p["alpha"] * z, z),
        numeric=lambda z, p: np.where(z < 0, p["alpha"] * z, z),
        defaults={"alpha": 0.01},
        pieces=lambda p: (Piece(0.0, p["alpha"], 0.0), Piece(np.inf, 1.0, 0.0)),
        monotone=lambda p: "strict" if np.all(np.asarray(p["alpha"]) > 0) else "none",
        image=lambda p: (-np.inf if np.any(np.asarray(p["alpha"]) > 0) else 0.0, np.inf),
        spellings={
            "onnx": ("LeakyRelu", "PRelu"),
            "torch": ("leaky_relu", "prelu"),
            "keras": ("leaky_relu",),
        },
    )
)
