"""Error function."""

from __future__ import annotations

from scipy import special

from nneq.activations.rule import Rule, register

__all__ = ["RULE"]

RULE = register(
    Rule(
        name="erf",
        kind="smooth",
        formula=lambda z, fn, _p: fn.erf(z),
        numeric=lambda z, _p: special.erf(z),
        derivative=lambda z, fn, _p: 2 * fn.exp(-(z**2)) / fn.constant("sqrt(pi)"),
        second=lambda z, fn, _p: -4 * z * fn.exp(-(z**2)) / fn.constant("sqrt(pi)"),
        monotone=lambda _p: "strict",
        image=lambda _p: (-1.0, 1.0),
        turning=((), ("0",), ("-0.70710678118654752440", "0.70710678118654752440")),
        spellings={"onnx": ("Erf",), "torch": ("erf",), "keras": ("erf",)},
    )
)
