"""Curves in a rectangle: topology against constructed shapes, side roots and sampled signs."""

from __future__ import annotations

import flint
import numpy as np
import pytest
from boundary_networks import random_layers
from certified_networks import built, mlp, one_hidden, shifted

from nneq.boundary.problem import Problem
from nneq.boundary.results import Box, Budget, Status
from nneq.boundary.smooth.lines import solve_lines
from nneq.boundary.smooth.plane import trace_plane
from nneq.ir import linear_map as lm
from nneq.lowering import Builder
from nneq.passes.difference import difference
from nneq.semantics.arb import ArbNetwork
from nneq.semantics.slices import Slices

SQUARE = Box((-3.0, -3.0), (3.0, 3.0))


def problem_of(network, i=0, j=1, rivals=None):
    """Return the reduced problem of two outputs."""
    reduced = difference(network, i, j)
    names = tuple(f"x_{k + 1}" for k in range(network.input_size))
    return Problem(reduced.network, f"z_{i + 1} = z_{j + 1}", names, reduced.notes, rivals)


def trace(problem, box=SQUARE, origin=None, directions=None, **options):
    """Return the curve in the plane of the first two inputs."""
    n = len(problem.names)
    origin = np.zeros(n) if origin is None else origin
    directions = np.eye(n, 2) if directions is None else directions
    budget = options.pop("budget", Budget(seconds=60))
    return trace_plane(
        problem, origin, directions, box, names=("x_1", "x_2"), clock=budget.start(), **options
    )


def values(problem, points, origin=None):
    """Return g in float64 at points of the plane of the first two inputs."""
    n = len(problem.names)
    origin = np.zeros(n) if origin is None else origin
    slices = Slices(problem.network, origin[None], np.eye(n, 2))
    return slices.floats(np.zeros(len(points), dtype=int), np.asarray(points))[0].reshape(-1)


def side_roots(problem, box, origin=None):
    """Return how many roots the four sides have, each count proven."""
    n = len(problem.names)
    base = np.zeros(n) if origin is None else origin
    total = 0
    for axis in (0, 1):
        for end in (box.low[1 - axis], box.high[1 - axis]):
            start, direction = base.copy(), np.zeros(n)
            start[axis], start[1 - axis], direction[axis] = 0.0, end, 1.0
            (found,) = solve_lines(
                problem,
                start[None],
                direction,
                (box.low[axis], box.high[axis]),
                clock=Budget().start(),
            )

            assert found.complete
            total += len(found)
    return total


def assert_curve(problem, curve, box, origin=None):
    """Fail unless vertices lie on the curve and its ends are the roots of the sides."""
    ends = 0
    for component in curve.components:
        points = component.points

        assert np.max(np.abs(values(problem, points, origin))) <= 1e-11
        if not component.closed:
            ends += 2
            for point in (points[0], points[-1]):
                gaps = np.abs(np.concatenate([point - box.low, point - box.high]))

                assert gaps.min() == 0.0
    assert side_roots(problem, box, origin) == ends


def quadratic(terms, constant):
    """Return sum of c (a.x + b)^2 + constant as a problem: ``terms`` of (c, a, b)."""
    network = one_hidden(
        [a for _, a, _ in terms],
        [b for *_, b in terms],
        [[c for c, *_ in terms], [0.0] * len(terms)],
        [constant, 0.0],
        "square",
    )
    return problem_of(network)


X, Y = [1.0, 0.0], [0.0, 1.0]


@pytest.mark.parametrize("radius", [2.0, 1e-2, 1e-4, 1e-6])
def test_a_circle_is_one_closed_curve(radius):
    """Circles off the grid, down to a millionth: found, closed, of the right length."""
    problem = quadratic([(1.0, X, -0.3), (1.0, Y, 0.7)], -(radius**2))
    curve = trace(problem)

    assert curve.complete, curve.undecided
    assert [True] == [component.closed for component in curve.components]
    assert curve.length == pytest.approx(2 * np.pi * radius, rel=0.06)


@pytest.mark.parametrize("gap", [1e-2, 1e-6, 1e-10])
def test_no_circle_is_proven(gap):
    """x^2 + y^2 + gap has no zero: proven."""
    curve = trace(quadratic([(1.0, X, -0.3), (1.0, Y, 0.7)], gap))

    assert (0, True, Status.COMPLETE) == (len(curve.components), curve.complete, curve.status)


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("gap", [1e-2, 1e-5, 1e-9])
def test_saddles_are_resolved(gap, sign):
    """x^2 - y^2 + gap: two branches, joined up or sideways as the sign says."""
    problem = quadratic([(1.0, X, -0.1), (-1.0, Y, 0.2)], sign * gap)
    curve = trace(problem)

    assert curve.complete, curve.undecided
    assert [False, False] == [component.closed for component in curve.components]
    assert_curve(problem, curve, SQUARE)
    for component in curve.components:
        offset = component.points - np.array([0.1, -0.2])
        kept = offset[:, 1] if sign > 0 else offset[:, 0]

        assert np.all(kept > 0) or np.all(kept < 0)


