"""Surfaces in three dimensions: topology, closed meshes, nothing missed."""

from __future__ import annotations

import numpy as np
import pytest
from boundary_networks import layers, question, random_layers, sphere

from nneq.boundary.results import Box, Budget, Enclosed, Status
from nneq.boundary.smooth.search import values
from nneq.boundary.smooth.space import trace_space
from nneq.boundary.smooth.tetrahedra import BITS, cut, uneven, unpacked
from nneq.ir.linear_map import Dense
from nneq.ir.network import Affine, Elementwise, Input, Network, Port, Product, Term


def _ask(problem, box, *, origin=None, directions=None, budget=None):
    n = problem.network.input_size
    origin = np.zeros(n) if origin is None else origin
    directions = np.eye(n)[:, :3] if directions is None else directions
    clock = (budget or Budget(seconds=60)).start()
    return trace_space(problem, origin, directions, box, names=("x_1", "x_2", "x_3"), clock=clock)


def _edges(faces):
    pairs = np.sort(np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]), axis=1)
    return np.unique(pairs, axis=0, return_counts=True)


def assert_closed_in(surface, box):
    """Check that every edge has two triangles, or one on the rim of the box, and orientation."""
    edges, counts = _edges(surface.faces)
    assert counts.max() <= 2
    low, high = np.array(box.low), np.array(box.high)
    ends = surface.vertices[edges[counts == 1]]
    on_rim = np.isclose(ends, low, atol=1e-12) | np.isclose(ends, high, atol=1e-12)
    assert on_rim.all(axis=1).any(axis=1).all()
    directed = np.concatenate(
        [surface.faces[:, [0, 1]], surface.faces[:, [1, 2]], surface.faces[:, [2, 0]]]
    )
    assert len(np.unique(directed, axis=0)) == len(directed)


def _euler(surface):
    edges, _ = _edges(surface.faces)
    return len(np.unique(surface.faces)) - len(edges) + len(surface.faces)


def _components(surface):
    from scipy import sparse

    edges, _ = _edges(surface.faces)
    size = len(surface.vertices)
    graph = sparse.coo_matrix((np.ones(len(edges)), edges.T), (size, size))
    return sparse.csgraph.connected_components(graph, directed=False)[0]


def _area(surface):
    a, b, c = (surface.vertices[surface.faces[:, k]] for k in range(3))
    return 0.5 * np.linalg.norm(np.cross(b - a, c - a), axis=1).sum()


def test_a_sphere_is_a_closed_surface():
    """The symmetric sphere, whose poles touch grid planes: area, volume, Euler number 2."""
    box = Box((-1.5,) * 3, (1.5,) * 3)
    surface = _ask(question(sphere(3, 1.0)), box)

    assert surface.complete
    assert isinstance(surface.certificate, Enclosed)
    assert _euler(surface) == 2
    assert _edges(surface.faces)[1].min() == 2
    assert_closed_in(surface, box)
    assert np.abs(np.linalg.norm(surface.vertices, axis=1) - 1).max() < 1e-12
    assert abs(_area(surface) - 4 * np.pi) < 0.02 * 4 * np.pi
    a, b, c = (surface.vertices[surface.faces[:, k]] for k in range(3))
    volume = (a * np.cross(b, c)).sum() / 6
    assert abs(volume - 4 * np.pi / 3) < 0.02 * 4  # positive: normals point to z_1 > z_2


@pytest.mark.parametrize("radius", [2.0**-6, 2.0**-12])
def test_a_tiny_sphere_is_found(radius):
    """A closed component far smaller than any grid is found whole; with no zero it is absent."""
    box = Box((-1.5, -1.4, -1.3), (1.7, 1.6, 1.5))
    surface = _ask(question(sphere(3, radius)), box)
    flipped = sphere(3, radius)
    nodes = list(flipped.nodes)
    nodes[2] = Affine((2,), nodes[2].terms, np.array([radius**2, 0.0]))
    absent = _ask(question(Network(tuple(nodes), flipped.inputs, flipped.outputs)), box)

    assert surface.complete
    assert _euler(surface) == 2
    assert _components(surface) == 1
    assert absent.complete
    assert len(absent.faces) == 0


