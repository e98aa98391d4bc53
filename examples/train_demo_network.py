"""Train the 2-3-2 sigmoid network of ``nneq demo`` and write its weights.

Two interleaved half moons, two classes, one sigmoid output for each class, mean squared error with
a small penalty on the weights, L-BFGS.  Needs NumPy and SciPy only.

    python examples/train_demo_network.py network.json
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit

SHAPES = [(3, 2), (3,), (2, 3), (2,)]


def moons(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return points ``(2 * count, 2)`` and one-hot classes ``(2 * count, 2)``."""
    rng = np.random.default_rng(seed)
    angle = np.pi * rng.random(count)
    upper = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    lower = np.stack([1 - np.cos(angle), 0.5 - np.sin(angle)], axis=1)
    points = np.concatenate([upper, lower]) + 0.12 * rng.standard_normal((2 * count, 2))
    classes = np.repeat(np.eye(2), count, axis=0)
    return points, classes


def unpack(flat: np.ndarray) -> list[np.ndarray]:
    """Return the weight arrays in one flat vector."""
    ends = np.cumsum([int(np.prod(shape)) for shape in SHAPES])
    parts = np.split(flat, ends[:-1])
    return [part.reshape(shape) for part, shape in zip(parts, SHAPES, strict=True)]


def loss(flat: np.ndarray, x: np.ndarray, target: np.ndarray) -> tuple[float, np.ndarray]:
    """Return the loss and its gradient."""
    w1, b1, w2, b2 = unpack(flat)
    y = expit(x @ w1.T + b1)
    z = expit(y @ w2.T + b2)
    error = z - target
    penalty = 1e-4
    value = float(np.mean(np.sum(error**2, axis=1)) + penalty * flat @ flat)
    d2 = 2 * error * z * (1 - z) / len(x)
    d1 = (d2 @ w2) * y * (1 - y)
    parts = [d1.T @ x, d1.sum(0), d2.T @ y, d2.sum(0)]
    return value, np.concatenate([part.ravel() for part in parts]) + 2 * penalty * flat


def main(target: str) -> None:
    """Train from a few starts and write the best network."""
    x, classes = moons(200, seed=1)
    starts = [np.random.default_rng(seed).standard_normal(17) for seed in range(20)]
    found = [minimize(loss, s, (x, classes), jac=True, method="L-BFGS-B") for s in starts]
    best = min(found, key=lambda result: result.fun)
    w1, b1, w2, b2 = (array.astype(np.float32) for array in unpack(best.x))
    z = expit(expit(x @ w1.T + b1) @ w2.T + b2)
    accuracy = float(np.mean((z[:, 0] > z[:, 1]) == (classes[:, 0] > 0)))
    record = {
        "task": "two interleaved half moons, class 1 above, class 2 below",
        "trained_by": "examples/train_demo_network.py",
        "accuracy": accuracy,
        "hidden": {"weights": w1.tolist(), "bias": b1.tolist()},
        "output": {"weights": w2.tolist(), "bias": b2.tolist()},
    }
    Path(target).write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    print(f"loss {best.fun:.4f}, accuracy {accuracy:.3f}")


if __name__ == "__main__":
    main(sys.argv[1])
