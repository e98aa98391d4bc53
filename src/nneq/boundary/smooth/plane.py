r"""The curve :math:`g = 0` in a rectangle of a plane: every component, with the right topology.

Subdivision (:mod:`nneq.boundary.smooth.quadtree`) proves where the curve is a graph, the mesh
(:mod:`nneq.boundary.smooth.mesh`) joins its crossings.  What could not be decided (singular points,
rounding error as large as the function) is returned as boxes.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import flint
import numpy as np

from nneq.boundary.problem import Problem
from nneq.boundary.results import Box, Clock, Component, Curve, Enclosed, Status
from nneq.boundary.smooth.cells import DEEPEST
from nneq.boundary.smooth.finish import arb_network
from nneq.boundary.smooth.mesh import Mesh, link, polylines, refine
from nneq.boundary.smooth.partition import Memory
from nneq.boundary.smooth.quadtree import Cells, Frame, Leaves, subdivide
from nneq.boundary.smooth.rivals import Filter
from nneq.semantics.arb import sign
from nneq.semantics.ball import TINY, UNIT
from nneq.semantics.slices import Slices

__all__ = ["trace_plane"]

Array = np.ndarray[Any, Any]
Progress = Callable[[float], None]

_ARB_SIZE = 100_000
_MANY = 600  # cells to merge one by one


def trace_plane(
    problem: Problem,
    origin: Array,
    directions: Array,
    box: Box,
    *,
    names: tuple[str, str],
    precision: str = "real",
    clock: Clock,
    progress: Progress | None = None,
    screen: Callable[[Cells], Array] | None = None,
    near: Callable[[Array, Array], Array] | None = None,
    memory: Memory | None = None,
) -> Curve:
    """Return the boundary in ``box`` of the plane ``origin + directions @ (u, v)``.

    Args:
        problem: the reduced question.
        origin: shape ``(n,)``.
        directions: shape ``(n, 2)``.
        box: two intervals, in ``u`` and ``v``.
        names: the names of the two free inputs.
        precision: ``"real"`` or ``"float32"``.
        clock: the budget.
        progress: called with the share of cells done.
        screen: cells of the rectangle that are known to be outside the decision boundary.
        near: ``near(centre, half)``: cells in which the junction of three outputs is known, so
            that the end of a decision boundary need not be narrowed down.
        memory: the leaves of an earlier trace, to start from; those of this one are left in it.

    Guarantee: certified: the polylines are isotopic to the curve, vertices lie on it to 1e-11.
    """
    begun = time.perf_counter()
    origin = np.asarray(origin, dtype=np.float64)
    directions = np.asarray(directions, dtype=np.float64)
    slices = Slices(
        problem.posed(precision),
        origin[None],
        directions,
        precision=precision,
        executor=clock.executor,
    )
    frame = Frame((box.low[0], box.low[1]), (box.high[0], box.high[1]))
    rivals = Filter(problem, origin, directions, precision) if problem.rivals else None

    def exact_values(points: Array) -> tuple[Array, Array]:
        places = [[flint.arb(float(v)) for v in point] for point in points]
        found = arb_network(problem.network).on_line(origin, directions, places, 160).reshape(-1)
        mid = np.array([float(ball.mid()) for ball in found])
        rad = np.array([float(ball.rad()) for ball in found])
        return mid, (rad + 2 * UNIT * np.abs(mid)) * (1 + 16 * UNIT) + TINY

    use_arb = precision == "real" and problem.network.parameter_count <= _ARB_SIZE
    leaves = subdivide(
        slices,
        frame,
        clock,
        extra=rivals.cells if rivals else None,
        exact=exact_values if use_arb else None,
        progress=progress,
        screen=screen,
        near=near,
        start=None if memory is None else memory.start(frame),
    )
    if memory is not None:
        memory.keep(frame, leaves.all, leaves.examined)

    def exact_sign(point: Array) -> int:
        places = [[flint.arb(float(v)) for v in point]]
        network = arb_network(problem.network)
        for bits in (160, 400):
            found = sign(network.on_line(origin, directions, places, bits)[0].item())
            if found:
                return found
        return 0

    mesh = link(slices, frame, leaves, exact_sign)
    components, junctions = _components(slices, frame, leaves, mesh, rivals)
    lost = leaves.undecided.joined(leaves.cells.take(mesh.bad))
    undecided = _boxes(lost, frame)
    components = tuple(c for c in components if not _inside(c.points, undecided))
    undecided += junctions
    status = Status.COMPLETE
    if leaves.stopped:
        status = Status.BUDGET if leaves.stopped == "budget" else Status.INTERRUPTED
    elif undecided:
        status = Status.UNDECIDED
    complete = not undecided and not leaves.stopped
    seconds = time.perf_counter() - begun
    return Curve(
        components=components,
        names=names,
        box=box,
        complete=complete,
        undecided=undecided,
        status=status,
        stats={
            "boxes": leaves.examined,
            "leaves": len(leaves.cells),
            "open_corner_signs": mesh.open_signs,
            "seconds": seconds,
            "engine": "smooth",
        },
        certificate=Enclosed("Plantinga-Vegter with second-order Taylor bounds", precision),
        words=_words(components, complete, problem.title),
    )


def _boxes(cells: Cells, frame: Frame) -> tuple[Box, ...]:
    """Return cells as boxes, close ones (within 16 of their sizes) merged into their hull."""
    if not len(cells):
        return ()
    x, y, size = _coarse(*cells.grid())
    groups: list[list[int]] = []
    for k in np.lexsort((y, x)).tolist():
        cell = [int(x[k]), int(y[k]), int(x[k] + size[k]), int(y[k] + size[k])]
        merged = [g for g in groups if _close(g, cell)]
        for g in merged:
            cell = [min(g[0], cell[0]), min(g[1], cell[1]), max(g[2], cell[2]), max(g[3], cell[3])]
            groups.remove(g)
        groups.append(cell)
    grid = np.array(groups, dtype=np.int64)
    ends = [frame.place(axis, grid[:, axis + shift]) for shift in (0, 2) for axis in (0, 1)]
    return tuple(
        Box((float(a), float(b)), (float(c), float(d))) for a, b, c, d in zip(*ends, strict=True)
    )


def _coarse(x: Array, y: Array, size: Array) -> tuple[Array, Array, Array]:
    """Return cells that cover the given ones, made 16 times larger until there are few enough."""
    while len(x) > _MANY:
        size = np.maximum(size, min(16 * size.min(), 1 << DEEPEST))
        x, y = x - x % size, y - y % size
        order = np.lexsort((size, y, x))
        x, y, size = x[order], y[order], size[order]
        new = np.ones(len(x), dtype=bool)
        new[1:] = (np.diff(x) != 0) | (np.diff(y) != 0) | (np.diff(size) != 0)
        x, y, size = x[new], y[new], size[new]
    return x, y, size


def _close(a: list[int], b: list[int]) -> bool:
    reach = 16 * max(min(a[2] - a[0], a[3] - a[1]), min(b[2] - b[0], b[3] - b[1]))
    return (
        a[0] - reach <= b[2]
        and b[0] - reach <= a[2]
        and a[1] - reach <= b[3]
        and b[1] - reach <= a[3]
    )


def _components(
    slices: Slices, frame: Frame, leaves: Leaves, mesh: Mesh, rivals: Filter | None
) -> tuple[tuple[Component, ...], tuple[Box, ...]]:
    """Return refined polylines, and the small boxes in which a decision boundary ends."""
    junctions: tuple[Box, ...] = ()
    if rivals is not None and len(leaves.cells):
        centre, half = leaves.cells.boxes(frame)
        _, open_ = rivals.cells(centre, half)
        junctions = _boxes(leaves.cells.take(open_), frame)
    size = float(np.hypot(frame.high[0] - frame.low[0], frame.high[1] - frame.low[1]))
    found = []
    for chain, closed in polylines(mesh):
        points = refine(slices, mesh.points[chain], closed, size)
        found.append(Component(points, closed))
    found.sort(key=lambda c: tuple(c.points.min(axis=0)))
    return tuple(found), junctions


def _inside(points: Array, boxes: tuple[Box, ...]) -> bool:
    """Return whether a piece lies inside an undecided box, which already stands for it."""
    return any(
        bool(np.all(points >= np.array(box.low)) and np.all(points <= np.array(box.high)))
        for box in boxes
    )


def _words(components: tuple[Component, ...], complete: bool, title: str) -> str:
    """Return the claim as a sentence."""
    closed = sum(component.closed for component in components)
    noun = "component" if len(components) == 1 else "components"
    text = f"{title}: {len(components)} {noun} ({closed} closed)"
    if complete:
        return f"{text}; proven: there is no other component in the box"
    return f"{text}; the undecided boxes may hold more"
