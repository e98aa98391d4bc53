"""Gaussian error linear unit, tanh form."""

from __future__ import annotations

import numpy as np
from scipy import special

from nneq.activations.rule import Rule, Tails, register

__all__ = ["RULE"]


def _inner(z, fn):
    """Return ``tanh(u)``, ``u'`` and ``u''`` for ``u = sqrt(2/pi) (z + 0.044715 z**3)``."""
    scale, cubic = fn.constant("sqrt(2/pi)"), fn.constant("0.044715")
    return (
        fn.tanh(scale * (z + cubic * z**3)),
        scale * (1 + 3 * cubic * z**2),
        6 * scale * cubic * z,
    )


def _derivative(z, fn):
    t, du, _ = _inner(z, fn)
    return (1 + t) / 2 + z * (1 - t**2) * du / 2


def _second(z, fn):
    t, du, ddu = _inner(z, fn)
    return (1 - t**2) * (du + z * (ddu - 2 * t * du**2) / 2)


RULE = register(
    Rule(
        name="gelu_tanh",
        kind="smooth",
        formula=lambda z, fn, _p: (
            z * (1 + fn.tanh(fn.constant("sqrt(2/pi)") * (z + fn.constant("0.044715") * z**3))) / 2
        ),
        numeric=lambda z, _p: z * special.expit(2.0 * np.sqrt(2.0 / np.pi) * (z + 0.044715 * z**3)),
        derivative=lambda z, fn, _p: _derivative(z, fn),
        second=lambda z, fn, _p: _second(z, fn),
        turning=(
            ("-0.7524614220710162584880",),
            ("-1.418504008790828355548", "1.418504008790828355548"),
            ("-2.013480724624257928080", "0", "2.013480724624257928080"),
        ),
        tails=Tails(0.0, 0.0, 1.0, 0.0),
        image=lambda _p: (-0.17004080, np.inf),
        spellings={"onnx": ("Gelu",), "torch": ("gelu",), "keras": ("gelu",)},
    )
)
