"""The framework-free recorder: one model, one epoch, one record.

The thin wrappers (``nneq.callbacks.keras``, ``.torch``, ``.lightning``, ``.transformers``) only
tell it when an epoch begins and ends.  It reads the model through ``nneq.to_network``, which copies
the weights and touches neither them nor any random state; a failure inside it warns once, and the
training run goes on.
"""

from __future__ import annotations

import math
import operator
import time
import warnings
from typing import Any

import numpy as np

from nneq.api.boundary import Boundary
from nneq.api.equations import Equations
from nneq.boundary.results import Budget
from nneq.callbacks.measuring import Measurer, keys_of
from nneq.callbacks.outputs import (
    CsvOutput,
    JsonLinesOutput,
    MlflowOutput,
    Output,
    TensorBoardOutput,
)
from nneq.callbacks.purse import SHARE, Due, Purse
from nneq.callbacks.reading import Reader
from nneq.callbacks.settings import Settings
from nneq.errors import NneqError

__all__ = ["BoundaryRecorder"]

_WARM_UP = 5.0
_STORED_WEIGHTS = 50_000
_TEXT_WEIGHTS = 2_000
_MOVEMENTS = ("boundary_shift", "boundary_changed_area")


class BoundaryRecorder:
    """Records a boundary over the epochs of a training run.

    Args:
        settings: see :class:`Settings`; or give its fields as keywords.

    ``keys`` are the names of the numbers; ``picture`` is the last picture drawn, as PNG, or None.

    Raises:
        NneqError: settings that contradict each other.

    Example:
        >>> recorder = BoundaryRecorder(box=[(-3, 3), (-3, 3)])
        >>> recorder.start(model)                    # doctest: +SKIP
        >>> recorder.step(model, 0)                  # doctest: +SKIP
        {'boundary_shift': 8.48, 'boundary_components': 1.0, ...}
    """

    def __init__(self, settings: Settings | None = None, **options: Any) -> None:
        """Check the settings."""
        self.settings = settings if settings is not None else Settings(**options)
        self.keys = keys_of(self.settings)
        self.enabled = True
        self.picture: bytes | None = None
        self._measurer = Measurer(self.settings)
        self._purse = Purse(self.settings)
        self._reader = Reader(self.settings.example_inputs)
        self._outputs: list[Output] = []
        self._values: dict[str, float] = {}
        self._warned: set[str] = set()
        self._append = self.settings.append
        self._monitors = ""
        self._live: Any = None
        self._drawn: int | None = None

    # ------------------------------------------------------------------ the run
    def start(self, model: Any, *, monitors: str = "", write: bool = True) -> None:
        """Check the model and the questions before the first epoch, and open the outputs.

        A recorder that is started again begins a new run and goes on in its files.

        Args:
            model: what will be trained.
            monitors: what monitors one of the numbers, in words; see ``monitored`` in
                :class:`Settings`.
            write: whether this process writes the files.

        Raises:
            UnsupportedError: the model holds something nneq cannot express (``strict=True``).
            MissingDependencyError: ``log_dir`` without TensorBoard, ``plot`` without Matplotlib.
            NneqError: a model that cannot be read (``strict=True``), wrong names, a box of the
                wrong dimension, files that cannot be written.
        """
        self.close()
        self.enabled = True
        try:
            equations = self._read(model)
        except NneqError as error:
            if self.settings.strict:
                raise
            self.enabled = False
            warnings.warn(f"the boundary is not recorded: {error}", stacklevel=2)
            return
        boundary = self._measurer.pose(equations)
        if self.settings.plot:
            from nneq.plotting import require_matplotlib

            require_matplotlib()
        if write:
            self._open()
        self._warm_up(boundary)
        self._measurer.forget()
        self._values, self._drawn, self.picture = {}, None, None
        monitored = self.settings.monitored
        self._purse = Purse(
            self.settings, monitored=bool(monitors if monitored is None else monitored)
        )
        self._monitors = monitors if monitored is None else ""
        if monitors and monitored is False:
            warnings.warn(
                f"{monitors}, and monitored=False: epochs for which there is no time are not "
                "measured, and count there with NaN or a number of an earlier epoch; leave "
                "monitored= out to have every epoch measured",
                stacklevel=3,
            )

    def _open(self) -> None:
        """Open the outputs; where one cannot be opened, none stays open."""
        s = self.settings
        try:
            if s.log_dir is not None:  # checked first: it replaces nothing
                self._outputs.append(TensorBoardOutput(s.log_dir))
            if s.csv is not None:
                self._outputs.append(CsvOutput(s.csv, self.keys, append=self._append))
            if s.jsonl is not None:
                self._outputs.append(JsonLinesOutput(s.jsonl, append=self._append))
        except NneqError:
            self.close()
            raise
        if MlflowOutput.active():
            self._outputs.append(MlflowOutput())
        self._append = True

    def _warm_up(self, boundary: Boundary) -> None:
        """Pay for imports and compilation before the first epoch, not in it."""
        budget = Budget(seconds=self.settings.max_seconds or _WARM_UP)
        measurer = self._measurer
        try:
            with np.errstate(all="ignore"):
                measurer.forget()
                for sketch in (False, True)[: 2 if measurer.slice is not None else 1]:
                    measurer.measure(boundary, budget, {}, {}, sketch=sketch)
                self._describe(boundary, 0, traced=True)
        except Exception as error:  # noqa: BLE001  # a logger must never stop a training run
            self._warn_once("recording the boundary", error)

    def _read(self, model: Any) -> Equations:
        s = self.settings
        try:
            network = model if s.attribute is None else operator.attrgetter(s.attribute)(model)
        except AttributeError:
            msg = f"the model {type(model).__name__} has no attribute {s.attribute!r}"
            raise NneqError(msg) from None
        return Equations(self._reader.read(network))

    def begin_epoch(self) -> None:
        """Say that an epoch begins, so that its time can be measured."""
        self._purse.begin()

    def step(self, model: Any, epoch: int) -> dict[str, float]:
        """Record one epoch and return its numbers; the keys are the same in every epoch.

        In an epoch that was not measured, because there was no time or something failed (which is
        warned about once), the last numbers are repeated, those that say how far something moved
        are NaN, and ``boundary_complete`` is 0.

        Args:
            model: the model as it is now.
            epoch: its number, from 0.
        """
        if not self.enabled:
            return {}
        now = time.monotonic()
        self._purse.end()
        found = {key: self._values.get(key, math.nan) for key in self.keys}
        found.update(dict.fromkeys(_MOVEMENTS, math.nan), boundary_complete=0, boundary_seconds=0)
        found["boundary_share"] = self._purse.share
        due = self._purse.due(epoch, curve=self.settings.box is not None)
        if due is not None:
            try:
                with np.errstate(all="ignore"):
                    found = self._record(model, epoch, due)
            except Exception as error:  # noqa: BLE001  # a logger must never stop a training run
                self._purse.pay(due, time.monotonic() - now, failed=True)
                self._warn_once("recording the boundary", error)
        self._purse.spend(time.monotonic() - now)
        self._warn_of_excess()
        self._purse.begin()
        return {key: float(found[key]) for key in self.keys}

    def _warn_once(self, what: str, error: Exception) -> None:
        if what not in self._warned:
            self._warned.add(what)
            warnings.warn(
                f"{what} failed ({type(error).__name__}: {error}); training goes on, and this "
                "is not said again",
                stacklevel=3,
            )

    def _warn_of_excess(self) -> None:
        """Say once that measuring every epoch takes more than its share, and what to do."""
        if not self._monitors or self.settings.max_seconds is not None:
            return
        excess = self._purse.excess
        if excess is None:
            return
        spent, trained = excess
        share = spent / trained
        warnings.warn(
            f"the boundary logger takes {share:.{int(share < 0.1)}%} of the training time "
            f"({1000 * spent:.0f} ms in an epoch of {1000 * trained:.0f} ms) instead of "
            f"{SHARE:.0%}: {self._monitors}, so every epoch is measured; make epochs longer "
            f"({spent / SHARE:.2f} s), monitor another number, or say monitored=True (measure "
            "every epoch whatever it takes) or monitored=False (stay within the budget; epochs "
            "that are not measured then count with NaN or a number of an earlier epoch); this is "
            "not said again",
            stacklevel=4,
        )
        self._monitors = ""

    @property
    def share_of_time(self) -> float:
        """The recorder's share of the time spent training so far (0 before the first epoch)."""
        return self._purse.share

    @property
    def records(self) -> int:
        """The number of epochs traced so far (not those read off the grid or repeated)."""
        return self._purse.records

    def close(self) -> None:
        """Close the outputs."""
        for output in self._outputs:
            output.close()
        self._outputs = []

    # ------------------------------------------------------------------ one record
    def _record(self, model: Any, epoch: int, due: Due) -> dict[str, float]:
        started = time.monotonic()
        sketch = due == "sketch"
        boundary = self._measurer.pose(self._read(model))
        values = {key: self._values.get(key, math.nan) for key in self.keys}
        record: dict[str, Any] = {"between": list(self.settings.between)}
        must = self._purse.monitored
        complete, traced = self._measurer.measure(
            boundary, self._purse.budget, values, record, sketch=sketch, must=must
        )
        record["followed"] = not traced  # the name in files since curves were followed
        values["boundary_complete"] = float(complete)
        values["boundary_share"] = self._purse.share
        regular = self._purse.regular(epoch)
        if regular:
            record.update(self._describe(boundary, epoch, traced=traced))
        values["boundary_seconds"] = time.monotonic() - started
        self._purse.pay("trace" if traced else "sketch", values["boundary_seconds"])
        self._purse.records += traced
        self._values = values
        if regular:
            self._write(epoch, values, record)
        return values

    def _describe(self, boundary: Boundary, epoch: int, *, traced: bool) -> dict[str, Any]:
        """Return the equations and the picture, where they are asked for.

        Beside a curve read off the grid the equations are stored, but not also written as text.
        """
        s, equations = self.settings, boundary.equations
        weights = equations.network.parameter_count
        found: dict[str, Any] = {}
        if traced and weights <= _TEXT_WEIGHTS and s.log_dir is not None:
            found["text"] = str(equations)
        if weights <= _STORED_WEIGHTS and s.jsonl is not None:
            found["equations"] = equations.to_dict(text=traced)
        every = int(s.plot)
        if every and (self._drawn is None or epoch - self._drawn >= every):
            self._drawn = epoch
            self._draw(f"epoch {epoch}")
            found["png"] = self.picture
        return found

    def _draw(self, title: str) -> None:
        part, measurer = self._measurer.slice, self._measurer
        if part is None or measurer.classes is None:
            return
        if self._live is None:
            from nneq.callbacks.pictures import LivePicture

            self._live = LivePicture(part.box.low, part.box.high, part.names, measurer.class_names)
        lines = [(c.points, c.closed) for c in measurer.seen]
        self.picture = self._live.png(lines, measurer.classes, title)

    def _write(self, epoch: int, values: dict[str, float], record: dict[str, Any]) -> None:
        """Write to every output; where one fails, the others still get the record."""
        for output in self._outputs:
            try:
                output.write(epoch, values, record)
            except Exception as error:  # noqa: BLE001  # a logger must never stop a training run
                self._warn_once(f"writing the boundary to {output.name}", error)
