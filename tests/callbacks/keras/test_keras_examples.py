"""The Keras example runs, stops and draws."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[3] / "examples"

# Keras' TensorFlow backend calls NumPy in a way that NumPy 2 deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


def test_example(tmp_path):
    """The example trains, and writes history, picture and animation."""
    spec = importlib.util.spec_from_file_location("example", EXAMPLES / "keras_training.py")
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)

    history = example.main(tmp_path, epochs=4)

    assert len(history) == 4
    assert (tmp_path / "run.gif").stat().st_size > 1000
