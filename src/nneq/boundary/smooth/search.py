r"""Numerical search for points of the boundary, and the proof of what it finds.

A search proves nothing; what it finds is a segment whose ends have opposite signs of ``g``, and
those signs are proven.  Where ``g`` is continuous the segment then holds a zero.
"""

from __future__ import annotations

from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any

import numpy as np

from nneq.activations import RULES
from nneq.boundary.problem import Problem
from nneq.ir import network as ir
from nneq.ir.float64 import evaluate
from nneq.semantics.ball import TINY, Ball, ball_evaluate
from nneq.semantics.domain import Domain
from nneq.semantics.gradient import value_and_gradient
from nneq.semantics.linear_bounds import Forms, LinearBounds

__all__ = ["Bracket", "Oracle", "newton_points", "tied_points", "values"]

Array = np.ndarray[Any, Any]

_OFFSETS = 10.0 ** np.arange(-15.0, -2.0)


@dataclass(frozen=True, eq=False)
class Bracket:
    """A segment with proven opposite signs at its ends.

    Args:
        inner: shape ``(n,)``, the end where ``g`` has the sign of the start of the search.
        outer: shape ``(n,)``, the end where it has the other sign.
    """

    inner: Array
    outer: Array

    @property
    def point(self) -> Array:
        """The middle of the segment."""
        return 0.5 * self.inner + 0.5 * self.outer


def values(network: ir.Network, points: Array) -> Array:
    """Return the outputs ``(S, m)`` of the first port at flat points ``(S, n)``, in float64."""
    found = evaluate(network, _split(network, points))[0]
    return found.reshape(points.shape[0], -1)


def _split(network: ir.Network, points: Array) -> list[Array]:
    """Return flat points as one batch per input port."""
    inputs, start = [], 0
    for port in network.inputs:
        part = points[:, start : start + port.size]
        inputs.append(part.reshape(points.shape[0], *port.shape))
        start += port.size
    return inputs


class Oracle:
    """Proven signs of ``g``, and of its rivals, at points and on sets.

    Args:
        problem: the question.
        precision: ``real`` or ``float32``.
        executor: shares large batches among its workers.
    """

    def __init__(
        self, problem: Problem, precision: str = "real", executor: Executor | None = None
    ) -> None:
        """Prepare the linear bounds."""
        self.problem = problem
        self.network = problem.network
        self.precision = precision
        self.bounds = LinearBounds(problem.posed(precision), precision=precision, executor=executor)
        rivals = problem.rivals_posed(precision)
        self.rivals = (
            None if rivals is None else LinearBounds(rivals, precision=precision, executor=executor)
        )

    @property
    def continuous(self) -> bool:
        """Whether ``g`` is continuous, so that opposite signs enclose a zero."""
        jumps = {"hard_shrink", "thresholded_relu", "tan", "reciprocal"}
        return not any(
            isinstance(node, ir.Select)
            or (
                isinstance(node, ir.Elementwise)
                and (RULES[node.rule].kind == "step" or node.rule in jumps)
            )
            for node in self.network.nodes
        )

    def signs(self, points: Array) -> Array:
        """Return the proven sign of ``g`` at points ``(S, n)``: 1, -1, or 0 when undecided."""
        network = self.problem.posed(self.precision)
        parts = [Ball.point(part) for part in _split(network, points)]
        ball = ball_evaluate(network, parts, precision=self.precision)[0]
        shape = (len(points), *ball.shape[1:])
        low = np.broadcast_to(ball.lower, shape).reshape(len(points), -1)[:, 0]
        high = np.broadcast_to(ball.upper, shape).reshape(len(points), -1)[:, 0]
        found = np.where(low > 0, 1, np.where(high < 0, -1, 0))
        # the adjoint bounds are sharper in deep networks, but cost more
        left = np.flatnonzero(found == 0)
        left = left[-4:] if self.bounds.batch < 4 else left
        if left.size:
            forms = self.bounds(Domain.box(points[left], points[left]))
            found[left] = np.where(forms.low[:, 0] > 0, 1, np.where(forms.high[:, 0] < 0, -1, 0))
        return np.asarray(found)

    def wins(self, points: Array) -> Array:
        """Return where no rival is proven or suspected to win at points ``(S, n)``."""
        if self.rivals is None:
            return np.ones(points.shape[0], dtype=bool)
        forms = self.rivals(Domain.box(points, points))
        return np.asarray((forms.low > 0).all(axis=1))

    def examine(self, domain: Domain) -> tuple[Forms, Array, Array]:
        """Return the bounds of ``g``, the sets where a rival is proven to win, and weights.

        The weights ``(B, n)`` say how much each input matters: the slopes, and a part of the
        largest one, so that boxes do not become needles where a slope vanishes.
        """
        forms = self.bounds(domain)
        weight = _steepness(forms, domain.count)
        lost = np.zeros(domain.count, dtype=bool)
        if self.rivals is not None:
            others = self.rivals(domain)
            lost = np.asarray((others.high < 0).any(axis=1))
            weight = weight + _steepness(others, domain.count)
        return forms, lost, weight + 0.2 * weight.max(axis=1, keepdims=True) + TINY

    def bracket(self, inner: Array, outer: Array) -> Bracket | None:
        """Return a short proven segment on ``inner -> outer``, whose numeric signs differ.

        Args:
            inner: shape ``(n,)``.
            outer: shape ``(n,)``.
        """
        first, last = 0.0, 1.0
        step = outer - inner
        sign = np.sign(values(self.network, inner[None])[0, 0])
        if sign == 0:
            return None
        for _ in range(4):
            t = np.linspace(first, last, 34)[1:-1]
            other = sign * values(self.network, inner + t[:, None] * step)[:, 0] <= 0
            k = int(other.argmax()) if other.any() else len(t)
            first, last = (t[k - 1] if k else first), (t[k] if k < len(t) else last)
        for _ in range(40):
            middle = 0.5 * (first + last)
            if not first < middle < last:
                break
            if sign * values(self.network, (inner + middle * step)[None])[0, 0] > 0:
                first = middle
            else:
                last = middle
        below = inner + np.maximum(first - _OFFSETS, 0.0)[:, None] * step
        above = inner + (last + _OFFSETS)[:, None] * step
        signs = self.signs(np.concatenate([below, above]))
        good = (signs[: len(below)] == sign) & (signs[len(below) :] == -sign)
        if not good.any():
            return None
        k = int(good.argmax())
        ends = np.stack([below[k], above[k]])
        return Bracket(below[k], above[k]) if bool(self.wins(ends).all()) else None


