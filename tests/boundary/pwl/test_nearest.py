"""The nearest boundary point and boxes free of the boundary, against geometry and sampling."""

from __future__ import annotations

import dataclasses
from fractions import Fraction

import numpy as np
import pytest
from boundary.pwl.networks import dense, given, problem
from scipy.optimize import linprog

from nneq.boundary.pwl import nearest
from nneq.boundary.pwl.excludes import exclude_box
from nneq.boundary.pwl.nearest import nearest_point
from nneq.boundary.pwl.relax import Relaxation, proven_bound, ranges
from nneq.boundary.pwl.trace import trace_plane
from nneq.boundary.pwl.walk import Program
from nneq.boundary.results import Box, Budget, Status
from nneq.errors import NneqError
from nneq.semantics.rational import evaluate_exact

ORDER = {"l1": 1, "l2": 2, "linf": np.inf}


def budget(seconds=20.0):
    """Return a running clock."""
    return Budget(seconds=seconds).start()


@pytest.mark.parametrize("norm", ["l1", "l2", "linf"])
@pytest.mark.parametrize("seed", [1, 4])
def test_two_inputs_equal_the_traced_curve(norm, seed):
    """The distance is that of the nearest point of the whole boundary."""
    network = dense((2, 12, 12, 2), seed)
    question = problem(network)
    box = Box((-8.0, -8.0), (8.0, 8.0))
    curve = trace_plane(question, np.zeros(2), np.eye(2), box, names=("x_1", "x_2"), clock=budget())
    x = np.array([0.3, -0.7])
    t = np.linspace(0, 1, 4001)[:, None]
    expected = min(
        np.linalg.norm(
            np.array(s.start) + t * (np.array(s.end) - s.start) - x, ord=ORDER[norm], axis=1
        ).min()
        for c in curve.components
        for s in c.segments
    )
    found = nearest_point(question, x, norm, clock=budget())

    assert found.status is Status.COMPLETE
    assert found.lower_bound <= found.distance <= expected * (1 + 1e-12)
    assert found.distance == pytest.approx(expected, rel=1e-3)
    assert found.lower_bound == pytest.approx(found.distance, rel=1e-8)
    assert np.linalg.norm(found.point - x, ord=ORDER[norm]) == pytest.approx(found.distance)
    assert abs(network(found.point[None])[0] @ [1, -1]) < 1e-9


@pytest.mark.parametrize("norm", ["l1", "linf"])
def test_branch_and_bound_closes_the_gap(norm):
    """In five inputs, the proven lower bound reaches the distance; no sampled point is nearer."""
    network = dense((5, 6, 5, 2), 3)
    x = np.full(5, 0.2)
    found = nearest_point(problem(network), x, norm, clock=budget())
    rng = np.random.default_rng(0)
    steps = rng.standard_normal((200_000, 5))
    steps *= found.distance * 0.999 / np.linalg.norm(steps, ord=ORDER[norm], axis=1)[:, None]
    g = network(x + steps).reshape(-1, 2) @ [1, -1]

    assert found.status is Status.COMPLETE
    assert found.distance * (1 - 1e-8) <= found.lower_bound <= found.distance
    assert (np.sign(g) == np.sign(network(x[None])[0] @ [1, -1])).all()


def test_l2_lower_bound_is_a_bound():
    """For one affine layer the l2 distance is |g| / |gradient|; the bound is below it and close."""
    network = given([(np.eye(3), [5, 5, 5]), ([[1, 2, 2], [0, 0, 0]], [-24, 0])])
    found = nearest_point(problem(network), np.zeros(3), "l2", clock=budget())

    assert found.distance == pytest.approx(1 / 3)
    assert found.lower_bound <= 1 / 3 + 1e-15
    assert found.lower_bound == pytest.approx(1 / 3, rel=1e-6)


def test_point_on_the_boundary():
    """A point with equal outputs has distance 0, exactly."""
    network = given([([[1, 0], [0, 1]], [0, 0]), ([[1, 0], [0, 1]], [0, 0])])
    found = nearest_point(problem(network), np.array([0.5, 0.5]), "l2", clock=budget())

    assert (found.distance, found.lower_bound) == (0.0, 0.0)