def _torus():
    """Return z_1 - z_2 = (|x|^2 + 0.75)^2 - 4 (x_1^2 + x_2^2): radii 1 and 0.5."""
    nodes = (
        Input((3,)),
        Elementwise((3,), 0, "square"),
        Affine((1,), (Term(1, Dense(np.ones((1, 3)))),), np.array([0.75])),
        Product((1,), 2, 2, "a,a->a"),
        Affine(
            (2,),
            (
                Term(3, Dense(np.array([[1.0], [0.0]]))),
                Term(1, Dense(np.array([[0.0, 0, 0], [4.0, 4.0, 0.0]]))),
            ),
        ),
    )
    return Network(nodes, (Port("x", 0, (3,)),), (Port("z", 4, (2,)),))


def test_a_torus_has_its_hole():
    """Euler number 0, one component, exact vertices."""
    box = Box((-2.0, -2.1, -1.0), (2.2, 2.0, 1.1))
    surface = _ask(question(_torus()), box)

    assert surface.complete
    assert _components(surface) == 1
    assert _euler(surface) == 0
    assert abs(_area(surface) - 4 * np.pi**2 * 0.5) < 0.03 * 4 * np.pi**2 * 0.5


def test_a_cut_sphere_ends_on_the_rim():
    """A box through the sphere: a disc whose only open edges lie on the box."""
    box = Box((-1.5, -1.3, 0.1), (1.5, 1.7, 1.9))
    surface = _ask(question(sphere(3, 1.0)), box)

    assert surface.complete
    assert _euler(surface) == 1
    assert_closed_in(surface, box)


@pytest.mark.parametrize("rules", [("tanh",), ("silu",), ("elu", "tanh")])
def test_random_networks(rules):
    """Signs of samples are separated by the mesh: it misses no sign change on random lines."""
    network = random_layers(13, [3, 8, 8, 2], rules, gain=1.3)
    problem = question(network)
    box = Box((-1.0,) * 3, (1.0,) * 3)
    surface = _ask(problem, box)

    assert surface.complete
    assert_closed_in(surface, box)
    assert np.abs(values(problem.network, surface.vertices)).max() < 1e-9
    random = np.random.default_rng(0)
    for _ in range(30):
        a, b = random.uniform(-1, 1, (2, 3))
        t = np.linspace(0, 1, 200)[:, None]
        numbers = values(problem.network, a + t * (b - a))[:, 0]
        for k in np.flatnonzero(numbers[1:] * numbers[:-1] < 0):
            point = a + 0.5 * (t[k] + t[k + 1]) * (b - a)
            gap = np.linalg.norm(surface.vertices - point, axis=1).min()
            assert gap < 0.15


def test_slices_of_many_inputs():
    """Three directions through a 6-input network; the mesh lies on the boundary there."""
    problem = question(random_layers(2, [6, 8, 8, 2], gain=1.3))
    random = np.random.default_rng(1)
    origin, directions = random.normal(size=6) * 0.2, np.linalg.qr(random.normal(size=(6, 3)))[0]
    box = Box((-1.0,) * 3, (1.0,) * 3)
    surface = _ask(problem, box, origin=origin, directions=directions)

    assert surface.complete
    points = origin + surface.vertices @ directions.T
    assert np.abs(values(problem.network, points)).max() < 1e-9


