"""Watch the decision boundary of a PyTorch network while it learns two moons."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch

from nneq.callbacks import BoundaryHistory
from nneq.callbacks.torch import BoundaryLogger


def two_moons(count: int = 400, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return two interleaved half circles: points ``(count, 2)`` and labels ``(count,)``."""
    random = np.random.default_rng(seed)
    label = np.arange(count) % 2
    angle = random.uniform(0, np.pi, count)
    upper = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    lower = np.stack([1 - np.cos(angle), 0.5 - np.sin(angle)], axis=1)
    points = np.where(label[:, None] == 0, upper, lower)
    return points + random.normal(scale=0.1, size=points.shape), label


def main(folder: Path, epochs: int = 30) -> BoundaryHistory:
    """Train, log the boundary, and write its history and animation into ``folder``."""
    torch.manual_seed(0)
    points, labels = two_moons()
    x, y = torch.from_numpy(points).float(), torch.from_numpy(labels)
    model = torch.nn.Sequential(torch.nn.Linear(2, 16), torch.nn.Tanh(), torch.nn.Linear(16, 2))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    path = folder / "run.jsonl"
    with BoundaryLogger(
        model,
        box=[(-2, 3), (-1.5, 2)],
        solve_for="x_1",
        at={"x_2": 0.25},
        jsonl=path,
        max_seconds=5,
    ) as logger:
        for epoch in range(epochs):
            for rows in torch.randperm(len(x)).split(50):
                optimizer.zero_grad()
                loss = torch.nn.functional.cross_entropy(model(x[rows]), y[rows])
                loss.backward()
                optimizer.step()
            logs = logger.step()
            sys.stdout.write(
                f"epoch {epoch}: loss {loss.item():.4f}, the boundary moved by "
                f"{logs['boundary_shift']:.4f}, length {logs['boundary_length']:.3f}, "
                f"{logs['boundary_roots']:.0f} solutions for x_1 at x_2 = 0.25\n"
            )
    history = BoundaryHistory.load(path)
    history.animate(folder / "run.gif")
    history.plot().figure_.savefig(folder / "run.png")
    return history


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path())
