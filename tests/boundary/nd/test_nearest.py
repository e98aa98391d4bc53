"""Nearest boundary points: known distances, sound lower bounds, tight in few inputs."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from boundary_networks import layers, question, random_layers, sphere
from hypothesis import given, settings
from hypothesis import strategies as st

from nneq.boundary.results import Budget, Enclosed, Sampled, Status
from nneq.boundary.smooth.nearest import nearest_point
from nneq.boundary.smooth.search import values
from nneq.errors import NneqError
from nneq.semantics.domain import around

_ORDERS = {"l2": 2, "linf": np.inf, "l1": 1}


def _ask(problem, x, norm="l2", **options):
    budget = options.pop("budget", Budget(seconds=20))
    return nearest_point(problem, np.asarray(x, float), norm, clock=budget.start(), **options)


def assert_sound(problem, x, norm, found, samples=2000):
    """Check the point, its distance, and that no sampled sign change is nearer than the bound."""
    x = np.asarray(x, float)
    random = np.random.default_rng(0)
    order = _ORDERS[norm]
    if found.point is not None:
        assert isinstance(found.witness, Enclosed)
        assert abs(values(problem.network, found.point[None])[0, 0]) < 1e-8
        assert np.linalg.norm(found.point - x, ord=order) <= found.distance * (1 + 1e-12)
    assert 0 <= found.lower_bound <= found.distance
    radius = min(found.lower_bound, 1e6)
    step = random.normal(size=(samples, x.size))
    step *= (
        random.uniform(size=samples) ** (1 / x.size)
        * radius
        * (1 - 1e-12)
        / np.linalg.norm(step, ord=order, axis=1)
    )[:, None]
    numbers = values(problem.network, x + step)[:, 0]
    start = values(problem.network, x[None])[0, 0]
    assert np.all(np.sign(numbers) == np.sign(start))


@pytest.mark.parametrize("norm", ["l2", "linf", "l1"])
def test_distance_to_a_circle(norm):
    """From (0.5, 0) the unit circle is 0.5 away in l2 and l1; (0.5 + d)^2 + d^2 = 1 in linf."""
    exact = (np.sqrt(1.75) - 0.5) / 2 if norm == "linf" else 0.5
    found = _ask(question(sphere(2, 1.0)), [0.5, 0.0], norm)

    assert found.lower_bound <= exact <= found.distance * (1 + 1e-12)
    assert found.lower_bound >= 0.99 * exact
    assert found.distance <= exact * (1 + 1e-6)
    assert found.status is Status.COMPLETE


def test_distance_to_a_hyperplane_is_tight():
    """An affine difference: the bound is the distance up to rounding, in any number of inputs."""
    weight = np.random.default_rng(0).normal(size=(2, 50))
    problem = question(layers([(weight, np.array([1.0, 0.0]))], []))
    row = weight[0] - weight[1]
    for norm, dual in (("l2", 2), ("linf", 1), ("l1", np.inf)):
        exact = 1.0 / np.linalg.norm(row, ord=dual)
        found = _ask(problem, np.zeros(50), norm)

        assert found.lower_bound <= exact * (1 + 1e-12)
        assert found.lower_bound >= 0.999 * exact
        assert abs(found.distance - exact) <= 1e-6 * exact


@pytest.mark.parametrize("norm", ["l2", "linf", "l1"])
@pytest.mark.parametrize(
    ("widths", "rules"),
    [([2, 16, 16, 2], ("tanh",)), ([2, 12, 12, 2], ("relu", "tanh")), ([3, 10, 10, 2], ("silu",))],
)
def test_bounds_meet_in_few_inputs(widths, rules, norm):
    """Up to three inputs the lower bound reaches 0.99 of the distance found."""
    problem = question(random_layers(widths[1], widths, rules))
    random = np.random.default_rng(1)
    for _ in range(2):
        x = random.uniform(-1.5, 1.5, widths[0])
        found = _ask(problem, x, norm)

        assert_sound(problem, x, norm, found)
        if found.point is not None:
            assert found.lower_bound >= 0.99 * found.distance


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from(["l2", "linf", "l1"]))
def test_bounds_are_sound_for_random_networks(seed, norm):
    """Random architectures: no sampled sign change is nearer than the proven bound."""
    random = np.random.default_rng(seed)
    n = int(random.integers(1, 6))
    rules = [str(r) for r in random.choice(["tanh", "relu", "sigmoid", "elu", "abs"], 2)]
    widths = [n, *random.integers(1, 9, int(random.integers(1, 3))), 2]
    problem = question(random_layers(seed, widths, rules))
    x = random.normal(size=n)

    assert_sound(problem, x, norm, _ask(problem, x, norm, budget=Budget(boxes=1500)), 500)


def test_ten_inputs_get_a_useful_bound():
    """In 10 inputs the bound is a fair part of the distance, in one pass over the ball."""
    problem = question(random_layers(3, [10, 50, 50, 3], gain=1.0))
    random = np.random.default_rng(2)
    ratios = []
    for _ in range(5):
        x = random.normal(size=10)
        found = _ask(problem, x, "l2", budget=Budget(boxes=150))
        assert_sound(problem, x, "l2", found)
        ratios.append(found.lower_bound / found.distance)

    assert np.median(ratios) >= 0.6


def test_no_boundary_at_all():
    """Where no boundary exists the bound is infinite and there is no point."""
    weights = [(np.eye(2), np.zeros(2)), (np.array([[1.0, 1], [0, 0]]), np.array([2.5, 0.0]))]
    found = _ask(question(layers(weights, ["tanh"])), [0.3, 0.4])

    assert found.point is None
    assert found.lower_bound == np.inf
    assert isinstance(found.witness, Sampled)
    assert found.status is Status.COMPLETE


def test_a_boundary_that_is_never_reached():
    """An unbounded difference without zeros: a finite lower bound, no point, and it is said."""
    weights = [(np.eye(1), np.zeros(1)), (np.array([[1.0], [0.0]]), np.array([0.5, 0.0]))]
    found = _ask(question(layers(weights, ["square"])), [0.3], budget=Budget(boxes=500))

    assert found.point is None
    assert found.lower_bound > 10.0
    assert found.status is not Status.COMPLETE


def test_a_point_on_the_boundary():
    """A start on the boundary itself is at distance 0, proven by signs around it."""
    problem = question(sphere(2, 1.0))
    found = _ask(problem, [1.0, 0.0])

    assert found.distance < 1e-10
    assert found.lower_bound == 0.0
    assert found.status is Status.COMPLETE


def test_rivals_push_the_point_away():
    """With a third class in between, the nearest decision boundary is farther off."""
    weights = [(np.array([[1.0, 0], [-1, 0], [0, 1]]), np.zeros(3))]
    network = layers(weights, [])
    plain = _ask(question(network, 0, 1), [0.5, 1.0])
    decision = _ask(question(network, 0, 1, rivals=True), [0.5, 1.0])

    # z_1 = z_2 is x_1 = 0; class 3 wins there unless x_2 < 0
    assert abs(plain.distance - 0.5) < 1e-6
    assert abs(decision.distance - np.hypot(0.5, 1.0)) < 1e-2
    assert decision.lower_bound <= np.hypot(0.5, 1.0)
    assert decision.lower_bound > 0.5


def test_a_budget_keeps_the_bounds_sound():
    """With hardly any budget both bounds still hold."""
    problem = question(random_layers(6, [4, 16, 16, 2]))
    found = _ask(problem, np.zeros(4), "l2", budget=Budget(boxes=1))

    assert_sound(problem, np.zeros(4), "l2", found)
    assert found.status in {Status.BUDGET, Status.COMPLETE}


def test_interruption_keeps_what_is_proven(monkeypatch):
    """Ctrl-C during branch and bound returns the bounds so far."""
    from nneq.boundary.smooth import nearest

    def stop(self, *args):
        raise KeyboardInterrupt

    monkeypatch.setattr(nearest._Search, "_split_ball", stop)
    problem = question(sphere(2, 1.0))
    found = _ask(problem, [0.25, 0.0])

    assert found.status is Status.INTERRUPTED
    assert 0 < found.lower_bound <= 0.75 <= found.distance * (1 + 1e-12)


def test_bad_input_is_refused():
    """A wrong norm, a wrong size and NaN are errors that say what is wanted."""
    problem = question(sphere(2, 1.0))

    with pytest.raises(NneqError, match="unknown norm 'l3'"):
        _ask(problem, [0.0, 0.0], "l3")
    with pytest.raises(NneqError, match="2 finite numbers"):
        _ask(problem, [0.0, 0.0, 0.0])
    with pytest.raises(NneqError, match="NaN"):
        _ask(problem, [0.0, np.nan])


@pytest.mark.parametrize("norm", ["l2", "linf", "l1"])
@pytest.mark.parametrize("inputs", [2, 4])
@pytest.mark.parametrize("scale", [1e-100, 1e-160, 2e-162, 1e-170, 1e-250])
def test_distances_whose_squares_are_no_floats(norm, inputs, scale):
    """Near a hyperplane 1e-170 away the bounds still hold the distance."""
    rows = np.stack([np.ones(inputs), np.zeros(inputs)])
    weights = [(np.eye(inputs), np.zeros(inputs)), (rows, np.array([-scale, 0.0]))]
    found = _ask(question(layers(weights, ["tanh"])), np.zeros(inputs), norm)
    exact = scale / {"l2": np.sqrt(inputs), "linf": inputs, "l1": 1.0}[norm]

    assert found.lower_bound <= exact * (1 + 1e-12)
    assert exact * (1 - 1e-12) <= found.distance


def test_slopes_whose_squares_are_no_floats():
    """With weights of 1.6e-162 the lower bound is still one."""
    rows = np.stack([np.full(4, 1.6e-162), np.zeros(4)])
    weights = [(np.eye(4), np.zeros(4)), (rows, np.array([-0.8e-162, 0.0]))]
    found = _ask(question(layers(weights, ["tanh"])), np.zeros(4), budget=Budget(boxes=2000))

    assert found.lower_bound <= 2 * np.arctanh(0.125) * (1 + 1e-12)


def test_a_box_around_a_far_point_holds_its_ball():
    """The ends of the box are at least the radius away, in exact arithmetic."""
    random = np.random.default_rng(0)
    for _ in range(500):
        x = random.normal(size=3) * 10.0 ** random.uniform(-9, 9)
        radius = 10.0 ** random.uniform(-12, 9)
        low, high = around(x, radius)

        assert all(
            Fraction(a) <= Fraction(c) - Fraction(radius) for a, c in zip(low, x, strict=True)
        )
        assert all(
            Fraction(b) >= Fraction(c) + Fraction(radius) for b, c in zip(high, x, strict=True)
        )
