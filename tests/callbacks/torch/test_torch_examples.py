"""The PyTorch example runs and draws."""

from __future__ import annotations

import importlib.util
from pathlib import Path

EXAMPLES = Path(__file__).parents[3] / "examples"


def test_example(tmp_path):
    """The example trains, and writes history, picture and animation."""
    spec = importlib.util.spec_from_file_location("example", EXAMPLES / "torch_training.py")
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)

    history = example.main(tmp_path, epochs=3)

    assert len(history) == 3
    assert (tmp_path / "run.gif").stat().st_size > 1000
    assert (tmp_path / "run.png").stat().st_size > 1000
