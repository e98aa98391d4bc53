"""What the onnx package says about an operator: versions, attributes, function bodies."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from onnx import AttributeProto, FunctionProto, NodeProto, TypeProto, defs

from nneq.adapters.onnx.tensors import sparse_to_array, tensor_to_array
from nneq.errors import NneqError, UnsupportedError

__all__ = [
    "attribute",
    "attribute_value",
    "function_body",
    "newest_opset",
    "schema_of",
    "type_proto",
]


def newest_opset(domain: str) -> int | None:
    """Return the newest version of a domain that the installed onnx package knows, or None."""
    found = _domains()
    return found.get(domain)


@lru_cache(maxsize=1)
def _domains() -> dict[str, int]:
    found: dict[str, int] = {}
    for schema in defs.get_all_schemas():
        found[schema.domain] = max(found.get(schema.domain, 0), schema.since_version)
    found[""] = defs.onnx_opset_version()
    return found


@lru_cache(maxsize=4096)
def schema_of(op_type: str, version: int, domain: str) -> Any | None:
    """Return the schema in force at an opset version, or None when there is none."""
    try:
        return defs.get_schema(op_type, version, domain)
    except defs.SchemaError:
        return None


def attribute_value(found: AttributeProto) -> Any:
    """Return an attribute's value as Python data; tensors as arrays, graphs as they are.

    Raises:
        UnsupportedError: for kinds that are not numbers, text, tensors or graphs.
    """
    match found.type:
        case AttributeProto.FLOAT:
            return float(found.f)
        case AttributeProto.INT:
            return int(found.i)
        case AttributeProto.STRING:
            return found.s.decode("utf-8", "replace")
        case AttributeProto.FLOATS:
            return [float(value) for value in found.floats]
        case AttributeProto.INTS:
            return [int(value) for value in found.ints]
        case AttributeProto.STRINGS:
            return [value.decode("utf-8", "replace") for value in found.strings]
        case AttributeProto.TENSOR:
            return tensor_to_array(found.t)
        case AttributeProto.SPARSE_TENSOR:
            return sparse_to_array(found.sparse_tensor)
        case AttributeProto.GRAPH:
            return found.g
        case _:
            msg = f"attribute {found.name!r} has a kind that is not supported"
            raise UnsupportedError(msg)


def _check_kind(found: AttributeProto, schema: Any | None) -> None:
    """Refuse an attribute of another kind than the schema declares."""
    if schema is None or found.name not in schema.attributes:
        return
    wanted = schema.attributes[found.name].type.name
    given = AttributeProto.AttributeType.Name(found.type)
    if wanted != given:
        msg = f"attribute {found.name!r} is of kind {given}, it must be {wanted}"
        raise NneqError(msg)


def attribute(node: NodeProto, name: str, schema: Any | None) -> Any:
    """Return an attribute; a missing one has the default of the operator's schema, or None.

    Args:
        node: the node.
        name: the attribute's name.
        schema: the operator's schema at the model's opset, or None for a function.

    Raises:
        NneqError: when a required attribute is missing.
    """
    for found in node.attribute:
        if found.name == name:
            _check_kind(found, schema)
            return attribute_value(found)
    if schema is None or name not in schema.attributes:
        return None
    declared = schema.attributes[name]
    if declared.default_value.type:
        return attribute_value(declared.default_value)
    if declared.required:
        msg = f"attribute {name!r} is required and missing"
        raise NneqError(msg)
    return None


def function_body(
    node: NodeProto, schema: Any, version: int, types: Sequence[TypeProto]
) -> FunctionProto | None:
    """Return the body by which the schema defines the operator, or None when it has none.

    Args:
        node: the node (a body may depend on its attributes).
        schema: the operator's schema.
        version: the model's opset version.
        types: element type and shape of every input.
    """
    fixed = [v for v in schema.function_opset_versions if v <= version]
    if schema.has_function:
        body = FunctionProto()
        data = schema.get_function_with_opset_version(max(fixed)) if fixed else None
        if data:
            body.ParseFromString(data)
            return body
        if schema.function_body is not None:
            return schema.function_body
    dependent = [v for v in schema.context_dependent_function_opset_versions if v <= version]
    if schema.has_context_dependent_function and dependent:
        data = schema.get_context_dependent_function_with_opset_version(
            max(dependent), node.SerializeToString(), [t.SerializeToString() for t in types]
        )
        if data:
            body = FunctionProto()
            body.ParseFromString(data)
            return body
    return None


def type_proto(dtype: np.dtype[Any], shape: Sequence[int], code: int | None = None) -> TypeProto:
    """Return the ONNX type of a tensor."""
    from onnx import helper

    element = code if code is not None else helper.np_dtype_to_tensor_dtype(dtype)
    return helper.make_tensor_type_proto(element, [int(size) for size in shape])
