"""The walk over a graph: every node is handed to its operator, functions are expanded in place.

A node that cannot be written is noted, the values it makes become unknown, and the walk goes on,
so that one error can name every node that is in the way.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from onnx import FunctionProto, GraphProto, NodeProto

from nneq.adapters.onnx import schema as schemas
from nneq.adapters.onnx.binding import bound, call_attributes, origin_of
from nneq.adapters.onnx.call import OPERATORS, Call
from nneq.adapters.onnx.limits import MAX_CONSTANT, MAX_DEPTH, MAX_LIVE, MAX_NODES, check_size
from nneq.adapters.onnx.structure import (
    FunctionKey,
    domain_of,
    function_key,
    needed,
    node_label,
    ordered,
    reads,
)
from nneq.adapters.onnx.tensors import sparse_to_array
from nneq.adapters.onnx.views import check_views, held_extents, largest_stored
from nneq.errors import NneqError, UnsupportedError
from nneq.lowering import Builder, Value

__all__ = ["Scope", "Walk"]

Loader = Callable[[], Value]

_MALFORMED = (
    ValueError, TypeError, IndexError, KeyError, AttributeError,
    ArithmeticError, MemoryError, RuntimeError,
)  # fmt: skip


class Scope:
    """Names and their values; an inner graph sees the outer one's."""

    def __init__(self, parent: Scope | None = None) -> None:
        """Start with no name of its own."""
        self.parent = parent
        self.values: dict[str, Value | None] = {}
        self.loaders: dict[str, Loader] = {}
        self.depth: int = 0 if parent is None else parent.depth + 1

    def find(self, name: str) -> Value | None:
        """Return a value, or None when it could not be made.

        Raises:
            KeyError: when nothing makes it.
        """
        scope: Scope | None = self
        while scope is not None:
            if name in scope.values:
                return scope.values[name]
            if name in scope.loaders:
                value = scope.loaders[name]()
                scope.values[name] = value
                return value
            scope = scope.parent
        raise KeyError(name)

    def names(self) -> set[str]:
        """Return every name that can be read here."""
        found: set[str] = set()
        scope: Scope | None = self
        while scope is not None:
            found |= scope.values.keys() | scope.loaders.keys()
            scope = scope.parent
        return found


