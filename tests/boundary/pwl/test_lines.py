"""Lines and segments: pieces, roots, identical intervals, exact arithmetic."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from boundary.pwl.networks import dense, fractions, given, lenet, problem

from nneq.boundary.pwl.lines import solve_lines
from nneq.boundary.results import Budget, Enclosed, Exact, Status
from nneq.errors import NneqError, UnsupportedError
from nneq.semantics.rational import evaluate_exact

INF = np.inf
RULES = [
    ("relu", {}),
    ("leaky_relu", {"alpha": 0.25}),
    ("clip", {"low": -1.0, "high": 1.0}),
    ("clip", {"low": 0.0, "high": 6.0}),
    ("hard_sigmoid", {}),
    ("abs", {}),
    ("soft_shrink", {"lambd": 0.5}),
]


def solve(network, origin, direction, domain, **options):
    """Solve one line."""
    options.setdefault("clock", Budget().start())
    origin, direction = np.atleast_2d(origin), np.asarray(direction, float)
    return solve_lines(problem(network), origin, direction, domain, outputs=network, **options)[0]


def assert_pieces(network, solutions, origin, direction, tolerance=1e-12):
    """Hold the piecewise formula against a dense evaluation."""
    t = np.linspace(-3, 3, 4001)
    exact = network(np.asarray(origin) + t[:, None] * np.asarray(direction))
    exact = exact.reshape(len(t), -1)
    lows = np.array([piece.low for piece in solutions.pieces])
    which = np.searchsorted(lows, t, side="right") - 1
    slope = np.array([p.slope for p in solutions.pieces])[which]
    shift = np.array([p.intercept for p in solutions.pieces])[which]
    worst = np.abs(slope * t[:, None] + shift - exact).max()

    assert worst <= tolerance * np.abs(exact).max()


@pytest.mark.parametrize(("rule", "params"), RULES)
def test_whole_line_matches_dense_evaluation(rule, params):
    """Pieces on the whole line agree with the network; every sign change has its root."""
    network = dense((2, 16, 16, 2), 3, rule, **params)
    origin, direction = [0.2, -0.1], [1.0, 0.5]
    found = solve(network, origin, direction, (-INF, INF))
    t = np.linspace(-3, 3, 20001)
    g = network(np.array(origin) + t[:, None] * np.array(direction)).reshape(-1, 2) @ [1, -1]
    changes = t[:-1][np.sign(g[1:]) != np.sign(g[:-1])]
    inside = [r for r in found if -3 < r.value < 3]

    assert found.complete
    assert found.pieces[0].low == -INF
    assert found.pieces[-1].high == INF
    assert_pieces(network, found, origin, direction)
    assert len(changes) == len(inside)
    assert all(abs(a - r.value) < 1e-3 for a, r in zip(changes, inside, strict=True))


@pytest.mark.parametrize(("rule", "params"), RULES)
def test_exact_and_float_agree(rule, params):
    """Both modes give the same number of pieces and roots, and the exact root is exactly a zero."""
    network = dense((2, 12, 12, 2), 5, rule, **params)
    origin, direction = [0.25, -0.5], [1.0, 0.75]
    number = solve(network, origin, direction, (-INF, INF))
    exact = solve(network, origin, direction, (-INF, INF), exact=True)

    assert len(exact.pieces) == len(number.pieces)
    assert len(exact) == len(number)
    for a, b in zip(exact, number, strict=True):
        assert isinstance(a.certificate, Exact)
        assert isinstance(b.certificate, Enclosed)
        assert b.lower <= a.exact <= b.upper
        x = [o + a.exact * d for o, d in zip(fractions(origin), fractions(direction), strict=True)]
        z = evaluate_exact(network, [x])[0]
        assert z[0] - z[1] == 0


def test_many_lines_at_once_equal_one_at_a_time():
    """A batch of lines gives what each line gives alone."""
    network = dense((3, 24, 24, 2), 1)
    rng = np.random.default_rng(0)
    origins, directions = rng.standard_normal((2, 20, 3))
    together = solve_lines(
        problem(network), origins, directions, (-INF, INF), clock=Budget().start()
    )
    for origin, direction, many in zip(origins, directions, together, strict=True):
        alone = solve(network, origin, direction, (-INF, INF))

        assert alone.values == pytest.approx(many.values, rel=1e-13)


def test_convolution_pooling_and_residual_sum():
    """LeNet-like networks with max pool, a residual block and PReLU are walked exactly."""
    network = lenet()
    rng = np.random.default_rng(1)
    a, b = rng.uniform(0, 1, (2, 144))
    solutions = solve_lines(
        problem(network), a[None], b - a, (0.0, 1.0), clock=Budget().start(), outputs=network
    )[0]
    t = np.linspace(0, 1, 501)
    exact = network((a + t[:, None] * (b - a)).reshape(-1, 1, 12, 12)).reshape(501, -1)
    lows = np.array([piece.low for piece in solutions.pieces])
    which = np.searchsorted(lows, t, side="right") - 1
    slope = np.array([p.slope for p in solutions.pieces])[which]
    shift = np.array([p.intercept for p in solutions.pieces])[which]

    assert solutions.complete
    assert len(solutions.pieces) > 50
    assert np.abs(slope * t[:, None] + shift - exact).max() <= 1e-12 * np.abs(exact).max()


def test_outputs_equal_on_an_interval():
    """relu(x) = relu(2 x) for all x <= 0: an identical interval, not a root."""
    network = given([([[1.0], [2.0]], [0, 0]), ([[1, 0], [0, 1]], [0, 0])])
    for exact in (False, True):
        found = solve(network, [0.0], [1.0], (-INF, INF), exact=exact)

        assert found.identical == ((-INF, 0.0),)
        assert len(found) == 0
        assert found.complete


def test_touching_root():
    """|x| = 0 touches at 0 and is found, with the kind of crossing."""
    network = given([([[1.0], [-1.0]], [0, 0]), ([[1, 1], [0, 0]], [0, 0])])
    found = solve(network, [0.5], [1.0], (-INF, INF))

    assert [(r.value, r.crossing, r.exact) for r in found] == [(-0.5, "touch", Fraction(-1, 2))]
    assert found.complete


def test_root_at_the_end_of_the_domain():
    """A zero exactly at an end of the segment counts."""
    network = given([([[1.0], [-1.0]], [0, 0]), ([[1, -1], [0, 0]], [0, 0])])
    found = solve(network, [0.0], [1.0], (0.0, 1.0))

    assert [r.exact for r in found] == [Fraction(0)]


def test_budget_says_what_is_covered():
    """When the budget ends, the rest is undecided, and what is returned is true."""
    network = dense((2, 64, 64, 2), 2)
    clock = Budget(boxes=1).start()
    clock.spend(1)
    found = solve(network, [0, 0], [1.0, 0], (-INF, INF), clock=clock)

    assert not found.complete
    assert found.status is Status.BUDGET
    assert found.undecided == ((-INF, INF),)


def test_bad_questions_are_refused():
    """A point instead of a line, an empty domain, a smooth network: one clear error each."""
    network = dense((2, 4, 2), 2)
    with pytest.raises(NneqError, match="length zero"):
        solve(network, [0, 0], [0.0, 0], (0, 1))
    with pytest.raises(NneqError, match="empty"):
        solve(network, [0, 0], [1.0, 0], (1, 0))
    with pytest.raises(UnsupportedError, match="tanh"):
        solve(dense((2, 4, 2), 2, "tanh"), [0, 0], [1.0, 0], (0, 1))


def test_error_bound_is_a_bound():
    """The proven error bound holds at exactly evaluated points and is not absurdly wide."""
    from nneq.boundary.pwl.walk import Program, walk_lines

    network = dense((2, 32, 32, 32, 2), 7)
    program = Program(network)
    origin, direction = np.array([[0.25, 0.5]]), np.array([[1.0, -0.75]])
    strips, _ = walk_lines(program, origin, direction, (-2.0, 2.0), Budget().start())
    for k in range(0, len(strips.line), 7):
        t = Fraction(float(strips.start[k, 0] + strips.end[k, 0])) / 2
        x = [o + t * d for o, d in zip(fractions(origin[0]), fractions(direction[0]), strict=True)]
        z = evaluate_exact(network, [x])[0]
        for m, value in enumerate(z):
            form = Fraction(strips.forms[k, 0, m]) * t + Fraction(strips.forms[k, 1, m])

            assert abs(form - value) <= Fraction(strips.error[k, m])
    assert strips.error.max() < 1e-9
