"""``z/(1 + |z|)``."""

from __future__ import annotations

import numpy as np

from nneq.activations.rule import Part, Rule, register

__all__ = ["RULE"]

RULE = register(
    Rule(
        name="softsign",
        kind="piecewise-smooth",
        formula=lambda z, fn, _p: z / (1 + fn.split(z, 0, -z, z)),
        numeric=lambda z, _p: z / (1.0 + np.abs(z)),
        monotone=lambda _p: "strict",
        image=lambda _p: (-1.0, 1.0),
        kinks=lambda _p: (0.0,),
        derivative=lambda z, fn, _p: 1 / (1 + fn.split(z, 0, -z, z)) ** 2,
        second=lambda z, fn, _p: (
            fn.split(z, 0, 2 + 0 * z, -2 + 0 * z) / (1 + fn.split(z, 0, -z, z)) ** 3
        ),
        parts=(
            Part(
                0.0,
                lambda z, _fn, _p: z / (1 - z),
                lambda z, _fn, _p: 1 / (1 - z) ** 2,
                lambda z, _fn, _p: 2 / (1 - z) ** 3,
            ),
            Part(
                np.inf,
                lambda z, _fn, _p: z / (1 + z),
                lambda z, _fn, _p: 1 / (1 + z) ** 2,
                lambda z, _fn, _p: -2 / (1 + z) ** 3,
            ),
        ),
        spellings={"onnx": ("Softsign",), "torch": ("softsign",), "keras": ("softsign",)},
    )
)
