"""All regions of a plane by the engine that suits the network: compiled, array code, or exact."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np

from nneq.boundary.pwl import kernel
from nneq.boundary.pwl.chain import Chain, chain_of
from nneq.boundary.pwl.exact2d import ExactCell, exact_cells, point
from nneq.boundary.pwl.magnitude import rounded
from nneq.boundary.pwl.planes import Cells, PlaneWalker, walk_plane
from nneq.boundary.pwl.prune import PruningWalker
from nneq.boundary.pwl.walk import Program
from nneq.boundary.results import Box, Clock
from nneq.errors import NneqError
from nneq.semantics.rational import ExactWeights

__all__ = ["cells_of_exact", "exact_plane", "growth", "plane_cells", "too_many"]

Array = np.ndarray[Any, Any]
_PRUNED_UNITS = 48


def too_many(estimate: float, limit: float, free: int = 2) -> NneqError:
    """Return the error that says how many regions there are and what to do instead."""
    other = "ask for the boundary only: trace(box) follows it without enumerating the regions"
    if free > 2:
        other = (
            "ask on lines (solve, along), on 2-D slices (trace(box, at=...)), or locally "
            "(nearest, excludes)"
        )
    return NneqError(
        f"the box holds about {estimate:,.0f} linear regions, more than the limit of {limit:,.0f}; "
        f"take a smaller box, raise the limit (regions(..., limit=...)), or {other}"
    )


def growth(done: int, total: int, d: int) -> float:
    """Return by how much the regions grow from some thresholds to all of them (rough).

    ``n`` hyperplanes in general position make at most ``sum(comb(n, k) for k <= d)`` regions, and
    networks make about as many in a box.

    References:
        Zaslavsky 1975; Hanin and Rolnick 2019, "Deep ReLU networks have surprisingly few
        activation patterns".
    """
    whole, part = (sum(math.comb(max(n, 1), k) for k in range(d + 1)) for n in (total, done))
    return max(1.0, whole / part)


def _area(box: Box) -> float:
    return (box.high[0] - box.low[0]) * (box.high[1] - box.low[1])


def _kernel_cells(
    chain: Chain,
    box: Box,
    *,
    clock: Clock,
    limit: float,
    prune: bool,
    progress: Callable[[float], None] | None,
) -> tuple[Cells, bool]:
    """Run the compiled kernel slice by slice."""
    stack = kernel.Stack(chain, box, prune=prune)
    state, whole = stack.state, _area(box) * float(stack.scale.prod())
    count = 0
    covered = 0.0
    interrupted = False
    while state[kernel.TOP] >= 0:
        try:
            areas = stack.run()
        except KeyboardInterrupt:
            interrupted = True
            break
        if state[kernel.OVERFLOW]:
            msg = f"a region has more than {kernel.CORNERS} corners; take a smaller box"
            raise NneqError(msg)
        count += len(areas)
        covered += float(areas.sum())
        clock.spend(len(areas))
        if progress is not None:
            left = sum(_ring_area(polygon) for polygon in stack.open_polygons())
            progress(min(1.0, max(0.0, 1.0 - left / _area(box))))
        if clock.over:
            break
        if state[kernel.TOP] >= 0 and not prune and np.isfinite(limit):
            share = covered / whole
            estimate = count / share if share > 0 else np.inf
            if count > limit or estimate > 4 * limit:
                raise too_many(max(estimate, count), limit)
        if prune and count > limit:
            break
    found = stack.found()
    cells = Cells(
        found["ptr"], found["xy"], found["forms"], found["error"],
        _patterns(chain, found["bits"]), open=tuple(stack.open_polygons()),
        ambiguous=int(state[kernel.AMBIGUOUS]), splits=int(state[kernel.SPLITS]),
        measured=found["area"],
    )  # fmt: skip
    if not prune and len(cells) > limit:
        raise too_many(len(cells), limit)
    return cells, interrupted


def _ring_area(polygon: Array) -> float:
    after = np.roll(polygon, -1, axis=0)
    return float((polygon[:, 0] * after[:, 1] - polygon[:, 1] * after[:, 0]).sum()) / 2


def _patterns(chain: Chain, bits: Array) -> Array:
    """Return piece numbers from the rows: the number of thresholds passed by each unit."""
    if all(count == 1 for _, count in chain.rows):
        return bits
    parts, start = [], 0
    for units, count in chain.rows:
        part = bits[:, start : start + units * count].reshape(len(bits), units, count)
        parts.append(part.sum(axis=2, dtype=np.uint8))
        start += units * count
    return np.concatenate(parts, axis=1)


def plane_cells(
    program: Program,
    origin: Array,
    directions: Array,
    box: Box,
    *,
    clock: Clock,
    limit: float,
    prune: bool = False,
    use_numba: bool | None = None,
    progress: Callable[[float], None] | None = None,
) -> tuple[Cells, bool, str]:
    """Return the regions of a plane, whether Ctrl-C ended it, and the engine's name.

    Args:
        program: the prepared network.
        origin: shape ``(n,)``.
        directions: shape ``(n, 2)``.
        box: in the coordinates of the plane, both sides of positive length.
        clock: the budget.
        limit: the largest number of regions.
        prune: drop polygons on which output 0 is proven non-zero.
        use_numba: True and False force the choice; None: where it is worth it.
        progress: called with the share of the box that is done, 0 to 1.

    Raises:
        NneqError: when there are more regions than the limit; says how many.
    """
    chain = None if use_numba is False else chain_of(program, origin, directions)
    rows = 0 if chain is None else int(chain.sizes[:-1].sum())
    if chain is not None and (kernel.compiled() if use_numba else kernel.worth_it(rows)):
        cells, interrupted = _kernel_cells(
            chain, box, clock=clock, limit=limit, prune=prune, progress=progress
        )
        return cells, interrupted, "compiled polygon splitting"
    started = time.process_time()
    near = prune and program.units >= _PRUNED_UNITS
    cells, interrupted = walk_plane(
        program, origin, directions, box, clock=clock, limit=limit, progress=progress,
        kind=PruningWalker if near else PlaneWalker,
    )  # fmt: skip
    if chain is not None:
        kernel.count_array_seconds(time.process_time() - started)
    if near:
        return cells, interrupted, "array polygon splitting near the boundary"
    if cells.open and not clock.over and not interrupted:
        share = cells.areas.sum() / _area(box)
        raise too_many(len(cells) / max(share, 1e-12), limit)
    if len(cells) > limit:
        raise too_many(len(cells), limit)
    return cells, interrupted, "array polygon splitting"


def exact_plane(
    program: Program, origin: Array, directions: Array, box: Box, *, clock: Clock, limit: int
) -> list[ExactCell] | None:
    """Return the regions in rational arithmetic, or None when there are too many for it."""
    (x0, y0), (x1, y1) = box.low, box.high
    corners = [(Fraction(x), Fraction(y)) for x, y in ((x0, y0), (x1, y0), (x1, y1), (x0, y1))]
    return exact_cells(
        program,
        [Fraction(float(v)) for v in origin],
        [[Fraction(float(v)) for v in directions[:, k]] for k in range(2)],
        corners,
        clock=clock,
        limit=limit,
        weights=ExactWeights(),
    )


def cells_of_exact(cells: list[ExactCell]) -> Cells:
    """Return exact regions rounded to float64 arrays."""
    sizes = np.array([len(cell.corners) for cell in cells], dtype=np.int64)
    corners = [[float(v) for v in point(corner)] for cell in cells for corner in cell.corners]
    forms = np.array([[[rounded(v) for v in form] for form in cell.forms] for cell in cells])
    patterns = np.array([np.frombuffer(cell.pattern, dtype=np.uint8) for cell in cells])
    return Cells(
        np.concatenate([[0], np.cumsum(sizes)]),
        np.array(corners).reshape(-1, 2),
        forms,
        np.zeros(forms.shape[:2]),
        patterns.reshape(len(cells), -1),
    )
