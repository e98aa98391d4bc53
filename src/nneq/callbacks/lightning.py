"""``BoundaryLogger`` for Lightning: a ``Callback`` around the framework-free recorder."""

from __future__ import annotations

import math
from typing import Any

from nneq.callbacks.logger import AbstractLogger
from nneq.errors import MissingDependencyError

try:
    import lightning
except ModuleNotFoundError as missing:
    msg = f"this logger needs lightning ({missing}): pip install lightning"
    raise MissingDependencyError(msg) from missing

__all__ = ["BoundaryLogger"]

_LARGEST = 3.4e38  # of float32, in which Lightning keeps numbers


class BoundaryLogger(AbstractLogger, lightning.Callback):  # type: ignore[misc]  # untyped here
    """Logs where two outputs are equal while a Lightning module learns.

    The numbers go through ``pl_module.log``, so that Lightning's loggers, checkpoints and early
    stopping see them.  Early stopping ends a run at a number that is not finite: infinite ones are
    logged as 3.4e38, and NaN is not logged.

    Args: see :class:`nneq.callbacks.Settings`; ``between``, ``box``, ``solve_for``, ``at``,
    ``every``, ``log_dir``, ``csv``, ``jsonl`` and ``plot`` come first, in this order.
    ``attribute`` names the module's attribute that holds the network.

    Raises:
        NneqError: settings that contradict each other; wrong names, boxes or files at the start.
        UnsupportedError: an unsupported model, at the start (``strict=True``).
    """

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Check the model and the questions."""
        monitors = self._monitors(trainer.callbacks)
        self.recorder.start(pl_module, monitors=monitors, write=trainer.is_global_zero)

    def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:
        """Start measuring the epoch."""
        del trainer, pl_module
        self.recorder.begin_epoch()

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """Record the epoch and log its numbers."""
        found = self.recorder.step(pl_module, int(trainer.current_epoch))
        for key, value in found.items():
            if not math.isnan(value):
                pl_module.log(key, min(value, _LARGEST))

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        """Close the files."""
        del trainer, pl_module
        self.recorder.close()
