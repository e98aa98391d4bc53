"""Regions and boundary pieces of three to six inputs in rational arithmetic, as results."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, overload

import numpy as np

from nneq.boundary.pwl.forms import BoundaryPiece
from nneq.boundary.pwl.magnitude import coefficients, rounded
from nneq.boundary.pwl.polytopes import Arrangement, exact_arrangement
from nneq.boundary.pwl.walk import Program
from nneq.boundary.pwl.zerosets import ZeroSet, exact_forms, zero_set
from nneq.boundary.results import Box, Clock, Exact, PiecewiseBoundary, Region, Surface
from nneq.semantics.rational import ExactWeights

__all__ = ["ExactTable", "exact_regions", "exact_seconds", "exact_surface", "worth_repeating"]

Array = np.ndarray[Any, Any]
Progress = Callable[[float], None] | None
_BATCH = 256
_ENGINE = "rational polytopes"
# Without a budget, a repetition in rational arithmetic may take about this long.
_PATIENCE = 60.0


def exact_seconds(regions: int, program: Program, d: int) -> float:
    """Return about how long the regions take in rational arithmetic (measured, rough)."""
    return regions * (2.5e-4 * 2.2 ** max(d - 4, 0) + 1e-7 * program.work)


def worth_repeating(regions: int, program: Program, d: int, clock: Clock) -> bool:
    """Whether the regions in doubt can be enumerated again in rational arithmetic."""
    if clock.over:
        return False
    left = clock.budget.seconds - clock.seconds
    need = exact_seconds(regions, program, d)
    return need <= (left if np.isfinite(left) else _PATIENCE)


def _affordable(program: Program, d: int, clock: Clock, *, asked: bool) -> float:
    """Return how many regions are worth the time: all of them where they were asked for."""
    if asked or np.isfinite(clock.budget.seconds):
        return np.inf
    return _PATIENCE / exact_seconds(1, program, d)


class ExactTable(Sequence[Region]):
    """Exact regions as a sequence; a :class:`Region` is made when it is asked for.

    Args:
        found: the regions.
        shown: the network whose outputs ``W x + b`` describes.
        slice_of: origin and directions.
        numbers: which of the regions; all when None.
    """

    def __init__(
        self,
        found: Arrangement,
        shown: Program,
        slice_of: tuple[Array, Array],
        numbers: Sequence[int] | None = None,
    ) -> None:
        """Wrap the regions."""
        self.found = found
        self.numbers = range(len(found.cells)) if numbers is None else numbers
        self._shown, self._slice = shown, slice_of
        self._coordinates = found.coordinates
        self._weights = ExactWeights()

    def __len__(self) -> int:
        return len(self.numbers)

    def _made(self, numbers: Sequence[int]) -> list[Region]:
        found = self.found
        inside = [found.middle(k) for k in numbers]
        rows = exact_forms(self._shown, self._slice, inside, self._weights)
        regions = []
        for k, forms in zip(numbers, rows, strict=True):
            table = np.array([[rounded(v) for v in form] for form in forms])
            corners = self._coordinates[list(found.cells[k])]
            regions.append(Region(found.patterns[k], corners, table[:, :-1], table[:, -1]))
        return regions

    @overload
    def __getitem__(self, index: int) -> Region: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Region]: ...
    def __getitem__(self, index: int | slice) -> Region | Sequence[Region]:
        if isinstance(index, slice):
            return self._made(self.numbers[index])
        if not -len(self) <= index < len(self):
            msg = f"there are {len(self)} regions"
            raise IndexError(msg)
        return self._made([self.numbers[index]])[0]

    def __iter__(self) -> Iterator[Region]:
        for start in range(0, len(self), _BATCH):
            yield from self._made(self.numbers[start : start + _BATCH])


def _coordinates(points: Sequence[tuple[int, ...]]) -> Array:
    return np.array([[v / p[-1] for v in p[:-1]] for p in points])


def _pieces(
    found: Arrangement,
    zeros: ZeroSet,
    program: Program,
    slice_of: tuple[Array, Array],
    names: tuple[str, ...],
) -> tuple[BoundaryPiece, ...]:
    """Return the pieces with their exact equations."""
    coordinates = _coordinates(zeros.points)
    inside = [found.middle(k) for k in zeros.cells]
    forms = [row[0] for row in exact_forms(program, slice_of, inside)] if inside else []
    pieces = []
    for around, cell, inner, form in zip(
        zeros.pieces, zeros.cells, zeros.inner, forms, strict=True
    ):
        if not inner:
            # The regions on both sides have different multiples of one equation.
            lead = next(v for v in form if v)
            form = tuple(v / lead for v in form)
        pieces.append(
            BoundaryPiece(
                names,
                coefficients(form),
                coordinates[list(around)],
                form,
                cell if inner else -1,
            )
        )
    return tuple(pieces)


def exact_regions(
    program: Program,
    slice_of: tuple[Array, Array],
    box: Box,
    *,
    names: tuple[str, ...],
    boundary: bool,
    shown: Program,
    clock: Clock,
    limit: float,
    asked: bool = True,
    progress: Progress = None,
) -> PiecewiseBoundary | None:
    """Return the regions and the boundary's pieces, or None when the budget ended it.

    Args:
        program: the prepared network; its first output is ``g``.
        slice_of: ``origin`` ``(n,)`` and ``directions`` ``(n, d)``.
        box: of ``d`` sides.
        names: of the ``d`` free inputs.
        boundary: whether ``g = 0`` is asked for; else only the regions.
        shown: the network whose outputs ``Region.W`` and ``Region.b`` describe.
        clock: the budget.
        limit: the largest number of regions.
        asked: rational arithmetic was asked for, so that it may take its time.
        progress: called with the share that is done.

    Raises:
        NneqError: when there are more regions than the limit.

    Guarantee: exact.
    """
    afford = _affordable(program, len(box.low), clock, asked=asked)
    whole = exact_arrangement(
        program, slice_of, box, clock=clock, limit=limit, afford=afford, progress=progress
    )
    if whole is None:
        return None
    found = whole[0]
    pieces: tuple[BoundaryPiece, ...] = ()
    ties: tuple[Region, ...] = ()
    isolated: tuple[Array, ...] = ()
    if boundary:
        zeros = zero_set(found)
        pieces = _pieces(found, zeros, program, slice_of, names)
        ties = tuple(ExactTable(found, shown, slice_of, zeros.ties))
        isolated = tuple(_coordinates([zeros.points[v] for v in face]) for face in zeros.isolated)
    return PiecewiseBoundary(
        regions=ExactTable(found, shown, slice_of),
        pieces=pieces,
        ties=ties,
        names=names,
        box=box,
        complete=True,
        stats={
            "regions": len(found.cells),
            "pieces": len(pieces),
            "vertices": len(found.points),
            "engine": _ENGINE,
            "seconds": clock.seconds,
        },
        certificate=Exact("rational arithmetic"),
        isolated=isolated,
    )


def exact_surface(
    program: Program,
    slice_of: tuple[Array, Array],
    box: Box,
    *,
    names: tuple[str, str, str],
    rivals: Program | None,
    clock: Clock,
    limit: float,
    asked: bool = True,
    progress: Progress = None,
) -> Surface | None:
    """Return the facets of ``g = 0`` in three inputs, or None when the budget ended it.

    Args:
        program: the prepared network; its first output is ``g``.
        slice_of: ``origin`` ``(n,)`` and ``directions`` ``(n, 3)``.
        box: of three sides.
        names: of the free inputs.
        rivals: what must not be negative on the boundary; None: everything is kept.
        clock: the budget.
        limit: the largest number of regions.
        asked: rational arithmetic was asked for, so that it may take its time.
        progress: called with the share that is done.

    Raises:
        NneqError: when there are more regions than the limit.

    Guarantee: exact; vertices are rounded to float64 at the end.
    """
    whole = exact_arrangement(
        program, slice_of, box, clock=clock, limit=limit, rivals=rivals, progress=progress,
        afford=_affordable(program, 3, clock, asked=asked),
    )  # fmt: skip
    if whole is None:
        return None
    found, others = whole
    zeros = zero_set(found, others=others)
    coordinates = _coordinates(zeros.points)
    used = sorted({v for around in zeros.pieces for v in around})
    place = {v: k for k, v in enumerate(used)}
    rings = [[place[v] for v in around] for around in zeros.pieces]
    faces = [(r[0], r[k], r[k + 1]) for r in rings for k in range(1, len(r) - 1)]
    words = "complete: every linear region of the box was examined in rational arithmetic"
    if zeros.ties:
        words += f"; the outputs are equal everywhere in {len(zeros.ties)} regions (.ties)"
    if zeros.isolated:
        words += f"; {len(zeros.isolated)} zeros are single points or edges (.isolated)"
    if rivals is not None:
        words += "; only the parts where no other output is larger"
    return Surface(
        vertices=coordinates[used],
        faces=np.array(faces, dtype=np.int64).reshape(-1, 3),
        names=names,
        box=box,
        complete=True,
        stats={
            "facets": len(rings),
            "vertices": len(used),
            "regions": len(found.cells),
            "engine": _ENGINE,
            "seconds": clock.seconds,
        },
        certificate=Exact("rational arithmetic"),
        words=words,
        polygons=tuple(coordinates[list(around)] for around in zeros.pieces),
        ties=tuple(coordinates[list(found.cells[k])] for k in zeros.ties),
        isolated=tuple(coordinates[list(face)] for face in zeros.isolated),
    )
