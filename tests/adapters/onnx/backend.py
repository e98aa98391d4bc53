"""An ``onnx`` backend that evaluates the network our adapter writes."""

from __future__ import annotations

import numpy as np
from onnx import ModelProto, TensorProto, helper, numpy_helper
from onnx.backend.base import Backend, BackendRep

from nneq.adapters.onnx import import_model
from nneq.adapters.onnx.ports import input_specs
from nneq.adapters.onnx.tensors import widened


class EquationsRep(BackendRep):
    """A model as equations, evaluated in float64 and returned in the model's own types."""

    def __init__(self, model: ModelProto, imported, names):
        self.model = model
        self.imported = imported
        self.names = names

    def run(self, inputs, **kwargs):
        feeds = [plain(array) for array in inputs]
        network = self.imported.network
        found = network(*feeds) if network.inputs else network()
        outputs = found if isinstance(found, tuple) else (found,)
        return tuple(
            _as(array, port.type.tensor_type.elem_type)
            for array, port in zip(outputs, self.model.graph.output, strict=True)
        )


def plain(value):
    """Return a test's value as an array that NumPy computes with."""
    array = numpy_helper.to_array(value) if isinstance(value, TensorProto) else np.asarray(value)
    return array if array.dtype.kind in "fiubOUS" else widened(array)


def _as(array, code):
    if not code:
        return array
    with np.errstate(all="ignore"):
        return np.asarray(array).astype(helper.tensor_dtype_to_np_dtype(code))


class EquationsBackend(Backend):
    """The backend that ``onnx.backend.test`` runs."""

    @classmethod
    def prepare(cls, model, device="CPU", **kwargs):
        imported = import_model(model)
        return EquationsRep(model, imported, [spec.label for spec in input_specs(model)])

    @classmethod
    def supports_device(cls, device):
        return device == "CPU"


def with_initialisers(model: ModelProto, feeds, keep: int) -> ModelProto:
    """Return the model with every input but number ``keep`` turned into an initialiser."""
    folded = ModelProto()
    folded.CopyFrom(model)
    for k, array in enumerate(feeds):
        if k != keep:
            name = folded.graph.input[k].name
            stored = folded.graph.initializer.add()
            if isinstance(array, TensorProto):
                stored.CopyFrom(array)
                stored.name = name
            else:
                stored.CopyFrom(numpy_helper.from_array(np.asarray(array), name))
    port = ModelProto()
    port.CopyFrom(model)
    kept = port.graph.input[keep]
    del folded.graph.input[:]
    folded.graph.input.append(kept)
    return folded
