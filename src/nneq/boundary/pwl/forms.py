r"""Readable exact forms: boundary pieces as ``x_1 = a*x_2 + b``, hinge sums, fewer corners."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Any

import numpy as np

from nneq.boundary.results import Component, Piece, Segment
from nneq.errors import NneqError

__all__ = ["BoundaryPiece", "Hinge", "HingeSum", "hinge_sum", "pieces_of", "simplified"]

Array = np.ndarray[Any, Any]


def number(value: float | Fraction, digits: int | None = None) -> str:
    """Return a number as text: shortest exact decimal, or rounded to ``digits`` for display."""
    if isinstance(value, Fraction):
        return str(value)
    return repr(float(value)) if digits is None else f"{float(value):.{digits}g}"


def _affine_text(parts: Sequence[tuple[Any, str]], constant: Any, digits: int | None) -> str:
    text = ""
    for value, name in parts:
        if value == 0:
            continue
        sign = "-" if value < 0 else "+"
        size = "" if abs(value) == 1 else f"{number(abs(value), digits)}*"
        text += f" {sign} {size}{name}"
    if constant != 0 or not text:
        text += f" {'-' if constant < 0 else '+'} {number(abs(constant), digits)}"
    text = text.strip()
    return text[2:] if text.startswith("+ ") else text.replace("- ", "-", 1)


@dataclass(frozen=True, eq=False)
class BoundaryPiece:
    """One flat part of the boundary: ``sum_k a_k x_k + c = 0`` on a polytope.

    Args:
        names: the free inputs.
        coefficients: ``(a_1, ..., a_d, c)``.
        vertices: shape ``(k, d)``; two points in 2-D, a polygon in order in 3-D.
        exact: the coefficients as fractions in exact mode, else None.
        region: the number of the region that holds it, or -1 on an edge between regions.
    """

    names: tuple[str, ...]
    coefficients: tuple[float, ...]
    vertices: Array
    exact: tuple[Fraction, ...] | None = None
    region: int = -1

    def __str__(self) -> str:
        return self.text()

    def text(self, digits: int | None = None) -> str:
        """Return ``a*x_1 + b*x_2 + c = 0``; fractions only where they are short."""
        values = self._shown()
        pairs = list(zip(values[:-1], self.names, strict=True))
        return f"{_affine_text(pairs, values[-1], digits)} = 0"

    def _shown(self) -> Sequence[Any]:
        if self.exact is not None and all(v.denominator < 1000 for v in self.exact):
            return self.exact
        return self.coefficients

    @cached_property
    def equation(self) -> Any:
        """The same as a ``sympy.Eq``; every number keeps all its bits."""
        import sympy

        values: Sequence[Any] = self.exact or self.coefficients
        numbers = [
            sympy.Rational(v.numerator, v.denominator)
            if isinstance(v, Fraction)
            else sympy.Float(v, 17)
            for v in values
        ]
        symbols = [sympy.Symbol(name) for name in self.names]
        terms = [n * s for n, s in zip(numbers[:-1], symbols, strict=True)]
        return sympy.Eq(sympy.Add(*terms, numbers[-1]), 0, evaluate=False)

    @property
    def leading(self) -> int:
        """The place of the input with the largest coefficient: the best one to solve for."""
        return int(np.argmax(np.abs(self.coefficients[:-1])))

    def solved(self, name: str | None = None) -> tuple[tuple[Any, ...], Any]:
        """Return ``(slopes, intercept)`` of ``x_k`` as an affine function of the other inputs.

        Args:
            name: the input to solve for; the first one with a non-zero coefficient when None.

        Raises:
            NneqError: when the piece does not depend on that input.
        """
        values: Sequence[Any] = self.exact or self.coefficients
        k = self._place(name)
        if values[k] == 0:
            msg = f"this piece does not depend on {self.names[k]}; solve for another input"
            raise NneqError(msg)
        slopes = tuple(-v / values[k] for i, v in enumerate(values[:-1]) if i != k)
        return slopes, -values[-1] / values[k]

    def _place(self, name: str | None) -> int:
        if name is not None:
            return self.names.index(name)
        biggest = max(abs(v) for v in self.coefficients[:-1])
        for k, value in enumerate(self.coefficients[:-1]):
            if abs(value) > 1e-12 * biggest:
                return k
        return 0

    def solved_text(self, name: str | None = None, digits: int | None = None) -> str:
        """Return ``x_1 = a*x_2 + b on x_2 in [lo, hi]`` (ranges of all other inputs)."""
        k = self._place(name)
        values = self._shown()
        slopes = [-v / values[k] for i, v in enumerate(values[:-1]) if i != k]
        intercept = -values[-1] / values[k]
        others = [n for i, n in enumerate(self.names) if i != k]
        body = _affine_text(list(zip(slopes, others, strict=True)), intercept, digits)
        ranges = []
        for i, other in enumerate(self.names):
            if i != k:
                low, high = self.vertices[:, i].min(), self.vertices[:, i].max()
                ranges.append(f"{other} in [{number(low, digits)}, {number(high, digits)}]")
        return f"{self.names[k]} = {body} on {', '.join(ranges)}"


def pieces_of(segments: Sequence[Segment], names: tuple[str, str]) -> tuple[BoundaryPiece, ...]:
    """Return segments as pieces."""
    return tuple(
        BoundaryPiece(names, s.coefficients, np.array([s.start, s.end]), s.exact) for s in segments
    )


# ---------------------------------------------------------------------------- one input
@dataclass(frozen=True)
class Hinge:
    """``weight * max(0, t - at)``."""

    weight: float
    at: float


@dataclass(frozen=True)
class HingeSum:
    """``intercept + slope * t + sum of hinges``: a piecewise-linear function of one variable."""

    variable: str
    slope: float
    intercept: float
    hinges: tuple[Hinge, ...]

    def __call__(self, t: Array) -> Array:
        """Evaluate in float64."""
        total = self.intercept + self.slope * np.asarray(t, dtype=np.float64)
        for hinge in self.hinges:
            total = total + hinge.weight * np.maximum(0.0, t - hinge.at)
        return np.asarray(total)

    def text(self, digits: int | None = None) -> str:
        """Return the formula as text."""
        body = _affine_text([(self.slope, self.variable)], self.intercept, digits)
        for hinge in self.hinges:
            sign = "-" if hinge.weight < 0 else "+"
            shift = _affine_text([(1, self.variable)], -hinge.at, digits)
            body += f" {sign} {number(abs(hinge.weight), digits)}*max(0, {shift})"
        return body


def hinge_sum(pieces: Sequence[Piece], variable: str, output: int = 0) -> HingeSum:
    """Return ``a + b*t + sum c_k*max(0, t - t_k)`` from the pieces along a line.

    Args:
        pieces: neighbours in order, as ``Solutions.pieces``.
        variable: the name of ``t``.
        output: which output.

    Raises:
        NneqError: when there is no piece.
    """
    if not pieces:
        msg = "there are no pieces; solve with pieces=True"
        raise NneqError(msg)
    slopes = [float(p.slope[output]) for p in pieces]
    hinges = tuple(
        Hinge(b - a, p.low)
        for a, b, p in zip(slopes, slopes[1:], pieces[1:], strict=False)
        if a != b
    )
    return HingeSum(variable, slopes[0], float(pieces[0].intercept[output]), hinges)


# ---------------------------------------------------------------------------- fewer corners
def simplified(component: Component, deviation: float) -> tuple[Component, float]:
    """Return the polyline with fewer corners and its largest deviation (Douglas-Peucker).

    Args:
        component: an exact polyline.
        deviation: the largest allowed distance of a dropped corner from the new polyline.

    Returns:
        The component, and the largest distance that occurs: no point of the exact polyline is
        farther than this from the new one.

    References:
        Douglas and Peucker 1973.
    """
    if not deviation >= 0:
        msg = f"the deviation must not be negative, got {deviation!r}"
        raise NneqError(msg)
    points = component.points
    if len(points) < 3:
        return component, 0.0
    if component.closed:
        points = np.vstack([points, points[:1]])
        far = int(np.argmax(np.linalg.norm(points - points[0], axis=1)))
        keep = [0, far, len(points) - 1]
    else:
        keep = [0, len(points) - 1]
    worst = 0.0
    stack = list(itertools.pairwise(keep))
    chosen = set(keep)
    while stack:
        first, last = stack.pop()
        if last - first < 2:
            continue
        gaps = _distances(points[first + 1 : last], points[first], points[last])
        k = int(np.argmax(gaps))
        if gaps[k] > deviation:
            middle = first + 1 + k
            chosen.add(middle)
            stack += [(first, middle), (middle, last)]
        else:
            worst = max(worst, float(gaps[k]))
    order = sorted(chosen)
    if component.closed:
        order = order[:-1]
    return Component(points[order], component.closed), worst


def _distances(points: Array, a: Array, b: Array) -> Array:
    along = b - a
    size = math.hypot(*along)
    if size == 0:
        return np.asarray(np.linalg.norm(points - a, axis=1))
    share = np.clip((points - a) @ along / size**2, 0.0, 1.0)
    return np.asarray(np.linalg.norm(points - a - share[:, None] * along, axis=1))
