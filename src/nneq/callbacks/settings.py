"""What a logger is told: one set of options, checked in one place, for every framework."""

from __future__ import annotations

import numbers
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from nneq.api.framing import BoxLike
from nneq.errors import NneqError, problems_message

__all__ = ["Settings"]


@dataclass(frozen=True)
class Settings:
    """What is recorded, how often, and where it goes.

    Args:
        between: the two outputs, or an output and a level (``("z_1", 0.5)``).
        box: a box with two free inputs for curves; None: no curves.
        solve_for: an input whose solutions are found on the probe lines; None: none.
        at: values of the other inputs; arrays make several probe lines for ``solve_for``.
        domain: interval searched for ``solve_for``; None: the whole real line.
        data: points ``(k, n)`` whose distances to the boundary are recorded as quantiles.
        regions: count the linear regions in the box (piecewise-linear networks).
        every: record every so many epochs; between them the last numbers are repeated, and those
            that say how far something moved are NaN.
        max_seconds: limit per epoch; None: 5 % of the training time so far, less what was used.
        monitored: True: training depends on the numbers (early stopping, say), so they are
            measured in every epoch, by a trace or on a grid, whatever ``every`` and the 5 % say.
            False: ``every`` and the 5 % hold, whatever monitors.  None: as True where the Keras or
            Lightning logger finds a callback that monitors one of the numbers, with a warning
            where that takes more than 5 %; else as False.
        csv: path of a CSV file.
        jsonl: path of a JSON-lines file, with curves and equations, for ``BoundaryHistory``.
        append: go on in files that are there; False: replace them.  A logger that is started
            again always goes on in its own.
        log_dir: folder of TensorBoard events.
        plot: draw the picture with every record (True), or with the first record after so many
            epochs: to TensorBoard, and as ``recorder.picture``.
        strict: a model that is unsupported or cannot be read is an error before the first epoch;
            False: warn, record nothing.
        attribute: name of the model's attribute that holds the network to read (``"model"``, or
            dotted), where the model itself is not the network.
        example_inputs: passed to ``to_network``.

    Raises:
        NneqError: settings that contradict each other, all of them at once.
    """

    between: tuple[str, str | float] = ("z_1", "z_2")
    box: BoxLike | None = None
    solve_for: str | None = None
    at: Mapping[str, Any] | None = None
    domain: tuple[float, float] | None = None
    data: Any = None
    regions: bool = False
    every: int = 1
    max_seconds: float | None = None
    monitored: bool | None = None
    csv: Any = None
    jsonl: Any = None
    append: bool = False
    log_dir: Any = None
    plot: bool | int = False
    strict: bool = True
    attribute: str | None = None
    example_inputs: Any = None

    def __post_init__(self) -> None:
        """Check what can be checked without a model."""
        problems = []
        if self.box is None and self.solve_for is None:
            problems.append("nothing to record: give box= (two free inputs) or solve_for= with at=")
        if not (_is_count(self.every) and self.every >= 1):
            problems.append(
                f"every must be a whole number of epochs, at least 1, got {self.every!r}"
            )
        if self.max_seconds is not None and not (
            _is_real(self.max_seconds) and self.max_seconds > 0
        ):
            problems.append(f"max_seconds must be positive, got {self.max_seconds!r}")
        monitored: Any = self.monitored
        if not isinstance(monitored, bool | None):
            problems.append(f"monitored must be True, False or None, got {monitored!r}")
        if self.domain is not None and not _is_interval(self.domain):
            problems.append(f"domain must be (low, high), low < high, got {self.domain!r}")
        if self.regions and self.box is None:
            problems.append("regions=True needs box=")
        if not (_is_count(self.plot) and self.plot >= 0):
            problems.append(f"plot must be True, False or a number of epochs, got {self.plot!r}")
        elif self.plot and self.box is None:
            problems.append("plot= needs box=")
        pair: Any = self.between
        if not (isinstance(pair, tuple | list) and len(pair) == 2):
            problems.append(f"between must name two outputs, got {self.between!r}")
        if problems:
            raise NneqError(problems_message("these settings cannot be used", problems))


def _is_real(value: Any) -> bool:
    return isinstance(value, numbers.Real)


def _is_interval(value: Any) -> bool:
    try:
        low, high = (float(end) for end in value)
    except (TypeError, ValueError):
        return False
    return low < high


def _is_count(value: Any) -> bool:
    return isinstance(value, numbers.Integral)
