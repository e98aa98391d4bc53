"""Absolute value."""

from __future__ import annotations

import numpy as np

from nneq.activations.rule import Piece, Rule, register

__all__ = ["RULE"]

RULE = register(
    Rule(
        name="abs",
        kind="piecewise-linear",
        formula=lambda z, fn, _p: fn.split(z, 0, -z, z),
        numeric=lambda z, _p: np.abs(z),
        pieces=lambda _p: (Piece(0.0, -1.0, 0.0), Piece(np.inf, 1.0, 0.0)),
        image=lambda _p: (0.0, np.inf),
        spellings={"onnx": ("Abs",), "torch": ("abs",), "keras": ("abs",)},
    )
)
