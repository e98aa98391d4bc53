"""The questions' frame (box, budget) and the answers every engine gives.

One frozen type per problem; its fields never depend on options.  ``complete`` is a proof: nothing
lies outside the lists.  What could not be decided stands in ``undecided`` and is never hidden.
"""

from __future__ import annotations

import math
import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field, replace
from enum import Enum
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal, overload

import numpy as np

from nneq.errors import NneqError, problems_message

__all__ = [
    "Box",
    "Budget",
    "Certificate",
    "Clock",
    "Component",
    "Curve",
    "DecisionMap",
    "DecisionRegion",
    "Enclosed",
    "Exact",
    "Graph",
    "GraphBox",
    "Interval",
    "Junction",
    "Nearest",
    "Piece",
    "PiecewiseBoundary",
    "Region",
    "Root",
    "Sampled",
    "Segment",
    "Solutions",
    "Status",
    "Surface",
    "Verdict",
]

Array = np.ndarray[Any, Any]
Interval = tuple[float, float]
Output = int | str
Crossing = Literal["up", "down", "touch", "unknown"]


class Status(Enum):
    """How a computation ended; the value is the message, cause first, then the remedy."""

    COMPLETE = ""
    UNDECIDED = (
        "some parts could not be decided at this precision (a double root, a singular point, or "
        "rounding error as large as the function); look at .undecided, shrink the box, or raise "
        "the budget"
    )
    BUDGET = "the budget was used up; the rest is in .undecided; raise Budget(seconds=, boxes=)"
    INTERRUPTED = "interrupted; the rest is in .undecided"
    NOT_CERTIFIED = "found numerically; nothing is proven about what was not found"


@dataclass(frozen=True)
class Exact:
    """Rational arithmetic: the statement holds exactly."""

    detail: str = ""


@dataclass(frozen=True)
class Enclosed:
    """Proven by interval arithmetic with outward rounding.

    Args:
        detail: what was proven and how.
        precision: ``real`` for the real-number function, ``float32`` for the network as executed.
    """

    detail: str = ""
    precision: str = "real"


@dataclass(frozen=True)
class Sampled:
    """Numerical only.

    Args:
        detail: the method.
        residual: the largest ``|z_i - z_j|`` left.
    """

    detail: str = ""
    residual: float = math.nan


Certificate = Exact | Enclosed | Sampled


@dataclass(frozen=True)
class Budget:
    """Limits of one call; when one is reached the call returns what is proven so far.

    Args:
        seconds: wall-clock limit.
        boxes: number of boxes, pieces or regions examined.
        memory: bytes that the process may grow by (its resident size where the system tells it,
            else its peak).
    """

    seconds: float = math.inf
    boxes: float = math.inf
    memory: float = math.inf

    def __post_init__(self) -> None:
        limits = {name: getattr(self, name) for name in ("seconds", "boxes", "memory")}
        other = [k for k, v in limits.items() if not isinstance(v, int | float | np.number)]
        if other:
            shown = ", ".join(f"{k}={limits[k]!r}" for k in other)
            msg = f"a budget is made of numbers, got {shown}; e.g. Budget(seconds=2)"
            raise NneqError(msg)
        bad = [k for k, v in limits.items() if not v > 0]
        if bad:
            msg = f"a budget must be positive: {', '.join(bad)}"
            raise NneqError(msg)

    def start(self, executor: Executor | None = None) -> Clock:
        """Start counting; the executor shares the work of the call."""
        return Clock(self, executor)


