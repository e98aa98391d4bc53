"""Epochs short of time: the curve read off a grid is right, or is said not to be measured."""

from __future__ import annotations

import math

import numpy as np
import pytest
from zoo_networks import mlp

from nneq.api.boundary import Boundary
from nneq.api.equations import Equations
from nneq.callbacks import BoundaryRecorder, Settings
from nneq.callbacks.purse import Purse
from nneq.callbacks.section import Section
from nneq.callbacks.sketch import agrees, sketched

BOX = [(-3.0, 3.0), (-3.0, 3.0)]
CELL = 6 / 96


def _bumpy(shift):
    network = mlp(
        (2, 6, 2),
        "tanh",
        gain=3.0,
        seed=2,
        biases=[np.linspace(-1, 1, 6), np.array([shift, 0.0])],
    )
    return Boundary(Equations(network), "z_1", "z_2")


def _squares(*squares):
    """A ReLU network whose boundary are squares around ``(c, c)``, ``2 size - 0.01`` wide."""
    first, biases = [], []
    for centre, _ in squares:
        for direction in ((1.0, 1.0), (-1.0, -1.0), (1.0, -1.0), (-1.0, 1.0)):
            first.append(direction)
            biases.append(-centre * sum(direction))
    # roofs: relu(relu(2 size - |s|) + relu(2 size - |d|) - 2 size), s and d the diagonals
    count = len(squares)
    inner = np.zeros((4 * count, 2 * count))
    levels = np.zeros(2 * count)
    outer = np.zeros((2 * count, count))
    for k, (_, size) in enumerate(squares):
        inner[4 * k : 4 * k + 2, 2 * k] = -1.0
        inner[4 * k + 2 : 4 * k + 4, 2 * k + 1] = -1.0
        levels[2 * k : 2 * k + 2] = 2 * size
        outer[2 * k : 2 * k + 2, k] = 1.0
    last = np.zeros((count, 2))
    last[:, 0] = 1.0
    return mlp(
        (2, 4 * count, 2 * count, count, 2),
        "relu",
        weights=[np.array(first).T, inner, outer, last],
        biases=[
            np.array(biases),
            levels,
            np.array([-2 * s for _, s in squares]),
            np.array([-0.01, 0.0]),
        ],
    )


def _strip(width):
    """A ReLU network that is class 1 in a slanted strip of this width only."""
    across = np.array([[0.8, -0.8], [0.6, -0.6]])
    bend = np.array([[-1.0, 0.0], [-1.0, 0.0]])
    return mlp(
        (2, 2, 2), "relu", weights=[across, bend], biases=[np.zeros(2), np.array([width / 2, 0.0])]
    )


def _sketch(network):
    boundary = Boundary(Equations(network), "z_1", "z_2")
    part = boundary.frame.slice(BOX, free=2)
    section = Section(boundary.problem.network, part)
    return sketched(section, section.grid())


def _only_sketches(recorder, *, afford=False):
    """Leave no time for a trace, and plenty for a sketch."""
    recorder._purse.pay("trace", 0.1 if afford else 100.0)
    recorder._purse.pay("sketch", 0.01)
    recorder._purse.trained = 100.0


def test_a_sketch_lies_on_the_boundary_and_ends_at_the_rim():
    """Residuals at rounding level, ends on the edges of the box, the length of a trace."""
    new = _bumpy(0.02)
    part = new.frame.slice(BOX, free=2)
    g = new.problem.network
    section = Section(g, part)

    found = sketched(section, section.grid())

    assert found is not None
    assert np.abs(g(np.concatenate([c.points for c in found]))[:, 0]).max() < 1e-9
    for component in found:
        if not component.closed:
            ends = np.abs(component.points[[0, -1]]).max(axis=1)
            assert ends == pytest.approx([3.0, 3.0])
    traced = new.trace(BOX)
    assert agrees(found, traced.components)
    assert sum(c.length for c in found) == pytest.approx(traced.length, rel=2e-3)


@pytest.mark.parametrize("kind", ["tanh", "relu"])
def test_sketches_agree_with_traces_or_are_refused(kind):
    """Random networks: components, closed components and length are those of the trace."""
    seen = 0
    for seed in range(12):
        network = mlp(
            (2, 10, 2), kind, gain=3.0, seed=seed, biases=[np.linspace(-2, 2, 10), np.zeros(2)]
        )
        found = _sketch(network)
        if found is not None:
            seen += 1
            traced = Boundary(Equations(network), "z_1", "z_2").trace(BOX).components
            assert len(found) == len(traced), seed
            assert sum(c.closed for c in found) == sum(c.closed for c in traced)
            length = sum(c.length for c in traced)
            assert sum(c.length for c in found) == pytest.approx(length, rel=0.01)
    assert seen >= 9


@pytest.mark.parametrize(("width", "known"), [(0.03, False), (0.05, False), (0.5, True)])
def test_strips_too_thin_for_the_grid_are_refused(width, known):
    """A strip thinner than a cell would fall into islands."""
    assert (_sketch(_strip(width)) is not None) == known


def test_islands_too_small_for_the_grid_are_refused():
    """A closed component less than three cells wide has no length worth logging."""
    assert _sketch(_squares((0.03, CELL))) is None
    assert len(_sketch(_squares((0.03, 8 * CELL)))) == 1


