"""Graphs x_k = g(others): existence, uniqueness, and nothing missed."""

from __future__ import annotations

import numpy as np
import pytest
from boundary_networks import bilinear, question, random_layers, sphere

from nneq.boundary.results import Box, Budget, Enclosed, Status
from nneq.boundary.smooth.graph import solve_graph
from nneq.boundary.smooth.search import values
from nneq.errors import NneqError, UnsupportedError


def _ask(problem, k, box, **options):
    return solve_graph(problem, k, box, clock=options.get("budget", Budget(seconds=20)).start())


def _roots(problem, k, x, low, high):
    """Return numeric roots along ``x_k`` at fixed others."""
    t = np.linspace(low, high, 2001)
    points = np.repeat(np.asarray(x, float)[None], len(t), axis=0)
    points[:, k] = t
    numbers = values(problem.network, points)[:, 0]
    spots = np.flatnonzero(numbers[1:] * numbers[:-1] < 0)
    return 0.5 * (t[spots] + t[spots + 1]), (high - low) / 2000


def assert_covers(problem, k, box, found, count=200):
    """Every sampled root lies on a graph (or is undecided); every graph box holds one root."""
    random = np.random.default_rng(0)
    low, high = np.array(box.low), np.array(box.high)
    for _ in range(count):
        x = random.uniform(low, high)
        roots, step = _roots(problem, k, x, low[k], high[k])
        for root in roots:
            x[k] = root
            covers = [
                part
                for part in (*[b.box for b in found.boxes], *found.undecided)
                if np.all(np.array(part.low) - step <= x)
                and np.all(x <= np.array(part.high) + step)
            ]
            assert covers
    for part in found.boxes[:60]:
        x = random.uniform(part.box.low, part.box.high)
        wide = part.interval[1] - part.interval[0]
        a, b = part.interval[0] - 1e-9 - wide * 1e-6, part.interval[1] + 1e-9 + wide * 1e-6
        ends = np.stack([x, x])
        ends[:, k] = a, b
        low_end, high_end = values(problem.network, ends)[:, 0] * part.sign
        assert low_end < 0 < high_end
        assert isinstance(found.certificate, Enclosed)


def test_a_hyperbola_is_one_graph():
    """``x_1 x_2 = 1``: the graph and its slope enclose 1/x_1 and -1/x_1^2."""
    problem = question(bilinear())
    box = Box((0.5, 0.1), (2.0, 4.0))
    found = _ask(problem, 1, box)

    assert found.complete
    assert found.variable == "x_2"
    for part in found.boxes:
        for x in np.linspace(part.box.low[0], part.box.high[0], 9):
            assert part.interval[0] <= 1 / x <= part.interval[1]
            assert part.slopes[0][0] <= -1 / x**2 <= part.slopes[0][1]
        assert part.sign == 1
    assert_covers(problem, 1, box, found)


def test_half_a_circle_is_a_graph_and_turning_points_are_undecided():
    """The upper arc is covered completely; the whole circle is undecided at its sides."""
    problem = question(sphere(2, 1.0))
    top = _ask(problem, 1, Box((-0.9, 0.0), (0.9, 2.0)))
    whole = _ask(problem, 1, Box((-1.5, -2.0), (1.5, 2.0)))

    assert top.complete
    assert {1} == {part.sign for part in top.boxes}
    assert whole.status is Status.UNDECIDED
    for part in whole.undecided:
        assert 0.99 < max(abs(part.low[0]), abs(part.high[0])) < 1.01
    assert_covers(problem, 1, Box((-1.5, -2.0), (1.5, 2.0)), whole)


@pytest.mark.parametrize("rules", [("tanh",), ("silu", "sigmoid"), ("relu", "tanh")])
def test_random_networks_are_covered(rules):
    """No root is missed, with kinks too."""
    problem = question(random_layers(21, [2, 10, 10, 2], rules))
    box = Box((-0.8, -0.8), (0.8, 0.8))
    found = _ask(problem, 0, box, budget=Budget(boxes=6000))

    assert_covers(problem, 0, box, found)


def test_fixed_inputs_stay_fixed():
    """Inputs of zero width are constants of the graph."""
    problem = question(sphere(3, 1.0))
    box = Box((-0.3, 0.25, 0.0), (0.3, 0.25, 2.0))
    found = _ask(problem, 2, box)

    assert found.complete
    for part in found.boxes:
        assert (0.25, 0.25) == (part.box.low[1], part.box.high[1])
        assert (0.0, 0.0) == part.slopes[1]
    assert_covers(problem, 2, box, found)


def test_an_empty_box_has_no_graphs():
    """Without a boundary the answer is complete and empty."""
    found = _ask(question(sphere(2, 1.0)), 0, Box((2.0, 2.0), (3.0, 3.0)))

    assert found.complete
    assert () == found.boxes


def test_a_budget_leaves_the_rest_undecided():
    """What was not examined is returned."""
    problem = question(random_layers(5, [2, 16, 16, 2]))
    box = Box((-2.0, -2.0), (2.0, 2.0))
    found = _ask(problem, 0, box, budget=Budget(boxes=20))

    assert not found.complete
    assert found.status is Status.BUDGET
    assert_covers(problem, 0, box, found)


def test_bad_questions_are_refused():
    """Fixed variable, unbounded box, too many free inputs: one clear error each."""
    problem = question(sphere(2, 1.0))

    with pytest.raises(NneqError, match="x_1 must have an interval"):
        _ask(problem, 0, Box((1.0, 0.0), (1.0, 1.0)))
    with pytest.raises(NneqError, match="finite ends"):
        _ask(problem, 0, Box((-np.inf, 0.0), (1.0, 1.0)))
    with pytest.raises(UnsupportedError, match="13 free inputs"):
        _ask(question(sphere(13, 1.0)), 0, Box((0.0,) * 13, (1.0,) * 13))
