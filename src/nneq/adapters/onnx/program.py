"""A checked model that can be written as a network for given input shapes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from onnx import FunctionProto, ModelProto, TensorProto

from nneq.adapters.onnx import operators as _operators
from nneq.adapters.onnx.finite import check_finite, check_peak
from nneq.adapters.onnx.heads import Heads
from nneq.adapters.onnx.ports import InputSpec
from nneq.adapters.onnx.structure import FunctionKey, needed, ordered
from nneq.adapters.onnx.tensors import element_dtype, tensor_to_array
from nneq.adapters.onnx.walk import Scope, Walk
from nneq.errors import NneqError, UnsupportedError, problems_message
from nneq.ir import Network, Source
from nneq.lowering import Builder, Value
from nneq.passes import tidy

__all__ = ["Program", "check_names"]

_WAY_OUT = (
    "what to do: export the model again without these operators (opset 17 or newer, inference "
    "mode), or cut it before them with onnx.utils.extract_model"
)
_CORRECT = (
    "what to do: correct the named nodes (onnx.checker.check_model may say more), or export the "
    "model again"
)


@dataclass(frozen=True, eq=False)
class Program:
    """What is known of a model before its shapes are.

    Args:
        model: the parsed model, of opset 7 or newer.
        label: the file or graph it came from, as text.
        folder: the folder of its file, for external data; None when there is none.
        functions: its own functions.
        opsets: the versions it imports.
        heads: the outputs that are kept.
    """

    model: ModelProto
    label: str
    folder: Path | None
    functions: Mapping[FunctionKey, FunctionProto]
    opsets: Mapping[str, int]
    heads: Heads

    def network(self, specs: Sequence[InputSpec]) -> Network:
        """Return the network for inputs of these shapes.

        Raises:
            NneqError: when nodes do not fit one another; every one is named.
            UnsupportedError: when nodes are outside what nneq does; every one is named.
        """
        builder = Builder()
        walk = Walk(builder, self.functions, _stored_reader(builder, self.folder))
        graph = self.model.graph
        scope = Scope()
        walk.codes = {port.name: port.type.tensor_type.elem_type for port in graph.input}
        walk.add_stored(graph, scope)
        for spec in specs:
            scope.values[spec.label] = builder.input(
                spec.shape, label=spec.label, dtype=spec.dtype, batched=spec.batched
            )
        nodes = ordered(graph.node, scope.names(), f"the graph of {self.label!r}")
        names = [head.tensor for head in self.heads.outputs]
        made = {name for node in nodes for name in node.output} | scope.names()
        for name in names:
            if name not in made:
                msg = f"nothing makes the output {name!r}; add the node that makes it"
                raise NneqError(msg)
        walk.run(needed(nodes, names), scope, self.opsets)
        values = [scope.find(name) for name in names]
        if walk.problems:
            kind = NneqError if walk.malformed else UnsupportedError
            headline = f"cannot read {self.label!r} as equations"
            remedy = _CORRECT if walk.malformed else _WAY_OUT
            raise kind(problems_message(headline, walk.problems, remedy))
        return self._built(builder, values, walk.notes, batched=any(s.batched for s in specs))

    def _built(
        self,
        builder: Builder,
        values: Sequence[Value | None],
        notes: Sequence[str],
        *,
        batched: bool,
    ) -> Network:
        outputs = []
        flags = []
        labels = []
        for value, head in zip(values, self.heads.outputs, strict=True):
            if value is None:
                msg = f"the output {head.name!r} could not be made"
                raise NneqError(msg)
            dtype = value.dtype if head.code is None else element_dtype(head.code)
            outputs.append((Value(value.shape, dtype, value.node, value.array), head.name))
            flags.append(batched and value.shape[:1] == (1,) and head.batched)
            labels.append(head.classes if len(head.classes) == value.size else ())
        network = tidy(
            builder.build(outputs, source=self._source(notes), batched=flags, entry_labels=labels)
        )
        check_finite(network)
        check_peak(network)
        return network

    def _source(self, notes: Sequence[str]) -> Source:
        opsets = ", ".join(f"{d or 'ai.onnx'} {v}" for d, v in sorted(self.opsets.items()))
        details = [("opset", opsets)]
        if self.model.producer_name:
            producer = f"{self.model.producer_name} {self.model.producer_version}".strip()
            details.append(("producer", producer[:120]))
        return Source(
            framework="onnx",
            label=self.label,
            details=tuple(details),
            notes=(*self.heads.notes, *dict.fromkeys(notes)),
        )


def check_names(model: ModelProto) -> None:
    """Refuse two stored tensors of one name: nothing says which one is meant."""
    seen: set[str] = set()
    twice = []
    stored = [t.name for t in model.graph.initializer]
    stored += [s.values.name for s in model.graph.sparse_initializer]
    for name in stored:
        if name in seen:
            twice.append(f"initialiser {name[:120]!r} is stored twice")
        seen.add(name)
    if twice:
        remedy = "give every stored tensor its own name"
        raise NneqError(problems_message("names are not unique", twice[:20], remedy))


def _stored_reader(builder: Builder, folder: Path | None) -> Callable[[Any], Value]:
    def load(tensor: TensorProto) -> Value:
        try:
            array = tensor_to_array(tensor, folder)
        except NneqError as error:
            msg = f"initialiser {tensor.name[:120]!r}: {error}"
            raise type(error)(msg) from None
        if array.dtype.kind == "f" and array.size and np.isnan(array).any():
            msg = (
                f"initialiser {tensor.name[:120]!r} holds NaN ({int(np.isnan(array).sum())} of "
                f"{array.size} entries); a model with such weights has no values: train it again"
            )
            raise NneqError(msg)
        return builder.constant(array)

    return load


_REGISTERED = _operators.OPERATORS
