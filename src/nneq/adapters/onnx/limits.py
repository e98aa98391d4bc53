"""The budgets within which an untrusted model is read; all counted before anything is allocated."""

from __future__ import annotations

import math
from collections.abc import Iterable

from nneq.errors import UnsupportedError

__all__ = [
    "MAX_CONSTANT",
    "MAX_DEPTH",
    "MAX_LIVE",
    "MAX_NODES",
    "MAX_RANK",
    "MAX_UNROLLED",
    "check_size",
    "shown",
]

MAX_NODES = 200_000
"""Nodes after every function is expanded and every loop unrolled."""

MAX_UNROLLED = 50_000
"""Nodes once a loop has begun to be unrolled."""

MAX_DEPTH = 40
"""Functions or subgraphs inside one another."""

MAX_CONSTANT = 1 << 25
"""Entries of a constant that an operator computes (weights stored in the file are not bounded)."""

MAX_LIVE = 1 << 26
"""Entries of a tensor that depends on the inputs."""

MAX_RANK = 24
"""Axes of a tensor (NumPy's own limit is 64; subscripts need a letter each)."""


def check_size(shape: Iterable[int], limit: int = MAX_LIVE, what: str = "the tensor") -> int:
    """Return the number of entries of a shape, counted in Python integers.

    Raises:
        UnsupportedError: when an extent is negative, or the shape is above the limit.
    """
    extents = [int(size) for size in shape]
    if any(size < 0 for size in extents):
        msg = f"{what} would have a negative extent: {shown(extents)}"
        raise UnsupportedError(msg)
    if len(extents) > MAX_RANK:
        msg = f"{what} would have {len(extents)} axes; the limit is {MAX_RANK}"
        raise UnsupportedError(msg)
    count = math.prod(extents)
    if count > limit:
        msg = f"{what} would have {count:.3g} entries {shown(extents)}; the limit is {limit}"
        raise UnsupportedError(msg)
    return count


def shown(extents: Iterable[int]) -> str:
    """Return a shape as short text."""
    sizes = [str(size) if abs(size) < 10**12 else f"{float(size):.3g}" for size in extents]
    return "(" + ", ".join(sizes) + ("," if len(sizes) == 1 else "") + ")"
