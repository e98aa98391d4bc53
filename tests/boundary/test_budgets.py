"""A second is a second, also where one step would be long or large."""

from __future__ import annotations

import resource
import time

import numpy as np
import pytest
from certified_networks import mlp

from nneq.api.importing import to_equations
from nneq.boundary.pwl import answers
from nneq.boundary.results import Budget, Status
from nneq.boundary.smooth.cells import DEEPEST, Cells, Frame
from nneq.boundary.smooth.plane import _boxes

SECOND = Budget(seconds=1)


def assert_quick(ask):
    """The call ends with its budget of a second, give or take a step; the answer is returned.

    The bound is far above the budget, so that a busy machine does not fail it, and far below what
    the calls took before they watched their clocks (25 s and more).
    """
    begun = time.process_time()

    found = ask()

    assert time.process_time() - begun < 10
    return found


def hostile():
    """Return a boundary of rounded, huge and saturated units that is often flat."""
    network = mlp((2, 32, 32, 32, 2), ("round", "exp", "erf"), gain=4.0)
    return to_equations(network).boundary("z_1", "z_2")


@pytest.mark.parametrize("method", ["solve", "along", "trace", "nearest", "excludes"])
def test_hostile_network(method):
    """Every question on layers of round, exp and erf ends with its budget."""
    boundary = hostile()
    box = [(-3, 3), (-3, 3)]
    calls = {
        "solve": lambda: boundary.solve("x_1", at={"x_2": 0.3}, budget=SECOND),
        "along": lambda: boundary.along([-3, -3], [3, 3], budget=SECOND),
        "trace": lambda: boundary.trace(box, budget=SECOND),
        "nearest": lambda: boundary.nearest([0.1, 0.2], budget=SECOND),
        "excludes": lambda: boundary.excludes(box, budget=SECOND),
    }

    found = assert_quick(calls[method])

    assert found.status in Status


def test_asymptotes_of_a_wide_layer():
    """Thousands of critical directions are tried for as long as the budget says."""
    network = mlp((2, 256, 256, 2), ("tanh",) * 2)
    boundary = to_equations(network).boundary("z_1", "z_2")

    found = assert_quick(lambda: boundary.asymptotes(budget=SECOND))

    assert not found.complete


def test_wide_exact_line():
    """Rational arithmetic in wide layers stops inside a layer."""
    boundary = to_equations(mlp((2, 512, 512, 512, 2), ("relu",) * 3)).boundary("z_1", "z_2")

    found = assert_quick(lambda: boundary.solve("x_1", at={"x_2": 0.3}, exact=True, budget=SECOND))

    assert not found.complete
    assert found.status is Status.BUDGET


def test_many_wide_lines_stay_small():
    """Fifty lines through wide layers are cut in parts before a layer fills the memory."""
    boundary = to_equations(mlp((2, 512, 512, 512, 2), ("relu",) * 3)).boundary("z_1", "z_2")
    at = {"x_2": np.linspace(-1, 1, 50)}
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    found = boundary.solve("x_1", at=at, budget=SECOND)

    assert len(found) == 50
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 600_000


def test_many_undecided_cells():
    """Very many undecided cells become few boxes that cover them, quickly."""
    count = 512
    i, j = (part.reshape(-1) for part in np.meshgrid(np.arange(count), np.arange(count)))
    keep = (i + j) % 2 == 0
    cells = Cells(np.full(keep.sum(), 9), i[keep], j[keep])

    boxes = assert_quick(lambda: _boxes(cells, Frame((0.0, 0.0), (1.0, 1.0))))

    assert DEEPEST > 9
    assert [(box.low, box.high) for box in boxes] == [((0.0, 0.0), (1.0, 1.0))]


def test_interrupted_exact_line(monkeypatch):
    """Ctrl-C in rational arithmetic ends the call: nothing is computed again afterwards."""
    calls = []

    def pressed(*_):
        calls.append(1)
        raise KeyboardInterrupt

    monkeypatch.setattr(answers, "exact_pieces", pressed)
    boundary = to_equations(mlp((2, 4, 2), ("relu",))).boundary("z_1", "z_2")

    found = boundary.solve("x_1", at={"x_2": 0.3}, exact=True)

    assert len(calls) == 1
    assert found.status is Status.INTERRUPTED
    assert not found.complete


def test_a_limit_on_memory_ends_the_search():
    """A budget of memory that is used up ends the search like any other budget."""
    budget = Budget(memory=1)
    clock = budget.start()
    held = np.ones(8_000_000)

    assert clock.over
    assert held.size
