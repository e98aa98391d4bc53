"""Weights must be numbers."""

from __future__ import annotations

from typing import Any

import numpy as np

from nneq.errors import NneqError, problems_message
from nneq.ir import Affine, Constant, Network, Softmax

__all__ = ["check_finite"]

Array = np.ndarray[Any, Any]


def check_finite(network: Network) -> None:
    """Refuse weights that are NaN or infinite (minus infinity before a softmax is a mask)."""
    problems = []
    masks = any(isinstance(node, Softmax) for node in network.nodes)
    for node in network.nodes:
        arrays: list[Array] = []
        if isinstance(node, Affine):
            arrays = [array for term in node.terms for array in term.map.parameters]
            if node.bias is not None:
                arrays.append(node.bias)
        elif isinstance(node, Constant):
            arrays = [node.value]
        for array in arrays:
            if array.dtype.kind == "f" and array.size and not _finite(array, masks=masks):
                problems.append(f"node {node.origin!r}: {_count(array)}")
    if problems:
        remedy = "the model has no finite values with such weights: train or export it again"
        raise NneqError(problems_message("weights are not finite", problems[:20], remedy))


def _finite(array: Array, *, masks: bool) -> bool:
    core = array[tuple(slice(0, 1) if s == 0 else slice(None) for s in array.strides)]
    known = np.isfinite(core)
    return bool(known.all()) or (masks and bool((known | np.isneginf(core)).all()))


def _count(array: Array) -> str:
    nan, inf = int(np.isnan(array).sum()), int(np.isinf(array).sum())
    return f"{nan} entries are NaN and {inf} infinite, of {array.size}"
