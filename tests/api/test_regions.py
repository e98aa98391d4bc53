"""Linear regions from the front door: slices, exact arithmetic, refusals."""

from __future__ import annotations

import numpy as np
import pytest
from zoo_networks import mlp

from nneq.api.equations import Equations
from nneq.boundary.results import Exact
from nneq.errors import NneqError, UnsupportedError

BOX = [(-2, 2), (-2, 2)]


def _area(vertices):
    x, y = vertices[:, 0], vertices[:, 1]
    return 0.5 * abs(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1)))


@pytest.mark.parametrize("exact", [False, True])
def test_regions_fill_the_box(exact):
    """The polygons' areas sum to the box and each one's map is the network's."""
    equations = Equations(mlp((2, 6, 2), "relu", gain=2.0, last=None))

    found = equations.boundary("z_1", "z_2").regions(BOX, exact=exact)

    assert found.complete
    assert sum(_area(region.vertices) for region in found.regions) == pytest.approx(16.0)
    for region in found.regions:
        centre = region.vertices.mean(axis=0)
        np.testing.assert_allclose(region.W @ centre + region.b, equations(centre), atol=1e-9)


def test_a_slice_of_many_inputs():
    """``vary`` gives any plane of a high-dimensional input."""
    equations = Equations(mlp((12, 8, 2), "relu", gain=2.0, last=None))
    random = np.random.default_rng(0)
    origin, first, second = random.normal(size=(3, 12))

    found = equations.boundary("z_1", "z_2").regions(vary=(origin, first, second))

    assert found.names == ("s", "t")
    for region in found.regions:
        s, t = region.vertices.mean(axis=0)
        outputs = equations(origin + s * first + t * second)
        np.testing.assert_allclose(region.W @ [s, t] + region.b, outputs, atol=1e-9)


@pytest.mark.parametrize("exact", [False, True])
@pytest.mark.parametrize("inputs", [2, 3])
def test_maps_of_regions_hold_where_an_output_unit_was_cancelled(inputs, exact):
    """A leaky ReLU behind both outputs bends them inside the regions of g, which g does not."""
    network = mlp((inputs, 4, 2), "leaky_relu", gain=2.0, last="leaky_relu")
    boundary = Equations(network).boundary("z_1", "z_2")
    reduced = boundary.reduced
    random = np.random.default_rng(1)

    found = boundary.regions([(-2, 2)] * inputs, exact=exact)

    assert found.complete
    for region in found.regions:
        shares = random.dirichlet(np.ones(len(region.vertices)), 20)
        for point in shares @ region.vertices:
            value = region.W @ point + region.b
            np.testing.assert_allclose(value, reduced(point), atol=1e-9)


def test_refusals():
    """Decision boundaries, parallel directions and smooth networks are refused with the way out."""
    equations = Equations(mlp((2, 4, 3), "relu"))
    with pytest.raises(UnsupportedError, match="use trace"):
        equations.boundary("z_1", "z_2", decision=True).regions(BOX)
    with pytest.raises(NneqError, match="must span a plane"):
        equations.boundary("z_1", "z_2").regions(vary=([0, 0], [1, 0], [2, 0]))
    with pytest.raises(NneqError, match="regions need a box"):
        equations.boundary("z_1", "z_2").regions()
    smooth = Equations(mlp((2, 4, 3), "tanh"))
    with pytest.raises(UnsupportedError, match="in the way: tanh"):
        smooth.boundary("z_1", "z_2").regions(BOX)


def test_exact_surfaces_from_the_front_door():
    """``exact=True`` gives the same facets in rational arithmetic, and refuses smooth networks."""
    b = Equations(mlp((3, 6, 2), "relu", gain=2.0, last=None)).boundary("z_1", "z_2")
    box = [(-2, 2)] * 3
    found, exact = b.surface(box), b.surface(box, exact=True)

    assert isinstance(exact.certificate, Exact)
    assert found.stats["facets"] == exact.stats["facets"] > 0
    with pytest.raises(UnsupportedError, match="piecewise-linear"):
        Equations(mlp((3, 6, 2), "tanh", last=None)).boundary("z_1", "z_2").surface(box, exact=True)
