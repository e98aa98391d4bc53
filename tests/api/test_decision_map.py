"""The decision map from the front door: names, areas, junctions."""

from __future__ import annotations

import numpy as np
import pytest
from zoo_networks import mlp

from nneq.api.equations import Equations
from nneq.errors import NneqError


def test_three_sectors():
    """Three linear outputs divide the plane into sectors that meet in one proven junction."""
    angles = 2 * np.pi * np.arange(3) / 3
    w = np.stack([np.cos(angles), np.sin(angles)])
    bias = -(w.T @ np.array([0.25, -0.125]))
    equations = Equations(mlp((2, 3), weights=[w], biases=[bias], dtype="float64"))

    found = equations.decision_map([(-1, 1), (-1, 1)])

    assert found.complete
    assert set(found.curves) == {("z_1", "z_2"), ("z_1", "z_3"), ("z_2", "z_3")}
    assert len(found.junctions) == 1
    np.testing.assert_allclose(found.junctions[0].point, [0.25, -0.125], atol=1e-9)
    assert set(found.junctions[0].outputs) == {"z_1", "z_2", "z_3"}
    assert sum(region.area for region in found.regions) == pytest.approx(4.0)


def test_one_output():
    """A single output has no decision; the level set is named instead."""
    with pytest.raises(NneqError, match=r"level set boundary\('z_1', 0\.5\)"):
        Equations(mlp((2, 3, 1), last="sigmoid")).decision_map([(-1, 1), (-1, 1)])
