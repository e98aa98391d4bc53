"""The Lightning logger and its example."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import lightning
import numpy as np
import pytest
import torch
from lightning.pytorch.callbacks import EarlyStopping

from nneq.callbacks import BoundaryHistory
from nneq.callbacks.lightning import BoundaryLogger

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


class _Module(lightning.LightningModule):
    """A network that learns with a given rate."""

    def __init__(self, rate):
        super().__init__()
        self.rate = rate
        self.network = torch.nn.Sequential(
            torch.nn.Linear(2, 8), torch.nn.Tanh(), torch.nn.Linear(8, 2)
        )

    def training_step(self, batch, _index):
        return torch.nn.functional.cross_entropy(self.network(batch[0]), batch[1])

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=self.rate)


def _fit(module, callbacks, folder, epochs):
    points = np.random.default_rng(0).normal(size=(64, 2)).astype("float32")
    data = torch.utils.data.TensorDataset(
        torch.from_numpy(points), torch.from_numpy((points[:, 0] > 0).astype("int64"))
    )
    trainer = lightning.Trainer(
        max_epochs=epochs,
        callbacks=callbacks,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        accelerator="cpu",
        default_root_dir=folder,
        log_every_n_steps=1,
    )
    trainer.fit(module, torch.utils.data.DataLoader(data, batch_size=32))
    return trainer


@pytest.mark.filterwarnings("ignore:the boundary logger takes:UserWarning")  # short epochs
@pytest.mark.parametrize(
    "question",
    [{"box": [(-1, 1), (-1, 1)]}, {"solve_for": "x_1", "at": {"x_2": 0.0}}],
    ids=["curve", "solutions"],
)
def test_early_stopping_on_the_shift(tmp_path, question):
    """A boundary that stands still ends the run after its patience, and not before."""
    torch.manual_seed(0)
    logger = BoundaryLogger(**question, attribute="network", jsonl=tmp_path / "run.jsonl")
    stop = EarlyStopping("boundary_shift", mode="min", patience=3)

    trainer = _fit(_Module(0.0), [logger, stop], tmp_path, epochs=20)

    assert trainer.current_epoch == 5
    assert float(trainer.callback_metrics["boundary_shift"]) == 0.0
    assert BoundaryHistory.load(tmp_path / "run.jsonl").epochs[0] == 0


def test_the_order_does_not_matter(tmp_path):
    """Lightning calls what monitors a number last, so EarlyStopping may stand before the logger."""
    logger = BoundaryLogger(box=[(-1, 1), (-1, 1)], attribute="network")
    stop = EarlyStopping("boundary_shift", mode="min", patience=2)

    trainer = _fit(_Module(0.0), [stop, logger], tmp_path, epochs=20)

    assert trainer.current_epoch == 4


def test_training_is_bit_identical(tmp_path):
    """The weights with the logger equal the weights without it."""
    found = []
    for callbacks in ([], [BoundaryLogger(box=[(-1, 1), (-1, 1)], attribute="network")]):
        lightning.seed_everything(0)
        module = _Module(0.5)
        _fit(module, callbacks, tmp_path, epochs=3)
        found.append([p.detach().clone() for p in module.parameters()])

    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))
