"""Equations straight from Keras models."""

from __future__ import annotations

import keras
import numpy as np
import pytest

import nneq


def model():
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [
            keras.Input((4,)),
            keras.layers.Dense(6, "tanh"),
            keras.layers.Dense(3, "softmax"),
        ]
    )


def test_equations_are_the_forward_pass():
    """Within 1e-5 for a float32 model."""
    found = nneq.to_equations(model()).verify(200)

    assert found.passed
    assert found.max_rel_error <= 1e-5


def test_registered_models_have_the_methods():
    """model.to_equations() after register(); gone after remove()."""
    handle = nneq.register("keras")
    try:
        eqs = model().to_equations(input_names=list("abcd"))
    finally:
        handle.remove()

    assert "x_2: b" in str(eqs)
    assert not hasattr(keras.Model, "to_equations")


def test_a_saved_file_is_read(tmp_path):
    """A .keras file gives the equations of the model."""
    net = model()
    net.save(tmp_path / "model.keras")
    rows = np.random.default_rng(0).normal(size=(5, 4))

    assert np.allclose(
        nneq.to_equations(net)(rows), nneq.to_equations(tmp_path / "model.keras")(rows), rtol=1e-12
    )


def test_a_normalization_layer_belongs_to_the_equations():
    """Raw inputs go in; the layer is part of the formula."""
    layer = keras.layers.Normalization(mean=[10.0, -2.0], variance=[4.0, 0.25])
    net = keras.Sequential([keras.Input((2,)), layer, keras.layers.Dense(1)])
    eqs = nneq.to_equations(net)

    assert eqs.verify(50).passed
    assert {"x_1", "x_2"} == {str(symbol) for symbol in eqs["z_1"].free_symbols}


def test_an_unbuilt_model_is_refused():
    """Without an input shape there are no equations yet."""
    with pytest.raises(nneq.NneqError):
        nneq.to_equations(keras.Sequential([keras.layers.Dense(3)]))
