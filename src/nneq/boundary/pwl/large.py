r"""Segments through large networks: crossings bracketed first, then the whole segment proven.

The crossings that samples show are enclosed at once, so that a small budget gives them.  Then the
segment is walked from its start to its end (:mod:`nneq.boundary.pwl.segment`); with an executor its
parts are walked in workers.  Where float64 leaves a sign open (its bound is some millions of times
larger than the error it makes), the same walk in extended precision decides.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import math
import pickle
import time
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from typing import Any

import numpy as np

from nneq.boundary.pwl.answers import Answer, Cluster, Line, joined, settle
from nneq.boundary.pwl.segment import Plan, Track, walk_segment
from nneq.boundary.pwl.walk import UNIT, Program
from nneq.boundary.results import Budget, Clock, Interval, Root
from nneq.ir.float64 import evaluate
from nneq.semantics.pattern import split_inputs

__all__ = ["is_large", "large_answers", "track_answer"]

Array = np.ndarray[Any, Any]
Progress = Callable[[float], None] | None
_MANY_UNITS = 20_000
_MUCH_WORK = 5e6
_SAMPLES = 257
_BISECTIONS = 40
_NARROW = 1e-6
# Extended precision, where the machine has more than float64.
_EXTENDED = np.longdouble if np.finfo(np.longdouble).eps < np.finfo(np.float64).eps else None


def is_large(program: Program, domain: Interval) -> bool:
    """Whether a whole segment may have too many pieces to enumerate them all."""
    finite = math.isfinite(domain[0]) and math.isfinite(domain[1])
    return finite and program.units > _MANY_UNITS and program.work > _MUCH_WORK


def large_answers(
    lines: list[Line], progress: Progress, executor: Executor | None, parts: int
) -> tuple[list[Answer], list[int], bool]:
    """Return the answers, how many pieces were examined, and whether Ctrl-C ended it.

    Args:
        lines: finite segments through one network.
        progress: called with the share that is finished.
        executor: walks the parts; None: one after the other, here.
        parts: the number of parts for the executor.
    """
    plan = Plan.of(lines[0].program)
    answers, counts = [], []
    interrupted = False
    for k, line in enumerate(lines):
        if interrupted:
            answers.append(Answer(undecided=[line.domain]))
            counts.append(0)
            continue

        def share(part: float, k: int = k) -> None:
            if progress is not None:
                progress((k + part) / len(lines))

        answer, count, interrupted = _answer(plan, line, share, executor, parts)
        answers.append(answer)
        counts.append(count)
    return answers, counts, interrupted


def _answer(
    plan: Plan, line: Line, share: Callable[[float], None], executor: Executor | None, parts: int
) -> tuple[Answer, int, bool]:
    brackets: list[Root] = []
    try:
        t = np.linspace(*line.domain, _SAMPLES)
        g = _sampled(line, t)
        guided = dataclasses.replace(plan, guide_t=t, guide=g)
        brackets = _bracketed(plan, line, t, g)
        if executor is None:
            low, high = line.domain
            track, interrupted = walk_segment(
                guided, line.origin, line.direction, line.domain, line.clock,
                progress=lambda reached: share((reached - low) / (high - low)),
            )  # fmt: skip
        else:
            track, interrupted = _in_parts(guided, line, share, executor, parts)
    except KeyboardInterrupt:
        track, interrupted = Track.unknown(*line.domain), True
    answer = Answer()
    try:
        if not interrupted:
            track = _sharpened(plan, line, track)
    except KeyboardInterrupt:
        interrupted = True
    track_answer(track, line, answer)
    for root in brackets:
        if not any(r.lower <= root.upper and root.lower <= r.upper for r in answer.roots):
            answer.roots.append(root)
    return answer, len(track.t) - 1, interrupted


def _sampled(line: Line, t: Array) -> Array:
    """Return ``g`` in float64 at parameters ``t``; NaN where the budget ended before."""
    network = line.program.network
    values = []
    for begin in range(0, len(t), 16):
        if line.clock.over:
            values.append(np.full(len(t) - begin, math.nan))
            break
        x = line.origin + t[begin : begin + 16, None] * line.direction
        batches = split_inputs(network, x)
        outputs = evaluate(network, [batches[port.node] for port in network.inputs])
        values.append(outputs[0].reshape(len(x), -1)[:, 0])
    return np.concatenate(values)


def _bracketed(plan: Plan, line: Line, t: Array, g: Array) -> list[Root]:
    """Return proven crossings at the changes of sign that samples show."""
    low, high = line.domain
    places = np.nonzero(g[:-1] * g[1:] < 0)[0]
    if not len(places):
        return []
    left, right, sign = t[places], t[places + 1], np.sign(g[places])
    for _ in range(_BISECTIONS):
        if line.clock.over:
            return []
        middle = left + (right - left) / 2
        same = np.sign(_sampled(line, middle)) == sign
        left, right = np.where(same, middle, left), np.where(same, right, middle)
    found: list[Root] = []
    for a, b in zip(left, right, strict=True):
        margin = 1e-9 * (high - low)
        answer = Answer()
        while margin <= 1e-2 * (high - low) and not line.clock.over:
            span = (max(low, float(a) - margin), min(high, float(b) + margin))
            track, _ = walk_segment(
                plan, line.origin, line.direction, span, line.clock,
                dtype=_EXTENDED or np.float64,
            )  # fmt: skip
            signs = track.signs()
            if signs[0] * signs[-1] < 0:
                track_answer(track, line, answer)
                break
            # As wide as the bound of the error asks for, so that both ends have a proven sign.
            slope = abs(float(track.value[-1] - track.value[0])) / (span[1] - span[0])
            error = float(track.error.max())
            enough = 2 * error / slope if slope and math.isfinite(error) else 0.0
            margin = max(10 * margin, enough)
        found += answer.roots
    return found


# ---------------------------------------------------------------------------- tracks
def _runs(track: Track) -> list[tuple[int, int]]:
    """Return the runs of open pieces as first and last point."""
    mask = np.concatenate([[0], track.open().astype(np.int8), [0]])
    edges = np.nonzero(np.diff(mask))[0].reshape(-1, 2)
    return [(int(a), int(b)) for a, b in edges]


def _sharpened(plan: Plan, line: Line, track: Track) -> Track:
    """Return the track with its open runs walked again in extended precision."""
    if _EXTENDED is None:
        return track
    parts, position = [], 0
    for first, last in _runs(track):
        low, high = float(track.t[first]), float(track.t[last])
        known = np.isfinite(track.error[first : last + 1]).all()
        if not known or low >= high or line.clock.over:
            continue
        finer, _ = walk_segment(
            plan, line.origin, line.direction, (low, high), line.clock, dtype=_EXTENDED
        )
        if not np.isfinite(finer.error).all():
            continue
        parts += [track.between(position, first + 1), finer]
        position = last
    return Track.joined([*parts, track.between(position, len(track.t))])


def track_answer(track: Track, line: Line, answer: Answer) -> None:
    """Enter the zeros of a track: a crossing for each run of open pieces between proven signs."""
    signs = track.signs()
    for first, last in _runs(track):
        inner = slice(first, last + 1)
        t, value, error = track.t[inner], track.value[inner], track.error[inner]
        if not np.isfinite(error).all():
            answer.undecided.append((float(t[0]), float(t[-1])))
            continue
        before, after = int(signs[first]), int(signs[last])
        low = _edge(t[:2], value[:2], error[:2], before) if before else float(t[0])
        high = _edge(t[:-3:-1], value[:-3:-1], error[:-3:-1], after) if after else float(t[-1])
        roots = []
        for k in np.nonzero(value[:-1] * value[1:] <= 0)[0]:
            step = value[k + 1] - value[k]
            zero = t[k] - (value[k] / step * (t[k + 1] - t[k]) if step else 0.0)
            roots.append((float(min(max(zero, low), high)), float(error[k])))
        run = Cluster(low, high, before, after, roots, last - first)
        settle(run, line, answer, _NARROW)
    answer.undecided = joined(answer.undecided)


def _edge(t: Array, value: Array, error: Array, sign: int) -> float:
    """Return where the proven sign of the first of two points may end, seen from there."""
    margin = value * sign - error * (1 + 1e-12) - 4 * UNIT * np.abs(value)
    a, b = float(margin[0]), float(margin[1])
    if a <= 0:
        return float(t[0])
    share = a / (a - b) * (1 - 1e-12) if b < 0 else 1.0
    place = float(t[0] + (t[1] - t[0]) * share)
    place -= math.copysign(4 * UNIT * float(np.abs(t).max()), t[1] - t[0])
    return max(place, float(t[0])) if t[1] >= t[0] else min(place, float(t[0]))


# ---------------------------------------------------------------------------- workers
@functools.lru_cache(maxsize=2)
def _plan_of(network: bytes) -> Plan:
    """Return the plan of a pickled network, once per process."""
    return Plan.of(Program(pickle.loads(network)))  # noqa: S301  # written by this module


def _walk_part(
    network: bytes, guide: tuple[Array, Array], line: tuple[Array, Array], domain: Interval,
    limits: tuple[float, float, float], deadline: float,
) -> Track:  # fmt: skip
    """Return one part of a segment; runs in a worker.

    ``limits`` are the seconds, pieces and bytes left; ``deadline`` is on the system's clock,
    because a part may wait for its worker.
    """
    seconds = min(limits[0], deadline - time.time())
    if seconds <= 0:
        return Track.unknown(*domain)
    plan = dataclasses.replace(_plan_of(network), guide_t=guide[0], guide=guide[1])
    clock = Budget(seconds=seconds, boxes=limits[1], memory=limits[2]).start()
    return walk_segment(plan, *line, domain, clock)[0]


def _in_parts(
    plan: Plan, line: Line, share: Callable[[float], None], executor: Executor, parts: int
) -> tuple[Track, bool]:
    """Return the track, walked in parts by the workers of an executor."""
    borders = np.linspace(*line.domain, max(1, parts) + 1).tolist()
    borders[0], borders[-1] = line.domain
    spans = [(a, b) for a, b in itertools.pairwise(borders) if a < b]
    budget, clock = line.clock.budget, line.clock
    seconds = max(budget.seconds - clock.seconds, 1e-3)
    limits = (seconds, max(budget.boxes - clock.boxes, 1), budget.memory)
    network = pickle.dumps(plan.program.network)
    whole = (line.origin, line.direction)
    futures: list[Future[Track]] = []
    interrupted = False
    try:
        for span in spans:
            guide = _nearby(plan, span)
            futures.append(
                executor.submit(
                    _walk_part, network, guide, whole, span, limits, time.time() + seconds
                )
            )
        _awaited(futures, clock, share)
    except KeyboardInterrupt:
        interrupted = True
        for future in futures:
            future.cancel()
    tracks = []
    for k, span in enumerate(spans):
        task = futures[k] if k < len(futures) else None
        ended = task is not None and task.done() and not task.cancelled()
        if task is None or not ended or (interrupted and task.exception() is not None):
            tracks.append(Track.unknown(*span))
        else:
            tracks.append(task.result())
    return Track.joined(tracks), interrupted


def _nearby(plan: Plan, span: Interval) -> tuple[Array, Array]:
    """Return the samples that a part needs."""
    begin = max(0, int(np.searchsorted(plan.guide_t, span[0], "right")) - 1)
    end = int(np.searchsorted(plan.guide_t, span[1], "left")) + 1
    return plan.guide_t[begin:end], plan.guide[begin:end]


def _awaited(futures: list[Future[Track]], clock: Clock, share: Callable[[float], None]) -> None:
    """Wait for the parts; when the budget is over, those that wait for a worker are cancelled."""
    pending = set(futures)
    while pending:
        done, pending = wait(pending, timeout=1.0, return_when=FIRST_COMPLETED)
        for future in done:
            if not future.cancelled() and future.exception() is None:
                clock.spend(int(np.isfinite(future.result().error).sum()))
        if clock.over:
            pending = {future for future in pending if not future.cancel()}
        share(1 - len(pending) / len(futures))
