"""Where the search on the whole line may stop: nothing beyond ``|t| > T``, proven.

``T`` is doubled until the output keeps a sign on the ray ``t >= T``
(:mod:`nneq.boundary.smooth.rays`).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from nneq.boundary.results import Clock, Interval
from nneq.boundary.smooth.rays import Power, Rays
from nneq.semantics.ball import Ball
from nneq.semantics.slices import Front, Slices

__all__ = ["panels", "ray_signs"]

Array = np.ndarray[Any, Any]

_OCTAVES = 120
_ROWS = 256
_AT_ONCE = 8
_CORE = 1.0
_PER_OCTAVE = 3
_FAR = 63.0


def ray_signs(slices: Slices, line: Array, start: Array, side: Array) -> Array:
    """Return the proven sign of ``g`` on whole rays: 1, -1 or 0 (not proven).

    Args:
        slices: the network on its lines, ``d = 1``.
        line: which line, shape ``(B,)``.
        start: ``T > 0``: the ray is ``t >= T`` for ``side = 1``, ``t <= -T`` for ``side = -1``.
        side: 1 or -1, shape ``(B,)``.
    """
    arithmetic = Rays(start)

    def lift(front: Front) -> Power:
        (slope,) = front.slopes
        row = slope if slope.mid.shape[0] == 1 else slope[line]
        shape = (len(line), *front.value.shape[1:])
        turned = side.reshape(-1, *(1,) * (len(shape) - 1))
        return Power(
            front.value[line],
            Ball(row.mid * turned, np.broadcast_to(row.rad, shape)),
        )

    low, high = (end.reshape(-1) for end in slices.walk(arithmetic, lift)(arithmetic.ends))
    return np.where(low > 0, 1, np.where(high < 0, -1, 0)).astype(np.int8)


def panels(
    slices: Slices, domain: Interval, clock: Clock
) -> tuple[Array, Array, Array, dict[int, list[Interval]]]:
    """Return start intervals of every line out to a proven ``T``, and the undecided tails."""
    low, high = domain
    lines = slices.lines
    beyond: dict[int, list[Interval]] = {}
    reach = {1: np.full(lines, high), -1: np.full(lines, -low)}
    least = {}
    for side, end, other in ((1, high, low), (-1, -low, -high)):
        if math.isinf(end):
            least[side] = max(1.0, 2.0 * abs(other)) if math.isfinite(other) else 1.0
    for (side, k), octave in _quiet_beyond(slices, least, clock).items():
        if octave is None:
            start = least[side] * 4.0**5
            tail = (start, math.inf) if side == 1 else (-math.inf, -start)
            beyond.setdefault(k, []).append(tail)
        else:
            start = math.ldexp(least[side], octave)
        reach[side][k] = start
    rows = []
    for k in range(lines):
        edges = _edges(-float(reach[-1][k]), float(reach[1][k]))
        rows.append((np.full(len(edges) - 1, k), edges[:-1], edges[1:]))
    line, left, right = (np.concatenate(part) for part in zip(*rows, strict=True))
    return line, left, right, beyond


def _quiet_beyond(
    slices: Slices, least: dict[int, float], clock: Clock
) -> dict[tuple[int, int], int | None]:
    """Return, for every end of every line, the smallest tried octave beyond which ``g`` has a sign.

    Several octaves of all open ends are examined together, every second one: a product with many
    rows costs little more than one with a single row, and an octave too far one more interval.
    """
    found: dict[tuple[int, int], int | None] = {}
    live = [(side, k) for side in least for k in range(slices.lines)]
    octave = 0
    while live and octave < _OCTAVES and not clock.over:
        count = max(2, min(_AT_ONCE, _ROWS // len(live)))
        octaves = octave + 2 * np.arange(count)
        sides, lines = (np.repeat(part, count) for part in np.array(live).T)
        starts = np.concatenate([np.ldexp(least[side], octaves) for side, _ in live])
        clock.spend(len(starts))
        parts = np.array_split(np.arange(len(starts)), max(1, len(starts) // slices.batch))
        signs = np.concatenate(
            [ray_signs(slices, lines[part], starts[part], sides[part]) for part in parts]
        ).reshape(len(live), count)
        first = np.where(signs.any(axis=1), (signs != 0).argmax(axis=1), -1).tolist()
        found.update((end, octave + 2 * k) for end, k in zip(live, first, strict=True) if k >= 0)
        live = [end for end, k in zip(live, first, strict=True) if k < 0]
        octave += 2 * count
    found.update(dict.fromkeys(live))
    return found


def _edges(low: float, high: float) -> Array:
    """Return interval ends: even near 0, then geometric, then one for each octave."""
    far = max(abs(low), abs(high))
    outer = [_CORE]
    while outer[-1] < far:
        outer.append(outer[-1] * (2.0 if outer[-1] >= _FAR else 2.0 ** (1 / _PER_OCTAVE)))
    ends = np.array(outer)
    core = np.linspace(-_CORE, _CORE, 9)
    edges = np.concatenate([core, ends, -ends, [low, high]])
    return np.unique(edges[(edges >= low) & (edges <= high)])
