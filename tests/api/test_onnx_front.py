"""Equations straight from ONNX models and files."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

import nneq

LABELS = ["__import__('os').abort()", "=1+1", "<b>", "\\input{x}"]


def model(name="x", dtype=np.float32):
    random = np.random.default_rng(0)
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    arrays = {
        "w": random.normal(size=(4, 5)).astype(dtype),
        "b": random.normal(size=5).astype(dtype),
        "v": random.normal(size=(5, 2)).astype(dtype),
    }
    nodes = [
        helper.make_node("Gemm", [name, "w", "b"], ["h"]),
        helper.make_node("Tanh", ["h"], ["t"]),
        helper.make_node("MatMul", ["t", "v"], ["s"]),
        helper.make_node("Softmax", ["s"], ["p"]),
    ]
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info(name, kind, ["N", 4])],
        [helper.make_tensor_value_info("p", kind, ["N", 2])],
        [numpy_helper.from_array(array, key) for key, array in arrays.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float32, 1e-5), (np.float64, 1e-12)])
def test_equations_are_the_reference(dtype, tolerance):
    """Within 1e-5 for float32 and 1e-12 for float64."""
    found = nneq.to_equations(model(dtype=dtype)).verify(200)

    assert found.passed
    assert found.max_rel_error <= tolerance


def test_a_file_is_read(tmp_path):
    """A path as text and as a Path."""
    onnx.save(model(), tmp_path / "model.onnx")
    rows = np.zeros((1, 4))
    expected = nneq.to_equations(model())(rows)

    assert np.array_equal(expected, nneq.to_equations(tmp_path / "model.onnx")(rows))
    assert np.array_equal(expected, nneq.to_equations(str(tmp_path / "model.onnx"))(rows))


@pytest.mark.parametrize("label", LABELS)
def test_a_hostile_tensor_name_is_only_a_label(label):
    """The symbols are ours; the label is shown, never run."""
    eqs = nneq.to_equations(model(label))

    assert {"x_1", "x_2", "x_3", "x_4"} == {str(s) for s in eqs["z_1"].free_symbols}
    assert label not in eqs.lambdify().source
    assert label == eqs.network.inputs[0].label
    assert eqs.verify(10).passed


@pytest.mark.parametrize("content", [b"not a model", b"\x08", b"\xff" * 1000, b"PK\x03\x04zip"])
def test_a_foreign_file_is_one_clear_error(tmp_path, content):
    """What is no ONNX model is refused with the file's name."""
    (tmp_path / "model.onnx").write_bytes(content)

    with pytest.raises(nneq.NneqError, match=r"model\.onnx"):
        nneq.to_network(tmp_path / "model.onnx")


def test_element_types_meet_their_own_tolerance():
    """A half-precision model is compared at its own precision."""
    found = nneq.to_equations(model(dtype=np.float16)).verify(50)

    assert found.passed
    assert 1e-5 < found.tolerance < 0.1
