"""All linear regions in three to six inputs as a table of cells."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any, overload

import numpy as np

from nneq.boundary.problem import Problem
from nneq.boundary.pwl.complexes import (
    Complex,
    affine_batch,
    boundary_polytopes,
    build,
    certificate_of,
    incidence,
)
from nneq.boundary.pwl.exactcells import exact_regions, exact_seconds, worth_repeating
from nneq.boundary.pwl.forms import BoundaryPiece
from nneq.boundary.pwl.magnitude import WORDS, in_range
from nneq.boundary.pwl.regions2d import too_many
from nneq.boundary.pwl.surface import ordered
from nneq.boundary.pwl.walk import Program
from nneq.boundary.results import Box, Clock, PiecewiseBoundary, Region, Status
from nneq.ir import network as ir
from nneq.semantics.pattern import affine_piece

__all__ = ["CellTable", "enumerate_cells"]

Array = np.ndarray[Any, Any]


class CellTable(Sequence[Region]):
    """Cells as a sequence; a :class:`Region` is made when it is asked for."""

    def __init__(
        self,
        found: Complex,
        program: Program,
        slice_of: tuple[Array, Array],
        bits: Program,
        cells: tuple[Array, Array, Array] | None = None,
    ) -> None:
        """Wrap the complex; ``bits`` is the network whose pattern is shown."""
        self.complex = found
        self._program, self._slice, self._bits = program, slice_of, bits
        self.hashes, self.ptr, self.members = cells or incidence(found)

    def of_full_dimension(self) -> CellTable:
        """Return the table without flat cells, which zeros counted as positive can leave."""
        d = self.complex.points.shape[1]
        keep = []
        size = float(np.abs(self.complex.points).max())
        for k in range(len(self)):
            corners = self.corners(k)
            widths = np.linalg.svd(corners - corners.mean(axis=0), compute_uv=False)
            keep.append(len(widths) >= d and widths[d - 1] > 1e-10 * size)
        kept = np.nonzero(keep)[0]
        parts = [self.members[self.ptr[k] : self.ptr[k + 1]] for k in kept]
        cells = (
            self.hashes[kept],
            np.concatenate([[0], np.cumsum([len(part) for part in parts])]).astype(np.int64),
            np.concatenate(parts or [self.members[:0]]),
        )
        return CellTable(self.complex, self._program, self._slice, self._bits, cells)

    def ties(self, row: int = 0) -> list[int]:
        """Return the cells on which output ``row`` is 0 within its error at every vertex."""
        zero = np.abs(self.complex.outputs[:, row]) <= self.complex.errors[:, row]
        if not zero.any() or not len(self):
            return []
        return np.nonzero(np.logical_and.reduceat(zero[self.members], self.ptr[:-1]))[0].tolist()

    def __len__(self) -> int:
        return len(self.hashes)

    def corners(self, k: int) -> Array:
        """Return the vertices of cell ``k``, shape ``(n, d)``."""
        return np.asarray(self.complex.points[self.members[self.ptr[k] : self.ptr[k + 1]]])

    @property
    def centers(self) -> Array:
        """The mean of the vertices of every cell, shape ``(R, d)``; inside the cell."""
        sums = np.add.reduceat(self.complex.points[self.members], self.ptr[:-1])
        return np.asarray(sums / np.diff(self.ptr)[:, None])

    @overload
    def __getitem__(self, index: int) -> Region: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Region]: ...
    def __getitem__(self, index: int | slice) -> Region | Sequence[Region]:
        if isinstance(index, slice):
            return [self[k] for k in range(*index.indices(len(self)))]
        if not -len(self) <= index < len(self):
            msg = f"there are {len(self)} regions"
            raise IndexError(msg)
        corners = self.corners(index % len(self))
        inside = corners.mean(axis=0)
        forms = affine_batch(self._program, self._slice, inside[None])[0]
        pattern = _pattern(self._bits, self._slice, inside)
        return Region(pattern, corners, forms[:, :-1], forms[:, -1])

    def __iter__(self) -> Iterator[Region]:
        return (self[k] for k in range(len(self)))


def _pattern(program: Program, slice_of: tuple[Array, Array], point: Array) -> bytes:
    return affine_piece(program.network, slice_of[0] + slice_of[1] @ point).pattern


def enumerate_cells(
    question: Problem | ir.Network,
    origin: Array,
    directions: Array,
    box: Box,
    *,
    names: Sequence[str],
    clock: Clock,
    limit: float,
    exact: bool = False,
    outputs: ir.Network | None = None,
    progress: Callable[[float], None] | None = None,
) -> PiecewiseBoundary:
    """Return the regions of 3 to 6 free inputs; see :func:`enumerate_regions`.

    Where a sign is within its rounding error, everything is repeated in rational arithmetic.
    """
    problem = question if isinstance(question, Problem) else None
    program = Program(problem.network if problem is not None else question)  # type: ignore[arg-type]
    slice_of = (origin, directions)
    shown = Program(outputs) if outputs is not None else program
    fits = in_range(program, slice_of, box)

    def rational() -> PiecewiseBoundary | None:
        return exact_regions(
            program, slice_of, box, names=tuple(names), boundary=problem is not None, shown=shown,
            clock=clock, limit=limit, asked=exact or fits, progress=progress,
        )  # fmt: skip

    answer = None
    status = Status.BUDGET
    try:
        if exact or not fits:
            answer = rational()
        else:
            answer = _in_floats(
                program, problem, shown, slice_of, box, tuple(names), clock, limit, progress
            )
            regions = 0 if answer is None else len(answer.regions)
            if answer is None or answer.complete:
                pass
            elif worth_repeating(regions, program, len(box.low), clock):
                answer = rational() or dataclasses.replace(answer, status=status)
            elif clock.over:
                answer = dataclasses.replace(answer, status=status)
            else:
                need = exact_seconds(regions, program, len(box.low))
                stats = {**answer.stats, "seconds an exact repetition needs (rough)": need}
                answer = dataclasses.replace(answer, stats=stats)
    except KeyboardInterrupt:
        status = Status.INTERRUPTED
        if answer is not None:
            answer = dataclasses.replace(answer, status=status)
    if answer is None:
        stats = {"regions": 0, "engine": "none finished", "seconds": clock.seconds}
        if not (fits or exact or clock.over or status is Status.INTERRUPTED):
            status, stats = Status.UNDECIDED, {**stats, "words": WORDS}
        return PiecewiseBoundary(
            (), (), (), tuple(names), box, complete=False, undecided=(box,), status=status,
            stats=stats,
        )  # fmt: skip
    return answer


def _in_floats(
    program: Program,
    problem: Problem | None,
    shown: Program,
    slice_of: tuple[Array, Array],
    box: Box,
    names: tuple[str, ...],
    clock: Clock,
    limit: float,
    progress: Callable[[float], None] | None,
) -> PiecewiseBoundary | None:
    """Return what edge subdivision finds, complete only where every sign is certain."""
    found = build(program, slice_of, box, clock=clock, limit=limit, progress=progress)
    if found is None:
        return None
    table = CellTable(found, shown, slice_of, program)
    pieces: tuple[BoundaryPiece, ...] = ()
    if problem is not None:
        points, groups = boundary_polytopes(found)
        if groups:
            middle = np.array([points[group].mean(axis=0) for group in groups])
            forms = affine_batch(program, slice_of, middle)[:, 0]
            if len(box.low) == 3:
                groups = [
                    group[ordered(points[group], form[:3])]
                    for form, group in zip(forms, groups, strict=True)
                ]
            pieces = tuple(
                BoundaryPiece(names, tuple(float(v) for v in form), points[group])
                for form, group in zip(forms, groups, strict=True)
            )
    ties: tuple[Region, ...] = ()
    doubtful: list[Box] = []
    if not (found.sound and found.margin > 1):
        table = table.of_full_dimension()
    elif len(table) > limit:
        raise too_many(len(table), limit, len(box.low))
    if problem is not None:
        ties = tuple(table[k] for k in table.ties())
    proven = found.sound and found.margin > 1
    if problem is not None:
        near = np.nonzero(np.abs(found.outputs[:, 0]) <= found.errors[:, 0])[0]
        doubtful = [Box(tuple(found.points[k]), tuple(found.points[k])) for k in near[:100]]
    complete = proven and not doubtful
    return PiecewiseBoundary(
        regions=table,
        pieces=pieces,
        ties=ties,
        names=names,
        box=box,
        complete=complete,
        undecided=tuple(doubtful) if proven else (box,),
        status=Status.COMPLETE if complete else Status.UNDECIDED,
        stats={
            "regions": len(table),
            "pieces": len(pieces),
            "vertices": len(found.points),
            "edges": len(found.edges),
            "smallest margin": found.margin,
            "engine": "edge subdivision",
            "seconds": clock.seconds,
            **(_euler(found, len(table)) if proven else {}),
        },
        certificate=certificate_of(found),
    )


def _euler(found: Complex, cells: int) -> dict[str, int]:
    """Return the Euler characteristic in 3-D (faces counted by their hashes)."""
    if found.points.shape[1] != 3:
        return {}
    hashes = []
    for k in range(found.edge_tight.shape[1]):
        q = found.edge_tight[:, k]
        hashes.append(found.edge_hashes + found.keys[q])
        inner = q >= 6
        hashes.append((found.edge_hashes - found.keys[q])[inner])
    faces = len(np.unique(np.concatenate(hashes)))
    return {"euler": len(found.points) - len(found.edges) + faces - cells}
