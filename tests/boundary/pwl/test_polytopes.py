"""Exact regions of three to six inputs, where degenerate networks are the normal case."""

from __future__ import annotations

import itertools
from fractions import Fraction

import numpy as np
import pytest
from boundary.pwl.networks import dense, given, lenet, problem
from boundary.pwl.rational_oracle import Oracle, affine_rank, random_layers, value, volume

from nneq.boundary.pwl.exactcells import exact_surface
from nneq.boundary.pwl.polytopes import exact_arrangement
from nneq.boundary.pwl.regions import enumerate_regions
from nneq.boundary.pwl.surface import trace_space
from nneq.boundary.pwl.walk import Program
from nneq.boundary.pwl.zerosets import zero_set
from nneq.boundary.results import Box, Budget, Enclosed, Exact, Status

NAMES = tuple(f"x_{k}" for k in range(1, 7))
RANDOM = [(seed, 3 + seed % 2) for seed in range(40)]


def box(d, half=2.0):
    """Return the box around 0."""
    return Box((-half,) * d, (half,) * d)


def regions(network, d, half=2.0, **options):
    """Enumerate the box around 0."""
    options.setdefault("clock", Budget().start())
    return enumerate_regions(
        problem(network), np.zeros(d), np.eye(d), box(d, half), names=NAMES[:d], **options
    )


def arrangement(network, d, half=2.0):
    """Return the exact regions of the question about a network."""
    found = exact_arrangement(
        Program(problem(network).network), (np.zeros(d), np.eye(d)), box(d, half),
        clock=Budget().start(), limit=1e6,
    )  # fmt: skip
    return found[0]


def surface(network, question=None):
    """Return the boundary in the box around 0 of three inputs."""
    return trace_space(
        question or problem(network), np.zeros(3), np.eye(3), box(3), names=NAMES[:3],
        clock=Budget().start(),
    )  # fmt: skip


def rational(points):
    """Return homogeneous points as tuples of fractions."""
    return [tuple(Fraction(v, p[-1]) for v in p[:-1]) for p in points]


def area(polygon):
    """Return the area of a polygon in space, corners in order."""
    fan = np.cross(polygon[1:-1] - polygon[0], polygon[2:] - polygon[0])
    return 0.5 * float(np.linalg.norm(fan.sum(axis=0)))


@pytest.mark.parametrize(("seed", "d"), RANDOM)
def test_regions_of_whole_weights_fill_the_box_exactly(seed, d):
    """Volumes sum to the box without error; every region lies on its side of every unit."""
    oracle = Oracle(random_layers(seed, d))
    found = arrangement(oracle.network, d)
    points = rational(found.points)
    total = Fraction(0)
    for cell, pattern in zip(found.cells, found.patterns, strict=True):
        forms = oracle.constraints(pattern)
        vertices = [points[v] for v in cell]

        assert all(value(form, x) >= 0 for form in forms for x in vertices)
        total += volume(vertices, forms)

    assert total == Fraction(4) ** d
    assert len(set(found.patterns)) == len(found.cells)


@pytest.mark.parametrize(("seed", "d"), RANDOM)
def test_dyadic_points_lie_where_the_result_says(seed, d):
    """Points of a grid: pattern, outputs, and whether it is on a piece, a tie or nothing."""
    oracle = Oracle(random_layers(seed, d))
    found = regions(oracle.network, d, exact=True)
    cells = [(tuple(r.pattern), {tuple(v) for v in r.vertices.tolist()}) for r in found.regions]
    known = {r.pattern: r for r in found.regions}
    gaps = [oracle.gap(pattern) for pattern, _ in cells]
    closed = [oracle.constraints(pattern) for pattern, _ in cells]
    # A part of the zero set is the zeros of a closed region that has all its vertices.
    owners = [
        k
        for k, (pattern, _) in enumerate(cells)
        if bytes(pattern) in {t.pattern for t in found.ties}
    ]
    owners += [piece.region for piece in found.pieces if piece.region >= 0]
    for part in [*(p.vertices for p in found.pieces if p.region < 0), *found.isolated]:
        corners = {tuple(v) for v in part.tolist()}
        owners += [k for k, (_, vertices) in enumerate(cells) if corners <= vertices][:1]
    rng = np.random.default_rng(seed)
    grid = rng.integers(-8, 9, (150, d)) / 4.0
    for x in (tuple(map(Fraction, row)) for row in grid.tolist()):
        hidden, z = oracle.at(x)
        inside = all(abs(v) < 2 for v in x) and all(hidden)
        if inside:
            region = known[bytes(v > 0 for v in hidden)]

            assert (
                region.W @ np.array(x, dtype=float) + region.b - [float(z[0] - z[1])] == 0
            ).all()

        hit = any(
            value(gaps[k], x) == 0 and all(value(form, x) >= 0 for form in closed[k])
            for k in owners
        )

        assert hit == (z[0] == z[1])