@pytest.mark.parametrize("widths", [(2, 12, 12, 2), (4, 8, 6, 2)])
def test_boxes_just_inside_and_just_outside(widths):
    """A box a little smaller than the distance is proven free; a little larger has a witness."""
    network = dense(widths, 5)
    question = problem(network)
    x = np.full(widths[0], 0.1)
    radius = nearest_point(question, x, "linf", clock=budget()).distance
    free = exclude_box(
        question, Box(tuple(x - 0.99 * radius), tuple(x + 0.99 * radius)), clock=budget()
    )
    hit = exclude_box(
        question, Box(tuple(x - 1.01 * radius), tuple(x + 1.01 * radius)), clock=budget()
    )
    sign = np.sign(network(x[None])[0] @ [1, -1])

    assert free.excluded is True
    assert free.sign == sign
    assert hit.excluded is False
    assert np.abs(hit.witness - x).max() <= 1.01 * radius
    assert abs(network(hit.witness[None])[0] @ [1, -1]) < 1e-9


def test_exhausted_budget_is_undecided():
    """Without time nothing is claimed."""
    network = dense((6, 24, 24, 2), 5)
    clock = Budget(boxes=1).start()
    clock.spend(1)
    found = exclude_box(problem(network), Box((-3.0,) * 6, (3.0,) * 6), clock=clock)

    assert found.excluded is None
    assert found.status is Status.BUDGET


def test_ranges_hold():
    """Affine arithmetic contains exactly evaluated outputs, for every kind of unit."""
    rng = np.random.default_rng(0)
    for rule, params in [("relu", {}), ("clip", {}), ("abs", {}), ("leaky_relu", {"alpha": 0.3})]:
        network = dense((3, 8, 8, 2), 2, rule, **params)
        _, bounds = ranges(Program(network), np.full(3, 0.25), np.full(3, 0.5))
        for x in rng.uniform(-0.25, 0.75, (200, 3)):
            z = evaluate_exact(network, [[Fraction(float(v)) for v in x]])[0]

            assert all(
                Fraction(lo) <= v <= Fraction(hi) for v, (lo, hi) in zip(z, bounds, strict=True)
            )


def test_relaxation_never_cuts_a_true_point():
    """Every input, with the true values of the units, satisfies the linear program."""
    network = dense((3, 8, 8, 2), 2)
    question = problem(network)
    frame = Relaxation(Program(question.network), np.zeros(3), np.ones(3))
    count = len(frame.rows)
    b, low, high = frame.node({})
    rng = np.random.default_rng(1)
    for x in rng.uniform(-1, 1, (100, 3)):
        v = np.concatenate([x, np.zeros(count)])
        for k in range(count):
            form = frame.rows[k].form
            v[3 + k] = max(0.0, form[:-1] @ v[: len(form) - 1] + form[-1])

        assert (frame.A @ v <= b + 1e-12).all()
        assert ((v >= low) & (v <= high)).all()
        assert frame.g_row @ v + frame.g_shift == pytest.approx(
            network(x[None])[0] @ [1, -1], abs=1e-12
        )


def test_weak_duality_bounds_the_optimum():
    """The proven bound is below the optimum that the solver reports, and close to it."""
    rng = np.random.default_rng(2)
    for _ in range(20):
        c, A, b = rng.standard_normal(6), rng.standard_normal((8, 6)), rng.uniform(0.5, 1, 8)
        low, high = -np.ones(6), np.ones(6)
        bound, _ = proven_bound(c, 0.25, A, b, low, high)
        optimum = linprog(c, A_ub=A, b_ub=b, bounds=np.stack([low, high], 1)).fun + 0.25

        assert bound <= optimum
        assert bound == pytest.approx(optimum, abs=1e-7)


def test_bad_questions_are_refused():
    """Unknown norms and boxes that do not fit."""
    network = dense((2, 4, 2), 1)
    with pytest.raises(NneqError, match="l1, l2 or linf"):
        nearest_point(problem(network), np.zeros(2), "l3", clock=budget())
    with pytest.raises(NneqError, match="3 sides"):
        exclude_box(problem(network), Box((0.0,) * 3, (1.0,) * 3), clock=budget())


@pytest.mark.parametrize("norm", ["l1", "l2", "linf"])
def test_deep_networks_get_a_bound_before_the_linear_programs(norm):
    """Six hidden layers in five inputs: linear bounds on boxes leave a lower bound worth having."""
    network = dense((5, 30, 30, 30, 30, 30, 30, 2), 3)
    question = problem(network)
    x = np.full(5, 0.1)
    found = nearest_point(question, x, norm, clock=Budget(boxes=3000).start())

    assert found.lower_bound >= 0.1 * found.distance > 0
    rng = np.random.default_rng(0)
    step = rng.standard_normal((4000, 5))
    step *= found.lower_bound * (1 - 1e-12) / np.linalg.norm(step, ord=ORDER[norm], axis=1)[:, None]
    values = network(x + step) @ [1, -1]
    assert np.all(np.sign(values) == np.sign(network(x[None])[0] @ [1, -1]))