def test_nothing_on_the_grid():
    """Without a boundary the sketch is empty, which is known."""
    network = mlp((2, 2), weights=[np.zeros((2, 2))], biases=[np.array([1.0, 0.0])])

    assert _sketch(network) == ()


def test_epochs_short_of_time_are_read_off_the_grid(tmp_path):
    """A component that appears between records is noticed, and nothing is called proven."""
    one, two = _squares((-1.5, 1.0)), _squares((-1.5, 1.0), (1.5, 0.7))
    recorder = BoundaryRecorder(box=BOX, jsonl=tmp_path / "run.jsonl")
    recorder.start(one)
    first = recorder.step(one, 0)
    _only_sketches(recorder)

    second = recorder.step(two, 1)

    recorder.close()
    traced = Boundary(Equations(two), "z_1", "z_2").trace(BOX)
    assert (first["boundary_complete"], second["boundary_complete"]) == (1.0, 0.0)
    assert (first["boundary_components"], second["boundary_components"]) == (1.0, 2.0)
    assert second["boundary_length"] == pytest.approx(traced.length, rel=0.02)  # cut corners
    assert second["boundary_shift"] == pytest.approx(2.7 * math.sqrt(2), rel=0.02)


def test_what_the_grid_cannot_see_is_not_made_up():
    """Refused numbers are NaN; where every epoch is watched, they are proven instead."""
    networks = _strip(0.5), _strip(0.02)
    for monitored in (False, True):
        recorder = BoundaryRecorder(box=BOX, monitored=monitored)
        recorder.start(networks[0])
        recorder.step(networks[0], 0)
        _only_sketches(recorder)

        found = recorder.step(networks[1], 1)

        assert found["boundary_area_1"] == pytest.approx(0.02 * 7 / 36, rel=0.5)
        assert found["boundary_complete"] == float(monitored)
        names = ("components", "closed", "length", "shift")
        assert [math.isnan(found[f"boundary_{name}"]) for name in names] == [not monitored] * 4
        again = recorder.step(networks[1], 2)
        assert [math.isnan(again[f"boundary_{name}"]) for name in names] == [not monitored] * 4


def test_a_grid_that_missed_a_proven_piece_is_not_used():
    """After a trace that saw more than the grid, sketches are refused until one agrees again."""
    tiny, large = _squares((-1.5, 1.0), (1.5, 0.02)), _squares((-1.5, 1.0), (1.53, 0.7))
    recorder = BoundaryRecorder(box=BOX)
    recorder.start(tiny)
    first = recorder.step(tiny, 0)
    _only_sketches(recorder)

    second = recorder.step(tiny, 1)

    assert first["boundary_components"] == 2.0
    assert math.isnan(second["boundary_components"])
    recorder.start(large)
    recorder.step(large, 0)
    _only_sketches(recorder)
    assert recorder.step(large, 1)["boundary_components"] == 2.0
    assert recorder.step(large, 2)["boundary_shift"] == 0.0


def test_the_cheaper_is_chosen():
    """A trace that costs about a sketch is made instead, from both purses; else it is not."""
    purse = Purse(Settings(box=BOX), monitored=True)
    purse.pay("trace", 0.03)
    assert purse.due(1, curve=True) == "sketch"
    purse.pay("sketch", 0.025)
    assert purse.due(2, curve=True) == "trace"
    for _ in range(5):
        purse.pay("trace", 0.3)
    assert purse.due(3, curve=True) == "sketch"

    saving = Purse(Settings(box=BOX))
    saving.pay("trace", 0.03)
    saving.pay("sketch", 0.025)
    assert saving.due(1, curve=True) is None
    saving.trained = 0.085 / 0.04 + 0.01
    assert saving.due(1, curve=True) == "trace"
    saving.pay("trace", 0.03)
    assert saving.due(1, curve=True) is None


def test_solutions_and_regions_of_a_sketched_epoch(tmp_path):
    """Nothing stale: NaN, and with ``monitored`` the lines are solved again."""
    for monitored in (False, True):
        options = {"solve_for": "x_1", "at": {"x_2": 0.0}, "regions": True}
        recorder = BoundaryRecorder(box=BOX, monitored=monitored, **options)
        recorder.start(_strip(0.5))
        recorder.step(_strip(0.5), 0)
        _only_sketches(recorder)

        found = recorder.step(_strip(0.6), 1)

        assert found["boundary_components"] == 2.0
        assert math.isnan(found["boundary_regions"])
        assert found["boundary_roots"] == 2.0 if monitored else math.isnan(found["boundary_roots"])


def test_traces_give_way_to_sketches_that_must_be_made():
    """Where every epoch is measured, traces get what the sketches leave, and 1 % at least."""
    dues = {}
    for monitored in (False, True):
        purse = Purse(Settings(box=BOX), monitored=monitored)
        purse.pay("trace", 1.0)
        for _ in range(10):
            purse.pay("sketch", 0.5)
        purse.trained = 60.0
        dues[monitored] = purse.due(1, curve=True)
        purse.trained = 201.0
        assert purse.due(2, curve=True) == "trace"

    assert dues == {False: None, True: "sketch"}
