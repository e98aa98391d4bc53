"""The tables that say how a Keras layer or operation is written as equations.

A table row is a function entered by a decorator under the Keras class name.  A layer that has no row
is read through its own ``call`` (traced with symbolic tensors), so only layers whose ``call`` cannot
be traced, or that have a better form, stand in the table.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

__all__ = ["LAYERS", "OPERATIONS", "Lowering", "layer", "operation"]

Lowering = Callable[..., Any]

LAYERS: dict[str, Lowering] = {}
OPERATIONS: dict[str, Lowering] = {}


def _enter(table: dict[str, Lowering], names: tuple[str, ...]) -> Callable[[Lowering], Lowering]:
    def decorate(function: Lowering) -> Lowering:
        for name in names:
            if name in table:
                msg = f"{name!r} is entered twice"
                raise ValueError(msg)
            table[name] = function
        return function

    return decorate


def layer(*names: str) -> Callable[[Lowering], Lowering]:
    """Enter ``function(walk, layer, *args, **kwargs)`` under layer class names."""
    return _enter(LAYERS, names)


def operation(*names: str) -> Callable[[Lowering], Lowering]:
    """Enter ``function(walk, operation, *args, **kwargs)`` under operation class names."""
    return _enter(OPERATIONS, names)
