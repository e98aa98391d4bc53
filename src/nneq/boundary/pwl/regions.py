"""All linear regions in a box of two to six inputs, with the boundary's pieces."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, overload

import numpy as np

from nneq.boundary.problem import Problem
from nneq.boundary.pwl.arrange import exact_boundary, float_boundary
from nneq.boundary.pwl.exact2d import ExactCell
from nneq.boundary.pwl.forms import BoundaryPiece
from nneq.boundary.pwl.magnitude import WORDS, coefficients, in_range, rounded
from nneq.boundary.pwl.planes import Cells
from nneq.boundary.pwl.regions2d import cells_of_exact, exact_plane, plane_cells
from nneq.boundary.pwl.walk import Program
from nneq.boundary.pwl.zerosets import exact_forms
from nneq.boundary.results import (
    Box,
    Clock,
    Enclosed,
    Exact,
    PiecewiseBoundary,
    Region,
    Status,
)
from nneq.errors import NneqError, UnsupportedError, problems_message
from nneq.ir import network as ir
from nneq.semantics.pattern import affine_piece, obstacles

__all__ = ["RegionTable", "enumerate_regions"]

Array = np.ndarray[Any, Any]
_LIMIT = 2_000_000
_EXACT_WORK = 4e8


class RegionTable(Sequence[Region]):
    """Regions as a sequence; a :class:`Region` is made when it is asked for.

    Args:
        cells: the regions as arrays.
        slice_of: origin and directions of the plane.
        outputs: the network whose outputs ``W x + b`` describes; the cells' own forms when None.
        inside: a homogeneous point inside each region, where the maps are to be exact.
    """

    def __init__(
        self,
        cells: Cells,
        slice_of: tuple[Array, Array],
        outputs: ir.Network | None = None,
        inside: Sequence[tuple[int, ...]] | None = None,
    ) -> None:
        """Wrap the arrays."""
        self.cells = cells
        self._inside = inside
        self._shown = Program(outputs) if outputs is not None and inside is not None else None
        self._origin, self._directions = slice_of
        self._outputs = outputs

    def __len__(self) -> int:
        return len(self.cells)

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
        index %= len(self)
        corners = self.cells.corners(index)
        pattern = self.cells.patterns[index].tobytes()
        if self._outputs is None:
            forms = self.cells.forms[index]
            return Region(pattern, corners, forms[:, :-1], forms[:, -1])
        if self._shown is not None and self._inside is not None:
            slice_of = (self._origin, self._directions)
            rows = exact_forms(self._shown, slice_of, [self._inside[index]])[0]
            forms = np.array([[rounded(v) for v in row] for row in rows])
            return Region(pattern, corners, forms[:, :-1], forms[:, -1])
        inside = corners.mean(axis=0)
        piece = affine_piece(self._outputs, self._origin + self._directions @ inside)
        return Region(
            pattern, corners, piece.W @ self._directions, piece.W @ self._origin + piece.b
        )

    def __iter__(self) -> Iterator[Region]:
        return (self[k] for k in range(len(self)))

    @property
    def areas(self) -> Array:
        """The area of every region, shape ``(R,)``."""
        return self.cells.areas


def check_slice(network: ir.Network, origin: Array, directions: Array, box: Box, free: int) -> None:
    """Refuse what no engine can answer; every problem is in one message.

    Raises:
        UnsupportedError: when the network is not piecewise linear; names the nodes.
        NneqError: for a degenerate box or directions that do not span the slice.
    """
    found = obstacles(network)
    if found:
        remedy = "trace(box) and solve() have a certified engine for smooth networks"
        raise UnsupportedError(
            problems_message("the exact engine needs a piecewise-linear network", found, remedy)
        )
    problems = []
    if len(box.low) != free:
        problems.append(f"the box has {len(box.low)} sides, the slice {free} free inputs")
    for k, (a, b) in enumerate(zip(box.low, box.high, strict=True), start=1):
        if not np.isfinite([a, b]).all():
            problems.append(f"side {k}: {a!r} to {b!r} is not finite")
        elif a >= b:
            problems.append(f"side {k}: {a!r} to {b!r} has no length")
    if not (np.isfinite(origin).all() and np.isfinite(directions).all()):
        problems.append("a number of the origin or of the directions is not finite")
    elif np.linalg.matrix_rank(directions) < free:
        problems.append("the directions are not independent: the slice is flatter than it says")
    if problems:
        raise NneqError(problems_message("cannot enumerate regions here", problems))


def enumerate_regions(
    question: Problem | ir.Network,
    origin: Array,
    directions: Array,
    box: Box,
    *,
    names: Sequence[str],
    clock: Clock,
    limit: float = _LIMIT,
    exact: bool = False,
    outputs: ir.Network | None = None,
    progress: Callable[[float], None] | None = None,
    use_numba: bool | None = None,
) -> PiecewiseBoundary:
    """Return every linear region of ``x = origin + directions @ t`` for ``t`` in the box.

    Args:
        question: a problem (then ``.pieces`` and ``.ties`` are its boundary), or a network.
        origin: shape ``(n,)``.
        directions: shape ``(n, d)``, ``2 <= d <= 6``.
        box: of ``d`` sides.
        names: of the ``d`` free inputs.
        clock: the budget.
        limit: the largest number of regions; above it an error gives an estimate.
        exact: rational arithmetic throughout.
        outputs: the network whose outputs ``Region.W`` and ``Region.b`` describe; those of the
            question (``g`` for a problem) when None, or when its units are not all units of the
            question, so that it may bend inside a region.
        progress: called with the share that is done, 0 to 1.
        use_numba: force or forbid the compiled kernel; None: by size, where installed.

    Raises:
        UnsupportedError: for more than 6 free inputs, or a network that is not piecewise linear.
        NneqError: when there would be more regions than the limit.

    Guarantee: the regions fill the box; affine maps come from the activation patterns.  Where a
    sign is within its rounding error, the enumeration is repeated in rational arithmetic.
    """
    network = question.network if isinstance(question, Problem) else question
    origin = np.asarray(origin, dtype=np.float64)
    directions = np.asarray(directions, dtype=np.float64)
    free = directions.shape[1]
    if not 2 <= free <= 6:
        msg = (
            f"regions can be enumerated for 2 to 6 free inputs, not {free}; with more, ask on "
            "lines (solve, along), on 2-D slices (at= or vary=), or locally (explain, nearest)"
        )
        raise UnsupportedError(msg)
    check_slice(network, origin, directions, box, free)
    program = Program(network)
    if outputs is not None and Program(outputs).units != program.units:
        # Kinks that were cancelled, or lie in other heads, do not bound these regions.
        outputs = None
    if free > 2:
        from nneq.boundary.pwl.cells import enumerate_cells

        return enumerate_cells(
            question, origin, directions, box, names=names, clock=clock, limit=limit,
            exact=exact, outputs=outputs, progress=progress,
        )  # fmt: skip
    problem = question if isinstance(question, Problem) else None
    return _plane(
        program, problem, (origin, directions), box, tuple(names), clock, limit,
        exact=exact, outputs=outputs, progress=progress, use_numba=use_numba,
    )  # fmt: skip


def _plane(
    program: Program,
    problem: Problem | None,
    slice_of: tuple[Array, Array],
    box: Box,
    names: tuple[str, ...],
    clock: Clock,
    limit: float,
    *,
    exact: bool,
    outputs: ir.Network | None,
    progress: Callable[[float], None] | None,
    use_numba: bool | None,
) -> PiecewiseBoundary:
    scale = float(max(*map(abs, box.low), *map(abs, box.high)))
    fits = in_range(program, slice_of, box)
    bound = min(limit, 1e9) if fits else min(limit, _EXACT_WORK / program.work)

    def rational() -> PiecewiseBoundary | None:
        return _in_fractions(
            program, problem, slice_of, box, names, clock, int(bound), outputs=outputs
        )

    answer = rational() if exact or not fits else None
    if answer is not None:
        return answer
    if not fits:
        status = Status.BUDGET if clock.over else Status.UNDECIDED
        return PiecewiseBoundary(
            (), (), (), names, box, complete=False, undecided=(box,), status=status,
            stats={"regions": 0, "engine": "none: out of range", "words": WORDS,
                   "seconds": clock.seconds},
        )  # fmt: skip
    cells, interrupted, engine = plane_cells(
        program, *slice_of, box, clock=clock, limit=limit, use_numba=use_numba, progress=progress
    )
    doubtful = np.zeros(0, dtype=int)
    found = None
    if problem is not None:
        found = float_boundary(cells, scale)
        doubtful = found.doubtful
    in_doubt = cells.ambiguous > 0 or len(doubtful) > 0
    feasible = len(cells) * program.work <= _EXACT_WORK
    if in_doubt and feasible and not (exact or interrupted or clock.over):
        answer = rational()
        if answer is not None:
            return answer
    status = Status.BUDGET if exact else Status.COMPLETE
    complete = not exact
    pieces: tuple[BoundaryPiece, ...] = ()
    if found is not None:
        pieces = tuple(
            BoundaryPiece(
                names,
                tuple(float(v) for v in c),
                np.array([p, q]),
                region=int(k),
            )
            for p, q, c, k in zip(
                found.start, found.end, found.coefficients, found.cell, strict=True
            )
        )
    undecided = [_hull(polygon) for polygon in cells.open]
    if in_doubt:
        undecided += [_hull(cells.corners(int(k))) for k in doubtful] or [box]
        status = Status.UNDECIDED
        complete = False
    if cells.open:
        complete = False
        status = Status.INTERRUPTED if interrupted else Status.BUDGET
    areas = cells.areas
    return PiecewiseBoundary(
        regions=RegionTable(cells, slice_of, outputs),
        pieces=pieces,
        ties=(),
        names=names,
        box=box,
        complete=complete,
        undecided=tuple(undecided),
        status=status,
        stats={
            "regions": len(cells),
            "pieces": len(pieces),
            "engine": engine,
            "ambiguous signs": cells.ambiguous,
            "cuts": cells.splits,
            "area": float(areas.sum()),
            "smallest area": float(areas.min(initial=np.inf)),
            "seconds": clock.seconds,
        },
        certificate=Enclosed("every sign that decided a cut is larger than its rounding error"),
    )


def _in_fractions(
    program: Program,
    problem: Problem | None,
    slice_of: tuple[Array, Array],
    box: Box,
    names: tuple[str, ...],
    clock: Clock,
    limit: int,
    *,
    outputs: ir.Network | None,
) -> PiecewiseBoundary | None:
    """Return the exact answer, or None when the budget or the limit ended it."""
    rational = exact_plane(program, *slice_of, box, clock=clock, limit=limit)
    if rational is None:
        return None

    def table(cells: Sequence[ExactCell]) -> RegionTable:
        inside = [tuple(map(sum, zip(*cell.corners, strict=True))) for cell in cells]
        return RegionTable(cells_of_exact(list(cells)), slice_of, outputs, inside)

    regions = table(rational)
    pieces: tuple[BoundaryPiece, ...] = ()
    ties: tuple[Region, ...] = ()
    isolated: tuple[Array, ...] = ()
    if problem is not None:
        whole = exact_boundary(rational)
        pieces = tuple(
            BoundaryPiece(
                names,
                coefficients(line),
                np.array([[float(v) for v in p], [float(v) for v in q]]),
                line,
            )
            for p, q, line in whole.segments
        )
        isolated = tuple(np.array([[float(p[0]), float(p[1])]]) for p in whole.points)
        ties = tuple(table(whole.ties)) if whole.ties else ()
    areas = regions.areas
    return PiecewiseBoundary(
        regions=regions,
        pieces=pieces,
        ties=ties,
        names=names,
        box=box,
        complete=True,
        stats={
            "regions": len(regions),
            "pieces": len(pieces),
            "engine": "rational polygon splitting",
            "ambiguous signs": 0,
            "cuts": len(regions) - 1,
            "area": float(areas.sum()),
            "smallest area": float(areas.min(initial=np.inf)),
            "seconds": clock.seconds,
        },
        certificate=Exact("rational arithmetic"),
        isolated=isolated,
    )


def _hull(polygon: Array) -> Box:
    return Box(tuple(polygon.min(axis=0)), tuple(polygon.max(axis=0)))
