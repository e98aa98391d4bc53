"""Deep networks: spectral norm bounds, errors as Euclidean norms, crossings found by brackets."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from boundary.pwl.networks import dense, fractions, problem

from nneq.boundary.pwl.answers import Line
from nneq.boundary.pwl.large import _bracketed, _sampled
from nneq.boundary.pwl.lines import solve_lines
from nneq.boundary.pwl.segment import Plan
from nneq.boundary.pwl.spectral import norm_bound
from nneq.boundary.pwl.walk import Program, walk_lines
from nneq.boundary.results import Budget, Enclosed
from nneq.ir import linear_map as lm
from nneq.semantics.rational import ExactWeights, evaluate_exact

RNG = np.random.default_rng(0)
MAPS = [
    lm.Dense(RNG.standard_normal((7, 5))),
    lm.Conv(RNG.standard_normal((4, 3, 3, 3)), (1, 3, 9, 9), (1, 1), (1, 1), ((1, 1), (1, 1))),
    lm.Conv(RNG.standard_normal((4, 3, 3, 3)), (1, 3, 9, 9), (2, 2), (1, 1), ((1, 1), (1, 1))),
    lm.Conv(RNG.standard_normal((4, 2, 3, 3)), (1, 4, 8, 8), (1, 1), (1, 1), ((0, 0), (1, 1)), 2),
    lm.Conv(RNG.standard_normal((2, 2, 5)), (1, 2, 30), (1,), (1,), ((2, 2),)),
    lm.Conv(RNG.standard_normal((2, 2, 3)), (1, 2, 30), (1,), (2,), ((2, 2),)),
    lm.Sum((3, 4, 4), (1, 2)),
    lm.Broadcast((3, 1), (3, 5)),
    lm.Take((6,), np.array([0, 0, 3, -1, 5, 0])),
    lm.Take((6,), np.array([0, 0, 3, -1, 5, 0])).transpose(),
    lm.Scale(np.array([1.0, -3.0, 0.5]), (3,)),
    lm.Slice((6,), (5,), (-2,), (3,)),
]


@pytest.mark.parametrize("stage", MAPS, ids=lambda stage: type(stage).__name__)
def test_norm_bound_is_above_the_largest_singular_value(stage):
    """The bound holds for every kind of map and is not absurdly loose."""
    norm = np.linalg.norm(stage.dense(), 2)

    assert norm <= norm_bound(stage) * (1 + 1e-12)
    assert norm_bound(stage) <= 4 * norm


def test_euclidean_error_bound_is_a_bound():
    """In a network of twelve layers the bound holds at exactly evaluated points and stays small."""
    network = dense((3, *(24,) * 11, 2), 3)
    program = Program(network)
    origin, direction = np.array([[0.25, 0.5, -0.5]]), np.array([[1.0, -0.75, 0.5]])
    strips, _ = walk_lines(program, origin, direction, (-1.0, 1.0), Budget().start())
    weights = ExactWeights()

    assert program.deep
    assert strips.error.max() < 1e-6
    for k in range(0, len(strips.line), 9):
        t = Fraction(float(strips.start[k, 0] + strips.end[k, 0])) / 2
        x = [o + t * d for o, d in zip(fractions(origin[0]), fractions(direction[0]), strict=True)]
        for m, value in enumerate(evaluate_exact(network, [x], weights)[0]):
            form = Fraction(strips.forms[k, 0, m]) * t + Fraction(strips.forms[k, 1, m])

            assert abs(form - value) <= Fraction(strips.error[k, m])


def test_brackets_find_the_crossings_of_the_full_walk():
    """Sampling, bisection and local pieces give proven roots at the same places."""
    network = dense((3, *(16,) * 10, 2), 12)
    question = problem(network)
    origin, direction = np.array([0.1, 0.2, -0.3]), np.array([2.0, -1.5, 1.0])
    clock = Budget().start()
    whole = solve_lines(question, origin[None], direction, (-2.0, 2.0), clock=clock)[0]
    line = Line(Program(question.network), ExactWeights(), origin, direction, (-2.0, 2.0), clock)
    t = np.linspace(-2.0, 2.0, 257)
    found = _bracketed(Plan.of(line.program), line, t, _sampled(line, t))

    assert whole.complete
    assert len(whole) > 0
    assert [root.value for root in found] == pytest.approx(list(whole.values), abs=1e-9)
    assert all(isinstance(root.certificate, Enclosed) for root in found)
