r"""Numerical search for points of the boundary, and the proof of what it finds.

A search proves nothing; what it finds is a segment whose ends have opposite signs of ``g``, and
those signs are proven.  Where ``g`` is continuous the segment then holds a zero.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from nneq.activations import RULES
from nneq.boundary.problem import Problem
from nneq.ir import network as ir
from nneq.ir.float64 import evaluate
from nneq.semantics.domain import Domain
from nneq.semantics.gradient import value_and_gradient
from nneq.semantics.linear_bounds import LinearBounds

__all__ = ["Bracket", "Oracle", "newton_points", "values"]

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
    inputs, start = [], 0
    for port in network.inputs:
        part = points[:, start : start + port.size]
        inputs.append(part.reshape(points.shape[0], *port.shape))
        start += port.size
    return evaluate(network, inputs)[0].reshape(points.shape[0], -1)


class Oracle:
    """Proven signs of ``g``, and of its rivals, at points and on sets.

    Args:
        problem: the question.
        precision: ``real`` or ``float32``.
    """

    def __init__(self, problem: Problem, precision: str = "real") -> None:
        """Prepare the linear bounds."""
        self.problem = problem
        self.network = problem.network
        self.precision = precision
        self.bounds = LinearBounds(problem.network, precision=precision)
        self.rivals = (
            None
            if problem.rivals is None
            else LinearBounds(problem.rivals, precision=precision)
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
        forms = self.bounds(Domain.box(points, points))
        return np.where(forms.low[:, 0] > 0, 1, np.where(forms.high[:, 0] < 0, -1, 0))

    def wins(self, points: Array) -> Array:
        """Return where no rival is proven or suspected to win at points ``(S, n)``."""
        if self.rivals is None:
            return np.ones(points.shape[0], dtype=bool)
        forms = self.rivals(Domain.box(points, points))
        return np.asarray((forms.low > 0).all(axis=1))

    def loses(self, domain: Domain) -> Array:
        """Return the sets on which some rival is proven to win everywhere."""
        if self.rivals is None:
            return np.zeros(domain.count, dtype=bool)
        return np.asarray((self.rivals(domain).high < 0).any(axis=1))

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


def newton_points(
    network: ir.Network, start: Array, origin: Array, norm: str, steps: int
) -> Array:
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
    point = start.copy()
    longest = np.full(start.shape[0], np.inf)
    for k in range(steps):
        value, slope = value_and_gradient(network, point)
        ahead = (slope * (point - origin)).sum(axis=1) - value
        with np.errstate(all="ignore"):
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
        allowed = np.minimum(longest, 0.5 * np.linalg.norm(point - origin, axis=1) + 1e-3 + 0.3)
        scale = np.minimum(1.0, allowed / np.maximum(length, 1e-300))
        point = point + (1.0 if k % 2 else 0.7) * scale[:, None] * move
        longest = np.maximum(0.95 * longest, 1e-12) if k > steps // 2 else longest
        if k == steps // 2:
            longest = np.maximum(length, 1e-12)
    return point
