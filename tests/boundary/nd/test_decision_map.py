"""Decision maps: curves, proven junctions and areas against label grids and known answers."""

from __future__ import annotations

import numpy as np
import pytest
from boundary_networks import layers, question, random_layers

from nneq.boundary.results import Box, Budget, Enclosed, Status
from nneq.boundary.smooth.decision_map import decision_map
from nneq.boundary.smooth.search import values
from nneq.errors import NneqError, UnsupportedError
from nneq.ir.network import Network, Port, Softmax
from nneq.passes.pairs import pair_differences


def _ask(network, box, *, origin=None, budget=None):
    n = network.input_size
    origin = np.zeros(n) if origin is None else origin
    clock = (budget or Budget(seconds=60)).start()
    return decision_map(network, origin, np.eye(n)[:, :2], box, names=("x_1", "x_2"), clock=clock)


def _labels(network, box, origin, count):
    n = network.input_size
    axes = [
        a + (b - a) * (np.arange(count) + 0.5) / count
        for a, b in zip(box.low, box.high, strict=True)
    ]
    points = np.zeros((count * count, n)) + origin
    points[:, :2] += np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 2)
    return values(network, points).argmax(axis=1).reshape(count, count)


def _meetings(labels):
    """Return the centres (in cells) of clusters of 2 x 2 blocks with three labels."""
    blocks = np.stack([labels[1:, 1:], labels[:-1, 1:], labels[1:, :-1], labels[:-1, :-1]], axis=-1)
    kinds = (np.diff(np.sort(blocks, axis=-1), axis=-1) != 0).sum(axis=-1) + 1
    return np.argwhere(kinds >= 3) + 1.0


def assert_equals_grid(network, box, found, origin=None, count=400):
    """Check areas and junctions against a grid of labels."""
    origin = np.zeros(network.input_size) if origin is None else origin
    labels = _labels(network, box, origin, count)
    size = np.array(box.high) - np.array(box.low)
    whole = np.prod(size)
    areas = {region.output: region for region in found.regions}
    for label in np.unique(labels):
        region = areas[int(label)]
        share = (labels == label).mean() * whole
        assert region.lower - 0.02 * whole <= share <= region.upper + 0.02 * whole
        assert abs(region.area - share) < 0.005 * whole
        assert region.lower <= region.area <= region.upper
    assert abs(sum(r.area for r in found.regions) - whole) < 0.002 * whole
    places = np.array(box.low) + _meetings(labels) / count * size
    points = np.array([j.point for j in found.junctions]).reshape(-1, 2)
    for place in places:
        assert np.abs(points - place).max(axis=1).min() < 3 * (size / count).max()
    for junction in found.junctions:
        assert isinstance(junction.certificate, Enclosed)
        x = origin.copy()
        x[:2] += junction.point
        scores = values(network, x[None])[0]
        top = scores[list(junction.outputs)]
        assert np.ptp(top) < 1e-9
        assert scores.max() <= top.max() + 1e-9
        assert np.all(np.array(junction.box.low) <= junction.point)
        assert np.all(junction.point <= np.array(junction.box.high))


def test_three_half_planes_meet_in_one_known_point():
    """Affine scores: the junction is the solution of two linear equations."""
    weight = np.array([[1.0, 0.3], [-0.8, 0.9], [0.1, -1.1]])
    bias = np.array([0.2, -0.1, 0.15])
    network = layers([(weight, bias)], [])
    box = Box((-2.0, -2.0), (2.1, 1.9))
    found = _ask(network, box)
    rows = np.stack([weight[0] - weight[1], weight[0] - weight[2]])
    point = np.linalg.solve(rows, [bias[1] - bias[0], bias[2] - bias[0]])

    assert found.complete
    assert 1 == len(found.junctions)
    assert np.abs(found.junctions[0].point - point).max() < 1e-12
    assert {(0, 1), (0, 2), (1, 2)} == set(found.curves)
    assert_equals_grid(network, box, found)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("classes", [3, 4])
def test_random_networks_equal_the_label_grid(seed, classes):
    """Junctions and areas of random networks equal a fine grid's; every junction is unique."""
    network = random_layers(seed, [2, 10, 10, classes], gain=1.5)
    box = Box((-2.0, -2.0), (2.0, 2.0))
    found = _ask(network, box)

    assert found.complete
    assert_equals_grid(network, box, found)
    for k, first in enumerate(found.junctions):
        for second in found.junctions[k + 1 :]:
            if first.outputs == second.outputs:
                assert np.abs(first.point - second.point).max() > 1e-9


@pytest.mark.parametrize("seed", [0, 3, 5])
def test_curves_end_exactly_at_the_junctions(seed):
    """The three curves of a junction share its point as their end, and no other loose ends."""
    network = random_layers(seed, [2, 10, 10, 3], gain=2.2)
    box = Box((-2.0, -2.0), (2.0, 2.0))
    found = _ask(network, box)
    ends = [
        tuple(point)
        for curve in found.curves.values()
        for component in curve.components
        for point in component.points[[0, -1]]
        if not component.closed
    ]
    inner = [end for end in ends if max(abs(end[0]), abs(end[1])) < 2.0]
    wanted = [tuple(junction.point) for junction in found.junctions for _ in range(3)]

    assert len(found.junctions) > 0
    assert sorted(wanted) == sorted(inner)


