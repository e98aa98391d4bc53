"""Integer inputs: how many values an input takes, found from what it is looked up in."""

from __future__ import annotations

import dataclasses

from nneq.ir.network import Affine, Elementwise
from nneq.lowering.builder import Builder, Value

__all__ = ["note_levels"]


def note_levels(b: Builder, index: Value, count: int) -> bool:
    """Note on an input port that it takes the integers ``0 .. count - 1``.

    Nothing happens when ``index`` is not an input, moved or truncated.

    Args:
        b: the builder, whose port is replaced.
        index: the live integers.
        count: how many values they can have.

    Returns:
        Whether ``index`` is an input, so that no negative value can come.
    """
    node = index.node
    ports = {port.node: place for place, port in enumerate(b.ports)}
    while node is not None and node not in ports:
        made = b.nodes[node]
        if isinstance(made, Affine) and made.bias is None and len(made.terms) == 1:
            if any(part.fan_in for part in made.terms[0].map.stages()):
                return False
            node = made.terms[0].arg
        elif isinstance(made, Elementwise) and made.rule == "trunc":
            node = made.arg
        else:
            return False
    if node is None:
        return False
    port = b.ports[ports[node]]
    if port.levels is None or port.levels > count:
        b.ports[ports[node]] = dataclasses.replace(port, levels=count)
    return True
