"""``BoundaryLogger`` for Lightning: a ``Callback`` around the framework-free recorder."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import lightning

from nneq.callbacks.recorder import BoundaryRecorder

__all__ = ["BoundaryLogger"]


class BoundaryLogger(lightning.Callback):  # type: ignore[misc]  # lightning is untyped here
    """Logs where two outputs are equal while a Lightning module learns.

    The numbers go through ``pl_module.log``, so that Lightning's loggers, checkpoints and early
    stopping see them.

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
        attribute: name of the module's attribute that holds the network, where the Lightning
            module itself is not the network (``"model"``, say).
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
        super().__init__()
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

    def _network(self, pl_module: Any) -> Any:
        return pl_module if self.attribute is None else getattr(pl_module, self.attribute)

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Check the model and the questions."""
        del trainer
        self.recorder.start(self._network(pl_module))

    def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:
        """Start measuring the epoch."""
        del trainer, pl_module
        self.recorder.begin_epoch()

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """Record the epoch and log its numbers."""
        found = self.recorder.step(self._network(pl_module), int(trainer.current_epoch))
        for key, value in found.items():
            pl_module.log(key, value)

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        """Close the files."""
        del trainer, pl_module
        self.recorder.close()
