r"""The nearest boundary point in the l1, l2 or l-infinity norm, with a proven lower bound.

A local search on lines gives an upper bound.  The lower one comes from linear bounds on boxes of
inputs, then, with the time that is left, from branch and bound over the units that can change piece
within that distance.  The l2 norm is approximated from below by cuts
:math:`s \ge u^T (x' - x)` that are added where the linear program touches it.
"""

from __future__ import annotations

import heapq
import math
from dataclasses import dataclass, field
from typing import Any, Literal, cast

import numpy as np

from nneq.boundary.problem import Problem
from nneq.boundary.pwl.excludes import check_inputs, exact_sign
from nneq.boundary.pwl.lines import solve_lines
from nneq.boundary.pwl.magnitude import WORDS, fits_float
from nneq.boundary.pwl.relax import Relaxation, proven_bound
from nneq.boundary.pwl.walk import Program
from nneq.boundary.results import Box, Clock, Enclosed, Exact, Nearest, Sampled, Status
from nneq.boundary.smooth.nearest import nearest_point as by_boxes
from nneq.errors import NneqError
from nneq.semantics.domain import around, lengths
from nneq.semantics.pattern import affine_piece
from nneq.semantics.rational import ExactWeights

__all__ = ["nearest_point"]

Array = np.ndarray[Any, Any]
Norm = Literal["l1", "l2", "linf"]
_CLOSE = 1e-9
_BOXES_SHARE = 0.5
_ORDER = {"l1": 1, "l2": 2, "linf": np.inf}


def distance(a: Array, b: Array, norm: str) -> float:
    """Return the distance in the norm."""
    return float(lengths(a - b, _ORDER[norm]))


def _step(gradient: Array, value: float, norm: str) -> Array:
    """Return the shortest step onto ``gradient . step + value = 0``."""
    # Squares of tiny numbers are 0.
    size = float(np.abs(gradient).max())
    gradient, value = gradient / size, value / size
    if norm == "l2":
        return np.asarray(-value * gradient / (gradient @ gradient))
    if norm == "linf":
        return np.asarray(-value * np.sign(gradient) / np.abs(gradient).sum())
    k = int(np.argmax(np.abs(gradient)))
    step = np.zeros_like(gradient)
    step[k] = -value / gradient[k]
    return step


@dataclass
class _Best:
    problem: Problem
    x: Array
    norm: Norm
    box: Box | None
    clock: Clock
    point: Array | None = None
    distance: float = math.inf
    lower: float = 0.0
    exact: bool = False
    notes: dict[str, Any] = field(default_factory=dict)

    def along(self, directions: Array) -> None:
        """Look for crossings on half lines from ``x``."""
        directions = directions[np.abs(directions).max(axis=1) > 0]
        if not len(directions):
            return
        origins = np.broadcast_to(self.x, directions.shape)
        top = math.inf
        found = solve_lines(
            self.problem, origins, directions, (0.0, top), clock=self.clock, pieces=False
        )
        _again(*(line.status for line in found))
        for line, direction in zip(found, directions, strict=True):
            # of these it is open whether a rival wins there
            lost = set(line.undecided)
            places = [root.value for root in line if (root.lower, root.upper) not in lost]
            places += [span[0] for span in line.identical]
            for t in sorted(places)[:1]:
                self.offer(self.x + t * direction)

    def offer(self, point: Array) -> bool:
        if self.box is not None:
            low, high = np.array(self.box.low), np.array(self.box.high)
            if (point < low).any() or (point > high).any():
                return False
        size = distance(point, self.x, self.norm)
        if size < self.distance:
            self.point, self.distance = point, size
            return True
        return False

    def polish(self) -> None:
        """Project onto the piece at the best point, again and again."""
        for _ in range(30):
            if self.point is None or self.clock.over:
                return
            piece = affine_piece(self.problem.network, self.point)
            gradient, value = piece.W[0], float(piece.W[0] @ self.x + piece.b[0])
            if not gradient.any():
                return
            before = self.distance
            self.along(_step(gradient, value, self.norm)[None])
            if self.distance >= before * (1 - 1e-12):
                return


def _again(*statuses: Status) -> None:
    """Let Ctrl-C that ended a part of the call end all of it."""
    if Status.INTERRUPTED in statuses:
        raise KeyboardInterrupt


