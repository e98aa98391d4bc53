"""``1/z``, ``z != 0``."""

from __future__ import annotations

from nneq.activations.rule import Rule, register

__all__ = ["RULE"]

RULE = register(
    Rule(
        name="reciprocal",
        kind="smooth",
        formula=lambda z, _fn, _p: 1 / z,
        numeric=lambda z, _p: 1.0 / z,
        derivative=lambda z, _fn, _p: -1 / z**2,
        second=lambda z, _fn, _p: 2 / z**3,
        turning=((), (), ()),
        spellings={"onnx": ("Reciprocal",), "torch": ("reciprocal",), "keras": ("reciprocal",)},
    )
)
