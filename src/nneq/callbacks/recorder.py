"""The framework-free recorder: one model, one epoch, one record.

The thin wrappers (``nneq.callbacks.keras``, ``.torch``, ``.lightning``, ``.transformers``) only
tell it when an epoch begins and ends.  It reads the model through ``nneq.to_network``, which copies
the weights and touches neither them nor any random state; a failure inside it warns once, and the
training run goes on.
"""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from nneq.api.boundary import Boundary
from nneq.api.equations import Equations
from nneq.api.framing import BoxLike, Slice
from nneq.api.importing import to_network
from nneq.boundary.results import Budget, Component, Curve, Solutions
from nneq.callbacks import measures
from nneq.callbacks.follow import followed
from nneq.callbacks.outputs import (
    CsvOutput,
    JsonLinesOutput,
    MlflowOutput,
    Output,
    TensorBoardOutput,
)
from nneq.errors import NneqError, UnsupportedError, problems_message

__all__ = ["BoundaryRecorder", "Settings"]

Array = np.ndarray[Any, Any]

_GRID = 96
_TRACED, _FOLLOWED = 0.03, 0.01  # shares of the training time; 5 % with what a step costs itself
_WARM_UP = 5.0
_STORED_WEIGHTS = 50_000
_TEXT_WEIGHTS = 2_000
_QUANTILES = (0.05, 0.5, 0.95)


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
        every: record every so many epochs; between them the last numbers are repeated.
        max_seconds: limit per epoch; None: 5 % of the training time so far, less what was used.
        csv: path of a CSV file.
        jsonl: path of a JSON-lines file, with curves and equations, for ``BoundaryHistory``.
        log_dir: folder of TensorBoard events.
        plot: draw the picture every so many epochs (True: every recorded one) to TensorBoard.
        strict: an unsupported model is an error before the first epoch; False: warn, record
            nothing.
        example_inputs: passed to ``to_network``.
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
    csv: Any = None
    jsonl: Any = None
    log_dir: Any = None
    plot: bool | int = False
    strict: bool = True
    example_inputs: Any = None


@dataclass
class _State:
    """What one epoch leaves for the next."""

    components: tuple[Component, ...] | None = None
    roots: tuple[Array, ...] | None = None
    classes: Array | None = None
    values: dict[str, float] = field(default_factory=dict)
    cost: float = 0.0
    follow_cost: float = 0.0
    traced: float = 0.0
    followed: float = 0.0
    spent: float = 0.0
    records: int = 0
    trained: float = 0.0


