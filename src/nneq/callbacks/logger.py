"""What the loggers of all frameworks have in common: their options and their recorder."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from nneq.callbacks.recorder import BoundaryRecorder

__all__ = ["AbstractLogger"]


class AbstractLogger:
    """Takes the options of a logger and makes its recorder.

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
        **options: the other fields of :class:`nneq.callbacks.Settings`.

    Raises:
        NneqError: settings that contradict each other.
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

    def _monitors(self, callbacks: Iterable[Any]) -> str:
        """Return which of the callbacks monitor which of the numbers, in words; or nothing."""
        found = [(type(c).__name__, str(getattr(c, "monitor", ""))) for c in callbacks]
        pairs = [f"{name} monitors {key!r}" for name, key in found if key in self.recorder.keys]
        return ", ".join(dict.fromkeys(pairs))
