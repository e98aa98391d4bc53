"""Watch the decision boundary of a Keras network, and stop when it stands still."""

from __future__ import annotations

import sys
from pathlib import Path

import keras
import numpy as np

from nneq.callbacks import BoundaryHistory
from nneq.callbacks.keras import BoundaryLogger


def two_circles(count: int = 400, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return an inner disc and an outer ring: points ``(count, 2)`` and labels ``(count,)``."""
    random = np.random.default_rng(seed)
    label = np.arange(count) % 2
    angle = random.uniform(0, 2 * np.pi, count)
    radius = np.where(label == 0, 0.6, 1.6) + random.normal(scale=0.1, size=count)
    points = radius[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    return points.astype("float32"), label


def main(folder: Path, epochs: int = 40) -> BoundaryHistory:
    """Train until the boundary moves by less than 0.02, and write history and animation."""
    keras.utils.set_random_seed(0)
    x, y = two_circles()
    model = keras.Sequential(
        [
            keras.Input((2,)),
            keras.layers.Dense(16, activation="tanh"),
            keras.layers.Dense(2, activation="softmax"),
        ]
    )
    model.compile(keras.optimizers.Adam(0.03), "sparse_categorical_crossentropy")
    path = folder / "run.jsonl"
    logger = BoundaryLogger(box=[(-2, 2), (-2, 2)], jsonl=path, max_seconds=5)
    stop = keras.callbacks.EarlyStopping(
        monitor="boundary_shift", mode="min", min_delta=0.02, patience=5
    )
    model.fit(x, y, epochs=epochs, batch_size=50, verbose=0, callbacks=[logger, stop])
    history = BoundaryHistory.load(path)
    last = history.records[-1]["values"]
    sys.stdout.write(
        f"stopped after {len(history)} epochs: {last['boundary_components']:.0f} component of "
        f"length {last['boundary_length']:.3f}\n"
    )
    history.animate(folder / "run.gif")
    history.plot().figure_.savefig(folder / "run.png")
    return history


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path())
