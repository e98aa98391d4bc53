"""Pictures: what is drawn is what the result says."""

from __future__ import annotations

import dataclasses

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


def asked(title: str = "z_1 = z_2"):
    """Return a question about a network of two inputs with labels."""
    from nneq.api.equations import Equations
    from nneq.cli.demo import demo_network, demo_weights

    network = demo_network(demo_weights())
    port = dataclasses.replace(network.inputs[0], entry_labels=("width", "$height"))
    classes = dataclasses.replace(network.outputs[0], entry_labels=("cat", "dog"))
    named = dataclasses.replace(network, inputs=(port,), outputs=(classes,))
    first, second = title.split(" = ")
    return Equations(named).boundary(first, float(second) if "." in second else second)


def test_labels_of_a_model_name_axes_and_sides():
    """Axes and sides carry the model's labels beside our names."""
    boundary = asked()

    assert plotting.axis_names(boundary, ["x_2"]) == ["x_2 ($height)"]
    assert plotting.side_names(boundary) == ("z_1 (cat) > z_2 (dog)", "z_1 (cat) < z_2 (dog)")
    assert plotting.side_names(asked("z_2 = 0.5")) == ("z_2 (dog) > 0.5", "z_2 (dog) < 0.5")


def test_the_legend_names_the_colour_of_the_side_on_which_it_lies():
    """The colour at a point is the legend's colour for what the model says there."""
    boundary = asked()
    display = plotting.plot_boundary(boundary, {"x_1": (-2, 3), "x_2": (-1.5, 2)})
    legend = display.ax_.get_legend()
    colours = {
        text.get_text(): handle.get_facecolor()
        for text, handle in zip(legend.get_texts(), legend.legend_handles, strict=True)
    }
    display.ax_.set_axis_off()
    display.figure_.canvas.draw()
    picture = np.asarray(display.figure_.canvas.buffer_rgba())
    for point in ([-1.8, -1.2], [2.8, 1.8], [1.0, 1.5], [0.0, -1.0]):
        z = boundary.equations(np.array([point]))[0]
        name = plotting.side_names(boundary)[0 if z[0] > z[1] else 1]
        column, row = display.ax_.transData.transform(point).round().astype(int)
        seen = picture[picture.shape[0] - row, column] / 255

        assert np.allclose(seen, colours[name], atol=0.02)


def test_a_line_has_its_sides():
    """Above zero the first output is larger; the legend says so."""
    roots = (Root(0.0, 0.0, 0.0, "up", Enclosed()),)
    line = Solutions(roots, "x_1", (-1.0, 1.0), complete=True)
    display = plotting.plot_line(line, np.sin, sides=("above", "below"))
    texts = [text.get_text() for text in display.ax_.get_legend().get_texts()]

    assert texts[:2] == ["above", "below"]
    assert display.ax_.get_ylabel() == "g"


def test_a_title_says_what_is_fixed():
    """Few inputs by value, many by number."""
    many = {f"x_{k}": 0.0 for k in range(20)}

    assert plotting.title_of("z_1 = z_2", {}) == "z_1 = z_2"
    assert plotting.title_of("z_1 = z_2", {"x_3": 0.25}) == "z_1 = z_2 at x_3 = 0.25"
    assert plotting.title_of("z_1 = z_2", many) == "z_1 = z_2 at 20 fixed inputs"


def test_solutions_are_marked_where_their_line_lies_in_the_plane():
    """The points of a line in the plane of the picture; none of a line elsewhere."""
    boundary = asked()
    line = boundary.solve("x_1", {"x_2": 0.3})
    box = {"x_1": (-2, 3), "x_2": (-1.5, 2)}
    display = plotting.plot_boundary(boundary, box)
    before = len(display.ax_.lines)

    assert plotting.mark_solutions(display, boundary, line, box, {}, at={"x_2": 0.3})
    assert len(display.ax_.lines) == before + 1
    marked = display.ax_.lines[-1].get_xydata()
    assert marked.tolist() == [[root.value, 0.3] for root in line]
