r"""Junctions of three outputs: cells in which :math:`(z_i - z_j, z_i - z_k)` has one zero, proven.

The Krawczyk test on an enlarged cell, all cells of a level together: when the image
:math:`c - Y F(c) + (I - Y J)(X - c)` lies inside the cell ``X``, ``X`` holds exactly one zero; all
zeros of ``X`` lie in the image in any case.

References:
    Krawczyk 1969; Moore, Kearfott and Cloud 2009, section 8.2.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from nneq.boundary.results import Box, Enclosed, Junction
from nneq.semantics.ball import UNIT
from nneq.semantics.domain import Domain
from nneq.semantics.linear_bounds import LinearBounds
from nneq.semantics.slices import Slices

__all__ = ["Junctions", "alive_outputs", "taylor"]

Array = np.ndarray[Any, Any]


def alive_outputs(count: int, low: Array, high: Array) -> Array:
    """Return which outputs no other one is proven to exceed, ``(B, m)``.

    Args:
        count: the number of outputs ``m``.
        low: proven lower ends of ``z_i - z_j``, ``(B, m (m - 1) / 2)``, pairs in order.
        high: proven upper ends.
    """
    alive = np.ones((len(low), count), dtype=bool)
    for place, (i, j) in enumerate(itertools.combinations(range(count), 2)):
        alive[:, j] &= ~(low[:, place] > 0)
        alive[:, i] &= ~(high[:, place] < 0)
    return alive


def taylor(slices: Slices, centre: Array, half: Array) -> tuple[Array, Array, Array, Array, Array]:
    """Return ends of the differences, gradient balls ``(B, P, 2)`` and the rounding error."""
    line = np.zeros(len(centre), dtype=np.int64)
    arithmetic, (jet,) = slices.jets(line, centre, half)
    low, high = arithmetic.range(jet)
    fuzz = arithmetic.fuzz(jet)
    slopes = arithmetic.slopes(jet)
    mid = np.stack([s.mid for s in slopes], axis=-1)
    rad = np.stack([s.rad for s in slopes], axis=-1)
    noise = (arithmetic.value(jet).rad + fuzz).max(axis=1)
    return low - fuzz, high + fuzz, mid, rad, noise


class Junctions:
    """The junctions proven so far.

    Args:
        count: the number of outputs.
        slices: all differences of two outputs on the plane.
        bounds: linear bounds of the same differences.
        box: the rectangle.
    """

    def __init__(self, count: int, slices: Slices, bounds: LinearBounds, box: Box) -> None:
        """Start with none."""
        self.count, self.slices, self.bounds = count, slices, bounds
        self.pairs = list(itertools.combinations(range(count), 2))
        self.low, self.high = np.array(box.low), np.array(box.high)
        self.found: list[Junction] = []
        self.enclosures: list[tuple[Array, Array]] = []

    def near(self, centre: Array, half: Array) -> Array:
        """Return which cells lie where a junction is proven to be the only one."""
        inside = np.zeros(len(centre), dtype=bool)
        for junction in self.found:
            low, high = np.array(junction.box.low), np.array(junction.box.high)
            inside |= np.all((centre - half >= low) & (centre + half <= high), axis=1)
        return inside

    def settle(self, centre: Array, half: Array, alive: Array) -> Array:
        """Return which cells with three outputs left hold one proven junction, or none."""
        settled = np.zeros(len(centre), dtype=bool)
        wide = 2.0 * half
        for three in np.unique(alive[alive.sum(axis=1) == 3], axis=0):
            outputs = np.flatnonzero(three)
            places = np.flatnonzero((alive == three).all(axis=1))
            rows = self._rows(outputs)
            line = np.zeros(len(places), dtype=np.int64)
            arithmetic, (jet,) = self.slices.jets(line, centre[places], wide[places])
            value = arithmetic.value(jet)
            slopes = arithmetic.slopes(jet)
            mid = np.stack([s.mid[:, rows] for s in slopes], axis=-1)
            rad = np.stack([s.rad[:, rows] for s in slopes], axis=-1)
            for spot, k in enumerate(places):
                ball = value.mid[spot, rows], value.rad[spot, rows]
                settled[k] = self._krawczyk(
                    centre[k], half[k], outputs, ball, (mid[spot], rad[spot])
                )
        return settled

    def _rows(self, three: Array) -> list[int]:
        """Return the places of the two differences that vanish at a junction."""
        i, j, k = (int(c) for c in three)
        return [self.pairs.index((i, j)), self.pairs.index((i, k))]

    def _krawczyk(
        self,
        centre: Array,
        half: Array,
        three: Array,
        value: tuple[Array, Array],
        jacobian: tuple[Array, Array],
    ) -> bool:
        """Return whether the cell is settled: one junction is proven near it, or none is in it."""
        outputs = tuple(int(c) for c in three)
        for old in self.found:
            if outputs == old.outputs and self._inside(centre, half, old.box):
                return True
        wide = 2.0 * half
        inverse = _inverse(jacobian[0])
        if inverse is None or not np.isfinite(jacobian[1]).all():
            return False
        found = _image(centre, centre, wide, inverse, value, jacobian)
        if found is None:
            return False
        low, high = found
        if np.any(low > centre + half) or np.any(high < centre - half):
            return True  # the zeros in the enlarged cell are all in the image: none is in the cell
        if not (np.all(low > centre - wide) and np.all(high < centre + wide)):
            return False
        start = self._newton(centre, wide, self._rows(three))
        return self._accept(start, low, high, three, (centre - wide, centre + wide))

    @staticmethod
    def _inside(centre: Array, half: Array, box: Box) -> bool:
        """Return whether a cell lies in a box known to hold one junction only."""
        return bool(
            np.all(centre - half >= np.array(box.low))
            and np.all(centre + half <= np.array(box.high))
        )

    def _newton(self, centre: Array, wide: Array, rows: list[int]) -> Array:
        """Return a numerical zero of the two differences near a cell."""
        point = centre.copy()
        line = np.zeros(1, dtype=np.int64)
        for _ in range(8):
            arithmetic, (jet,) = self.slices.jets(line, point[None], np.zeros((1, 2)))
            value = arithmetic.value(jet).mid[0, rows]
            slope = np.stack([s.mid[0, rows] for s in arithmetic.slopes(jet)], axis=-1)
            try:
                step = np.linalg.solve(slope, value)
            except np.linalg.LinAlgError:
                return centre
            if not np.isfinite(step).all():
                return centre
            before, point = point, np.clip(point - step, centre - wide, centre + wide)
            if np.all(np.abs(point - before) <= 4 * UNIT * np.abs(point)):
                break
        return point

    def _accept(
        self, start: Array, low: Array, high: Array, three: Array, unique: tuple[Array, Array]
    ) -> bool:
        """Keep a proven zero if all other outputs are proven smaller at it."""
        low, high = self._tight(start, low, high, three)
        centre, half = 0.5 * (low + high), 0.5 * (high - low) * (1 + 4 * UNIT) + 1e-300
        forms = self.bounds(Domain.box((centre - half)[None], (centre + half)[None]))
        alive = np.flatnonzero(alive_outputs(self.count, forms.low, forms.high)[0])
        if set(three) - set(alive.tolist()):
            return True  # another output is proven larger: no junction
        if len(alive) != 3:
            return False
        outputs = (int(three[0]), int(three[1]), int(three[2]))
        outside = np.any(high < self.low) or np.any(low > self.high)
        if outside:
            return True
        if np.any(low < self.low) or np.any(high > self.high):
            return False  # on the rim of the box: not decided
        for old, (bottom, top) in zip(self.found, self.enclosures, strict=True):
            if old.outputs == outputs and np.all(low <= top) and np.all(high >= bottom):
                # the same one if it lies where the old one is the only one, else not decided
                return bool(
                    np.all(np.array(old.box.low) <= low) and np.all(high <= np.array(old.box.high))
                )
        proof = Enclosed("Krawczyk test: exactly one point of the box ties all three")
        box = Box(tuple(unique[0]), tuple(unique[1]))
        self.found.append(Junction(start, box, outputs, proof))
        self.enclosures.append((low, high))
        return True

    def _tight(self, start: Array, low: Array, high: Array, three: Array) -> tuple[Array, Array]:
        """Return the zero's enclosure after Krawczyk steps on shrinking boxes."""
        rows = self._rows(three)
        ball = self.slices.balls(np.zeros(1, dtype=np.int64), start[None])[0]
        value = ball.mid[0, rows], ball.rad[0, rows]
        for _ in range(4):
            # the mean value form needs slopes between the start and every point of the box
            below, above = np.minimum(low, start), np.maximum(high, start)
            centre, half = 0.5 * (below + above), 0.5 * (above - below) * (1 + 4 * UNIT)
            _, _, mid, rad, _ = taylor(self.slices, centre[None], half[None])
            inverse = _inverse(mid[0, rows])
            if inverse is None or not np.isfinite(rad[0, rows]).all():
                break
            found = _image(start, centre, half, inverse, value, (mid[0, rows], rad[0, rows]))
            if found is None:
                break
            low, high = np.maximum(low, found[0]), np.minimum(high, found[1])
        return low, np.maximum(low, high)