def _search(best: _Best) -> None:
    """Find a close boundary point: gradient steps, axes, random directions."""
    x, n = best.x, len(best.x)
    rng = np.random.default_rng(0)
    piece = affine_piece(best.problem.network, x)
    directions = [rng.standard_normal((16, n))]
    if piece.W[0].any():
        own = [_step(piece.W[0], float(piece.value[0]) or 1.0, norm) for norm in _ORDER]
        directions.append(np.array([*own, *(-d for d in own)]))
    if n <= 64:
        directions += [np.eye(n), -np.eye(n)]
    best.along(np.concatenate(directions))
    best.polish()


def nearest_point(
    problem: Problem, x: Array, norm: str, *, clock: Clock, box: Box | None = None
) -> Nearest:
    """Return the boundary point nearest to ``x``.

    Args:
        problem: the question; its network must be piecewise linear.
        x: shape ``(n,)``.
        norm: ``l1``, ``l2`` or ``linf``.
        clock: the budget; when it ends, the gap between ``distance`` and ``lower_bound`` is open.
        box: where the point must lie; everywhere when None.

    Raises:
        UnsupportedError: when the network is not piecewise linear.
        NneqError: for an unknown norm.

    Guarantee: no boundary point is nearer than ``lower_bound`` (certified); ``distance`` is an
    upper bound; they agree to 1e-9 when ``status`` is complete.
    """
    if norm not in _ORDER:
        msg = f"the norm must be l1, l2 or linf, not {norm!r}"
        raise NneqError(msg)
    x = np.asarray(x, dtype=np.float64).reshape(-1)
    check_inputs(problem, Box(tuple(x), tuple(x)))
    weights = ExactWeights()
    sign = exact_sign(problem, x, weights)
    if sign == 0:
        proof = Exact("rational arithmetic: g(x) = 0")
        return Nearest(x.copy(), 0.0, 0.0, norm, proof, proof)
    best = _Best(problem, x, cast(Norm, norm), box, clock)
    if not fits_float(Program(problem.network), 16 * (1.0 + np.abs(x))):
        return Nearest(
            None, math.inf, 0.0, norm, Sampled(WORDS), Sampled(WORDS), Status.UNDECIDED,
            {"engine": "none: out of range"},
        )  # fmt: skip
    status = Status.COMPLETE
    lower = 0.0
    stats: dict[str, Any] = {"engine": "branch and bound over units", "programs": 0}
    try:
        if len(x) != 2:
            lower = _by_boxes(best, stats)
        _search(best)
        radius = best.distance
        if not math.isfinite(radius):
            radius = 8 * max(1.0, float(np.abs(x).max()))
            if box is not None:
                ends = np.concatenate([np.array(box.low) - x, np.array(box.high) - x])
                radius = float(np.abs(ends).max())
        found = _on_plane(problem, best, radius, stats) if len(x) == 2 else None
        lower, status = found or _prove(problem, best, radius, lower, stats)
    except KeyboardInterrupt:
        status = Status.INTERRUPTED
    lower = min(max(lower, best.lower), best.distance)
    witness: Any = Sampled("no boundary point was found")
    if best.point is not None:
        residual = float(np.abs(problem.network(*_shaped(problem, best.point))).max())
        witness = Enclosed("a change of sign on the line from x") if residual < 1e-6 else (
            Sampled("a root on a line from x", residual)
        )  # fmt: skip
    return Nearest(
        point=best.point,
        distance=best.distance,
        lower_bound=lower,
        norm=norm,
        certificate=Enclosed("branch and bound; bounds by weak duality with rounding errors"),
        witness=witness,
        status=status,
        stats=stats,
    )


def _shaped(problem: Problem, x: Array) -> list[Array]:
    parts, start = [], 0
    for port in problem.network.inputs:
        parts.append(x[start : start + port.size].reshape(port.shape))
        start += port.size
    return parts


