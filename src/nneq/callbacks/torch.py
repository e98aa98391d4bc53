"""``BoundaryLogger`` for PyTorch training loops.

Three ways: call :meth:`BoundaryLogger.step` after every epoch; use it as a context manager, which
checks the model first and closes the files at the end; or hand it the optimizer and the number of
steps of an epoch, and it counts by itself.
"""

from __future__ import annotations

from types import TracebackType
from typing import Any, Self

from nneq.callbacks.logger import AbstractLogger
from nneq.errors import NneqError

__all__ = ["BoundaryLogger"]


class BoundaryLogger(AbstractLogger):
    """Logs where two outputs are equal while a ``torch.nn.Module`` learns.

    Args:
        model: the module; it is read, never changed.
        optimizer: with ``steps_per_epoch``: record after so many of its steps, by a hook.
        steps_per_epoch: number of optimizer steps in an epoch.
        **options: see :class:`nneq.callbacks.Settings`; ``between``, ``box``, ``solve_for``,
            ``at``, ``every``, ``log_dir``, ``csv``, ``jsonl`` and ``plot`` may also be given by
            place, behind ``model`` and in this order.

    Raises:
        NneqError: settings that contradict each other; wrong names, boxes or files at the start.
        UnsupportedError: an unsupported model, at the start (``strict=True``).

    Example:
        >>> with BoundaryLogger(model, box=[(-3, 3), (-3, 3)]) as logger:   # doctest: +SKIP
        ...     for epoch in range(10):
        ...         train(model)
        ...         print(logger.step())
    """

    def __init__(
        self,
        model: Any,
        *settings: Any,
        optimizer: Any = None,
        steps_per_epoch: int | None = None,
        **options: Any,
    ) -> None:
        """Check the settings; the model is checked by :meth:`start`."""
        if (optimizer is None) != (steps_per_epoch is None):
            msg = "give optimizer and steps_per_epoch together, or call step() yourself"
            raise NneqError(msg)
        if steps_per_epoch is not None and steps_per_epoch < 1:
            msg = f"steps_per_epoch must be at least 1, got {steps_per_epoch!r}"
            raise NneqError(msg)
        super().__init__(*settings, **options)
        self.model = model
        self.logs: dict[str, float] = {}
        self.epoch = 0
        self._optimizer = optimizer
        self._steps_per_epoch = steps_per_epoch
        self._steps = 0
        self._hook: Any = None
        self._started = False

    def start(self) -> Self:
        """Check the model and open the files; called by ``with`` and by the first ``step``.

        After :meth:`close` it begins a new run, which goes on in the same files and counts on.

        Raises:
            UnsupportedError: an unsupported model (``strict=True``).
            NneqError: wrong names, boxes or files.
        """
        if not self._started:
            self.recorder.start(self.model)
            self._started = True
            if self._optimizer is not None:
                self._hook = self._optimizer.register_step_post_hook(self._after_step)
            self.recorder.begin_epoch()
        return self

    def _after_step(self, *_args: Any) -> None:
        self._steps += 1
        if self._steps % (self._steps_per_epoch or 1) == 0:
            self.step()

    def step(self) -> dict[str, float]:
        """Record one epoch and return its numbers (also kept in ``logs``)."""
        self.start()
        self.logs = self.recorder.step(self.model, self.epoch)
        self.epoch += 1
        return self.logs

    def close(self) -> None:
        """Remove the hook and close the files."""
        if self._hook is not None:
            self._hook.remove()
            self._hook = None
        self._started = False
        self.recorder.close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