def _inverse(matrix: Array) -> Array | None:
    """Return the numerical inverse of a 2 x 2 matrix, or None."""
    with np.errstate(all="ignore"):
        determinant = matrix[0, 0] * matrix[1, 1] - matrix[0, 1] * matrix[1, 0]
        adjugate = np.array([[matrix[1, 1], -matrix[0, 1]], [-matrix[1, 0], matrix[0, 0]]])
        found = adjugate / determinant
    return found if np.isfinite(found).all() else None


def _image(
    start: Array,
    centre: Array,
    wide: Array,
    inverse: Array,
    value: tuple[Array, Array],
    jacobian: tuple[Array, Array],
) -> tuple[Array, Array] | None:
    """Return the Krawczyk image ``s - Y F(s) + (I - Y J)(X - s)`` of ``X = centre +- wide``.

    Args:
        start: the point ``s`` in ``X``.
        centre: of the box.
        wide: its half-widths.
        inverse: any matrix ``Y``.
        value: middles and radii of ``F(s)``.
        jacobian: middles and radii of ``J`` over ``X``.
    """
    mid, rad = jacobian
    size = np.abs(inverse)
    with np.errstate(all="ignore"):
        shift = inverse @ value[0]
        reach = (wide + np.abs(centre - start)) * (1 + 8 * UNIT)
        rest = np.abs(np.eye(2) - inverse @ mid) + size @ rad
        rest = rest + 16 * UNIT * (size @ np.abs(mid) + 1)
        spread = size @ value[1] + rest @ reach
        spread = spread + 32 * UNIT * (size @ np.abs(value[0]) + np.abs(start))
        spread = spread * (1 + 16 * UNIT)
    if not np.isfinite(shift).all() or not np.isfinite(spread).all():
        return None
    return start - shift - spread, start - shift + spread
