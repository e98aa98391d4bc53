"""Importing: batch axes, names, examples, heads, opsets, functions, control flow."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from adapters.onnx.graphs import mlp, model, node, port, stored, whole
from onnx import TensorProto, helper

from nneq.adapters.onnx import import_bytes, import_model, read_model
from nneq.errors import NneqError, UnsupportedError


def assert_agrees(built, *arrays, tolerance=1e-5):
    """Hold the network against onnxruntime and against the package's reference."""
    imported = import_model(built)
    session = onnxruntime.InferenceSession(built.SerializeToString())
    names = [item.name for item in session.get_inputs()]
    truth = session.run(None, dict(zip(names, arrays, strict=True)))
    found = imported.network(*arrays)
    found = found if isinstance(found, tuple) else (found,)
    for expected, actual in zip(truth, found, strict=True):
        scale = max(np.abs(expected).max(), 1e-30)

        assert expected.shape == actual.shape
        assert np.abs(expected - actual).max() <= tolerance * scale
    single = [np.asarray(a)[:1] if p.batched else a for a, p in zip(
        arrays, imported.network.inputs, strict=True
    )]  # fmt: skip
    reference = imported.reference(single)
    own = imported.network(*single)
    own = own if isinstance(own, tuple) else (own,)
    for expected, actual in zip(reference, own, strict=True):
        assert np.abs(expected - actual).max() <= tolerance * max(np.abs(expected).max(), 1e-30)
    return imported.network


def test_a_symbolic_first_axis_is_the_batch_axis():
    """Any number of rows can be evaluated; each row is one sample."""
    x = np.random.default_rng(1).normal(size=(7, 4)).astype(np.float32)
    network = assert_agrees(mlp(), x)

    assert (1, 4) == network.inputs[0].shape
    assert network.inputs[0].batched
    assert network.outputs[0].batched


def test_a_first_axis_of_one_is_a_batch_axis_too():
    """A model exported for one row takes many rows here."""
    imported = import_model(mlp(1))

    assert (5, 3) == imported.network(np.zeros((5, 4))).shape
    assert not imported.batches


def test_a_fixed_larger_first_axis_is_not_a_batch_axis():
    """A tensor of fixed extent 3 is one sample."""
    network = import_model(mlp(3)).network

    assert not network.inputs[0].batched
    assert (3, 3) == network.outputs[0].shape


def test_float64_models_agree_to_1e_12():
    """A double model is reproduced to the last digits."""
    rng = np.random.default_rng(2)
    built = model(
        [node("MatMul", "x w", "h"), node("Tanh", "h", "t"), node("MatMul", "t v", "y")],
        [port("x", ["N", 3], TensorProto.DOUBLE)],
        [port("y", None, TensorProto.DOUBLE)],
        [
            stored("w", rng.normal(size=(3, 5)), np.float64),
            stored("v", rng.normal(size=(5, 2)), np.float64),
        ],
    )

    assert_agrees(built, rng.normal(size=(6, 3)), tolerance=1e-12)


def test_other_symbolic_axes_need_an_example():
    """Without an example the axis is named; with one its extent is used."""
    built = model([node("Relu", "x", "y")], [("x", ["N", "features"])], [("y", None)])
    with pytest.raises(NneqError, match=r"axis 1 \('features'\) has no fixed extent"):
        import_model(built)
    network = import_model(built, example_inputs=[np.zeros((2, 6))]).network

    assert (1, 6) == network.inputs[0].shape


def test_a_sequence_axis_is_not_taken_for_a_batch():
    """A first axis that is called a sequence needs an example."""
    built = model([node("Relu", "x", "y")], [("x", ["seq_len", 2])], [("y", None)])
    with pytest.raises(NneqError, match="give example_inputs"):
        import_model(built)

    assert (5, 2) == import_model(built, example_inputs={"x": np.zeros((5, 2))}).network.inputs[
        0
    ].shape


