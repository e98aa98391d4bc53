r"""Is a box free of the boundary? A proof, a witness, or what is left undecided.

One pass of linear bounds over the whole box decides many questions of any input size.  Where it
does not, boxes are split along the input that matters most (slope times half-width) until each is
proven to have one sign; two proven signs of a continuous ``g`` in the box are a witness.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from nneq.boundary.problem import Problem
from nneq.boundary.results import Box, Certificate, Clock, Enclosed, Sampled, Status, Verdict
from nneq.boundary.smooth.search import Bracket, Oracle, newton_points, values
from nneq.ir import network as ir
from nneq.semantics.domain import Domain
from nneq.semantics.gradient import value_and_gradient
from nneq.semantics.linear_bounds import LinearBounds

__all__ = ["exclude_box", "output_ranges"]

Array = np.ndarray[Any, Any]
Progress = Callable[[float], None] | None

MOST_BOXES = 400_000
_CHUNK = 512
_LISTED = 10_000


def exclude_box(
    problem: Problem,
    box: Box,
    *,
    precision: str = "real",
    clock: Clock,
    progress: Progress = None,
    most: int = MOST_BOXES,
) -> Verdict:
    """Return whether the box is proven to hold no point with equal outputs.

    Args:
        problem: the question; with rivals, only points where no rival wins count.
        box: of all ``n`` inputs; ends may be infinite.
        precision: ``real``, or ``float32``: the statement also holds as executed in float32.
        clock: the budget.
        progress: called with the share of the box that is decided.
        most: how many boxes may be examined, whatever the budget.

    Guarantee: certified (linear bounds with all rounding errors, branch and bound).
    """
    search = _Search(problem, box, precision, clock, progress, most)
    status = Status.COMPLETE
    try:
        search.run()
    except KeyboardInterrupt:
        status = Status.INTERRUPTED
    return search.verdict(status)


def output_ranges(network: ir.Network, box: Box, *, precision: str = "real") -> tuple[Array, Array]:
    """Return proven lower and upper ends of every output entry over the box, each ``(m,)``.

    Args:
        network: any number of outputs; entries in order.
        box: of all ``n`` inputs.
        precision: ``real`` or ``float32``.

    Guarantee: certified (one pass of linear bounds: sound, not the tightest).
    """
    domain = Domain.box(np.array([box.low]), np.array([box.high]))
    parts = LinearBounds(network, precision=precision).ranges(domain)
    return (
        np.concatenate([low[0].reshape(-1) for low, _ in parts]),
        np.concatenate([high[0].reshape(-1) for _, high in parts]),
    )


class _Search:
    """Branch and bound; every box waits, is proven to have a sign, or is given up."""

    def __init__(
        self,
        problem: Problem,
        box: Box,
        precision: str,
        clock: Clock,
        progress: Progress,
        most: int,
    ) -> None:
        self.oracle = Oracle(problem, precision, clock.executor)
        self.precision = precision
        self.clock = clock
        self.progress = progress
        self.low = np.array([box.low])
        self.high = np.array([box.high])
        self.hopeless: list[tuple[Array, Array]] = []
        self.signs: set[int] = set()
        self.points: dict[int, Array] = {}
        self.bracket: Bracket | None = None
        self.examined = 0
        self.most = most
        self.share = 0.0
        self.out_of_budget = False
        self.noise: float | None = None

    # ------------------------------------------------------------------------- branch and bound
    def run(self) -> None:
        """Work until everything is decided, a witness is found, or the budget ends."""
        weight = np.ones(1)
        looked = False
        while self.low.shape[0] and self.bracket is None:
            if self.clock.over or self.examined >= self.most:
                self.out_of_budget = True
                return
            count = min(_CHUNK, max(1, 4 * self.oracle.bounds.batch))
            low, high, part = self.low[-count:], self.high[-count:], weight[-count:]
            domain = Domain.box(low, high)
            forms, lost, steep = self.oracle.examine(domain)
            free = self._decided(domain, forms.low[:, 0], forms.high[:, 0], lost)
            done = free.shape[0]
            self.clock.spend(done)
            self.examined += done
            self.share += float(part[free].sum())
            left = ~free
            noise = self._noise()
            with np.errstate(invalid="ignore"):
                flat = forms.high[left, 0] - forms.low[left, 0] <= noise
            halves = self._split(low[left], high[left], part[left], steep[left], flat)
            # the boxes leave the list only now, so that an interruption loses none
            self.low, self.high, weight = (
                np.concatenate([self.low[:-count], halves[0]]),
                np.concatenate([self.high[:-count], halves[1]]),
                np.concatenate([weight[:-count], halves[2]]),
            )
            if not looked and left.any():
                looked = True
                self._look(low[left][0], high[left][0])
            elif left.any():
                self._probe(low[left], high[left])
            if self.progress is not None:
                self.progress(self.share)

    def _decided(self, domain: Domain, low: Array, high: Array, lost: Array) -> Array:
        """Return which boxes are free of the boundary; remember one point of each sign."""
        for sign, proven in ((1, low > 0), (-1, high < 0)):
            found = np.flatnonzero(proven & ~lost)
            if found.size:
                self.signs.add(sign)
                point = domain.center[found[0]]
                if np.isfinite(point).all():
                    self._remember(sign, point)
        return (low > 0) | (high < 0) | lost

    def _noise(self) -> float:
        """Return the width of ``g`` at a point below which splitting cannot help."""
        if self.noise is None:
            with np.errstate(invalid="ignore"):
                middle = 0.5 * self.low[:1] + 0.5 * self.high[:1]
            middle = np.where(np.isfinite(middle), middle, 0.0)
            forms = self.oracle.bounds(Domain.box(middle, middle))
            self.noise = 4 * float(forms.high[0, 0] - forms.low[0, 0])
        return self.noise

    def _split(
        self, low: Array, high: Array, part: Array, slope: Array, flat: Array
    ) -> tuple[Array, Array, Array]:
        """Return the halves of boxes, cut along the input that matters most."""
        with np.errstate(all="ignore"):
            width = high - low
            endless = np.isinf(width)
            gain = np.where(width > 0, slope * np.where(endless, 1.0, width), -1.0)
            if endless.any():
                gain = np.where(endless, 1e12 * (self._local(low, high) + 1e-9), gain)
        axis = gain.argmax(axis=1)
        rows = np.arange(low.shape[0])
        a, b = low[rows, axis], high[rows, axis]
        cut = _middle(a, b)
        stuck = ~((a < cut) & (cut < b)) | flat
        if stuck.any():
            self.hopeless.append((low[stuck], high[stuck]))
        keep = ~stuck
        below_high, above_low = high.copy(), low.copy()
        below_high[rows, axis] = cut
        above_low[rows, axis] = cut
        half = 0.5 * part[keep]
        return (
            np.concatenate([low[keep], above_low[keep]]),
            np.concatenate([below_high[keep], high[keep]]),
            np.concatenate([half, half]),
        )

    def _local(self, low: Array, high: Array) -> Array:
        """Return (numerically) how steep ``g`` is somewhere in unbounded boxes."""
        near_low, near_high = _near(low, high)
        _, slope = value_and_gradient(self.oracle.network, 0.5 * near_low + 0.5 * near_high)
        return np.where(np.isfinite(slope), np.abs(slope), 0.0)

    # ----------------------------------------------------------------------------------- witness
    def _remember(self, sign: int, point: Array) -> None:
        """Keep a point of a proven or numeric sign; two of them are tried as a witness."""
        self.points.setdefault(sign, point)
        if len(self.points) == 2 and self.oracle.continuous:
            self.bracket = self.oracle.bracket(self.points[1], self.points[-1])
            if self.bracket is None:
                del self.points[sign]

    def _probe(self, low: Array, high: Array) -> None:
        """Look at the middles of undecided boxes."""
        with np.errstate(invalid="ignore"):
            middle = 0.5 * low + 0.5 * high
        middle = middle[np.isfinite(middle).all(axis=1)]
        if middle.shape[0]:
            self._numbers(middle)

    def _numbers(self, points: Array) -> None:
        found = values(self.oracle.network, points)[:, 0]
        good = np.ones(len(points), dtype=bool)
        if self.oracle.rivals is not None:
            good = self.oracle.wins(points)
        for sign in (1, -1):
            if self.bracket is None:
                here = np.flatnonzero((sign * found > 0) & good)
                if here.size:
                    best = here[np.argmax(sign * found[here])]
                    self._remember(sign, points[best])

    def _look(self, low: Array, high: Array) -> None:
        """Search the first undecided box for both signs: random points and Newton steps."""
        n = low.shape[0]
        rng = np.random.default_rng(0)
        near_low, near_high = _near(low, high)
        share = rng.uniform(size=(64, n))
        points = np.clip(near_low + share * (near_high - near_low), near_low, near_high)
        points[0] = 0.5 * near_low + 0.5 * near_high
        self._numbers(points)
        start = points[:16]
        for _ in range(4):
            if self.bracket is not None:
                return
            start = newton_points(self.oracle.network, start, points[0], "l2", 3)
            start = np.clip(start, near_low, near_high)
            self._numbers(start)
        self._descend(points[:16], near_low, near_high)

    def _descend(self, start: Array, low: Array, high: Array) -> None:
        """Follow the signs of the gradient into the box, up and down."""
        for sign in (1.0, -1.0):
            point = start
            for k in range(16):
                if self.bracket is not None:
                    return
                _, slope = value_and_gradient(self.oracle.network, point)
                step = (0.5 * 0.8**k) * (high - low)
                point = np.clip(point + sign * step * np.sign(slope), low, high)
            self._numbers(point)

    # ------------------------------------------------------------------------------------ answer
    def verdict(self, status: Status) -> Verdict:
        """Return what is proven."""
        stats = {"boxes": self.examined, "seconds": self.clock.seconds}
        proof: Certificate = Enclosed(
            "linear bounds of g with all rounding errors, branch and bound over the box",
            self.precision,
        )
        if self.bracket is not None:
            found = Enclosed(
                "opposite proven signs of the continuous g at the ends of a segment of length "
                f"{float(np.linalg.norm(self.bracket.outer - self.bracket.inner)):.3g} "
                "around the witness",
                self.precision,
            )
            sign = 0
            return Verdict(False, self.bracket.point, sign, found, (), Status.COMPLETE, stats)
        left = [(self.low, self.high), *self.hopeless]
        boxes = tuple(
            Box(tuple(a), tuple(b)) for low, high in left for a, b in zip(low, high, strict=True)
        )
        if (
            not boxes
            and status is Status.COMPLETE
            and not (len(self.signs) == 2 and not self._apart)
        ):
            sign = self.signs.pop() if len(self.signs) == 1 else 0
            return Verdict(True, None, sign, proof, (), status, stats)
        if status is Status.COMPLETE:
            status = Status.BUDGET if self.out_of_budget else Status.UNDECIDED
        stats["undecided"] = len(boxes)
        if len(boxes) > _LISTED:
            boxes = (_hull(boxes),)
        nothing = Sampled("undecided: neither a proof nor a witness was found")
        return Verdict(None, None, 0, nothing, boxes, status, stats)

    @property
    def _apart(self) -> bool:
        """Both signs were proven on boxes that cover everything: only jumps or rivals part them."""
        return self.oracle.rivals is not None or not self.oracle.continuous


def _middle(a: Array, b: Array) -> Array:
    with np.errstate(all="ignore"):
        middle = 0.5 * a + 0.5 * b
        middle = np.where(np.isinf(a) & np.isinf(b), 0.0, middle)
        right = np.where(a > 0, 2 * a, np.where(a < -2, 0.5 * a, 1.0))
        left = np.where(b < 0, 2 * b, np.where(b > 2, 0.5 * b, -1.0))
        middle = np.where(np.isfinite(a) & np.isinf(b), right, middle)
        return np.where(np.isinf(a) & np.isfinite(b), left, middle)


def _near(low: Array, high: Array) -> tuple[Array, Array]:
    """Return a bounded part of boxes."""
    near_low = np.where(np.isfinite(low), low, np.where(np.isfinite(high), high - 8.0, -8.0))
    return near_low, np.where(np.isfinite(high), high, near_low + 16.0)


def _hull(boxes: tuple[Box, ...]) -> Box:
    low = np.array([box.low for box in boxes]).min(axis=0)
    high = np.array([box.high for box in boxes]).max(axis=0)
    return Box(tuple(low), tuple(high))
