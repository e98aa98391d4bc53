"""``BoundaryLogger`` for Keras 3, on any backend.

The numbers are added to ``logs`` in ``on_epoch_end``, from the first epoch on and with the same
keys each time, so that ``History`` and every callback that stands *after* this one sees them.
"""

from __future__ import annotations

import inspect
from typing import Any

import keras

from nneq.callbacks.logger import AbstractLogger

__all__ = ["BoundaryLogger"]


class BoundaryLogger(AbstractLogger, keras.callbacks.Callback):  # type: ignore[misc]  # untyped here
    """Logs where two outputs are equal while a Keras model learns.

    Args: see :class:`nneq.callbacks.Settings`; ``between``, ``box``, ``solve_for``, ``at``,
    ``every``, ``log_dir``, ``csv``, ``jsonl`` and ``plot`` come first, in this order.

    Raises:
        NneqError: settings that contradict each other; wrong names, boxes or files at
            ``on_train_begin``.
        UnsupportedError: an unsupported model, at ``on_train_begin`` (``strict=True``).
    """

    def on_train_begin(self, logs: Any = None) -> None:
        """Check the model and the questions; warn if a reader of the numbers stands before us."""
        del logs
        frame = inspect.currentframe()
        caller = frame.f_back if frame is not None else None
        # Keras tells no callback its list, so the calling list is looked at
        listed = caller.f_locals.get("self") if caller is not None else None
        monitored = self._look_at(getattr(listed, "callbacks", ()))
        self.recorder.start(self.model, monitored=monitored)

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Start measuring the epoch."""
        del epoch, logs
        self.recorder.begin_epoch()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Record the epoch and add its numbers to ``logs``."""
        found = self.recorder.step(self.model, epoch)
        if logs is not None:
            logs.update(found)

    def on_train_end(self, logs: Any = None) -> None:
        """Close the files."""
        del logs
        self.recorder.close()
