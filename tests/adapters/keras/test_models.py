"""Whole Keras models: trained ones, every way of building one, and files."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras_comparison import assert_same_function
from keras_layers import randomise
from sklearn import datasets

import nneq
from nneq.adapters.keras import import_model
from nneq.errors import NneqError, UnsupportedError

pytestmark = pytest.mark.filterwarnings("ignore")  # Keras warns about its own defaults

L = keras.layers
ops = keras.ops


def data(name: str) -> tuple[Any, Any]:
    """Return scikit-learn's bundled data, standardised, with integer labels."""
    x, y = getattr(datasets, f"load_{name}")(return_X_y=True)
    x = (x - x.mean(axis=0)) / np.maximum(x.std(axis=0), 1e-6)
    return x.astype("float32"), y


def trained(model: Any, x: Any, y: Any, epochs: int = 2) -> Any:
    """Return the model after a short training with Adam; its loss must have fallen."""
    keras.utils.set_random_seed(0)
    loss = "mse" if y.dtype.kind == "f" else "sparse_categorical_crossentropy"
    model.compile(keras.optimizers.Adam(0.01), loss=loss)
    history = model.fit(x, y, epochs=epochs, batch_size=64, verbose=0).history["loss"]

    assert history[-1] < history[0]
    return model


def attention_block(x: Any) -> Any:
    """Return one transformer encoder layer of ``x``."""
    width = x.shape[-1]
    heard = L.MultiHeadAttention(2, width // 2, dropout=0.1)(x, x)
    x = L.LayerNormalization(epsilon=1e-6)(x + L.Dropout(0.1)(heard))
    wide = L.Dense(2 * width, activation="gelu")(x)
    return L.LayerNormalization(epsilon=1e-6)(x + L.Dense(width)(wide))


def transformer(length: int, classes: int) -> Any:
    inputs = keras.Input((length,))
    x = L.Dense(8)(L.Reshape((length, 1))(inputs))
    x = L.GlobalAveragePooling1D()(attention_block(x))
    return keras.Model(inputs, L.Dense(classes, activation="softmax")(x))


def digits_network() -> Any:
    return keras.Sequential(
        [
            keras.Input((8, 8, 1)), L.Rescaling(1 / 2.0),
            L.Conv2D(6, 3, padding="same", use_bias=False), L.BatchNormalization(),
            L.ReLU(), L.MaxPooling2D(), L.Conv2D(8, 3, activation="relu"), L.Flatten(),
            L.Dropout(0.2), L.Dense(10, activation="softmax"),
        ]
    )  # fmt: skip


def multilayer(width: int, classes: int, activation: str) -> Any:
    return keras.Sequential(
        [
            keras.Input((width,)), L.Dense(8, activation=activation),
            L.Dense(6, activation=activation), L.Dense(classes, activation="softmax"),
        ]
    )  # fmt: skip


@pytest.mark.parametrize(
    ("name", "activation"), [("iris", "sigmoid"), ("wine", "tanh"), ("breast_cancer", "relu")]
)
def test_trained_multilayer_perceptron(name: str, activation: str) -> None:
    """An MLP trained on iris, wine or breast cancer data."""
    x, y = data(name)
    model = trained(multilayer(x.shape[1], int(y.max()) + 1, activation), x, y)
    imported = import_model(model)

    assert_same_function(imported, [x[:50]])
    assert imported.network.parameter_count == model.count_params()


def test_trained_regression_with_adapted_normalization() -> None:
    """A regression network whose Normalization layer learned the raw data's scale."""
    x, y = datasets.load_diabetes(return_X_y=True)
    raw = (100 * x + 7).astype("float32")
    norm = L.Normalization()
    norm.adapt(raw)
    layers = [keras.Input((10,)), norm, L.Dense(8, activation="softplus"), L.Dense(1)]
    model = trained(keras.Sequential(layers), raw, (y / 100).astype("float32"))

    assert_same_function(import_model(model), [raw[:50]])


def test_trained_digits_network() -> None:
    """A digits CNN with batch normalisation and max pooling."""
    x, y = data("digits")
    images = x.reshape(-1, 8, 8, 1)
    model = trained(digits_network(), images, y, epochs=3)

    assert_same_function(import_model(model), [images[:20]])


@pytest.mark.parametrize("kind", [L.LSTM, L.GRU, L.SimpleRNN])
def test_trained_recurrent_network(kind: Any) -> None:
    """An LSTM, GRU or simple recurrent network that reads digits row by row."""
    x, y = data("digits")
    rows = x.reshape(-1, 8, 8)
    layers = [keras.Input((8, 8)), kind(8), L.Dense(10, activation="softmax")]
    model = trained(keras.Sequential(layers), rows, y)

    assert_same_function(import_model(model), [rows[:20]])


def test_trained_transformer_encoder() -> None:
    """A transformer encoder layer trained on wine data."""
    x, y = data("wine")
    model = trained(transformer(x.shape[1], 3), x, y)

    assert_same_function(import_model(model), [x[:20]])


# ---------------------------------------------------------------------- ways of building
def shared_and_nested() -> tuple[Any, list[Any]]:
    inner = keras.Sequential([keras.Input((3,)), L.Dense(4, activation="tanh"), L.Dense(3)])
    a, b = keras.Input((3,), name="left"), keras.Input((3,), name="right")
    outer = keras.Model([a, b], [inner(a) - inner(b), inner(inner(a)) * b])
    return outer, [(3,), (3,)]


def dictionaries() -> tuple[Any, list[Any]]:
    a, b = keras.Input((3,), name="a"), keras.Input((2,), name="b")
    joined = L.Concatenate()([L.Dense(4)(a), b])
    model = keras.Model({"a": a, "b": b}, {"sum": L.Dense(2)(joined), "raw": joined})
    return model, [(3,), (2,)]


def residual() -> tuple[Any, list[Any]]:
    x = keras.Input((6, 6, 2))
    y = L.Conv2D(4, 3, padding="same", activation="relu")(x)
    for _ in range(2):
        z = L.BatchNormalization()(L.DepthwiseConv2D(3, padding="same")(y))
        y = L.Add()([y, L.Conv2D(4, 1)(L.Activation("silu")(z))])
    return keras.Model(x, L.Dense(3)(L.GlobalAveragePooling2D()(y))), [(6, 6, 2)]


def deep_chain() -> tuple[Any, list[Any]]:
    x = keras.Input((3,))
    y = x
    for _ in range(300):
        y = y + 0.01 * ops.tanh(y)
    return keras.Model(x, y), [(3,)]


@pytest.mark.parametrize("make", [shared_and_nested, dictionaries, residual, deep_chain])
def test_graph_model(make: Any) -> None:
    """Nested, shared, several inputs and outputs, dictionaries, residual and deep graphs."""
    model, shapes = make()
    randomise(model)
    rng = np.random.default_rng(0)

    assert_same_function(
        import_model(model), [rng.normal(size=(4, *s)).astype("float32") for s in shapes]
    )


def test_shared_weights_count_once() -> None:
    """A layer that is called three times has its weights once."""
    inner = L.Dense(3, activation="tanh")
    inputs = keras.Input((3,))
    model = keras.Model(inputs, inner(inner(inner(inputs))))

    assert model.count_params() == import_model(model).network.parameter_count


class Gate(L.Layer):
    """A layer that computes with its own weights first, and with a list of them."""

    def build(self, shape: Any) -> None:
        self.scale = self.add_weight(shape=(shape[-1],), initializer="ones")
        self.parts = [self.add_weight(shape=(shape[-1], 2)) for _ in range(2)]

    def call(self, x: Any) -> Any:
        y = self.scale * x + self.parts[0][:, 0]
        return ops.concatenate([ops.matmul(y, part) for part in self.parts], axis=-1)


class Classifier(keras.Model):
    """A subclassed model with sublayers, branches on a setting, and operators."""

    def __init__(self, deep: bool = True) -> None:
        super().__init__()
        self.deep = deep
        self.first = L.Dense(5, activation="mish")
        self.more = [L.Dense(5, activation="hard_silu") for _ in range(2)]
        self.gate = Gate()
        self.drop = L.Dropout(0.5)
        self.last = L.Dense(3)

    def call(self, x: Any, training: bool = False) -> Any:
        y = self.first(x)
        for layer in self.more if self.deep else ():
            y = y + self.drop(layer(y), training=training)
        y = self.gate(y)
        rows = ops.shape(y)[0]
        return ops.softmax(self.last(ops.reshape(y, (rows, -1))) ** 2)


def test_subclassed_model() -> None:
    """A subclassed model that was called once is read through its call."""
    model = Classifier()
    model(np.zeros((2, 4), "float32"))
    randomise(model)
    x = np.random.default_rng(0).normal(size=(5, 4)).astype("float32")

    assert_same_function(import_model(model), [x])


def test_subclassed_model_with_example() -> None:
    """A subclassed model that was never called is built by the example."""
    x = np.random.default_rng(0).normal(size=(5, 4)).astype("float32")

    assert_same_function(import_model(Classifier(), example_inputs=x), [x])


def test_custom_layer_in_a_graph() -> None:
    """A layer of one's own inside a functional model."""
    inputs = keras.Input((4,))
    model = keras.Model(inputs, L.Dense(2)(Gate()(inputs)))
    randomise(model)
    x = np.random.default_rng(0).normal(size=(5, 4)).astype("float32")

    assert_same_function(import_model(model), [x])


class TwoInputs(keras.Model):
    """A subclassed model called with a list."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = L.Dense(3), L.Dense(3)

    def call(self, inputs: Any) -> Any:
        a, b = inputs
        return {"sum": self.one(a) + self.two(b), "product": self.one(a) * self.two(b)}


def test_subclassed_model_with_two_inputs() -> None:
    """A list of inputs and a dictionary of outputs."""
    rng = np.random.default_rng(0)
    arrays = [rng.normal(size=(4, k)).astype("float32") for k in (2, 5)]
    model = TwoInputs()
    model(arrays)

    assert_same_function(import_model(model), arrays)


class Cell(L.Layer):
    """A recurrent cell of one's own."""

    def __init__(self) -> None:
        super().__init__()
        self.state_size = self.output_size = 3
        self.inner = L.Dense(3)

    def build(self, shape: Any) -> None:
        self.inner.build((shape[0], shape[-1] + 3))

    def call(self, inputs: Any, states: Any) -> Any:
        new = ops.tanh(self.inner(ops.concatenate([inputs, states[0]], axis=-1)))
        return new * 2.0, [new]


def test_custom_recurrent_cell() -> None:
    """An RNN over a cell of one's own."""
    inputs = keras.Input((4, 2))
    model = keras.Model(inputs, L.RNN(Cell(), return_sequences=True)(inputs))
    randomise(model)
    x = np.random.default_rng(0).normal(size=(3, 4, 2)).astype("float32")

    assert_same_function(import_model(model), [x])


def test_example_fixes_open_axes() -> None:
    """A sequence of any length takes the length of the example."""
    inputs = keras.Input((None, 2))
    model = keras.Model(inputs, L.Dense(1)(L.LSTM(3)(inputs)))
    x = np.random.default_rng(0).normal(size=(3, 6, 2)).astype("float32")

    assert_same_function(import_model(model, example_inputs=x), [x])
    with pytest.raises(NneqError, match="axes of unknown extent"):
        import_model(model)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision(policy: str) -> None:
    """Under mixed precision the network is the function of the stored float32 weights."""
    layers = [keras.Input((4,)), L.Dense(8, activation="tanh", dtype=policy), L.Dense(3)]
    model = keras.Sequential(layers)
    randomise(model)
    same = keras.Sequential([keras.Input((4,)), L.Dense(8, activation="tanh"), L.Dense(3)])
    same.set_weights(model.get_weights())
    x = np.random.default_rng(0).normal(size=(5, 4)).astype("float32")
    imported = import_model(model)

    assert_same_function(imported, [x], tolerance=5e-2)
    np.testing.assert_allclose(
        import_model(same).reference([x])[0], imported.network(x), rtol=1e-5, atol=1e-5
    )
    assert nneq.to_equations(model).verify(samples=20).passed
    assert policy.removeprefix("mixed_") in imported.network.source.notes[0]


@pytest.mark.parametrize("policy", ["float16", "bfloat16"])
def test_half_precision_weights(policy: str) -> None:
    """Weights stored in half precision are read exactly."""
    model = keras.Sequential([keras.Input((4,)), L.Dense(3, activation="tanh", dtype=policy)])
    randomise(model)
    x = np.random.default_rng(0).normal(size=(5, 4)).astype("float32")
    wide = [ops.convert_to_numpy(ops.cast(w, "float32")).astype("float64") for w in model.weights]
    expected = np.tanh(x @ wide[0] + wide[1])

    np.testing.assert_allclose(expected, import_model(model).network(x), rtol=1e-6)
    assert nneq.to_equations(model).verify(samples=20).passed


def test_model_is_left_as_it_was() -> None:
    """Reading a model records nothing on its layers."""
    model = Classifier()
    model(np.zeros((2, 4), "float32"))
    before = [len(layer._inbound_nodes) for layer in model._flatten_layers()]
    import_model(model)

    assert before == [len(layer._inbound_nodes) for layer in model._flatten_layers()]


def test_integer_input_has_levels() -> None:
    """The input of an embedding is an integer input with one level per row."""
    inputs = keras.Input((3,), dtype="int32")
    model = keras.Model(inputs, L.Dense(2)(L.Flatten()(L.Embedding(7, 2)(inputs))))
    port = import_model(model).network.inputs[0]

    assert (7, "int32") == (port.levels, port.dtype)


def test_convolutions_stay_matrix_free() -> None:
    """No weight array of the network is larger than the largest of the model."""
    inputs = keras.Input((64, 64, 3))
    x = L.MaxPooling2D()(L.Conv2D(8, 5, padding="same", activation="relu")(inputs))
    model = keras.Model(inputs, L.GlobalAveragePooling2D()(L.Conv2D(4, 3)(x)))
    network = import_model(model).network
    largest = max(
        (array.size for node in network.nodes for term in getattr(node, "terms", ())
         for array in term.map.parameters), default=0,
    )  # fmt: skip

    assert max(int(np.prod(w.shape)) for w in model.weights) >= largest


def test_published_architecture() -> None:
    """A published image network (random weights) with depthwise convolutions and gates."""
    model = keras.applications.MobileNetV3Small(
        weights=None, input_shape=(32, 32, 3), classes=5, include_preprocessing=True
    )
    x = np.random.default_rng(0).uniform(0, 255, size=(2, 32, 32, 3)).astype("float32")
    imported = import_model(model)

    assert_same_function(imported, [x])
    assert imported.network.parameter_count < 1.2 * model.count_params()


@pytest.mark.parametrize("kind", [L.Dense, L.LSTM])
def test_layer_by_itself(kind: Any) -> None:
    """A built layer is a model too."""
    layer = kind(3)
    x = np.random.default_rng(0).normal(size=(4, 5, 2)).astype("float32")
    layer(x)

    assert_same_function(import_model(layer, example_inputs=x), [x])


@pytest.mark.skipif(keras.backend.backend() != "torch", reason="about the torch backend")
def test_torch_backend_needs_no_tensorflow() -> None:
    """On the torch backend a model is read in a process that never loads TensorFlow."""
    program = (
        "import sys, keras, nneq; x = keras.Input((2,)); "
        "nneq.to_network(keras.Model(x, keras.layers.Dense(2)(x))); "
        "sys.exit('tensorflow' in sys.modules)"
    )

    assert 0 == subprocess.run([sys.executable, "-c", program], check=False).returncode


# ---------------------------------------------------------------------- refusals
def test_quantised_layer_is_refused() -> None:
    """Layers quantised to int8 round their inputs by a live scale; they are named."""
    model = keras.Sequential([keras.Input((4,)), L.Dense(8, name="wide"), L.Dense(2)])
    model.quantize("int8")

    with pytest.raises(UnsupportedError, match=r"layer 'wide' \(Dense\): it is quantised"):
        import_model(model)


def test_unbuilt_model_says_what_to_do() -> None:
    """A model that was never built asks for data or an example."""
    with pytest.raises(NneqError, match="call it once on data, or give example_inputs="):
        import_model(Classifier())
    with pytest.raises(NneqError, match="never built"):
        import_model(keras.Sequential([L.Dense(2)]))


class Noisy(keras.Model):
    """A model that is random whatever it is told."""

    def __init__(self) -> None:
        super().__init__()
        self.drop = L.Dropout(0.5)

    def call(self, x: Any) -> Any:
        return self.drop(x, training=True)


def test_dropout_in_training_mode_is_refused() -> None:
    """A layer called with training=True is random and named."""
    model = Noisy()
    model(np.zeros((2, 4), "float32"))

    with pytest.raises(UnsupportedError, match=r"\(Dropout\): it is called with training=True"):
        import_model(model)


class Random(L.Layer):
    """A layer that draws from the global generator, or from its own."""

    def __init__(self, own: bool) -> None:
        super().__init__()
        self.generator = keras.random.SeedGenerator(1) if own else None

    def call(self, x: Any) -> Any:
        return x + keras.random.normal((1, 4), seed=self.generator)


@pytest.mark.parametrize("own", [False, True])
def test_random_numbers_are_refused(own: bool) -> None:
    """A drawn number is never taken for a weight."""
    inputs = keras.Input((4,))
    model = keras.Model(inputs, Random(own)(inputs))

    with pytest.raises(UnsupportedError, match="draws random numbers"):
        import_model(model)


class Branching(keras.Model):
    """A model that branches on its values."""

    def call(self, x: Any) -> Any:
        return x if ops.max(x) > 0 else -x


def test_branch_on_values_is_refused() -> None:
    """Data-dependent control flow names the model and what to write instead."""
    model = Branching()
    model(np.zeros((2, 4), "float32"))

    with pytest.raises(UnsupportedError, match="without data-dependent branches"):
        import_model(model)


def test_stateful_layer_is_refused() -> None:
    """A stateful layer's output depends on earlier calls."""
    inputs = keras.Input(batch_shape=(2, 3, 2))
    model = keras.Model(inputs, L.LSTM(2, stateful=True)(inputs))

    with pytest.raises(UnsupportedError, match="it is stateful"):
        import_model(model)


# ---------------------------------------------------------------------- through the interface
def test_equations_of_a_keras_model() -> None:
    """nneq.to_equations reads a Keras model and verifies it."""
    x, y = data("iris")
    model = trained(multilayer(4, 3, "sigmoid"), x, y)
    eqs = nneq.to_equations(model)

    assert eqs.verify(samples=100).passed
    np.testing.assert_allclose(model.predict(x[:9], verbose=0), eqs(x[:9]), rtol=1e-4, atol=1e-6)


# ---------------------------------------------------------------------- files
@pytest.mark.parametrize("suffix", ["keras", "h5"])
def test_file_round_trip(tmp_path: Path, suffix: str) -> None:
    """A model in a file gives the same network as the model."""
    model = digits_network()
    randomise(model)
    path = tmp_path / f"model.{suffix}"
    model.save(path)
    x = np.random.default_rng(0).normal(size=(4, 8, 8, 1)).astype("float32")
    imported = import_model(path)

    assert_same_function(imported, [x])
    np.testing.assert_array_equal(import_model(model).network(x), imported.network(x))


def test_weights_that_are_no_numbers_are_refused() -> None:
    """Every weight with NaN is named; nothing like nan*x_1 is written."""
    model = keras.Sequential([keras.Input((2,)), L.Dense(3, name="first"), L.Dense(2)])
    kernel = np.ones((2, 3), dtype="float32")
    kernel[0, 1] = np.nan
    model.layers[0].kernel.assign(kernel)

    with pytest.raises(NneqError, match=r"first/kernel.* holds NaN or infinity"):
        nneq.to_equations(model)
