"""Pictures: what is drawn is what the result says."""

from __future__ import annotations

import numpy as np
import pytest

from nneq import plotting
from nneq.boundary.pwl.forms import BoundaryPiece
from nneq.boundary.results import (
    Box,
    Component,
    Curve,
    Enclosed,
    PiecewiseBoundary,
    Region,
    Root,
    Solutions,
    Surface,
)
from nneq.errors import NneqError, UnsupportedError

SQUARE = Box((-1.0, -1.0), (1.0, 1.0))


def curve(**changes) -> Curve:
    """Return one open and one closed component."""
    open_part = Component(np.array([[-1.0, 0.0], [0.0, 0.5], [1.0, 0.0]]), closed=False)
    ring = Component(np.array([[0.0, -0.5], [0.1, -0.6], [-0.1, -0.6]]), closed=True)
    return Curve((open_part, ring), ("x_1", "x_2"), SQUARE, complete=True, **changes)


def test_a_curve_is_drawn_with_its_components_closed_where_they_are():
    """One line for each component; a closed one ends where it begins."""
    display = plotting.plot_curve(curve(), title="z_1 = z_2")
    lines = [line.get_xydata() for line in display.ax_.lines]

    assert [len(points) for points in lines] == [3, 4]
    assert lines[1][0].tolist() == lines[1][-1].tolist()
    assert (display.ax_.get_xlim(), display.ax_.get_ylim()) == ((-1.0, 1.0), (-1.0, 1.0))
    assert display.ax_.get_xlabel() == "x_1"
    assert display.figure_ is display.ax_.figure


def test_undecided_boxes_are_drawn():
    """What could not be decided is visible."""
    plain = plotting.plot_curve(curve())
    marked = plotting.plot_curve(curve(undecided=(Box((0.0, 0.0), (0.5, 0.5)),)))

    assert len(plain.ax_.patches) + 1 == len(marked.ax_.patches)


def test_the_two_sides_are_coloured_by_sign():
    """The shading calls the function on points of the box only."""
    seen = []

    def evaluate(points):
        seen.append(points)
        return points[:, 1]

    plotting.plot_curve(curve(), evaluate=evaluate)

    assert seen[0].shape[1] == 2
    assert np.abs(seen[0]).max() <= 1.0


def test_axes_of_the_caller_are_used():
    """A picture can be drawn into axes that exist."""
    ax = plotting.plot_curve(curve()).ax_
    again = plotting.plot_curve(curve(), ax=ax)

    assert again.ax_ is ax
    assert len(ax.lines) == 4


def test_solutions_on_the_whole_line_are_drawn_around_the_roots():
    """An infinite domain is cut to a finite picture that shows every root."""
    roots = tuple(Root(v, v, v, "up", Enclosed()) for v in (-2.0, 5.0))
    line = Solutions(roots, "x_1", (-np.inf, np.inf), complete=True)
    display = plotting.plot_line(line, np.sin)
    low, high = display.ax_.get_xlim()

    assert low < -2.0 < 5.0 < high
    assert display.ax_.lines[-1].get_xdata().tolist() == [-2.0, 5.0]


def regions(names: tuple[str, ...]) -> PiecewiseBoundary:
    """Return two halves of the square and the line between them."""
    left = np.array([[-1.0, -1.0], [0.0, -1.0], [0.0, 1.0], [-1.0, 1.0]])
    halves = tuple(Region(b"", left + np.array([k, 0]), np.eye(2), np.zeros(2)) for k in (0, 1))
    piece = BoundaryPiece(names, (1.0, 0.0, 0.0), np.array([[0.0, -1.0], [0.0, 1.0]]))
    return PiecewiseBoundary(halves, (piece,), (), names, SQUARE, complete=True)


def test_regions_are_drawn_as_polygons_with_the_boundary():
    """One polygon for each region, one line for each piece."""
    polygons, lines = plotting.plot_regions(regions(("x_1", "x_2"))).ax_.collections

    assert len(polygons.get_paths()) == 2
    assert len(lines.get_segments()) == 1


def test_regions_in_space_are_refused():
    """Only two free inputs can be drawn as polygons."""
    with pytest.raises(UnsupportedError, match="two free inputs, not 3"):
        plotting.plot_regions(regions(("x_1", "x_2", "x_3")))


def test_a_surface_is_drawn_as_a_mesh():
    """The mesh has the surface's triangles."""
    box = Box((0.0,) * 3, (1.0,) * 3)
    vertices = np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [1, 1, 1]])
    faces = np.array([[0, 1, 2], [1, 2, 3]])
    surface = Surface(vertices, faces, ("x_1", "x_2", "x_3"), box, complete=True)
    display = plotting.plot_surface(surface)
    display.figure_.canvas.draw()
    (mesh,) = display.ax_.collections

    assert [len(path.vertices) for path in mesh.get_paths()] == [4, 4]


def test_text_is_never_read_as_mathematics(tmp_path):
    """A title with dollar signs is drawn as text, not parsed."""
    display = plotting.plot_curve(curve(), title=r"$\frac{$")
    display.save(tmp_path / "a.png")

    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(("suffix", "start"), [("svg", b"<?xml"), ("pdf", b"%PDF")])
def test_the_ending_says_the_format(tmp_path, suffix, start):
    """Vector formats are written as such."""
    plotting.plot_curve(curve()).save(tmp_path / f"a.{suffix}")

    assert (tmp_path / f"a.{suffix}").read_bytes().startswith(start)


def test_an_unknown_ending_is_refused(tmp_path):
    """The message lists the endings that work, and nothing is written."""
    with pytest.raises(NneqError, match=r"\.pdf, \.png, \.svg"):
        plotting.plot_curve(curve()).save(tmp_path / "a.gif")

    assert list(tmp_path.iterdir()) == []
