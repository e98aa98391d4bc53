"""The distance of one input to the boundary of every pair of outputs."""

from __future__ import annotations

import pytest
from zoo_networks import mlp

from nneq.api.equations import Equations


@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_distances(activation):
    """Every pair has a proven lower bound below the distance of the point found."""
    equations = Equations(mlp((2, 6, 3), activation, gain=3.0, seed=1))

    found = equations.explain([0.2, -0.1]).distances()

    assert set(found) == {("z_1", "z_2"), ("z_1", "z_3"), ("z_2", "z_3")}
    assert all(0 <= near.lower_bound <= near.distance for near in found.values())