def _steepness(forms: Forms, count: int) -> Array:
    slope = np.maximum(np.abs(forms.slope_low), np.abs(forms.slope_high)).max(axis=1)
    slope = np.where(np.isfinite(slope), slope, 0.0)
    return np.broadcast_to(slope, (count, slope.shape[-1]))


def newton_points(network: ir.Network, start: Array, origin: Array, norm: str, steps: int) -> Array:
    r"""Return where the iteration towards the nearest zero of the tangent plane leads.

    The next point is the one of :math:`g(x_k) + \nabla g(x_k)(x - x_k) = 0` nearest to ``origin``
    (Hasofer and Lind 1974, Rackwitz and Fiessler 1978), damped.

    Args:
        network: ``g``.
        start: shape ``(S, n)``.
        origin: shape ``(n,)``.
        norm: ``l2``, ``linf`` or ``l1``.
        steps: number of iterations.

    Guarantee: numerical.
    """
    with np.errstate(all="ignore"):
        return _newton(network, start.copy(), origin, norm, steps)


def _newton(network: ir.Network, point: Array, origin: Array, norm: str, steps: int) -> Array:
    longest = np.full(point.shape[0], np.inf)
    for k in range(steps):
        value, slope = value_and_gradient(network, point)
        ahead = (slope * (point - origin)).sum(axis=1) - value
        if norm == "l2":
            step = (ahead / (slope * slope).sum(axis=1))[:, None] * slope
        elif norm == "linf":
            step = (ahead / np.abs(slope).sum(axis=1))[:, None] * np.sign(slope)
        else:
            best = np.abs(slope).argmax(axis=1)[:, None]
            steepest = np.take_along_axis(slope, best, axis=1)
            step = np.zeros_like(slope)
            np.put_along_axis(step, best, ahead[:, None] / steepest, axis=1)
        move = origin + step - point
        move = np.where(np.isfinite(move), move, 0.0)
        length = np.linalg.norm(move, axis=1)
        # the steps may not grow: far from the boundary the tangent plane knows nothing
        allowed = np.minimum(longest, 0.5 * np.linalg.norm(point - origin, axis=1) + 0.3)
        scale = np.minimum(1.0, allowed / np.maximum(length, 1e-300))
        point = point + (1.0 if k % 2 else 0.7) * scale[:, None] * move
        if k == steps // 2:
            longest = np.maximum(length, 1e-12)
        elif k > steps // 2:
            longest = np.maximum(0.95 * longest, 1e-12)
    return point


def tied_points(
    network: ir.Network, rivals: ir.Network, start: Array, origin: Array, steps: int
) -> Array:
    r"""Return points with ``g = 0`` and no rival below 0, pulled towards ``origin`` (l2).

    Each step solves the least squares problem of the linearised constraints: ``g``, and those
    rivals that are negative at the point.

    Args:
        network: ``g``.
        rivals: outputs ``(k,)`` that must not be negative.
        start: shape ``(S, n)``.
        origin: shape ``(n,)``.
        steps: number of iterations.

    Guarantee: numerical.
    """
    found = []
    for point in start:
        x = point.copy()
        for _ in range(steps):
            value, slope = value_and_gradient(network, x[None])
            rows, right = [slope[0]], [slope[0] @ (x - origin) - value[0]]
            others = values(rivals, x[None])[0]
            worst = int(others.argmin())
            if others[worst] < 1e-9 * (1 + np.abs(others).max()):
                row = _entry_slope(rivals, x, worst)
                rows.append(row)
                right.append(row @ (x - origin) - others[worst] + 1e-9)
            if not np.isfinite(rows).all() or not np.isfinite(right).all():
                break
            step = np.linalg.lstsq(np.array(rows), np.array(right), rcond=None)[0]
            move = origin + step - x
            length = float(np.linalg.norm(move))
            x = x + move * min(
                1.0, (0.3 + 0.5 * float(np.linalg.norm(x - origin))) / max(length, TINY)
            )
        found.append(x)
    return np.stack(found)


def _entry_slope(network: ir.Network, x: Array, entry: int) -> Array:
    """Return the gradient of one output entry at one point, numerically."""
    step = 1e-6 * np.maximum(1.0, np.abs(x))
    probes = np.concatenate([x + np.diag(step), x - np.diag(step)])
    found = values(network, probes)[:, entry]
    return np.asarray((found[: x.size] - found[x.size :]) / (2 * step))
