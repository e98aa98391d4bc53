"""``BoundaryLogger`` for Keras 3, on any backend.

The numbers are added to ``logs`` in ``on_epoch_end``, from the first epoch on and with the same
keys each time, so that ``History`` and every callback that stands *after* this one sees them.
"""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Mapping
from typing import Any

import keras

from nneq.callbacks.recorder import BoundaryRecorder

__all__ = ["BoundaryLogger"]

_READERS = ("CSVLogger", "EarlyStopping", "ModelCheckpoint", "ReduceLROnPlateau", "TensorBoard")


class BoundaryLogger(keras.callbacks.Callback):  # type: ignore[misc]  # keras is untyped
    """Logs where two outputs are equal while a Keras model learns.

    Args:
        between: two outputs, or an output and a level.
        box: a box with two free inputs.
        solve_for: an input whose solutions are counted on the lines ``at``.
        at: values of the other inputs.
        every: record every so many epochs.
        log_dir: folder of TensorBoard events.
        csv: path of a CSV file.
        jsonl: path of a JSON-lines file for ``BoundaryHistory``.
        plot: draw the picture (True, or every so many epochs).
        **options: the other fields of :class:`nneq.callbacks.recorder.Settings`.

    Raises:
        NneqError: settings that contradict each other; wrong names, boxes or files at
            ``on_train_begin``.
        UnsupportedError: an unsupported model, at ``on_train_begin`` (``strict=True``).
    """

    def __init__(
        self,
        between: tuple[str, str | float] = ("z_1", "z_2"),
        box: Any = None,
        solve_for: str | None = None,
        at: Mapping[str, Any] | None = None,
        every: int = 1,
        log_dir: Any = None,
        csv: Any = None,
        jsonl: Any = None,
        plot: bool | int = False,
        **options: Any,
    ) -> None:
        """Check the settings."""
        super().__init__()
        self.recorder = BoundaryRecorder(
            between=between,
            box=box,
            solve_for=solve_for,
            at=at,
            every=every,
            log_dir=log_dir,
            csv=csv,
            jsonl=jsonl,
            plot=plot,
            **options,
        )

    def on_train_begin(self, logs: Any = None) -> None:
        """Check the model and the questions; warn if a reader of the numbers stands before us."""
        del logs
        frame = inspect.currentframe()
        self._warn_about_order(frame.f_back if frame is not None else None)
        self.recorder.start(self.model)

    def _warn_about_order(self, caller: Any) -> None:
        """Warn by name; Keras tells no callback its list, so the calling list is looked at."""
        listed = caller.f_locals.get("self") if caller is not None else None
        for other in getattr(listed, "callbacks", ()):
            if other is self:
                return
            if type(other).__name__ in _READERS:
                warnings.warn(
                    f"{type(other).__name__} stands before BoundaryLogger in the list of callbacks "
                    "and will not see its numbers; move BoundaryLogger to the front",
                    stacklevel=2,
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
