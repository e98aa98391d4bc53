r"""All solutions of ``g = 0`` on lines and segments of a piecewise-linear network.

Float mode is proven too: every piece carries a bound of its error (:mod:`nneq.boundary.pwl.walk`),
so outside the strips ``|form| <= error`` there is no zero, and a change of sign across a strip is
one.  What float64 cannot tell (a touching point, an interval of equal outputs, a zero at an end of
the domain) is decided in rational arithmetic on that strip alone.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import numpy as np

from nneq.boundary.problem import Problem
from nneq.boundary.pwl.exact import ExactPiece, Point, as_float, exact_pieces, fraction
from nneq.boundary.pwl.magnitude import fits_float, rounded
from nneq.boundary.pwl.walk import UNIT, Program, Strips, walk_lines
from nneq.boundary.results import (
    Certificate,
    Clock,
    Crossing,
    Enclosed,
    Exact,
    Interval,
    Piece,
    Root,
    Sampled,
    Solutions,
    Status,
)
from nneq.errors import NneqError, UnsupportedError, problems_message
from nneq.ir import network as ir
from nneq.ir.float64 import evaluate
from nneq.semantics.pattern import obstacles, split_inputs
from nneq.semantics.rational import ExactWeights, evaluate_exact

__all__ = ["solve_lines"]

Array = np.ndarray[Any, Any]
Progress = Callable[[float], None] | None
_FALLBACK_WORK = 2e8
# Above these sizes, crossings are bracketed before the pieces are enumerated.
_MANY_UNITS = 20_000
_MUCH_WORK = 5e6
_SAMPLES = 257
_PROVEN = Enclosed("a change of sign across an interval in which the rounding error is bounded")


@dataclass
class _Answer:
    roots: list[Root] = field(default_factory=list)
    identical: list[tuple[Fraction | float, Fraction | float]] = field(default_factory=list)
    undecided: list[Interval] = field(default_factory=list)


@dataclass(frozen=True, eq=False)
class _Line:
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


def _check(problem: Problem, origins: Array, directions: Array, domain: Interval) -> None:
    found = obstacles(problem.network)
    if found:
        remedy = "use the certified engine (solve without exact=True) for smooth networks"
        raise UnsupportedError(
            problems_message("the exact engine needs a piecewise-linear network", found, remedy)
        )
    problems = []
    if not (np.isfinite(origins).all() and np.isfinite(directions).all()):
        problems.append("a point of the line is not finite")
    elif not np.any(directions != 0, axis=1).all():
        problems.append("a line has length zero: its two points are the same")
    low, high = domain
    if math.isnan(low) or math.isnan(high) or low >= high:
        problems.append(f"the domain {low!r} to {high!r} is empty")
    if problems:
        raise NneqError(problems_message("cannot solve on this line", problems))


def solve_lines(
    problem: Problem,
    origins: Array,
    directions: Array,
    domain: Interval,
    *,
    variable: str = "t",
    exact: bool = False,
    clock: Clock,
    progress: Progress = None,
    pieces: bool = True,
    outputs: ir.Network | None = None,
) -> list[Solutions]:
    """Return the solutions of ``g(origin + t * direction) = 0``, one ``Solutions`` per line.

    Args:
        problem: the question; its network must be piecewise linear.
        origins: shape ``(L, n)``.
        directions: shape ``(L, n)`` or ``(n,)``.
        domain: the interval of ``t``; infinite ends are exact (homogeneous coordinates).
        variable: the name of ``t`` in the answer.
        exact: rational arithmetic throughout: ``Root.exact`` is a fraction at which ``g`` is 0.
        clock: the budget.
        progress: called with the share of the lines that is finished.
        pieces: whether to return the piecewise formula of the outputs.
        outputs: the network whose outputs ``.pieces`` describes; ``g`` itself when None.

    Raises:
        UnsupportedError: when the network is not piecewise linear; names the nodes.
        NneqError: for a line of length zero or an empty domain.

    Guarantee: exact with ``exact=True``; else certified: every zero lies in a root's enclosure, an
    identical interval or an undecided interval, and every enclosure holds a zero.
    """
    origins = np.atleast_2d(np.asarray(origins, dtype=np.float64))
    directions = np.asarray(directions, dtype=np.float64)
    directions = np.broadcast_to(np.atleast_2d(directions), origins.shape)
    domain = (float(domain[0]), float(domain[1]))
    _check(problem, origins, directions, domain)
    program = Program(problem.network)
    weights = ExactWeights()
    lines = [
        _Line(program, weights, o, d, domain, clock)
        for o, d in zip(origins, directions, strict=True)
    ]
    interrupted = False
    # What float64 cannot hold is a task for fractions.
    exact = exact or not fits_float(program, np.abs(origins).max(0) + np.abs(directions).max(0))
    if exact:
        answers, counts, interrupted = _exact_answers(lines, progress)
    else:
        share = None if progress is None else (lambda k: progress((k + 1) / len(lines)))
        known = [_bracketed(line) for line in lines] if _is_large(program, domain) else []
        strips, interrupted = walk_lines(program, origins, directions, domain, clock, share)
        answers, counts = _float_answers(lines, strips)
        for answer, roots in zip(answers, known, strict=False):
            _enter_brackets(answer, roots)
    whole = pieces and not clock.over and not interrupted
    shown = _formulas(program, outputs, lines, exact=exact) if whole else [()] * len(lines)
    rivals = None if problem.rivals is None else Program(problem.rivals)
    found = []
    for k, (line, answer) in enumerate(zip(lines, answers, strict=True)):
        if rivals is not None:
            answer = _decisions(rivals, line, answer)
        status = Status.COMPLETE
        if answer.undecided:
            status = Status.BUDGET if clock.over else Status.UNDECIDED
            status = Status.INTERRUPTED if interrupted else status
        found.append(
            Solutions(
                roots=tuple(sorted(answer.roots, key=lambda root: root.value)),
                variable=variable,
                domain=domain,
                complete=not answer.undecided,
                undecided=tuple(answer.undecided),
                identical=tuple((float(a), float(b)) for a, b in answer.identical),
                status=status,
                stats={
                    "pieces": counts[k],
                    "seconds": clock.seconds,
                    "engine": "exact rational lines" if exact else "piecewise-linear lines",
                },
                pieces=tuple(shown[k]),
            )
        )
    return found


# ---------------------------------------------------------------------------- exact mode
def _exact_answers(lines: list[_Line], progress: Progress) -> tuple[list[_Answer], list[int], bool]:
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
            answers.append(_Answer(undecided=[line.domain]))
        else:
            answer = _Answer()
            _exact_roots(found, answer, Exact("rational arithmetic"))
            answers.append(answer)
        counts.append(len(found or ()))
        if progress is not None:
            progress((k + 1) / len(lines))
    return answers, counts, stopped


def _value(piece: ExactPiece, point: Point) -> Fraction:
    return piece.slope[0] * point[0] + piece.intercept[0] * point[1]


def _exact_roots(pieces: Sequence[ExactPiece], answer: _Answer, certificate: Certificate) -> None:
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
class _Cluster:
    """A run of strips in which ``g`` may be zero, between proven signs."""

    low: float
    high: float
    before: int
    after: int
    roots: list[tuple[float, float]]
    pieces: int = 1


def _float_answers(lines: list[_Line], strips: Strips) -> tuple[list[_Answer], list[int]]:
    answers = [_Answer() for _ in lines]
    a, c, error = strips.forms[:, 0, 0], strips.forms[:, 1, 0], strips.error[:, 0]
    low = a * strips.start[:, 0] + c * strips.start[:, 1]
    high = a * strips.end[:, 0] + c * strips.end[:, 1]
    far = np.maximum(np.abs(strips.start), np.abs(strips.end))
    tolerance = error + 8 * UNIT * (np.abs(a) * far[:, 0] + np.abs(c) * far[:, 1])
    first = np.where(np.abs(low) > tolerance, np.sign(low), 0).astype(int)
    last = np.where(np.abs(high) > tolerance, np.sign(high), 0).astype(int)
    counts = np.bincount(strips.line, minlength=len(lines)).tolist()
    suspects = np.nonzero(~((first == last) & (first != 0)))[0]
    run: _Cluster | None = None
    previous = -2
    owner = -1
    for k in suspects:
        line = int(strips.line[k])
        start, end = _ends(strips, int(k))
        if not strips.done[k]:
            answers[line].undecided.append((start, end))
            continue
        piece = _cluster(
            start, end, float(a[k]), float(c[k]), float(tolerance[k]), int(first[k]), int(last[k])
        )
        if run is not None and previous == k - 1 and owner == line and run.after == 0 == first[k]:
            run = _Cluster(
                run.low,
                piece.high,
                run.before,
                piece.after,
                run.roots + piece.roots,
                run.pieces + 1,
            )
        else:
            if run is not None:
                _settle(run, lines[owner], answers[owner])
            run = piece
        previous, owner = int(k), line
        if run.after:
            _settle(run, lines[owner], answers[owner])
            run = None
    if run is not None:
        _settle(run, lines[owner], answers[owner])
    for answer in answers:
        answer.undecided = _joined(answer.undecided)
    return answers, counts


def _ends(strips: Strips, k: int) -> Interval:
    found = []
    for p, q in (strips.start[k], strips.end[k]):
        found.append(float(p / q) if q else math.copysign(math.inf, p))
    return found[0], found[1]


def _cluster(
    start: float, end: float, a: float, c: float, tolerance: float, first: int, last: int
) -> _Cluster:
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
    return _Cluster(low, high, first, last, roots)


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


def _settle(run: _Cluster, line: _Line, answer: _Answer) -> None:
    """Enter one cluster: a proven crossing, or an exact look at it."""
    width = run.high - run.low
    scale = max(abs(run.low), abs(run.high), 1.0)
    if run.before * run.after < 0 and run.roots and width <= 1e-7 * scale:
        value = min(max(run.roots[len(run.roots) // 2][0], run.low), run.high)
        crossing: Crossing = "up" if run.before < 0 else "down"
        answer.roots.append(Root(run.low, run.high, value, crossing, _PROVEN))
        return
    margin = 1e-6 * scale if math.isfinite(scale) else 1.0
    low = max(line.domain[0], run.low - margin) if math.isfinite(run.low) else run.low
    high = min(line.domain[1], run.high + margin) if math.isfinite(run.high) else run.high
    found = None
    if line.program.work * (run.pieces + 4) <= _FALLBACK_WORK and not line.clock.over:
        found = line.exact(low, high)
    if found is not None:
        local = _Answer()
        _exact_roots(found, local, Exact("rational arithmetic on the interval in doubt"))
        answer.roots += [r for r in local.roots if _within(r, run)]
        answer.identical += local.identical
        return
    if run.before * run.after < 0:
        value = run.roots[0][0] if run.roots else 0.5 * (run.low + run.high)
        crossing = "up" if run.before < 0 else "down"
        answer.roots.append(Root(run.low, run.high, value, crossing, _PROVEN))
        if width > 1e-7 * scale:
            answer.undecided.append((run.low, run.high))
        return
    for value, residual in run.roots:
        note = Sampled("a zero of the rounded form; the bound is too wide to prove it", residual)
        answer.roots.append(Root(run.low, run.high, value, "unknown", note))
    answer.undecided.append((run.low, run.high))


def _within(root: Root, run: _Cluster) -> bool:
    """Whether an exact root belongs to this cluster (its margin may reach into a neighbour's)."""
    return root.upper >= run.low and root.lower <= run.high


def _joined(spans: list[Interval]) -> list[Interval]:
    found: list[Interval] = []
    for low, high in sorted(spans):
        if found and low <= found[-1][1]:
            found[-1] = (found[-1][0], max(found[-1][1], high))
        else:
            found.append((low, high))
    return found


# ---------------------------------------------------------------------------- large networks
def _is_large(program: Program, domain: Interval) -> bool:
    """Whether a whole segment may have too many pieces, so that crossings are looked for first."""
    finite = math.isfinite(domain[0]) and math.isfinite(domain[1])
    return finite and program.units > _MANY_UNITS and program.work > _MUCH_WORK


def _bracketed(line: _Line) -> list[Root]:
    """Return proven crossings: samples, bisection, and the pieces around each change of sign."""
    low, high = line.domain
    t = np.linspace(low, high, _SAMPLES)
    g = _sampled(line, t)
    places = np.nonzero(g[:-1] * g[1:] < 0)[0]
    if not len(places):
        return []
    left, right, sign = t[places], t[places + 1], np.sign(g[places])
    for _ in range(40):
        if line.clock.over:
            return []
        middle = left + (right - left) / 2
        same = np.sign(_sampled(line, middle)) == sign
        left, right = np.where(same, middle, left), np.where(same, right, middle)
    found: list[Root] = []
    for a, b in zip(left, right, strict=True):
        margin = 1e-9 * (high - low)
        answer = _Answer()
        for _ in range(3):
            span = (max(low, float(a) - margin), min(high, float(b) + margin))
            strips, _ = walk_lines(
                line.program, line.origin[None], line.direction[None], span, line.clock
            )
            answer = _float_answers([line], strips)[0][0]
            if any(isinstance(root.certificate, Enclosed) for root in answer.roots):
                break
            # As wide as the bound of the error asks for, so that both ends have a proven sign.
            slope = float(np.abs(strips.forms[:, 0, 0]).max())
            error = float(strips.error[strips.done].max(initial=0.0))
            margin = max(10 * margin, 2 * error / slope if slope else 0.0)
            if margin > 1e-2 * (high - low):
                break
        found += answer.roots
    return found


def _sampled(line: _Line, t: Array) -> Array:
    """Return ``g`` in float64 at parameters ``t``."""
    network = line.program.network
    values = []
    for begin in range(0, len(t), 16):
        x = line.origin + t[begin : begin + 16, None] * line.direction
        batches = split_inputs(network, x)
        outputs = evaluate(network, [batches[port.node] for port in network.inputs])
        values.append(outputs[0].reshape(len(x), -1)[:, 0])
    return np.concatenate(values)


def _enter_brackets(answer: _Answer, roots: list[Root]) -> None:
    """Add what the walk did not reach; a root that it found itself is not entered twice."""
    for root in roots:
        near = [r for r in answer.roots if r.lower <= root.upper and root.lower <= r.upper]
        if not near:
            answer.roots.append(root)


# ---------------------------------------------------------------------------- formulas
def _formulas(
    program: Program, outputs: ir.Network | None, lines: list[_Line], *, exact: bool
) -> list[tuple[Piece, ...]]:
    if outputs is not None and obstacles(outputs):
        outputs = None
    if outputs is not None:
        program = Program(outputs)
    clock = lines[0].clock
    if exact:
        weights = lines[0].weights if outputs is None else ExactWeights()
        found = []
        for line in lines:
            own = _Line(program, weights, line.origin, line.direction, line.domain, clock)
            exact_found = own.exact(*line.domain) or []
            found.append(tuple(_exact_piece(piece) for piece in exact_found))
        return found
    origins = np.stack([line.origin for line in lines])
    directions = np.stack([line.direction for line in lines])
    strips, _ = walk_lines(program, origins, directions, lines[0].domain, clock)
    return _float_formulas(strips, len(lines))


def _exact_piece(piece: ExactPiece) -> Piece:
    return Piece(
        as_float(piece.start),
        as_float(piece.end),
        np.array([rounded(v) for v in piece.slope]),
        np.array([rounded(v) for v in piece.intercept]),
    )


def _float_formulas(strips: Strips, count: int) -> list[tuple[Piece, ...]]:
    """Return the pieces, neighbours merged whose forms agree within their error bounds."""
    far = np.maximum(np.abs(strips.start), np.abs(strips.end))
    gap = np.abs(np.diff(strips.forms, axis=0))
    reach = np.maximum(far[1:], far[:-1])
    differ = gap[:, 0] * reach[:, :1] + gap[:, 1] * reach[:, 1:]
    merged = (differ <= strips.error[1:] + strips.error[:-1]).all(axis=1)
    merged &= (strips.line[1:] == strips.line[:-1]) & strips.done[1:] & strips.done[:-1]
    heads = np.concatenate([[0], np.nonzero(~merged)[0] + 1, [len(strips.line)]])
    found: list[list[Piece]] = [[] for _ in range(count)]
    for begin, stop in itertools.pairwise(heads):
        if not strips.done[begin]:
            continue
        low, high = _ends(strips, int(begin))[0], _ends(strips, int(stop) - 1)[1]
        forms = strips.forms[begin]
        found[int(strips.line[begin])].append(Piece(low, high, forms[0], forms[1]))
    return [tuple(row) for row in found]


# ---------------------------------------------------------------------------- decisions
def _decisions(rivals: Program, line: _Line, answer: _Answer) -> _Answer:
    """Keep what no third output exceeds: all rivals non-negative."""
    kept = _Answer(undecided=list(answer.undecided))
    for root in answer.roots:
        if root.exact is not None:
            point = [
                Fraction(float(o)) + root.exact * Fraction(float(d))
                for o, d in zip(line.origin, line.direction, strict=True)
            ]
            if min(evaluate_exact(rivals.network, [point])[0], default=Fraction(0)) >= 0:
                kept.roots.append(root)
            continue
        span = (math.nextafter(root.lower, -math.inf), math.nextafter(root.upper, math.inf))
        strips, _ = walk_lines(rivals, line.origin[None], line.direction[None], span, line.clock)
        signs = _least(strips)
        if signs >= 0:
            kept.roots.append(root)
            if signs == 0:
                kept.undecided.append((root.lower, root.upper))
    for low, high in answer.identical:
        kept.identical += _allowed(rivals, line, float(low), float(high), kept)
    return kept


def _least(strips: Strips) -> int:
    """Return 1 when every output is proven positive, -1 when one is proven negative, else 0."""
    if not (len(strips.done) and strips.done.all()):
        return 0  # the budget ended first
    at_start = strips.forms[:, 0] * strips.start[:, :1] + strips.forms[:, 1] * strips.start[:, 1:]
    at_end = strips.forms[:, 0] * strips.end[:, :1] + strips.forms[:, 1] * strips.end[:, 1:]
    low = np.minimum(at_start, at_end) - strips.error
    high = np.maximum(at_start, at_end) + strips.error
    if (low > 0).all():
        return 1
    return -1 if bool((high < 0).all(axis=0).any()) else 0


def _allowed(
    rivals: Program, line: _Line, low: float, high: float, kept: _Answer
) -> list[tuple[Fraction | float, Fraction | float]]:
    """Return the parts of an interval of equal outputs where no third output is larger."""
    own = _Line(rivals, ExactWeights(), line.origin, line.direction, (low, high), line.clock)
    found = own.exact(low, high)
    if found is None:
        kept.undecided.append((low, high))
        return []
    parts: list[tuple[Fraction | float, Fraction | float]] = []
    for piece in found:
        begin: Fraction | float | None = fraction(piece.start)
        stop: Fraction | float | None = fraction(piece.end)
        begin = -math.inf if begin is None else begin
        stop = math.inf if stop is None else stop
        for slope, intercept in zip(piece.slope, piece.intercept, strict=True):
            if slope == 0:
                stop = begin if intercept < 0 else stop
                continue
            t = -intercept / slope
            begin, stop = (max(begin, t), stop) if slope > 0 else (begin, min(stop, t))
        if begin < stop:
            if parts and parts[-1][1] == begin:
                parts[-1] = (parts[-1][0], stop)
            else:
                parts.append((begin, stop))
    return parts
