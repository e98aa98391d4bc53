"""Watch the decision boundary of a network that the Hugging Face Trainer trains."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch
from transformers import Trainer, TrainingArguments

from nneq.callbacks import BoundaryHistory
from nneq.callbacks.transformers import BoundaryLogger


class Classifier(torch.nn.Module):
    """A model as the Trainer wants it: labels in, loss out; ``network`` is what is read."""

    def __init__(self) -> None:
        """Make the layers."""
        super().__init__()
        self.network = torch.nn.Sequential(
            torch.nn.Linear(2, 8), torch.nn.Tanh(), torch.nn.Linear(8, 2)
        )

    def forward(self, x: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return the loss and the logits of a batch."""
        logits = self.network(x)
        return {"loss": torch.nn.functional.cross_entropy(logits, labels), "logits": logits}


def main(folder: Path, epochs: int = 15) -> BoundaryHistory:
    """Train, log the boundary and write its history and picture into ``folder``."""
    torch.manual_seed(0)
    points = np.random.default_rng(0).uniform(-1, 1, size=(400, 2)).astype("float32")
    rows = [{"x": p, "labels": int(p[0] > p[1] ** 2 - 0.5)} for p in points]
    path = folder / "run.jsonl"
    logger = BoundaryLogger(box=[(-1, 1), (-1, 1)], jsonl=path, attribute="network", max_seconds=5)
    arguments = TrainingArguments(
        output_dir=str(folder),
        num_train_epochs=epochs,
        per_device_train_batch_size=50,
        learning_rate=0.03,
        report_to=[],
        save_strategy="no",
        disable_tqdm=True,
        use_cpu=True,
    )
    Trainer(Classifier(), arguments, train_dataset=rows, callbacks=[logger]).train()
    history = BoundaryHistory.load(path)
    history.plot().figure_.savefig(folder / "run.png")
    return history


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path())