def test_kinks_may_stay_undecided_but_nothing_is_lost():
    """With ReLU units every sampled zero lies near the mesh or in an undecided box."""
    problem = question(random_layers(1, [3, 4, 4, 2], ("relu", "tanh")))
    box = Box((-1.0,) * 3, (1.0,) * 3)
    surface = _ask(problem, box, budget=Budget(boxes=6000))
    random = np.random.default_rng(0)
    low = np.array([b.low for b in surface.undecided]).reshape(-1, 3)
    high = np.array([b.high for b in surface.undecided]).reshape(-1, 3)
    for _ in range(20):
        a, b = random.uniform(-1, 1, (2, 3))
        t = np.linspace(0, 1, 400)[:, None]
        numbers = values(problem.network, a + t * (b - a))[:, 0]
        for k in np.flatnonzero(numbers[1:] * numbers[:-1] < 0):
            point = a + 0.5 * (t[k] + t[k + 1]) * (b - a)
            near = (
                len(surface.vertices)
                and np.linalg.norm(surface.vertices - point, axis=1).min() < 0.15
            )
            inside = ((low - 0.01 <= point) & (point <= high + 0.01)).all(axis=1).any()
            assert near or inside


def test_a_singular_surface_is_undecided_at_its_tip():
    """The cone x_1^2 + x_2^2 = x_3^2 is meshed but for a small box around the tip."""
    nodes = (
        Input((3,)),
        Elementwise((3,), 0, "square"),
        Affine((2,), (Term(1, Dense(np.array([[1.0, 1.0, 0.0], [0.0, 0.0, 1.0]]))),)),
    )
    network = Network(nodes, (Port("x", 0, (3,)),), (Port("z", 2, (2,)),))
    surface = _ask(question(network), Box((-1.0, -1.1, -0.9), (1.2, 1.0, 1.05)))

    assert not surface.complete
    assert surface.status is Status.UNDECIDED
    assert any(
        np.all(np.array(b.low) <= 0) and np.all(np.array(b.high) >= 0) for b in surface.undecided
    )


def test_no_surface():
    """A box without boundary: complete and empty."""
    surface = _ask(question(sphere(3, 1.0)), Box((2.0,) * 3, (3.0,) * 3))

    assert surface.complete
    assert (0, 3) == surface.faces.shape


@pytest.mark.parametrize("weights", [(1.0, 1.0, 1.0), (1.0, -2.0, 1.0)])
def test_a_surface_that_only_touches_a_corner_of_the_box_is_not_denied(weights):
    """The one solution in the box is its corner, at which g is 0: the corner stays undecided."""
    nodes = (
        Input((3,)),
        Elementwise((3,), 0, "tanh"),
        Affine((2,), (Term(1, Dense(np.array([weights, (0.0, 0.0, 0.0)]))),)),
    )
    network = Network(nodes, (Port("x", 0, (3,)),), (Port("z", 2, (2,)),))
    low = tuple(0.0 if w > 0 else -1.0 for w in weights)
    surface = _ask(question(network), Box(low, tuple(a + 1.0 for a in low)))
    corner = [
        all(a <= 0 <= b for a, b in zip(box.low, box.high, strict=True))
        for box in surface.undecided
    ]

    assert not surface.complete
    assert any(corner)


def test_normals_agree_where_the_surface_meets_corners_of_cubes():
    """The plane x_1 + x_2 + x_3 = 0 runs through lattice points; all triangles turn one way."""
    nodes = (
        Input((3,)),
        Elementwise((3,), 0, "tanh"),
        Affine((2,), (Term(1, Dense(np.array([[1.0, 1.0, 1.0], [0.0, 0.0, 0.0]]))),)),
    )
    network = Network(nodes, (Port("x", 0, (3,)),), (Port("z", 2, (2,)),))
    box = Box((-1.0,) * 3, (1.0,) * 3)
    surface = _ask(question(network), box)

    assert surface.complete
    assert_closed_in(surface, box)


def test_vertices_lie_on_the_surface_next_to_kinks():
    """On edges along which g is steep at one end and flat at the other the roots are found too."""
    weights = [
        (np.array([[1.0, 0, 0], [0, 1, 0], [0, 0, 1]]), np.zeros(3)),
        (np.array([[1.0, 0.01, 0.02]]), np.array([-0.28])),
        (np.array([[1.0], [0.0]]), np.array([1e-7, 0.0])),
    ]
    problem = question(layers(weights, ["tanh", "leaky_relu"]))
    surface = _ask(problem, Box((-1.0,) * 3, (1.0,) * 3), budget=Budget(boxes=20000))

    assert len(surface.faces)
    assert np.abs(values(problem.network, surface.vertices)).max() < 1e-12


