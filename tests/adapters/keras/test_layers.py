"""Every public Keras layer agrees with Keras, or is refused with the documented reason."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import keras
import keras_layers as zoo
import pytest
from keras_comparison import TOLERANCES, assert_same_function

from nneq.adapters.keras import import_model
from nneq.adapters.keras.layers_refused import REFUSED
from nneq.errors import UnsupportedError

pytestmark = pytest.mark.filterwarnings("ignore")  # Keras warns about odd padding and masks

BACKEND = keras.backend.backend()
DOCUMENT = Path(__file__).parents[3] / "docs" / "keras.md"
PUBLIC = {name for name in dir(keras.layers) if isinstance(getattr(keras.layers, name), type)}
# Cases that the framework itself cannot run (Keras 3.15).
BROKEN = {
    ("torch", "LayerNormalization", 2),  # F.layer_norm over an axis that is not the last
    ("tensorflow", "Equalization", 0),  # its symbolic call returns its own input
    ("torch", "Equalization", 0),
}
# TensorFlow has no float64 kernels for these.
NO_FLOAT64 = {
    ("AdaptiveAveragePooling3D", 0), ("AdaptiveMaxPooling3D", 0), ("AveragePooling3D", 0),
    ("MaxPooling3D", 0), ("Conv2DTranspose", 2),
}  # fmt: skip
CASES = [
    pytest.param(name, k, id=f"{name}-{k}")
    for name, cases in sorted(zoo.CASES.items())
    for k in range(len(cases))
    if (BACKEND, name, k) not in BROKEN and name not in REFUSED
]


def test_every_public_layer_is_accounted_for() -> None:
    """Each class of keras.layers is tried, an alias, abstract, or refused by name."""
    tried = {name for name, cases in zoo.CASES.items() if cases}
    unknown = PUBLIC - tried - zoo.ALIASES - zoo.NOT_LAYERS - set(REFUSED)

    assert set() == unknown


@pytest.mark.parametrize(("name", "k"), CASES)
def test_layer_agrees_with_keras(name: str, k: int) -> None:
    """A model around the layer with random weights gives Keras' own numbers."""
    case = zoo.CASES[name][k]

    assert_same_function(import_model(zoo.build(case)), zoo.samples(case))


# Only on TensorFlow does Keras compute float64 as such; elsewhere one case shows that it is said.
IN_FLOAT64 = [
    case
    for case in CASES
    if (case.values not in NO_FLOAT64 if BACKEND == "tensorflow" else case.id == "Dense-0")
]


@pytest.mark.parametrize(("name", "k"), IN_FLOAT64)
def test_layer_agrees_in_float64(name: str, k: int, float64: None) -> None:
    """The same holds to 1e-12 for float64 models, where the backend computes in float64."""
    case = zoo.CASES[name][k]
    imported = import_model(zoo.build(case))
    arrays = [x.astype("float64") if x.dtype.kind == "f" else x for x in zoo.samples(case)]
    kinds = {port.dtype for port in imported.network.outputs if port.dtype.startswith("float")}
    tolerance = max([TOLERANCES[kind] for kind in kinds], default=1e-12)

    assert tolerance == 1e-12 or imported.network.source.notes or BACKEND != "tensorflow"
    assert_same_function(imported, arrays, tolerance)


@pytest.fixture
def float64() -> Any:
    """Build models in float64."""
    for name in ("float64", "float32"):
        keras.config.set_floatx(name)
        keras.config.set_dtype_policy(name)
        if name == "float64":
            yield


NEED_TENSORFLOW = {"HashedCrossing", "Hashing", "IntegerLookup"}
"""Layers that Keras itself builds with TensorFlow only, whatever the backend."""


@pytest.mark.parametrize("name", sorted(n for n in REFUSED if zoo.CASES.get(n)))
def test_refused_layer_names_reason(name: str) -> None:
    """A layer outside what nneq reads is refused with its type, its name and the way out."""
    if (BACKEND, name, 0) in BROKEN:
        return
    if name in NEED_TENSORFLOW and not importlib.util.find_spec("tensorflow"):
        with pytest.raises(ImportError, match="requires TensorFlow"):
            zoo.build(zoo.CASES[name][0])
        return
    model = zoo.build(zoo.CASES[name][0])
    layer = next(part for part in model.layers if type(part).__name__ == name)

    with pytest.raises(UnsupportedError) as caught:
        import_model(model)

    assert REFUSED[name] in str(caught.value)
    assert f"layer {layer.name!r} ({name})" in str(caught.value)


def test_documented_refusals_are_the_real_ones() -> None:
    """docs/keras.md lists exactly the refused layers."""
    text = DOCUMENT.read_text(encoding="utf-8")
    section = text.split("## Layers that are refused")[1].split("\n## ")[0]
    documented = {
        name
        for line in section.splitlines()
        if line.startswith("| `")
        for name in line.split("|")[1].replace("`", "").replace(" ", "").split(",")
    }

    assert set(REFUSED) == documented


def test_documented_counts() -> None:
    """docs/keras.md states how many layer classes are read and refused."""
    classes = PUBLIC - zoo.ALIASES - zoo.NOT_LAYERS
    read = classes - set(REFUSED)
    print(f"keras.layers: {len(read)} classes read, {len(classes & set(REFUSED))} refused")
    text = DOCUMENT.read_text(encoding="utf-8")

    assert f"{len(read)} of the {len(classes)} layer classes" in text
