"""``min(max(alpha z + beta, 0), 1)``."""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from nneq.activations.rule import Piece, Rule, register

__all__ = ["RULE"]


def _blur(place, alpha, wanted):
    """Return how far the quotient may be from ``wanted / alpha``; 0 where it is exact."""
    exact = Fraction(place) * Fraction(alpha) == wanted
    return 0.0 if exact else 4 * float(np.spacing(abs(place)))


def _pieces(p):
    """Return the three pieces (``alpha > 0``)."""
    alpha, beta = float(p["alpha"]), float(p["beta"])
    left, right = -beta / alpha, (1 - beta) / alpha
    return (
        Piece(left, 0.0, 0.0, _blur(left, alpha, -beta)),
        Piece(right, alpha, beta, _blur(right, alpha, 1 - Fraction(beta))),
        Piece(np.inf, 0.0, 1.0),
    )


RULE = register(
    Rule(
        name="hard_sigmoid",
        kind="piecewise-linear",
        formula=lambda z, fn, p: fn.split(
            p["alpha"] * z + p["beta"],
            0,
            0 * z,
            fn.split(p["alpha"] * z + p["beta"], 1, p["alpha"] * z + p["beta"], 1 + 0 * z),
        ),
        numeric=lambda z, p: np.clip(p["alpha"] * z + p["beta"], 0.0, 1.0),
        defaults={"alpha": 0.2, "beta": 0.5},
        pieces=lambda p: _pieces(p),
        monotone=lambda _p: "weak",
        image=lambda _p: (0.0, 1.0),
        spellings={"onnx": ("HardSigmoid",), "torch": ("hardsigmoid",), "keras": ("hard_sigmoid",)},
    )
)