def test_a_crossing_is_undecided():
    """x^2 = y^2 crosses itself: the crossing is returned as a small box."""
    curve = trace(quadratic([(1.0, X, -0.1), (-1.0, Y, 0.2)], 0.0))

    assert (False, Status.UNDECIDED) == (curve.complete, curve.status)
    assert all(
        low <= place + 1e-5 and place - 1e-5 <= high
        for box in curve.undecided
        for low, high, place in zip(box.low, box.high, (0.1, -0.2), strict=True)
    )


@pytest.mark.parametrize("rule", ["tanh", "sigmoid", "gelu", "softplus", "mish", "atan", "silu"])
def test_networks_have_ends_at_side_roots(rule):
    """Ends equal the certified roots of the sides; vertices lie on the curve."""
    problem = problem_of(mlp((2, 12, 12, 2), rule, seed=1, gain=3.0, bias=1.5))
    curve = trace(problem)

    assert curve.complete, curve.undecided
    assert_curve(problem, curve, SQUARE)


@pytest.mark.parametrize(
    "rules",
    [["relu", "tanh"], ["tanh", "relu"], ["gelu", "abs"], ["selu", "selu"], ["elu", "clip"]],
)
def test_mixed_networks(rules):
    """Kinks on the curve do not break it."""
    problem = problem_of(mlp((2, 8, 8, 2), rules, seed=1, gain=3.0, bias=1.0))
    curve = trace(problem)

    assert curve.complete, curve.undecided
    assert_curve(problem, curve, SQUARE)


def test_branches_decide_where_the_hull_of_both_sides_does_not():
    """A curve across kinks of units whose later layers see the same side: complete, few boxes."""
    problem = problem_of(random_layers(13, [2, 8, 8, 2], ("relu", "tanh")))
    box = Box((-1.0, -1.0), (1.0, 1.0))
    curve = trace(problem, box)

    assert curve.complete
    assert curve.stats["boxes"] < 2000
    assert_curve(problem, curve, box)


def test_sampled_signs_agree_with_the_curve():
    """On segments that the curve does not meet, g keeps its sign."""
    problem = problem_of(mlp((2, 16, 16, 2), "tanh", seed=1, gain=3.0, bias=1.5))
    curve = trace(problem)
    grid = np.linspace(-3, 3, 151)
    x, y = np.meshgrid(grid, grid)
    z = values(problem, np.stack([x.reshape(-1), y.reshape(-1)], axis=1)).reshape(x.shape)
    vertices = np.concatenate([component.points for component in curve.components])
    step = grid[1] - grid[0]
    changes = np.argwhere(z[:, :-1] * z[:, 1:] < 0)

    assert len(changes)
    for row, column in changes:
        gap = np.hypot(vertices[:, 0] - x[row, column], vertices[:, 1] - y[row, column])

        assert gap.min() < 8 * step


def test_a_slice_of_many_inputs():
    """Two of ten inputs, the others fixed."""
    problem = problem_of(mlp((10, 40, 40, 3), "tanh", seed=1, gain=3.0, bias=1.5))
    origin = np.zeros(10)
    origin[2:] = np.linspace(-0.5, 0.5, 8)
    curve = trace(problem, origin=origin)

    assert curve.complete
    assert_curve(problem, curve, SQUARE, origin)


def test_polylines_are_smooth():
    """Midpoints of segments lie within a few 1e-4 of the box from the curve."""
    problem = quadratic([(1.0, X, -0.3), (1.0, Y, 0.7)], -4.0)
    (component,) = trace(problem).components
    ring = np.vstack([component.points, component.points[:1]])
    middle = 0.5 * (ring[1:] + ring[:-1])
    gap = np.abs(np.hypot(middle[:, 0] - 0.3, middle[:, 1] + 0.7) - 2.0)

    assert gap.max() < 1e-3 * np.hypot(6, 6)


def test_decisions_end_where_a_third_class_wins():
    """max(x, y, 0): the diagonal is a decision boundary only where both are positive."""
    builder = Builder()
    x = builder.input((1, 2))
    y = builder.linear(x, lm.Dense(np.array([[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]]), (1,)))
    network = built(builder, builder.elementwise("tanh", y))
    rivals = difference(network, 0, 2).network
    curve = trace(problem_of(network, rivals=rivals), Box((-3.0, -3.0), (3.0, 3.1)))
    (component,) = curve.components

    assert np.all(component.points > -1e-5)
    assert component.points.max() == 3.0
    assert all(abs(v) < 1e-5 for box in curve.undecided for v in (*box.low, *box.high))


