"""Small hand-built ONNX models."""

from __future__ import annotations

import numpy as np
from onnx import TensorProto, helper, numpy_helper


def port(name, shape, kind=TensorProto.FLOAT):
    return helper.make_tensor_value_info(name, kind, shape)


def stored(name, array, dtype=np.float32):
    return numpy_helper.from_array(np.asarray(array, dtype=dtype), name)


def whole(name, array):
    return stored(name, array, np.int64)


def model(nodes, inputs, outputs, weights=(), opset=17, functions=(), domains=()):
    """Return a model; inputs and outputs may be ``(name, shape)`` pairs."""
    ports = [
        [port(*item) if isinstance(item, tuple) else item for item in side]
        for side in (inputs, outputs)
    ]
    graph = helper.make_graph(nodes, "graph", *ports, list(weights))
    imports = [helper.make_opsetid("", opset), *(helper.make_opsetid(d, 1) for d in domains)]
    return helper.make_model(graph, opset_imports=imports, functions=list(functions), ir_version=8)


def node(op, inputs, outputs, **attributes):
    return helper.make_node(op, inputs.split(), outputs.split(), **attributes)


def mlp(batch="N"):
    """Return a 4-8-3 perceptron with ReLU and softmax."""
    rng = np.random.default_rng(0)
    return model(
        [
            node("Gemm", "x w b", "h"),
            node("Relu", "h", "r"),
            node("Gemm", "r v c", "s", transB=1),
            node("Softmax", "s", "y", axis=1),
        ],
        [("x", [batch, 4])],
        [("y", [batch, 3])],
        [
            stored("w", rng.normal(size=(4, 8))),
            stored("b", rng.normal(size=8)),
            stored("v", rng.normal(size=(3, 8))),
            stored("c", rng.normal(size=3)),
        ],
    )
