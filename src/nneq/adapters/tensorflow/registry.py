"""The table that says how a TensorFlow graph operation is written as equations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

__all__ = ["OPERATIONS", "Lowering", "operation"]

Lowering = Callable[..., Any]

OPERATIONS: dict[str, Lowering] = {}


def operation(*names: str) -> Callable[[Lowering], Lowering]:
    """Enter ``function(walk, node, *inputs)`` under graph operation names."""

    def decorate(function: Lowering) -> Lowering:
        for name in names:
            if name in OPERATIONS:
                msg = f"{name!r} is entered twice"
                raise ValueError(msg)
            OPERATIONS[name] = function
        return function

    return decorate
