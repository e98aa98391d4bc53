"""What the boundary logger costs: training with it over training without it, in one process.

Processor seconds, one thread, after a warm-up run.  Two equal networks take turns, an epoch each,
one of them with the logger, so that a machine that is slower for a while is slower for both.
Asked for: at most 1.05 at the default budget, at most 1.10 with a picture every 10 epochs, and at
most 1.05 where something monitors the numbers, so that every epoch is measured and written.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # idle threads of BLAS would spin and be counted
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import torch

from nneq.callbacks.torch import BoundaryLogger

EPOCHS = 60

ROWS: dict[str, tuple[float, dict[str, Any]]] = {
    "default budget": (1.05, {}),
    "picture every 10 epochs": (
        1.10,
        {"plot": True, "every": 10, "max_seconds": 5, "log_dir": "runs"},
    ),
    "monitored, files": (1.05, {"monitored": True, "csv": "run.csv", "jsonl": "run.jsonl"}),
}


_FILES = {"log_dir", "csv", "jsonl"}


class _Run:
    """One network that learns, and the processor seconds of its epochs."""

    def __init__(self) -> None:
        self.random = torch.Generator().manual_seed(0)
        self.x = torch.randn((20_000, 2), generator=self.random)
        self.y = (self.x[:, 0] * self.x[:, 1] > 0).long()
        torch.manual_seed(0)
        self.model = torch.nn.Sequential(
            torch.nn.Linear(2, 32),
            torch.nn.Tanh(),
            torch.nn.Linear(32, 32),
            torch.nn.Tanh(),
            torch.nn.Linear(32, 2),
        )
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=0.01)
        self.seconds: list[float] = []

    def epoch(self, logger: BoundaryLogger | None = None) -> float:
        """Train for one epoch, with the logger's step; return the seconds of that step."""
        started = begun = time.process_time()
        if logger is not None:
            logger.recorder.begin_epoch()
        for rows in torch.randperm(len(self.x), generator=self.random).split(64):
            self.optimizer.zero_grad()
            loss = torch.nn.functional.cross_entropy(self.model(self.x[rows]), self.y[rows])
            loss.backward()
            self.optimizer.step()
        if logger is not None:
            begun = time.process_time()
            logger.step()
        ended = time.process_time()
        self.seconds.append(ended - started)
        return ended - begun


def _measure(epochs: int, options: dict[str, Any]) -> tuple[float, float, float, int]:
    """Return ratio, the logger's share, the median epoch in seconds, and the epochs traced."""
    plain, logged = _Run(), _Run()
    with tempfile.TemporaryDirectory() as folder:
        files = {key: Path(folder) / options[key] for key in _FILES & options.keys()}
        options = {**options, **files}
        with BoundaryLogger(logged.model, box=[(-3, 3), (-3, 3)], **options) as logger:
            steps = 0.0
            for epoch in range(epochs):
                for run in (plain, logged) if epoch % 2 else (logged, plain):
                    if run is logged:
                        steps += logged.epoch(logger)
                    else:
                        plain.epoch()
            traced = logger.recorder.records
    total = sum(plain.seconds)
    return sum(logged.seconds) / total, steps / total, statistics.median(plain.seconds), traced


def main() -> None:
    """Print training with the logger over training alone."""
    torch.set_num_threads(1)
    _measure(1, ROWS["picture every 10 epochs"][1])  # imports and compilation, once in a process
    for name, (ask, options) in ROWS.items():
        ratio, share, seconds, traced = _measure(EPOCHS, options)
        sys.stdout.write(
            f"{name:24s} {ratio:.3f} times training alone (asked: {ask}), the logger's own steps "
            f"{share:.3f} of training; epochs of {seconds:.3f} s, {traced} of {EPOCHS} traced\n"
        )


if __name__ == "__main__":
    main()
