"""Traces of convolutional networks: only cells near the boundary are cut, and nothing is lost."""

from __future__ import annotations

import numpy as np
import pytest
from boundary.pwl.networks import dense, lenet, problem

from nneq.boundary.pwl.arrange import float_boundary
from nneq.boundary.pwl.planes import PlaneState, walk_plane
from nneq.boundary.pwl.prune import PruningWalker
from nneq.boundary.pwl.trace import trace_plane
from nneq.boundary.pwl.walk import Live, Program
from nneq.boundary.results import Box, Budget, Enclosed, Status

BOX = Box((-1.0, -1.0), (1.0, 1.0))


def slice_near_zero(network, seed, size):
    """Return a plane through a point where ``z_1 = z_2``, found by bisection."""
    rng = np.random.default_rng(seed)
    points = rng.normal(size=(200, size))
    g = network(points.reshape(-1, *network.inputs[0].shape[1:])) @ [1.0, -1.0, 0.0]
    low, high = points[np.argmin(g)], points[np.argmax(g)]
    for _ in range(40):
        middle = (low + high) / 2
        value = network(middle.reshape(1, *network.inputs[0].shape[1:]))[0] @ [1.0, -1.0, 0.0]
        low, high = (middle, high) if value < 0 else (low, middle)
    return low, rng.normal(size=(size, 2)) / np.sqrt(size)


def segments(program, slice_of, **options):
    """Return the segments found, sorted, and the cells."""
    cells, _ = walk_plane(program, *slice_of, BOX, clock=Budget().start(), limit=np.inf, **options)
    found = float_boundary(cells, 1.0)
    rows = np.sort(np.stack([found.start, found.end], axis=1), axis=1).reshape(-1, 4)
    return rows[np.lexsort(np.round(rows, 7).T)], cells


@pytest.mark.parametrize("seed", [0, 1, 3, 4, 6, 8])
def test_pruning_loses_no_segment(seed):
    """Convolution, pooling, a residual sum and PReLU: the same segments with and without bounds."""
    network = lenet(8, seed, (3, 4))
    program = Program(problem(network).network)
    slice_of = slice_near_zero(network, seed, 64)
    whole, every = segments(program, slice_of)
    found, near = segments(program, slice_of, kind=PruningWalker)

    assert len(whole) > 0
    assert found == pytest.approx(whole, abs=1e-9)
    assert len(near) < len(every) / 2


@pytest.mark.parametrize("rule", ["relu", "leaky_relu", "clip", "abs", "hard_sigmoid"])
def test_every_rule_has_a_sound_chord(rule):
    """The bound of every cell holds at random points of it, for every piecewise-linear rule."""
    params = {"alpha": 0.2} if rule == "leaky_relu" else {}
    network = dense((2, 20, 20, 2), 3, rule, **params)
    question = problem(network).network
    program = Program(question)
    rng = np.random.default_rng(0)
    walker = PruningWalker(program, np.array([1.0, 1.0, 1.0]), Budget().start(), np.inf)
    for size in (1.0, 0.2, 0.01):
        middle = rng.uniform(-1 + size, 1 - size, (30, 1, 2)) if size < 1 else np.zeros((1, 1, 2))
        polys = middle + size * np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]])
        count = len(polys)
        forms = np.tile(np.array([[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]])[:, None], (count, 1, 1, 1))
        live = {question.inputs[0].node: Live(forms, np.zeros((count, 1, 2)))}
        state = PlaneState(polys, np.full(count, 4), np.zeros((count, 0), np.uint8), live)
        low, high = walker.bounds(1, state)
        points = middle + size * rng.uniform(-1, 1, (count, 200, 2))
        g = question(points.reshape(-1, 2)).reshape(count, 200)

        assert (g >= low[:, None]).all()
        assert (g <= high[:, None]).all()
        # A cell of a hundredth is known nearly exactly.
        assert size > 0.1 or (high - low <= 3 * np.ptp(g, axis=1) + 1e-9).mean() > 0.8


def test_traces_of_convolutions_are_pruned_and_complete():
    """The public engine names what it did, and proves it."""
    network = lenet(8, 1, (3, 4))
    found = trace_plane(
        problem(network), *slice_near_zero(network, 1, 64), BOX, names=("s", "t"),
        clock=Budget().start(),
    )  # fmt: skip

    assert found.complete
    assert isinstance(found.certificate, Enclosed)
    assert found.stats["engine"] == "array polygon splitting near the boundary"
    assert found.length > 1


def test_dense_networks_without_the_compiler_are_pruned_as_well():
    """The array engine finds what all regions hold, and cuts a fraction of them."""
    network = dense((2, 32, 32, 2), 5)
    box = Box((-2.0, -2.0), (2.0, 2.0))
    options = {"names": ("x_1", "x_2"), "use_numba": False}
    found = trace_plane(
        problem(network), np.zeros(2), np.eye(2), box, clock=Budget().start(), **options
    )
    cells, _ = walk_plane(
        Program(problem(network).network), np.zeros(2), np.eye(2), box, clock=Budget().start(),
        limit=np.inf,
    )  # fmt: skip
    whole = float_boundary(cells, 2.0)
    length = np.linalg.norm(whole.end - whole.start, axis=1).sum()

    assert found.complete
    assert found.stats["segments"] == len(whole.start) > 20
    assert found.length == pytest.approx(length, rel=1e-12)
    assert found.stats["regions"] < len(cells) / 5


def test_a_budget_leaves_the_rest_of_a_pruned_trace_undecided():
    """What is not looked at stays undecided; what is left out by a bound does not."""
    network = lenet(8, 1, (3, 4))
    found = trace_plane(
        problem(network), *slice_near_zero(network, 1, 64), BOX, names=("s", "t"),
        clock=Budget(boxes=3).start(),
    )  # fmt: skip

    assert not found.complete
    assert found.status is Status.BUDGET


def test_progress_of_a_pruned_trace_reaches_the_end():
    """Cells that a bound leaves out count as done."""
    network = lenet(8, 1, (3, 4))
    seen = []
    trace_plane(
        problem(network), *slice_near_zero(network, 1, 64), BOX, names=("s", "t"),
        clock=Budget().start(), progress=seen.append,
    )  # fmt: skip

    assert seen[-1] == pytest.approx(1.0, abs=1e-6)
    assert all(0.0 <= share <= 1.0 for share in seen)