@pytest.mark.parametrize("more", [1, 70, 300, 600])
def test_a_budget_that_ends_while_curves_are_traced_is_not_complete(more):
    """Nothing is called complete when the boxes were used up after the junctions were proven."""
    network = random_layers(0, [2, 10, 10, 3], gain=2.2)
    box = Box((-2.0, -2.0), (2.0, 2.0))
    whole = _ask(network, box)
    found = _ask(network, box, budget=Budget(boxes=whole.stats["cells"] + more))

    assert len(whole.junctions) > 0
    assert whole.complete
    assert not found.complete
    assert Status.BUDGET == found.status
    assert len(found.undecided) > 0


@pytest.mark.parametrize("radius", [1e-2, 1e-4, 1e-6])
def test_a_tiny_region_is_listed(radius):
    """An output that is the largest in a tiny disc only has a closed curve and a region."""
    weight = np.array([[0.0, 0.0], [-1.0, -1.0], [0.0, 0.0]])
    bias = np.array([0.0, radius**2, -1.0])
    shift = np.array([-0.3, 0.4])
    network = layers([(np.eye(2), shift), (weight, bias)], ["square"])
    found = _ask(network, Box((-2.0, -2.0), (2.1, 1.9)))
    areas = {region.output: region for region in found.regions}

    assert found.complete
    assert [(0, 1)] == list(found.curves)
    assert [True] == [c.closed for c in found.curves[0, 1].components]
    assert {0, 1} == set(areas)
    assert areas[1].lower <= np.pi * radius**2 <= areas[1].upper


def test_slices_of_many_inputs_and_softmax():
    """Softmax changes nothing; other inputs are fixed by the origin."""
    network = random_layers(5, [6, 12, 12, 3])
    nodes = (*network.nodes, Softmax((3,), len(network.nodes) - 1, 0))
    soft = Network(nodes, network.inputs, (Port("p", len(nodes) - 1, (3,)),))
    origin = np.random.default_rng(0).normal(size=6)
    origin[:2] = 0
    box = Box((-2.0, -2.0), (2.0, 2.0))
    plain, found = _ask(network, box, origin=origin), _ask(soft, box, origin=origin)

    assert found.complete
    assert len(plain.junctions) == len(found.junctions)
    assert_equals_grid(network, box, found, origin)


def test_two_classes_have_one_curve():
    """With two outputs there are no junctions and the map is the trace."""
    network = random_layers(7, [2, 8, 8, 2])
    box = Box((-2.0, -2.0), (2.0, 2.0))
    found = _ask(network, box)

    assert found.complete
    assert () == found.junctions
    assert set(found.curves) <= {(0, 1)}
    assert_equals_grid(network, box, found)


def test_a_class_that_never_wins_is_not_shown():
    """An output far below the others has no region and no curve."""
    network = layers([(np.array([[1.0, 0], [-1, 0], [0, 0]]), np.array([0.0, 0, -50]))], [])
    found = _ask(network, Box((-1.0, -1.0), (1.0, 1.3)))

    assert found.complete
    assert {0, 1} == {r.output for r in found.regions}
    assert {(0, 1)} == set(found.curves)


def test_four_classes_in_one_point_stay_undecided():
    """A point where four outputs tie is no simple junction: it is returned as undecided."""
    weight = np.array([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])
    found = _ask(layers([(weight, np.zeros(4))], []), Box((-1.0, -1.1), (1.2, 1.0)))

    assert not found.complete
    assert any(
        np.all(np.array(b.low) <= 1e-6) and np.all(np.array(b.high) >= -1e-6)
        for b in found.undecided
    )


def test_budget_keeps_what_is_known():
    """A tiny budget: not complete, the bounds of the areas still hold."""
    network = random_layers(1, [2, 10, 10, 3])
    box = Box((-2.0, -2.0), (2.0, 2.0))
    found = _ask(network, box, budget=Budget(boxes=1))
    labels = _labels(network, box, np.zeros(2), 200)

    assert not found.complete
    assert found.status is Status.BUDGET
    for region in found.regions:
        share = (labels == region.output).mean() * 16
        assert region.lower - 0.1 <= share <= region.upper + 0.1


def test_bad_questions_are_refused():
    """One output, or too many: a clear error with the way out."""
    box = Box((-1.0, -1.0), (1.0, 1.0))

    with pytest.raises(NneqError, match="two or more outputs"):
        _ask(random_layers(0, [2, 4, 1]), box)
    with pytest.raises(UnsupportedError, match="41 outputs compares 820 pairs"):
        _ask(random_layers(0, [2, 4, 41]), box)


def test_pair_differences_are_exact():
    """Stacked differences equal the single ones in exact arithmetic."""
    from fractions import Fraction

    network = random_layers(3, [3, 5, 4])
    pairs = [(0, 1), (2, 3), (1, 3)]
    stacked = pair_differences(network, pairs)
    layer = stacked.nodes[-1]
    source = network.nodes[-1]
    weight, bias = source.terms[0].map.weight, source.bias
    total = np.zeros((3, 5), dtype=object)
    for term in layer.terms:
        matrix = term.map.dense()
        if matrix.shape == (3, 5):
            total = total + np.vectorize(Fraction)(matrix)
    exact = np.vectorize(Fraction)(weight.astype(float))

    for row, (i, j) in enumerate(pairs):
        assert np.all(total[row] == exact[i] - exact[j])
    points = np.random.default_rng(0).normal(size=(50, 3))
    scores = values(network, points)
    assert np.allclose(
        np.stack([scores[:, i] - scores[:, j] for i, j in pairs], axis=1), values(stacked, points)
    )
    assert bias.shape == (4,)
    assert question(network).network.output_size == 1
