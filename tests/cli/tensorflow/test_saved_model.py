"""The command line on a SavedModel folder."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from command_line import run


class Affine(tf.Module):
    """``tanh(x W) V``."""

    def __init__(self):
        rng = np.random.default_rng(0)
        self.w = tf.Variable(rng.standard_normal((2, 5)).astype(np.float32))
        self.v = tf.Variable(rng.standard_normal((5, 2)).astype(np.float32))

    @tf.function(input_signature=[tf.TensorSpec([None, 2], tf.float32)])
    def __call__(self, x):
        return tf.tanh(x @ self.w) @ self.v


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    """Return the folder of a saved module."""
    target = tmp_path_factory.mktemp("tensorflow") / "saved"
    module = Affine()
    signature = module.__call__.get_concrete_function()
    tf.saved_model.save(module, str(target), signatures=signature)
    return target


def test_inspect(path):
    """A folder is read when it is a SavedModel."""
    found = run("inspect", path, "--json")

    assert (found.status, found.err) == (0, "")
    assert (found.json["parameters"], found.json["widths"]) == (20, [2, 5, 2])


def test_verify(path):
    """The equations agree with the frozen function."""
    found = run("verify", path, "--samples", "20", "--json")

    assert found.status == 0
    assert found.json["passed"] is True