class Clock:
    """Counts what a call has used of its budget, and knows who may help with it."""

    def __init__(self, budget: Budget, executor: Executor | None = None) -> None:
        """Start now."""
        self.budget = budget
        self.executor = executor
        self.parent: Clock | None = None
        self.started = time.monotonic()
        self.boxes = 0
        self._limited = math.isfinite(budget.memory)
        self._resident = _resident() if self._limited else 0

    def share(self, part: float) -> Clock:
        """Return a clock with a part of what is left of this one's time and boxes.

        What it spends is spent here too.
        """
        left = max(1e-9, part * (self.budget.seconds - self.seconds))
        boxes = max(1.0, part * (self.budget.boxes - self.boxes))
        clock = replace(self.budget, seconds=left, boxes=boxes).start(self.executor)
        clock.parent = self
        return clock

    def spend(self, boxes: int) -> None:
        """Count boxes (pieces, regions) as examined."""
        self.boxes += boxes
        if self.parent is not None:
            self.parent.spend(boxes)

    @property
    def seconds(self) -> float:
        """Wall-clock seconds since the start."""
        return time.monotonic() - self.started

    @property
    def over(self) -> bool:
        """Whether a limit is reached."""
        if self._limited and _resident() - self._resident >= self.budget.memory:
            return True
        return self.boxes >= self.budget.boxes or self.seconds >= self.budget.seconds


def _resident() -> int:
    """Return the process's memory in bytes: resident now on Linux, its peak elsewhere."""
    try:
        pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        import resource

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024


@dataclass(frozen=True)
class Box:
    """A product of closed intervals, one per input entry ``x_1 ... x_n``, low <= high.

    Args:
        low: lower ends, shape ``(n,)``.
        high: upper ends, shape ``(n,)``.
    """

    low: tuple[float, ...]
    high: tuple[float, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "low", tuple(float(v) for v in self.low))
        object.__setattr__(self, "high", tuple(float(v) for v in self.high))
        problems = []
        if len(self.low) != len(self.high):
            problems.append(f"{len(self.low)} lower and {len(self.high)} upper ends")
        for k, (low, high) in enumerate(zip(self.low, self.high, strict=False), start=1):
            if math.isnan(low) or math.isnan(high):
                problems.append(f"x_{k}: an end is NaN")
            elif low > high:
                problems.append(f"x_{k}: the lower end {low!r} is above the upper end {high!r}")
        if problems:
            raise NneqError(problems_message("this is not a box", problems))

    @property
    def free(self) -> tuple[int, ...]:
        """The places of the inputs whose interval has positive width."""
        return tuple(k for k, (a, b) in enumerate(zip(self.low, self.high, strict=True)) if a < b)


class _Told:
    """Answers that print as a few lines; in a notebook, as the first of them."""

    def __str__(self) -> str:
        from nneq.boundary.summaries import summary

        return "\n".join(summary(self))

    def __repr__(self) -> str:
        from nneq.boundary.summaries import summary

        return f"<{type(self).__name__}: {summary(self)[0]}>"


@dataclass(frozen=True)
class Root:
    """One solution on a line.

    Args:
        lower: proven lower end of the enclosure, in the variable solved for.
        upper: proven upper end.
        value: the best float64 value, ``lower <= value <= upper``.
        crossing: ``up`` if the difference goes from negative to positive, ``down``, ``touch``
            (a multiple root without a change of sign) or ``unknown``.
        certificate: ``Exact``, ``Enclosed`` or ``Sampled``.
        exact: the rational solution in exact mode, else None.
    """

    lower: float
    upper: float
    value: float
    crossing: Crossing
    certificate: Certificate
    exact: Fraction | None = None

    def __float__(self) -> float:
        return self.value


@dataclass(frozen=True)
class Piece:
    """One linear piece of the outputs along a line: ``z = slope * t + intercept``.

    Args:
        low: lower end in the variable of the line (may be -inf).
        high: upper end (may be inf).
        slope: shape ``(m,)``.
        intercept: shape ``(m,)``.
    """

    low: float
    high: float
    slope: Array
    intercept: Array


