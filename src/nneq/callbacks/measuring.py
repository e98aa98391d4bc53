"""One epoch measured: the numbers and the record of a boundary, against the epoch before."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from nneq.api.boundary import Boundary
from nneq.api.engines import Call, started
from nneq.api.equations import Equations
from nneq.api.framing import BoxLike, Slice
from nneq.boundary.results import Budget, Component, Solutions, Status
from nneq.boundary.smooth.partition import Memory
from nneq.callbacks import measures
from nneq.callbacks.section import CELLS, Section, cell_points
from nneq.callbacks.settings import Settings
from nneq.callbacks.sketch import agrees, sketched
from nneq.errors import NneqError

__all__ = ["Measurer", "keys_of"]

Array = np.ndarray[Any, Any]

_SPREAD = 61  # every so many cells: 152 of them, all over the box
_QUANTILES = (0.05, 0.5, 0.95)


def keys_of(settings: Settings) -> tuple[str, ...]:
    """Return the names of the numbers; they depend on the settings only."""
    keys = ["boundary_shift", "boundary_components", "boundary_length", "boundary_roots"]
    if settings.box is not None:
        keys += ["boundary_closed", "boundary_changed_area", "boundary_area_1"]
    keys.append("boundary_terms")
    if settings.data is not None:
        keys += [_margin_key(q) for q in _QUANTILES]
    if settings.regions:
        keys.append("boundary_regions")
    keys += ["boundary_complete", "boundary_seconds", "boundary_share"]
    return tuple(keys)


def _margin_key(quantile: float) -> str:
    return f"boundary_margin_q{round(100 * quantile):02d}"


class Measurer:
    """Measures one boundary after another and knows the one before.

    ``components`` is the curve measured last; ``seen`` is this epoch's, empty if not measured.

    Args:
        settings: what is measured.
    """

    def __init__(self, settings: Settings) -> None:
        """Begin without an earlier epoch."""
        self.settings = settings
        self.slice: Slice | None = None
        self.forget()

    def forget(self) -> None:
        """Leave the earlier epochs behind."""
        self.components: tuple[Component, ...] | None = None
        self.outline: measures.Outline | None = None
        self.classes: Array | None = None
        self.class_names: tuple[str, ...] = ()
        self.seen: tuple[Component, ...] = ()
        self._values: Array | None = None
        self._trusted = True
        self._memory = Memory()
        self._roots: tuple[Array, ...] | None = None

    def pose(self, equations: Equations) -> Boundary:
        """Put the settings' questions to one model.

        Raises:
            NneqError: wrong names, a box of the wrong dimension, data of the wrong shape.
        """
        s = self.settings
        if equations.network.output_size == 1 and isinstance(s.between[1], str):
            msg = (
                "the model has one output, so there is no second one to set equal to it; give a "
                'level instead: between=("z_1", 0.5)'
            )
            raise NneqError(msg)
        boundary = Boundary(equations, s.between[0], s.between[1])
        frame = boundary.frame
        problems = []
        if s.box is not None:
            try:
                free = _free_names(frame, s.box)
                fixed = {k: v for k, v in (s.at or {}).items() if frame.input(k) not in free}
                self.slice = frame.slice(s.box, fixed, free=2)
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
            if len(shape) != 2 or not shape[0] or shape[1] != len(frame.inputs):
                problems.append(f"data must have shape (k, {len(frame.inputs)}), got {shape}")
            elif not np.isfinite(np.asarray(s.data, dtype=np.float64)).all():
                problems.append("data must be finite numbers; it holds NaN or infinity")
        if s.regions and boundary.engine != "exact":
            problems.append("regions=True needs a piecewise-linear network")
        if problems:
            raise NneqError("\n".join(problems))
        return boundary

    def measure(
        self,
        boundary: Boundary,
        budget: Budget,
        values: dict[str, float],
        record: dict[str, Any],
        *,
        sketch: bool,
        must: bool = False,
    ) -> tuple[bool, bool]:
        """Fill in the numbers and the record of one epoch; return whether it is proven, and traced.

        Args:
            boundary: the question, of this epoch's model.
            budget: what each proven answer may take.
            values: the numbers, to be filled in; NaN where something was not measured.
            record: curve, areas, events and solutions, to be filled in.
            sketch: read the curve off the grid instead of tracing, and prove nothing.
            must: what cannot be read off the grid is traced or solved after all.

        Raises:
            KeyboardInterrupt: Ctrl-C came while an answer was computed.
        """
        complete, traced = not sketch, not sketch
        if self.slice is not None:
            complete, traced = self._curve(
                boundary, self.slice, budget, values, record, sketch=sketch, must=must
            )
        if self.settings.solve_for is not None:
            values["boundary_roots"] = math.nan
            if traced or must:
                complete &= self._solutions(boundary, budget, values, record)
        values["boundary_terms"] = float(_terms(boundary))
        return complete, traced

    def _curve(
        self,
        boundary: Boundary,
        part: Slice,
        budget: Budget,
        values: dict[str, float],
        record: dict[str, Any],
        *,
        sketch: bool,
        must: bool,
    ) -> tuple[bool, bool]:
        """Measure the curve and the areas; return whether the curve is proven, and traced."""
        fixed = dict(zip(boundary.frame.inputs, part.origin.tolist(), strict=True))
        fixed = {k: v for k, v in fixed.items() if k not in part.names}
        ends = zip(part.box.low, part.box.high, strict=True)
        intervals = dict(zip(part.names, ends, strict=True))
        section = Section(boundary.problem.network, part)
        grid = section.grid()
        classes, count = self._classes(boundary, part, grid)
        found: tuple[Component, ...] | None = None
        proven = traced = False
        if sketch and self._trusted:
            still = self._values is not None and np.array_equal(grid, self._values)
            found = self.components if still else _seen(section, grid)
        if not sketch or (found is None and must):
            call = Call(boundary.problem, started(budget), memory=self._memory)
            curve = _finished(call.plane(part))
            proven, traced, seen = bool(curve.complete), True, _seen(section, grid)
            if curve.status is Status.BUDGET:  # half a curve has no length and no shift
                found = seen if self._trusted else None
            else:
                self._trusted, found = agrees(seen, curve.components), curve.components
        self._numbers(part, found, values, record)
        values["boundary_changed_area"] = measures.changed_share(self.classes, classes)
        areas = np.bincount(classes, minlength=count) / classes.size
        values["boundary_area_1"] = float(areas[0])
        if self.settings.data is not None:
            self._margins(boundary, found is not None, values)
        if self.settings.regions:
            values["boundary_regions"] = math.nan
            if traced:
                cells = _finished(boundary.regions(intervals, fixed, budget=budget))
                values["boundary_regions"] = (
                    float(len(cells.regions)) if cells.complete else math.nan
                )
        self.classes, self._values = classes, None if found is None else grid
        record["areas"] = areas.tolist()
        return proven, traced

    def _numbers(
        self,
        part: Slice,
        found: tuple[Component, ...] | None,
        values: dict[str, float],
        record: dict[str, Any],
    ) -> None:
        """Fill in what is said about the curve; NaN for one that was not measured."""
        before, nan = self.outline, math.nan
        self.seen = found or ()
        values.update(
            boundary_components=nan if found is None else float(len(found)),
            boundary_closed=nan if found is None else float(sum(c.closed for c in found)),
            boundary_length=nan if found is None else float(sum(c.length for c in found)),
            boundary_shift=nan,
        )
        record["events"] = {}
        if found is not None:
            values["boundary_shift"] = measures.diagonal(part.box)
            now = self.outline if found is self.components else None
            now = measures.Outline(found, part.box) if now is None else now
            if before is not None:
                moved = measures.move(before, now)
                values["boundary_shift"], record["events"] = moved.shift, moved.events
            self.components, self.outline = found, now
        record["curve"] = [{"closed": c.closed, "points": c.points.tolist()} for c in self.seen]
        record["box"] = [list(part.box.low), list(part.box.high)]
        record["names"] = list(part.names)

    def _classes(self, boundary: Boundary, part: Slice, grid: Array) -> tuple[Array, int]:
        """Return the class of every cell of the grid, and the number of classes."""
        inner = grid[1:-1, 1:-1].ravel()
        level, count = not isinstance(boundary.second, str), len(boundary.frame.outputs)
        # the sign of g says it where there are two; two infinite outputs have g = 0
        scores = boundary.equations(cell_points(part, _SPREAD if level or count == 2 else 1))
        finite = np.isfinite(scores).all() and np.isfinite(grid).all()
        self.class_names = tuple(boundary.frame.outputs)
        if level:
            classes, count = (inner < 0).astype(int), 2
            self.class_names = tuple(
                f"{boundary.first} {sign} {boundary.second:g}" for sign in (">=", "<")
            )
        elif count == 2:
            first = boundary.frame.output(boundary.first)
            classes = np.where(inner > 0, first, np.where(inner < 0, 1 - first, 0))
        else:
            classes = np.asarray(scores.argmax(axis=1))
        if not finite:
            msg = "an output is not a finite number in the box; the weights may have exploded"
            raise NneqError(msg)
        return classes, count

    def _margins(
        self,
        boundary: Boundary,
        measured: bool,
        values: dict[str, float],
    ) -> None:
        """Distances of the data to the curve; in more than two inputs, first order."""
        data = np.asarray(self.settings.data, dtype=np.float64)
        if data.shape[1] == 2:
            if not measured or self.outline is None:
                values.update((_margin_key(q), math.nan) for q in _QUANTILES)
                return
            distances = measures.point_distances(data, self.outline)
        else:
            from nneq.semantics.gradient import value_and_gradient

            g, gradient = value_and_gradient(boundary.problem.network, data)
            distances = np.abs(g) / np.linalg.norm(gradient, axis=1)
        distances = np.where(np.isnan(distances), np.inf, distances)
        exact = bool(np.isfinite(distances).all())
        for q in _QUANTILES:
            if exact:
                values[_margin_key(q)] = float(np.quantile(distances, q))
            else:  # no value lies between a number and inf
                values[_margin_key(q)] = float(np.quantile(distances, q, method="higher"))

    def _solutions(
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
        roots = tuple(_finished(line).values for line in lines)
        values["boundary_roots"] = float(sum(len(line) for line in lines))
        cut_off = any(line.status is Status.BUDGET for line in lines)
        if s.box is None:  # solutions that were not found yet have not moved
            values["boundary_shift"] = math.nan if cut_off else _root_shift(self._roots, roots)
        if not cut_off or self._roots is None:
            self._roots = roots
        record["roots"] = [line.values.tolist() for line in lines]
        return all(line.complete for line in lines)


def _seen(section: Section, grid: Array) -> tuple[Component, ...] | None:
    """Return the curve read off the grid; where that is too coarse, off one twice as fine."""
    found = sketched(section, grid)
    if found is None:
        finer = Section(section.network, section.part, 2 * CELLS)
        found = sketched(finer, finer.grid())
    return found


def _finished(result: Any) -> Any:
    """Return a result; the engines end well on Ctrl-C, but it was meant for the training."""
    if result.status is Status.INTERRUPTED:
        raise KeyboardInterrupt
    return result


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
