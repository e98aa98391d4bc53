"""Boxes cut by half-spaces and balls keep every point of the overlap, in exact arithmetic."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from nneq.boundary.smooth.cuts import cut_boxes
from nneq.semantics.domain import Domain

_NORMS = ["l2", "linf", "l1"]


def _far(step, norm):
    """Return the exact distance, squared for ``l2``."""
    sizes = [abs(v) for v in step]
    return {"l1": sum(sizes), "linf": max(sizes), "l2": sum(v * v for v in sizes)}[norm]


def _case(random, n):
    """Return a box, a half-space and a ball that overlap more or less, at every scale."""
    scale = 10.0 ** random.uniform(-6, 6)
    x = random.normal(size=n) * scale * random.choice([0.0, 1.0, 100.0])
    radius = float(abs(random.normal()) * scale)
    rows = random.normal(size=n) * 10.0 ** random.uniform(-3, 3, n)
    rows[random.uniform(size=n) < 0.2] = 0.0
    center = x + random.normal(size=n) * radius * random.choice([0.0, 0.3, 1.0])
    half = np.abs(random.normal(size=n)) * radius * 10.0 ** random.uniform(-2, 0.5)
    point = center + random.uniform(-1, 1, n) * half
    offset = -float(rows @ point) - random.exponential() * 10.0 ** random.uniform(-12, 0) * scale
    return center - half, center + half, rows, offset, x, radius


@pytest.mark.parametrize("norm", _NORMS)
def test_no_point_of_the_overlap_is_cut_off(norm):
    """Random points of box, ball and half-space, also corners and touching ones, stay inside."""
    random = np.random.default_rng(5)
    checked = 0
    for _ in range(400):
        n = int(random.integers(1, 6))
        low, high, rows, offset, x, radius = _case(random, n)
        below, above = cut_boxes(
            low[None], high[None], rows[None], np.array([offset]), x, radius, norm
        )
        share = random.uniform(-0.2, 1.2, (40, n)).clip(0, 1)
        points = low + share * (high - low)
        points = np.concatenate([points, x + (points - x) * random.uniform(0, 1, (40, 1))])
        exact = [Fraction(v) for v in rows.tolist()]
        for point in points.clip(low, high):
            value = [Fraction(float(v)) for v in point]
            step = [v - Fraction(float(c)) for v, c in zip(value, x, strict=True)]
            reach = Fraction(radius) ** 2 if norm == "l2" else Fraction(radius)
            inside = sum(a * b for a, b in zip(exact, value, strict=True)) + Fraction(offset) <= 0
            if inside and _far(step, norm) <= reach:
                checked += 1

                assert np.all((below[0] <= point) & (point <= above[0]))
    assert checked > 2000


def test_a_corner_is_all_that_is_left():
    """The unit box with x + 10 y >= 10.5 keeps y >= 0.95, and in the ball x >= 0.5 too."""
    low, high = np.array([[-1.0, -1.0]]), np.array([[1.0, 1.0]])
    rows, offset = np.array([[-1.0, -10.0]]), np.array([10.5])
    below, above = cut_boxes(low, high, rows, offset, np.zeros(2), 1.0, "linf")

    np.testing.assert_allclose(below, [[0.5, 0.95]], rtol=1e-9)
    np.testing.assert_allclose(above, [[1.0, 1.0]], rtol=1e-9)


@pytest.mark.parametrize("norm", ["l2", "l1"])
def test_box_and_ball_bound_linear_functions_together(norm):
    """The bound over an overlap holds every point of it and is smaller than either alone."""
    random = np.random.default_rng(2)
    better = 0
    for _ in range(300):
        n = int(random.integers(1, 7))
        low, high, rows, _, x, radius = _case(random, n)
        box = Domain.box(low[None], high[None])
        both = Domain(box.center, box.reach, x[None], np.array([radius]), norm)
        span = both.span(rows[None, None])
        alone = (
            box.span(rows[None, None]),
            Domain.ball(x[None], np.array([radius]), norm).span(rows[None, None]),
        )
        share = random.uniform(-0.5, 1.5, (60, n)).clip(0, 1)
        points = low + share * (high - low)
        # towards the ball's centre, as far as the box allows
        points = np.concatenate([points, x + (points - x) * random.uniform(0, 1, (60, 1))])
        points = points.clip(low, high)
        top = span[1][0, 0]
        for point in points:
            step = [Fraction(float(v)) - Fraction(float(c)) for v, c in zip(point, x, strict=True)]
            if _far(step, norm) <= (Fraction(radius) ** 2 if norm == "l2" else Fraction(radius)):
                value = sum(
                    Fraction(a) * Fraction(float(b))
                    for a, b in zip(rows.tolist(), point, strict=True)
                )

                assert Fraction(float(span[0][0, 0])) <= value <= Fraction(float(top))
        least = min(part[1][0, 0] for part in alone)
        assert top <= least + 1e-12 * abs(least)
        better += bool(top < least - 1e-6 * abs(least))
    assert better > 30