def brute_zero_set(oracle, cells):
    """Return pieces, ties and isolated faces as vertex sets, from regions found by brute force."""
    ties, pieces, facets, thin = [], [], set(), set()
    for pattern, vertices in cells.items():
        form = oracle.gap(pattern)
        values = {v: value(form, v) for v in vertices}
        zero = frozenset(v for v, z in values.items() if z == 0)
        if len(zero) == len(vertices):
            ties.append(vertices)
        elif min(values.values()) < 0 < max(values.values()):
            rows = [*oracle.constraints(pattern)]
            cut = set(zero)
            for p, q in itertools.combinations(vertices, 2):
                if values[p] * values[q] < 0:
                    tight = [f[:-1] for f in rows if value(f, p) == 0 == value(f, q)]
                    if (
                        tight
                        and affine_rank([tuple([Fraction(0)] * oracle.d), *map(tuple, tight)])
                        == oracle.d - 1
                    ):
                        t = values[p] / (values[p] - values[q])
                        cut.add(tuple(a + t * (b - a) for a, b in zip(p, q, strict=True)))
            pieces.append(frozenset(cut))
        elif zero and affine_rank(zero) == oracle.d - 1:
            facets.add(zero)
        elif zero:
            thin.add(zero)
    pieces += [f for f in facets if not any(f <= t for t in ties)]
    larger = [*ties, *pieces, *thin]
    return pieces, ties, [f for f in thin if not any(f <= s and f != s for s in larger)]


@pytest.mark.parametrize(("seed", "d"), [*((s, 3) for s in range(12)), *((s, 4) for s in range(4))])
def test_all_sign_patterns_by_brute_force(seed, d):
    """Regions, pieces, ties and isolated faces are those of trying every sign pattern."""
    layers = random_layers(seed, d)
    widths = 3 if d == 4 else 4
    W, b = layers[0]
    layers = [(W[:widths], b[:widths]), (layers[-1][0][:, : len(W[:widths])], layers[-1][1])]
    if layers[1][0].shape[1] < len(layers[0][0]):
        layers[0] = (W[: layers[1][0].shape[1]], b[: layers[1][0].shape[1]])
    oracle = Oracle(layers)
    cells = oracle.all_regions()
    found = arrangement(oracle.network, d)
    points = rational(found.points)
    zeros = zero_set(found)
    ends = rational(zeros.points)
    pieces, ties, isolated = brute_zero_set(oracle, cells)

    def named(parts, names):
        return sorted(sorted(names[v] for v in part) for part in parts)

    assert {
        p: frozenset(points[v] for v in c) for p, c in zip(found.patterns, found.cells, strict=True)
    } == cells
    assert named(zeros.pieces, ends) == sorted(map(sorted, pieces))
    assert named([found.cells[k] for k in zeros.ties], points) == sorted(map(sorted, ties))
    assert named(zeros.isolated, ends) == sorted(map(sorted, isolated))


XOR = [([[1, -1, 0], [-1, 1, 0]], [0, 0]), ([[1, 1], [0, 0]], [0, 0.5])]
CROSS = [(np.kron([[1], [-1]], np.eye(3)[:2]), [0] * 4), ([[1] * 4, [0] * 4], [0, 0])]
AND = [([[1, 1, 1], [1, 1, 1]], [-2, -3]), ([[1, -1], [0, 0]], [0, 0.5])]


