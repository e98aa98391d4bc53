"""Boxes free of the boundary: proofs, witnesses, and what stays undecided."""

from __future__ import annotations

import numpy as np
import pytest
from boundary_networks import bilinear, layers, question, random_layers, sphere
from hypothesis import given, settings
from hypothesis import strategies as st

from nneq.boundary.results import Box, Budget, Enclosed, Status
from nneq.boundary.smooth.excludes import exclude_box, output_ranges
from nneq.boundary.smooth.search import values


def _box(center, half):
    center = np.atleast_1d(center)
    return Box(tuple(center - half), tuple(center + half))


def _ask(problem, box, **options):
    budget = options.pop("budget", Budget(seconds=20))
    return exclude_box(problem, box, clock=budget.start(), **options)


def test_a_sphere_is_excluded_and_found():
    """Boxes inside and outside the unit sphere are free of it; one across it has a witness."""
    problem = question(sphere(3, 1.0))

    inside = _ask(problem, Box((-0.5,) * 3, (0.57,) * 3))
    outside = _ask(problem, Box((0.6, 0.6, 0.6), (5.0, 5.0, 5.0)))
    across = _ask(problem, Box((0.5, 0.5, 0.5), (0.6, 0.6, 0.6)))

    assert (True, -1) == (inside.excluded, inside.sign)
    assert (True, 1) == (outside.excluded, outside.sign)
    assert across.excluded is False
    assert abs(np.linalg.norm(across.witness) - 1.0) < 1e-12
    assert isinstance(across.certificate, Enclosed)


def test_a_touching_box_is_never_called_free():
    """A box whose corner lies exactly on the boundary is not proven free of it."""
    verdict = _ask(question(bilinear()), Box((0.25, 0.25), (1.0, 1.0)), budget=Budget(boxes=4000))

    assert verdict.excluded is not True


def test_all_of_space_is_excluded_where_no_boundary_exists():
    """Bounded units that cannot reach the other output's bias: no boundary anywhere."""
    random = np.random.default_rng(0)
    first = (random.normal(size=(4, 2)), random.normal(size=4))
    second = (np.array([[1.0, -1, 1, 1], [0, 0, 0, 0]]), np.array([4.5, 0.0]))
    verdict = _ask(question(layers([first, second], ["tanh"])), Box((-np.inf,) * 2, (np.inf,) * 2))

    assert (True, 1) == (verdict.excluded, verdict.sign)


def test_half_spaces_are_split_to_a_proof():
    """An unbounded box on which the difference keeps its sign is proven free."""
    weights = [
        (np.array([[1.0, 0.0]]), np.zeros(1)),
        (np.array([[1.0], [0.0]]), np.array([0.5, 0])),
    ]
    problem = question(layers(weights, ["tanh"]))

    verdict = _ask(problem, Box((-0.4, -np.inf), (np.inf, np.inf)))

    assert (True, 1) == (verdict.excluded, verdict.sign)


@pytest.mark.parametrize("rules", [("tanh",), ("relu", "tanh"), ("silu",), ("gelu", "sigmoid")])
@pytest.mark.parametrize("n", [2, 3, 5])
def test_answers_agree_with_samples(n, rules):
    """No sampled sign change lies in an excluded box; every witness is a zero in the box."""
    problem = question(random_layers(n, [n, 12, 12, 2], rules))
    random = np.random.default_rng(n)
    seen = set()
    for half in (0.02, 0.1, 0.3, 1.0):
        for _ in range(5):
            center = random.normal(size=n)
            box = _box(center, half)
            verdict = _ask(problem, box, budget=Budget(boxes=5000))
            seen.add(verdict.excluded)
            points = random.uniform(box.low, box.high, (4000, n))
            numbers = values(problem.network, points)[:, 0]
            if verdict.excluded:
                assert np.all(np.sign(numbers) == verdict.sign)
            elif verdict.excluded is False:
                assert np.all(np.array(box.low) <= verdict.witness)
                assert np.all(verdict.witness <= np.array(box.high))
                assert abs(values(problem.network, verdict.witness[None])[0, 0]) < 1e-9

    assert seen >= {True, False}


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10**6), st.floats(1e-6, 2.0))
def test_excluded_boxes_hold_no_sign_change(seed, half):
    """Random architectures: the proven sign is the sign at every sample."""
    random = np.random.default_rng(seed)
    n = int(random.integers(1, 5))
    rules = [str(r) for r in random.choice(["tanh", "relu", "sigmoid", "softplus", "clip"], 2)]
    widths = [n, *random.integers(1, 9, int(random.integers(1, 4))), 2]
    problem = question(random_layers(seed, widths, rules))
    box = _box(random.normal(size=n), half)
    verdict = _ask(problem, box, budget=Budget(boxes=2000))
    numbers = values(problem.network, random.uniform(box.low, box.high, (500, n)))[:, 0]

    if verdict.excluded:
        assert np.all(np.sign(numbers) == verdict.sign)
    if numbers.min() < -1e-9 and numbers.max() > 1e-9:
        assert verdict.excluded is not True