def test_reshapes_of_every_spelling():
    """-1, 0 and a constant batch extent all work on one sample."""
    nodes = [
        node("Reshape", "x s1", "a"),
        node("Reshape", "a s2", "b"),
        node("Shape", "x", "shape"),
        node("Gather", "shape zero", "n"),
        node("Concat", "n rest", "s3", axis=0),
        node("Reshape", "b s3", "y"),
    ]
    weights = [
        whole("s1", [-1, 2, 3]),
        whole("s2", [0, 6]),
        whole("zero", [0]),
        whole("rest", [3, 2]),
    ]
    built = model(nodes, [("x", [1, 6])], [("y", None)], weights)

    assert_agrees(built, np.arange(6, dtype=np.float32).reshape(1, 6))


def test_names_are_carried_to_entries_or_tensors():
    """As many names as entries name entries; as many as tensors name tensors; else an error."""
    network = import_model(mlp(), input_names=list("abcd"), output_names=["probabilities"]).network

    assert tuple("abcd") == network.inputs[0].entry_labels
    assert network.outputs[0].label == "probabilities"
    with pytest.raises(NneqError, match="input_names holds 2 names"):
        import_model(mlp(), input_names=["a", "b"])


def test_an_embedding_of_integers_is_a_look_up():
    """A live Gather agrees with onnxruntime and the input port knows its levels."""
    table = np.random.default_rng(3).normal(size=(10, 4))
    built = model(
        [node("Gather", "t i", "e"), node("ReduceMean", "e", "y", axes=[1], keepdims=0)],
        [port("i", ["N", 5], TensorProto.INT64)],
        [("y", None)],
        [stored("t", table)],
    )
    network = assert_agrees(built, np.array([[0, 9, 3, 3, 7], [1, 2, 4, 6, 8]]))

    assert network.inputs[0].levels == 10


def test_a_text_label_beside_scores_is_left_out():
    """The scores stay, a note names the label."""
    built = model(
        [node("Softmax", "x", "y", axis=1), node("Cast", "i", "label", to=TensorProto.STRING)],
        [("x", ["N", 3]), port("i", ["N"], TensorProto.INT64)],
        [port("label", None, TensorProto.STRING), ("y", None)],
    )
    network = import_model(built).network

    assert ["y"] == [item.label for item in network.outputs]
    assert "'label'" in network.source.notes[0]


def test_a_model_of_text_only_is_refused():
    """There is nothing to equate."""
    built = model(
        [node("Cast", "x", "label", to=TensorProto.STRING)],
        [("x", ["N", 3])],
        [port("label", None, TensorProto.STRING)],
    )
    with pytest.raises(UnsupportedError, match="its only output is text"):
        import_model(built)


def test_every_unsupported_node_is_named_in_one_error():
    """Two unknown nodes, the second behind the first, and a random one: all in one message."""
    nodes = [
        node("Frobnicate", "x", "a", name="first"),
        node("Whirl", "a", "b", name="second", domain="com.acme"),
        node("RandomNormalLike", "x", "c", name="noise"),
        node("Add", "b c", "y"),
    ]
    built = model(nodes, [("x", ["N", 3])], [("y", None)], domains=["com.acme"])
    with pytest.raises(UnsupportedError) as caught:
        import_model(built)
    text = str(caught.value)

    assert [name in text for name in ("'first'", "'second'", "'noise'")] == [True] * 3
    assert "com.acme.Whirl-1" in text
    assert "what to do" in text


def test_model_functions_are_expanded_with_their_attributes():
    """Attributes of a call reach the body; defaults of the function are used."""
    function = helper.make_function(
        "local", "Bend", ["a"], ["b"],
        [helper.make_node("LeakyRelu", ["a"], ["b"])],
        [helper.make_opsetid("", 17)], ["slope"],
    )  # fmt: skip
    reference = function.node[0].attribute.add()
    reference.name, reference.ref_attr_name, reference.type = "alpha", "slope", 1
    built = model(
        [node("Bend", "x", "h", domain="local", slope=0.3), node("Neg", "h", "y")],
        [("x", ["N", 3])], [("y", None)], functions=[function], domains=["local"],
    )  # fmt: skip

    assert_agrees(built, np.array([[-1, 0, 2], [3, -4, -0.5]], dtype=np.float32))


