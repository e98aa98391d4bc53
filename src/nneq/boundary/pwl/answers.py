r"""From pieces of lines to answers: roots with their certificates, and what stays undecided.

Outside the strips ``|form| <= error`` there is no zero, and a change of sign across a strip is one.
What float64 cannot tell (a touching point, an interval of equal outputs, a zero at an end of the
domain) is decided in rational arithmetic on that strip alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import numpy as np

from nneq.boundary.pwl.exact import ExactPiece, Point, as_float, exact_pieces, fraction
from nneq.boundary.pwl.walk import UNIT, Program, Strips
from nneq.boundary.results import (
    Certificate,
    Clock,
    Crossing,
    Enclosed,
    Exact,
    Interval,
    Root,
    Sampled,
)
from nneq.semantics.rational import ExactWeights

__all__ = [
    "PROVEN",
    "Answer",
    "Cluster",
    "Line",
    "ends",
    "exact_answers",
    "float_answers",
    "joined",
    "settle",
]

Array = np.ndarray[Any, Any]
Progress = Callable[[float], None] | None
_FALLBACK_WORK = 2e8
PROVEN = Enclosed("a change of sign across an interval in which the rounding error is bounded")


@dataclass
class Answer:
    """What was found on one line: roots, intervals of equal outputs, and what is left."""

    roots: list[Root] = field(default_factory=list)
    identical: list[tuple[Fraction | float, Fraction | float]] = field(default_factory=list)
    undecided: list[Interval] = field(default_factory=list)


@dataclass(frozen=True, eq=False)
class Line:
    """One line and what is needed to look at it exactly."""

    program: Program
    weights: ExactWeights
    origin: Array
    direction: Array
    domain: Interval
    clock: Clock

    def exact(self, low: float, high: float) -> list[ExactPiece] | None:
        ends = (_point(low), _point(high))
        if ends[0] == ends[1]:
            return None
        return exact_pieces(
            self.program,
            [Fraction(float(v)) for v in self.origin],
            [Fraction(float(v)) for v in self.direction],
            ends,
            self.clock,
            self.weights,
        )


def _point(t: float) -> Point:
    if math.isinf(t):
        return (1 if t > 0 else -1, 0)
    return Fraction(t).as_integer_ratio()


# ---------------------------------------------------------------------------- exact mode
def exact_answers(lines: list[Line], progress: Progress) -> tuple[list[Answer], list[int], bool]:
    """Return the answers, how many pieces each line has, and whether Ctrl-C ended it."""
    answers, counts = [], []
    stopped = False
    for k, line in enumerate(lines):
        found = None
        if not stopped:
            try:
                found = line.exact(*line.domain)
            except KeyboardInterrupt:
                stopped = True
        if found is None:
            answers.append(Answer(undecided=[line.domain]))
        else:
            answer = Answer()
            _exact_roots(found, answer, Exact("rational arithmetic"))
            answers.append(answer)
        counts.append(len(found or ()))
        if progress is not None:
            progress((k + 1) / len(lines))
    return answers, counts, stopped


def _value(piece: ExactPiece, point: Point) -> Fraction:
    return piece.slope[0] * point[0] + piece.intercept[0] * point[1]


def _exact_roots(pieces: Sequence[ExactPiece], answer: Answer, certificate: Certificate) -> None:
    """Enter the zeros and the intervals of zeros of the first output."""
    zeros: list[Point] = []
    spans: list[tuple[Point, Point]] = []
    for piece in pieces:
        slope, intercept = piece.slope[0], piece.intercept[0]
        if slope == 0 and intercept == 0:
            if spans and spans[-1][1] == piece.start:
                spans[-1] = (spans[-1][0], piece.end)
            else:
                spans.append((piece.start, piece.end))
            continue
        if slope == 0:
            continue
        t = -intercept / slope
        low, high = fraction(piece.start), fraction(piece.end)
        if (low is None or low <= t) and (high is None or t <= high):
            point = t.as_integer_ratio()
            if not zeros or zeros[-1] != point:
                zeros.append(point)
    inside = {end for span in spans for end in span}
    for point in zeros:
        if point in inside:
            continue
        value = as_float(point)
        answer.roots.append(
            Root(
                lower=_below(point, value),
                upper=_above(point, value),
                value=value,
                crossing=_crossing(pieces, point),
                certificate=certificate,
                exact=Fraction(*point),
            )
        )
    for start, end in spans:
        low, high = fraction(start), fraction(end)
        answer.identical.append(
            (-math.inf if low is None else low, math.inf if high is None else high)
        )


def _below(point: Point, value: float) -> float:
    return value if Fraction(value) <= Fraction(*point) else math.nextafter(value, -math.inf)


def _above(point: Point, value: float) -> float:
    return value if Fraction(value) >= Fraction(*point) else math.nextafter(value, math.inf)


def _crossing(pieces: Sequence[ExactPiece], point: Point) -> Crossing:
    t = Fraction(*point)
    before = after = 0
    for piece in pieces:
        low, high = fraction(piece.start), fraction(piece.end)
        slope = (piece.slope[0] > 0) - (piece.slope[0] < 0)
        if (low is None or low < t) and (high is None or t <= high):
            before = -slope
        if (low is None or low <= t) and (high is None or t < high):
            after = slope
    if before * after > 0:
        return "touch"
    if before < 0 or after > 0:
        return "up"
    return "down" if before > 0 or after < 0 else "unknown"


# ---------------------------------------------------------------------------- float mode
@dataclass
class Cluster:
    """A run of strips in which ``g`` may be zero, between proven signs."""

    low: float
    high: float
    before: int
    after: int
    roots: list[tuple[float, float]]
    pieces: int = 1


def float_answers(lines: list[Line], strips: Strips) -> tuple[list[Answer], list[int]]:
    """Return the answers from pieces with certain errors, and how many pieces each line has."""
    answers = [Answer() for _ in lines]
    a, c, error = strips.forms[:, 0, 0], strips.forms[:, 1, 0], strips.error[:, 0]
    low = a * strips.start[:, 0] + c * strips.start[:, 1]
    high = a * strips.end[:, 0] + c * strips.end[:, 1]
    far = np.maximum(np.abs(strips.start), np.abs(strips.end))
    tolerance = error + 8 * UNIT * (np.abs(a) * far[:, 0] + np.abs(c) * far[:, 1])
    first = np.where(np.abs(low) > tolerance, np.sign(low), 0).astype(int)
    last = np.where(np.abs(high) > tolerance, np.sign(high), 0).astype(int)
    counts = np.bincount(strips.line, minlength=len(lines)).tolist()
    suspects = np.nonzero(~((first == last) & (first != 0)))[0]
    run: Cluster | None = None
    previous = -2
    owner = -1
    for k in suspects:
        line = int(strips.line[k])
        start, end = ends(strips, int(k))
        if not strips.done[k]:
            answers[line].undecided.append((start, end))
            continue
        piece = _cluster(
            start, end, float(a[k]), float(c[k]), float(tolerance[k]), int(first[k]), int(last[k])
        )
        if run is not None and previous == k - 1 and owner == line and run.after == 0 == first[k]:
            run = Cluster(
                run.low,
                piece.high,
                run.before,
                piece.after,
                run.roots + piece.roots,
                run.pieces + 1,
            )
        else:
            if run is not None:
                settle(run, lines[owner], answers[owner])
            run = piece
        previous, owner = int(k), line
        if run.after:
            settle(run, lines[owner], answers[owner])
            run = None
    if run is not None:
        settle(run, lines[owner], answers[owner])
    for answer in answers:
        answer.undecided = joined(answer.undecided)
    return answers, counts


def ends(strips: Strips, k: int) -> Interval:
    """Return where piece ``k`` begins and ends."""
    found = []
    for p, q in (strips.start[k], strips.end[k]):
        found.append(float(p / q) if q else math.copysign(math.inf, p))
    return found[0], found[1]


def _cluster(
    start: float, end: float, a: float, c: float, tolerance: float, first: int, last: int
) -> Cluster:
    r"""Return where ``|a p + c q| <= tolerance`` on one piece, widened by a few ulps.

    On a finite piece ``q`` is 1.  Between a finite end ``b`` and infinity the point at
    ``|t - b| = D`` is ``(p, q)`` with ``q = 1 / (1 + D)``, so that ``|a t + c|`` may be as large as
    ``tolerance * (1 + D)``: the zeros lie between
    :math:`(|g(b)| - \tau) / (|a| + \tau)` and :math:`(|g(b)| + \tau) / (|a| - \tau)` from ``b``.
    """
    low, high = start, end
    roots = []
    if a != 0:
        t = -c / a
        if math.isinf(start) or math.isinf(end):
            low, high = _unbounded(start, end, a, c, tolerance, first, last)
        else:
            reach = tolerance / abs(a) * 1.0001 + 4 * UNIT * abs(t) + 1e-300
            low = max(start, t - reach) if first else low
            high = min(end, t + reach) if last else high
        if start <= t <= end:
            roots.append((t, tolerance))
    return Cluster(low, high, first, last, roots)


def _unbounded(
    start: float, end: float, a: float, c: float, tolerance: float, first: int, last: int
) -> Interval:
    """Return the part of a piece with one infinite end in which zeros may lie."""
    left = math.isinf(start)
    b = end if left else start
    value = abs(a * b + c)
    slack = tolerance + 4 * UNIT * (abs(a * b) + abs(c))
    near, far = 0.0, math.inf
    if last if left else first:
        near = max(0.0, (value - slack) / (abs(a) + tolerance)) * (1 - 8 * UNIT)
    if (first if left else last) and abs(a) > tolerance:
        far = (value + slack) / (abs(a) - tolerance) * (1 + 8 * UNIT)
    ulps = 4 * UNIT * (abs(b) + near) + 1e-300, 4 * UNIT * (abs(b) + far) + 1e-300
    if left:
        return b - far - ulps[1], min(b, b - near + ulps[0])
    return max(b, b + near - ulps[0]), b + far + ulps[1]


def settle(run: Cluster, line: Line, answer: Answer, narrow: float = 1e-7) -> None:
    """Enter one cluster: a proven crossing (``narrow``: one root is listed), or an exact look."""
    width = run.high - run.low
    scale = max(abs(run.low), abs(run.high), 1.0)
    if run.before * run.after < 0 and run.roots and width <= narrow * scale:
        value = min(max(run.roots[len(run.roots) // 2][0], run.low), run.high)
        crossing: Crossing = "up" if run.before < 0 else "down"
        answer.roots.append(Root(run.low, run.high, value, crossing, PROVEN))
        return
    margin = 1e-6 * scale if math.isfinite(scale) else 1.0
    low = max(line.domain[0], run.low - margin) if math.isfinite(run.low) else run.low
    high = min(line.domain[1], run.high + margin) if math.isfinite(run.high) else run.high
    found = None
    if line.program.work * (run.pieces + 4) <= _FALLBACK_WORK and not line.clock.over:
        found = line.exact(low, high)
    if found is not None:
        local = Answer()
        _exact_roots(found, local, Exact("rational arithmetic on the interval in doubt"))
        answer.roots += [r for r in local.roots if _within(r, run)]
        answer.identical += local.identical
        return
    if run.before * run.after < 0:
        value = run.roots[0][0] if run.roots else 0.5 * (run.low + run.high)
        crossing = "up" if run.before < 0 else "down"
        answer.roots.append(Root(run.low, run.high, value, crossing, PROVEN))
        if width > narrow * scale:
            answer.undecided.append((run.low, run.high))
        return
    for value, residual in run.roots:
        note = Sampled("a zero of the rounded form; the bound is too wide to prove it", residual)
        answer.roots.append(Root(run.low, run.high, value, "unknown", note))
    answer.undecided.append((run.low, run.high))


def _within(root: Root, run: Cluster) -> bool:
    """Whether an exact root belongs to this cluster (its margin may reach into a neighbour's)."""
    return root.upper >= run.low and root.lower <= run.high


def joined(spans: list[Interval]) -> list[Interval]:
    """Return the union of intervals, sorted."""
    found: list[Interval] = []
    for low, high in sorted(spans):
        if found and low <= found[-1][1]:
            found[-1] = (found[-1][0], max(found[-1][1], high))
        else:
            found.append((low, high))
    return found
