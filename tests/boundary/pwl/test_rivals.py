"""Decision boundaries of piecewise-linear networks when the budget ends among the rivals."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from boundary.pwl.networks import given, problem
from boundary_networks import rival_network

from nneq.boundary.pwl.lines import solve_lines
from nneq.boundary.pwl.nearest import nearest_point
from nneq.boundary.pwl.trace import trace_plane
from nneq.boundary.results import Box, Budget, Clock
from nneq.boundary.smooth.search import values


class _Ending(Clock):
    """A clock that is over after it was looked at so many times."""

    def __init__(self, looks):
        super().__init__(Budget(boxes=50))
        self.looks = looks

    @property
    def over(self):
        """Whether the looks are used up."""
        self.looks -= 1
        return self.looks < 0


def _question(inputs):
    """Return z_1 - z_2 = 2 x_1 where z_3 wins everywhere, with relu units."""
    hidden = np.zeros((2, inputs))
    hidden[:, 0] = 1.0, -1.0
    network = given(
        [
            (hidden, np.zeros(2)),
            (np.array([[1.0, -1.0], [-1.0, 1.0], [1.0, 1.0]]), np.array([0.0, 0.0, 1.0])),
        ]
    )
    return dataclasses.replace(problem(network), rivals=rival_network(network, 0, 1))


@pytest.mark.parametrize("looks", range(30))
def test_lines_keep_no_root_that_a_rival_wins_as_proven(looks):
    """However early the budget ends, x_1 = 0 is dropped or undecided, never a complete answer."""
    found = solve_lines(
        _question(1), np.array([[0.1]]), np.array([1.0]), (-1.0, 1.0), clock=_Ending(looks)
    )[0]

    assert not (found.complete and len(found))


@pytest.mark.parametrize("looks", range(0, 60, 3))
def test_nearest_gives_no_witness_that_a_rival_wins(looks):
    """However early the budget ends, no point at which the third output is larger is returned."""
    found = nearest_point(_question(3), np.array([0.3, 0.1, 0.2]), "l2", clock=_Ending(looks))

    assert found.point is None


@pytest.mark.parametrize("looks", range(0, 60, 2))
def test_traces_are_complete_only_when_the_rivals_were_asked(looks):
    """A curve that the third output does not win is whole, or said to be incomplete."""
    network = given(
        [
            (np.array([[1.0, 0.0], [-1.0, 0.0]]), np.zeros(2)),
            (np.array([[1.0, -1.0], [-1.0, 1.0], [1.0, 1.0]]), np.array([0.0, 0.0, -1.0])),
        ]
    )
    question = dataclasses.replace(problem(network), rivals=rival_network(network, 0, 1))
    found = trace_plane(
        question, np.zeros(2), np.eye(2), Box((-1.0, -1.0), (1.1, 1.0)),
        names=("x_1", "x_2"), clock=_Ending(looks),
    )  # fmt: skip
    length = sum(component.length for component in found.components)

    assert not found.complete or abs(length - 2.0) < 1e-9


def test_rivals_are_still_asked_when_there_is_time():
    """Without a limit the root is dropped and the answer complete."""
    question = _question(1)
    found = solve_lines(
        question, np.array([[0.1]]), np.array([1.0]), (-1.0, 1.0), clock=Budget().start()
    )[0]

    assert found.complete
    assert not len(found)
    assert values(question.rivals, np.zeros((1, 1)))[0, 0] < 0
