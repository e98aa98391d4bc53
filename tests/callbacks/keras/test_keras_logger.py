"""The Keras logger: logs from epoch 0, identical training, callbacks that read its numbers."""

from __future__ import annotations

import csv

import keras
import numpy as np
import pytest

from nneq.callbacks import BoundaryHistory
from nneq.callbacks.keras import BoundaryLogger
from nneq.errors import NneqError, UnsupportedError

BOX = [(-3.0, 3.0), (-3.0, 3.0)]

# Keras' TensorFlow backend calls NumPy in a way that NumPy 2 deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


def _model():
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((2,)),
            keras.layers.Dense(8, activation="tanh"),
            keras.layers.Dropout(0.2),
            keras.layers.Dense(2, activation="softmax"),
        ]
    )
    model.compile(keras.optimizers.Adam(0.05), "sparse_categorical_crossentropy")
    return model


def _data():
    x = np.random.default_rng(0).normal(size=(200, 2)).astype("float32")
    return x, (x[:, 0] * x[:, 1] > 0).astype("int32")


def _fit(model, callbacks, epochs=3):
    x, y = _data()
    return model.fit(x, y, epochs=epochs, batch_size=50, verbose=0, callbacks=callbacks)


def test_training_is_bit_identical(tmp_path):
    """The weights with the logger equal the weights without it, dropout included."""
    plain = _model()
    _fit(plain, [])
    model = _model()
    logger = BoundaryLogger(
        box=BOX, solve_for="x_1", at={"x_2": 0.5}, jsonl=tmp_path / "run.jsonl", max_seconds=20
    )
    history = _fit(model, [logger])

    for a, b in zip(plain.get_weights(), model.get_weights(), strict=True):
        assert np.array_equal(a, b)
    assert len(history.history["boundary_shift"]) == 3
    assert set(logger.recorder.keys) <= set(history.history)
    replayed = BoundaryHistory.load(tmp_path / "run.jsonl").equations(2)
    x = _data()[0]
    np.testing.assert_allclose(replayed(x), model.predict(x, verbose=0), rtol=1e-5, atol=1e-7)


def test_csv_logger_sees_the_columns(tmp_path):
    """Keras' own CSVLogger behind the logger has the columns from the first epoch on."""
    path = tmp_path / "log.csv"
    _fit(_model(), [BoundaryLogger(box=BOX, max_seconds=20), keras.callbacks.CSVLogger(str(path))])

    rows = list(csv.DictReader(path.read_text().splitlines()))

    assert len(rows) == 3
    assert all(float(row["boundary_length"]) >= 0 for row in rows)


def test_early_stopping_on_the_shift():
    """EarlyStopping on ``boundary_shift`` really stops a run whose boundary stands still."""
    model = _model()
    model.compile(keras.optimizers.SGD(0.0), "sparse_categorical_crossentropy")
    stop = keras.callbacks.EarlyStopping(monitor="boundary_shift", patience=2, mode="min")
    logger = BoundaryLogger(box=BOX, max_seconds=20)

    history = _fit(model, [logger, stop], epochs=20)

    assert len(history.epoch) == 4


def test_order_warning():
    """A reader that stands before the logger is named."""
    stop = keras.callbacks.EarlyStopping(monitor="loss")
    with pytest.warns(UserWarning, match="EarlyStopping stands before BoundaryLogger"):
        _fit(_model(), [stop, BoundaryLogger(box=BOX, max_seconds=20)], epochs=1)


class _Noisy(keras.layers.Layer):
    """A layer that is not a function of its inputs."""

    def call(self, inputs):
        return inputs + keras.random.normal((2,))


def test_unsupported_models_fail_at_train_begin():
    """A random layer is refused before the first epoch, or warned about with strict=False."""
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((2,)), _Noisy(), keras.layers.Dense(2)])
    model.compile("sgd", "mse")
    x, _ = _data()
    with pytest.raises(UnsupportedError, match="draws random numbers"):
        model.fit(x, x, verbose=0, callbacks=[BoundaryLogger(box=BOX)])
    with pytest.warns(UserWarning, match="the boundary is not recorded"):
        model.fit(x, x, verbose=0, callbacks=[BoundaryLogger(box=BOX, strict=False)])


def test_wrong_names_fail_at_train_begin():
    """A question that does not fit the model fails before the first epoch."""
    with pytest.raises(NneqError, match="there is no output 'z_7'"):
        _fit(_model(), [BoundaryLogger(between=("z_1", "z_7"), box=BOX)])


def test_unbuilt_models_fail_at_train_begin():
    """A model without an input shape is refused with what to do, before the first epoch."""
    logger = BoundaryLogger(box=BOX)
    logger.set_model(keras.Sequential([keras.layers.Dense(2)]))

    with pytest.raises(NneqError, match="built"):
        logger.on_train_begin()
