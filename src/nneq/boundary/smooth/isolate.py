r"""Branch and prune on many lines at once: where ``g`` has a sign, where it is monotone, the rest.

One level evaluates every open interval of every line together with the second-order Taylor bound:
an interval is closed with a sign when ``0`` is outside the range, as monotone when ``0`` is outside
the derivative's range, and is cut otherwise, until rounding error or the smallest width stops it:
into two parts, or into more where the bounds are so much too wide that halves would stay open.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from nneq.boundary.results import Clock
from nneq.semantics.ball import UNIT
from nneq.semantics.jets import Jet, Jets
from nneq.semantics.slices import Slices

__all__ = ["OPEN", "Pieces", "Runs", "isolate", "merge", "quiet", "signs"]

Array = np.ndarray[Any, Any]
Progress = Callable[[float], None]

OPEN = 0
LEVELS = 90
MOST_BOXES = 1 << 22  # open at once, whatever the budget: about a gigabyte of results


@dataclass(slots=True, eq=False)
class Pieces:
    """Intervals of lines with what is proven on them.

    Args:
        line: shape ``(P,)``.
        low: shape ``(P,)``.
        high: shape ``(P,)``.
        kind: 1, -1: the sign of ``g``; 2, -2: strictly increasing, decreasing; 0: open.
        steep: ends of the derivative on monotone pieces, shape ``(P, 2)``.
        boxes: how many boxes were examined.
        stopped: ``""``, ``"budget"`` or ``"interrupted"``.
    """

    line: Array
    low: Array
    high: Array
    kind: Array
    steep: Array
    boxes: int = 0
    stopped: str = ""


@dataclass(slots=True, eq=False)
class _Store:
    rows: list[tuple[Array, Array, Array, Array, Array]] = field(default_factory=list)

    def add(self, line: Array, low: Array, high: Array, kind: Array, steep: Array) -> None:
        self.rows.append((line, low, high, kind, steep))

    def pieces(self, boxes: int, stopped: str) -> Pieces:
        line, low, high, kind, steep = (
            np.concatenate(part) for part in zip(*self.rows, strict=True)
        )
        order = np.lexsort((low, line))
        return Pieces(
            line[order], low[order], high[order], kind[order], steep[order], boxes, stopped
        )


def isolate(
    slices: Slices,
    line: Array,
    low: Array,
    high: Array,
    *,
    clock: Clock,
    progress: Progress | None = None,
    levels: int = LEVELS,
) -> Pieces:
    """Return a partition of the given intervals into pieces with proven facts.

    Args:
        slices: the network on its lines (``d = 1``), one output entry.
        line: which line, shape ``(B,)``.
        low: left ends.
        high: right ends.
        clock: the budget.
        progress: called with the share of boxes done after each level.
        levels: how often an interval may be cut.
    """
    store = _Store()
    boxes = 0
    stopped = ""
    level = 0
    try:
        while len(line):
            if clock.over or len(line) > MOST_BOXES:
                stopped = "budget"
                break
            if level >= levels:
                break
            parts = [slice(k, k + slices.stride) for k in range(0, len(line), slices.stride)]
            facts = [_classify(slices, line[part], low[part], high[part]) for part in parts]
            kinds, steep, excess, cores = map(np.concatenate, zip(*facts, strict=True))
            boxes += len(line)
            clock.spend(len(line))
            middle = 0.5 * low + 0.5 * high
            narrow = (middle <= low) | (middle >= high)
            closed = (kinds != OPEN) | narrow
            kinds[kinds == _NOISE] = OPEN
            store.add(line[closed], low[closed], high[closed], kinds[closed], steep[closed])
            cored = ~closed & (cores[:, 1] - cores[:, 0] > _LEAST_CORE * (high - low))
            whole = ~closed & ~cored
            rest = [_split(line[whole], low[whole], high[whole], _parts(excess[whole]))]
            if cored.any():
                rest.append(_hollowed(store, line[cored], low[cored], high[cored], cores[cored]))
            line, low, high = map(np.concatenate, zip(*rest, strict=True))
            level += 1
            if progress is not None:
                progress(boxes / (boxes + len(line)))
    except KeyboardInterrupt:
        stopped = "interrupted"
    store.add(line, low, high, np.zeros(len(line), dtype=np.int8), np.zeros((len(line), 2)))
    return store.pieces(boxes, stopped)


_NOISE = 9
_MOST_PARTS = 4
_LEAST_CORE = 0.2


def _parts(excess: Array) -> Array:
    """Return into how many parts an interval should be cut for the parts to be closed."""
    return np.asarray(np.nan_to_num(np.ceil(np.sqrt(excess / 2)), nan=2.0).clip(2, _MOST_PARTS))


def _split(line: Array, low: Array, high: Array, parts: Array) -> tuple[Array, Array, Array]:
    """Cut every interval into equal parts.

    Intervals of some units of the last place are halved, so that no rounded cut passes another.
    """
    fine = high - low < 256 * UNIT * np.maximum(np.abs(low), np.abs(high))
    parts = np.where(fine, np.minimum(parts, 2), parts).astype(int)
    first = np.cumsum(parts) - parts
    place = np.arange(int(parts.sum())) - np.repeat(first, parts)
    line, low, high, parts = (np.repeat(v, parts) for v in (line, low, high, parts))
    left, right = place / parts, (place + 1) / parts
    bottom = np.where(place == 0, low, low * (1 - left) + high * left)
    top = np.where(place + 1 == parts, high, low * (1 - right) + high * right)
    return line, bottom, top


def _hollowed(
    store: _Store, line: Array, low: Array, high: Array, cores: Array
) -> tuple[Array, Array, Array]:
    """Store the decided cores of intervals; return what is left of them, neighbours joined."""
    begin, end, signed, unsigned, sign, rise = cores[:, :6].T
    for bottom, top, kind in (
        (signed, unsigned, sign),
        (begin, signed, rise),
        (unsigned, end, rise),
    ):
        keep = top > bottom
        kinds = kind[keep].astype(np.int8)
        store.add(line[keep], bottom[keep], top[keep], kinds, cores[keep, 6:])
    reach = 0.5 * (end - begin)
    lines = np.concatenate((line, line))
    lows, highs = np.concatenate((low, end)), np.concatenate((begin, high))
    reach = np.concatenate((reach, reach))
    order = np.lexsort((lows, lines))
    order = order[highs[order] > lows[order]]
    lines, lows, highs, reach = lines[order], lows[order], highs[order], reach[order]
    fresh = np.ones(len(lines), dtype=bool)
    fresh[1:] = (lines[1:] != lines[:-1]) | (lows[1:] != highs[:-1])
    first = np.flatnonzero(fresh)
    last = np.append(first[1:], len(lines)) - 1
    lows, highs = lows[first], highs[last]
    reach = np.minimum.reduceat(reach, first)
    parts = np.ceil((highs - lows) / (2 * reach)).clip(1, _MOST_PARTS)
    return _split(lines[first], lows, highs, parts)


def _classify(slices: Slices, line: Array, low: Array, high: Array) -> tuple[Array, ...]:
    """Return the kind of every box (``_NOISE`` where rounding decides), slopes, excess, core.

    The excess is by how much a bound of the value, or of the derivative, is too wide; both become
    narrower with the square of the width.
    """
    centre = 0.5 * low + 0.5 * high
    half = np.maximum(high - centre, centre - low) * (1 + 4 * UNIT)
    arithmetic, (jet,) = slices.jets(line, centre[:, None], half[:, None])
    with np.errstate(all="ignore"):
        bottom, top = (end.reshape(-1) for end in arithmetic.range(jet))
        (steep,) = arithmetic.slopes(jet)
        steep_low, steep_high = steep.lower.reshape(-1), steep.upper.reshape(-1)
        fuzz = arithmetic.fuzz(jet).reshape(-1)
        kinds = np.zeros(len(line), dtype=np.int8)
        kinds[steep_low > 0] = 2
        kinds[steep_high < 0] = -2
        kinds[bottom > fuzz] = 1
        kinds[top < -fuzz] = -1
        error = jet.rad[0].reshape(-1) + fuzz
        # where numbers overflow, halving would never end either
        size = top - bottom
        noise = ~((size > 8 * error) & np.isfinite(size))
        noisy = np.flatnonzero((kinds == 0) & noise)
        excess, cores = np.full(len(line), np.nan), np.zeros((len(line), 8))
        wide = np.flatnonzero((kinds == 0) & ~noise)
        if len(wide):
            value, slope = jet.mid[0, wide].reshape(-1), (steep_low + steep_high)[wide]
            excess[wide] = np.fmin(
                0.5 * size[wide] / np.abs(value), (steep_high - steep_low)[wide] / np.abs(slope)
            )
            cores[wide] = _cores(
                Jet(jet.mid[:3, wide], jet.rad[:3, wide]), fuzz[wide], centre[wide], half[wide]
            )
            cores[wide, :4] = cores[wide, :4].clip(low[wide, None], high[wide, None])
    if len(noisy):
        noisy = _sharpened(slices, arithmetic, jet, noisy, (line, centre, half, fuzz), kinds)
        kinds[noisy[quiet(slices, line[noisy], low[noisy], high[noisy])]] = _NOISE
    return kinds, np.stack((steep_low, steep_high), axis=1), excess, cores


def _cores(jet: Jet, fuzz: Array, centre: Array, half: Array) -> Array:
    r"""Return what a Taylor enclosure decides around its centre, shape ``(B, 8)``.

    With :math:`|g(c)| \ge v`, slope ``q`` away from 0 on one side, and the curvature at most ``D``
    towards 0, the sign holds as long as :math:`v + q s - D s^2 / 2 > 0`; the slope keeps its sign
    as long as :math:`|g'(c)| > s \max|g''|`.

    Columns: ends of the decided stretch; ends of the part of it with a sign; the sign; 2 or -2 for
    a rising or falling rest; ends of the derivative on the rest.
    """
    value, slope, bend = jet.mid[:3].reshape(3, -1)
    value_error, slope_error, bend_error = jet.rad[:3].reshape(3, -1)
    sign = np.where(value < 0, -1.0, 1.0)
    size = np.abs(value) * (1 - 4 * UNIT) - value_error - fuzz
    towards = np.maximum(bend_error - sign * bend, 0.0) + 4 * UNIT * (np.abs(bend) + bend_error)
    safe = 4 * UNIT * (np.abs(centre) + half)

    def inside(distance: Array) -> Array:
        """Return the distance rounded down, at most to the end; 0 for NaN."""
        return np.nan_to_num(
            np.maximum(np.minimum(distance, half) * (1 - 1e-9) - safe, 0.0), posinf=0.0
        )

    def reach(outward: Array) -> Array:
        q = outward - slope_error - 4 * UNIT * np.abs(slope)
        root = np.hypot(q, np.sqrt(towards) * np.sqrt(2 * size))
        found = np.where(q >= 0, (q + root) / towards, 2 * size / (root - q))
        return inside(np.where((size > 0) & np.isfinite(root), found, 0.0))

    left, right = reach(-sign * slope), reach(sign * slope)
    most = np.abs(bend) + bend_error
    steady = inside((np.abs(slope) * (1 - 4 * UNIT) - slope_error) / most)
    # a sign is worth more than a slope; a rest of little width is not worth a piece
    plain = steady > np.maximum(left, right)
    spare = 0.125 * half
    begin = centre - np.where(plain | (steady > left + spare), steady, left)
    end = centre + np.where(plain | (steady > right + spare), steady, right)
    width = (slope_error + most * steady + 4 * UNIT * np.abs(slope)) * (1 + 8 * UNIT)
    return np.stack(
        (
            begin,
            end,
            np.where(plain, begin, centre - left),
            np.where(plain, begin, centre + right),
            sign,
            np.where(slope < 0, -2.0, 2.0),
            slope - width,
            slope + width,
        ),
        axis=1,
    )


def _sharpened(
    slices: Slices,
    arithmetic: Jets,
    jet: Jet,
    noisy: Array,
    boxes: tuple[Array, Array, Array, Array],
    kinds: Array,
) -> Array:
    """Decide boxes with balls, over the box and at its centre, which can be sharper than jets.

    Returns the boxes that stay open.  Without this, a box would be halved for ever where the error
    of the jet is as large as ``g`` and that of the ball is not (a sigmoid far to the left), or
    where only derivatives overflow.
    """
    line, centre, half, fuzz = (part[noisy] for part in boxes)
    (box,) = slices.balls(line, centre[:, None], half[:, None])
    (ball,) = slices.balls(line, centre[:, None])
    sharp = Jet(jet.mid[:, noisy].copy(), jet.rad[:, noisy].copy())
    better = ball.rad < sharp.rad[0]
    with np.errstate(all="ignore"):
        sharp.mid[0] = np.where(better, ball.mid, sharp.mid[0])
        sharp.rad[0] = np.where(better, ball.rad, sharp.rad[0])
        bottom, top = (end.reshape(-1) for end in arithmetic.only(noisy).range(sharp))
        bottom = np.fmax(bottom, box.lower.reshape(-1))
        top = np.fmin(top, box.upper.reshape(-1))
        kinds[noisy[bottom > fuzz]] = 1
        kinds[noisy[top < -fuzz]] = -1
    return np.asarray(noisy[kinds[noisy] == OPEN])


def quiet(slices: Slices, line: Array, low: Array, high: Array) -> Array:
    """Return where ``g`` is as small as its rounding error at three points of each interval."""
    result = np.ones(len(line), dtype=bool)
    for share in (0.5, 0.1875, 0.8125):
        t = low + share * (high - low)
        (ball,) = slices.balls(line, t[:, None])
        with np.errstate(all="ignore"):
            result &= ~(np.abs(ball.mid) > 8 * ball.rad).reshape(-1)
    return result


@dataclass(slots=True, eq=False)
class Runs:
    """Maximal stretches of pieces of one kind, with the proven signs of ``g`` at their ends.

    Args:
        line: shape ``(R,)``.
        low: left ends.
        high: right ends.
        kind: as in :class:`Pieces`.
        left: sign at the left end: 1, -1, or 0 (not proven).
        right: sign at the right end.
        steep: ends of the derivative on monotone runs, shape ``(R, 2)``.
    """

    line: Array
    low: Array
    high: Array
    kind: Array
    left: Array
    right: Array
    steep: Array


def merge(slices: Slices, pieces: Pieces) -> Runs:
    """Return the runs of the pieces; ends next to no signed piece are evaluated as points."""
    line, kind = pieces.line, pieces.kind
    count = len(line)
    if not count:
        none, signs_ = np.zeros(0), np.zeros(0, dtype=np.int8)
        return Runs(line, none, none.copy(), kind, signs_, signs_.copy(), np.zeros((0, 2)))
    start = np.ones(count, dtype=bool)
    start[1:] = (
        (line[1:] != line[:-1]) | (kind[1:] != kind[:-1]) | (pieces.low[1:] != pieces.high[:-1])
    )
    first = np.flatnonzero(start)
    last = np.append(first[1:], count) - 1
    runs = Runs(
        line[first],
        pieces.low[first],
        pieces.high[last],
        kind[first],
        np.zeros(len(first), dtype=np.int8),
        np.zeros(len(first), dtype=np.int8),
        np.stack(
            (
                np.minimum.reduceat(pieces.steep[:, 0], first),
                np.maximum.reduceat(pieces.steep[:, 1], first),
            ),
            axis=1,
        ),
    )
    signed = np.abs(runs.kind) == 1
    runs.left[signed] = runs.kind[signed]
    runs.right[signed] = runs.kind[signed]
    joined = np.zeros(len(first), dtype=bool)
    joined[1:] = (runs.line[1:] == runs.line[:-1]) & (runs.low[1:] == runs.high[:-1])
    before = np.flatnonzero(joined & ~signed)
    runs.left[before] = np.where(signed[before - 1], runs.kind[before - 1], 0)
    after = np.flatnonzero(joined) - 1
    after = after[~signed[after]]
    runs.right[after] = np.where(signed[after + 1], runs.kind[after + 1], 0)
    need_left = np.flatnonzero(~signed & (runs.left == 0))
    need_right = np.flatnonzero(~signed & (runs.right == 0))
    if len(need_left) + len(need_right):
        places = np.concatenate((runs.line[need_left], runs.line[need_right]))
        points = np.concatenate((runs.low[need_left], runs.high[need_right]))
        found = signs(slices, places, points)
        runs.left[need_left] = found[: len(need_left)]
        runs.right[need_right] = found[len(need_left) :]
    return runs


def signs(slices: Slices, line: Array, t: Array) -> Array:
    """Return the proven sign of ``g`` at points: 1, -1, or 0 where float64 does not decide."""
    (ball,) = slices.balls(line, t[:, None])
    with np.errstate(all="ignore"):
        low, high = ball.lower.reshape(-1), ball.upper.reshape(-1)
        return np.where(low > 0, 1, np.where(high < 0, -1, 0)).astype(np.int8)