def test_a_budget_returns_what_is_proven():
    """Few boxes: the rest is undecided and covers every sampled sign change."""
    problem = problem_of(mlp((2, 16, 16, 2), "tanh", seed=1, gain=3.0, bias=1.5))
    curve = trace(problem, budget=Budget(boxes=200))

    assert (False, Status.BUDGET) == (curve.complete, curve.status)
    assert curve.undecided


def test_an_interrupt_returns_what_is_proven():
    """Ctrl-C in a level returns the rest as undecided."""
    problem = problem_of(mlp((2, 16, 16, 2), "tanh", seed=1, gain=3.0, bias=1.5))

    def stop(share):
        assert 0 <= share <= 1
        raise KeyboardInterrupt

    curve = trace(problem, progress=stop)

    assert (False, Status.INTERRUPTED) == (curve.complete, curve.status)


def maximum_of(problem, start):
    """Return a local maximum of g and its exact value as floats that add up to it."""
    slices = Slices(problem.network, np.zeros((1, 2)), np.eye(2))
    zero = np.zeros(1, dtype=int)

    def facts(point):
        arithmetic, (jet,) = slices.jets(zero, point[None], np.zeros((1, 2)))
        slope = np.array([arithmetic.gradient(jet, m).mid.item() for m in range(2)])
        a, b, c = (arithmetic.hessian(jet, k).mid.item() for k in range(3))
        return slope, np.array([[a, b], [b, c]])

    point = np.array(start, dtype=float)
    for _ in range(60):
        slope, bend = facts(point)
        step = np.linalg.solve(bend, slope)
        if np.linalg.norm(step) > 0.05 or np.linalg.eigvalsh(bend)[-1] >= 0:
            step = -0.02 * slope / np.linalg.norm(slope)
        point = point - step
    _, bend = facts(point)
    exact = ArbNetwork(problem.network)
    value = exact.on_line(np.zeros(2), np.eye(2), [[flint.arb(v) for v in point]], 200).item()
    with flint.ctx.workprec(200):
        first = float(value.mid())
        rest = float((value - flint.arb(first)).mid())
    return point, (first, rest), bend


@pytest.mark.parametrize("radius", [1e-4, 1e-5, 1e-6])
def test_tiny_loops_of_a_network(radius):
    """A 2-64-64-2 network shifted just below a maximum has a loop there; just above it has none."""
    problem = problem_of(mlp((2, 64, 64, 2), "tanh", seed=3, gain=2.5, bias=1.0, dtype=float))
    grid = np.linspace(-2.5, 2.5, 61)
    x, y = np.meshgrid(grid, grid)
    z = values(problem, np.stack([x.reshape(-1), y.reshape(-1)], axis=1)).reshape(x.shape)
    inner = z[1:-1, 1:-1]
    peaks = np.ones(inner.shape, dtype=bool)
    for di, dj in ((0, 1), (0, -1), (1, 0), (-1, 0), (1, 1), (1, -1), (-1, 1), (-1, -1)):
        peaks &= inner > z[1 + di : z.shape[0] - 1 + di, 1 + dj : z.shape[1] - 1 + dj]
    place = np.argwhere(peaks)[0] + 1
    point, amounts, bend = maximum_of(problem, (x[tuple(place)], y[tuple(place)]))
    steep = np.linalg.eigvalsh(bend)

    assert steep[-1] < 0
    depth = 0.5 * -steep[0] * radius**2
    box = Box(tuple(point - 0.2), tuple(point + 0.2))
    shifts = [-amount for amount in amounts]
    found = trace(shifted(problem, *shifts, depth), box)
    near = [c for c in found.components if np.linalg.norm(c.points - point, axis=1).max() < 0.01]

    assert found.complete
    assert [True] == [component.closed for component in near]
    gone = trace(shifted(problem, *shifts, -depth), box)

    assert gone.complete
    assert not any(np.linalg.norm(c.points - point, axis=1).min() < 0.01 for c in gone.components)


def test_arcs_whose_ends_nearly_coincide_are_not_joined_blindly():
    """Four crossings of a leaf pair up by place; where two are too near, the leaf stays open."""
    from nneq.boundary.smooth.mesh import _paired

    owner, edge = np.zeros(4, dtype=int), np.arange(4)
    vertices = np.array([[0.0, 0.0], [0.4, 1.0], [0.6, 1.0], [1.0, 0.0]])
    close = vertices.copy()
    close[2, 0] = 0.4 + 1e-12
    directions = np.array([[1.0, 0.0]])
    apart = _paired(owner, edge, vertices, directions, 1)
    together = _paired(owner, edge, close, directions, 1)

    assert ([[0, 1], [2, 3]], []) == (apart[0].tolist(), apart[2].tolist())
    assert ([], [0]) == (together[0].tolist(), together[2].tolist())
