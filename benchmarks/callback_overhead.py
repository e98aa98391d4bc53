"""What the boundary logger costs: training with it over training without it, in one process.

Processor seconds, one thread, after a warm-up run.  Asked for: at most 1.05 at the default budget,
at most 1.10 with a picture every 10 epochs.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # idle threads of BLAS would spin and be counted
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
import torch

from nneq.callbacks.torch import BoundaryLogger

EPOCHS = 60
ROUNDS = 3


def _train(logged: bool, plot: int = 0) -> tuple[float, float, int]:
    torch.manual_seed(0)
    random = np.random.default_rng(0)
    x = torch.from_numpy(random.normal(size=(20_000, 2))).float()
    y = (x[:, 0] * x[:, 1] > 0).long()
    model = torch.nn.Sequential(
        torch.nn.Linear(2, 32),
        torch.nn.Tanh(),
        torch.nn.Linear(32, 32),
        torch.nn.Tanh(),
        torch.nn.Linear(32, 2),
    )
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    with tempfile.TemporaryDirectory() as folder:
        options = (
            {"log_dir": Path(folder) / "runs", "plot": True, "every": plot, "max_seconds": 5}
            if plot
            else {}
        )
        logger = BoundaryLogger(model, box=[(-3, 3), (-3, 3)], **options) if logged else None
        if logger is not None:
            logger.start()
        started = time.process_time()
        records, steps = 0, 0.0
        for _ in range(EPOCHS):
            for rows in torch.randperm(len(x)).split(64):
                optimizer.zero_grad()
                torch.nn.functional.cross_entropy(model(x[rows]), y[rows]).backward()
                optimizer.step()
            if logger is not None:
                begun = time.process_time()
                logger.step()
                steps += time.process_time() - begun
                records = logger.recorder.records
        seconds = time.process_time() - started
        if logger is not None:
            logger.close()
    return seconds, steps / (seconds - steps), records


def main() -> None:
    """Print the median ratios of runs that alternate with plain ones."""
    torch.set_num_threads(1)
    _train(True, 1)  # imports and compilation, once in a process
    for plot, ask in ((0, 1.05), (10, 1.10)):
        ratios, shares, traced = [], [], 0
        for _ in range(ROUNDS):
            plain = _train(False)[0]
            logged, share, traced = _train(True, plot)
            shares.append(share)
            ratios.append(logged / plain)
        sys.stdout.write(
            f"{'picture every 10 epochs' if plot else 'default budget':24s} "
            f"{statistics.median(ratios):.3f} times training alone (asked: {ask}), "
            f"the logger's own steps {statistics.median(shares):.3f} of training; "
            f"{min(ratios):.3f} to {max(ratios):.3f}; {traced} of {EPOCHS} epochs traced\n"
        )


if __name__ == "__main__":
    main()
