"""Answers as text: short, true, and without the arrays."""

from __future__ import annotations

import re
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from certified_networks import mlp, one_hidden

import nneq
from nneq.api.equations import Equations
from nneq.boundary.results import Box, Budget, Exact, Root, Solutions, Status


@pytest.fixture(scope="module")
def smooth():
    """Return equations with three outputs."""
    return Equations(mlp((2, 8, 8, 3), "tanh", 3, 2.5, 1.0))


def test_solutions_print_their_line_and_every_root(smooth):
    """The first line counts, the others show value, direction and width."""
    found = smooth.boundary("z_1", "z_2").solve("x_1", at={"x_2": 0.3})
    first, *roots = str(found).splitlines()

    assert first == f"x_1 in (-inf, inf), x_2 = 0.3: {len(found)} solution, complete"
    assert repr(found[0].value) in roots[0]
    assert f"<Solutions: {first}>" == repr(found)


def test_many_roots_are_cut_and_exact_ones_are_fractions():
    """Ten roots are shown; a short fraction is written out, a long one is referred to."""
    roots = tuple(
        Root(k / 3, k / 3, k / 3, "up", Exact(), Fraction(k, 3 if k else 7**20)) for k in range(14)
    )
    text = str(Solutions(roots, "t", (0.0, 5.0), complete=False, status=Status.BUDGET))

    assert "t in [0, 5]: 14 solutions, not complete" in text
    assert "t = 1/3 (up), exact" in text
    assert "... and 4 more" in text
    assert Status.BUDGET.value in text


def test_curves_regions_points_and_verdicts(smooth):
    """Counts and numbers are those of the answer."""
    b = smooth.boundary("z_1", "z_2")
    curve = b.trace([(-3, 3), (-3, 3)])
    near = b.nearest([0.0, 0.0])
    verdict = b.excludes([(2.9, 3.0), (-3.0, -2.9)])
    linear = Equations(mlp((2, 8, 3), "relu", 3, 2.5, 1.0)).boundary("z_1", "z_2")
    regions = linear.regions([(-2, 2), (-2, 2)])

    assert f"{len(curve.components)} component (0 closed), length {curve.length:.10g}" in str(curve)
    assert f"l2 distance {near.distance:.10g}" in str(near)
    assert f"nearer than {near.lower_bound:.10g}" in str(near)
    assert str(verdict).startswith("excluded: the difference is ")
    assert f"{len(regions.regions)} linear regions, {len(regions.pieces)} pieces" in str(regions)
    assert str(regions.pieces[0]) in str(regions)
    assert all(len(repr(answer)) < 250 for answer in (curve, near, verdict, regions))


def test_decision_maps_name_areas_and_junctions(smooth):
    """Shares of the box add up to all of it."""
    found = smooth.decision_map([(-2, 2), (-2, 2)])
    shares = [float(v) for v in re.findall(r"\(([\d.]+)% of the box\)", str(found))]

    assert sum(shares) == pytest.approx(100, abs=0.3)
    assert str(found).count(" tie at ") == len(found.junctions)


def test_undecided_parts_are_counted(smooth):
    """A budget that ends says so in words."""
    curve = smooth.boundary("z_1", "z_2").trace([(-3, 3), (-3, 3)], budget=Budget(boxes=5))

    assert "not complete" in repr(curve)
    assert f"{len(curve.undecided)} undecided box" in str(curve)


def test_a_point_of_many_inputs_is_cut():
    """A picture's nearest point does not fill the screen."""
    network = one_hidden(np.eye(2, 40), [0.0, 0.0], np.eye(2), [0.1, 0.0], "relu")
    near = Equations(network).boundary("z_1", "z_2").nearest(np.zeros(40))

    assert "40 entries" in str(near)
    assert len(str(near)) < 400


def test_surfaces_graphs_and_sums():
    """The other answers."""
    network = one_hidden(
        [[2.0, 0.5, 0.1], [0.3, -1.0, 0.7]], [0.1, -0.2], [[1.0, -1.0], [0.0, 0.0]], [0.2, 0.0],
        "sigmoid",
    )  # fmt: skip
    b = Equations(network).boundary("z_1", "z_2")
    surface = b.surface([(-1, 1)] * 3)
    graph = b.solve_graph("x_1", [(-0.2, 0.2)] * 3)
    total = str(b.exponential_sum())

    assert f"{len(surface.faces):,} triangle" in str(surface)
    assert f"on {len(graph.boxes)} box" in str(graph)
    assert "exp(B_1 + B_2)" in total
    assert "B_2 = " in total


def test_the_reference_names_everything_that_is_exported():
    """No public name is missing from the page."""
    page = (Path(__file__).parents[2] / "docs" / "reference.md").read_text(encoding="utf-8")
    missing = [n for n in nneq.__all__ if n != "__version__" and f":: {n}\n" not in page]

    assert not missing


def test_boxes_of_many_inputs_are_cut():
    """Six intervals, then the number of inputs."""
    from nneq.boundary.summaries import _box

    names = [f"x_{k}" for k in range(1, 10)]

    assert _box(names, Box((0.0,) * 9, (1.0,) * 9)).endswith("... 9 inputs")