@pytest.mark.parametrize(
    ("layers", "pieces", "total", "ties", "isolated"),
    [
        # |x_1 - x_2| = 1/2: two rectangles.
        (XOR, 2, 2 * 3.5 * np.sqrt(2) * 4, 0, 0),
        # relu(s - 2) - relu(s - 3) = 1/2 with s = x_1 + x_2 + x_3: the hexagon near a corner.
        (AND, 1, np.sqrt(3) / 2 * 3.5**2, 0, 0),
        # x_1 = relu(x_1) - relu(-x_1): along the facets of the regions, once.
        ([([[1, 0, 0], [-1, 0, 0]], [0, 0]), ([[1, 0], [0, 1]], [0, 0])], 1, 16.0, 0, 0),
        # relu(x_2) = 0: a tie on half of the box, whose outline is no piece.
        ([([[1, 0, 0], [0, 1, 0]], [0, 0]), ([[1, 0], [1, 1]], [0, 0])], 0, 0.0, 2, 0),
        # Equal heads: every region is a tie.
        ([([[1, 0, 1], [0, 1, 1]], [0, 0]), ([[1, 2], [1, 2]], [1, 1])], 0, 0.0, 4, 0),
        # |x_1| + |x_2| + |x_3| = 0 in one point.
        ([([*np.eye(3), *-np.eye(3)], [0] * 6), ([[1] * 6, [0] * 6], [0, 0])], 0, 0.0, 0, 1),
        # |x_1| + |x_2| = 0 on a line.
        (CROSS, 0, 0.0, 0, 1),
        # All weights 0.
        ([(np.zeros((2, 3)), [0, 0]), (np.zeros((2, 2)), [0, 0])], 0, 0.0, 1, 0),
    ],
    ids=["xor", "and", "facets", "tie", "equal", "point", "edge", "zeros"],
)  # fmt: skip
def test_known_zero_sets(layers, pieces, total, ties, isolated):
    """XOR, AND, a boundary along facets, ties and isolated zeros: counts and areas are known."""
    found = regions(given(layers), 3)
    mesh = surface(given(layers))
    areas = [area(piece.vertices) for piece in found.pieces]

    assert found.complete
    assert mesh.complete
    assert (len(found.pieces), len(found.ties), len(found.isolated)) == (pieces, ties, isolated)
    assert (len(mesh.polygons), len(mesh.ties), len(mesh.isolated)) == (pieces, ties, isolated)
    assert sum(areas) == pytest.approx(total, rel=1e-14)
    assert sum(area(polygon) for polygon in mesh.polygons) == pytest.approx(total, rel=1e-14)
    assert sum(area(mesh.vertices[face]) for face in mesh.faces) == pytest.approx(total, rel=1e-14)


@pytest.mark.parametrize(
    ("widths", "half"),
    [((3, 8, 8, 2), 2.0), ((4, 6, 6, 2), 2.0), ((5, 7, 2), 1.0), ((6, 7, 2), 1.0)],
)
def test_generic_networks_have_the_counts_of_the_float_engine(widths, half):
    """Regions, vertices and pieces in both arithmetics, with the same patterns and equations."""
    network, d = dense(widths, 3), widths[0]
    found, exact = regions(network, d, half), regions(network, d, half, exact=True)
    scaled = [
        {
            tuple(np.round(np.array(p.coefficients) / np.abs(p.coefficients).max(), 9))
            for p in f.pieces
        }
        for f in (found, exact)
    ]

    assert isinstance(found.certificate, Enclosed)
    assert isinstance(exact.certificate, Exact)
    assert len(found.regions) == len(exact.regions)
    assert found.stats["vertices"] == exact.stats["vertices"]
    assert {r.pattern for r in found.regions} == {r.pattern for r in exact.regions}
    assert len(found.pieces) == len(exact.pieces) > 0
    assert scaled[0] == scaled[1]


def test_generic_surfaces_agree_and_are_closed_inside_the_box():
    """Both arithmetics give the same mesh; an edge of one triangle only lies on the box."""
    network = dense((3, 8, 8, 2), 4)
    found = surface(network)
    exact = exact_surface(
        Program(problem(network).network), (np.zeros(3), np.eye(3)), box(3), names=NAMES[:3],
        rivals=None, clock=Budget().start(), limit=1e6,
    )  # fmt: skip
    sides = np.sort(exact.faces[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2), axis=1)
    edges, counts = np.unique(sides, axis=0, return_counts=True)
    loose = exact.vertices[edges[counts == 1]].mean(axis=1)

    assert isinstance(found.certificate, Enclosed)
    assert found.stats["facets"] == exact.stats["facets"] > 10
    assert len(found.vertices) == len(exact.vertices)
    assert sum(map(area, found.polygons)) == pytest.approx(
        sum(map(area, exact.polygons)), rel=1e-12
    )
    assert counts.max() == 2
    assert (np.abs(loose).max(axis=1) == 2).all()


