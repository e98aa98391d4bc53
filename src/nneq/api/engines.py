"""Which engine answers: the exact one for piecewise-linear networks, else the certified one.

The exact engine's statements are about the real-number function; ``precision="float32"`` therefore
goes to the certified engine, whose bounds can be widened.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from nneq.api.framing import Slice
from nneq.boundary.problem import Problem
from nneq.boundary.results import (
    Box,
    Budget,
    Clock,
    Curve,
    Interval,
    Nearest,
    Solutions,
    Surface,
    Verdict,
)
from nneq.boundary.smooth.partition import Memory
from nneq.errors import NneqError, UnsupportedError
from nneq.ir import Network

__all__ = ["Call", "Norm", "Precision", "Progress", "check_precision", "started"]

Array = np.ndarray[Any, Any]
Norm = Literal["l2", "linf", "l1"]
Precision = Literal["real", "float32"]
Progress = Callable[[float], None]


def check_precision(precision: str) -> None:
    """Refuse what is neither ``real`` nor ``float32``."""
    if precision not in ("real", "float32"):
        msg = f"unknown precision {precision!r}; use 'real' or 'float32'"
        raise NneqError(msg)


def started(budget: Budget | None, executor: Executor | None = None) -> Clock:
    """Return the running clock of a budget; None is no limit.

    Raises:
        NneqError: not a budget, or not an executor.
    """
    if executor is not None and not isinstance(executor, Executor):
        msg = (
            "executor must be a concurrent.futures.Executor, such as ProcessPoolExecutor() or "
            f"Dask's Client.get_executor(), got {executor!r}"
        )
        raise NneqError(msg)
    if budget is not None and not isinstance(budget, Budget):
        msg = f"budget must be nneq.Budget(seconds=...), got {budget!r}"
        raise NneqError(msg)
    return (budget or Budget()).start(executor)


@dataclass(frozen=True, eq=False)
class Call:
    """One question to an engine, with how it is to be answered.

    Args:
        problem: the reduced question.
        clock: the budget, running.
        exact: rational arithmetic.
        precision: ``real`` or ``float32``.
        progress: called with a fraction from 0 to 1.
        outputs: the model where its own outputs are piecewise linear, for pieces; else None.
        memory: of traces of one box after another: where the certified engine starts.

    Raises:
        NneqError: an unknown precision.
        UnsupportedError: ``exact`` where there is no exact arithmetic.
    """

    problem: Problem
    clock: Clock
    exact: bool = False
    precision: Precision = "real"
    progress: Progress | None = None
    outputs: Network | None = None
    memory: Memory | None = None

    def __post_init__(self) -> None:
        check_precision(self.precision)
        if self.exact and not self.piecewise:
            why = "; ".join(self.problem.obstacles[:5]) or "precision='float32' was asked for"
            msg = (
                "exact=True needs a continuous piecewise-linear network and precision='real'; in "
                f"the way: {why}; leave exact out for certified enclosures"
            )
            raise UnsupportedError(msg)

    @property
    def piecewise(self) -> bool:
        """Whether the exact engine answers."""
        return self.problem.piecewise_linear and self.precision == "real"

    def lines(
        self, origins: Array, direction: Array, domain: Interval, variable: str
    ) -> list[Solutions]:
        """Return the solutions on the lines ``origins[k] + t direction``."""
        if self.piecewise:
            from nneq.boundary.pwl import lines as exact

            return exact.solve_lines(
                self.problem,
                origins,
                direction,
                domain,
                variable=variable,
                exact=self.exact,
                clock=self.clock,
                progress=self.progress,
                outputs=self.outputs,
                executor=self.clock.executor,
            )
        from nneq.boundary.smooth import lines

        return lines.solve_lines(
            self.problem,
            origins,
            direction,
            domain,
            variable=variable,
            precision=self.precision,
            clock=self.clock,
            progress=self.progress,
        )

    def plane(self, part: Slice) -> Curve:
        """Return the boundary in a slice of two free inputs."""
        names = (part.names[0], part.names[1])
        frame = (self.problem, part.origin, part.directions, part.box)
        if self.piecewise:
            from nneq.boundary.pwl import trace as exact

            return exact.trace_plane(
                *frame, names=names, exact=self.exact, clock=self.clock, progress=self.progress
            )
        from nneq.boundary.smooth import plane

        return plane.trace_plane(
            *frame,
            names=names,
            precision=self.precision,
            clock=self.clock,
            progress=self.progress,
            memory=self.memory,
        )

    def space(self, part: Slice) -> Surface:
        """Return the boundary in a slice of three free inputs."""
        names = (part.names[0], part.names[1], part.names[2])
        frame = (self.problem, part.origin, part.directions, part.box)
        if self.piecewise:
            from nneq.boundary.pwl import surface as exact

            return exact.trace_space(
                *frame, names=names, exact=self.exact, clock=self.clock, progress=self.progress
            )
        from nneq.boundary.smooth import space

        return space.trace_space(
            *frame,
            names=names,
            precision=self.precision,
            clock=self.clock,
            progress=self.progress,
        )

    def nearest(self, point: Array, norm: Norm) -> Nearest:
        """Return the boundary point nearest to ``point``."""
        if self.piecewise:
            from nneq.boundary.pwl import nearest as exact

            return exact.nearest_point(self.problem, point, norm, clock=self.clock)
        from nneq.boundary.smooth import nearest

        return nearest.nearest_point(
            self.problem,
            point,
            norm,
            precision=self.precision,
            clock=self.clock,
            progress=self.progress,
        )

    def excludes(self, box: Box) -> Verdict:
        """Return whether the box is free of the boundary."""
        if self.piecewise:
            from nneq.boundary.pwl import excludes as exact

            return exact.exclude_box(self.problem, box, clock=self.clock, progress=self.progress)
        from nneq.boundary.smooth import excludes

        return excludes.exclude_box(
            self.problem,
            box,
            precision=self.precision,
            clock=self.clock,
            progress=self.progress,
        )