def test_a_tiny_part_that_no_rival_wins_is_found():
    """The third class wins but in a ball of radius 1/512: the surface is the disc in it."""
    nodes = (
        Input((3,)),
        Elementwise((3,), 0, "square"),
        Affine(
            (3,),
            (
                Term(0, Dense(np.array([[0.0, 0, 1], [0, 0, -1], [0, 0, 0]]))),
                Term(1, Dense(np.array([[0.0, 0, 0], [0, 0, 0], [1, 1, 1]]))),
            ),
            np.array([0.0, 0.0, -(2.0**-18)]),
        ),
    )
    network = Network(nodes, (Port("x", 0, (3,)),), (Port("z", 2, (3,)),))
    surface = _ask(question(network, rivals=True), Box((-1.0, -1.1, -0.9), (1.05, 1.0, 1.0)))

    assert surface.complete
    assert _components(surface) == 1
    assert _euler(surface) == 1
    assert abs(_area(surface) - np.pi * 2.0**-18) < 0.02 * np.pi * 2.0**-18


def _rim_vertices(surface):
    """Return the vertices of edges with one triangle, but those on the box."""
    edges, counts = _edges(surface.faces)
    found = surface.vertices[np.unique(edges[counts == 1])]
    low, high = np.array(surface.box.low), np.array(surface.box.high)
    inside = (found > low + 1e-12) & (found < high - 1e-12)
    return found[inside.all(axis=1)]


def test_rivals_cut_the_surface():
    """Where a third class wins the surface is left out, also where the rim runs through corners."""
    weights = [(np.array([[1.0, 0, 0], [-1, 0, 0], [0, 1, 0]]), np.zeros(3))]
    network = layers(weights, [])
    box = Box((-1.0,) * 3, (1.0,) * 3)
    plain = _ask(question(network), box)
    decision = _ask(question(network, rivals=True), box)

    assert abs(_area(plain) - 4) < 1e-9
    assert decision.complete
    assert abs(_area(decision) - 2) < 1e-9
    assert decision.vertices[:, 1].max() < 1e-9


def _ball_and_plane(offset):
    """Return z_1 - z_2 = |x|^2 - 1, and z_1 - z_3 = x_3 - offset on it (for |x| = 1)."""
    nodes = (
        Input((3,)),
        Elementwise((3,), 0, "square"),
        Affine(
            (3,),
            (
                Term(1, Dense(np.array([[1.0, 1, 1], [0, 0, 0], [1, 1, 1]]))),
                Term(0, Dense(np.array([[0.0, 0, 0], [0, 0, 0], [0, 0, -1]]))),
            ),
            np.array([-1.0, 0.0, -1.0 + offset]),
        ),
    )
    return Network(nodes, (Port("x", 0, (3,)),), (Port("z", 2, (3,)),))


def test_a_sphere_is_cut_along_a_circle():
    """The part of the unit sphere above x_3 = 0.3 is one disc whose rim is that circle."""
    box = Box((-1.5, -1.3, -1.4), (1.5, 1.7, 1.6))
    surface = _ask(question(_ball_and_plane(0.3), rivals=True), box)
    rim = _rim_vertices(surface)

    assert surface.complete
    assert _components(surface) == 1
    assert _euler(surface) == 1
    assert np.abs(rim[:, 2] - 0.3).max() < 1e-9
    assert np.abs(np.linalg.norm(rim, axis=1) - 1).max() < 1e-9
    assert abs(_area(surface) - 2 * np.pi * 0.7) < 0.03 * 2 * np.pi * 0.7