def test_budget_returns_what_is_left():
    """A tiny budget leaves boxes that still cover every zero in the box."""
    problem = question(random_layers(4, [6, 20, 20, 2]))
    box = _box(np.full(6, 3.0), 0.45)
    verdict = _ask(problem, box, budget=Budget(boxes=1))
    full = _ask(problem, box, budget=Budget(boxes=1))

    assert verdict.excluded in {None, False, True}
    if verdict.excluded is None:
        assert verdict.status is Status.BUDGET
        assert verdict.undecided
    assert verdict.excluded == full.excluded


def test_interruption_is_an_answer(monkeypatch):
    """Ctrl-C gives what is proven so far, and the whole box stays covered."""
    problem = question(sphere(2, 1.0))
    count = 0
    from nneq.semantics.linear_bounds import LinearBounds

    original = LinearBounds.__call__

    def stopping(self, domain, port=0):
        nonlocal count
        count += 1
        if count > 3:
            raise KeyboardInterrupt
        return original(self, domain, port)

    monkeypatch.setattr(LinearBounds, "__call__", stopping)
    verdict = _ask(problem, Box((1.0, -1.0), (2.0, 1.0)))

    assert verdict.excluded is None
    assert verdict.status is Status.INTERRUPTED
    assert any(box.low[0] <= 1.0 and box.low[1] <= 0 <= box.high[1] for box in verdict.undecided)


def test_identical_outputs_are_undecided_not_excluded():
    """Where both outputs are the same function nothing is excluded, and quickly."""
    weight = np.array([[0.3, 0.7, 0.1], [0.3, 0.7, 0.1]])
    random = np.random.default_rng(1)
    network = layers([(random.normal(size=(3, 2)), np.zeros(3)), (weight, np.zeros(2))], ["tanh"])

    verdict = _ask(question(network), _box(np.zeros(2), 1.0))

    assert verdict.excluded is not True
    assert verdict.stats["boxes"] < 100


def test_rivals_may_win_instead():
    """Where a third class wins everywhere, the pair's boundary is not a decision boundary."""
    weights = [(np.array([[1.0], [-1.0], [0.0]]), np.array([0.0, 0.0, 5.0]))]
    network = layers(weights, [])

    plain = _ask(question(network, 0, 1), Box((-1.0,), (1.0,)))
    decision = _ask(question(network, 0, 1, rivals=True), Box((-1.0,), (1.0,)))

    assert plain.excluded is False
    assert decision.excluded is True


def test_float32_is_weaker_than_real():
    """Near the boundary the statement for float32 execution needs more room."""
    problem = question(sphere(2, 1.0))
    box = Box((0.0, 0.0), (0.7071067, 0.7071067))

    real = _ask(problem, box)
    executed = _ask(problem, box, precision="float32", budget=Budget(boxes=2000))

    assert real.excluded is True
    assert executed.excluded is not True


def test_float32_knows_that_both_outputs_are_rounded():
    """Two outputs with nearly the same rows tie when executed, though their difference does not."""
    row = np.array([[0.3, 0.7, 0.1]])
    weights = [
        (np.array([[1.0], [2.0], [-1.0]]), np.array([0.5, 0.25, 2.0])),
        (np.vstack([row * (1 + 1e-9), row]), np.zeros(2)),
    ]
    problem = question(layers(weights, ["sigmoid"]))
    box = Box((-1.0,), (1.0,))

    assert _ask(problem, box).excluded is True
    assert _ask(problem, box, precision="float32").excluded is not True


def test_output_ranges_hold_all_samples():
    """Every output entry of a box lies in its proven range, and the range is not silly."""
    network = random_layers(8, [3, 16, 16, 4])
    box = _box(np.zeros(3), 0.05)
    low, high = output_ranges(network, box)
    points = np.random.default_rng(0).uniform(box.low, box.high, (5000, 3))
    numbers = values(network, points)

    assert low.shape == high.shape == (4,)
    assert np.all(low <= numbers.min(axis=0))
    assert np.all(numbers.max(axis=0) <= high)
    assert np.all(high - low <= 1.6 * (numbers.max(axis=0) - numbers.min(axis=0)))


@pytest.mark.slow
def test_ten_inputs_are_decided_by_one_pass():
    """A 10-input network: small boxes are proven by linear bounds alone."""
    problem = question(random_layers(10, [10, 50, 50, 3], gain=1.2))
    random = np.random.default_rng(5)
    verdicts = [_ask(problem, _box(random.normal(size=10), 0.01)) for _ in range(10)]

    assert sum(v.excluded is True and v.stats["boxes"] == 1 for v in verdicts) >= 8
