"""The boundary of a piecewise-linear network in three inputs: exact facets, triangulated."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from nneq.boundary.problem import Problem
from nneq.boundary.pwl.complexes import (
    Complex,
    affine_batch,
    boundary_polytopes,
    build,
    certificate_of,
)
from nneq.boundary.pwl.exactcells import exact_surface, worth_repeating
from nneq.boundary.pwl.magnitude import WORDS, in_range
from nneq.boundary.pwl.regions import check_slice
from nneq.boundary.pwl.walk import Program
from nneq.boundary.results import Box, Clock, Sampled, Status, Surface

__all__ = ["ordered", "trace_space"]

Array = np.ndarray[Any, Any]
_LIMIT = 1_000_000


def ordered(points: Array, normal: Array) -> Array:
    """Return the order of coplanar points around their middle, counter-clockwise along ``normal``.

    Args:
        points: shape ``(k, 3)``.
        normal: shape ``(3,)``.
    """
    size = float(np.abs(normal).max())
    if size == 0:
        # The function is 0 on the whole region: a tie has no facet to go around.
        return np.arange(len(points))
    normal = normal / size
    axis = int(np.argmin(np.abs(normal)))
    helper = np.zeros(3)
    helper[axis] = 1.0
    first = np.cross(normal, helper)
    second = np.cross(normal, first)
    local = points - points.mean(axis=0)
    angle = np.arctan2(local @ second / np.linalg.norm(normal), local @ first)
    return np.argsort(angle, kind="stable")


def trace_space(
    problem: Problem,
    origin: Array,
    directions: Array,
    box: Box,
    *,
    names: Sequence[str],
    clock: Clock,
    exact: bool = False,
    limit: float = _LIMIT,
    progress: Callable[[float], None] | None = None,
) -> Surface:
    """Return the facets of ``g = 0`` on ``x = origin + directions @ t`` for ``t`` in the box.

    Args:
        problem: the question; its network must be piecewise linear.
        origin: shape ``(n,)``.
        directions: shape ``(n, 3)``.
        box: of three sides.
        names: of the three free inputs.
        clock: the budget.
        exact: rational arithmetic throughout.
        limit: the largest number of regions; above it an error gives an estimate.
        progress: called with the share of the units that is done.

    Raises:
        UnsupportedError: when the network is not piecewise linear.
        NneqError: for a degenerate box, or more regions than the limit.

    Guarantee: certified where no sign is within its rounding error: one facet in every region in
    which the sign changes; neighbouring facets share their vertices.  Else everything is repeated
    in rational arithmetic, which is exact.
    """
    origin = np.asarray(origin, dtype=np.float64)
    directions = np.asarray(directions, dtype=np.float64)
    check_slice(problem.network, origin, directions, box, 3)
    slice_of = (origin, directions)
    words = "the budget ended before the regions were cut"
    labels = (names[0], names[1], names[2])
    program = Program(problem.network)
    fits = in_range(program, slice_of, box)

    def rational() -> Surface | None:
        rivals = None if problem.rivals is None else Program(problem.rivals)
        return exact_surface(
            program, slice_of, box, names=labels, rivals=rivals, clock=clock, limit=limit,
            asked=exact or fits, progress=progress,
        )  # fmt: skip

    answer = None
    status = Status.BUDGET
    try:
        found = None
        if fits and not exact:
            found = build(program, slice_of, box, clock=clock, limit=limit, progress=progress)
        else:
            answer = rational()
        if found is not None:
            answer = _in_floats(problem, program, slice_of, labels, box, found, clock)
            # In three inputs there are about as many regions as vertices.
            if answer.complete:
                pass
            elif worth_repeating(len(found.points), program, 3, clock):
                answer = rational() or dataclasses.replace(answer, status=status)
            elif clock.over:
                answer = dataclasses.replace(answer, status=status)
    except KeyboardInterrupt:
        status = Status.INTERRUPTED
        if answer is not None:
            answer = dataclasses.replace(answer, status=status)
    if answer is not None:
        return answer
    if not (fits or clock.over or status is Status.INTERRUPTED):
        status, words = Status.UNDECIDED, WORDS
    return Surface(
        np.zeros((0, 3)), np.zeros((0, 3), dtype=np.int64), labels, box, complete=False,
        undecided=(box,), status=status, words=words,
        stats={"engine": "none finished", "seconds": clock.seconds},
    )  # fmt: skip


def _in_floats(
    problem: Problem,
    program: Program,
    slice_of: tuple[Array, Array],
    labels: tuple[str, str, str],
    box: Box,
    found: Complex,
    clock: Clock,
) -> Surface:
    """Return the facets of a complex, complete only where every sign is certain."""
    points, groups = boundary_polytopes(found)
    rings: list[Array] = []
    if groups:
        middle = np.array([points[group].mean(axis=0) for group in groups])
        forms = affine_batch(program, slice_of, middle)[:, 0]
        rings = [
            group[ordered(points[group], form[:3])]
            for group, form in zip(groups, forms, strict=True)
        ]
        if problem.rivals is not None:
            allowed = affine_batch(Program(problem.rivals), slice_of, middle)
            points, rings = _clipped(points, rings, allowed)
    faces = [(ring[0], ring[k], ring[k + 1]) for ring in rings for k in range(1, len(ring) - 1)]
    near = np.nonzero(np.abs(found.outputs[:, 0]) <= found.errors[:, 0])[0]
    proven = not isinstance(certificate_of(found), Sampled)
    complete = proven and not len(near)
    spots = tuple(Box(tuple(found.points[k]), tuple(found.points[k])) for k in near[:100])
    words = "complete: every linear region of the box was examined"
    if not complete:
        words = (
            "some signs are within their rounding error (ties, or units that cross in one point): "
            "facets may be missing there; see .undecided"
        )
    return Surface(
        vertices=points,
        faces=np.array(faces, dtype=np.int64).reshape(-1, 3),
        names=labels,
        box=box,
        complete=complete,
        undecided=spots if proven else (box,),
        status=Status.COMPLETE if complete else Status.UNDECIDED,
        stats={
            "facets": len(rings),
            "vertices": len(points),
            "engine": "edge subdivision",
            "smallest margin": found.margin,
            "seconds": clock.seconds,
        },
        certificate=certificate_of(found),
        words=words,
        polygons=tuple(points[ring] for ring in rings),
    )


def _clipped(points: Array, rings: list[Array], rivals: Array) -> tuple[Array, list[Array]]:
    """Cut facets where a third output is larger; ``rivals`` is ``(F, k, 4)``."""
    extra: list[Array] = []
    count = len(points)
    kept: list[Array] = []
    for ring, forms in zip(rings, rivals, strict=True):
        corners = [(int(k), points[k]) for k in ring]
        for form in forms:
            values = [float(form[:3] @ p + form[3]) for _, p in corners]
            following: list[tuple[int, Array]] = []
            for k, ((name, p), z) in enumerate(zip(corners, values, strict=True)):
                _, q = corners[(k + 1) % len(corners)]
                w = values[(k + 1) % len(corners)]
                if z >= 0:
                    following.append((name, p))
                if z * w < 0:
                    extra.append(p + z / (z - w) * (q - p))
                    following.append((count + len(extra) - 1, extra[-1]))
            corners = following
        if len(corners) >= 3:
            kept.append(np.array([name for name, _ in corners]))
    if extra:
        points = np.concatenate([points, np.array(extra)])
    return points, kept
