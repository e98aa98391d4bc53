"""TensorFlow functions, modules and SavedModel folders agree with TensorFlow, or are refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras_comparison import assert_same_function
from keras_layers import randomise

from nneq.adapters.tensorflow import import_model
from nneq.errors import NneqError, UnsupportedError

pytestmark = pytest.mark.filterwarnings("ignore")  # TensorFlow warns about its own internals

L = keras.layers
RNG = np.random.default_rng(0)


def floats(*shape: int) -> Any:
    return np.random.default_rng(1).normal(size=shape).astype("float32")


class Dense(tf.Module):
    """One hidden layer, in the precision given."""

    def __init__(self, kind: Any = tf.float32) -> None:
        super().__init__(name="dense")
        rng = np.random.default_rng(0)
        self.w = tf.Variable(rng.normal(size=(4, 5)), dtype=kind)
        self.b = tf.Variable(rng.normal(size=5), dtype=kind)
        self.v = tf.Variable(rng.normal(size=(5, 3)), dtype=kind)

    def run(self, x: Any) -> Any:
        return tf.nn.softmax(tf.tanh(x @ self.w + self.b) @ self.v)


class Signed(Dense):
    @tf.function(input_signature=[tf.TensorSpec((None, 4), tf.float32, name="features")])
    def __call__(self, x: Any) -> Any:
        return self.run(x)


class Unsigned(Dense):
    @tf.function
    def __call__(self, x: Any) -> Any:
        return self.run(x)


def test_module_with_signature() -> None:
    """A module whose call has a signature needs nothing else; the names are kept."""
    imported = import_model(Signed())

    assert_same_function(imported, [floats(6, 4)])
    assert ["features"] == [port.label for port in imported.network.inputs]
    assert 4 * 5 + 5 + 5 * 3 == imported.network.parameter_count


def test_module_with_example_or_earlier_call() -> None:
    """Without a signature, one earlier call or an example will do; else the error says so."""
    module = Unsigned()
    with pytest.raises(NneqError, match="input_signature"):
        import_model(module)
    x = floats(6, 4)

    assert_same_function(import_model(module, example_inputs=x), [x])


def test_plain_function_and_concrete_function() -> None:
    """A tf.function with a signature and a concrete function."""
    module = Dense()
    spec = tf.TensorSpec((None, 4), tf.float32)
    function = tf.function(module.run, input_signature=[spec])

    assert_same_function(import_model(function), [floats(6, 4)])
    assert_same_function(import_model(function.get_concrete_function()), [floats(6, 4)])


def test_float64_module() -> None:
    """A float64 function agrees to 1e-12."""
    module = Dense(tf.float64)
    function = tf.function(module.run, input_signature=[tf.TensorSpec((None, 4), tf.float64)])

    assert_same_function(import_model(function), [floats(6, 4).astype("float64")], 1e-12)


def test_several_inputs_and_outputs() -> None:
    """Arguments in order, a dictionary of outputs by name."""

    @tf.function(
        input_signature=[tf.TensorSpec((None, 4), tf.float32), tf.TensorSpec((None, 4), tf.float32)]
    )
    def function(a: Any, b: Any) -> Any:
        return {"sum": a + b, "largest": tf.reduce_max(a * b, axis=1)}

    imported = import_model(function)

    assert_same_function(imported, [floats(5, 4), floats(5, 4) + 1])
    assert ["largest", "sum"] == [port.label for port in imported.network.outputs]


CALLS: dict[str, tuple[Any, tuple[int, ...]]] = {
    "strided slices": (lambda x: x[:, 1:3, ..., None] * x[:, ::-2, :1, None][:, :1], (4, 3)),
    "split and concat": (lambda x: tf.concat(tf.split(x, [1, 3], axis=1)[::-1], 1), (4, 3)),
    "stack and unstack": (lambda x: tf.stack(tf.unstack(x, axis=1), 2), (4, 3)),
    "gather": (lambda x: tf.gather(x, [2, 0], axis=1), (4, 3)),
    "where": (lambda x: tf.where(x > 0, x, tf.exp(x)), (4, 3)),
    "reductions": (lambda x: tf.reduce_mean(x, 1) + tf.reduce_logsumexp(x, 1), (4, 3)),
    "einsum": (lambda x: tf.einsum("bij,bkj->bik", x, tf.sin(x)), (4, 3)),
    "pad and mirror": (lambda x: tf.pad(tf.pad(x, [[0, 0], [1, 1], [0, 2]]),
                                        [[0, 0], [1, 0], [0, 0]], mode="REFLECT"), (4, 3)),
    "convolution": (lambda x: tf.nn.conv2d(x, tf.ones((3, 3, 2, 4)), 2, "SAME"), (6, 5, 2)),
    "dilated convolution": (lambda x: tf.nn.conv2d(x, tf.ones((2, 2, 2, 4)), 1, "VALID",
                                                   dilations=2), (6, 5, 2)),
    "atrous convolution": (lambda x: tf.nn.atrous_conv2d(x, tf.ones((2, 2, 2, 4)), 2, "SAME"),
                           (6, 5, 2)),
    "depthwise": (lambda x: tf.nn.depthwise_conv2d(x, tf.ones((2, 2, 2, 3)), (1, 1, 1, 1), "SAME"),
                  (6, 5, 2)),
    "transposed": (lambda x: tf.nn.conv2d_transpose(x, tf.ones((3, 3, 4, 2)),
                                                    (tf.shape(x)[0], 12, 10, 4), 2), (6, 5, 2)),
    "pooling": (lambda x: tf.nn.max_pool2d(x, 2, 2, "SAME") - tf.nn.avg_pool2d(x, 2, 2, "SAME"),
                (5, 5, 2)),
    "normalisation": (lambda x: tf.math.l2_normalize(x, 2), (4, 3)),
    "resize": (lambda x: tf.image.resize(x, (7, 4)), (5, 5, 2)),
    "nearest": (lambda x: tf.image.resize(x, (7, 4), method="nearest"), (5, 5, 2)),
    "blocks": (lambda x: tf.nn.space_to_depth(tf.nn.depth_to_space(x, 2), 2), (4, 4, 8)),
    "activations": (lambda x: tf.nn.leaky_relu(x) + tf.nn.gelu(x) + tf.nn.swish(x) + tf.nn.elu(x)
                    + tf.nn.relu6(x) + tf.nn.selu(x) + tf.nn.softplus(x), (4, 3)),
    "ordering": (lambda x: tf.math.top_k(x, 2)[0] + tf.cast(tf.argmax(x, 2), tf.float32)[..., None],
                 (4, 3)),
    "cumulative": (lambda x: tf.cumsum(x, 1, exclusive=True, reverse=True), (4, 3)),
    "lookup": (lambda x: tf.nn.embedding_lookup(tf.reshape(tf.range(10.0), (5, 2)),
                                                tf.cast(tf.clip_by_value(x, 0, 4), tf.int32)),
               (3,)),
    "one hot": (lambda x: tf.one_hot(tf.cast(tf.abs(x), tf.int32), 3), (3,)),
    "loop": (lambda x: tf.while_loop(lambda k, _: k < 3, lambda k, y: (k + 1, tf.sin(y) + x),
                                     (0, x))[1], (3,)),
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(CALLS))
def test_graph_operations(name: str) -> None:
    """Graph operations by groups, against TensorFlow."""
    call, shape = CALLS[name]
    function = tf.function(call, input_signature=[tf.TensorSpec((None, *shape), tf.float32)])

    assert_same_function(import_model(function), [floats(3, *shape)])


def convolutional() -> Any:
    return keras.Sequential(
        [
            keras.Input((8, 8, 1)), L.Conv2D(4, 3, padding="same", activation="relu"),
            L.BatchNormalization(), L.MaxPooling2D(), L.Conv2DTranspose(2, 3, strides=2),
            L.Flatten(), L.Dropout(0.3), L.Dense(3, activation="softmax"),
        ]
    )  # fmt: skip


def recurrent() -> Any:
    layers = [keras.Input((5, 3)), L.LSTM(4, return_sequences=True), L.GRU(3)]
    return keras.Sequential(layers)


def attentive() -> Any:
    x = keras.Input((6, 4))
    return keras.Model(x, L.LayerNormalization()(x + L.MultiHeadAttention(2, 3)(x, x)))


@pytest.mark.parametrize("make", [convolutional, recurrent, attentive])
def test_saved_model_folder(make: Any, tmp_path: Path) -> None:
    """A Keras model exported as a SavedModel is read from the folder, loops included."""
    model = make()
    randomise(model)
    model.export(tmp_path / "saved", verbose=False)
    x = floats(4, *model.input_shape[1:])
    imported = import_model(tmp_path / "saved")

    assert_same_function(imported, [x])
    np.testing.assert_allclose(model(x, training=False), imported.network(x), rtol=1e-4, atol=1e-5)


def test_saved_module_folder(tmp_path: Path) -> None:
    """A saved tf.Module without named signatures is read through its call."""
    module = Signed()
    tf.saved_model.save(module, tmp_path / "saved")

    assert_same_function(import_model(tmp_path / "saved"), [floats(6, 4)])


# ---------------------------------------------------------------------- refusals
def test_every_unsupported_operation_is_named() -> None:
    """One error names every operation that cannot be read, with its graph name."""

    @tf.function(input_signature=[tf.TensorSpec((None, 4), tf.float32)])
    def function(x: Any) -> Any:
        return tf.math.lgamma(x) + tf.math.digamma(x) + tf.random.normal((4,))

    with pytest.raises(UnsupportedError) as caught:
        import_model(function)

    message = str(caught.value)
    assert "(Lgamma)" in message
    assert "(Digamma)" in message
    assert "random" in message


def test_loop_that_depends_on_the_inputs_is_refused() -> None:
    """A loop whose length depends on the inputs is no finite system of equations."""

    @tf.function(input_signature=[tf.TensorSpec((None, 4), tf.float32)])
    def function(x: Any) -> Any:
        return tf.while_loop(lambda y: tf.reduce_sum(y) < 10, lambda y: (y + 1,), (x,))[0]

    with pytest.raises(UnsupportedError, match="iterations depends on the inputs"):
        import_model(function)


def test_operation_that_touches_files_is_refused(tmp_path: Path) -> None:
    """A SavedModel that reads files is refused before it is loaded."""

    class Reader(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec((None, 2), tf.float32)])
        def __call__(self, x: Any) -> Any:
            text = tf.io.read_file("/etc/hostname")
            return x + tf.cast(tf.strings.length(text), tf.float32)

    tf.saved_model.save(Reader(), tmp_path / "saved")

    with pytest.raises(UnsupportedError, match="ReadFile"):
        import_model(tmp_path / "saved")


def test_damaged_folder(tmp_path: Path) -> None:
    """A folder without a model, and one with a damaged model."""
    with pytest.raises(NneqError, match=r"no saved_model\.pb"):
        import_model(tmp_path)
    (tmp_path / "saved_model.pb").write_bytes(b"\xff\xff not a protocol buffer")
    with pytest.raises(NneqError, match="cannot read"):
        import_model(tmp_path)


def test_open_axes_need_an_example() -> None:
    """An axis of unknown extent other than the batch axis asks for an example."""
    spec = tf.TensorSpec((None, None, 2), tf.float32)
    function = tf.function(lambda x: tf.reduce_mean(x, 1), input_signature=[spec])
    x = floats(3, 6, 2)

    with pytest.raises(NneqError, match="axes of unknown extent"):
        import_model(function)
    assert_same_function(import_model(function, example_inputs=x), [x])