@dataclass(frozen=True, repr=False)
class Solutions(_Told, Sequence[Root]):
    """All solutions on one line, sorted; a sequence of :class:`Root`.

    Args:
        roots: the solutions.
        variable: the name of the variable solved for (``t`` for a segment).
        domain: the interval searched (may be infinite).
        complete: proven: no solution in the domain outside ``roots`` and ``identical``.
        undecided: intervals in which solutions may lie that are not in ``roots``.
        identical: intervals on which the two outputs are equal everywhere.
        status: how the computation ended.
        stats: counts and times of the engine.
        pieces: piecewise-linear networks: the outputs along the line; else empty.
        at: the fixed inputs.
    """

    roots: tuple[Root, ...]
    variable: str
    domain: Interval
    complete: bool
    undecided: tuple[Interval, ...] = ()
    identical: tuple[Interval, ...] = ()
    status: Status = Status.COMPLETE
    stats: Mapping[str, Any] = field(default_factory=dict)
    pieces: tuple[Piece, ...] = ()
    at: Mapping[str, float] = field(default_factory=dict)

    @overload
    def __getitem__(self, index: int) -> Root: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Root]: ...
    def __getitem__(self, index: int | slice) -> Root | Sequence[Root]:
        return self.roots[index]

    def __len__(self) -> int:
        return len(self.roots)

    def __iter__(self) -> Iterator[Root]:
        return iter(self.roots)

    @property
    def values(self) -> Array:
        """The solutions as float64, shape ``(len(self),)``."""
        return np.array([root.value for root in self.roots], dtype=np.float64)


@dataclass(frozen=True)
class Segment:
    """One straight part of an exact 2-D boundary: ``a x_1 + b x_2 + c = 0`` between two points.

    Args:
        start: shape ``(2,)``.
        end: shape ``(2,)``.
        coefficients: ``(a, b, c)``.
        exact: the same as fractions in exact mode, else None.
    """

    start: tuple[float, float]
    end: tuple[float, float]
    coefficients: tuple[float, float, float]
    exact: tuple[Fraction, Fraction, Fraction] | None = None


@dataclass(frozen=True)
class Component:
    """One connected part of a curve.

    Args:
        points: vertices in order, shape ``(k, d)``; ``d`` free inputs.
        closed: whether the last vertex is joined to the first.
        segments: piecewise-linear networks: the straight parts with their equations.
    """

    points: Array
    closed: bool
    segments: tuple[Segment, ...] = ()

    @property
    def length(self) -> float:
        """The length of the polyline, in input units."""
        ring = np.vstack([self.points, self.points[:1]]) if self.closed else self.points
        steps = np.diff(ring, axis=0)
        # In units of the largest step: squares of large or tiny numbers leave float64.
        unit = float(np.abs(steps).max(initial=0.0)) or 1.0
        return float(np.linalg.norm(steps / unit, axis=1).sum() * unit)


@dataclass(frozen=True, repr=False)
class Curve(_Told):
    """The boundary in a 2-D box.

    Args:
        components: connected parts.
        names: the two free inputs.
        box: the box in the free inputs.
        complete: proven: the components are all there is, each with the right topology.
        undecided: boxes (in the free inputs) that could not be decided.
        ties: polygons ``(k, 2)`` on which both outputs are equal everywhere.
        status: how the computation ended.
        stats: counts and times.
        certificate: how it is proven.
        words: the claim as a sentence.
    """

    components: tuple[Component, ...]
    names: tuple[str, str]
    box: Box
    complete: bool
    undecided: tuple[Box, ...] = ()
    ties: tuple[Array, ...] = ()
    status: Status = Status.COMPLETE
    stats: Mapping[str, Any] = field(default_factory=dict)
    certificate: Certificate = field(default_factory=Sampled)
    words: str = ""

    @property
    def length(self) -> float:
        """The total length, in input units."""
        return sum(component.length for component in self.components)


