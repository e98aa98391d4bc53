"""``BoundaryLogger`` for Keras 3, on any backend.

The numbers are added to ``logs`` in ``on_epoch_end``, from the first epoch on and with the same
keys each time, so that ``History`` and every callback that stands *after* this one sees them.
"""

from __future__ import annotations

import inspect
import itertools
import warnings
from collections.abc import Sequence
from typing import Any

from nneq.callbacks.logger import AbstractLogger
from nneq.errors import MissingDependencyError, NneqError

try:
    import keras
except ModuleNotFoundError as missing:
    msg = f"this logger needs keras ({missing}): pip install 'nneq[keras]'"
    raise MissingDependencyError(msg) from missing

__all__ = ["BoundaryLogger"]

_READERS = ("CSVLogger", "EarlyStopping", "ModelCheckpoint", "ReduceLROnPlateau", "TensorBoard")


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
        callbacks = list(getattr(listed, "callbacks", ()))
        self._warn_about_order(callbacks)
        _check_batch(self.model)
        self.recorder.start(self.model, monitors=self._monitors(callbacks))

    def _warn_about_order(self, callbacks: Sequence[Any]) -> None:
        for other in itertools.takewhile(lambda each: each is not self, callbacks):
            if type(other).__name__ in _READERS:
                warnings.warn(
                    f"{type(other).__name__} stands before BoundaryLogger in the list of callbacks "
                    "and will not see its numbers; move BoundaryLogger to the front",
                    stacklevel=3,
                )

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


def _check_batch(model: Any) -> None:
    """Refuse a model that Keras built from the first batch: an input would be a whole batch.

    Raises:
        NneqError: with what to add.
    """
    for tensor in getattr(model, "inputs", None) or ():
        extent, *inner = tensor.shape
        if extent not in {None, 1}:
            msg = (
                f"the model is built for batches of {extent} samples, so its input is not one "
                f"sample; add keras.Input({tuple(inner)}) as its first layer"
            )
            raise NneqError(msg)
