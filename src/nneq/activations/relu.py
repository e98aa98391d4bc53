"""Rectified linear unit: ``max(0, z)``."""

from __future__ import annotations

import numpy as np

from nneq.activations.rule import Piece, Rule, register

__all__ = ["RULE"]

RULE = register(
    Rule(
        name="relu",
        kind="piecewise-linear",
        formula=lambda z, fn, _p: fn.split(z, 0, 0 * z, z),
        numeric=lambda z, _p: np.maximum(z, 0.0),
        pieces=lambda _p: (Piece(0.0, 0.0, 0.0), Piece(np.inf, 1.0, 0.0)),
        monotone=lambda _p: "weak",
        image=lambda _p: (0.0, np.inf),
        spellings={"onnx": ("Relu",), "torch": ("relu",), "keras": ("relu",)},
    )
)
