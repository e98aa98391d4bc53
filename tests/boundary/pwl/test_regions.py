"""Regions of a plane and of up to six inputs: counts, areas, maps, pieces, limits."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from boundary.pwl.networks import dense, lenet, problem
from scipy.optimize import linprog

from nneq.boundary.pwl import kernel
from nneq.boundary.pwl.regions import enumerate_regions
from nneq.boundary.pwl.surface import trace_space
from nneq.boundary.pwl.trace import trace_plane
from nneq.boundary.results import Box, Budget, Enclosed, Status
from nneq.errors import NneqError, UnsupportedError

NAMES = tuple(f"x_{k}" for k in range(1, 9))
ENGINES = [
    False,
    pytest.param(True, marks=pytest.mark.skipif(not kernel.compiled(), reason="numba")),
]


def regions(network, d=2, half=2.0, **options):
    """Enumerate the box around 0."""
    box = Box((-half,) * d, (half,) * d)
    options.setdefault("clock", Budget().start())
    return enumerate_regions(
        problem(network), np.zeros(d), np.eye(d), box, names=NAMES[:d], **options
    )


def trace(network, half=2.0, **options):
    """Trace the box around 0."""
    box = Box((-half,) * 2, (half,) * 2)
    options.setdefault("clock", Budget().start())
    return trace_plane(problem(network), np.zeros(2), np.eye(2), box, names=NAMES[:2], **options)


def signs(network, x):
    """Return the signs of all units of a dense ReLU network at points ``(S, n)``."""
    from nneq.ir import Elementwise
    from nneq.ir.float64 import Float64
    from nneq.ir.forward import forward_all

    places = [k for k, node in enumerate(network.nodes) if isinstance(node, Elementwise)]
    values = forward_all(network, Float64(), [x[:, None]], places)
    return np.concatenate([values[k].reshape(len(x), -1) > 0 for k in places], axis=1)


def count_by_linear_programs(network, d, half):
    """Count regions by breadth-first search, one linear program per possible neighbour."""
    layers = [
        (term.map.weight.astype(float), node.bias.reshape(-1).astype(float))
        for node in network.nodes
        if hasattr(node, "terms")
        for term in node.terms
    ][:-1]

    def rows(pattern):
        A, c = np.eye(d), np.zeros(d)
        found, start = [], 0
        for W, b in layers:
            A, c = W @ A, W @ c + b
            on = np.array(pattern[start : start + len(c)])
            found.append((A, c, on))
            A, c = A * on[:, None], c * on
            start += len(on)
        return (np.concatenate([f[k] for f in found]) for k in range(3))

    def has_interior(pattern):
        A, c, on = rows(pattern)
        sign = np.where(on, -1.0, 1.0)
        size = np.linalg.norm(A, axis=1)
        lhs = np.concatenate([A * sign[:, None], size[:, None]], axis=1)
        found = linprog(
            [0] * d + [-1], A_ub=lhs, b_ub=-c * sign, bounds=[(-half, half)] * d + [(None, 1)]
        )
        return found.status == 0 and found.x[-1] > 1e-9

    start = tuple(signs(network, np.full((1, d), 0.1234))[0].tolist())
    seen, queue = {start}, [start]
    while queue:
        pattern = queue.pop()
        for k in range(len(pattern)):
            other = (*pattern[:k], not pattern[k], *pattern[k + 1 :])
            if other not in seen and has_interior(other):
                seen.add(other)
                queue.append(other)
    return len(seen)


@pytest.mark.parametrize("use_numba", ENGINES)
@pytest.mark.parametrize("widths", [(2, 16, 16, 2), (2, 24, 24, 24, 2)])
def test_regions_fill_the_box(use_numba, widths):
    """Areas are positive and sum to the box, patterns differ, Euler's formula holds."""
    found = regions(dense(widths, 1), use_numba=use_numba)
    table = found.regions
    patterns = {region.pattern for region in table}
    corners = np.round(np.concatenate([region.vertices for region in table]), 9)
    points = np.unique(corners, axis=0)
    # Every corner on an edge of a neighbour cuts that edge: count the edges after cutting.
    edges = set()
    for region in table:
        ring = np.round(region.vertices, 9)
        for p, q in zip(ring, np.roll(ring, -1, axis=0), strict=True):
            along = q - p
            local = points - p
            on = (
                np.abs(local[:, 0] * along[1] - local[:, 1] * along[0]) < 1e-8 * np.abs(along).max()
            )
            share = local @ along / (along @ along)
            chain = points[on & (share > -1e-9) & (share < 1 + 1e-9)]
            chain = chain[np.argsort(chain @ along)]
            edges |= {frozenset(map(tuple, pair)) for pair in itertools.pairwise(chain.tolist())}

    assert found.complete
    assert isinstance(found.certificate, Enclosed)
    assert abs(table.areas.sum() - 16) <= 16e-12
    assert table.areas.min() > 0
    assert len(patterns) == len(table)
    assert len(points) - len(edges) + len(table) == 1


