"""Branches to infinity against the roots of large circles."""

from __future__ import annotations

import numpy as np
import pytest
from certified_networks import mlp, one_hidden

from nneq.boundary.problem import Problem
from nneq.boundary.smooth.asymptotes import asymptotes
from nneq.errors import UnsupportedError
from nneq.passes.difference import difference
from nneq.semantics.slices import Slices


def problem_of(network):
    """Return z_1 = z_2."""
    reduced = difference(network, 0, 1)
    names = tuple(f"x_{k + 1}" for k in range(network.input_size))
    return Problem(reduced.network, "z_1 = z_2", names, reduced.notes)


@pytest.mark.parametrize(
    ("widths", "rule"),
    [((2, 6, 2), "tanh"), ((2, 8, 2), "sigmoid"), ((2, 8, 8, 2), "tanh"), ((2, 6, 6, 6, 2), "erf")],
)
@pytest.mark.parametrize("seed", range(3))
def test_branches_are_the_crossings_of_a_large_circle(widths, rule, seed):
    """As many branches as sign changes on a circle of radius 3e5, next to the predicted lines."""
    problem = problem_of(mlp(widths, rule, seed=seed, gain=2.5, bias=1.0))
    found = asymptotes(problem, np.zeros(2), np.eye(2))

    assert found.complete
    radius = 3e5
    angle = np.linspace(0, 2 * np.pi, 4_000_001)
    points = radius * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    slices = Slices(problem.network, np.zeros((1, 2)), np.eye(2))
    zero = np.zeros(100_000, dtype=int)
    values = np.concatenate(
        [
            slices.floats(zero[: len(part)], part)[0].reshape(-1)
            for part in np.array_split(points, 50)
        ]
    )
    places = np.flatnonzero(values[:-1] * values[1:] < 0)

    assert len(found.branches) == len(places)
    for branch in found.branches:
        crossings = points[places]
        across = np.abs(crossings @ np.array(branch.row) - 0.5 * sum(branch.offset))
        ahead = crossings @ np.array(branch.direction) > 0

        assert np.min(across[ahead]) < 2 * radius * (angle[1] - angle[0]) + 1e-3


def test_one_unit_is_a_line_with_two_ends():
    """tanh(x + y) = 1/2: one line, two branches, at atanh(1/2)/sqrt(2) from 0."""
    network = one_hidden([[1.0, 1.0]], [0.0], [[1.0], [0.0]], [-0.5, 0.0])
    found = asymptotes(problem_of(network), np.zeros(2), np.eye(2))

    assert found.complete
    assert [np.arctanh(0.5) / np.sqrt(2)] * 2 == pytest.approx(
        [0.5 * sum(branch.offset) for branch in found.branches], rel=1e-14
    )
    np.testing.assert_allclose(
        sorted(branch.direction for branch in found.branches),
        sorted([(-(0.5**0.5), 0.5**0.5), (0.5**0.5, -(0.5**0.5))]),
    )


def test_unbounded_activations_are_refused():
    """ReLU has no limit at infinity; the message says what to do."""
    problem = problem_of(mlp((2, 4, 2), "relu"))
    with pytest.raises(UnsupportedError, match="use trace on a large box"):
        asymptotes(problem, np.zeros(2), np.eye(2))
