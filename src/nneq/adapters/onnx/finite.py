"""Weights must be numbers, and one sample must fit in memory."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from nneq.errors import NneqError, UnsupportedError, problems_message
from nneq.ir import Affine, Constant, Network, Softmax

__all__ = ["check_finite", "check_peak"]

Array = np.ndarray[Any, Any]


_LEAST_PEAK = 1 << 25
_PER_INPUT = 256


def check_peak(network: Network) -> None:
    """Refuse a small model whose evaluation would hold a gigantic number of entries at once.

    The budget grows with the input, as the tensors of an honest model do.

    Raises:
        UnsupportedError: when one sample would need more.
    """
    last: dict[int, int] = {port.node: len(network.nodes) for port in network.outputs}
    for place in range(len(network.nodes) - 1, -1, -1):
        for arg in network.nodes[place].args:
            last.setdefault(arg, place)
    ends: dict[int, list[int]] = {}
    for place, end in last.items():
        ends.setdefault(end, []).append(place)
    held = peak = 0
    for place, node in enumerate(network.nodes):
        held += math.prod(node.shape)
        peak = max(peak, held)
        held -= sum(math.prod(network.nodes[k].shape) for k in ends.get(place, ()))
        held -= math.prod(node.shape) if place not in last else 0
    budget = max(_LEAST_PEAK, _PER_INPUT * network.input_size)
    if peak > budget:
        msg = (
            f"evaluating one sample would hold {peak:.3g} numbers at once; the limit for "
            f"{network.input_size} inputs is {budget:.3g}"
        )
        raise UnsupportedError(msg)


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
