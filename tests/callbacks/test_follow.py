"""The warm start: the last curve moved onto the new boundary."""

from __future__ import annotations

import numpy as np
from zoo_networks import mlp

from nneq.api.boundary import Boundary
from nneq.api.equations import Equations
from nneq.callbacks import BoundaryRecorder
from nneq.callbacks.follow import followed

BOX = [(-3.0, 3.0), (-3.0, 3.0)]


def _boundary(shift):
    network = mlp(
        (2, 6, 2),
        "tanh",
        gain=3.0,
        seed=2,
        biases=[np.linspace(-1, 1, 6), np.array([shift, 0.0])],
    )
    return Boundary(Equations(network), "z_1", "z_2")


def test_a_followed_curve_lies_on_the_new_boundary():
    """The vertices have residuals at rounding level (cut ends apart) and the length fits."""
    old, new = _boundary(0.0), _boundary(0.02)
    part = new.frame.slice(BOX, free=2)
    before = old.trace(BOX).components

    found = followed(new.problem.network, part, before)

    points = np.concatenate([c.points for c in found])
    assert np.median(np.abs(new.problem.network(points)[:, 0])) < 1e-12
    traced = new.trace(BOX)
    assert abs(sum(c.length for c in found) - traced.length) < 0.02 * traced.length


def test_nothing_to_follow():
    """Without an earlier curve nothing is found."""
    new = _boundary(0.0)

    assert followed(new.problem.network, new.frame.slice(BOX, free=2), ()) == ()


def test_epochs_short_of_time_follow(tmp_path):
    """Where a trace does not fit, records are followed and say that nothing is proven."""
    recorder = BoundaryRecorder(box=BOX, jsonl=tmp_path / "run.jsonl")
    network = _boundary(0.0).equations.network
    recorder.start(network)
    recorder.begin_epoch()
    first = recorder.step(network, 0)
    recorder._purse.pay("trace", 100.0)
    recorder._purse.pay("follow", 0.01)
    recorder._purse.trained = 100.0

    second = recorder.step(_boundary(0.05).equations.network, 1)

    recorder.close()
    assert first["boundary_complete"] == 1.0
    assert second["boundary_complete"] == 0.0
    assert 0 < second["boundary_shift"] < 1.0
