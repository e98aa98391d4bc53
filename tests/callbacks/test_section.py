"""The grid in single precision: signs, and values beside the curve, are those of float64."""

from __future__ import annotations

import numpy as np
import pytest
from zoo_networks import mlp

from nneq.api.boundary import Boundary
from nneq.api.equations import Equations
from nneq.callbacks.section import CELLS, Section, _chain, cell_points

BOX = [(-3.0, 3.0), (-3.0, 3.0)]


def _section(network, box=BOX, at=None):
    boundary = Boundary(Equations(network), "z_1", "z_2")
    return Section(boundary.problem.network, boundary.frame.slice(box, at, free=2))


def _float64(section):
    across, up = np.meshgrid(*section.axes, indexing="ij")
    values = section(np.stack([across.ravel(), up.ravel()], axis=1))
    return values.reshape(CELLS + 2, CELLS + 2)


@pytest.mark.parametrize("kind", ["tanh", "relu", "sigmoid"])
@pytest.mark.parametrize("gain", [0.01, 3.0, 40.0])
def test_signs_and_crossed_edges_are_those_of_float64(kind, gain):
    """Every sign, and both ends of every edge with two signs; the rest to single precision."""
    section = _section(mlp((2, 20, 20, 2), kind, gain=gain, seed=1))
    found, exact = section.grid(), _float64(section)

    assert section._single() is not None
    assert np.array_equal(found > 0, exact > 0)
    change = (exact[1:] > 0) != (exact[:-1] > 0)
    scale = np.abs(exact).max()
    for part in (np.s_[1:], np.s_[:-1]):  # float64 in another order of summation
        assert np.abs(found[part] - exact[part])[change].max(initial=0.0) < 1e-13 * scale
    rough, error = section._single()
    assert np.abs(rough - exact).max() <= error
    assert np.abs(rough - exact).max() > 0


def test_a_boundary_through_nodes_keeps_the_signs():
    """Where g is 0 or rounding at a whole line of nodes, float64 decides."""
    weights = [np.array([[1.0, 1.0], [0.0, 0.0]]), np.array([[1.0, -1.0], [0.0, 0.0]])]
    node = _section(mlp((2, 2))).axes[0][40]
    biases = [np.array([-node, 0.0]), np.zeros(2)]
    section = _section(mlp((2, 2, 2), weights=weights, biases=biases, dtype="float64"))

    found, exact = section.grid(), _float64(section)

    assert np.array_equal(found > 0, exact > 0)
    assert np.array_equal(found[40], exact[40])


@pytest.mark.parametrize("scale", [1e20, 1e35, 1e150])
def test_weights_beyond_single_precision(scale):
    """What would overflow is evaluated in float64."""
    weights = [np.random.default_rng(3).normal(size=s) * scale for s in ((2, 4), (4, 2))]
    network = mlp(
        (2, 4, 2), "relu", weights=weights, biases=[np.ones(4), np.ones(2)], dtype="float64"
    )
    section = _section(network)

    assert np.array_equal(section.grid(), _float64(section))


@pytest.mark.parametrize(
    "scales",
    [
        (2.0**-146, 1.0, 1.0),
        (1.0, 2.0**-146, 1.0),
        (1.0, 1.0, 2.0**-146),
        (2.0**-70, 2.0**-70, 1.0),
        (2.0**-140, 2.0**130, 1.0),
    ],
)
@pytest.mark.parametrize("kind", ["relu", "tanh"])
def test_numbers_at_the_ends_of_single_precision(kind, scales):
    """The bound holds where single precision loses digits, and where a weight would overflow."""
    random = np.random.default_rng(3)
    sizes = zip([(2, 4), (4, 4), (4, 2)], scales, strict=True)
    # few bits, so that the difference of two outputs is a plain layer
    weights = [random.integers(-31, 32, size=size) / 32 * scale for size, scale in sizes]
    biases = [np.zeros(4), np.zeros(4), np.zeros(2)]
    network = mlp((2, 4, 4, 2), kind, weights=weights, biases=biases, dtype="float64")
    section = _section(network)
    exact, rough = _float64(section), section._single()

    assert _chain(section.network) is not None
    assert np.array_equal(section.grid() > 0, exact > 0)
    assert rough is None or np.abs(rough[0] - exact).max() <= rough[1]


def test_networks_that_are_no_chain():
    """Other activations and outputs are evaluated in float64 whole."""
    section = _section(mlp((2, 6, 2), "softplus", seed=2))

    assert section._single() is None
    assert np.array_equal(section.grid(), _float64(section))


def test_a_plane_among_more_inputs():
    """The fixed inputs enter the first layer's bias."""
    section = _section(
        mlp((4, 9, 2), seed=5), {"x_2": (-1, 1), "x_4": (0, 2)}, {"x_1": 3, "x_3": -2}
    )

    assert np.array_equal(section.grid() > 0, _float64(section) > 0)


def test_every_so_many_cells():
    """The chosen cells are those of the full list."""
    part = _section(mlp((2, 2))).part

    assert np.array_equal(cell_points(part)[::61], cell_points(part, 61))