def test_constant_control_flow_is_unrolled():
    """A constant branch and a loop of three rounds; a live condition is refused."""
    body = helper.make_graph(
        [node("Identity", "go", "on"), node("Add", "v w", "u")], "body",
        [port("i", [], TensorProto.INT64), port("go", [], TensorProto.BOOL), port("v", [1, 2])],
        [port("on", [], TensorProto.BOOL), port("u", [1, 2])],
    )  # fmt: skip
    yes = helper.make_graph([node("Relu", "x", "q")], "yes", [], [port("q", None)])
    no = helper.make_graph([node("Neg", "x", "q")], "no", [], [port("q", None)])
    built = model(
        [
            helper.make_node("Loop", ["n", "", "x"], ["l"], body=body),
            helper.make_node("If", ["c"], ["k"], then_branch=yes, else_branch=no),
            node("Add", "l k", "y"),
        ],
        [("x", [1, 2])], [("y", [1, 2])],
        [
            whole("n", 3),
            stored("c", False, np.bool_),
            stored("w", [[1.0, -2.0]]),
        ],
    )  # fmt: skip
    assert_agrees(built, np.array([[0.5, -1.5]], dtype=np.float32))
    live = model(
        [
            node("ReduceSum", "x", "s", keepdims=0),
            node("Greater", "s z", "c"),
            helper.make_node("If", ["c"], ["y"], then_branch=yes, else_branch=no),
        ],
        [("x", [1, 2])], [("y", None)], [stored("z", 0.0)],
    )  # fmt: skip
    with pytest.raises(UnsupportedError, match="its condition depends on the inputs"):
        import_model(live)


def test_old_opsets_are_converted():
    """A model of opset 6 with the old broadcasting attribute is read through the converter."""
    built = model(
        [node("Add", "x b", "h", broadcast=1, axis=1), node("Relu", "h", "y")],
        [("x", [1, 3])], [("y", [1, 3])], [stored("b", [1.0, -2.0, 0.5])], opset=6,
    )  # fmt: skip
    network = import_model(built).network

    assert [[1.0, 0.0, 1.5]] == network(np.array([[0.0, 1.0, 1.0]])).tolist()


def test_bytes_and_paths_give_the_same_network(tmp_path):
    """A file, its bytes and the model object agree."""
    path = tmp_path / "mlp.onnx"
    onnx.save(mlp(), path)
    x = np.ones((1, 4))
    found = [import_model(path), import_bytes(path.read_bytes()), import_model(read_model(path))]
    expected = found[0].network(x)

    assert all(np.array_equal(expected, item.network(x)) for item in found)
    assert np.abs(expected - found[0].reference([x])[0]).max() < 1e-6


def test_a_file_that_changed_is_not_compared_with(tmp_path):
    """The reference reads the file again and notices another one in its place."""
    path = tmp_path / "mlp.onnx"
    onnx.save(mlp(), path)
    imported = import_model(path)
    onnx.save(model([node("Relu", "x", "y")], [("x", ["N", 4])], [("y", None)]), path)
    with pytest.raises(NneqError, match="has changed since it was read"):
        imported.reference([np.ones((1, 4))])


def test_external_data_beside_the_model(tmp_path):
    """Weights in a second file are read, and the reference finds them too."""
    path = tmp_path / "mlp.onnx"
    onnx.save(mlp(), path, save_as_external_data=True, location="w.bin", size_threshold=0)
    imported = import_model(path)
    x = np.ones((1, 4))

    assert np.abs(imported.reference([x])[0] - imported.network(x)).max() < 1e-6


def test_weights_are_stored_bit_for_bit():
    """The weights of the file stand in the network unchanged, in their own precision."""
    built = mlp()
    arrays = [a for n in import_model(built).network.nodes for a in _weights(n)]
    bits = {a.astype(np.float32).tobytes() for a in arrays} | {
        np.ascontiguousarray(a.T).tobytes() for a in arrays
    }

    assert all(tensor.raw_data in bits for tensor in built.graph.initializer)


def _weights(n):
    terms = getattr(n, "terms", ())
    found = [a for term in terms for a in term.map.parameters]
    return found + ([n.bias] if getattr(n, "bias", None) is not None else [])