def _on_plane(
    problem: Problem, best: _Best, radius: float, stats: dict[str, Any]
) -> tuple[float, Status] | None:
    """With two inputs: the nearest point of the complete boundary in the box around ``x``."""
    from nneq.boundary.pwl.trace import trace_plane

    x = best.x
    low, high = x - radius * 1.0001, x + radius * 1.0001
    if best.box is not None:
        low, high = np.maximum(low, best.box.low), np.minimum(high, best.box.high)
    if not (low < high).all():
        return None
    # Coordinates from x on, so that short distances keep their digits.
    local = Box(tuple(low - x), tuple(high - x))
    curve = trace_plane(problem, x, np.eye(2), local, names=("x_1", "x_2"), clock=best.clock)
    _again(curve.status)
    if not curve.complete:
        return None
    stats["engine"] = f"nearest point of the complete boundary; {curve.stats['engine']}"
    nearest, size = None, math.inf
    parts = [(np.array(s.start), np.array(s.end)) for c in curve.components for s in c.segments]
    parts += [(c.points[0], c.points[0]) for c in curve.components if not c.segments]
    for ring in curve.ties:
        parts += list(zip(ring, np.roll(ring, -1, axis=0), strict=True))
    for a, b in parts:
        point = _closest(a, b, best.norm)
        gap = float(lengths(point, _ORDER[best.norm]))
        if gap < size:
            nearest, size = point, gap
    if nearest is None:
        return (radius if best.box is None else best.distance), Status.COMPLETE
    best.along(nearest[None])
    if not math.isfinite(best.distance) or best.distance > size * (1 + 1e-9):
        best.point, best.distance = x + nearest, size
    return size * (1 - _CLOSE), Status.COMPLETE


def _closest(a: Array, b: Array, norm: str) -> Array:
    """Return the point of the segment from ``a`` to ``b`` nearest to the origin."""
    d = b - a
    places = [0.0, 1.0]
    scale = float(max(np.abs(a).max(), np.abs(b).max())) or 1.0
    if norm == "l2":
        a, d = a / scale, d / scale  # squares of tiny numbers are 0
        size = float(d @ d)
        places.append(float(-(a @ d) / size) if size else 0.0)
        a, d = a * scale, d * scale
    else:
        # The norm is piecewise linear along the segment: least at a kink.
        tops = [(a[0], d[0]), (a[1], d[1])]
        if norm == "linf":
            tops += [(a[0] - a[1], d[0] - d[1]), (a[0] + a[1], d[0] + d[1])]
        places += [float(-v / r) for v, r in tops if r != 0]
    points = [a + min(max(t, 0.0), 1.0) * d for t in places]
    return np.asarray(min(points, key=lambda p: float(lengths(p, _ORDER[norm]))))


@dataclass
class _Norm:
    """The rows that make the last variable a lower bound of the norm of ``half * e + offset``."""

    n: int
    total: int
    half: Array
    offset: Array
    norm: str
    rows: list[Array] = field(default_factory=list)
    sides: list[float] = field(default_factory=list)

    def cut(self, u: Array) -> None:
        """Add ``s >= u . (half * e + offset)``."""
        row = np.zeros(self.total)
        row[: self.n] = u * self.half
        row[-1] = -1.0
        self.rows.append(row)
        # Rounding of the row: a few ulps of its size.
        slack = 1e-14 * float(np.abs(u) @ (self.half + np.abs(self.offset)))
        self.sides.append(float(-(u @ self.offset)) + slack)


def _by_boxes(best: _Best, stats: dict[str, Any]) -> float:
    """Return the lower bound that linear bounds on boxes prove, and look at the point they find."""
    if best.box is not None or best.clock.over:
        return 0.0
    found = by_boxes(best.problem, best.x, best.norm, clock=best.clock.share(_BOXES_SHARE))
    stats["boxes"] = found.stats["boxes"]
    best.lower = found.lower_bound
    if found.point is not None and found.status is Status.INTERRUPTED:
        best.offer(found.point)
    _again(found.status)
    if found.point is not None and found.distance < 1.5 * best.distance:
        best.along((found.point - best.x)[None])
        best.polish()
    return found.lower_bound


