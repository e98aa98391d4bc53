"""The time a logger may take: what was trained, what was used, what is due."""

from __future__ import annotations

import time
from typing import Literal

from nneq.boundary.results import Budget
from nneq.callbacks.settings import Settings

__all__ = ["SHARE", "Due", "Purse"]

Due = Literal["trace", "sketch"]

_TRACED, _SKETCHED = 0.03, 0.01  # shares of the training time; 5 % with what a step costs itself
SHARE = 0.05
_FIRST = 10.0
_SOME = 4  # epochs, after the first
_CHEAP, _NEW = 1.5, 0.3  # a trace at most so many sketches; weight of the newest cost
_LEAST, _LEAST_MONITORED = 1e-3, 1.0


class Purse:
    """Keeps the books of one training run, in seconds of wall-clock time.

    Traces and sketches (curves read off a grid) have a purse each, so that sketches never eat up
    what a trace is saved for; where a trace is about as cheap, it takes the place of the sketch and
    both purses are its own.  Where every epoch is measured, sketches may take all but 1 % from the
    traces.  What failed is paid for like what succeeded.

    Args:
        settings: ``every``, ``max_seconds`` and ``monitored`` count here.
        monitored: measure in every epoch.
    """

    def __init__(self, settings: Settings, *, monitored: bool = False) -> None:
        """Begin with nothing saved."""
        self.trained = self.spent = 0.0
        self.records = 0
        self._every, self._limit = settings.every, settings.max_seconds
        self.monitored = monitored
        self._tried = False
        self._used: dict[Due, float] = {"trace": 0.0, "sketch": 0.0}
        self._cost: dict[Due, float] = {"trace": 0.0, "sketch": 0.0}
        self._usual: dict[Due, float] = {}
        self._began: float | None = None
        self._first = (0.0, 0.0)
        self._epochs = 0

    def begin(self) -> None:
        """Say that an epoch begins."""
        self._began = time.monotonic()

    def end(self) -> None:
        """Say that an epoch of training ends."""
        if self._began is not None:
            self.trained += time.monotonic() - self._began
            self._began = None
            self._epochs += 1

    def spend(self, seconds: float) -> None:
        """Say what a step has taken, whatever it did."""
        self.spent += seconds
        if self._epochs <= 1:
            self._first = (self.trained, self.spent)

    def regular(self, epoch: int) -> bool:
        """Whether this epoch is one of those that ``every`` names."""
        return epoch % self._every == 0

    def due(self, epoch: int, *, curve: bool) -> Due | None:
        """What there is time for: a proven record, one read off the grid, or nothing.

        Args:
            epoch: its number.
            curve: whether curves are asked for, so that there is something to read off a grid.
        """
        instead: Due = "sketch" if curve and not self._as_cheap else "trace"
        if self.regular(epoch):
            if not self._tried or self._limit is not None or self._left >= self._cost["trace"]:
                return "trace"
            saved = _SKETCHED * self.trained - self._used["sketch"]
            if instead == "sketch" and saved >= self._cost["sketch"]:
                return "sketch"
        return instead if self.monitored else None

    def pay(self, kind: Due, seconds: float, *, failed: bool = False) -> None:
        """Take from the purse what a record of this kind has cost.

        A failure says at most that a record costs more than was thought.
        """
        self._tried = True
        self._used[kind] += seconds
        self._cost[kind] = max(seconds, self._cost[kind]) if failed else seconds
        usual = self._usual.get(kind, seconds)
        self._usual[kind] = usual + _NEW * (seconds - usual)

    @property
    def _as_cheap(self) -> bool:
        """Whether a trace usually costs about as much as a sketch, as far as both are known."""
        known = len(self._usual) == 2
        return known and self._usual["trace"] <= _CHEAP * self._usual["sketch"]

    @property
    def _left(self) -> float:
        if self._as_cheap:
            return (_TRACED + _SKETCHED) * self.trained - sum(self._used.values())
        share = _TRACED * self.trained
        if self.monitored:  # what the forced sketches take beyond their own is missing here
            rest = (_TRACED + _SKETCHED) * self.trained - self._used["sketch"]
            share = min(share, max(_SKETCHED * self.trained, rest))
        return share - self._used["trace"]

    @property
    def budget(self) -> Budget:
        """What a trace may take now.

        Twice what the last one took: a boundary that grows would else run out of time in every
        record.  What is overspent is saved up before the next.
        """
        if self._limit is not None:
            return Budget(seconds=self._limit)
        if not self._tried:
            return Budget(seconds=_FIRST)  # the first record is always made
        least = _LEAST_MONITORED if self.monitored else _LEAST
        return Budget(seconds=max(self._left, 2 * self._cost["trace"], least))

    @property
    def excess(self) -> tuple[float, float] | None:
        """Seconds of logging and of training in a later epoch, where that is known and over 5 %."""
        epochs = self._epochs - 1  # the first record is dear, and made only once
        if epochs < _SOME:
            return None
        trained, spent = self.trained - self._first[0], self.spent - self._first[1]
        return (spent / epochs, trained / epochs) if spent > SHARE * trained else None

    @property
    def share(self) -> float:
        """What was spent, as a share of the time trained (0 before the first epoch)."""
        return self.spent / self.trained if self.trained else 0.0