class BoundaryRecorder:
    """Records a boundary over the epochs of a training run.

    Args:
        settings: see :class:`Settings`; or give its fields as keywords.

    Raises:
        NneqError: settings that contradict each other, files that cannot be written.
        MissingDependencyError: ``log_dir`` without TensorBoard, ``plot`` without matplotlib.

    Example:
        >>> recorder = BoundaryRecorder(box=[(-3, 3), (-3, 3)])
        >>> recorder.start(model)                    # doctest: +SKIP
        >>> recorder.step(model, 0)                  # doctest: +SKIP
        {'boundary_shift': 8.48, 'boundary_components': 1.0, ...}
    """

    def __init__(self, settings: Settings | None = None, **options: Any) -> None:
        """Check the settings and open the files."""
        self.settings = settings if settings is not None else Settings(**options)
        self._check_settings()
        self._outputs: list[Output] = []
        self._state = _State()
        self._warned = False
        self._epoch_started: float | None = None
        self._slice: Slice | None = None
        self.enabled = True

    def _check_settings(self) -> None:
        s, problems = self.settings, []
        if s.box is None and s.solve_for is None:
            problems.append("nothing to record: give box= (two free inputs) or solve_for= with at=")
        if not (isinstance(s.every, int) and s.every >= 1):
            problems.append(f"every must be a whole number of epochs, at least 1, got {s.every!r}")
        if s.max_seconds is not None and not s.max_seconds > 0:
            problems.append(f"max_seconds must be positive, got {s.max_seconds!r}")
        if s.regions and s.box is None:
            problems.append("regions=True needs box=")
        pair: Any = s.between
        if not (isinstance(pair, tuple | list) and len(pair) == 2):
            problems.append(f"between must name two outputs, got {s.between!r}")
        if problems:
            raise NneqError(problems_message("these settings cannot be used", problems))

    # ------------------------------------------------------------------ the run
    def start(self, model: Any) -> None:
        """Check the model and the questions before the first epoch, and open the outputs.

        Raises:
            UnsupportedError: the model holds something nneq cannot express (``strict=True``).
            NneqError: wrong names, a box of the wrong dimension, files that cannot be written.
        """
        try:
            equations = self._read(model)
        except UnsupportedError as error:
            if self.settings.strict:
                raise
            self.enabled = False
            warnings.warn(f"the boundary is not recorded: {error}", stacklevel=2)
            return
        boundary = self._pose(equations)
        s = self.settings
        makers: list[tuple[Any, Callable[[Any], Output]]] = [
            (s.csv, CsvOutput),
            (s.jsonl, JsonLinesOutput),
            (s.log_dir, TensorBoardOutput),
        ]
        self._outputs = [make(target) for target, make in makers if target is not None]
        if MlflowOutput.active():
            self._outputs.append(MlflowOutput())
        if s.plot:
            from nneq.callbacks.pictures import require_matplotlib

            require_matplotlib()
        self._warm_up(boundary)

    def _warm_up(self, boundary: Boundary) -> None:
        """Pay for imports and compilation before the first epoch, not in it."""
        part, s = self._slice, self.settings
        budget = Budget(seconds=s.max_seconds or _WARM_UP)
        try:
            if part is not None:
                self._record_curve(boundary, part, budget, {}, {}, follow=False)
                self._record_curve(boundary, part, budget, {}, {}, follow=True)
            if s.solve_for is not None:
                self._record_roots(boundary, budget, {}, {})
            self._add_texts(boundary, 0, {})
        except Exception as error:  # noqa: BLE001  # a logger must never stop a training run
            self._warn_once(error)
        self._state = _State()

    def _read(self, model: Any) -> Equations:
        return Equations(to_network(model, example_inputs=self.settings.example_inputs))

    def _pose(self, equations: Equations) -> Boundary:
        s = self.settings
        boundary = Boundary(equations, s.between[0], s.between[1])
        frame = boundary.frame
        problems = []
        if s.box is not None:
            try:
                free = _free_names(frame, s.box)
                fixed = {k: v for k, v in (s.at or {}).items() if frame.input(k) not in free}
                self._slice = frame.slice(s.box, fixed, free=2)
            except NneqError as error:
                problems.append(str(error))
        if s.solve_for is not None:
            try:
                place = frame.input(s.solve_for)
                others = {k: v for k, v in (s.at or {}).items() if frame.input(k) != place}
                frame.fixed_lines(others, (place,))
            except NneqError as error:
                problems.append(str(error))
        if s.data is not None:
            shape = np.shape(s.data)
            if len(shape) != 2 or shape[1] != len(frame.inputs):
                problems.append(f"data must have shape (k, {len(frame.inputs)}), got {shape}")
        if s.regions and boundary.engine != "exact":
            problems.append("regions=True needs a piecewise-linear network")
        if problems:
            raise NneqError("\n".join(problems))
        return boundary

    def begin_epoch(self) -> None:
        """Say that an epoch begins, so that its time can be measured."""
        self._epoch_started = time.monotonic()

    def step(self, model: Any, epoch: int) -> dict[str, float]:
        """Record one epoch and return its numbers; the keys are the same in every epoch.

        A failure inside is warned about once; the last numbers (or NaN) are returned then.

        Args:
            model: the model as it is now.
            epoch: its number, from 0.
        """
        if not self.enabled:
            return {}
        now = time.monotonic()
        if self._epoch_started is not None:
            self._state.trained += now - self._epoch_started
        written = False
        try:
            due = self._due(epoch)
            if due is not None:
                self._record(model, epoch, follow=due == "follow")
                written = True
        except Exception as error:  # noqa: BLE001  # a logger must never stop a training run
            self._warn_once(error)
        self._state.spent += time.monotonic() - now
        self._epoch_started = time.monotonic()
        found = {key: self._state.values.get(key, math.nan) for key in self.keys}
        if not written:  # repeated numbers say nothing about this epoch
            found.update(boundary_complete=0.0, boundary_seconds=0.0)
        return found

    def _warn_once(self, error: Exception) -> None:
        if not self._warned:
            self._warned = True
            warnings.warn(
                f"recording the boundary failed ({type(error).__name__}: {error}); training goes "
                "on, the last numbers are repeated",
                stacklevel=3,
            )

    @property
    def keys(self) -> tuple[str, ...]:
        """The names of the numbers, the same in every epoch."""
        s = self.settings
        keys = ["boundary_shift", "boundary_components", "boundary_length", "boundary_roots"]
        if s.box is not None:
            keys += ["boundary_closed", "boundary_changed_area", "boundary_area_1"]
        keys.append("boundary_terms")
        if s.data is not None:
            keys += [f"boundary_margin_q{round(100 * q):02d}" for q in _QUANTILES]
        if s.regions:
            keys.append("boundary_regions")
        keys += ["boundary_complete", "boundary_seconds"]
        return tuple(keys)

    def close(self) -> None:
        """Close the files."""
        for output in self._outputs:
            output.close()
        self._outputs = []

    # ------------------------------------------------------------------ the budget
    def _due(self, epoch: int) -> Literal["trace", "follow"] | None:
        """What there is time for: a proven record, the last curve moved along, or nothing.

        Each has a purse of its own, so that following never eats up what a trace is saved for.
        """
        state = self._state
        if epoch % self.settings.every:
            return None
        if not state.values or self.settings.max_seconds is not None:
            return "trace"
        if self._allowance() >= state.cost:
            return "trace"
        if state.components and _FOLLOWED * state.trained - state.followed >= state.follow_cost:
            return "follow"
        return None

    def _allowance(self) -> float:
        """Seconds a trace may take in this epoch."""
        if self.settings.max_seconds is not None:
            return self.settings.max_seconds
        return _TRACED * self._state.trained - self._state.traced

    def _budget(self) -> Budget:
        if self.settings.max_seconds is not None:
            return Budget(seconds=self.settings.max_seconds)
        if not self._state.values:
            return Budget(seconds=10.0)  # the first record is always made
        return Budget(seconds=max(self._allowance(), self._state.cost, 1e-3))

    @property
    def share_of_time(self) -> float:
        """The recorder's share of the time spent training so far (0 before the first epoch)."""
        return self._state.spent / self._state.trained if self._state.trained else 0.0

    @property
    def records(self) -> int:
        """The number of epochs traced so far (not those that followed or repeated the last)."""
        return self._state.records

    # ------------------------------------------------------------------ one record
    def _record(self, model: Any, epoch: int, *, follow: bool) -> None:
        started = time.monotonic()
        budget = self._budget()
        boundary = self._pose(self._read(model))
        values = {key: self._state.values.get(key, math.nan) for key in self.keys}
        record: dict[str, Any] = {"between": list(self.settings.between), "followed": follow}
        complete = not follow
        if self._slice is not None:
            complete &= self._record_curve(boundary, self._slice, budget, values, record, follow)
        if self.settings.solve_for is not None and not follow:
            complete &= self._record_roots(boundary, budget, values, record)
        values["boundary_terms"] = float(_terms(boundary))
        values["boundary_complete"] = float(complete)
        self._add_texts(boundary, epoch, record)
        cost = time.monotonic() - started
        values["boundary_seconds"] = cost
        self._state.values = values
        if follow:
            self._state.follow_cost = cost
            self._state.followed += cost
        else:
            self._state.cost = cost
            self._state.traced += cost
            self._state.records += 1
        for output in self._outputs:
            output.write(
                epoch,
                values,
                record if isinstance(output, TensorBoardOutput) else _json_part(record),
            )

    def _record_curve(
        self,
        boundary: Boundary,
        part: Slice,
        budget: Budget,
        values: dict[str, float],
        record: dict[str, Any],
        follow: bool,
    ) -> bool:
        fixed = dict(zip(boundary.frame.inputs, part.origin.tolist(), strict=True))
        fixed = {k: v for k, v in fixed.items() if k not in part.names}
        intervals = dict(
            zip(part.names, zip(part.box.low, part.box.high, strict=True), strict=True)
        )
        state, size = self._state, measures.diagonal(part.box)
        before = state.components
        if follow:
            moved = followed(boundary.problem.network, part, before or ())
            curve = Curve(moved, (part.names[0], part.names[1]), part.box, complete=False)
        else:
            curve = boundary.trace(intervals, fixed, budget=budget)
        values["boundary_components"] = float(len(curve.components))
        values["boundary_closed"] = float(sum(c.closed for c in curve.components))
        values["boundary_length"] = curve.length
        values["boundary_shift"] = (
            size if before is None else measures.hausdorff(before, curve.components, part.box)
        )
        happened = {} if before is None else measures.events(before, curve.components, part.box)
        classes = self._classes(boundary, part)
        values["boundary_changed_area"] = measures.changed_share(state.classes, classes)
        values["boundary_area_1"] = float((classes == 0).mean())
        areas = np.bincount(classes, minlength=2) / classes.size
        if self.settings.data is not None:
            self._record_margins(boundary, part, curve, values)
        if self.settings.regions and not follow:
            found = boundary.regions(intervals, fixed, budget=budget)
            values["boundary_regions"] = float(len(found.regions)) if found.complete else math.nan
        state.components, state.classes = curve.components, classes
        record["curve"] = [
            {"closed": c.closed, "points": c.points.tolist()} for c in curve.components
        ]
        record["box"] = [list(part.box.low), list(part.box.high)]
        record["names"] = list(part.names)
        record["areas"] = areas.tolist()
        record["events"] = happened
        return curve.complete

    def _classes(self, boundary: Boundary, part: Slice) -> Array:
        grid = measures.grid_points(part.box, _GRID)
        points = part.origin + grid @ part.directions.T
        outputs = boundary.equations(points)
        if isinstance(boundary.second, str):
            return np.asarray(outputs.argmax(axis=1))
        place = boundary.frame.output(boundary.first)
        return np.asarray(outputs[:, place] < boundary.second).astype(int)

    def _record_margins(
        self, boundary: Boundary, part: Slice, curve: Curve, values: dict[str, float]
    ) -> None:
        """Distances of the data to the curve; in more than two inputs, first order."""
        data = np.asarray(self.settings.data, dtype=np.float64)
        if data.shape[1] == 2:
            distances = measures.point_distances(data, curve.components, part.box)
        else:
            from nneq.semantics.gradient import value_and_gradient

            g, gradient = value_and_gradient(boundary.problem.network, data)
            with np.errstate(all="ignore"):
                distances = np.abs(g) / np.linalg.norm(gradient, axis=1)
        for q in _QUANTILES:
            key = f"boundary_margin_q{round(100 * q):02d}"
            values[key] = float(np.quantile(distances, q))

    def _record_roots(
        self,
        boundary: Boundary,
        budget: Budget,
        values: dict[str, float],
        record: dict[str, Any],
    ) -> bool:
        s = self.settings
        place = boundary.frame.input(str(s.solve_for))
        fixed = {k: v for k, v in (s.at or {}).items() if boundary.frame.input(k) != place}
        found = boundary.solve(str(s.solve_for), fixed, s.domain, budget=budget)
        lines: Sequence[Solutions] = found if isinstance(found, list) else [found]
        roots = tuple(line.values for line in lines)
        values["boundary_roots"] = float(sum(len(line) for line in lines))
        if s.box is None:
            values["boundary_shift"] = _root_shift(self._state.roots, roots)
        self._state.roots = roots
        record["roots"] = [line.values.tolist() for line in lines]
        return all(line.complete for line in lines)

    def _add_texts(self, boundary: Boundary, epoch: int, record: dict[str, Any]) -> None:
        equations = boundary.equations
        weights = equations.network.parameter_count
        if weights <= _TEXT_WEIGHTS:
            record["text"] = str(equations)
        if weights <= _STORED_WEIGHTS and self.settings.jsonl is not None:
            record["equations"] = equations.to_dict()
        every = int(self.settings.plot)
        if (
            every
            and self._slice is not None
            and epoch % every == 0
            and self._state.components is not None
        ):
            from nneq.callbacks.pictures import png_of

            part = self._slice
            lines = [(c.points, c.closed) for c in self._state.components]
            box = (part.box.low, part.box.high)
            record["png"] = png_of(lines, box, part.names, f"epoch {epoch}")


