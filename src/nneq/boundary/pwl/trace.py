"""The boundary of a piecewise-linear network on a plane, segment by segment."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from nneq.boundary.problem import Problem
from nneq.boundary.pwl.arrange import (
    FloatBoundary,
    exact_boundary,
    exact_polylines,
    float_boundary,
    polylines,
)
from nneq.boundary.pwl.chain import Chain, chain_of
from nneq.boundary.pwl.decide import decided
from nneq.boundary.pwl.exact2d import point
from nneq.boundary.pwl.lines import solve_lines
from nneq.boundary.pwl.magnitude import WORDS, in_range
from nneq.boundary.pwl.march import march
from nneq.boundary.pwl.regions import check_slice
from nneq.boundary.pwl.regions2d import exact_plane, plane_cells
from nneq.boundary.pwl.walk import Program
from nneq.boundary.results import (
    Box,
    Certificate,
    Clock,
    Component,
    Curve,
    Enclosed,
    Exact,
    Sampled,
    Status,
)
from nneq.errors import NneqError

__all__ = ["trace_plane"]

Array = np.ndarray[Any, Any]
Progress = Callable[[float], None] | None
_EXACT_WORK = 4e8
_SCANS = 9
# Above this estimate of the multiplications of a proof (a minute or so), the boundary is followed.
_MARCH_ABOVE = 2e11


@dataclass
class _Found:
    components: list[Component] = field(default_factory=list)
    ties: list[Array] = field(default_factory=list)
    undecided: list[Box] = field(default_factory=list)
    complete: bool = False
    status: Status = Status.COMPLETE
    certificate: Certificate = field(default_factory=Sampled)
    words: str = ""
    engine: str = ""
    counts: dict[str, Any] = field(default_factory=dict)


def trace_plane(
    problem: Problem,
    origin: Array,
    directions: Array,
    box: Box,
    *,
    names: Sequence[str],
    exact: bool = False,
    clock: Clock,
    progress: Progress = None,
    use_numba: bool | None = None,
) -> Curve:
    """Return the boundary on ``x = origin + directions @ t`` for ``t`` in the box.

    Args:
        problem: the question; its network must be piecewise linear.
        origin: shape ``(n,)``.
        directions: shape ``(n, 2)``.
        box: of two sides.
        names: of the two free inputs.
        exact: rational arithmetic: ``segments[k].exact`` holds fractions.
        clock: the budget.
        progress: called with the share that is done, 0 to 1.
        use_numba: force or forbid the compiled kernel; None: by size, where installed.

    Raises:
        UnsupportedError: when the network is not piecewise linear.
        NneqError: for a degenerate box.

    Guarantee: exact with ``exact=True`` or where rounding could not decide; certified where a
    pruned enumeration of all regions ends; else numerical, and ``words`` says so.
    """
    origin = np.asarray(origin, dtype=np.float64)
    directions = np.asarray(directions, dtype=np.float64)
    check_slice(problem.network, origin, directions, box, 2)
    program = Program(problem.network)
    slice_of = (origin, directions)
    found = None
    fits = in_range(program, slice_of, box)
    if not fits:
        found = _out_of_range(problem, program, slice_of, box, clock)
    elif exact:
        found = _exactly(program, slice_of, box, clock)
        if found is None:
            msg = "the boundary has too many regions for rational arithmetic; take a smaller box"
            if not clock.over:
                raise NneqError(msg)
    if found is None:
        found = _certified(problem, program, slice_of, box, clock, progress, use_numba)
    if problem.rivals is not None and fits:
        rivals = Program(problem.rivals)
        found.components, found.ties, whole = decided(
            rivals, slice_of, found.components, found.ties, clock
        )
        if not whole and found.complete:
            found.complete, found.undecided = False, [*found.undecided, box]
            found.status = Status.BUDGET if clock.over else Status.INTERRUPTED
        found.words += "; only the parts where no other output is larger"
    return Curve(
        components=tuple(found.components),
        names=(names[0], names[1]),
        box=box,
        complete=found.complete,
        undecided=tuple(found.undecided),
        ties=tuple(found.ties),
        status=found.status,
        stats={
            "engine": found.engine,
            "segments": sum(len(c.segments) for c in found.components),
            "seconds": clock.seconds,
            **found.counts,
        },
        certificate=found.certificate,
        words=found.words,
    )


def _out_of_range(
    problem: Problem, program: Program, slice_of: tuple[Array, Array], box: Box, clock: Clock
) -> _Found:
    """Answer in rational arithmetic what float64 cannot hold, or leave the box undecided."""
    found = None
    if problem.rivals is None:
        limit = min(200_000, int(_EXACT_WORK / program.work))
        found = _exactly(program, slice_of, box, clock, limit)
    return found or _Found(
        undecided=[box],
        status=Status.BUDGET if clock.over else Status.UNDECIDED,
        words=WORDS,
        engine="none: out of range",
    )


def _exactly(
    program: Program,
    slice_of: tuple[Array, Array],
    box: Box,
    clock: Clock,
    limit: int = 200_000,
) -> _Found | None:
    cells = exact_plane(program, *slice_of, box, clock=clock, limit=limit)
    if cells is None:
        return None
    whole = exact_boundary(cells)
    ties = [
        np.array([[float(v) for v in point(corner)] for corner in tie.corners])
        for tie in whole.ties
    ]
    words = "complete: every linear region of the box was examined in rational arithmetic"
    if ties:
        words += f"; the outputs are equal everywhere in {len(ties)} regions (.ties)"
    return _Found(
        components=exact_polylines(whole),
        ties=ties,
        complete=True,
        certificate=Exact("rational arithmetic"),
        words=words,
        engine="rational polygon splitting",
        counts={"regions": len(cells)},
    )


def _scale(box: Box) -> float:
    return float(max(*map(abs, box.low), *map(abs, box.high)))


def _certified(
    problem: Problem,
    program: Program,
    slice_of: tuple[Array, Array],
    box: Box,
    clock: Clock,
    progress: Progress,
    use_numba: bool | None,
) -> _Found:
    chain = chain_of(program, *slice_of)
    if chain is not None and _estimate(chain, box) > _MARCH_ABOVE:
        return _followed(problem, chain, slice_of, box, clock, progress)
    cells, interrupted, engine = plane_cells(
        program, *slice_of, box, clock=clock, limit=np.inf, prune=True, use_numba=use_numba,
        progress=progress,
    )  # fmt: skip
    found = float_boundary(cells, _scale(box))
    work = (cells.splits + 1) * program.work
    if len(found.doubtful) and not interrupted and work <= _EXACT_WORK:
        whole = _exactly(program, slice_of, box, clock)
        if whole is not None:
            return whole
    components, loose = polylines(found, _scale(box))
    inner = _inner_ends(components, box)
    undecided = [_hull(cells.corners(int(k))) for k in found.doubtful]
    undecided += [_hull(polygon) for polygon in cells.open]
    answer = _Found(components, undecided=undecided, engine=engine)
    answer.counts = {"regions": len(cells), "cuts": cells.splits, "loose ends": loose}
    answer.certificate = Enclosed(
        "every region was examined or excluded by a bound of g; equations from the patterns"
    )
    if cells.open:
        answer.status = Status.INTERRUPTED if interrupted else Status.BUDGET
        answer.words = "the budget ended before all regions were examined; see .undecided"
    elif len(found.doubtful) or inner:
        answer.status = Status.UNDECIDED
        answer.words = (
            f"{len(found.doubtful)} regions and {inner} ends of segments could not be decided in "
            "float64, and the network is too large for rational arithmetic here"
        )
    else:
        answer.complete = True
        answer.words = "complete: every linear region of the box was examined or proven free"
    return answer


def _inner_ends(components: Sequence[Component], box: Box) -> int:
    """Return how many ends of open components lie inside the box."""
    count = 0
    low, high = np.array(box.low), np.array(box.high)
    slack = 1e-9 * float((high - low).max())
    for component in components:
        if not component.closed:
            for end in (component.points[0], component.points[-1]):
                count += bool(np.minimum(end - low, high - end).min() > slack)
    return count


def _hull(polygon: Array) -> Box:
    return Box(tuple(polygon.min(axis=0)), tuple(polygon.max(axis=0)))


def _estimate(chain: Chain, box: Box) -> float:
    """Return the multiplications of a proof, from the breakpoints on two diagonals (rough)."""
    corners = np.array([[box.low[0], box.low[1]], [box.high[0], box.high[1]]])
    total = 1.0
    for start, end in (corners, np.stack([corners[[0, 1], [0, 1]], corners[[1, 0], [0, 1]]])):
        t = np.linspace(0.0, 1.0, 257)
        points = start + t[:, None] * (end - start)
        forms = np.concatenate([points, np.ones((257, 1))], axis=1) @ chain.first
        crossings = 0
        for l in range(chain.layers - 1):
            on = forms > 0
            crossings += int((on[1:] != on[:-1]).sum())
            weight = np.where(on, chain.lows[l] + chain.jumps[l], chain.lows[l])
            forms = (forms * weight) @ chain.matrices[l] + chain.biases[l]
        total += crossings
    # A plane cut by n lines in general position has about n**2 / 2 regions.
    work = sum(matrix.size for matrix in chain.matrices)
    return (total / 2) ** 2 / 2 * 4 * work


def _seeds(problem: Problem, slice_of: tuple[Array, Array], box: Box, clock: Clock) -> Array:
    """Return boundary points on scan lines of the plane."""
    origin, directions = slice_of
    (x0, y0), (x1, y1) = box.low, box.high
    starts, steps, marks = [], [], []
    for k in range(1, _SCANS + 1):
        share = k / (_SCANS + 1)
        for a, b in (
            ((x0, y0 + share * (y1 - y0)), (x1, y0 + share * (y1 - y0))),
            ((x0 + share * (x1 - x0), y0), (x0 + share * (x1 - x0), y1)),
        ):
            p, q = np.array(a), np.array(b)
            starts.append(origin + directions @ p)
            steps.append(directions @ (q - p))
            marks.append((p, q - p))
    bare = Problem(problem.network, problem.title, problem.names)
    rows = solve_lines(
        bare, np.array(starts), np.array(steps), (0.0, 1.0), clock=clock, pieces=False
    )
    seeds = [p + root.value * d for (p, d), row in zip(marks, rows, strict=True) for root in row]
    return np.array(seeds).reshape(-1, 2)


def _followed(
    problem: Problem,
    chain: Chain,
    slice_of: tuple[Array, Array],
    box: Box,
    clock: Clock,
    progress: Progress,
) -> _Found:
    seeds = _seeds(problem, slice_of, box, clock)
    marched = march(chain, seeds, box, clock, progress)
    none = np.zeros(0, dtype=int)
    found = FloatBoundary(marched.start, marched.end, marched.coefficients, none, none)
    components, loose = polylines(found, _scale(box))
    width = (box.high[0] - box.low[0]) / (_SCANS + 1)
    height = (box.high[1] - box.low[1]) / (_SCANS + 1)
    answer = _Found(components, engine="followed from region to region")
    answer.counts = {"seeds": len(seeds), "loose ends": loose}
    answer.certificate = Sampled("every equation comes from an activation pattern", 0.0)
    answer.status = Status.NOT_CERTIFIED if marched.finished else Status.BUDGET
    answer.undecided = [box]
    answer.words = (
        f"complete up to components that cross none of {2 * _SCANS} scan lines {width:.3g} by "
        f"{height:.3g} apart; the box has too many regions for a proof: take a smaller one"
    )
    if marched.stuck:
        answer.words += f"; stopped at {len(marched.stuck)} points where units cross in one point"
    return answer
