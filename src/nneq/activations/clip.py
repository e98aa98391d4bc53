"""``min(max(z, low), high)``: hard tanh, ReLU6, Clip."""

from __future__ import annotations

import numpy as np

from nneq.activations.rule import Piece, Rule, register

__all__ = ["RULE"]

RULE = register(
    Rule(
        name="clip",
        kind="piecewise-linear",
        formula=lambda z, fn, p: fn.split(
            z, p["low"], p["low"] + 0 * z, fn.split(z, p["high"], z, p["high"] + 0 * z)
        ),
        numeric=lambda z, p: np.minimum(np.maximum(z, p["low"]), p["high"]),
        defaults={"low": -1.0, "high": 1.0},
        pieces=lambda p: (
            Piece(p["low"], 0.0, p["low"]),
            Piece(p["high"], 1.0, 0.0),
            Piece(np.inf, 0.0, p["high"]),
        ),
        monotone=lambda _p: "weak",
        image=lambda p: (float(np.min(p["low"])), float(np.max(p["high"]))),
        spellings={
            "onnx": ("Clip",),
            "torch": ("hardtanh", "relu6", "clamp"),
            "keras": ("relu6", "hard_tanh"),
        },
    )
)