@dataclass(frozen=True, repr=False)
class Surface(_Told):
    """The boundary in a 3-D box as a mesh.

    Args:
        vertices: shape ``(v, 3)``.
        faces: triangles, shape ``(f, 3)``, places of vertices.
        names: the three free inputs.
        box: the box in the free inputs.
        complete: proven: the mesh misses no part of the boundary.
        undecided: boxes that could not be decided.
        status: how the computation ended.
        stats: counts and times.
        certificate: how it is proven.
        words: the claim as a sentence.
        polygons: piecewise-linear networks: the exact facets, else empty.
        ties: the vertices ``(k, 3)`` of the regions on which both outputs are equal everywhere.
        isolated: the vertices ``(k, 3)`` of single points and edges of the boundary outside
            facets and ties.
    """

    vertices: Array
    faces: Array
    names: tuple[str, str, str]
    box: Box
    complete: bool
    undecided: tuple[Box, ...] = ()
    status: Status = Status.COMPLETE
    stats: Mapping[str, Any] = field(default_factory=dict)
    certificate: Certificate = field(default_factory=Sampled)
    words: str = ""
    polygons: tuple[Array, ...] = ()
    ties: tuple[Array, ...] = ()
    isolated: tuple[Array, ...] = ()


@dataclass(frozen=True)
class Region:
    """One linear region: the outputs are ``W x + b`` on the polytope with these vertices.

    They are the model's outputs where these are affine on the region; where the model has units
    that ``z_i - z_j`` does not need (an activation that was cancelled, other heads), ``W`` and
    ``b`` have one row, for the reduced difference ``g``.

    Args:
        pattern: which piece every unit is on.
        vertices: shape ``(k, d)``; in 2-D in counter-clockwise order.
        W: shape ``(m, d)``, in the free inputs.
        b: shape ``(m,)``.
    """

    pattern: bytes
    vertices: Array
    W: Array
    b: Array


@dataclass(frozen=True, repr=False)
class PiecewiseBoundary(_Told):
    """All linear regions in a box and the boundary's pieces.

    Args:
        regions: every region of full dimension.
        pieces: the boundary's segments (2-D), or facets with vertices (3-D and more).
        ties: regions where both outputs are equal everywhere.
        names: the free inputs.
        box: the box in the free inputs.
        complete: proven: the regions fill the box.
        undecided: parts that could not be decided.
        status: how the computation ended.
        stats: counts and times.
        certificate: how it is proven.
        isolated: the vertices ``(k, d)`` of parts of the boundary of lower dimension (points, and
            edges in 3-D and more) outside pieces and ties.
    """

    regions: Sequence[Region]
    pieces: tuple[Any, ...]
    ties: tuple[Region, ...]
    names: tuple[str, ...]
    box: Box
    complete: bool
    undecided: tuple[Box, ...] = ()
    status: Status = Status.COMPLETE
    stats: Mapping[str, Any] = field(default_factory=dict)
    certificate: Certificate = field(default_factory=Sampled)
    isolated: tuple[Array, ...] = ()


@dataclass(frozen=True, repr=False)
class Nearest(_Told):
    """The boundary point nearest to an input.

    Args:
        point: the point found, shape ``(n,)``, or None when none was found.
        distance: its distance: an upper bound on the true one (inf when none was found).
        lower_bound: a proven lower bound on the true distance.
        norm: ``l2``, ``linf`` or ``l1``.
        certificate: of the lower bound.
        witness: how the point is known to lie on the boundary.
        status: how the computation ended.
        stats: counts and times.
    """

    point: Array | None
    distance: float
    lower_bound: float
    norm: str
    certificate: Certificate
    witness: Certificate
    status: Status = Status.COMPLETE
    stats: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, repr=False)
class Verdict(_Told):
    """Whether a box is free of the boundary.

    Args:
        excluded: True: proven that no point of the box has equal outputs; False: a witness was
            found; None: undecided.
        witness: a point of the box where the outputs are equal, shape ``(n,)``, or None.
        sign: the proven sign of ``z_i - z_j`` on the box when excluded.
        certificate: of the statement.
        undecided: the boxes left when undecided.
        status: how the computation ended.
        stats: counts and times.
    """

    excluded: bool | None
    witness: Array | None
    sign: int
    certificate: Certificate
    undecided: tuple[Box, ...] = ()
    status: Status = Status.COMPLETE
    stats: Mapping[str, Any] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return self.excluded is True