def _json_part(record: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in record.items() if key != "png"}


def _free_names(frame: Any, box: BoxLike) -> set[int]:
    if isinstance(box, Mapping):
        return {frame.input(name) for name, (low, high) in box.items() if low != high}
    return set(range(len(frame.inputs)))


def _terms(boundary: Boundary) -> int:
    """Return the number of terms of the layered system without weights that are 0."""
    count = 0
    for node in boundary.problem.network.nodes:
        for term in getattr(node, "terms", ()):
            count += sum(int(np.count_nonzero(array)) for array in term.map.parameters)
        bias = getattr(node, "bias", None)
        count += 0 if bias is None else int(np.count_nonzero(bias))
    return count


def _root_shift(old: tuple[Array, ...] | None, new: tuple[Array, ...]) -> float:
    """Return the largest distance between the old and the new solutions of a line.

    inf where there is no earlier epoch, or a line gained its first or lost its last solution.
    """
    if old is None:
        return math.inf
    shift = 0.0
    for before, after in zip(old, new, strict=True):
        if not before.size and not after.size:
            continue
        if not before.size or not after.size:
            return math.inf
        gaps = np.abs(before[:, None] - after[None, :])
        shift = max(shift, float(gaps.min(axis=0).max()), float(gaps.min(axis=1).max()))
    return shift