@pytest.mark.skipif(not kernel.compiled(), reason="numba")
@pytest.mark.parametrize(
    ("widths", "rule", "params"),
    [
        ((2, 20, 20, 2), "relu", {}),
        ((2, 20, 20, 2), "leaky_relu", {"alpha": 0.2}),
        ((2, 20, 20, 2), "clip", {}),
        ((2, 20, 20, 2), "abs", {}),
        ((2, 20, 20, 2), "hard_sigmoid", {}),
        ((2, 48, 3), "relu", {}),
        ((2, 20, 5, 20, 7), "relu", {}),
        ((2, 17, 9, 6, 5, 3, 2), "leaky_relu", {"alpha": -0.3}),
    ],
)
def test_compiled_and_array_engines_agree(widths, rule, params):
    """Both engines give the same regions, patterns and affine maps."""
    network = dense(widths, 4, rule, **params)
    fast, slow = (regions(network, use_numba=flag).regions for flag in (True, False))
    left = {region.pattern: region for region in fast}
    right = {region.pattern: region for region in slow}

    assert left.keys() == right.keys()
    assert len(left) == len(fast) == len(slow)
    for pattern, region in left.items():
        assert region.W == pytest.approx(right[pattern].W, abs=1e-12)
        assert region.b == pytest.approx(right[pattern].b, abs=1e-12)


@pytest.mark.parametrize(("d", "widths"), [(2, (2, 6, 6, 2)), (3, (3, 5, 4, 2)), (4, (4, 5, 4, 3))])
def test_counts_equal_linear_programming(d, widths):
    """The number of regions is the one a search by linear programs finds."""
    network = dense(widths, 2)

    assert len(regions(network, d).regions) == count_by_linear_programs(network, d, 2.0)


def test_maps_hold_in_their_regions():
    """W x + b equals the network inside each region, for the outputs asked for."""
    network = dense((2, 12, 12, 3), 8)
    found = regions(network, outputs=network)
    for region in found.regions[::7]:
        inside = region.vertices.mean(axis=0)

        assert region.W @ inside + region.b == pytest.approx(
            network(inside[None])[0], rel=1e-12, abs=1e-12
        )


