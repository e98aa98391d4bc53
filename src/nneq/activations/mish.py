"""``z tanh(log(1 + exp(z)))``."""

from __future__ import annotations

import numpy as np

from nneq.activations.rule import Rule, Tails, register

__all__ = ["RULE"]


def _derivative(z, fn):
    w = fn.tanh(fn.log1p(fn.exp(z)))
    return w + z * (1 - w**2) * fn.sigmoid(z)


def _second(z, fn):
    w, s = fn.tanh(fn.log1p(fn.exp(z))), fn.sigmoid(z)
    return (1 - w**2) * s * (2 + z * (fn.sigmoid(-z) - 2 * w * s))


RULE = register(
    Rule(
        name="mish",
        kind="smooth",
        formula=lambda z, fn, _p: z * fn.tanh(fn.log1p(fn.exp(z))),
        numeric=lambda z, _p: z * np.tanh(np.logaddexp(0.0, z)),
        derivative=lambda z, fn, _p: _derivative(z, fn),
        second=lambda z, fn, _p: _second(z, fn),
        turning=(
            ("-1.192431214515495212138",),
            ("-2.256376396360793120006", "1.490571179485428459294"),
            ("-3.267337846520404576125", "-0.08793443131491421132669", "2.114842563020877108593"),
        ),
        tails=Tails(0.0, 0.0, 1.0, 0.0),
        image=lambda _p: (-0.30884344, np.inf),
        spellings={"onnx": ("Mish",), "torch": ("mish",), "keras": ("mish",)},
    )
)
