"""Proof that a box holds no point of the boundary, or an exact point of it."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np

from nneq.boundary.problem import Problem
from nneq.boundary.pwl.lines import solve_lines
from nneq.boundary.pwl.magnitude import WORDS, fits_float
from nneq.boundary.pwl.relax import Relaxation, proven_bound
from nneq.boundary.pwl.walk import Program
from nneq.boundary.results import Box, Clock, Enclosed, Exact, Sampled, Status, Verdict
from nneq.boundary.smooth.excludes import exclude_box as by_boxes
from nneq.errors import NneqError, UnsupportedError, problems_message
from nneq.semantics.pattern import obstacles
from nneq.semantics.rational import ExactWeights, evaluate_exact

__all__ = ["check_inputs", "exact_sign", "exclude_box", "witness_between"]

Array = np.ndarray[Any, Any]
_BOXES_SHARE = 0.5
_MOST_BOXES = 20_000


def check_inputs(problem: Problem, box: Box) -> None:
    """Refuse smooth networks and boxes that do not fit.

    Raises:
        UnsupportedError: when the network is not piecewise linear.
        NneqError: when the box does not fit the inputs.
    """
    found = obstacles(problem.network)
    if found:
        raise UnsupportedError(
            problems_message("the exact engine needs a piecewise-linear network", found)
        )
    size = sum(port.size for port in problem.network.inputs)
    problems = []
    if len(box.low) != size:
        problems.append(f"the box has {len(box.low)} sides, the network {size} inputs")
    if not np.isfinite([*box.low, *box.high]).all():
        problems.append("a side is not finite")
    if problems:
        raise NneqError(problems_message("cannot look at this box", problems))


def exact_sign(problem: Problem, x: Array, weights: ExactWeights) -> int:
    """Return the sign of ``g`` at a float64 point, exactly."""
    point = [Fraction(float(v)) for v in x]
    value = evaluate_exact(problem.network, [point], weights)[0][0]
    return (value > 0) - (value < 0)


def witness_between(problem: Problem, a: Array, b: Array, clock: Clock) -> Array | None:
    """Return a point of the segment where ``g`` is 0, for ends of opposite signs (or zero).

    None when, for a decision boundary, a third output is larger at all of them.
    """
    found = solve_lines(
        problem, np.asarray(a)[None], np.asarray(b) - a, (0.0, 1.0), clock=clock, pieces=False
    )[0]
    places = [span[0] for span in found.identical] + [root.value for root in found]
    return np.asarray(a + min(places) * (b - a)) if places else None


def _on_plane(
    problem: Problem, center: Array, width: Array, sign: int, clock: Clock
) -> Verdict | None:
    """With two inputs: the complete boundary in the box."""
    from nneq.boundary.pwl.trace import trace_plane

    half = width / 2 * (1 + 2**-50)
    local = Box(tuple(-half), tuple(half))
    curve = trace_plane(problem, center, np.eye(2), local, names=("x_1", "x_2"), clock=clock)
    stats = {"engine": f"complete boundary; {curve.stats['engine']}"}
    if curve.status is Status.INTERRUPTED:
        box = Box(tuple(center - width / 2), tuple(center + width / 2))
        nothing = Sampled("not decided")
        return Verdict(None, None, 0, nothing, (box,), curve.status, stats)
    if not curve.complete:
        return None
    points = [component.points[0] for component in curve.components] + [r[0] for r in curve.ties]
    if not points:
        return Verdict(True, None, sign, curve.certificate, stats=stats)
    inside = np.clip(points[0], -width / 2, width / 2)
    if np.abs(inside - points[0]).max() > 0:
        return None
    return Verdict(False, center + inside, 0, curve.certificate, stats=stats)


def exclude_box(
    problem: Problem,
    box: Box,
    *,
    clock: Clock,
    progress: Callable[[float], None] | None = None,
) -> Verdict:
    """Prove that no point of the box has ``g = 0``, or give one that has.

    Linear bounds on boxes of inputs first; with the time that is left, branch and bound over the
    units that change piece in the box, in which every leaf is closed by weak duality of a linear
    program, evaluated with its rounding error.

    Args:
        problem: the question; its network must be piecewise linear.
        box: of ``n`` sides, one for each input entry; sides of length zero fix an input.
        clock: the budget.
        progress: called with the share of the search that is closed, 0 to 1.

    Raises:
        UnsupportedError: when the network is not piecewise linear.
        NneqError: when the box does not fit.

    Guarantee: certified both ways: a witness lies between two points at which ``g`` has opposite
    signs in rational arithmetic.
    """
    check_inputs(problem, box)
    low, high = np.array(box.low), np.array(box.high)
    center = low + (high - low) / 2
    # The half widths reach the true ends in spite of rounding.
    half = np.maximum(high - center, center - low) * (1 + 2**-50)
    weights = ExactWeights()
    sign = exact_sign(problem, center, weights)
    stats: dict[str, Any] = {"engine": "branch and bound over units", "programs": 0}
    if sign == 0:
        return Verdict(False, center, 0, Exact("rational arithmetic at a point"), stats=stats)
    program = Program(problem.network)
    if len(center) == 2 and (low < high).all():
        known = _on_plane(problem, center, high - low, sign, clock)
        if known is not None:
            return known
    if not fits_float(program, np.maximum(1.0, np.maximum(np.abs(low), np.abs(high)))):
        return Verdict(
            None, None, 0, Sampled(WORDS), undecided=(box,), status=Status.UNDECIDED, stats=stats
        )
    frame = Relaxation(program, center, half)
    stats["units that change piece"] = len(frame.rows)
    inside = (frame.g_range[0, 0] > 0) if sign > 0 else (frame.g_range[0, 1] < 0)
    if inside:
        return Verdict(
            True, None, sign, Enclosed("affine arithmetic with rounding errors"), stats=stats
        )
    known = _by_boxes(problem, box, weights, clock, stats)
    if known is not None:  # a verdict is false where a witness was found
        return known
    return _search(problem, frame, (low, high), sign, weights, clock, progress, stats)


def _by_boxes(
    problem: Problem, box: Box, weights: ExactWeights, clock: Clock, stats: dict[str, Any]
) -> Verdict | None:
    """Return what linear bounds on boxes of inputs prove, with an exact witness; None: nothing."""
    if clock.over:
        return None
    found = by_boxes(problem, box, clock=clock.share(_BOXES_SHARE), most=_MOST_BOXES)
    stats["boxes"] = found.stats["boxes"]
    if found.excluded or found.status is Status.INTERRUPTED:
        return replace(found, stats=stats)
    if found.witness is None:
        return None
    # the same witness with exact signs, if a point a little beyond it is on the other side
    center = np.array(box.low) + (np.array(box.high) - np.array(box.low)) / 2
    beyond = np.clip(found.witness + 1e-6 * (found.witness - center), box.low, box.high)
    if exact_sign(problem, center, weights) * exact_sign(problem, beyond, weights) < 0:
        witness = witness_between(problem, center, beyond, clock)
        if witness is not None:
            proof = Exact("opposite signs at two points in rational arithmetic")
            inside = np.clip(witness, box.low, box.high)
            return Verdict(False, inside, 0, proof, stats=stats)
    return replace(found, stats=stats)


def _search(
    problem: Problem,
    frame: Relaxation,
    ends: tuple[Array, Array],
    sign: int,
    weights: ExactWeights,
    clock: Clock,
    progress: Callable[[float], None] | None,
    stats: dict[str, Any],
) -> Verdict:
    """Branch over the sides of loose rows until every leaf is closed or a witness is found."""
    low, high = ends
    c, shift = sign * frame.g_row, sign * frame.g_shift
    queue: list[tuple[float, int, dict[int, bool]]] = [(-np.inf, 0, {})]
    number, closed = 0, 0.0
    status = Status.COMPLETE
    try:
        while queue and not clock.over:
            _, _, sides = heapq.heappop(queue)
            b, lower, upper = frame.node(sides)
            bound, v = proven_bound(c, shift, frame.A, b, lower, upper)
            stats["programs"] += 1
            clock.spend(1)
            if bound - frame.g_error > 0:
                closed += 0.5 ** len(sides)
                if progress is not None:
                    progress(min(1.0, closed))
                continue
            point = None if v is None else np.clip(frame.point(v), low, high)
            if point is not None and exact_sign(problem, point, weights) != sign:
                witness = witness_between(problem, frame.center, point, clock)
                if witness is not None:
                    proof = Exact("opposite signs at two points in rational arithmetic")
                    return Verdict(False, np.clip(witness, low, high), 0, proof, stats=stats)
                status = Status.UNDECIDED
                break
            k = _branch(frame, v, sides)
            if k is None:
                # All units fixed and no proof: the boundary is within rounding of this leaf.
                status = Status.UNDECIDED
                break
            for side in (True, False):
                number += 1
                heapq.heappush(queue, (bound, number, {**sides, k: side}))
    except KeyboardInterrupt:
        status = Status.INTERRUPTED
    if not queue and status is Status.COMPLETE:
        proven = Enclosed(
            "branch and bound; every leaf closed by weak duality with rounding errors"
        )
        return Verdict(True, None, sign, proven, stats=stats)
    if status is Status.COMPLETE:
        status = Status.BUDGET
    box = Box(tuple(low), tuple(high))
    return Verdict(
        None, None, 0, Sampled("not decided"), undecided=(box,), status=status, stats=stats
    )


def _branch(frame: Relaxation, v: Array | None, sides: dict[int, bool]) -> int | None:
    """Return the row whose relaxation is loosest, or None when every side is fixed."""
    gaps = frame.gaps(v) if v is not None else np.array([row.high for row in frame.rows])
    gaps = gaps.copy()
    gaps[list(sides)] = -np.inf
    if not len(gaps) or gaps.max() == -np.inf:
        return None
    return int(np.argmax(gaps))
