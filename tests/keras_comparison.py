"""Holds the network of a Keras or TensorFlow model against the framework's own forward pass."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

TOLERANCES = {"float64": 1e-12, "float32": 1e-5, "float16": 2e-2, "bfloat16": 1e-1}


def largest_difference(expected: Sequence[Any], actual: Any) -> float:
    """Return the largest difference, relative to the largest entry of each output (at least 1)."""
    found = actual if isinstance(actual, tuple) else (actual,)
    assert len(expected) == len(found)
    worst = 0.0
    for want, have in zip(expected, found, strict=True):
        assert np.shape(want) == np.shape(have)
        wide = np.asarray(want).astype(np.float64)
        assert np.isfinite(wide).all()
        gap = np.abs(wide - have) / max(1.0, float(np.abs(wide).max(initial=0.0)))
        worst = max(worst, float(gap.max(initial=0.0)))
    return worst


def assert_same_function(imported: Any, arrays: Sequence[Any], tolerance: float = 1e-5) -> None:
    """Assert that network and reference agree on a batch and on single samples."""
    expected = imported.reference(arrays)
    assert largest_difference(expected, imported.network(*arrays)) <= tolerance
    first = [np.asarray(a)[:1] for a in arrays]
    assert largest_difference(imported.reference(first), imported.network(*first)) <= tolerance
