"""The command line on Keras files, on whatever backend is configured."""

from __future__ import annotations

import keras
import pytest
from command_line import run


@pytest.fixture(scope="module", params=[".keras", ".h5"])
def path(request, tmp_path_factory):
    """Return a saved 2-6-2 tanh network."""
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [keras.Input((2,)), keras.layers.Dense(6, activation="tanh"), keras.layers.Dense(2)]
    )
    target = tmp_path_factory.mktemp("keras") / f"model{request.param}"
    model.save(target)
    return target


def test_inspect(path):
    """A saved model is read like any model file."""
    found = run("inspect", path, "--json")

    assert (found.status, found.json["parameters"], found.json["widths"]) == (0, 32, [2, 6, 2])
    assert found.json["source"]["framework"] == "keras"


def test_standard_input(path):
    """The first bytes say which kind of file it is."""
    found = run("inspect", "-", "--json", stdin=path.read_bytes())

    assert found.status == 0
    assert found.json["widths"] == [2, 6, 2]


def test_verify(path):
    """The equations agree with the model."""
    found = run("verify", path, "--samples", "20", "--json")

    assert found.status == 0
    assert found.json["passed"] is True


def test_boundary(path):
    """All solutions on the whole line are proven."""
    found = run("boundary", path, "z_1", "z_2", "--solve", "x_1", "--at", "x_2=0.3", "--json")

    assert found.status == 0
    assert found.json["solutions"]["complete"] is True
