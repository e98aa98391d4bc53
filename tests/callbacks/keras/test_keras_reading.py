"""A Keras model read again: the weights alone, and in full where anything else changed."""

from __future__ import annotations

import keras
import numpy as np
import pytest

import nneq
from nneq.api.importing import weights_of
from nneq.callbacks.reading import Reader

X = np.random.default_rng(0).normal(size=(50, 2))

# Keras' TensorFlow backend calls NumPy in a way that NumPy 2 deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


def _sequential():
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [
            keras.Input((2,)),
            keras.layers.Dense(2, activation="tanh"),
            keras.layers.Dropout(0.5),
            keras.layers.Dense(6, use_bias=False),
            keras.layers.Activation("sigmoid"),
            keras.layers.Dense(2, activation="softmax"),
        ]
    )


def _functional():
    keras.utils.set_random_seed(0)
    x = inputs = keras.Input((2,))
    x = keras.layers.Dense(2, activation="tanh")(x)
    x = keras.layers.Dense(6, activation="relu")(x)
    return keras.Model(inputs, keras.layers.Dense(2)(x))


def _shake(model):
    random = np.random.default_rng(7)
    model.set_weights([w + random.normal(size=w.shape) for w in model.get_weights()])


def _assert_as_new(reader, model):
    """The network is that of a full import, bit for bit."""
    found, full = reader.read(model), nneq.to_network(model)
    assert np.array_equal(found(X), full(X))
    expected = model(X.astype("float32"), training=False)
    np.testing.assert_allclose(found(X), keras.ops.convert_to_numpy(expected), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("made", [_sequential, _functional])
def test_weights_that_changed(made, monkeypatch):
    """The weights are read afresh, without a second import; a square matrix is not turned."""

    def refuse(*_args, **_options):
        raise AssertionError("read in full")

    model, reader = made(), Reader()
    reader.read(model)
    for _ in range(3):
        _shake(model)
        with monkeypatch.context() as patch:
            patch.setattr("nneq.callbacks.reading.to_network", refuse)
            before = reader.read(model)
        _assert_as_new(reader, model)
    values = before(X)
    _shake(model)
    assert np.array_equal(before(X), values)


def _swap(model):
    model.layers[0].activation = keras.activations.relu


def _own_activation(model):
    model.layers[0].activation = lambda x: 2 * x


def _method(model):
    model.layers[0].call = lambda x, **_: keras.ops.relu(x)


def _adapted(model):
    model.layers[0].enable_lora(1)
    model.layers[0].lora_kernel_b.assign(np.ones((1, 2)))


@pytest.mark.parametrize("change", [_swap, _own_activation, _method, _adapted])
def test_other_changes_are_seen(change):
    """Activations, overridden methods, other parts of a weight: none is missed."""
    model, reader = _sequential(), Reader()
    reader.read(model)
    reader.read(model)
    change(model)
    found = reader.read(model)

    assert np.array_equal(found(X), nneq.to_network(model)(X))


def test_layer_as_activation():
    """Its settings may change as well, so such a model is read in full."""
    leaky = keras.layers.LeakyReLU(negative_slope=0.1)
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2, activation=leaky)])
    reader = Reader()
    reader.read(model)
    leaky.negative_slope = 0.7
    found = reader.read(model)

    assert np.array_equal(found(X), nneq.to_network(model)(X))
    np.testing.assert_allclose(found(X), keras.ops.convert_to_numpy(model(X)), rtol=1e-4, atol=1e-5)


def test_models_without_a_short_way():
    """Subclasses, branches, shared layers and normalisation are read in full."""

    class Own(keras.Sequential):
        def call(self, inputs, training=None, mask=None):
            return super().call(2 * inputs, training=training, mask=mask)

    inputs = keras.Input((2,))
    dense = keras.layers.Dense(2)
    branches = keras.Model(inputs, keras.layers.Add()([dense(inputs), inputs]))
    normal = keras.Sequential([keras.Input((2,)), keras.layers.BatchNormalization()])

    assert weights_of(Own([keras.Input((2,)), keras.layers.Dense(2)])) is None
    assert weights_of(branches) is None
    assert weights_of(normal) is None
    shared = keras.Model(inputs, dense(dense(inputs)))
    reader = Reader()
    for _ in range(3):
        _shake(shared)
        _assert_as_new(reader, shared)
