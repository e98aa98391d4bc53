"""Boxes and weights at the ends of float64: the answers are right, and nothing overflows."""

from __future__ import annotations

import dataclasses
from fractions import Fraction

import numpy as np
import pytest
from boundary.pwl.networks import dense, given, problem
from boundary_networks import rival_network

from nneq.api.equations import Equations
from nneq.boundary.pwl.magnitude import coefficients, in_range
from nneq.boundary.pwl.trace import trace_plane
from nneq.boundary.pwl.walk import Program
from nneq.boundary.results import Box, Budget, Exact, Status
from nneq.errors import NneqError

EXTREMES = {"huge": 1e300, "tiny": 1e-300, "least": 5e-324}
# Without biases, a network does the same in every box around 0.
ROUND = {d: dense((d, 4, 3, 2), seed, bias=0.0) for d, seed in ((2, 17), (3, 15), (4, 14))}


def boundary(network):
    """Return the question ``z_1 = z_2`` as a user asks it."""
    return Equations(network).boundary("z_1", "z_2")


@pytest.mark.parametrize("half", EXTREMES.values(), ids=EXTREMES)
@pytest.mark.parametrize("d", [2, 3, 4])
def test_regions_do_not_depend_on_the_size_of_the_box(d, half):
    """A network without biases has the same patterns and pieces in boxes of every size."""
    whole = boundary(ROUND[d]).regions([(-1, 1)] * d)
    found = boundary(ROUND[d]).regions([(-half, half)] * d)

    assert found.complete
    assert {r.pattern for r in found.regions} == {r.pattern for r in whole.regions}
    assert len(found.pieces) == len(whole.pieces) > 0
    for piece in found.pieces:
        assert np.isfinite(piece.coefficients).all()
        assert np.abs(piece.coefficients[:-1]).max() > 0
        assert np.isfinite(piece.vertices).all()


def test_lengths_of_huge_and_tiny_traces():
    """The trace in a box times a power of two is as many times longer."""
    whole = boundary(ROUND[2]).trace([(-1, 1)] * 2)
    for power in (990, -990):
        half = 2.0**power
        found = boundary(ROUND[2]).trace([(-half, half)] * 2)

        assert found.complete
        assert isinstance(found.certificate, Exact)
        assert found.length / half == pytest.approx(whole.length, rel=1e-12)


def test_surfaces_of_huge_and_tiny_boxes():
    """The mesh in a box times a power of two is the same mesh."""
    whole = boundary(ROUND[3]).surface([(-1, 1)] * 3)
    for power in (990, -990):
        half = 2.0**power
        found = boundary(ROUND[3]).surface([(-half, half)] * 3)
        corners = np.unique(np.round(found.vertices / half, 9), axis=0)

        assert found.complete
        assert len(found.polygons) == len(whole.polygons) > 0
        assert corners.tolist() == np.unique(np.round(whole.vertices, 9), axis=0).tolist()


@pytest.mark.parametrize("scale", [1e200, 1e-200])
@pytest.mark.parametrize("d", [2, 3, 5])
def test_weights_beyond_the_range_of_a_product(d, scale):
    """z_1 - z_2 = scale**2 * relu(x_1 + ...) - scale**2: the plane x_1 + ... = 1, every time."""
    layers = [(scale * np.ones((1, d)), [0]), ([[scale], [0]], [0, 0]), (np.eye(2), [0, 0])]
    sums = [(scale * np.ones((2, d)), [0, -scale]), ([[scale, -2 * scale], [0, 0]], [0, 0])]
    found = boundary(given(sums)).regions([(-1, 2)] * d)
    tied = boundary(given(layers[:2])).regions([(-1, 2)] * d)

    assert found.complete
    assert tied.complete
    assert len(tied.ties) == 1
    # relu(s) - 2 relu(s - 1) = 0 at s = 2, and everywhere below s = 0.
    assert len(found.ties) == 1
    for piece in found.pieces:
        a = np.array(piece.coefficients)

        assert a / a[0] == pytest.approx([1.0] * d + [-2.0], rel=1e-12)


def test_equations_beyond_float64_keep_their_ratios():
    """Coefficients that would overflow or vanish are multiplied by a power of two."""
    for power in (1500, -1500, 0):
        form = [Fraction(v) * Fraction(2) ** power for v in (3, -1, 5)]
        found = coefficients(form)

        assert found[0] / found[1] == -3
        assert found[2] / found[1] == -5


