"""Calls of ``keras.ops`` on symbolic tensors agree with Keras, or are refused by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import keras_operations as zoo
import pytest
from keras_comparison import assert_same_function

from nneq.adapters.keras import import_model
from nneq.errors import UnsupportedError

pytestmark = pytest.mark.filterwarnings("ignore")  # Keras warns about its own defaults

DOCUMENT = Path(__file__).parents[3] / "docs" / "keras.md"


# The torch backend returns the counts transposed (Keras 3.15).
BROKEN = {"count_nonzero"} if keras.backend.backend() == "torch" else set()
CASES = [
    pytest.param(c, id=f"{c.name}-{k}") for k, c in enumerate(zoo.CASES) if c.name not in BROKEN
]


@pytest.mark.parametrize("case", CASES)
def test_operation_agrees_with_keras(case: Any) -> None:
    """An operation on random inputs gives Keras' own numbers, or is one of the refused."""
    model = zoo.build(case)
    if case.name in zoo.REFUSED:
        with pytest.raises(UnsupportedError, match="not supported"):
            import_model(model)
        return

    assert_same_function(import_model(model), zoo.samples(case))


@pytest.mark.parametrize("name", sorted(zoo.ACROSS))
def test_operation_across_samples_is_refused(name: str) -> None:
    """What mixes the samples of a batch is no function of one sample and says so."""
    inputs = keras.Input((3, 4))
    model = keras.Model(inputs, zoo.ACROSS[name](inputs))

    with pytest.raises(UnsupportedError, match=r"samples of a batch|batch axis|where Keras has"):
        import_model(model)


def test_refused_operations_are_documented() -> None:
    """docs/keras.md names every operation that the tests see refused."""
    text = DOCUMENT.read_text(encoding="utf-8")

    assert [] == [name for name in sorted(zoo.REFUSED) if f"`{name}`" not in text]


def test_all_problems_are_in_one_error() -> None:
    """Two operations that cannot be read are both named."""
    x = keras.Input((3, 3))
    model = keras.Model(x, keras.ops.erfinv(x) + keras.ops.linalg.inv(x))

    with pytest.raises(UnsupportedError) as caught:
        import_model(model)

    assert "(Erfinv)" in str(caught.value)
    assert "(Inv)" in str(caught.value)