def test_a_rim_that_ends_on_sides_of_the_box_stays_on_them():
    """The circle x_3 = 0.3 leaves the box at x_1 = 0.1: both ends are on that side, no tear."""
    box = Box((0.1, -1.3, -1.4), (1.5, 1.7, 1.6))
    surface = _ask(question(_ball_and_plane(0.3), rivals=True), box)
    edges, counts = _edges(surface.faces)
    ends = surface.vertices[edges[counts == 1]]
    side, rim = ends[..., 0] == 0.1, np.abs(ends[..., 2] - 0.3) < 1e-12

    assert surface.complete
    assert (side.all(axis=1) | rim.all(axis=1)).all()
    assert (side & rim).sum() == 4  # two corners, each on two edges


def test_a_rival_that_ties_in_one_point_of_the_surface_is_not_decided():
    """The plane x_3 = 1 touches the sphere: no claim about what is left of it."""
    box = Box((-1.5, -1.3, -1.4), (1.5, 1.7, 1.6))
    surface = _ask(question(_ball_and_plane(1.0), rivals=True), box)

    assert not surface.complete
    assert any(
        all(a <= x <= b for a, x, b in zip(part.low, (0, 0, 1), part.high, strict=True))
        for part in surface.undecided
    )


def _bent(slopes, kinked):
    """Return g = slopes . x + sum of kinked units, through a tanh that keeps signs."""
    rows = np.array([row for row, _ in kinked])
    size = len(kinked)
    weights = [
        (np.concatenate([rows, np.eye(3)]), np.zeros(size + 3)),
        (np.array([[*(c for _, c in kinked), *slopes]]), np.array([0.013])),
        (np.array([[1.0], [0.0]]), np.zeros(2)),
    ]
    network = layers(weights, ["abs", "tanh"])
    nodes = list(network.nodes)
    # the first layer's last three units pass x on: |x + 9| - 9
    nodes[1] = Affine((size + 3,), nodes[1].terms, np.array([0.0] * size + [9.0] * 3))
    nodes[3] = Affine((1,), nodes[3].terms, np.array([0.013 - 9 * sum(slopes)]))
    return Network(tuple(nodes), network.inputs, network.outputs)


@pytest.mark.parametrize(
    ("slopes", "kinked", "complete"),
    [
        # the gradients on both sides of the kink agree along no axis, but along a diagonal
        ((0.5, 0.4, 0.45), [((1.0, -1.3, 0.4), 0.9)], True),
        ((0.6, 0.5, 0.5), [((1.0, -0.9, -1.1), 1.0), ((0.3, 0.2, -1.0), 0.15)], True),
        ((0.5, 0.6, 0.0), [((0.9, -1.2, 0.7), 1.0)], True),
        # |x_1| = |x_2|: the surface branches
        ((0.0, 0.0, 0.0), [((1.0, 0.0, 0.0), 1.0), ((0.0, 1.0, 0.0), -1.0)], False),
    ],
)
def test_surfaces_across_kinks(slopes, kinked, complete):
    """Complete where one direction crosses the surface on all sides, and only there."""
    network = _bent(slopes, kinked)
    if not complete:
        nodes = list(network.nodes)
        nodes[3] = Affine((1,), nodes[3].terms, np.zeros(1))
        network = Network(tuple(nodes), network.inputs, network.outputs)
    box = Box((-1.0, -1.1, -0.9), (1.05, 1.0, 1.0))
    surface = _ask(question(network), box)

    assert complete == surface.complete
    if complete:
        assert_closed_in(surface, box)
        assert _components(surface) == 1
        assert _euler(surface) == 1  # a graph


