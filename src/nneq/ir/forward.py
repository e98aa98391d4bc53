"""One walk over the program; an arithmetic says what each node kind means.

Numbers, intervals, balls, symbols, linear bounds, rationals and derivatives are all
``forward(network, arithmetic, inputs)`` with another arithmetic.  A value is whatever the
arithmetic makes of a tensor; the walk only hands values from node to node and forgets each one
after its last use.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Protocol, assert_never

if TYPE_CHECKING:
    from nneq.ir.network import Affine, Constant, Elementwise, Maximum, Network, Product, Select
    from nneq.ir.network import Softmax as SoftmaxNode

__all__ = ["Arithmetic", "forward", "forward_all"]


class Arithmetic(Protocol):
    """What the node kinds mean in one arithmetic; ``Value`` is the arithmetic's own tensor."""

    def constant(self, node: Constant, /) -> Any: ...
    def affine(self, node: Affine, args: Sequence[Any], /) -> Any: ...
    def elementwise(self, node: Elementwise, arg: Any, /) -> Any: ...
    def product(self, node: Product, left: Any, right: Any, /) -> Any: ...
    def maximum(self, node: Maximum, arg: Any, /) -> Any: ...
    def select(self, node: Select, test: Any, yes: Any, no: Any, /) -> Any: ...
    def softmax(self, node: SoftmaxNode, arg: Any, /) -> Any: ...


def forward_all(
    network: Network, arithmetic: Arithmetic, inputs: Sequence[Any], keep: Iterable[int]
) -> dict[int, Any]:
    """Return the values of the nodes in ``keep``.

    Args:
        network: the program.
        arithmetic: what its nodes mean.
        inputs: one value per input port, in order.
        keep: places of nodes.
    """
    wanted = set(keep)
    by_node = {port.node: value for port, value in zip(network.inputs, inputs, strict=True)}
    last = _last_uses(network, wanted)
    values: dict[int, Any] = {}
    for place, node in enumerate(network.nodes):
        if place not in last:
            continue
        values[place] = by_node[place] if place in by_node else _value(arithmetic, node, values)
        for arg in set(node.args):
            if last[arg] == place and arg not in wanted:
                del values[arg]
    return values


def forward(network: Network, arithmetic: Arithmetic, inputs: Sequence[Any]) -> list[Any]:
    """Return the values of the output ports, in order."""
    values = forward_all(network, arithmetic, inputs, (port.node for port in network.outputs))
    return [values[port.node] for port in network.outputs]


def _last_uses(network: Network, wanted: set[int]) -> dict[int, int]:
    """Return, for every node that is needed, the place where it is read last."""
    last = {place: len(network.nodes) for place in wanted}
    for place in range(len(network.nodes) - 1, -1, -1):
        if place in last:
            for arg in network.nodes[place].args:
                last.setdefault(arg, place)
    return last


def _value(arithmetic: Arithmetic, node: Any, values: dict[int, Any]) -> Any:
    from nneq.ir import network as ir

    args = [values[arg] for arg in node.args]
    match node:
        case ir.Affine():
            return arithmetic.affine(node, args)
        case ir.Elementwise():
            return arithmetic.elementwise(node, args[0])
        case ir.Product():
            return arithmetic.product(node, args[0], args[1])
        case ir.Maximum():
            return arithmetic.maximum(node, args[0])
        case ir.Select():
            return arithmetic.select(node, args[0], args[1], args[2])
        case ir.Softmax():
            return arithmetic.softmax(node, args[0])
        case ir.Constant():
            return arithmetic.constant(node)
        case ir.Input():
            msg = "an input node without a port"
            raise ValueError(msg)
        case _:
            assert_never(node)
