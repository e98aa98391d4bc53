r"""All solutions of ``g = 0`` on lines and segments of a piecewise-linear network.

Float mode is proven too: every piece carries a bound of its error (:mod:`nneq.boundary.pwl.walk`),
so outside the strips ``|form| <= error`` there is no zero, and a change of sign across a strip is
one.  What float64 cannot tell (a touching point, an interval of equal outputs, a zero at an end of
the domain) is decided in rational arithmetic on that strip alone.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from concurrent.futures import Executor
from fractions import Fraction
from typing import Any

import numpy as np

from nneq.boundary.problem import Problem
from nneq.boundary.pwl.answers import Answer, Line, ends, exact_answers, float_answers
from nneq.boundary.pwl.exact import ExactPiece, as_float, fraction
from nneq.boundary.pwl.large import is_large, large_answers
from nneq.boundary.pwl.magnitude import fits_float, rounded
from nneq.boundary.pwl.walk import Program, Strips, walk_lines
from nneq.boundary.results import Clock, Interval, Piece, Solutions, Status
from nneq.errors import NneqError, UnsupportedError, problems_message
from nneq.ir import network as ir
from nneq.semantics.pattern import obstacles
from nneq.semantics.rational import ExactWeights, evaluate_exact

__all__ = ["solve_lines"]

Array = np.ndarray[Any, Any]
Progress = Callable[[float], None] | None


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
    executor: Executor | None = None,
    parts: int = 64,
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
        pieces: whether to return the piecewise formula of the outputs (never for large networks,
            whose pieces are not enumerated).
        outputs: the network whose outputs ``.pieces`` describes; ``g`` itself when None.
        executor: walks the parts of a segment through a large network in its workers.
        parts: the number of these parts.

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
        Line(program, weights, o, d, domain, clock)
        for o, d in zip(origins, directions, strict=True)
    ]
    interrupted = False
    # What float64 cannot hold is a task for fractions.
    exact = exact or not fits_float(program, np.abs(origins).max(0) + np.abs(directions).max(0))
    large = not exact and is_large(program, domain)
    if exact:
        answers, counts, interrupted = exact_answers(lines, progress)
    elif large:
        answers, counts, interrupted = large_answers(lines, progress, executor, parts)
    else:
        share = None if progress is None else (lambda k: progress((k + 1) / len(lines)))
        strips, interrupted = walk_lines(program, origins, directions, domain, clock, share)
        answers, counts = float_answers(lines, strips)
    whole = pieces and not large and not clock.over and not interrupted
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
                    "engine": _engine(exact=exact, large=large),
                },
                pieces=tuple(shown[k]),
            )
        )
    return found


def _engine(*, exact: bool, large: bool) -> str:
    if exact:
        return "exact rational lines"
    return "piecewise-linear segment" if large else "piecewise-linear lines"


# ---------------------------------------------------------------------------- formulas
def _formulas(
    program: Program, outputs: ir.Network | None, lines: list[Line], *, exact: bool
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
            own = Line(program, weights, line.origin, line.direction, line.domain, clock)
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
        low, high = ends(strips, int(begin))[0], ends(strips, int(stop) - 1)[1]
        forms = strips.forms[begin]
        found[int(strips.line[begin])].append(Piece(low, high, forms[0], forms[1]))
    return [tuple(row) for row in found]


# ---------------------------------------------------------------------------- decisions
def _decisions(rivals: Program, line: Line, answer: Answer) -> Answer:
    """Keep what no third output exceeds: all rivals non-negative."""
    kept = Answer(undecided=list(answer.undecided))
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
    rivals: Program, line: Line, low: float, high: float, kept: Answer
) -> list[tuple[Fraction | float, Fraction | float]]:
    """Return the parts of an interval of equal outputs where no third output is larger."""
    own = Line(rivals, ExactWeights(), line.origin, line.direction, (low, high), line.clock)
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