def test_boxes_that_many_units_cross_are_decided():
    """A box in which most units change piece is proven free, and a larger one has a witness."""
    network = dense((5, 30, 30, 30, 30, 30, 30, 2), 3)
    question = problem(network)
    x = np.full(5, 0.1)
    found = nearest_point(question, x, "linf", clock=budget())
    near, reach = 0.8 * found.lower_bound, found.distance
    inner = exclude_box(question, Box(tuple(x - near), tuple(x + near)), clock=budget())
    outer = exclude_box(
        question, Box(tuple(x - 1.5 * reach), tuple(x + 1.5 * reach)), clock=budget()
    )

    assert inner.excluded is True
    assert outer.excluded is False
    assert np.abs(outer.witness - x).max() <= 1.5 * reach
    assert abs(network(outer.witness[None])[0] @ [1, -1]) < 1e-8


@pytest.mark.parametrize("place", ["by_boxes", "solve_lines"])
def test_an_interrupted_part_ends_the_whole_search(monkeypatch, place):
    """Ctrl-C in any part of ``nearest`` ends the call, which keeps what is proven."""
    network = dense((4, 12, 12, 2), 2)
    question = problem(network)
    whole = getattr(nearest, place)
    calls = []

    def pressed(*args, **options):
        calls.append(place)
        found = whole(*args, **options)
        if place == "by_boxes":
            return dataclasses.replace(found, status=Status.INTERRUPTED)
        return [dataclasses.replace(line, status=Status.INTERRUPTED) for line in found]

    monkeypatch.setattr(nearest, place, pressed)
    found = nearest_point(question, np.full(4, 0.1), "l2", clock=budget())

    assert len(calls) == 1
    assert found.status is Status.INTERRUPTED
    assert found.lower_bound > 0


def _interrupted_boxes(monkeypatch):
    """Let Ctrl-C come while linear bounds on boxes are at work."""
    from nneq.boundary.smooth.search import Oracle

    def stop(self, domain):
        raise KeyboardInterrupt

    monkeypatch.setattr(Oracle, "examine", stop)


def test_ctrl_c_among_the_boxes_ends_nearest(monkeypatch):
    """One Ctrl-C is enough: no linear program is solved after it."""
    _interrupted_boxes(monkeypatch)
    network = dense((5, 12, 12, 2), seed=1)
    found = nearest_point(problem(network), np.full(5, 0.3), "l2", clock=budget())

    assert found.status is Status.INTERRUPTED
    assert found.stats["programs"] == 0


def test_ctrl_c_among_the_boxes_ends_excludes(monkeypatch):
    """One Ctrl-C is enough: no linear program is solved after it."""
    _interrupted_boxes(monkeypatch)
    network = dense((5, 12, 12, 2), seed=1)
    found = exclude_box(problem(network), Box((-3.0,) * 5, (3.0,) * 5), clock=budget())

    assert found.status is Status.INTERRUPTED
    assert found.excluded is None
    assert found.stats["programs"] == 0


def test_a_witness_found_on_boxes_is_the_answer():
    """No linear program is solved after the boxes have found a witness, and its signs are exact."""
    network = dense((5, 12, 12, 2), seed=1)
    found = exclude_box(problem(network), Box((-3.0,) * 5, (3.0,) * 5), clock=budget())

    assert found.excluded is False
    assert found.stats["boxes"] > 0
    assert found.stats["programs"] == 0


@pytest.mark.parametrize("scale", [1e-160, 2e-162, 1e-170, 1e-250])
def test_distances_whose_squares_are_no_floats(scale):
    """Near a line 1e-170 away the bounds still hold the distance."""
    network = given([(np.eye(2), np.zeros(2)), (np.array([[1.0, 1], [0, 0]]), [-scale, 0.0])])
    found = nearest_point(problem(network), np.zeros(2), "l2", clock=budget())
    exact = scale / np.sqrt(2)

    assert found.lower_bound <= exact * (1 + 1e-9)
    assert exact * (1 - 1e-9) <= found.distance


def test_a_part_of_a_budget_is_spent_from_it():
    """A clock that shares has what its part has used, and gives no more boxes than it has."""
    clock = Budget(boxes=100).start()
    part = clock.share(0.5)
    part.spend(50)

    assert part.over
    assert clock.boxes == 50
