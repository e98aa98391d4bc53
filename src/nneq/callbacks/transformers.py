"""``BoundaryLogger`` for the Hugging Face ``Trainer``."""

from __future__ import annotations

from typing import Any

from nneq.callbacks.logger import AbstractLogger
from nneq.errors import MissingDependencyError

try:
    from transformers import TrainerCallback
except ModuleNotFoundError as missing:
    msg = f"this logger needs transformers ({missing}): pip install transformers"
    raise MissingDependencyError(msg) from missing

__all__ = ["BoundaryLogger"]


class BoundaryLogger(AbstractLogger, TrainerCallback):  # type: ignore[misc]  # untyped here
    """Logs where two outputs are equal while a model learns under ``transformers.Trainer``.

    The numbers are appended to ``state.log_history`` with the epoch and the step.

    Args: see :class:`nneq.callbacks.Settings`; ``between``, ``box``, ``solve_for``, ``at``,
    ``every``, ``log_dir``, ``csv``, ``jsonl`` and ``plot`` come first, in this order.
    ``attribute`` names the model's attribute that holds the network to read, where the model itself
    returns a loss or takes labels.

    Raises:
        NneqError: settings that contradict each other; wrong names, boxes or files at the start.
        UnsupportedError: an unsupported model, at the start (``strict=True``).
    """

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Check the model and the questions."""
        del args, control
        self.recorder.start(kwargs["model"], write=state.is_world_process_zero)

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Start measuring the epoch."""
        del args, state, control, kwargs
        self.recorder.begin_epoch()

    def on_epoch_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Record the epoch and append its numbers to the trainer's history."""
        del args, control
        epoch = max(0, round(state.epoch or 1) - 1)
        found = self.recorder.step(kwargs["model"], epoch)
        if found:
            state.log_history.append({**found, "epoch": state.epoch, "step": state.global_step})

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Close the files."""
        del args, state, control, kwargs
        self.recorder.close()
