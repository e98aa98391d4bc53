"""Traces that start from the cells of an earlier one: what they say is what a cold one says."""

from __future__ import annotations

import numpy as np
import pytest
from zoo_networks import mlp

from nneq.boundary.problem import Problem
from nneq.boundary.results import Box, Budget, Status
from nneq.boundary.smooth.cells import Cells, joined
from nneq.boundary.smooth.partition import Memory, tiles
from nneq.boundary.smooth.plane import trace_plane
from nneq.passes.difference import difference
from nneq.semantics.slices import is_rough

SQUARE = Box((-3.0, -3.0), (3.0, 3.0))
PART = (np.zeros(2), np.eye(2), SQUARE)


def _problem(network):
    return Problem(difference(network, 0, 1).network, "z_1 = z_2", ("x_1", "x_2"))


def _trace(problem, memory=None, seconds=60.0, box=SQUARE):
    clock = Budget(seconds=seconds).start()
    origin, directions, _ = PART
    names = ("x_1", "x_2")
    return trace_plane(problem, origin, directions, box, names=names, clock=clock, memory=memory)


def _loop(level, centre=0.0):
    """A tanh network whose boundary is a loop around ``centre``, or empty for levels above 3.05."""
    first = np.array([[1.0, 1.0, 0, 0], [0, 0, 1.0, 1.0]])
    bias = np.array([1 - centre, -1 - centre, 1 - centre, -1 - centre])
    last = np.zeros((4, 2))
    last[:, 0] = [1.0, -1.0, 1.0, -1.0]
    return mlp((2, 4, 2), weights=[first, last], biases=[bias, np.array([-level, 0.0])])


def _random(seed, rows=12, gain=3.0):
    biases = [np.linspace(-2, 2, rows), np.zeros(2)]
    return mlp((2, rows, 2), gain=gain, seed=seed, biases=biases)


def _said(curve):
    return (
        curve.complete,
        curve.status,
        len(curve.components),
        [c.closed for c in curve.components],
        curve.undecided,
    )


def _assert_same(warm, cold, problem):
    """The same claims, and polylines that lie on the boundary and are as long."""
    assert _said(warm) == _said(cold)
    for one, other in zip(warm.components, cold.components, strict=True):
        assert one.length == pytest.approx(other.length, rel=5e-3)
        assert np.abs(problem.network(one.points)).max() < 1e-9


def test_a_loop_that_vanishes_and_appears():
    """Neither is missed: the curve of the last trace says nothing, only its cells are used."""
    memory = Memory()
    counts = []
    for level, centre in [
        (2.0, 0.0),
        (2.0, 0.05),
        (3.2, 0.05),
        (2.0, 0.0),
        (2.9, -1.5),
        (2.0, 1.0),
    ]:
        problem = _problem(_loop(level, centre))
        warm, cold = _trace(problem, memory), _trace(problem)
        _assert_same(warm, cold, problem)
        counts.append(len(warm.components))
    assert counts == [1, 1, 0, 1, 1, 1]
    assert warm.components[0].closed


def test_two_loops_that_merge_and_part():
    """Topology changes between the traces, inside cells that both start from."""
    memory = Memory()
    seen = set()
    for shift in (0.0, 0.3, 0.6, 0.9, 0.6, 0.3, 0.0):
        network = mlp(
            (2, 10, 2), gain=4.0, seed=3, biases=[np.linspace(-2, 2, 10), np.array([shift, 0.0])]
        )
        problem = _problem(network)
        warm, cold = _trace(problem, memory), _trace(problem)
        _assert_same(warm, cold, problem)
        seen.add(len(cold.components))
    assert len(seen) > 1


@pytest.mark.parametrize("seed", range(6))
def test_the_cells_of_another_network(seed):
    """Any cells that tile the box will do, those of a network without likeness too."""
    memory = Memory()
    _trace(_problem(_random(seed + 50, gain=5.0)), memory)
    problem = _problem(_random(seed))

    warm, cold = _trace(problem, memory), _trace(problem)

    assert warm.complete
    _assert_same(warm, cold, problem)


def test_kinks():
    """Across kinks the slanted bases are asked, and balanced cells once more."""
    memory = Memory()
    for shift in (0.0, 0.02, 0.04):
        biases = [np.linspace(-2, 2, 8), np.array([shift, 0.0])]
        problem = _problem(mlp((2, 8, 2), "selu", gain=4.0, seed=1, biases=biases))
        assert is_rough(problem.network)
        _assert_same(_trace(problem, memory), _trace(problem), problem)


def test_it_saves_work():
    """The same network again: every leaf once, none of the cells above them."""
    memory = Memory()
    problem = _problem(_random(1))
    cold, warm = _trace(problem, memory), _trace(problem, memory)

    assert warm.stats["boxes"] < 0.9 * cold.stats["boxes"]
    assert warm.stats["leaves"] == cold.stats["leaves"]


def test_cells_become_coarse_again():
    """After a network with many small cells, some traces of a simple one forget them."""
    memory = Memory()
    _trace(_problem(_random(2, rows=24, gain=9.0)), memory)
    simple = _problem(_loop(2.0))
    cold = _trace(simple).stats["boxes"]
    found = [_trace(simple, memory).stats["boxes"] for _ in range(10)]

    assert found[0] > 4 * cold
    assert found[-1] < cold


def test_no_trace_stays_dearer_than_a_cold_one():
    """After a trace that saved nothing the next one starts cold."""
    memory = Memory()
    simple, many = _problem(_loop(2.0)), _problem(_random(2, rows=24, gain=9.0))
    _trace(simple, memory)
    _trace(many, memory)

    assert _trace(many, memory).stats["boxes"] == _trace(many).stats["boxes"]


def test_a_trace_without_time_leaves_a_start():
    """What a budget left over is part of the cells; the next trace is complete."""
    memory = Memory()
    problem = _problem(_random(0))
    cut = _trace(problem, memory, seconds=1e-9)

    assert cut.status is Status.BUDGET
    assert tiles(memory._cells)
    _assert_same(_trace(problem, memory), _trace(problem), problem)


@pytest.mark.parametrize("harm", ["hole", "twice", "other box"])
def test_cells_that_do_not_tile_the_box_are_not_used(harm):
    """A start with a hole would miss what lies in it."""
    problem = _problem(_loop(2.0))
    memory = Memory()
    cold = _trace(problem, memory)
    cells = memory._cells
    box = SQUARE
    if harm == "hole":
        memory._cells = cells.take(np.arange(len(cells)) != 20)
    elif harm == "twice":
        memory._cells = joined([cells, cells.take(np.array([3]))])
    else:
        box = Box((-3.0, -3.0), (3.0, 2.5))
        cold = _trace(problem, box=box)

    warm = _trace(problem, memory, box=box)

    assert warm.stats["boxes"] == cold.stats["boxes"]
    assert _said(warm) == _said(cold)


def test_tilings():
    """The whole, its quarters, quarters of quarters; not with a hole, an overlap or outside."""
    whole = Cells(np.array([0]), np.array([0]), np.array([0]))
    quarters = whole.children()
    finer = joined([quarters.take(np.array([0, 2, 3])), quarters.take(np.array([1])).children()])
    moved = Cells(quarters.level, quarters.i + 1, quarters.j)

    assert [tiles(c) for c in (whole, quarters, finer)] == [True] * 3
    assert not tiles(finer.take(np.arange(6)))
    assert not tiles(joined([finer, quarters.take(np.array([0]))]))
    assert not tiles(joined([finer.take(np.arange(6)), finer.take(np.array([0]))]))
    assert not tiles(moved)
    assert not tiles(joined([]))
