"""The onnx package's own reference forward, made when it is first asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from onnx import ModelProto, TensorProto, external_data_helper, inliner, numpy_helper

from nneq.adapters.onnx.structure import needed, ordered
from nneq.adapters.onnx.tensors import external_bytes, stored_size
from nneq.errors import NneqError

__all__ = ["Runner"]

Array = np.ndarray[Any, Any]


class Runner:
    """Runs a model with ``onnx.reference``, in the model's own element types.

    Args:
        model: the model, or what reads it again (a file's weights need not stay in memory twice).
        folder: the folder of its file, for external data.
        inputs: names of its inputs.
        outputs: names of the values to return.
    """

    def __init__(
        self,
        model: ModelProto | Callable[[], ModelProto],
        folder: Path | None,
        inputs: Sequence[str],
        outputs: Sequence[str],
    ) -> None:
        """Keep the model; nothing is run yet."""
        self._read = model
        self._types: dict[str, int] = {}
        self._folder = folder
        self._inputs = tuple(inputs)
        self._outputs = list(outputs)
        self._session: Any = None

    def __call__(self, arrays: Sequence[Array]) -> list[Array]:
        """Return the outputs for one array per input.

        Raises:
            NneqError: when the reference cannot run the model.
        """
        from onnx.reference import ReferenceEvaluator

        from nneq.adapters.onnx.reference_ops import replacements

        if self._session is None:
            model = self._read if isinstance(self._read, ModelProto) else self._read()
            ports = model.graph.input
            self._types = {port.name: port.type.tensor_type.elem_type for port in ports}
            versions = [o.version for o in model.opset_import if o.domain in {"", "ai.onnx"}]
            own = replacements(max(versions, default=1))
            try:
                self._session = ReferenceEvaluator(self._pruned(model), new_ops=own)
            except (RuntimeError, NotImplementedError, TypeError, ValueError) as error:
                msg = f"the onnx reference cannot run this model: {error}"
                raise NneqError(msg) from error
        feeds = {
            name: _typed(np.asarray(array), self._types.get(name))
            for name, array in zip(self._inputs, arrays, strict=True)
        }
        try:
            with np.errstate(all="ignore"):
                found = self._session.run(self._outputs, feeds)
        except (RuntimeError, NotImplementedError, TypeError, ValueError, IndexError) as error:
            msg = f"the onnx reference cannot run this model: {error}"
            raise NneqError(msg) from error
        return [np.asarray(value) for value in found]

    def _pruned(self, model: ModelProto) -> ModelProto:
        """Return the model in order, without idle nodes, with its external data loaded.

        Functions are expanded first: the reference does not hand attributes on to every operator.
        """
        if model.functions:
            model = inliner.inline_local_functions(model)
        graph = model.graph
        known = {t.name for t in graph.initializer} | {p.name for p in graph.input}
        known |= {s.values.name for s in graph.sparse_initializer}
        kept = needed(ordered(graph.node, known, "the graph"), self._outputs)
        external = any(map(external_data_helper.uses_external_data, graph.initializer))
        declared = [port.name for port in graph.output]
        endless = any(node.op_type == "Loop" and not node.input[1] for node in kept)
        made = [list(node.output) for node in kept]
        whole = declared == self._outputs and made == [list(node.output) for node in graph.node]
        if whole and not external and not endless:
            return model
        copy = ModelProto()
        copy.CopyFrom(model)
        del copy.graph.node[:]
        copy.graph.node.extend(kept)
        _say_go_on(copy)
        ports = {port.name: port for port in graph.output}
        del copy.graph.output[:]
        for name in self._outputs:
            if name in ports:
                copy.graph.output.add().CopyFrom(ports[name])
            else:
                copy.graph.output.add().name = name
        for tensor in copy.graph.initializer:
            if tensor.data_location == TensorProto.EXTERNAL:
                raw = external_bytes(tensor, self._folder, stored_size(tensor))
                del tensor.external_data[:]
                tensor.data_location = TensorProto.DEFAULT
                tensor.raw_data = raw
        return copy


def _say_go_on(model: ModelProto) -> None:
    """Give loops without a condition a true one: the reference runs no round otherwise."""
    name = "nneq_always"
    loops = [n for n in model.graph.node if n.op_type == "Loop" and not n.input[1]]
    for node in loops:
        node.input[1] = name
    if loops:
        model.graph.initializer.append(numpy_helper.from_array(np.array(True), name))


def _typed(array: Array, code: int | None) -> Array:
    from onnx import helper

    if not code:
        return array
    return array.astype(helper.tensor_dtype_to_np_dtype(code))
