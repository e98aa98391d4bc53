"""Whole networks: exported by PyTorch and Keras (files beside this one), and built by hand.

``exported/forward.npz`` holds inputs and the frameworks' own outputs.  The files come from
``torch.onnx.export`` (``dynamo`` and the older ``script`` way) and ``keras.Model.export``.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from adapters.onnx.graphs import model, node, port, stored, whole
from onnx import TensorProto, helper
from sklearn import datasets

from nneq.adapters.onnx import import_model

EXPORTED = Path(__file__).parent / "exported"
NAMES = sorted(path.stem for path in EXPORTED.glob("*.onnx"))


@pytest.mark.parametrize("name", NAMES)
def test_an_exported_model_agrees_with_its_framework(name):
    """The equations give the framework's own outputs to 1e-5, for all rows of a batch."""
    path = EXPORTED / f"{name}.onnx"
    with np.load(EXPORTED / "forward.npz") as data:
        x, truth = data[f"{name}.x"], data[f"{name}.y"]
    imported = import_model(path)
    found = imported.network(x)

    assert truth.shape == found.shape
    assert np.abs(truth - found).max() <= 1e-5 * np.abs(truth).max()
    reference = imported.reference([x[:1]])[0]
    assert np.abs(reference - imported.network(x[:1])).max() <= 1e-5 * np.abs(reference).max()


def test_there_are_models_of_both_exporters():
    """The folder is not empty."""
    assert {"keras", "torch"} == {name.split("_")[0] for name in NAMES}


def assert_agrees_with_onnxruntime(built, *arrays, tolerance=1e-5):
    network = import_model(built).network
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(built.SerializeToString(), options)
    names = [item.name for item in session.get_inputs()]
    truth = session.run(None, dict(zip(names, arrays, strict=True)))
    found = network(*arrays)
    found = found if isinstance(found, tuple) else (found,)
    for expected, actual in zip(truth, found, strict=True):
        assert expected.shape == actual.shape
        assert np.abs(expected - actual).max() <= tolerance * max(np.abs(expected).max(), 1e-30)
    return network


def image(rng, *shape):
    return rng.normal(size=shape).astype(np.float32)


CONVOLUTIONS = [
    {"strides": [2, 1], "pads": [1, 0, 2, 1]},
    {"dilations": [2, 3]},
    {"strides": [2, 3], "auto_pad": "SAME_UPPER"},
    {"strides": [3, 2], "auto_pad": "SAME_LOWER"},
    {"group": 2, "pads": [1, 1, 1, 1]},
    {"auto_pad": "VALID", "strides": [2, 2]},
]


