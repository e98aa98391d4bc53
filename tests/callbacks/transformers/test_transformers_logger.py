"""The Hugging Face logger under a real Trainer."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import Trainer, TrainingArguments

from nneq.callbacks import BoundaryHistory
from nneq.callbacks.transformers import BoundaryLogger

EXAMPLES = Path(__file__).parents[3] / "examples"

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore:.*pin_memory.*"),
]


class _Classifier(torch.nn.Module):
    """A model as the Trainer wants it: labels in, loss out; ``network`` is what is read."""

    def __init__(self):
        super().__init__()
        self.network = torch.nn.Sequential(
            torch.nn.Linear(2, 8), torch.nn.Tanh(), torch.nn.Linear(8, 2)
        )

    def forward(self, x, labels=None):
        logits = self.network(x)
        return {"loss": torch.nn.functional.cross_entropy(logits, labels), "logits": logits}


def test_trainer(tmp_path):
    """Every epoch's numbers are in the trainer's history and in the JSON lines, of both runs."""
    points = np.random.default_rng(0).normal(size=(64, 2)).astype("float32")
    rows = [{"x": p, "labels": int(p[0] > p[1])} for p in points]
    logger = BoundaryLogger(
        box=[(-2, 2), (-2, 2)], attribute="network", jsonl=tmp_path / "run.jsonl", max_seconds=10
    )
    arguments = TrainingArguments(
        output_dir=str(tmp_path),
        num_train_epochs=2,
        per_device_train_batch_size=32,
        report_to=[],
        save_strategy="no",
        disable_tqdm=True,
        use_cpu=True,
    )
    trainer = Trainer(_Classifier(), arguments, train_dataset=rows, callbacks=[logger])

    trainer.train()

    logged = [entry for entry in trainer.state.log_history if "boundary_shift" in entry]
    assert len(logged) == 2
    assert BoundaryHistory.load(tmp_path / "run.jsonl").epochs == [0, 1]

    trainer.train()

    assert BoundaryHistory.load(tmp_path / "run.jsonl").epochs == [0, 1]
    assert BoundaryHistory.load(tmp_path / "run.jsonl", run=0).epochs == [0, 1]
    assert len((tmp_path / "run.jsonl").read_text().splitlines()) == 4


def test_example(tmp_path):
    """The example trains, and writes history and picture."""
    spec = importlib.util.spec_from_file_location("example", EXAMPLES / "transformers_training.py")
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)

    history = example.main(tmp_path, epochs=3)

    assert history.epochs == [0, 1, 2]
    assert (tmp_path / "run.png").stat().st_size > 1000