def test_convolutional_network_on_a_slice():
    """A plane through three images of a network with max pool and a residual block."""
    network = lenet()
    rng = np.random.default_rng(3)
    origin, a, b = rng.uniform(0, 1, (3, 144))
    directions = np.stack([a - origin, b - origin], axis=1)
    box = Box((0.0, 0.0), (0.2, 0.2))
    found = enumerate_regions(
        problem(network), origin, directions, box, names=NAMES[:2], clock=Budget().start()
    )

    assert found.complete
    assert len(found.regions) > 100
    assert abs(found.regions.areas.sum() - 0.04) <= 0.04e-12
    for region in found.regions[:: max(1, len(found.regions) // 40)]:
        t = region.vertices.mean(axis=0)
        z = network((origin + directions @ t).reshape(1, 1, 12, 12))[0]

        assert region.W @ t + region.b == pytest.approx([z[0] - z[1]], abs=1e-11)


@pytest.mark.parametrize("use_numba", ENGINES)
@pytest.mark.parametrize("widths", [(2, 16, 16, 2), (2, 32, 32, 32, 2)])
def test_trace_equals_full_enumeration(use_numba, widths):
    """The pruned enumeration finds every segment of the full one."""
    network = dense(widths, 3)
    curve = trace(network, use_numba=use_numba)
    full = regions(network, use_numba=use_numba)
    length = sum(float(np.linalg.norm(p.vertices[0] - p.vertices[1])) for p in full.pieces)

    assert curve.complete
    assert sum(len(c.segments) for c in curve.components) == len(full.pieces)
    assert curve.length == pytest.approx(length, abs=1e-9)


def test_following_equals_full_enumeration():
    """Marching from scan lines finds the same segments as the enumeration."""
    from nneq.boundary.pwl import trace as engine
    from nneq.boundary.pwl.chain import chain_of
    from nneq.boundary.pwl.walk import Program

    network = dense((2, 32, 32, 32, 2), 3)
    question = problem(network)
    box = Box((-2.0, -2.0), (2.0, 2.0))
    chain = chain_of(Program(question.network), np.zeros(2), np.eye(2))
    followed = engine._followed(
        question, chain, (np.zeros(2), np.eye(2)), box, Budget().start(), None
    )
    curve = trace(network)
    length = sum(component.length for component in followed.components)

    assert length == pytest.approx(curve.length, abs=1e-9)
    assert not followed.complete
    assert "scan lines" in followed.words


def test_segments_carry_their_equations():
    """a x_1 + b x_2 + c = 0 holds at both ends, exact fractions give g = 0, and x_1 is solved."""
    from fractions import Fraction

    from nneq.boundary.pwl.forms import pieces_of
    from nneq.semantics.rational import evaluate_exact

    network = dense((2, 8, 8, 2), 6)
    curve = trace(network, exact=True)
    for component in curve.components:
        for segment in component.segments:
            a, b, c = segment.exact
            middle = [
                (Fraction(p) + Fraction(q)) / 2
                for p, q in zip(segment.start, segment.end, strict=True)
            ]
            x = [-(b * middle[1] + c) / a, middle[1]]
            z = evaluate_exact(network, [x])[0]

            assert z[0] - z[1] == 0
        for piece in pieces_of(component.segments, NAMES[:2]):
            (slope,), shift = piece.solved("x_1")
            for vertex in piece.vertices:
                assert float(slope) * vertex[1] + float(shift) == pytest.approx(vertex[0])
            assert piece.solved_text(digits=4).startswith("x_1 = ")
            assert piece.equation.rhs == 0


def test_decision_boundary_keeps_only_where_both_win():
    """With rivals, every kept point has no larger third output, every dropped one has."""
    import dataclasses

    from nneq.ir import Affine, Port, Term
    from nneq.ir import linear_map as lm
    from nneq.passes.simplify import tidy

    network = dense((2, 12, 12, 3), 16)
    pick = lm.Dense(np.array([[1.0, 0.0, -1.0]]), (1,))
    nodes = (*network.nodes, Affine((1, 1), (Term(network.outputs[0].node, pick),)))
    port = Port("r", len(nodes) - 1, (1, 1), batched=False)
    rivals = tidy(dataclasses.replace(network, nodes=nodes, outputs=(port,)))
    whole = trace(network)
    box = Box((-2.0, -2.0), (2.0, 2.0))
    question = dataclasses.replace(problem(network), rivals=rivals)
    part = trace_plane(
        question, np.zeros(2), np.eye(2), box, names=NAMES[:2], clock=Budget().start()
    )
    points = [
        (np.array(s.start) + np.array(s.end)) / 2 for c in part.components for s in c.segments
    ]
    z = network(np.array(points))

    assert 0 < part.length < whole.length
    assert (z[:, 2] <= z[:, 0] + 1e-9).all()


def test_surface_is_a_mesh_of_zeros():
    """Facets of a 3-input network: g = 0 on them, neighbours share vertices, planes fit."""
    network = dense((3, 10, 10, 2), 4)
    box = Box((-2.0,) * 3, (2.0,) * 3)
    found = trace_space(
        problem(network), np.zeros(3), np.eye(3), box, names=NAMES[:3], clock=Budget().start()
    )
    g = network(found.vertices) @ [1, -1]
    edges = np.sort(
        np.concatenate([found.faces[:, [0, 1]], found.faces[:, [1, 2]], found.faces[:, [2, 0]]]), 1
    )
    _, counts = np.unique(edges, axis=0, return_counts=True)
    once = np.unique(edges, axis=0)[counts == 1]
    middle = found.vertices[once].mean(axis=1)

    assert found.complete
    assert np.abs(g).max() <= 1e-11
    assert counts.max() == 2
    # An edge of one triangle only lies on the box.
    assert (np.abs(np.abs(middle).max(axis=1) - 2) < 1e-9).all()


def test_too_many_regions_are_refused_with_an_estimate():
    """The message gives the estimate, the limit and the alternative."""
    with pytest.raises(NneqError, match=r"about .* linear regions, more than the limit of 1,000"):
        regions(dense((2, 64, 64, 2), 1), limit=1000)
    with pytest.raises(NneqError, match="more than the limit"):
        regions(dense((3, 24, 24, 2), 1), 3, limit=100)


def test_bad_questions_are_refused():
    """Too many free inputs, flat boxes, smooth networks, dependent directions."""
    with pytest.raises(UnsupportedError, match="2 to 6 free inputs, not 7"):
        regions(dense((7, 4, 2), 1), 7)
    with pytest.raises(UnsupportedError, match="sigmoid"):
        regions(dense((2, 4, 2), 1, "sigmoid"))
    with pytest.raises(NneqError, match="has no length"):
        regions(dense((2, 4, 2), 1), half=0.0)
    with pytest.raises(NneqError, match="not independent"):
        enumerate_regions(
            problem(dense((2, 4, 2), 1)),
            np.zeros(2),
            np.ones((2, 2)),
            Box((0.0, 0.0), (1.0, 1.0)),
            names=NAMES[:2],
            clock=Budget().start(),
        )


@pytest.mark.parametrize("use_numba", ENGINES)
def test_budget_returns_what_is_done(use_numba):
    """A budget ends the enumeration; what is missing is undecided."""
    found = regions(
        dense((2, 128, 128, 2), 1), clock=Budget(boxes=2000).start(), use_numba=use_numba
    )

    assert not found.complete
    assert found.status is Status.BUDGET
    assert len(found.regions) >= 2000
    assert found.undecided


def test_many_lines_cross_regions_where_the_line_engine_says():
    """A scan line through the plane has as many pieces as regions it meets."""
    from nneq.boundary.pwl.lines import solve_lines

    network = dense((2, 16, 16, 2), 5)
    table = regions(network).regions
    y = 0.123
    crossed = sum(region.vertices[:, 1].min() < y < region.vertices[:, 1].max() for region in table)
    line = solve_lines(
        problem(network), np.array([[0.0, y]]), np.array([1.0, 0.0]), (-2.0, 2.0),
        clock=Budget().start(),
    )[0]  # fmt: skip

    assert line.stats["pieces"] == crossed


def test_small_networks_do_not_wait_for_the_compiler():
    """A network of a few units is enumerated by the array engine."""
    found = regions(dense((2, 8, 8, 2), 1))

    assert found.complete
    assert found.stats["engine"] == "array polygon splitting"


def test_a_middling_network_does_not_wait_for_the_compiler_either(monkeypatch):
    """Where nothing is compiled yet, array code goes first; after some seconds, the kernel."""

    class Loop:
        signatures = ()
        stats = type("stats", (), {"cache_path": "/nowhere"})

    monkeypatch.setattr(kernel, "compiled", lambda: True)
    monkeypatch.setattr(kernel, "_COMPILED", {"loop": Loop})
    monkeypatch.setattr(kernel, "_ARRAY_SECONDS", [0.0])
    found = regions(dense((2, 30, 30, 2), 1))
    used = kernel._ARRAY_SECONDS[0]

    assert found.stats["engine"] == "array polygon splitting"
    assert used > 0
    assert not kernel.worth_it(60)
    assert kernel.worth_it(128)
    kernel.count_array_seconds(10)
    assert kernel.worth_it(60)
    assert not kernel.worth_it(20)


def test_compiled_kernel_is_used_when_asked_for():
    """The statistics name the engine that worked."""
    network = dense((2, 64, 64, 2), 1)
    compiled = kernel.compiled()

    assert regions(network, use_numba=False).stats["engine"] == "array polygon splitting"
    assert regions(network).stats["engine"] == (
        "compiled polygon splitting" if compiled else "array polygon splitting"
    )


@pytest.mark.parametrize("use_numba", [False, None])
def test_a_small_network_with_more_regions_than_the_limit_is_refused(use_numba):
    """The limit holds also where all regions are made in one go."""
    with pytest.raises(NneqError, match="limit"):
        enumerate_regions(
            problem(dense((2, 6, 2), 1)), np.zeros(2), np.eye(2), Box((-2.0, -2.0), (2.0, 2.0)),
            names=("x_1", "x_2"), clock=Budget().start(), limit=3, use_numba=use_numba,
        )  # fmt: skip
