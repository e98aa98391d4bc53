"""The Lightning logger and its example."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[3] / "examples"

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore:.*does not have many workers.*"),
    pytest.mark.filterwarnings("ignore:.*isinstance.treespec, LeafSpec.*"),
]


def test_example(tmp_path):
    """The example trains, and its numbers and curves are in the history."""
    spec = importlib.util.spec_from_file_location("example", EXAMPLES / "lightning_training.py")
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)

    history = example.main(tmp_path, epochs=3)

    assert history.epochs == [0, 1, 2]
    assert (history.column("boundary_components") >= 1).all()
    assert (tmp_path / "run.png").stat().st_size > 1000
