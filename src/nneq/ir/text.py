"""A network as text: one line per node, stable, for people and golden files."""

from __future__ import annotations

from typing import TYPE_CHECKING, assert_never

import numpy as np

from nneq.ir import linear_map as lm

if TYPE_CHECKING:
    from nneq.ir.network import Network, Node

__all__ = ["map_text", "network_text"]


def map_text(linear: lm.LinearMap) -> str:
    """Return a short formula of a linear map, first stage first."""
    return " then ".join(_stage(part) for part in linear.stages())


def _stage(part: lm.LinearMap) -> str:
    match part:
        case lm.Dense():
            return f"Dense({part.weight.shape[1]} -> {part.weight.shape[0]})"
        case lm.Contract():
            return f"Contract({part.subscripts}, weight {_dims(part.weight.shape)})"
        case lm.Conv():
            return f"Conv(weight {_dims(part.weight.shape)}, strides {_dims(part.strides)})"
        case lm.ConvTranspose():
            return f"ConvTranspose(weight {_dims(part.conv.weight.shape)})"
        case lm.Scale():
            return f"Scale({_dims(part.weight.shape) or 'scalar'})"
        case lm.Permute():
            return f"Permute({', '.join(map(str, part.axes))})"
        case lm.Sum():
            return f"Sum(axes {', '.join(map(str, part.axes))})"
        case _:
            return f"{type(part).__name__}({_dims(part.in_shape)} -> {_dims(part.out_shape)})"


def _dims(shape: tuple[int, ...]) -> str:
    return "x".join(str(size) for size in shape)


def _node(node: Node, place: int) -> str:
    from nneq.ir import network as ir

    match node:
        case ir.Input():
            body = "input"
        case ir.Constant():
            body = "constant"
        case ir.Affine():
            parts = [f"{map_text(term.map)}(t{term.arg})" for term in node.terms]
            if node.bias is not None:
                parts.append("bias")
            body = " + ".join(parts) or "0"
        case ir.Elementwise():
            shown = ", ".join(
                f"{key}={value if np.ndim(value) == 0 else _dims(np.shape(value))}"
                for key, value in sorted(node.params.items())
            )
            body = f"{node.rule}(t{node.arg}{', ' + shown if shown else ''})"
        case ir.Product():
            body = f"product[{node.subscripts}](t{node.left}, t{node.right})"
        case ir.Maximum():
            body = f"max[axes {', '.join(map(str, node.axes))}](t{node.arg})"
        case ir.Select():
            body = f"t{node.yes} if t{node.test} {node.relation} 0 else t{node.no}"
        case ir.Softmax():
            body = f"{'log_' if node.log else ''}softmax[axis {node.axis}](t{node.arg})"
        case _:
            assert_never(node)
    return f"t{place} ({_dims(node.shape) or 'scalar'}) = {body}"


def network_text(network: Network) -> str:
    """Return the program, one line per node, with its ports."""
    lines = [f"network: {network.function_class}, {network.parameter_count} parameters"]
    lines += [f"input {p.name}: t{p.node} ({_dims(p.shape) or 'scalar'})" for p in network.inputs]
    lines += [f"  {_node(node, place)}" for place, node in enumerate(network.nodes)]
    lines += [f"output {p.name}: t{p.node} ({_dims(p.shape) or 'scalar'})" for p in network.outputs]
    return "\n".join(lines)
