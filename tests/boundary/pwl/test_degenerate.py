"""Integer-weight networks, where ties and edges are the normal case, against brute force."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from boundary.pwl.networks import dense, given, problem

from nneq.boundary.pwl.arrange import exact_boundary
from nneq.boundary.pwl.exact2d import point
from nneq.boundary.pwl.regions import enumerate_regions
from nneq.boundary.pwl.regions2d import exact_plane
from nneq.boundary.pwl.trace import trace_plane
from nneq.boundary.pwl.walk import Program
from nneq.boundary.results import Box, Budget

BOX = Box((-2.0, -2.0), (2.0, 2.0))
ZERO, EYE = np.zeros(2), np.eye(2)
STEP = Fraction(1, 8)
SHAPES = [(2, 3, 2), (2, 4, 2), (2, 3, 3, 2), (2, 4, 4, 2), (2, 2, 2, 2, 2)]


def trace(network, **options):
    """Trace the whole box."""
    return trace_plane(
        problem(network), ZERO, EYE, BOX, names=("x_1", "x_2"), clock=Budget().start(), **options
    )


def on_segment(p, start, end, line):
    """Whether a rational point lies on a closed segment."""
    a, b, c = line
    return a * p[0] + b * p[1] + c == 0 and min(start, end) <= p <= max(start, end)


def in_polygon(p, ring):
    """Whether a rational point lies in a closed convex polygon."""
    return all(
        (b[0] - a[0]) * (p[1] - a[1]) - (b[1] - a[1]) * (p[0] - a[0]) >= 0
        for a, b in zip(ring, ring[1:] + ring[:1], strict=True)
    )


@pytest.mark.parametrize("seed", range(100))
def test_zero_set_is_right_at_every_dyadic_point(seed):
    """Points of a grid of eighths, where integer networks evaluate exactly, decide 100 networks."""
    network = dense(SHAPES[seed % len(SHAPES)], seed, integer=True)
    program = Program(problem(network).network)
    cells = exact_plane(program, ZERO, EYE, BOX, clock=Budget().start(), limit=100_000)
    found = exact_boundary(cells)
    rings = [[point(corner) for corner in tie.corners] for tie in found.ties]
    steps = [Fraction(k, 8) for k in range(-16, 17)]
    grid = [(x, y) for x in steps for y in steps]
    values = network(np.array([[float(v) for v in p] for p in grid])).reshape(-1, 2) @ [1, -1]
    for p, value in zip(grid, values, strict=True):
        hit = any(on_segment(p, *segment) for segment in found.segments)
        hit = hit or p in found.points or any(in_polygon(p, ring) for ring in rings)

        assert hit == (value == 0), p

    # Every segment's middle is a zero, and no two segments overlap.
    middles = [((p[0] + q[0]) / 2, (p[1] + q[1]) / 2) for p, q, _ in found.segments]
    for k, middle in enumerate(middles):
        owners = [m for m, s in enumerate(found.segments) if on_segment(middle, *s)]

        assert owners == [k]


@pytest.mark.parametrize("seed", range(100))
def test_regions_and_trace_choose_the_exact_engine_where_needed(seed):
    """Counts, areas and lengths of the public engines equal the rational ones."""
    network = dense(SHAPES[seed % len(SHAPES)], seed, integer=True)
    program = Program(problem(network).network)
    cells = exact_plane(program, ZERO, EYE, BOX, clock=Budget().start(), limit=100_000)
    whole = exact_boundary(cells)
    regions = enumerate_regions(
        problem(network), ZERO, EYE, BOX, names=("x_1", "x_2"), clock=Budget().start()
    )
    curve = trace(network)
    length = sum(np.hypot(float(p[0] - q[0]), float(p[1] - q[1])) for p, q, _ in whole.segments)

    assert len(regions.regions) == len(cells)
    assert len(regions.ties) == len(whole.ties) == len(curve.ties)
    assert regions.complete
    assert curve.complete
    assert regions.regions.areas.sum() == pytest.approx(16, rel=1e-13)
    assert curve.length == pytest.approx(length, abs=1e-12)


def test_patterns_at_dyadic_points_are_all_found():
    """Every pattern that a grid point inside a region has is in the table, with its affine map."""
    from nneq.semantics.pattern import affine_piece

    for seed in range(20):
        network = dense((2, 4, 4, 2), seed, integer=True)
        question = problem(network)
        found = enumerate_regions(
            question, ZERO, EYE, BOX, names=("x_1", "x_2"), clock=Budget().start()
        )
        patterns = {region.pattern for region in found.regions}

        assert len(patterns) == len(found.regions)
        for x in np.arange(-1.9375, 2, 0.25):
            for y in np.arange(-1.9375, 2, 0.25):
                piece = affine_piece(question.network, np.array([x, y]))
                if piece.margin > 0:
                    assert piece.pattern in patterns


def test_xor_with_integer_weights():
    """XOR by |x - y| - 1/2: two segments, exactly."""
    network = given([([[1, -1], [-1, 1]], [0, 0]), ([[1, 1], [0, 0]], [0, 0.5])])
    curve = trace(network, exact=True)

    assert curve.complete
    assert len(curve.components) == 2
    assert curve.length == pytest.approx(2 * 3.5 * np.sqrt(2))
    for component in curve.components:
        for segment in component.segments:
            a, b, c = segment.exact

            assert abs(c / a) == Fraction(1, 2)
            assert b == -a


def test_tie_region_and_boundary_along_an_edge():
    """relu(x) = relu(x) + relu(y) ties on a half plane; its outline is not counted as length."""
    network = given([([[1, 0], [0, 1]], [0, 0]), ([[1, 0], [1, 1]], [0, 0])])
    curve = trace(network)
    area = 0.0
    for ring in curve.ties:
        after = np.roll(ring, -1, axis=0)
        area += float((ring[:, 0] * after[:, 1] - ring[:, 1] * after[:, 0]).sum()) / 2

    assert area == pytest.approx(8)
    assert curve.length == 0
    assert curve.complete


def test_boundary_along_a_region_edge():
    """relu(x) = relu(-x) + relu(y) - relu(y): g = x, zero exactly on the edge of the unit."""
    network = given([([[1, 0], [-1, 0]], [0, 0]), ([[1, 0], [0, 1]], [0, 0])])
    curve = trace(network)

    assert curve.length == pytest.approx(4)
    assert len(curve.components) == 1


def test_isolated_zero():
    """|x| + |y| = 0 holds in one point: a component of one vertex."""
    W = [[1, 0], [-1, 0], [0, 1], [0, -1]]
    network = given([(W, [0] * 4), ([[1, 1, 1, 1], [0, 0, 0, 0]], [0, 0])])
    curve = trace(network)

    assert [component.points.tolist() for component in curve.components] == [[[0.0, 0.0]]]
    assert curve.complete