@dataclass(frozen=True)
class GraphBox:
    """A box on which the boundary is exactly one graph ``x_k = g(others)``.

    For every choice of the other inputs in the box there is exactly one ``x_k`` in ``interval``
    with equal outputs, and ``g`` is as smooth as the network.

    Args:
        box: of all inputs; its interval of ``x_k`` is ``interval``.
        interval: proven enclosure of ``g`` over the box.
        slopes: proven enclosures of ``dg/dx_j`` for every input; ``(0, 0)`` for ``x_k`` itself and
            for fixed inputs.
        sign: the proven sign of the derivative of ``z_i - z_j`` by ``x_k``.
    """

    box: Box
    interval: Interval
    slopes: tuple[Interval, ...]
    sign: int


@dataclass(frozen=True, repr=False)
class Graph(_Told):
    """Where the boundary is a graph over the other inputs, proven by the implicit function theorem.

    Args:
        boxes: graph boxes; neighbours may share parts of their graphs at common faces.
        variable: the name of ``x_k``.
        box: the box asked about, of all inputs.
        complete: proven: every boundary point of the box lies on one of the graphs.
        undecided: boxes where the boundary may turn back (vertical tangents), or the budget ended.
        status: how the computation ended.
        stats: counts and times.
        certificate: how it is proven.
    """

    boxes: tuple[GraphBox, ...]
    variable: str
    box: Box
    complete: bool
    undecided: tuple[Box, ...] = ()
    status: Status = Status.COMPLETE
    stats: Mapping[str, Any] = field(default_factory=dict)
    certificate: Certificate = field(default_factory=Sampled)


@dataclass(frozen=True)
class Junction:
    """A point where three outputs tie and no other output is larger.

    Args:
        point: shape ``(2,)``, in the free inputs.
        box: proven to hold exactly one such point.
        outputs: the three outputs (names; engines give 0-based places).
        certificate: how it is proven.
    """

    point: Array
    box: Box
    outputs: tuple[Output, Output, Output]
    certificate: Certificate


@dataclass(frozen=True)
class DecisionRegion:
    """All points of a box where one output is the largest.

    Args:
        output: the output (its name; engines give the 0-based place).
        area: the area, in units of the two free inputs (numerical, between the bounds).
        lower: proven lower bound of the area.
        upper: proven upper bound of the area.
    """

    output: Output
    area: float
    lower: float
    upper: float


@dataclass(frozen=True, repr=False)
class DecisionMap(_Told):
    """Which output is largest where, in a box of two free inputs.

    Args:
        curves: per pair of outputs (names; engines give 0-based places ``i < j``) the part of
            ``z_i = z_j`` where no other output is larger; pairs that never meet in the box are
            left out.
        junctions: the points where three of them meet.
        regions: one per output that is largest somewhere in the box.
        names: the two free inputs.
        box: the box in the free inputs.
        complete: proven: no curve and no junction is missing.
        undecided: boxes that could not be decided.
        status: how the computation ended.
        stats: counts and times.
        certificate: how it is proven.
        words: the claim as a sentence.
    """

    curves: Mapping[tuple[Output, Output], Curve]
    junctions: tuple[Junction, ...]
    regions: tuple[DecisionRegion, ...]
    names: tuple[str, str]
    box: Box
    complete: bool
    undecided: tuple[Box, ...] = ()
    status: Status = Status.COMPLETE
    stats: Mapping[str, Any] = field(default_factory=dict)
    certificate: Certificate = field(default_factory=Sampled)
    words: str = ""

    def named(self, outputs: Sequence[str]) -> DecisionMap:
        """Return the same map with the outputs' names instead of their 0-based places."""

        def name(output: Output) -> str:
            return outputs[output] if isinstance(output, int) else output

        return replace(
            self,
            curves={(name(a), name(b)): curve for (a, b), curve in self.curves.items()},
            junctions=tuple(
                replace(j, outputs=(name(j.outputs[0]), name(j.outputs[1]), name(j.outputs[2])))
                for j in self.junctions
            ),
            regions=tuple(replace(r, output=name(r.output)) for r in self.regions),
        )