def test_missing_attributes_come_from_the_schema():
    """A Gemm, an Elu, a LeakyRelu and a HardSigmoid without attributes have ONNX's defaults."""
    nodes = [
        node("Gemm", "x w", "a"),
        node("Elu", "a", "b"),
        node("LeakyRelu", "b", "c"),
        node("HardSigmoid", "c", "d"),
        node("Selu", "d", "y"),
    ]
    weights = [stored("w", np.random.default_rng(4).normal(size=(3, 3)))]
    built = model(nodes, [("x", ["N", 3])], [("y", None)], weights)

    assert_agrees(built, np.random.default_rng(5).normal(size=(9, 3)).astype(np.float32))


def test_casts_to_half_precision_are_noted():
    """The equations do not round; a note says so."""
    built = model(
        [node("Cast", "x", "h", to=TensorProto.FLOAT16), node("Cast", "h", "y", to=1)],
        [("x", ["N", 3])], [("y", None)],
    )  # fmt: skip

    assert "casts to float16" in " ".join(import_model(built).network.source.notes)


def test_masked_attention_leaves_masked_entries_out():
    """Minus infinity before a softmax is a mask; no infinite weight is left in the network."""
    mask = np.triu(np.full((4, 4), -np.inf), 1)
    nodes = [
        node("Transpose", "x", "t", perm=[0, 2, 1]),
        node("MatMul", "x t", "s"),
        node("Add", "s m", "sm"),
        node("Softmax", "sm", "p", axis=-1),
        node("MatMul", "p x", "y"),
    ]
    built = model(nodes, [("x", [1, 4, 3])], [("y", [1, 4, 3])], [stored("m", mask)])
    network = assert_agrees(built, np.random.default_rng(6).normal(size=(1, 4, 3)).astype("f4"))

    assert all(np.isfinite(a).all() for n in network.nodes for a in _weights(n))


def test_a_model_that_mixes_the_rows_of_a_batch_is_refused():
    """A mean over the batch axis is no function of one row; the error says so."""
    built = model(
        [node("ReduceMean", "x", "m", axes=[0]), node("Sub", "x m", "y")],
        [("x", ["N", 3])],
        [("y", ["N", 3])],
    )
    with pytest.raises(NneqError, match="'y' of one row depends on the other rows"):
        import_model(built)


def test_an_output_without_a_batch_axis_is_known():
    """A constant table beside the scores has no batch axis, whatever its first extent is."""
    built = model(
        [node("Relu", "x", "y"), node("Identity", "t", "z")],
        [("x", ["N", 3])],
        [("y", ["N", 3]), ("z", None)],
        [stored("t", np.ones((1, 2)))],
    )
    network = import_model(built).network

    assert [True, False] == [item.batched for item in network.outputs]


def test_nodes_in_any_order_are_sorted():
    """A graph whose nodes are not in order of use is read, and the reference too."""
    built = model(
        [node("Tanh", "h", "y"), node("Relu", "x", "h")], [("x", ["N", 3])], [("y", None)]
    )
    imported = import_model(built)
    x = np.array([[1.0, -2.0, 0.5]])

    assert np.abs(np.tanh(np.maximum(x, 0)) - imported.network(x)).max() < 1e-12
    assert np.abs(imported.reference([x])[0] - imported.network(x)).max() < 1e-6


def test_old_forms_of_operators_agree_with_the_corrected_reference():
    """Batch norm of opset 9 and softmax over all axes of opset 11, which the package gets wrong."""
    rng = np.random.default_rng(8)
    parts = [stored(n, rng.uniform(0.5, 1.5, 2)) for n in "sbmv"]
    built = model(
        [
            node("BatchNormalization", "x s b m v", "n"),
            node("Softmax", "n", "p", axis=2),
            node("LogSoftmax", "p", "y", axis=1),
        ],
        [("x", ["N", 2, 3, 4])], [("y", None)], parts, opset=9,
    )  # fmt: skip

    assert_agrees(built, rng.normal(size=(5, 2, 3, 4)).astype(np.float32))
