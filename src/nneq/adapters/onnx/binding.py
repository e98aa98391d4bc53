"""Attribute references inside function bodies, and where exporters say a node is from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from onnx import AttributeProto, FunctionProto, NodeProto

__all__ = ["bound", "call_attributes", "origin_of"]


def origin_of(node: NodeProto) -> str:
    """Return where an exporter says the node came from, or empty text."""
    for entry in node.metadata_props:
        if entry.key in {"namespace", "pkg.torch.onnx.namespace"}:
            return str(entry.value)[:120]
        if entry.key.endswith("stack_trace"):
            lines = [line.strip() for line in entry.value.splitlines() if line.strip()]
            return lines[-1][:120] if lines else ""
    return ""


def call_attributes(
    node: NodeProto, function: FunctionProto, schema: Any | None
) -> dict[str, AttributeProto]:
    """Return what attribute references inside a function's body mean for this call."""
    found = {a.name: a for a in function.attribute_proto}
    if schema is not None:
        for name, declared in schema.attributes.items():
            if declared.default_value.type:
                found[name] = declared.default_value
    found.update({a.name: a for a in node.attribute})
    return found


def bound(node: NodeProto, attributes: Mapping[str, AttributeProto], absent: set[str]) -> NodeProto:
    """Return a copy of a function's node with its attribute references filled in."""
    if not any(a.ref_attr_name or a.HasField("g") for a in node.attribute) and not absent:
        return node
    copy = NodeProto()
    copy.CopyFrom(node)
    del copy.attribute[:]
    for own in node.attribute:
        if own.ref_attr_name:
            if own.ref_attr_name in attributes:
                filled = copy.attribute.add()
                filled.CopyFrom(attributes[own.ref_attr_name])
                filled.name = own.name
            continue
        added = copy.attribute.add()
        added.CopyFrom(own)
        if own.HasField("g"):
            inside = [bound(inner, attributes, absent) for inner in own.g.node]
            del added.g.node[:]
            added.g.node.extend(inside)
    for place, name in enumerate(copy.input):
        if name in absent:
            copy.input[place] = ""
    return copy