def test_decision_boundaries_out_of_range_are_undecided():
    """What float64 cannot hold is not cut by rivals in float64: undecided, with words."""
    network = dense((2, 4, 3), 1)
    question = dataclasses.replace(problem(network), rivals=rival_network(network, 0, 1))
    box = Box((-1e300,) * 2, (1e300,) * 2)
    found = trace_plane(
        question, np.zeros(2), np.eye(2), box, names=("x_1", "x_2"), clock=Budget().start()
    )

    assert not found.complete
    assert found.status is Status.UNDECIDED
    assert found.undecided == (box,)
    assert "beyond the range of float64" in found.words


def test_deep_networks_are_in_range():
    """Absolute sums of 120 layers leave float64 long before any value does."""
    rng = np.random.default_rng(0)
    eye = np.linalg.qr(rng.normal(size=(40, 40)))[0]
    network = given([(eye, np.zeros(40))] * 120 + [(np.ones((2, 40)), [0, 1])])
    program = Program(network)
    box = Box((-1.0,) * 40, (1.0,) * 40)

    assert in_range(program, (np.zeros(40), np.eye(40)), box)
    assert not in_range(program, (np.zeros(40), 1e80 * np.eye(40)), box)


@pytest.mark.parametrize("limit", [0, -3, float("nan"), "many", True])
def test_bad_limits_are_refused(limit):
    """A limit that is no number of regions is an error that says so."""
    with pytest.raises(NneqError, match="limit must be a number of regions"):
        boundary(ROUND[3]).regions([(-1, 1)] * 3, limit=limit)


def test_refusals_name_what_works_in_many_inputs():
    """Above the limit: an estimate of the right size and questions that have an answer there."""
    network = dense((4, 32, 32, 3), 1)
    with pytest.raises(NneqError, match=r"on lines \(solve, along\), on 2-D slices") as error:
        boundary(network).regions([(-1, 1)] * 4, limit=10_000)
    estimate = int(str(error.value).split("about ")[1].split(" ")[0].replace(",", ""))

    assert 393_749 / 5 < estimate < 393_749 * 5


@pytest.mark.parametrize("power", [0, 6, 12, 15, 18, 30, 60])
def test_far_zeros_on_the_whole_line_lie_in_their_enclosures(power):
    """Where the fixed inputs are large, zeros are far out on pieces that end at infinity."""
    count = 0
    for seed in range(20):
        question = boundary(dense((3, 5, 4, 2), seed))
        at = {"x_2": 10.0**power, "x_3": 3.0 * 10.0**power}
        found, exact = question.solve("x_1", at=at), question.solve("x_1", at=at, exact=True)
        count += len(exact)
        for root in exact:
            held = any(r.lower <= root.exact <= r.upper for r in found)
            held |= any(low <= root.exact <= high for low, high in found.undecided)

            assert held
        for root in found:
            assert any(root.lower <= r.exact <= root.upper for r in exact)

    assert count > 10


def test_a_slope_that_cancels_on_an_infinite_piece():
    """The error of a slope grows with the distance from the last breakpoint."""
    # relu(x + y) / 3 - relu(x + y) * 0.333...: a slope of a few ulps, and a bias.
    third = 1.0 / 3.0
    for bias in (1.0, 1e-3, 1e6):
        layers = [
            ([[third, 1.0], [1.0, 1.0]], [0.0, 0.0]),
            ([[3.0, 0.0], [0.0, np.nextafter(1.0, 2.0)]], [0.0, bias]),
        ]
        question = boundary(given(layers))
        found = question.solve("x_1", at={"x_2": 0.0})
        exact = question.solve("x_1", at={"x_2": 0.0}, exact=True)
        for root in exact:
            held = any(r.lower <= root.exact <= r.upper for r in found)

            assert held or any(low <= root.exact <= high for low, high in found.undecided)


def test_lines_through_weights_beyond_a_product():
    """Weights of 1e200 in two layers: the lines are walked in fractions."""
    sums = [(1e200 * np.ones((2, 3)), [0, -1e200]), ([[1e200, -2e200], [0, 0]], [0, 0])]
    question = boundary(given(sums))
    found = question.along([0.5, 0, 0], [4.5, 0, 0])
    nearest = question.nearest([0.5, 0.0, 0.0])
    verdict = question.excludes([(0.1, 0.2)] * 3)

    assert [root.exact for root in found] == [Fraction(3, 8)]
    assert found.complete
    assert nearest.status is Status.UNDECIDED
    assert nearest.lower_bound == 0.0
    assert verdict.excluded is None


def test_slopes_that_nearly_vanish_have_a_nearest_point():
    """Gradients of 1e-170, whose squares are 0, still point at the boundary."""
    layers = [(1e-85 * np.ones((1, 3)), [0.0]), ([[1e-85], [0.0]], [0.0, 1e-170])]
    found = boundary(given(layers)).nearest([0.0, 0.0, 0.0], budget=Budget(seconds=2))

    assert found.distance == pytest.approx(1 / np.sqrt(3), rel=1e-9)