@pytest.mark.parametrize("seed", range(12))
def test_degenerate_surfaces_are_closed(seed):
    """Facets at which the sign changes meet in even numbers, but on the box and around ties."""
    oracle = Oracle(random_layers(seed, 3))
    found = surface(oracle.network)
    ends = {}
    for polygon in found.polygons:
        fan = np.cross(polygon[1:-1] - polygon[0], polygon[2:] - polygon[0]).sum(axis=0)
        step = 1e-7 * fan / np.linalg.norm(fan)
        middle = polygon.mean(axis=0)
        g = oracle.network(np.array([middle + step, middle - step])) @ [1, -1]
        if g[0] * g[1] < 0:
            ring = list(map(tuple, polygon.tolist()))
            for p, q in zip(ring, ring[1:] + ring[:1], strict=True):
                ends[frozenset((p, q))] = ends.get(frozenset((p, q)), 0) + 1
    for (p, q), count in ends.items():
        on_box = any(a == b and abs(a) == 2 for a, b in zip(p, q, strict=True))
        on_tie = any({p, q} <= set(map(tuple, tie.tolist())) for tie in found.ties)

        assert count % 2 == 0 or on_box or on_tie

    assert found.complete


def test_decision_surface_of_a_degenerate_network():
    """Of x_1 = x_2 the part is kept where x_3 is not larger: one third of the diagonal plane."""
    import dataclasses

    from boundary_networks import rival_network

    # Both sides of every coordinate plane: all regions meet in 0.
    layers = [([*np.eye(3), *-np.eye(3)], [0] * 6), (np.hstack([np.eye(3), -np.eye(3)]), [0] * 3)]
    network = given(layers)
    question = dataclasses.replace(problem(network), rivals=rival_network(network, 0, 1))
    found = surface(network, question)

    assert found.complete
    assert isinstance(found.certificate, Exact)
    # The plane's rectangle 4 sqrt(2) x 4, below its diagonal x_3 = x_1.
    assert sum(map(area, found.polygons)) == pytest.approx(8 * np.sqrt(2), rel=1e-14)


def test_pooling_and_leaky_units_of_whole_weights():
    """Maxima, absolute values and clips: maps of the regions equal the network at their middles."""
    network = lenet(4, 1, (1, 1))
    rng = np.random.default_rng(0)
    origin, directions = rng.integers(-2, 3, 16) / 2.0, rng.integers(-1, 2, (16, 3)) / 1.0
    found = enumerate_regions(
        problem(network), origin, directions, box(3), names=NAMES[:3], clock=Budget().start(),
        exact=True,
    )  # fmt: skip
    for region in found.regions[:50]:
        middle = region.vertices.mean(axis=0)
        z = network((origin + directions @ middle).reshape(1, 1, 4, 4))[0]

        assert region.W @ middle + region.b == pytest.approx([z[0] - z[1]], abs=1e-9)

    assert len({region.pattern for region in found.regions}) == len(found.regions)


def test_budget_leaves_the_rest_undecided():
    """A budget that ends the repetition leaves the answer incomplete, and says so."""
    network = dense((3, 8, 8, 2), 1, integer=True)
    for options in ({}, {"exact": True}):
        found = regions(network, 3, clock=Budget(boxes=1).start(), **options)

        assert not found.complete
        assert found.status is Status.BUDGET
        assert found.undecided == (box(3),)


def test_ctrl_c_during_the_repetition():
    """Ctrl-C in rational arithmetic keeps what floats found, as undecided."""
    network = dense((3, 6, 6, 2), 1, integer=True)
    seen = []

    def stop(share):
        seen.append(share)
        if 1.0 in seen[:-1] and share < 1.0:
            raise KeyboardInterrupt

    found = regions(network, 3, progress=stop)

    assert not found.complete
    assert found.status is Status.INTERRUPTED
    assert found.undecided == (box(3),)
