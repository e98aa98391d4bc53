r"""Following a boundary from region to region in a network too large to enumerate.

On a region the boundary is a line; the ratio test over all rows finds where it leaves the region
and which row flips.  Flipping one row changes every later layer by a rank-1 term
(:math:`W D w \otimes \varphi`), so a step costs one matrix-vector product per layer.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from nneq.boundary.pwl.chain import Chain
from nneq.boundary.results import Box, Clock

__all__ = ["Marched", "march"]

Array = np.ndarray[Any, Any]
_REFRESH = 64


@dataclass(frozen=True, eq=False)
class Marched:
    """Segments found by marching.

    Args:
        start: shape ``(S, 2)``.
        end: shape ``(S, 2)``.
        coefficients: shape ``(S, 3)``.
        stuck: places where two rows met and the march stopped.
        finished: False when the budget ended it.
    """

    start: Array
    end: Array
    coefficients: Array
    stuck: tuple[Array, ...]
    finished: bool


class _Region:
    """Forms of every layer for one pattern."""

    def __init__(self, chain: Chain) -> None:
        self.chain = chain
        self.on = [np.zeros(int(n), dtype=bool) for n in chain.sizes[:-1]]
        self.forms: list[Array] = [chain.first.T.copy()]
        self.forms += [np.zeros((int(n), 3)) for n in chain.sizes[1:]]
        self.tall = [np.ascontiguousarray(matrix.T) for matrix in chain.matrices]

    def weights(self, l: int) -> Array:
        chain = self.chain
        return np.where(self.on[l], chain.lows[l] + chain.jumps[l], chain.lows[l])

    def locate(self, x: Array, direction: Array) -> None:
        """Set the pattern at ``x``; a row that is 0 there takes its side from ``direction``."""
        point = np.array([x[0], x[1], 1.0])
        ahead = np.array([direction[0], direction[1], 0.0])
        for l in range(self.chain.layers):
            z = self.forms[l] @ point
            size = np.abs(self.forms[l]) @ np.abs(point)
            z = np.where(np.abs(z) <= 1e-13 * size, self.forms[l] @ ahead * 1e-300, z)
            self.on[l] = z > 0
            self.advance(l)

    def advance(self, l: int) -> None:
        self.forms[l + 1] = self.tall[l] @ (self.weights(l)[:, None] * self.forms[l])
        self.forms[l + 1][:, 2] += self.chain.biases[l]

    def refresh(self) -> None:
        for l in range(self.chain.layers):
            self.advance(l)

    def flip(self, layer: int, row: int) -> None:
        """Flip one row: a rank-1 change of all later layers."""
        chain = self.chain
        sign = -1.0 if self.on[layer][row] else 1.0
        self.on[layer][row] = not self.on[layer][row]
        phi = self.forms[layer][row] * (sign * chain.jumps[layer][row])
        column = chain.matrices[layer][row]
        self.forms[layer + 1] += column[:, None] * phi
        for l in range(layer + 1, chain.layers):
            column = self.tall[l] @ (self.weights(l) * column)
            self.forms[l + 1] += column[:, None] * phi

    def key(self) -> bytes:
        return b"".join(np.packbits(on).tobytes() for on in self.on)

    def exit(
        self, x: Array, direction: Array, box: Box, skip: tuple[int, int] | None
    ) -> tuple[float, tuple[int, int] | None, bool]:
        """Return how far the line stays in the region, the row that ends it, and whether two do."""
        best, who = _leave(x, direction, box), None
        second = np.inf
        for l in range(self.chain.layers):
            forms = self.forms[l]
            z = forms[:, 0] * x[0] + forms[:, 1] * x[1] + forms[:, 2]
            rate = forms[:, 0] * direction[0] + forms[:, 1] * direction[1]
            z = np.where(self.on[l], np.maximum(z, 0.0), np.minimum(z, 0.0))
            with np.errstate(divide="ignore", invalid="ignore"):
                step = np.where((rate < 0) == self.on[l], -z / rate, np.inf)
            step[~((rate != 0) & (step >= 0))] = np.inf
            if skip is not None and skip[0] == l:
                step[skip[1]] = np.inf
            k = int(np.argmin(step))
            if step[k] < best:
                second = best
                best, who = float(step[k]), (l, k)
                step[k] = np.inf
                second = min(second, float(step.min()))
            else:
                second = min(second, float(step[k]))
        return best, who, second - best <= 1e-12 * (1 + abs(best))


def _leave(x: Array, direction: Array, box: Box) -> float:
    best = np.inf
    for k in range(2):
        if direction[k] > 0:
            best = min(best, (box.high[k] - x[k]) / direction[k])
        elif direction[k] < 0:
            best = min(best, (box.low[k] - x[k]) / direction[k])
    return max(float(best), 0.0)


def march(
    chain: Chain,
    seeds: Array,
    box: Box,
    clock: Clock,
    progress: Callable[[float], None] | None = None,
) -> Marched:
    """Return every boundary segment that is connected to a seed.

    Args:
        chain: the network on the plane, one output ``g``.
        seeds: points with ``g = 0``, shape ``(S, 2)``.
        box: where to stay.
        clock: the budget.
        progress: called with the share of the seeds that is done.

    Guarantee: numerical; every equation comes from its activation pattern.
    """
    region = _Region(chain)
    known: set[bytes] = set()
    found: list[tuple[Array, Array, Array]] = []
    stuck: list[Array] = []
    finished = True
    for number, seed in enumerate(seeds):
        if progress is not None:
            progress(number / len(seeds))
        region.forms[0] = chain.first.T.copy()
        region.locate(seed, np.array([1.0, 0.31]))
        if region.key() in known:
            continue
        line = region.forms[-1][0].copy()
        size = float(np.hypot(line[0], line[1]))
        if size == 0:
            stuck.append(seed)
            continue
        along = np.array([-line[1], line[0]]) / size
        known.add(region.key())
        # Onto the line, then both ways.
        seed = seed - line[:2] * (line[:2] @ seed + line[2]) / size**2
        pattern = [on.copy() for on in region.on]
        forward = _walk(region, seed, along, box, known, found, stuck, clock)
        region.on = [on.copy() for on in pattern]
        region.refresh()
        backward = _walk(region, seed, -along, box, known, found, stuck, clock)
        if forward is not None and backward is not None:
            found.append((backward, forward, line))
        if clock.over:
            finished = False
            break
    shape = (len(found), 2)
    return Marched(
        np.array([f[0] for f in found]).reshape(shape),
        np.array([f[1] for f in found]).reshape(shape),
        np.array([f[2] for f in found]).reshape(len(found), 3),
        tuple(stuck),
        finished,
    )


def _walk(
    region: _Region,
    x: Array,
    along: Array,
    box: Box,
    known: set[bytes],
    found: list[tuple[Array, Array, Array]],
    stuck: list[Array],
    clock: Clock,
) -> Array | None:
    """March one way; returns where the first region is left, and enters the segments after it."""
    first: Array | None = None
    came: tuple[int, int] | None = None
    steps = 0
    while True:
        length, who, double = region.exit(x, along, box, came)
        end = x + length * along
        line = region.forms[-1][0].copy()
        if first is None:
            first = end
        else:
            found.append((x, end, line))
        clock.spend(1)
        if who is None or clock.over:
            return first
        if double:
            stuck.append(end)
            return first
        region.flip(*who)
        steps += 1
        if steps % _REFRESH == 0:
            region.refresh()
        key = region.key()
        if key in known:
            return first
        known.add(key)
        line = region.forms[-1][0]
        size = float(np.hypot(line[0], line[1]))
        if size == 0:
            stuck.append(end)
            return first
        new = np.array([-line[1], line[0]]) / size
        # Into the new region: the flipped row must move away from 0 on its new side.
        row = region.forms[who[0]][who[1]]
        rate = row[0] * new[0] + row[1] * new[1]
        if (rate > 0) != region.on[who[0]][who[1]]:
            new = -new
        x, along, came = end, new, who
