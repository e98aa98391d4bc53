"""The tables that say how a Keras layer or operation is written as equations.

A table row is a function entered by a decorator under the Keras class name.  A layer without a
row is read through its own ``call`` (traced with symbolic tensors), so the table holds only layers
whose ``call`` cannot be traced or that have a better form.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

__all__ = ["LAYERS", "OPERATIONS", "Lowering", "layer", "operation"]

Lowering = Callable[..., Any]
F = TypeVar("F", bound=Lowering)

LAYERS: dict[str, Lowering] = {}
OPERATIONS: dict[str, Lowering] = {}


def _enter(table: dict[str, Lowering], names: tuple[str, ...]) -> Callable[[F], F]:
    def decorate(function: F) -> F:
        for name in names:
            if name in table:
                msg = f"{name!r} is entered twice"
                raise ValueError(msg)
            table[name] = function
        return function

    return decorate


def layer(*names: str) -> Callable[[F], F]:
    """Enter ``function(walk, layer, *args, **kwargs)`` under layer class names."""
    return _enter(LAYERS, names)


def operation(*names: str) -> Callable[[F], F]:
    """Enter ``function(walk, operation, *args, **kwargs)`` under operation class names."""
    return _enter(OPERATIONS, names)