@pytest.mark.parametrize(("seed", "rules"), [(3, ("relu", "tanh")), (8, ("relu", "tanh"))])
def test_surfaces_of_mixed_networks(seed, rules):
    """The mesh has as many crossings with random lines as g has changes of sign, or is tangent."""
    problem = question(random_layers(seed, [3, 8, 8, 2], rules))
    box = Box((-1.0,) * 3, (1.0,) * 3)
    surface = _ask(problem, box)

    assert surface.complete
    assert len(surface.faces) < 30000
    assert_closed_in(surface, box)
    random = np.random.default_rng(0)
    corners = surface.vertices[surface.faces]
    wrong = 0
    for place in random.uniform(-1, 1, (60, 2)):
        points = np.zeros((801, 3))
        points[:, :2], points[:, 2] = place, np.linspace(-1, 1, 801)
        numbers = values(problem.network, points)[:, 0]
        changes = int((numbers[1:] * numbers[:-1] < 0).sum())
        sides = corners[:, :, :2] - place
        turns = np.stack(
            [
                sides[:, i, 0] * sides[:, j, 1] - sides[:, i, 1] * sides[:, j, 0]
                for i, j in ((0, 1), (1, 2), (2, 0))
            ]
        )
        hits = int(((turns > 0).all(axis=0) | (turns < 0).all(axis=0)).sum())
        assert (changes - hits) % 2 == 0
        wrong += changes != hits
    assert wrong <= 2


@pytest.mark.parametrize("share", [0.0, 0.3])
def test_tetrahedra_fit_together(share):
    """Whatever the sizes and diagonals of the cubes: inner triangles have two tetrahedra."""
    random = np.random.default_rng(5)
    level, index = np.full(64, 2), np.argwhere(np.ones((4, 4, 4)))
    steps = np.argwhere(np.ones((2, 2, 2)))
    for _ in range(3):
        halved = random.random(len(level)) < 0.08
        while halved.any():
            parts = (2 * index[halved][:, None] + steps).reshape(-1, 3)
            level = np.r_[level[~halved], np.repeat(level[halved] + 1, 8)]
            index = np.concatenate([index[~halved], parts])
            halved = uneven(level, index)
    kept = random.random(len(level)) >= share
    level, index = level[kept], index[kept]
    pattern = np.where(random.random(len(level)) < 0.5, 0, random.integers(10, size=len(level)))
    made = cut(level, index, pattern)
    places = unpacked(made.keys) * 2.0**-BITS
    corners = places[made.corners]
    volume = np.abs(np.linalg.det(corners[:, 1:] - corners[:, :1])) / 6
    triangles = np.sort(made.corners[:, [[0, 1, 2], [0, 1, 3], [0, 2, 3], [1, 2, 3]]], axis=2)
    single, counts = np.unique(triangles.reshape(-1, 3), axis=0, return_counts=True)
    single = places[single[counts == 1]]
    normal = np.cross(single[:, 1] - single[:, 0], single[:, 2] - single[:, 0])
    normal /= np.linalg.norm(normal, axis=1)[:, None]
    beside = [single.mean(axis=1) + shift * normal for shift in (1e-6, -1e-6)]
    inside = [
        sum(
            (np.floor(points * 2.0**k)[:, None] == index[level == k]).all(axis=2).any(axis=1)
            for k in np.unique(level)
        )
        for points in beside
    ]

    assert volume.min() > 0
    assert np.allclose(np.bincount(made.cube, weights=volume), 8.0**-level)
    assert counts.max() == 2
    assert not np.any(inside[0] & inside[1])


def test_budget_and_interruption(monkeypatch):
    """What is not examined comes back as boxes that cover the rest."""
    problem = question(sphere(3, 1.0))
    box = Box((-1.5,) * 3, (1.5,) * 3)
    short = _ask(problem, box, budget=Budget(boxes=1))

    assert not short.complete
    assert short.status is Status.BUDGET
    assert short.undecided

    from nneq.boundary.smooth import octree

    def stop(self, level, index):
        raise KeyboardInterrupt

    monkeypatch.setattr(octree._Level, "run", stop)
    stopped = _ask(problem, box)

    assert stopped.status is Status.INTERRUPTED
    volume = sum(np.prod(np.array(b.high) - np.array(b.low)) for b in stopped.undecided)
    assert abs(volume - 27) < 1e-9
