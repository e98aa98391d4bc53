"""Hostile files: one clear error each, soon, in little memory; legal oddities work."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from adapters.onnx.graphs import model, node, port, stored
from adapters.onnx.hostile import CHAINS, chain, corpus

from nneq.adapters.onnx import import_bytes, import_model
from nneq.errors import NneqError

SECONDS = 20


def test_every_hostile_model_gets_one_clear_error(tmp_path):
    """Each item of the corpus raises an NneqError that names what is wrong, within seconds."""
    wrong = {}
    for name, item, text in corpus(tmp_path):
        start = time.perf_counter()
        try:
            import_model(item)
            wrong[name] = "no error"
        except NneqError as error:
            if text not in str(error):
                wrong[name] = str(error)
        if time.perf_counter() - start > SECONDS:
            wrong[name] = "too slow"

    assert {} == wrong


def test_hostile_models_stay_within_400_mebibytes(tmp_path):
    """The whole corpus read in one process raises its peak memory by less than 400 MiB."""
    tests = Path(__file__).parents[2]
    found = subprocess.run(
        [sys.executable, str(Path(__file__).parent / "hostile.py"), str(tmp_path)],
        env={**os.environ, "PYTHONPATH": str(tests)},
        capture_output=True, text=True, check=True, timeout=300,
    )  # fmt: skip

    assert float(found.stdout) < 400


@pytest.mark.parametrize("name", CHAINS)
def test_a_chain_of_10_000_nodes_is_read_and_evaluated(name):
    """No recursion, no quadratic time."""
    built = chain(name)
    start = time.perf_counter()
    network = import_model(built).network
    x = np.array([[1.0, -2.0, 3.0, 0.5]])
    expected = {"Relu": np.maximum(x, 0), "Add": x + 10_000}.get(name, x)

    assert np.array_equal(expected, network(x))
    assert time.perf_counter() - start < SECONDS


HOSTILE_NAMES = [
    "__import__('os').system('false')",
    "</script><script>alert(1)</script>",
    "\x1b[31mred\x1b]0;title\x07",
    "=1+1",
    "\\input{/etc/passwd}",
    "x_1",
    "a\nb",
]


@pytest.mark.parametrize("name", HOSTILE_NAMES)
def test_names_are_labels_only(name):
    """Any text may name a tensor; our own names stay identifiers."""
    built = model(
        [node("Neg", "i", "o", name=name)], [("x", [1, 2])], [("y", None)]
    )  # placeholders, renamed below
    built.graph.input[0].name = built.graph.node[0].input[0] = name
    built.graph.output[0].name = built.graph.node[0].output[0] = name + "!"
    network = import_model(built).network

    assert network.inputs[0].name.isidentifier()
    assert network.outputs[0].name.isidentifier()
    assert name == network.inputs[0].label
    assert [[-1.0, 2.0]] == network(np.array([[1.0, -2.0]])).tolist()


def test_names_that_become_one_identifier_stay_apart():
    """Two inputs whose names differ in one sign only are two inputs."""
    built = model([node("Sub", "a.b a-b", "y")], [("a.b", [1, 2]), ("a-b", [1, 2])], [("y", None)])
    network = import_model(built).network

    assert len({item.name for item in network.inputs}) == 2
    assert [[2.0, 3.0]] == network(np.array([[3.0, 5.0]]), np.array([[1.0, 2.0]])).tolist()


def test_tensors_without_entries_work_or_are_named():
    """A product over no entries is zero; a maximum of no entries is refused."""
    empty = stored("w", np.ones((0, 3)))
    built = model([node("MatMul", "x w", "y")], [("x", [1, 0])], [("y", None)], [empty])
    network = import_model(built).network

    assert [[0.0, 0.0, 0.0]] == network(np.zeros((1, 0))).tolist()
    built = model([node("ReduceMax", "x", "y")], [("x", [1, 0])], [("y", None)])
    with pytest.raises(NneqError, match="a reduction of no entries"):
        import_model(built)


def test_all_problems_of_the_inputs_are_named_at_once():
    """Two inputs that cannot be used are both in the message."""
    built = model(
        [node("Add", "a b", "y")], [("a", ["N", "p"]), ("b", ["N", "q"])], [port("y", None)]
    )
    with pytest.raises(NneqError) as caught:
        import_model(built)

    assert ["'p'" in str(caught.value), "'q'" in str(caught.value)] == [True, True]


def test_damaged_bytes_never_escape_as_other_errors():
    """500 seeded mutations of exported models are read, or raise an NneqError, and none hangs."""
    rng = np.random.default_rng(0)
    folder = Path(__file__).parent / "exported"
    files = [path.read_bytes() for path in sorted(folder.glob("*.onnx"))]
    slow = 0
    for _ in range(500):
        data = bytearray(files[rng.integers(len(files))])
        for _ in range(rng.choice([1, 2, 5, 20])):
            place = int(rng.integers(len(data)))
            if rng.random() < 0.8:
                data[place] = int(rng.integers(256))
            else:
                del data[place : place + int(rng.integers(1, 8))]
        start = time.perf_counter()
        with contextlib.suppress(NneqError):
            import_bytes(bytes(data))
        slow += time.perf_counter() - start > SECONDS

    assert slow == 0
