"""Watch the decision boundary of a Lightning module while it learns exclusive or."""

from __future__ import annotations

import sys
from pathlib import Path

import lightning
import numpy as np
import torch

from nneq.callbacks import BoundaryHistory
from nneq.callbacks.lightning import BoundaryLogger


class Classifier(lightning.LightningModule):
    """A small network whose ``network`` attribute is what is read."""

    def __init__(self) -> None:
        """Make the layers."""
        super().__init__()
        self.network = torch.nn.Sequential(
            torch.nn.Linear(2, 8), torch.nn.Tanh(), torch.nn.Linear(8, 2)
        )

    def training_step(self, batch: list[torch.Tensor], _index: int) -> torch.Tensor:
        """Return the cross entropy of a batch."""
        x, y = batch
        return torch.nn.functional.cross_entropy(self.network(x), y)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return Adam."""
        return torch.optim.Adam(self.parameters(), lr=0.05)


def main(folder: Path, epochs: int = 15) -> BoundaryHistory:
    """Train, log the boundary and write its history and picture into ``folder``."""
    lightning.seed_everything(0)
    points = np.random.default_rng(0).uniform(-1, 1, size=(400, 2)).astype("float32")
    labels = (points[:, 0] * points[:, 1] > 0).astype("int64")
    data = torch.utils.data.TensorDataset(torch.from_numpy(points), torch.from_numpy(labels))
    path = folder / "run.jsonl"
    logger = BoundaryLogger(box=[(-1, 1), (-1, 1)], jsonl=path, attribute="network", max_seconds=5)
    trainer = lightning.Trainer(
        max_epochs=epochs,
        callbacks=[logger],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        accelerator="cpu",
        default_root_dir=folder,
    )
    trainer.fit(Classifier(), torch.utils.data.DataLoader(data, batch_size=50, shuffle=True))
    history = BoundaryHistory.load(path)
    history.plot().figure_.savefig(folder / "run.png")
    return history


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path())
