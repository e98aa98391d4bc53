"""``BoundaryLogger`` for the Hugging Face ``Trainer``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from transformers import TrainerCallback

from nneq.callbacks.recorder import BoundaryRecorder

__all__ = ["BoundaryLogger"]


class BoundaryLogger(TrainerCallback):  # type: ignore[misc]  # transformers is untyped here
    """Logs where two outputs are equal while a model learns under ``transformers.Trainer``.

    The numbers are appended to ``state.log_history`` with the epoch and the step.

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
        attribute: name of the model's attribute that holds the network to read, where the model
            itself returns a loss or takes labels.
        **options: the other fields of :class:`nneq.callbacks.recorder.Settings`.

    Raises:
        NneqError: settings that contradict each other; wrong names, boxes or files at the start.
        UnsupportedError: an unsupported model, at the start (``strict=True``).
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
        *,
        attribute: str | None = None,
        **options: Any,
    ) -> None:
        """Check the settings."""
        self.attribute = attribute
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
        self._epoch = 0

    def _network(self, model: Any) -> Any:
        return model if self.attribute is None else getattr(model, self.attribute)

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Check the model and the questions."""
        del args, state, control
        self.recorder.start(self._network(kwargs["model"]))

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Start measuring the epoch."""
        del args, state, control, kwargs
        self.recorder.begin_epoch()

    def on_epoch_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Record the epoch and append its numbers to the trainer's history."""
        del args, control
        found = self.recorder.step(self._network(kwargs["model"]), self._epoch)
        self._epoch += 1
        state.log_history.append({**found, "epoch": state.epoch, "step": state.global_step})

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Close the files."""
        del args, state, control, kwargs
        self.recorder.close()
