"""Models trained here with scikit-learn and exported by skl2onnx."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
from skl2onnx import to_onnx
from sklearn import datasets
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    MaxAbsScaler,
    MinMaxScaler,
    Normalizer,
    RobustScaler,
    StandardScaler,
)

from nneq.adapters.onnx import import_model

DATA = {
    "iris": datasets.load_iris,
    "wine": datasets.load_wine,
    "cancer": datasets.load_breast_cancer,
    "digits": datasets.load_digits,
    "diabetes": datasets.load_diabetes,
}


def mlp(activation="relu", **options):
    return MLPClassifier((8,), activation=activation, max_iter=30, random_state=0, **options)


MODELS = {
    "iris softmax regression": ("iris", lambda: LogisticRegression(max_iter=500)),
    "iris mlp": ("iris", lambda: mlp("tanh")),
    "iris scaled mlp": ("iris", lambda: make_pipeline(StandardScaler(), mlp("logistic"))),
    "wine min-max mlp": ("wine", lambda: make_pipeline(MinMaxScaler(), mlp())),
    "wine l2 mlp": ("wine", lambda: make_pipeline(Normalizer("l2"), mlp())),
    "wine l1 logistic": (
        "wine",
        lambda: make_pipeline(Normalizer("l1"), LogisticRegression(max_iter=500)),
    ),
    "wine max": ("wine", lambda: make_pipeline(Normalizer("max"), mlp())),
    "cancer logistic": (
        "cancer",
        lambda: make_pipeline(StandardScaler(), LogisticRegression()),
    ),
    "cancer mlp": ("cancer", lambda: make_pipeline(RobustScaler(), mlp("tanh"))),
    "digits mlp": ("digits", lambda: make_pipeline(MaxAbsScaler(), mlp())),
    "diabetes linear": ("diabetes", LinearRegression),
    "diabetes mlp": (
        "diabetes",
        lambda: make_pipeline(
            StandardScaler(),
            MLPRegressor(hidden_layer_sizes=(8, 4), max_iter=50, random_state=0, solver="lbfgs"),
        ),
    ),
}


@pytest.fixture(scope="module")
def trained():
    made = {}

    def get(name):
        if name not in made:
            source, make = MODELS[name]
            x, y = DATA[source](return_X_y=True)
            with np.errstate(all="ignore"):
                made[name] = (make().fit(x, y), x.astype(np.float32))
        return made[name]

    return get


def assert_close(expected, actual, tolerance=1e-5):
    scale = max(np.abs(expected).max(), 1e-30)

    assert expected.shape == actual.shape
    assert np.abs(expected - actual).max() <= tolerance * scale


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("name", "zipmap"),
    [(name, z) for name in MODELS for z in (False, True) if not (z and "diabetes" in name)],
)
def test_the_equations_agree_with_onnxruntime_and_sklearn(name, zipmap, trained):
    """Scores agree to 1e-5; the label output is left out and a note says so."""
    model, x = trained(name)
    classifier = hasattr(model, "predict_proba")
    options = {"zipmap": zipmap} if classifier else {}
    exported = to_onnx(model, x[:1], options=options, target_opset=17)
    imported = import_model(exported)
    network = imported.network
    found = network(x[:50])
    session = onnxruntime.InferenceSession(exported.SerializeToString())
    outputs = session.run(None, {session.get_inputs()[0].name: x[:50]})
    truth = outputs[-1]
    if zipmap:
        truth = np.array([[row[key] for key in sorted(row)] for row in truth])

    assert_close(truth, found)
    assert_close(
        model.predict_proba(x[:50]) if classifier else model.predict(x[:50])[:, None], found, 1e-4
    )
    assert_close(imported.reference([x[:1]])[0], network(x[:1]))
    assert network.inputs[0].batched
    assert network.outputs[0].batched
    assert imported.batches
    assert ("label" in " ".join(network.source.notes)) == classifier


@pytest.mark.filterwarnings("ignore")
def test_class_labels_name_the_outputs(trained):
    """The probability map's class labels become labels of the output entries."""
    model, x = trained("iris softmax regression")
    network = import_model(to_onnx(model, x[:1], target_opset=17)).network

    assert ("0", "1", "2") == network.outputs[0].entry_labels


@pytest.mark.filterwarnings("ignore")
def test_a_binary_head_is_p_and_one_minus_p(trained):
    """The two scores of a binary classifier add up to 1."""
    model, x = trained("cancer logistic")
    network = import_model(to_onnx(model, x[:1], target_opset=17)).network

    assert np.abs(network(x[:20]).sum(axis=1) - 1).max() < 1e-12