def _prove(
    problem: Problem, best: _Best, radius: float, known: float, stats: dict[str, Any]
) -> tuple[float, Status]:
    """Return a proven lower bound of the distance, at least ``known``, and how the proof ended."""
    if best.clock.over:
        return known, Status.BUDGET
    x, n = best.x, len(best.x)
    reach = radius * (1 + 1e-9)
    low, high = around(x, reach)
    if best.box is not None:
        low, high = np.maximum(low, best.box.low), np.minimum(high, best.box.high)
    center = low + (high - low) / 2
    half = np.maximum(high - center, center - low) * (1 + 2**-50)
    frame = Relaxation(Program(problem.network), center, half)
    stats["units that change piece"] = len(frame.rows)
    count = n + len(frame.rows)
    extra = n if best.norm == "l1" else 0
    total = count + extra + 1
    rows = _Norm(n, total, half, center - x, best.norm)
    _norm_rows(rows, count, extra)
    if best.norm == "l2" and best.point is not None:
        rows.cut((best.point - x) / best.distance * (1 - 1e-15))
    g = np.zeros(total)
    g[:count] = frame.g_row
    zero = [(g, -frame.g_shift + frame.g_error), (-g, frame.g_shift + frame.g_error)]
    c = np.zeros(total)
    c[-1] = 1.0
    top = radius * (1 + 1e-6)
    queue: list[tuple[float, int, dict[int, bool]]] = [(known, 0, {})]
    number = 0
    closed = math.inf
    while queue:
        floor, _, sides = queue[0]
        if floor >= best.distance * (1 - _CLOSE) or best.clock.over:
            break
        heapq.heappop(queue)
        b, lower, upper = frame.node(sides)
        bound, v = _least(frame, rows, zero, c, b, lower, upper, extra, top, best, stats, 5)
        if v is not None and frame.gaps(v[:count]).max(initial=0.0) <= 1e-9 * radius:
            # The units are as they should be: only the roundness of the ball is left.
            bound, v = _least(frame, rows, zero, c, b, lower, upper, extra, top, best, stats, 60)
        bound = max(bound, floor)
        if bound >= best.distance * (1 - _CLOSE) or bound == math.inf:
            closed = min(closed, bound)
            continue
        gaps = np.array([row.high for row in frame.rows])
        if v is not None:
            point = frame.point(v)
            best.along((point - x)[None])
            gaps = frame.gaps(v[:count])
        gaps[list(sides)] = -np.inf
        if not len(gaps) or gaps.max() == -np.inf:
            closed = min(closed, bound)
            continue
        k = int(np.argmax(gaps))
        for side in (True, False):
            number += 1
            heapq.heappush(queue, (bound, number, {**sides, k: side}))
    open_floor = queue[0][0] if queue else math.inf
    proven = max(known, min(closed, open_floor, reach if best.box is None else math.inf))
    if proven == math.inf:
        proven = best.distance if math.isfinite(best.distance) else reach
    done = proven >= best.distance * (1 - 4 * _CLOSE)
    if done:
        return proven, Status.COMPLETE
    if not math.isfinite(best.distance) and not queue:
        return proven, Status.UNDECIDED if best.box is None else Status.COMPLETE
    return proven, Status.BUDGET if best.clock.over else Status.UNDECIDED


def _norm_rows(rows: _Norm, count: int, extra: int) -> None:
    n = rows.n
    if rows.norm == "l1":
        for j in range(n):
            for s in (1.0, -1.0):
                row = np.zeros(rows.total)
                row[j] = s * rows.half[j]
                row[count + j] = -1.0
                rows.rows.append(row)
                rows.sides.append(
                    -s * rows.offset[j] + 1e-14 * (rows.half[j] + abs(rows.offset[j]))
                )
        row = np.zeros(rows.total)
        row[count : count + extra] = 1.0
        row[-1] = -1.0
        rows.rows.append(row)
        rows.sides.append(0.0)
        return
    for j in range(n):
        u = np.zeros(n)
        u[j] = 1.0
        rows.cut(u)
        rows.cut(-u)


def _least(
    frame: Relaxation,
    rows: _Norm,
    zero: list[tuple[Array, float]],
    c: Array,
    b: Array,
    lower: Array,
    upper: Array,
    extra: int,
    top: float,
    best: _Best,
    stats: dict[str, Any],
    cuts: int,
) -> tuple[float, Array | None]:
    """Return the proven least distance in one node of the tree, and where."""
    total = rows.total
    wide = np.zeros((len(frame.A), total))
    wide[:, : frame.A.shape[1]] = frame.A
    low = np.concatenate([lower, np.zeros(extra + 1)])
    high = np.concatenate([upper, np.full(extra, 2 * top), [top * math.sqrt(max(rows.n, 1)) * 2]])
    bound, v = -math.inf, None
    for _ in range(cuts if rows.norm == "l2" else 1):
        A = np.concatenate([wide, np.array(rows.rows), np.array([r for r, _ in zero])])
        sides = np.concatenate([b, rows.sides, [s for _, s in zero]])
        found, v = proven_bound(c, 0.0, A, sides, low, high)
        stats["programs"] += 1
        best.clock.spend(1)
        bound = max(bound, found)
        if v is None or rows.norm != "l2":
            break
        step = rows.half * v[: rows.n] + rows.offset
        size = float(np.linalg.norm(step))
        if size <= v[-1] * (1 + 1e-10) or bound >= best.distance * (1 - _CLOSE) or best.clock.over:
            break
        rows.cut(step / size * (1 - 1e-15))
    return bound, v
