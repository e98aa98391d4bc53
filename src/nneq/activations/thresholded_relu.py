"""``z`` for ``z > theta``, else 0: a jump at ``theta``."""

from __future__ import annotations

import numpy as np

from nneq.activations.rule import Rule, register

__all__ = ["RULE"]

RULE = register(
    Rule(
        name="thresholded_relu",
        kind="step",
        formula=lambda z, fn, p: fn.split(-z, -p["theta"], z, 0 * z),
        numeric=lambda z, p: np.where(z > p["theta"], z, 0.0),
        defaults={"theta": 1.0},
        spellings={"onnx": ("ThresholdedRelu",), "torch": ("threshold",), "keras": ("threshold",)},
    )
)