class Walk:
    """Writes the nodes of a model and of everything inside it.

    Args:
        builder: the network being written.
        functions: the model's own functions.
        folder: the folder of the model's file, for external data.
    """

    def __init__(
        self,
        builder: Builder,
        functions: Mapping[FunctionKey, FunctionProto],
        load: Callable[[Any], Value],
    ) -> None:
        """Start with an empty record."""
        self.builder = builder
        self.functions = functions
        self.load = load
        self.problems: list[str] = []
        self.malformed = False
        self.notes: list[str] = []
        self.codes: dict[str, int] = {}
        self.visited = 0
        self.depth = 0
        self.trail: list[str] = []

    # ------------------------------------------------------------------ graphs
    def run(
        self,
        nodes: Sequence[NodeProto],
        scope: Scope,
        opsets: Mapping[str, int],
    ) -> None:
        """Write ordered nodes; what cannot be written is noted in ``problems``."""
        for place, node in enumerate(nodes):
            self.visited += 1
            if self.visited > MAX_NODES:
                msg = f"more than {MAX_NODES} nodes once functions and loops are expanded"
                raise UnsupportedError(msg)
            self._one(node, place, scope, opsets)

    def _one(self, node: NodeProto, place: int, scope: Scope, opsets: Mapping[str, int]) -> None:
        label = node_label(node, place)
        outside = self.builder.origin
        self.builder.origin = label
        try:
            outputs = self._outputs(node, scope, opsets)
        except UnsupportedError as error:
            outputs = self._noted(node, label, opsets, str(error))
        except _MALFORMED as error:  # an untrusted node can break any operation on its operands
            self.malformed = True
            outputs = self._noted(node, label, opsets, _reason(error))
        finally:
            self.builder.origin = outside
        for name, value in zip(node.output, outputs, strict=False):
            if name:
                scope.values[name] = value
        for name in list(node.output)[len(outputs) :]:
            if name:
                scope.values[name] = None

    def _noted(
        self, node: NodeProto, label: str, opsets: Mapping[str, int], reason: str
    ) -> list[Value | None]:
        version = opsets.get(domain_of(node))
        kind = f"{domain_of(node)}.{node.op_type}" if domain_of(node) else node.op_type
        kind += f"-{version}" if version is not None else ""
        inside = f", in {' > '.join(self.trail[-3:])}" if self.trail else ""
        trace = origin_of(node)
        source = f", from {trace}" if trace else ""
        text = " ".join(reason.split())
        self.problems.append(f"node {label!r} ({kind}{inside}{source}): {text[:400]}")
        return [None] * len(node.output)

    def _outputs(
        self, node: NodeProto, scope: Scope, opsets: Mapping[str, int]
    ) -> list[Value | None]:
        domain = domain_of(node)
        function = self.functions.get(function_key(node))
        version = opsets.get(domain)
        if function is None and version is None:
            msg = f"the model imports no opset for the domain {domain!r}"
            raise UnsupportedError(msg)
        inputs, unknown = self._operands(node, scope)
        if function is not None:
            if unknown:
                return [None] * len(node.output)
            return self.call(node, function, inputs, opsets)
        handler = OPERATORS.get((domain, node.op_type))
        schema = schemas.schema_of(node.op_type, int(version or 1), domain)
        if unknown:
            if handler is None and not _has_body(schema):
                raise _unknown_operator(domain, schema)
            return [None] * len(node.output)
        if handler is not None:
            check_views(node, inputs)
            made = handler(Call(node, domain, int(version or 1), inputs, self, scope, opsets))
            found: list[Value | None] = [made] if isinstance(made, Value) else [*made]
            for value in found:
                if value is not None and value.array is None:
                    check_size(value.shape, MAX_LIVE, "the result")
                elif value is not None:
                    limit = max(MAX_CONSTANT, largest_stored(inputs))
                    check_size(held_extents(value), limit, "the result")
            return found
        body = self._schema_body(node, schema, int(version or 1), inputs)
        if body is None:
            raise _unknown_operator(domain, schema)
        return self.call(node, body, inputs, opsets, schema)

    def _operands(self, node: NodeProto, scope: Scope) -> tuple[list[Value | None], bool]:
        found: list[Value | None] = []
        unknown = False
        for name in node.input:
            if not name:
                found.append(None)
                continue
            try:
                value = scope.find(name)
            except KeyError:
                msg = f"nothing makes its operand {name!r}"
                raise NneqError(msg) from None
            unknown |= value is None
            found.append(value)
        while found and found[-1] is None and not node.input[len(found) - 1]:
            found.pop()
        for graph_name in reads(node) - set(node.input):
            try:
                unknown |= scope.find(graph_name) is None
            except KeyError:
                continue
        return found, unknown

    # ------------------------------------------------------------------ functions and subgraphs
    def _schema_body(
        self, node: NodeProto, schema: Any, version: int, inputs: Sequence[Value | None]
    ) -> FunctionProto | None:
        if not _has_body(schema):
            return None
        types = []
        for value in inputs:
            dtype = np.dtype(np.float32) if value is None else value.dtype
            types.append(schemas.type_proto(dtype, () if value is None else value.shape))
        return schemas.function_body(node, schema, version, types)

    def call(
        self,
        node: NodeProto,
        function: FunctionProto,
        inputs: Sequence[Value | None],
        opsets: Mapping[str, int],
        schema: Any | None = None,
    ) -> list[Value | None]:
        """Write a function's body in place of the node.

        Raises:
            UnsupportedError: when calls are nested too deep.
        """
        self._enter(node)
        try:
            scope = Scope()
            for k, name in enumerate(function.input):
                given = inputs[k] if k < len(inputs) else None
                if given is not None:
                    scope.values[name] = given
            absent = {
                name
                for k, name in enumerate(function.input)
                if k >= len(inputs) or inputs[k] is None
            }
            attributes = call_attributes(node, function, schema)
            body = [bound(inner, attributes, absent) for inner in function.node]
            where = f"function {function.name!r}"
            wanted = {f: o for f, o in zip(function.output, node.output, strict=False) if o}
            nodes = needed(ordered(body, scope.names(), where), wanted)
            own = {
                ("" if o.domain == "ai.onnx" else o.domain): o.version
                for o in function.opset_import
            }
            self.run(nodes, scope, {**opsets, **own})
            used = list(function.output)[: len(node.output)]
            return [
                scope.find(name) if name in wanted and name not in absent else None for name in used
            ]
        finally:
            self._leave()

    def graph(
        self,
        node: NodeProto,
        graph: GraphProto,
        scope: Scope,
        given: Sequence[Value],
        opsets: Mapping[str, int],
    ) -> list[Value | None]:
        """Write a subgraph in place and return its outputs.

        Args:
            node: the node that holds the graph.
            graph: the graph.
            scope: what the graph sees from outside.
            given: values of its inputs.
            opsets: the versions in force.
        """
        self._enter(node)
        try:
            inner = Scope(scope)
            if len(given) != len(graph.input):
                msg = f"its graph takes {len(graph.input)} values, {len(given)} are given"
                raise NneqError(msg)
            for port, value in zip(graph.input, given, strict=True):
                inner.values[port.name] = value
            self.add_stored(graph, inner)
            nodes = ordered(graph.node, inner.names(), f"the graph of {node_label(node)!r}")
            names = [port.name for port in graph.output]
            self.run(needed(nodes, names), inner, opsets)
            return [inner.find(name) for name in names]
        finally:
            self._leave()

    def add_stored(self, graph: GraphProto, scope: Scope) -> None:
        """Enter a graph's initialisers; each is read when it is first needed."""
        for tensor in graph.initializer:
            scope.loaders[tensor.name] = _loader(self.load, tensor)
            self.codes.setdefault(tensor.name, tensor.data_type)
        for sparse in graph.sparse_initializer:
            scope.loaders[sparse.values.name] = _loader(
                lambda s: self.builder.constant(sparse_to_array(s)), sparse
            )

    def _enter(self, node: NodeProto) -> None:
        self.depth += 1
        self.trail.append(node.op_type)
        if self.depth > MAX_DEPTH:
            self._leave()
            msg = f"functions or graphs are nested more than {MAX_DEPTH} deep"
            raise UnsupportedError(msg)

    def _leave(self) -> None:
        self.depth -= 1
        self.trail.pop()


def _reason(error: Exception) -> str:
    """Return an error's text; one that says little on its own also gets its kind."""
    text = str(error)
    return text if isinstance(error, ValueError) and text else f"{type(error).__name__}: {text}"


def _loader(load: Callable[[Any], Value], stored: Any) -> Loader:
    return lambda: load(stored)


def _has_body(schema: Any | None) -> bool:
    return schema is not None and (schema.has_function or schema.has_context_dependent_function)


def _unknown_operator(domain: str, schema: Any | None) -> UnsupportedError:
    if schema is not None:
        return UnsupportedError(
            "this operator is not supported; export the model without it, or cut the model "
            "before it (onnx.utils.extract_model)"
        )
    place = domain or "ai.onnx"
    return UnsupportedError(
        f"there is no such operator in {place} at this opset; export the model with standard "
        "operators"
    )
