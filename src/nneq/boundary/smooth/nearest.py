r"""The boundary point nearest to an input, with a proven lower bound on the distance.

Upper bound: Newton steps towards the nearest point of the tangent plane from many starts, and the
first change of sign on the rays found; the point is certified by proven opposite signs.

Lower bound: linear bounds over a ball of radius ``r``, with the dual norm, prove that no zero is
nearer than ``r``; the largest such ``r`` is found by trying many at once.  Then the ball is split
into boxes.  All zeros of a box lie in a half-space :math:`\lambda x + c \le 0` (the lower bound of
``g``, when ``g`` is positive at the start), so that its zeros are no nearer than
:math:`(\lambda x_0 + c)/\|\lambda\|_*`; the smallest such number over all boxes left is a proven
lower bound at any moment.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from nneq.boundary.problem import Problem
from nneq.boundary.results import Certificate, Clock, Enclosed, Nearest, Sampled, Status
from nneq.boundary.smooth.cuts import cut_boxes
from nneq.boundary.smooth.search import Bracket, Oracle, newton_points, tied_points, values
from nneq.errors import NneqError
from nneq.semantics.ball import TINY, UNIT
from nneq.semantics.domain import Domain, Norm, around, lengths
from nneq.semantics.linear_bounds import Forms

__all__ = ["nearest_point"]

Array = np.ndarray[Any, Any]
Progress = Callable[[float], None] | None

_STARTS = 48
_STARTS_LARGE = 2
_CHUNK = 256
_CLOSE = 0.999
_MOST_LOW = 100_000
_MOST_HIGH = 2_000
_LOW_DIMENSION = 3
_MIDDLE_DIMENSION = 6
_MOST_WIDE = 256  # with many inputs boxes hardly help
_SLICES = 6
_MOST_CUT = 256  # boxes for one radius
_WORTH = 0.75
_ORDERS = {"l2": 2.0, "linf": np.inf, "l1": 1.0}


def nearest_point(
    problem: Problem,
    x: Array,
    norm: Norm,
    *,
    precision: str = "real",
    clock: Clock,
    progress: Progress = None,
) -> Nearest:
    """Return the nearest boundary point found and a proven lower bound on the distance.

    Args:
        problem: the question; with rivals, only points where no rival wins count.
        x: shape ``(n,)``.
        norm: ``l2``, ``linf`` or ``l1``.
        precision: ``real``, or ``float32``: the statement also holds as executed in float32.
        clock: the budget; without one at most 100,000 boxes (up to 3 inputs), 2,000 (up to 6) or
            256, beside balls and slices of balls.
        progress: called with the quotient of lower and upper bound.

    Raises:
        NneqError: an unknown norm, or an input that is not ``n`` finite numbers.

    Guarantee: the lower bound and the sign change at ``point`` are certified; that no nearer point
    exists is proven as far as ``lower_bound / distance`` says.
    """
    x = np.asarray(x, dtype=np.float64)
    if norm not in _ORDERS:
        msg = f"unknown norm {norm!r}: use 'l2', 'linf' or 'l1'"
        raise NneqError(msg)
    if x.shape != (problem.network.input_size,) or not np.isfinite(x).all():
        msg = (
            f"the input must be {problem.network.input_size} finite numbers, "
            f"got shape {x.shape}" + ("" if np.isfinite(x).all() else " with NaN or inf")
        )
        raise NneqError(msg)
    search = _Search(problem, x, norm, precision, clock, progress)
    status = Status.COMPLETE
    try:
        search.run()
    except KeyboardInterrupt:
        status = Status.INTERRUPTED
    return search.answer(status)


class _Search:
    def __init__(
        self,
        problem: Problem,
        x: Array,
        norm: Norm,
        precision: str,
        clock: Clock,
        progress: Progress,
    ) -> None:
        self.oracle = Oracle(problem, precision, clock.executor)
        self.network = problem.network
        self.x = x
        self.norm = norm
        self.order = _ORDERS[norm]
        self.precision = precision
        self.clock = self.search = clock
        self.progress = progress
        self.bracket: Bracket | None = None
        self.upper = np.inf
        self.lower = 0.0
        self.on_boundary = False
        self.examined = 0
        self.sign = 0
        self.large = self.oracle.bounds.batch < 4  # one set at a time is all the memory allows

    def run(self) -> None:
        """Improve both bounds until they meet or the budget ends."""
        self.sign = int(self.oracle.signs(self.x[None])[0])
        if self.sign == 0:
            self._at_start()
            return
        self._search()
        self._ball()
        if self.x.shape[0] > _LOW_DIMENSION and self.upper < np.inf:
            if self.norm == "l2":
                self._enlarge(self._cap_is_free)
            elif not self.large:
                self._enlarge(self._ball_is_free)
        if not self.clock.over:
            self._split()

    def _at_start(self) -> None:
        """Settle a start whose sign is not proven: it is on the boundary, or too near to say."""
        n = self.x.shape[0]
        steps = 10.0 ** np.arange(-14.0, -3.0) * max(1.0, float(np.abs(self.x).max()))
        rng = np.random.default_rng(0)
        _, slope = value_slope(self.network, self.x)
        ways = np.vstack([slope[None], rng.normal(size=(7, n))])
        lengths = np.linalg.norm(ways, axis=1, keepdims=True)
        ways = ways / np.where(lengths > 0, lengths, 1.0)
        for step in steps:
            ends = np.concatenate([self.x + step * ways, self.x - step * ways])
            signs = self.oracle.signs(ends)
            plus, minus = np.flatnonzero(signs > 0), np.flatnonzero(signs < 0)
            if plus.size and minus.size:
                self.bracket = Bracket(ends[plus[0]], ends[minus[0]])
                self.upper = max(self._far(ends[plus[0]]), self._far(ends[minus[0]]))
                self.on_boundary = True
                return

    # ------------------------------------------------------------------------------ upper bound
    def _far(self, point: Array) -> float:
        """Return an upper bound of the distance of a point."""
        far = float(self._length(point - self.x) * (1 + (self.x.shape[0] + 8) * 2 * UNIT))
        return math.nextafter(far, math.inf) if far > 0 else 0.0

    def _length(self, step: Array) -> float:
        return float(lengths(step, self.order))

    def _lengths(self, steps: Array) -> Array:
        return lengths(steps, self.order)

    def _search(self) -> None:
        """Look for sign changes on rays, from near to far, and polish the best.

        At most half of the time: the rest is for the lower bound.
        """
        self.search = self.clock.share(0.5)
        n = self.x.shape[0]
        rng = np.random.default_rng(0)
        spread = max(1.0, float(np.abs(self.x).max()))
        starts = _STARTS_LARGE if self.large else _STARTS
        scales = spread * 10.0 ** rng.uniform(-2.0, 1.0, starts)
        start = self.x + rng.normal(size=(starts, n)) * scales[:, None] / np.sqrt(n)
        start[0] = self.x
        found = newton_points(self.network, start, self.x, self.norm, 10 if self.large else 24)
        self._rays(np.concatenate([found, start[1:]]))
        self._ties(np.concatenate([found[:8], start[:8]]))
        for _ in range(4):
            if self.bracket is None or self.search.over:
                return
            before = self.upper
            point = self.bracket.point
            around = point + rng.normal(size=(1 if self.large else 16, n)) * (
                0.05 * self.upper / np.sqrt(n)
            )
            around[0] = point
            self._rays(newton_points(self.network, around, self.x, self.norm, 8))
            if self.upper > before * (1 - 1e-6) or self.large:
                return

    def _ties(self, start: Array) -> None:
        """With rivals: look where a rival ties too, which is often the nearest place."""
        if self.oracle.rivals is not None:
            rivals = self.oracle.rivals.network
            with np.errstate(all="ignore"):
                found = tied_points(self.network, rivals, start, self.x, 24)
            found = found[np.isfinite(found).all(axis=1)]
            for point in found:
                _, slope = value_slope(self.network, point)
                size = float(np.linalg.norm(slope))
                inside = self._pull(point)
                if size > 0 and inside is not None:
                    step = 1e-6 * max(1.0, float(np.abs(point).max())) * slope / size
                    self._try(inside - step, inside + step)

    def _pull(self, point: Array) -> Array | None:
        """Return the point moved a little to where all rivals are positive, if that is near."""
        rivals = self.oracle.rivals
        if rivals is None:
            return point
        for step in (0.0, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3):
            start = point if step == 0.0 else point + step * (point - self.x)
            moved = newton_points(self.network, start[None], start, "l2", 6)[0]
            if np.isfinite(moved).all() and values(rivals.network, moved[None]).min() > 1e-12:
                return np.asarray(moved)
        return None

    def _rays(self, points: Array) -> None:
        """Find the first numeric sign change on the rays from ``x`` through the points."""
        steps = points - self.x
        far = self._lengths(steps)
        good = np.isfinite(far) & (far > 0)
        if not good.any():
            return
        steps, far = steps[good], far[good]
        share = np.concatenate([np.linspace(0.0, 1.05, 33)[1:], [1.2, 1.5, 2.0, 4.0]])
        probes = self.x + share[:, None, None] * steps
        shape = probes.shape
        with np.errstate(all="ignore"):
            flat = probes.reshape(-1, shape[-1])
            numbers = values(self.network, flat)[:, 0].reshape(shape[:2])
            good = np.ones(shape[:2], dtype=bool)
            if self.oracle.rivals is not None:
                others = values(self.oracle.rivals.network, flat).min(axis=1)
                good = others.reshape(shape[:2]) > 0
        numbers = np.concatenate([np.full((1, shape[1]), float(self.sign)), numbers])
        good = np.concatenate([good[:1], good])
        change = (
            (numbers[1:] * numbers[:-1] <= 0) & np.isfinite(numbers[1:]) & (good[1:] | good[:-1])
        )
        first = np.where(change.any(axis=0), change.argmax(axis=0), -1)
        before = np.concatenate([[0.0], share[:-1]])
        reach = np.where(first >= 0, before[first] * far, np.inf)
        for k in np.argsort(reach, kind="stable")[:6]:
            if reach[k] < self.upper and not self.search.over:
                here = first[k]
                self._try(self.x + before[here] * steps[k], probes[here, k])

    def _try(self, inner: Array, outer: Array) -> None:
        """Certify a sign change between two points, and keep it if it is nearer."""
        found = self.oracle.bracket(inner, outer)
        if found is not None and self.oracle.continuous:
            far = max(self._far(found.inner), self._far(found.outer))
            if far < self.upper:
                self.upper, self.bracket = far, found

    # ------------------------------------------------------------------------------ lower bound
    def _free(self, domain: Domain) -> Array:
        """Return the sets proven to hold no boundary point."""
        self.clock.spend(domain.count)
        self.examined += domain.count
        forms, lost, _ = self.oracle.examine(domain)
        own = forms.low[:, 0] > 0 if self.sign > 0 else forms.high[:, 0] < 0
        return np.asarray(own | lost)

    def _ball(self) -> None:
        """Find the largest proven ball around ``x``."""
        n = self.x.shape[0]
        if self.upper < np.inf:
            radii = self.upper * np.linspace(0.0, 1.0, 18)[1:]
        else:
            everywhere = Domain(np.zeros((1, n)), np.full((1, n), np.inf))
            if self._free(everywhere)[0]:
                self.lower = np.inf
                return
            radii = 10.0 ** np.linspace(-6.0, 9.0, 31)
        if self.large:
            self._halve(radii)
            return
        for _ in range(4):
            if self.clock.over:
                return
            balls = Domain.ball(np.repeat(self.x[None], len(radii), axis=0), radii, self.norm)
            good = np.flatnonzero(self._free(balls))
            if good.size:
                self.lower = max(self.lower, float(radii[good[-1]]))
            worse = radii[radii > self.lower]
            if not worse.size:
                return
            radii = np.linspace(self.lower, float(worse[0]), 10)[1:-1]

    def _halve(self, radii: Array) -> None:
        """Find a proven ball one radius at a time: by bisection, with the budget in sight."""
        low, high = -1, len(radii)
        while high - low > 1 and not self.clock.over:
            middle = (low + high) // 2
            ball = Domain.ball(self.x[None], radii[middle : middle + 1], self.norm)
            if self._free(ball)[0]:
                low = middle
                self.lower = float(radii[middle])
            else:
                high = middle

    def _enlarge(self, is_free: Callable[[float], bool]) -> None:
        """Raise the lower bound by bisection with a better proof than one bound of the ball."""
        low, high = self.lower, self.upper
        for _ in range(2 if self.large else 7):
            radius = 0.5 * low + 0.5 * high
            if self.clock.over or high - low < 5e-3 * self.upper:
                break
            if is_free(radius):
                low = self.lower = radius
            else:
                high = radius

    def _ball_is_free(self, radius: float) -> bool:
        """Return whether the ball is proven free by cutting off what a bound decides, and halving.

        A box from which the bound cuts little is halved, the others are examined again.
        """
        low, high = (end[None] for end in around(self.x, radius))
        left = _MOST_CUT
        while len(low):
            left -= len(low)
            if left < 0 or self.clock.over:
                return False
            domain = self._overlap(low, high, radius)
            self.clock.spend(len(low))
            self.examined += len(low)
            forms, lost, steep = self.oracle.examine(domain)
            free = forms.low[:, 0] > 0 if self.sign > 0 else forms.high[:, 0] < 0
            alive = ~(free | lost)
            below, above = self._cut(forms, low, high, radius)
            alive &= (below <= above).all(axis=1) & (self._box_far(below, above) <= radius)
            share = ((above - below) / np.maximum(high - low, TINY)).min(axis=1)
            low, high, steep, share = below[alive], above[alive], steep[alive], share[alive]
            again = share < _WORTH
            halves = self._halved(low[~again], high[~again], steep[~again])
            low = np.concatenate([low[again], halves[0]])
            high = np.concatenate([high[again], halves[1]])
        return True

    def _cut(self, forms: Forms, low: Array, high: Array, radius: float) -> tuple[Array, Array]:
        """Return the boxes without what the linear bounds prove free."""
        if self.sign > 0:
            rows, offset = forms.slope_low[:, 0], forms.offset_low[:, 0]
        else:
            rows, offset = -forms.slope_high[:, 0], -forms.offset_high[:, 0]
        return cut_boxes(low, high, rows, offset, self.x, radius, self.norm)

    @staticmethod
    def _halved(low: Array, high: Array, steep: Array) -> tuple[Array, Array]:
        """Return the halves of boxes, cut along the input that matters most."""
        axis = (steep * (high - low)).argmax(axis=1)
        rows = np.arange(len(low))
        cut = 0.5 * low[rows, axis] + 0.5 * high[rows, axis]
        first, second = high.copy(), low.copy()
        first[rows, axis], second[rows, axis] = cut, cut
        return np.concatenate([low, second]), np.concatenate([first, high])

    def _cap_is_free(self, radius: float) -> bool:
        r"""Return whether the ball is proven free, slice by slice.

        By the linear bound over the ball its zeros lie beyond a plane, in a cap.  The slice of the
        cap between the distances ``a`` and ``b`` along the plane's normal lies in a cylinder of
        radius :math:`\sqrt{r^2 - a^2}`, on which the bounds are tighter.
        """
        ball = Domain.ball(self.x[None], np.array([radius]), "l2")
        forms, _, _ = self.oracle.examine(ball)
        start = float(self._plane_far(forms)[0])
        row = forms.slope_low[0, 0] if self.sign > 0 else -forms.slope_high[0, 0]
        size = float(lengths(row, 2))
        if not (np.isfinite(size) and size > TINY) or start >= radius:
            return bool(start >= radius)
        way = -row / size
        # slightly before the plane, so that rounding of the normal loses nothing
        slices = [(start * (1 - 1e-9), radius)]
        for _ in range(2 if self.large else _SLICES):
            a, b = np.array(slices).T
            middle = 0.5 * a + 0.5 * b
            across = np.sqrt(np.maximum(radius - a, 0.0)) * np.sqrt(radius + a) * (1 + 1e-9)
            blur = 1e-12 * (radius + float(np.abs(self.x).max()))
            sets = Domain.cylinders(
                self.x + middle[:, None] * way,
                np.repeat(way[None], len(a), axis=0),
                0.5 * (b - a) * (1 + 1e-9) + blur,
                across + blur,
            )
            free = self._free(sets)
            if free.all():
                return True
            open_ = [(float(x), float(y)) for x, y in zip(a[~free], b[~free], strict=True)]
            slices = [part for x, y in open_ for part in ((x, 0.5 * (x + y)), (0.5 * (x + y), y))]
            if self.clock.over or (self.large and len(slices) > 2):
                break
        return False

    def _split(self) -> None:
        """Split the ball into boxes, the most dangerous first, until the bounds meet."""
        n = self.x.shape[0]
        most = (
            _MOST_LOW
            if n <= _LOW_DIMENSION
            else _MOST_HIGH
            if n <= _MIDDLE_DIMENSION
            else _MOST_WIDE
        )
        most += self.examined
        radius = self.upper if self.upper < np.inf else 16.0 * max(self.lower, 1.0)
        while self.lower < np.inf:
            self._split_ball(radius, most)
            if self.upper < np.inf or self.clock.over or self.examined >= most:
                return
            if radius > 1e9:
                return
            radius *= 16.0

    def _split_ball(self, radius: float, most: int) -> None:
        """Raise the lower bound by branch and bound in the ball of the given radius."""
        low, high = (end[None] for end in around(self.x, radius))
        entries = [(0.0, 0, low[0], high[0])]
        number = 1
        while entries and not self.clock.over and self.examined < most:
            goal = min(self.upper * _CLOSE, radius)
            if entries[0][0] > self.lower:
                self.lower = min(entries[0][0], radius, self.upper)
            if self.lower >= goal:
                return
            count = min(_CHUNK, max(1, self.oracle.bounds.batch * 4), len(entries))
            taken = [heapq.heappop(entries) for _ in range(count)]
            try:
                fresh = self._examine(taken, goal)
            except KeyboardInterrupt:
                for entry in taken:
                    heapq.heappush(entries, entry)
                raise
            for bound, below, above in fresh:
                heapq.heappush(entries, (bound, number, below, above))
                number += 1
            if self.progress is not None and self.upper < np.inf:
                self.progress(self.lower / self.upper)
        if not entries:
            self.lower = max(self.lower, min(radius, self.upper * _CLOSE))

    def _examine(
        self, taken: list[tuple[float, int, Array, Array]], goal: float
    ) -> list[tuple[float, Array, Array]]:
        """Return the halves of the boxes that may still hold a zero nearer than ``goal``."""
        low = np.stack([entry[2] for entry in taken])
        high = np.stack([entry[3] for entry in taken])
        bound = np.array([entry[0] for entry in taken])
        domain = self._overlap(low, high, goal)
        self.clock.spend(len(taken))
        self.examined += len(taken)
        forms, lost, steep = self.oracle.examine(domain)
        free = forms.low[:, 0] > 0 if self.sign > 0 else forms.high[:, 0] < 0
        free = free | lost
        bound = np.maximum(bound, np.maximum(self._box_far(low, high), self._plane_far(forms)))
        alive = ~free & (bound < goal)
        if not alive.any():
            return []
        self._improve(low[alive], high[alive])
        low, high = self._cut(forms, low, high, goal)
        alive &= (low <= high).all(axis=1)
        low, high, bound = low[alive], high[alive], bound[alive]
        lows, highs = self._halved(low, high, steep[alive])
        bounds = np.maximum(np.concatenate([bound, bound]), self._box_far(lows, highs))
        # a box that cannot be halved keeps its bound for ever: the lower bound stops there
        return [(float(b), p, q) for b, p, q in zip(bounds, lows, highs, strict=True) if b < goal]

    def _overlap(self, low: Array, high: Array, radius: float) -> Domain:
        """Return the boxes, cut with the ball in which zeros still count."""
        box = Domain.box(low, high)
        if self.norm == "linf":
            return box
        radii = np.full(len(low), radius)
        return Domain(box.center, box.reach, self.x[None], radii, self.norm)

    def _improve(self, low: Array, high: Array) -> None:
        """Try the middles of boxes where ``g`` has the other sign."""
        middle = 0.5 * low + 0.5 * high
        other = self.sign * values(self.network, middle)[:, 0] <= 0
        if not other.any():
            return
        found = middle[other]
        far = self._lengths(found - self.x)
        k = int(far.argmin())
        if far[k] < 1.5 * self.upper:
            before = self.upper
            self._try(self.x, found[k])
            if self.upper < before:
                near = newton_points(self.network, found[k : k + 1], self.x, self.norm, 8)
                self._rays(near)

    def _box_far(self, low: Array, high: Array) -> Array:
        """Return lower bounds of the distance from ``x`` to boxes."""
        gap = np.maximum(0.0, np.maximum(low - self.x, self.x - high))
        return np.asarray(self._lengths(gap) * (1 - (self.x.shape[0] + 8) * 4 * UNIT))

    def _plane_far(self, forms: Forms) -> Array:
        """Return lower bounds of the distance from ``x`` to where the linear bound allows zeros."""
        count = forms.low.shape[0]
        if self.sign > 0:
            rows, offset = forms.slope_low, forms.offset_low[:, 0]
        else:
            rows, offset = -forms.slope_high, -forms.offset_high[:, 0]
        start = Domain.box(self.x[None], self.x[None])
        value = np.broadcast_to(start.span(rows)[0], (count, 1))[:, 0] + offset
        value = value - 4 * UNIT * (np.abs(value) + np.abs(offset))
        rows = np.where(np.isfinite(rows), rows, np.nan)
        dual = {"l2": 2.0, "linf": 1.0, "l1": np.inf}[self.norm]
        size = lengths(rows[:, 0], dual) * (1 + 4 * UNIT * (self.x.shape[0] + 8))
        size = np.where(size > TINY, size, np.nan)
        size = np.broadcast_to(size, (count,))
        with np.errstate(all="ignore"):
            far = np.maximum(value, 0.0) / size * (1 - 16 * UNIT * (self.x.shape[0] + 8))
        return np.where(np.isfinite(far), far, 0.0)

    # ----------------------------------------------------------------------------------- answer
    def answer(self, status: Status) -> Nearest:
        """Return what is proven."""
        lower = max(0.0, min(self.lower, self.upper))
        good = self.on_boundary or (self.upper < np.inf and lower >= 0.99 * self.upper)
        if status is Status.COMPLETE and not good and lower < np.inf:
            status = Status.BUDGET if self.clock.over else Status.UNDECIDED
        proof = Enclosed(
            f"linear bounds of g over the {self.norm} ball and boxes in it, all rounding errors "
            "included",
            self.precision,
        )
        witness: Certificate = Sampled("no boundary point was found")
        if self.bracket is not None:
            gap = self._far(self.bracket.outer) - self._far(self.bracket.inner)
            witness = Enclosed(
                f"opposite proven signs of the continuous g on either side, {abs(gap):.3g} apart; "
                "that it is the nearest one is a local search",
                self.precision,
            )
        return Nearest(
            None if self.bracket is None else self.bracket.point,
            self.upper,
            lower,
            self.norm,
            proof,
            witness,
            status,
            {"boxes": self.examined, "seconds": self.clock.seconds},
        )


def value_slope(network: Any, x: Array) -> tuple[float, Array]:
    """Return value and gradient at one point, numerically."""
    from nneq.semantics.gradient import value_and_gradient

    value, slope = value_and_gradient(network, x[None])
    return float(value[0]), slope[0]
