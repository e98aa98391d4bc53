"""One node on its way into the network, and the registry of operators."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from onnx import NodeProto

from nneq.adapters.onnx import schema as schemas
from nneq.adapters.onnx.limits import MAX_CONSTANT, MAX_LIVE, check_size
from nneq.errors import NneqError, UnsupportedError
from nneq.lowering import Builder, Value

if TYPE_CHECKING:
    from nneq.adapters.onnx.walk import Walk

__all__ = ["OPERATORS", "Call", "Outcome", "operator", "retyped", "wide"]

Array = np.ndarray[Any, Any]
Outcome = Value | Sequence[Value | None]

OPERATORS: dict[tuple[str, str], Callable[[Call], Outcome]] = {}
"""``(domain, operator)`` to the function that writes it."""


def operator(
    *names: str, domain: str = ""
) -> Callable[[Callable[[Call], Outcome]], Callable[[Call], Outcome]]:
    """Enter the decorated function under the operator names; a second entry is an error."""

    def enter(function: Callable[[Call], Outcome]) -> Callable[[Call], Outcome]:
        for name in names:
            if (domain, name) in OPERATORS:
                msg = f"operator {name!r} is entered twice"
                raise ValueError(msg)
            OPERATORS[domain, name] = function
        return function

    return enter


def retyped(x: Value, dtype: Any) -> Value:
    """Return the value with another element type noted; its numbers are not changed."""
    kind = np.dtype(dtype)
    if x.array is not None:
        return Value(x.shape, kind, array=x.array.astype(kind))
    return Value(x.shape, kind, node=x.node)


def wide(x: Value) -> Value:
    """Return a constant float in float64, so that folding does not round in the stored type."""
    if x.array is None or x.dtype.kind != "f" or x.dtype == np.float64:
        return x
    check_size(x.shape, MAX_CONSTANT, "the constant")
    array = x.array.astype(np.float64)
    return Value(x.shape, array.dtype, array=array)


@dataclass(eq=False)
class Call:
    """One node with its operands.

    Args:
        node: the node.
        domain: its domain (``""`` for the standard operators).
        version: the opset version of that domain.
        inputs: the operands; None where one is left out.
        walk: the walk that met it (for subgraphs and notes).
        scope: the names it can see.
        opsets: the versions in force.
    """

    node: NodeProto
    domain: str
    version: int
    inputs: list[Value | None]
    walk: Walk
    scope: Any = None
    opsets: Mapping[str, int] = field(default_factory=dict)
    schema: Any = field(init=False)

    def __post_init__(self) -> None:
        self.schema = schemas.schema_of(self.node.op_type, self.version, self.domain)

    @property
    def builder(self) -> Builder:
        """The network being written."""
        return self.walk.builder

    @property
    def since(self) -> int:
        """The version that introduced this form of the operator."""
        return self.schema.since_version if self.schema is not None else self.version

    def attribute(self, name: str) -> Any:
        """Return an attribute, or its default from the schema, or None."""
        return schemas.attribute(self.node, name, self.schema)

    def given(self, name: str) -> bool:
        """Whether the node itself sets the attribute."""
        return any(found.name == name for found in self.node.attribute)

    def optional(self, place: int) -> Value | None:
        """Return an operand, or None when it is left out."""
        return self.inputs[place] if place < len(self.inputs) else None

    def input(self, place: int) -> Value:
        """Return an operand.

        Raises:
            NneqError: when it is left out.
        """
        found = self.optional(place)
        if found is None:
            msg = f"operand {place + 1} is missing"
            raise NneqError(msg)
        return found

    def operands(self) -> list[Value]:
        """Return all operands.

        Raises:
            NneqError: when one is left out.
        """
        return [self.input(place) for place in range(len(self.inputs))]

    def constant(self, place: int, what: str) -> Array | None:
        """Return a constant operand as an array, or None when it is left out.

        Raises:
            UnsupportedError: when it depends on the model's inputs.
        """
        found = self.optional(place)
        if found is None:
            return None
        if found.array is None:
            msg = f"{what} depends on the model's inputs; it must be a constant"
            raise UnsupportedError(msg)
        return found.array

    def integers(self, place: int, what: str) -> list[int] | None:
        """Return a constant operand as Python integers, or None when it is left out."""
        found = self.constant(place, what)
        if found is None:
            return None
        check_size(found.shape, 1 << 20, what)
        return [int(value) for value in np.asarray(found).reshape(-1)]

    def number(self, place: int, what: str) -> Any:
        """Return a constant operand of one entry as a Python number, or None."""
        found = self.constant(place, what)
        if found is None:
            return None
        if found.size != 1:
            msg = f"{what} must be one number"
            raise NneqError(msg)
        return found.reshape(-1)[0].item()

    def axis(self, value: int, rank: int) -> int:
        """Return an axis counted from the front.

        Raises:
            NneqError: when there is no such axis.
        """
        if not -rank <= value < max(rank, 1):
            msg = f"axis {value} does not exist in a tensor of {rank} axes"
            raise NneqError(msg)
        return value % rank if rank else 0

    def axes(self, values: Sequence[int], rank: int) -> tuple[int, ...]:
        """Return axes counted from the front, in order, without repetition."""
        return tuple(sorted({self.axis(int(value), rank) for value in values}))

    def shape(self, shape: Sequence[int], *values: Value) -> tuple[int, ...]:
        """Return a result's shape after checking its size (``values``: what it is made from)."""
        live = any(value.array is None for value in values)
        check_size(shape, MAX_LIVE if live else MAX_CONSTANT, "the result")
        return tuple(int(size) for size in shape)

    def broadcast(self, *values: Value) -> tuple[int, ...]:
        """Return the broadcast shape of the values after checking its size.

        Raises:
            NneqError: when the shapes do not broadcast.
        """
        try:
            shape = np.broadcast_shapes(*(value.shape for value in values))
        except ValueError:
            shapes = " and ".join(str(value.shape) for value in values)
            msg = f"shapes {shapes} do not broadcast"
            raise NneqError(msg) from None
        return self.shape(shape, *values)

    def refuse(self, reason: str) -> UnsupportedError:
        """Return the error for a form of the operator that is not supported."""
        return UnsupportedError(reason)
