r"""One finite segment through a large network: every zero of the outputs' difference, proven.

The segment is walked layer by layer and part by part, from its start to its end, as values at
points (:mod:`nneq.boundary.pwl.points`).  A breakpoint is not made where the layers to come cannot
make it count, and points are dropped where they no longer count
(:mod:`nneq.boundary.pwl.thinning`); both go into the error, so that the answer rests on the final
``|g| > error`` alone.  Where that fails and what was dropped is to blame, the part is walked again,
more finely from that layer on.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from nneq.boundary.pwl.points import (
    Crossings,
    Stretch,
    Values,
    activated,
    affine_values,
    crossings,
    inserted,
)
from nneq.boundary.pwl.thinning import checkpoints, gains, thinned
from nneq.boundary.pwl.walk import UNIT, Program
from nneq.boundary.results import Clock, Interval
from nneq.ir import network as ir
from nneq.semantics.pattern import split_inputs

__all__ = ["Plan", "Track", "walk_segment"]

Array = np.ndarray[Any, Any]
_Cuts = tuple[Crossings, Crossings] | None
_BYTES = 1 << 23
_FEWEST = 16
# Shares of what is left of |g| that one thinning, and one breakpoint not made, may spend.
_THIN = 0.4
_SAG = 0.05
_FINER = 0.1
_LEVELS = 4
_BLAME = 0.1


@dataclass(frozen=True, eq=False)
class Track:
    """The outputs along a segment: values at points, linear in between.

    Args:
        t: parameters that do not decrease (parts repeat their border), shape ``(K + 1,)``.
        value: shape ``(K + 1,)``.
        error: bounds whose interpolant bounds the distance from the true ``g``; infinite at both
            ends of a part that was not walked, shape ``(K + 1,)``.
    """

    t: Array
    value: Array
    error: Array

    @classmethod
    def unknown(cls, low: float, high: float) -> Track:
        """Return a part that was not walked."""
        return cls(np.array([low, high]), np.zeros(2), np.full(2, math.inf))

    @classmethod
    def joined(cls, parts: list[Track]) -> Track:
        """Return the parts in order, as one."""
        return cls(
            *(np.concatenate([getattr(p, k) for p in parts]) for k in ("t", "value", "error"))
        )

    def between(self, begin: int, end: int) -> Track:
        """Return the points ``begin`` to ``end - 1``."""
        return Track(self.t[begin:end], self.value[begin:end], self.error[begin:end])

    def split(self, t: float) -> tuple[Track, Track]:
        """Return what lies before and after ``t``; both have a point there.

        The new point lies on the interpolants, so that neither side says anything new.
        """
        k = int(np.searchsorted(self.t, t, "right"))
        if self.t[k - 1] == t:
            first = int(np.searchsorted(self.t, t, "left"))
            return self.between(0, k), self.between(first, len(self.t))
        share = (t - self.t[k - 1]) / (self.t[k] - self.t[k - 1])
        ends = slice(k - 1, k + 1)
        weights = np.array([1 - share, share])
        value = float(self.value[ends] @ weights)
        slack = 16 * UNIT * float(np.abs(self.value[ends]).sum())
        error = math.inf
        if np.isfinite(self.error[ends]).all():
            error = float(self.error[ends] @ weights) * (1 + 1e-9) + slack
        point = Track(np.array([t]), np.array([value]), np.array([error]))
        before, after = self.between(0, k), self.between(k, len(self.t))
        return Track.joined([before, point]), Track.joined([point, after])

    def signs(self) -> Array:
        """Return the proven sign at every point; 0 where none is."""
        return np.where(np.abs(self.value) > self.error, np.sign(self.value), 0.0)

    def open(self) -> Array:
        """Return which pieces are not proven free of zeros, shape ``(K,)``."""
        signs = self.signs()
        return np.asarray((signs[1:] != signs[:-1]) | (signs[1:] == 0))


@dataclass(frozen=True, eq=False)
class Plan:
    """A network made ready, and where ``|g|`` is known to be large (a guess, never a proof).

    Args:
        program: the difference of two outputs.
        gains: Lipschitz constants of the output in every node's value.
        checkpoints: nodes before which points may be dropped.
        guide_t: parameters of the samples, increasing.
        guide: samples of ``g``.
    """

    program: Program
    gains: dict[int, float]
    checkpoints: frozenset[int]
    guide_t: Array = field(default_factory=lambda: np.zeros(0))
    guide: Array = field(default_factory=lambda: np.zeros(0))

    @classmethod
    def of(cls, program: Program) -> Plan:
        """Return the plan without samples: every breakpoint is made."""
        return cls(program, gains(program), checkpoints(program))

    def scale(self, low: float, high: float) -> float:
        """Return the least ``|g|`` of the samples around an interval; 0 at a change of sign."""
        if not len(self.guide):
            return 0.0
        begin = max(0, int(np.searchsorted(self.guide_t, low, "right")) - 1)
        end = int(np.searchsorted(self.guide_t, high, "left")) + 1
        near = self.guide[begin:end]
        if not len(near) or near.min() * near.max() <= 0:
            return 0.0
        return float(np.abs(near).min())


class _Walker:
    def __init__(
        self, plan: Plan, clock: Clock, progress: Callable[[float], None] | None, nearest: float
    ) -> None:
        self.plan = plan
        self.nodes = plan.program.network.nodes
        self.clock = clock
        self.progress = progress
        self.nearest = nearest
        self.interrupted = False

    def run(self, place: int, stretch: Stretch, finer: float, thin: bool = True) -> Track:
        """Return the outputs on a stretch that has reached node ``place``.

        Args:
            place: the next node.
            stretch: the values before it.
            finer: the share of the tolerances that is allowed; 0: every breakpoint is made.
            thin: whether points may be dropped before this node.
        """
        try:
            while place < len(self.nodes):
                if self.interrupted or self.clock.over:
                    return Track.unknown(float(stretch.t[0]), float(stretch.t[-1]))
                if thin and finer and place in self.plan.checkpoints and len(stretch) > 4:
                    track = self.coarse(place, stretch, finer)
                    if track is not None:
                        return track
                thin = True
                parts, cuts = self.parts(place, stretch, finer)
                if len(parts) > 1:
                    return self.each(place, parts, finer)
                stretch = self.step(place, parts[0], finer, cuts)
                place += 1
            return self.finished(stretch)
        except KeyboardInterrupt:
            self.interrupted = True
            return Track.unknown(float(stretch.t[0]), float(stretch.t[-1]))

    def each(self, place: int, parts: list[Stretch], finer: float) -> Track:
        """Return the outputs on consecutive parts; Ctrl-C between two of them loses none."""
        tracks: list[Track] = []
        try:
            for part in parts:
                tracks.append(self.run(place, part, finer, False))
        except KeyboardInterrupt:
            self.interrupted = True
        done = len(tracks)
        if done < len(parts):
            rest = float(parts[done].t[0]), float(parts[-1].t[-1])
            tracks.append(Track.unknown(*rest))
        return Track.joined(tracks)

    def coarse(self, place: int, stretch: Stretch, finer: float) -> Track | None:
        """Return the outputs from fewer points, looked at again where these do not decide."""
        node = next(iter(stretch.live))
        gain = self.plan.gains.get(node, math.inf)
        allowed = _THIN * self.left(node, stretch, finer)
        if allowed <= 0:
            return None
        few, index, added = thinned(stretch, node, allowed)
        if len(index) > 0.8 * len(stretch):
            return None
        track = self.run(place, few, finer, False)
        spent = added * gain
        known = np.isfinite(track.error[1:]) & np.isfinite(track.error[:-1])
        blamed = spent >= _BLAME * np.maximum(track.error[1:], track.error[:-1])
        again = np.nonzero(track.open() & known & blamed)[0]
        if not len(again):
            return track
        wanted = np.zeros(len(few) - 1, dtype=bool)
        for k in again:
            first = int(np.searchsorted(few.t, track.t[k], "right")) - 1
            last = int(np.searchsorted(few.t, track.t[k + 1], "left"))
            wanted[max(first, 0) : max(last, first + 1)] = True
        wanted &= np.diff(index) > 1
        parts: list[Track] = []
        edges = np.nonzero(np.diff(np.concatenate([[0], wanted.astype(np.int8), [0]])))[0]
        for begin, end in edges.reshape(-1, 2):
            low, high = few.t[begin], few.t[end]
            before, track = track.split(float(low))
            _, track = track.split(float(high))
            inner = stretch.part(int(index[begin]), int(index[end]) + 1)
            less = finer * _FINER if finer > _FINER**_LEVELS else 0.0
            parts += [before, self.run(place, inner, less)]
        return Track.joined([*parts, track])

    def parts(self, place: int, stretch: Stretch, finer: float) -> tuple[list[Stretch], _Cuts]:
        """Return the stretch in parts small enough for the next node, and its crossings."""
        each = max(v.at[0].nbytes for v in stretch.live.values())
        limit = max(_FEWEST, _BYTES // max(each, 1))
        node = self.nodes[place]
        weights = np.ones(len(stretch) - 1)
        found = None
        if isinstance(node, ir.Elementwise):
            found = self.cuts(place, node, stretch, finer)
            cut = found[0]
            weights += np.bincount(cut.piece, minlength=len(weights))
            if weights.max() > limit:
                # So many crossings of one piece: points first, then the same question again.
                heavy = np.nonzero(weights > limit // 2)[0]
                piece, t = [], []
                for k in heavy:
                    inside = cut.t[cut.piece == k]
                    stride = max(1, limit // 4, len(inside) // (2 * limit))
                    t.append(_spread(inside[stride::stride], stretch.t[k : k + 2], self.nearest))
                    piece.append(np.full(len(t[-1]), k))
                finer_stretch, _ = inserted(stretch, np.concatenate(piece), np.concatenate(t))
                if len(finer_stretch) > len(stretch):
                    weights = np.ones(len(finer_stretch) - 1)
                    return self.grouped(finer_stretch, weights, limit), None
        return self.grouped(stretch, weights, limit), found

    def grouped(self, stretch: Stretch, weights: Array, limit: int) -> list[Stretch]:
        """Return runs of pieces whose weights add up to about ``limit``."""
        total = float(weights.sum())
        if total <= 1.5 * limit or len(weights) == 1:
            return [stretch]
        count = math.ceil(total / limit)
        group = np.minimum((np.cumsum(weights) - weights) * count / total, count - 1).astype(int)
        heads = np.concatenate([[0], np.nonzero(np.diff(group))[0] + 1, [len(weights)]])
        return [stretch.part(int(a), int(b) + 1) for a, b in itertools.pairwise(heads)]

    def left(self, place: int, stretch: Stretch, finer: float) -> float:
        """Return the error norm at a node that is left to spend, by the samples of ``g``."""
        scale = self.plan.scale(float(stretch.t[0]), float(stretch.t[-1])) * finer
        gain = self.plan.gains.get(place, math.inf)
        if scale <= 0 or gain <= 0:
            return 0.0
        return scale / gain - float(stretch.live[place].error.max())

    def cuts(
        self, place: int, node: ir.Elementwise, stretch: Stretch, finer: float
    ) -> tuple[Crossings, Crossings]:
        """Return the crossings that become points, and those that do not."""
        table = self.plan.program.tables[place]
        found = crossings(stretch.live[node.arg], table, stretch.t)
        jump = np.abs(np.diff(table.slopes, axis=0)).reshape(table.count, -1)
        allowed = _SAG * self.left(node.arg, stretch, finer)
        small = found.sag * jump[found.step, found.unit] <= allowed
        return found.where(~small), found.where(small)

    def step(self, place: int, stretch: Stretch, finer: float, cuts: _Cuts) -> Stretch:
        """Return the stretch after node ``place``."""
        node = self.nodes[place]
        last = self.plan.program.last
        match node:
            case ir.Affine():
                values = affine_values(node, [stretch.live[k] for k in node.args], len(stretch))
            case ir.Elementwise():
                cut, left = cuts or self.cuts(place, node, stretch, finer)
                table = self.plan.program.tables[place]
                keep = last[node.arg] != place
                stretch, values = activated(
                    stretch, node.arg, table, cut, left, self.nearest, keep=keep
                )
            case ir.Constant():
                kind = next(iter(stretch.live.values())).at.dtype
                at = np.broadcast_to(node.value.astype(kind), (len(stretch), *node.shape))
                values = Values.measured(at, np.zeros(len(stretch)))
            case _:
                return stretch
        live = {k: v for k, v in stretch.live.items() if last[k] != place}
        live[place] = values
        return Stretch(stretch.t, live)

    def finished(self, stretch: Stretch) -> Track:
        """Return the first output of a stretch that has reached the end."""
        value = stretch.live[self.plan.program.outputs[0]]
        at = value.at.reshape(len(stretch), -1)[:, 0]
        rounded = at.astype(np.float64)
        error = value.error + 2 * UNIT * np.abs(rounded)
        self.clock.spend(len(stretch) - 1)
        if self.progress is not None:
            self.progress(float(stretch.t[-1]))
        return Track(stretch.t, rounded, error)


def _spread(t: Array, ends: Array, nearest: float) -> Array:
    """Return those of sorted parameters that are apart from each other and from both ends."""
    t = t[(t - ends[0] > nearest) & (ends[1] - t > nearest)]
    return t[np.concatenate([[True], np.diff(t) > nearest])] if len(t) else t


def walk_segment(
    plan: Plan,
    origin: Array,
    direction: Array,
    domain: Interval,
    clock: Clock,
    *,
    progress: Callable[[float], None] | None = None,
    dtype: Any = np.float64,
) -> tuple[Track, bool]:
    """Return ``g(origin + t * direction)`` for ``t`` in a finite interval.

    Args:
        plan: the prepared network; without samples every breakpoint is made.
        origin: shape ``(n,)``.
        direction: shape ``(n,)``.
        domain: the interval.
        clock: the budget; what it did not reach has an infinite error.
        progress: called with the parameter that is reached.
        dtype: the type to compute in.

    Returns:
        The values, and whether Ctrl-C ended the walk.

    Guarantee: certified: the true ``g`` is nowhere further from the interpolant than the error's.
    """
    t = np.array(domain, dtype=np.float64)
    kind = np.dtype(dtype)
    o, d = origin.astype(kind), direction.astype(kind)
    x = o + t.astype(kind)[:, None] * d
    unit = max(float(np.finfo(kind).eps) / 2, 0.0)
    slack = 4 * unit * (np.linalg.norm(origin) + np.abs(t) * np.linalg.norm(direction))
    live = {
        place: Values.measured(value, slack * (1 + 1e-9))
        for place, value in split_inputs(plan.program.network, x).items()
    }
    nearest = 8 * UNIT * float(np.abs(t).max())
    walker = _Walker(plan, clock, progress, nearest)
    track = walker.run(0, Stretch(t, live), 1.0)
    return track, walker.interrupted
