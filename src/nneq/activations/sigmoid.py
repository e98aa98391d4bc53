"""Logistic sigmoid ``1/(1 + exp(-z))``."""

from __future__ import annotations

from scipy import special

from nneq.activations.rule import Rule, Tails, register

__all__ = ["RULE"]


RULE = register(
    Rule(
        name="sigmoid",
        kind="smooth",
        formula=lambda z, fn, _p: 1 / (1 + fn.exp(-z)),
        numeric=lambda z, _p: special.expit(z),
        derivative=lambda z, fn, _p: fn.sigmoid(z) * fn.sigmoid(-z),
        second=lambda z, fn, _p: fn.sigmoid(z) * fn.sigmoid(-z) * (1 - 2 * fn.sigmoid(z)),
        monotone=lambda _p: "strict",
        image=lambda _p: (0.0, 1.0),
        turning=((), ("0",), ("-1.3169578969248167086", "1.3169578969248167086")),
        tails=Tails(0.0, 0.0, 0.0, 1.0),
        inverse=lambda z, fn, _p: fn.log(z / (1 - z)),
        spellings={"onnx": ("Sigmoid",), "torch": ("sigmoid",), "keras": ("sigmoid",)},
    )
)
