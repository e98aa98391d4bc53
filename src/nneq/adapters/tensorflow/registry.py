"""The table that says how a TensorFlow graph operation is written as equations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

__all__ = ["OPERATIONS", "Lowering", "operation"]

Lowering = Callable[..., Any]
F = TypeVar("F", bound=Lowering)

OPERATIONS: dict[str, Lowering] = {}


def operation(*names: str) -> Callable[[F], F]:
    """Enter ``function(walk, node, *inputs)`` under graph operation names."""

    def decorate(function: F) -> F:
        for name in names:
            if name in OPERATIONS:
                msg = f"{name!r} is entered twice"
                raise ValueError(msg)
            OPERATIONS[name] = function
        return function

    return decorate
