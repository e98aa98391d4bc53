"""The Keras logger: logs from epoch 0, identical training, callbacks that read its numbers."""

from __future__ import annotations

import csv
import itertools

import keras
import numpy as np
import pytest

from nneq.callbacks import BoundaryHistory
from nneq.callbacks.keras import BoundaryLogger
from nneq.errors import NneqError, UnsupportedError

BOX = [(-3.0, 3.0), (-3.0, 3.0)]

# Keras' TensorFlow backend calls NumPy in a way that NumPy 2 deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


def _model(norm=False):
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((2,)),
            keras.layers.Dense(8, activation="tanh"),
            *([keras.layers.BatchNormalization()] if norm else []),
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
    """Dropout, shuffling and batch statistics: all as without the logger, to the last bit."""
    plain = _model(norm=True)
    _fit(plain, [])
    model = _model(norm=True)
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


@pytest.mark.filterwarnings("ignore:the boundary logger takes:UserWarning")  # short epochs
def test_early_stopping_sees_movement_that_no_record_had_time_for():
    """Unrecorded epochs are measured for EarlyStopping: neither stillness nor movement is made up.

    A boundary that stands still for 4 of 5 epochs would end the run by a repeated number.
    """
    model = _model()
    model.compile(keras.optimizers.SGD(0.0), "sparse_categorical_crossentropy")
    steps = iter([0.4, 0.2, 0.1, 0.05, 0.02, 0.01, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0])

    def move(*_):
        kernel, bias = model.layers[-1].get_weights()
        model.layers[-1].set_weights([kernel, bias + np.array([next(steps), 0], "float32")])

    mover = keras.callbacks.LambdaCallback(on_epoch_begin=move)
    stop = keras.callbacks.EarlyStopping("boundary_shift", mode="min", min_delta=1e-3, patience=2)
    logger = BoundaryLogger(box=BOX, every=100)

    history = _fit(model, [mover, logger, stop], epochs=12)

    shifts = history.history["boundary_shift"]
    assert len(shifts) == 9
    assert all(a > b for a, b in itertools.pairwise(shifts[:7]))
    assert shifts[7:] == [0.0, 0.0]


def test_a_second_fit_keeps_the_first(tmp_path):
    """Both runs of one logger can be read from its file, and it can be closed by Ctrl-C."""
    model, path = _model(), tmp_path / "run.jsonl"
    logger = BoundaryLogger(box=BOX, jsonl=path, max_seconds=20)

    class Interrupt(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 2:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        _fit(model, [logger, Interrupt()], epochs=5)
    _fit(model, [logger], epochs=1)

    assert BoundaryHistory.load(path, run=0).epochs == [0, 1]
    assert BoundaryHistory.load(path).epochs == [0]


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


def test_models_built_from_a_batch_are_told_to_name_their_input():
    """A model without Input fails before the first epoch, whatever the backend made of it."""
    x, y = _data()
    model = keras.Sequential([keras.layers.Dense(2, activation="softmax")])
    model.compile("sgd", "sparse_categorical_crossentropy")

    with pytest.raises(NneqError, match=r"built"):
        model.fit(x, y, epochs=1, verbose=0, callbacks=[BoundaryLogger(box=BOX)])