@pytest.mark.parametrize("options", CONVOLUTIONS)
def test_convolutions_agree(options):
    """Strides, dilations, groups and every kind of padding."""
    rng = np.random.default_rng(0)
    groups = options.get("group", 1)
    weights = [
        stored("w", rng.normal(size=(6, 4 // groups, 3, 2))),
        stored("b", rng.normal(size=6)),
    ]
    built = model(
        [node("Conv", "x w b", "y", **options)], [("x", ["N", 4, 9, 10])], [("y", None)], weights
    )

    assert_agrees_with_onnxruntime(built, image(rng, 3, 4, 9, 10))


TRANSPOSED = [
    {"strides": [2, 3], "output_padding": [1, 2], "pads": [1, 0, 0, 1]},
    {"strides": [2, 2], "auto_pad": "SAME_UPPER"},
    {"strides": [2, 2], "output_shape": [11, 12]},
    {"group": 2, "dilations": [2, 1]},
]


@pytest.mark.parametrize("options", TRANSPOSED)
def test_transposed_convolutions_agree(options):
    """Strides, output padding and shape, groups, dilations."""
    rng = np.random.default_rng(1)
    weights = [
        stored("w", rng.normal(size=(4, 3, 3, 2))),
        stored("b", rng.normal(size=3 * options.get("group", 1))),
    ]
    built = model(
        [node("ConvTranspose", "x w b", "y", **options)],
        [("x", ["N", 4, 5, 6])],
        [("y", None)],
        weights,
    )

    assert_agrees_with_onnxruntime(built, image(rng, 2, 4, 5, 6))


POOLS = [
    ("MaxPool", {"kernel_shape": [3, 2], "strides": [2, 1], "pads": [1, 0, 1, 1]}),
    ("MaxPool", {"kernel_shape": [2, 2], "strides": [2, 2], "ceil_mode": 1}),
    ("MaxPool", {"kernel_shape": [2, 2], "dilations": [2, 3]}),
    ("AveragePool", {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1], "strides": [2, 2]}),
    ("AveragePool", {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1], "count_include_pad": 1}),
    ("LpPool", {"kernel_shape": [2, 3], "p": 2, "strides": [2, 1]}),
    ("LpPool", {"kernel_shape": [2, 3], "p": 3}),
    ("GlobalMaxPool", {}),
    ("GlobalAveragePool", {}),
    ("LRN", {"size": 3, "alpha": 0.01, "beta": 0.6, "bias": 1.5}),
]


@pytest.mark.parametrize(("op", "options"), POOLS)
def test_pooling_agrees(op, options):
    """Every form of pooling, and local response normalisation."""
    rng = np.random.default_rng(2)
    built = model([node(op, "x", "y", **options)], [("x", ["N", 5, 7, 8])], [("y", None)])

    assert_agrees_with_onnxruntime(built, image(rng, 2, 5, 7, 8))


RESIZES = [
    {"mode": mode, "coordinate_transformation_mode": transform}
    for mode in ("nearest", "linear", "cubic")
    for transform in ("half_pixel", "align_corners", "asymmetric", "pytorch_half_pixel")
]


@pytest.mark.parametrize("options", RESIZES)
@pytest.mark.parametrize("size", [(9, 4), (3, 13)])
def test_resizing_agrees(options, size):
    """Up and down, every interpolation and every way to place the samples."""
    rng = np.random.default_rng(3)
    resize = helper.make_node("Resize", ["x", "", "", "s"], ["y"], **options)
    built = model([resize], [("x", [1, 2, 5, 7])], [("y", None)], [whole("s", [1, 2, *size])])

    assert_agrees_with_onnxruntime(built, image(rng, 1, 2, 5, 7))


@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
@pytest.mark.parametrize(("op", "gates"), [("LSTM", 4), ("GRU", 3), ("RNN", 1)])
def test_recurrent_layers_agree(op, gates, direction):
    """All three outputs, in every direction."""
    rng = np.random.default_rng(4)
    ways = 2 if direction == "bidirectional" else 1
    outputs = "y h c" if op == "LSTM" else "y h"
    built = model(
        [node(op, "x w r b", outputs, hidden_size=4, direction=direction)],
        [("x", [6, 1, 3])],
        [(name, None) for name in outputs.split()],
        [
            stored("w", rng.normal(size=(ways, gates * 4, 3))),
            stored("r", rng.normal(size=(ways, gates * 4, 4))),
            stored("b", rng.normal(size=(ways, gates * 8))),
        ],
    )

    assert_agrees_with_onnxruntime(built, image(rng, 6, 1, 3))


def test_selection_and_order_agree():
    """Top-k, argmax, hardmax, one-hot, cumulative sums: values and places."""
    nodes = [
        node("TopK", "x k", "v i", axis=1),
        node("ArgMax", "x", "a", axis=1, keepdims=1),
        node("Hardmax", "x", "h", axis=1),
        node("CumSum", "x one", "s", reverse=1),
        node("OneHot", "a depth values", "o", axis=-1),
    ]
    weights = [
        whole("k", [3]),
        whole("one", 1),
        whole("depth", 6),
        stored("values", [-1.0, 2.0]),
    ]
    outputs = [("v", None), port("i", None, TensorProto.INT64), port("a", None, TensorProto.INT64)]
    outputs += [(name, None) for name in "hso"]
    built = model(nodes, [("x", ["N", 6])], outputs, weights)

    assert_agrees_with_onnxruntime(built, image(np.random.default_rng(5), 8, 6))


def test_quantised_weights_are_floats_again():
    """Weights stored as integers with scales per channel agree with onnxruntime."""
    rng = np.random.default_rng(6)
    nodes = [node("DequantizeLinear", "q s z", "w", axis=1), node("MatMul", "x w", "y")]
    weights = [
        stored("q", rng.integers(-128, 128, size=(4, 3)), np.int8),
        stored("s", [0.1, 0.02, 0.3]),
        stored("z", [1, -2, 0], np.int8),
    ]
    built = model(nodes, [("x", ["N", 4])], [("y", None)], weights)

    assert_agrees_with_onnxruntime(built, image(rng, 5, 4))


def test_a_digits_network_trained_here_agrees():
    """A convolution, batch norm, max pool and a softmax regression trained on its features."""
    from sklearn.linear_model import LogisticRegression

    x, y = datasets.load_digits(return_X_y=True)
    x = (x / 16).astype(np.float32).reshape(-1, 1, 8, 8)
    rng = np.random.default_rng(7)
    kernels = rng.normal(size=(6, 1, 3, 3))
    body = [
        node("Conv", "x w", "c", pads=[1, 1, 1, 1]),
        node("BatchNormalization", "c s b m v", "n"),
        node("Relu", "n", "r"),
        node("MaxPool", "r", "p", kernel_shape=[2, 2], strides=[2, 2]),
        node("Flatten", "p", "f"),
    ]
    weights = [
        stored("w", kernels),
        stored("s", rng.uniform(0.5, 1.5, 6)),
        stored("b", rng.normal(size=6)),
        stored("m", rng.normal(size=6)),
        stored("v", rng.uniform(0.5, 1.5, 6)),
    ]
    features = import_model(model(body, [("x", ["N", 1, 8, 8])], [("f", None)], weights)).network
    head = LogisticRegression(max_iter=5000).fit(features(x[:600]), y[:600])
    nodes = [*body, node("Gemm", "f k l", "z"), node("Softmax", "z", "y", axis=1)]
    weights += [stored("k", head.coef_.T), stored("l", head.intercept_)]
    built = model(nodes, [("x", ["N", 1, 8, 8])], [("y", None)], weights)
    network = assert_agrees_with_onnxruntime(built, x[:40])

    assert (network(x[600:900]).argmax(axis=1) == y[600:900]).mean() > 0.8
