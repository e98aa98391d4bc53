"""What is known of the convexity of an activation: pieces between inflections and kinks.

Inflections and kinks are declared by the rule; the sign of the curvature between two of them is
read off samples of the slope, which can only have one sign there.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from nneq.activations import RULES, Piece, Rule
from nneq.semantics.ball import LIBM, TINY
from nneq.semantics.ranges import at

__all__ = ["Segment", "Shape", "shape_of"]

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, eq=False)
class Segment:
    """``curve`` +1 convex, -1 concave, 0 linear on ``[start, stop]``; f' against z to look up."""

    start: float
    stop: float
    curve: int
    slopes: Array
    places: Array


@dataclass(frozen=True, eq=False)
class Shape:
    """A rule with numbers for its parameters."""

    rule: Rule
    params: dict[str, float]
    pieces: tuple[Piece, ...]
    segments: tuple[Segment, ...]
    breaks: tuple[tuple[float, float, float], ...]

    @property
    def known(self) -> bool:
        """Whether convexity is known, so that sloped lines can be proven."""
        return bool(self.pieces or self.segments)

    def number(self, z: Array) -> Array:
        """Return ``f`` numerically."""
        return np.asarray(self.rule.numeric(z, self.params))

    def enclosed(self, z: Array) -> tuple[Array, Array]:
        """Return proven bounds of ``f`` at the points ``z``."""
        if self.rule.name in _DIRECT:
            value = self.number(z)
            pad = LIBM * np.abs(value) + TINY
            return value - pad, value + pad
        ball = at(self.rule.name, self.params, z)
        return ball.lower, ball.upper


_DIRECT = frozenset({"tanh", "sigmoid", "exp", "log", "sqrt", "atan", "erf", "sinh", "cosh"})


@lru_cache(maxsize=256)
def shape_of(name: str, params: tuple[tuple[str, float], ...]) -> Shape:
    """Return what is known of a rule with these parameters (names and numbers)."""
    rule = RULES[name]
    values = dict(params)
    pieces = rule.pieces(values) if rule.pieces is not None else ()
    cuts = () if pieces else _cuts(rule, values)
    segments: tuple[Segment, ...] = ()
    breaks: tuple[tuple[float, float, float], ...] = ()
    if cuts is not None and not pieces:
        low, high = rule.domain
        ends = [low, *cuts, high]
        if name == "reciprocal" or (name == "power" and values["exponent"] < 0):
            ends = [low, 0.0, high]
        with np.errstate(all="ignore"):
            parts = [
                _segment(rule, values, _above(a) if a in cuts else a, _below(b) if b in cuts else b)
                for a, b in itertools.pairwise(ends)
            ]
        segments = tuple(part for part in parts if part is not None)
        if len(segments) != len(parts):
            segments = ()
        breaks = tuple((_below(c), _above(c), _gap(c)) for c in cuts)
    return Shape(rule, values, pieces, segments, breaks)


def _cuts(rule: Rule, values: dict[str, float]) -> tuple[float, ...] | None:
    """Return the places where convexity may change, or None when that is not known."""
    if rule.kind == "step":
        return None
    if rule.name == "power":
        return _power_cuts(values["exponent"])
    if rule.kinks is not None:
        inner = rule.turning[1] if rule.turning is not None else ()
        return tuple(sorted({*rule.kinks(values), *map(float, inner)}))
    if rule.turning is None:
        return None
    return tuple(sorted(map(float, rule.turning[1])))


def _power_cuts(exponent: float) -> tuple[float, ...] | None:
    if exponent == int(exponent):
        return (0.0,)
    return None


def _exact(place: float) -> bool:
    """Return whether a tabulated place is the true one: small dyadic numbers are."""
    return place * 1024 == int(place * 1024)


def _below(place: float) -> float:
    return place if _exact(place) else float(np.nextafter(place, -np.inf))


def _above(place: float) -> float:
    return place if _exact(place) else float(np.nextafter(place, np.inf))


def _gap(place: float) -> float:
    return 0.0 if _exact(place) else 4 * float(np.spacing(abs(place)))


def _segment(rule: Rule, values: dict[str, float], start: float, stop: float) -> Segment | None:
    """Return the segment with its curvature, or None when the samples do not tell it."""
    grid = np.sinh(np.linspace(-9.0, 9.0, 4001))
    inside = grid[(grid > start) & (grid < stop)]
    step = 1e-5 * np.maximum(1.0, np.abs(inside))
    keep = (inside - step > start) & (inside + step < stop)
    inside, step = inside[keep], step[keep]
    slopes = (rule.numeric(inside + step, values) - rule.numeric(inside - step, values)) / (
        2 * step
    )
    finite = np.isfinite(slopes)
    inside, slopes = inside[finite], slopes[finite]
    near = np.abs(inside) < 4 if (np.abs(inside) < 4).sum() > 8 else np.ones_like(inside, bool)
    bends = np.diff(slopes[near])
    size = float(np.abs(bends).max(initial=0.0))
    if size < 1e-9:
        curve = 0
    else:
        clear = bends[np.abs(bends) > 1e-3 * size]
        if not (np.all(clear > 0) or np.all(clear < 0)):
            return None
        curve = 1 if clear[0] > 0 else -1
    order = np.argsort(slopes, kind="stable")
    return Segment(start, stop, curve, slopes[order], inside[order])
