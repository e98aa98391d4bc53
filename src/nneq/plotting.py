"""Pictures of results: curves, regions, meshes, functions along a line.

Every function takes a finished result and returns a :class:`Display` with ``.ax_`` and
``.figure_``; nothing is solved here, and no global state of Matplotlib is touched.  Text from a
model is drawn as it is, never read as mathematics.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from nneq.errors import MissingDependencyError, NneqError, UnsupportedError

if TYPE_CHECKING:
    from nneq.api.boundary import Boundary
    from nneq.api.framing import At, BoxLike
    from nneq.boundary.results import Curve, PiecewiseBoundary, Solutions, Surface

__all__ = [
    "CLASS_COLORS",
    "LINE_COLOR",
    "Display",
    "along_line",
    "draw_lines",
    "label",
    "new_figure",
    "plot_boundary",
    "plot_curve",
    "plot_line",
    "plot_regions",
    "plot_surface",
    "require_matplotlib",
    "ring_of",
]

Array = np.ndarray[Any, Any]
Evaluate = Callable[[Array], Array]

LINE_COLOR = "#1f2a44"
_BELOW, _ABOVE = "#f6c79a", "#a9c9ea"
CLASS_COLORS = (_ABOVE, _BELOW, "#b9dfb0", "#d5c3ea", "#f3b6b6", "#f4e3a1", "#b5e0dd", "#dcdcdc")
_OPEN = "#c0392b"
_FORMATS = (".pdf", ".png", ".svg")


@dataclass(frozen=True, eq=False)
class Display:
    """A drawn picture.

    Args:
        ax_: the Matplotlib axes (a list where a picture has several).
        figure_: the figure that holds it.
    """

    ax_: Any
    figure_: Any

    def save(self, path: str | Path, dpi: int = 150) -> None:
        """Write the picture; the ending says the format (``.png``, ``.svg`` or ``.pdf``).

        Raises:
            NneqError: another ending.
            OSError: the file cannot be written.
        """
        suffix = Path(path).suffix.lower()
        if suffix not in _FORMATS:
            msg = f"cannot draw to {str(path)!r}: the ending must be one of {', '.join(_FORMATS)}"
            raise NneqError(msg)
        self.figure_.savefig(path, dpi=dpi, format=suffix[1:], bbox_inches="tight")


def require_matplotlib() -> None:
    """Raise if Matplotlib is not installed.

    Raises:
        MissingDependencyError: with the command that installs it.
    """
    try:
        import matplotlib.figure  # noqa: F401
    except ImportError as error:
        msg = "pictures need Matplotlib; install it with: pip install 'nneq[plot]'"
        raise MissingDependencyError(msg) from error


def new_figure(
    size: tuple[float, float] = (6.0, 5.0), *, layout: Literal["constrained"] | None = "constrained"
) -> Any:
    """Return a figure with a canvas of its own (``pyplot`` is never imported).

    Args:
        size: width and height in inches.
        layout: ``"constrained"`` fits the margins, at the price of a second drawing; None: fixed.

    Raises:
        MissingDependencyError: Matplotlib is not installed.
    """
    require_matplotlib()
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout=layout)
    FigureCanvasAgg(figure)
    return figure


def _axes(ax: Any, *, solid: bool = False) -> Any:
    if ax is not None:
        return ax
    figure = new_figure()
    return figure.add_subplot(projection="3d") if solid else figure.add_subplot()


def label(ax: Any, names: Sequence[str], title: str = "") -> None:
    """Name the axes, and write a title, as plain text."""
    ax.set_xlabel(names[0], parse_math=False)
    if len(names) > 1:
        ax.set_ylabel(names[1], parse_math=False)
    if len(names) > 2:
        ax.set_zlabel(names[2], parse_math=False)
    if title:
        ax.set_title(title, parse_math=False)


def ring_of(points: Any, closed: bool) -> Array:
    """Return a polyline's vertices ``(k, 2)``; the first once more at the end of a closed one."""
    ring = np.asarray(points, dtype=np.float64).reshape(-1, 2)
    return np.vstack([ring, ring[:1]]) if closed and len(ring) else ring


def draw_lines(
    ax: Any, lines: Sequence[tuple[Any, bool]], *, color: Any = LINE_COLOR, width: float = 1.6
) -> list[Any]:
    """Draw polylines ``(points (k, 2), closed)`` into an axes; return the artists."""
    artists: list[Any] = []
    for points, closed in lines:
        ring = ring_of(points, closed)
        artists += ax.plot(ring[:, 0], ring[:, 1], color=color, linewidth=width)
    return artists


def _shade(ax: Any, low: Sequence[float], high: Sequence[float], evaluate: Evaluate) -> None:
    """Colour the plane by the sign of ``evaluate``, which takes points ``(k, 2)``."""
    count = 300
    first = np.linspace(low[0], high[0], count)
    second = np.linspace(low[1], high[1], count)
    points = np.stack(np.meshgrid(first, second), axis=-1).reshape(-1, 2)
    values = np.asarray(evaluate(points), dtype=np.float64).reshape(count, count)
    signs = np.where(np.isnan(values), np.nan, np.sign(values))
    ax.contourf(first, second, signs, levels=[-2, -1e-9, 1e-9, 2], colors=[_BELOW, "w", _ABOVE])


def plot_boundary(boundary: Boundary, box: BoxLike, *, at: At = None, ax: Any = None) -> Display:
    """Trace a boundary in a box of two free inputs and draw it, with its two sides.

    Args:
        boundary: the question.
        box: intervals of two inputs.
        at: the other inputs.
        ax: axes to draw on; a new figure when omitted.

    Returns:
        The display.

    Raises:
        MissingDependencyError: Matplotlib is not installed.
        NneqError: see ``Boundary.trace``.
    """
    ax = _axes(ax)
    curve = boundary.trace(box, at)
    part = boundary.frame.slice(box, at, free=2)

    def evaluate(points: Array) -> Array:
        full = part.origin + points @ part.directions.T
        return np.asarray(boundary.reduced(full))[:, 0]

    return plot_curve(curve, ax=ax, evaluate=evaluate, title=boundary.problem.title)


def plot_curve(
    curve: Curve, *, ax: Any = None, evaluate: Evaluate | None = None, title: str = ""
) -> Display:
    """Draw a boundary in the plane.

    Args:
        curve: the result of ``trace``.
        ax: axes to draw on; a new figure when omitted.
        evaluate: takes points ``(k, 2)`` and returns ``z_i - z_j``; colours the two sides.
        title: the line above.

    Returns:
        The display.

    Raises:
        MissingDependencyError: Matplotlib is not installed.
    """
    ax = _axes(ax)
    low, high = curve.box.low, curve.box.high
    if evaluate is not None:
        _shade(ax, low, high, evaluate)
    for tie in curve.ties:
        ax.fill(tie[:, 0], tie[:, 1], color=LINE_COLOR, alpha=0.35, linewidth=0)
    draw_lines(ax, [(part.points, part.closed) for part in curve.components])
    for box in curve.undecided:
        xs = [box.low[0], box.high[0], box.high[0], box.low[0]]
        ys = [box.low[1], box.low[1], box.high[1], box.high[1]]
        ax.fill(xs, ys, color=_OPEN, alpha=0.6)
    ax.set_xlim(low[0], high[0])
    ax.set_ylim(low[1], high[1])
    label(ax, curve.names, title)
    return Display(ax, ax.figure)


def plot_line(
    solutions: Solutions, values: Callable[[Array], Array], *, ax: Any = None, title: str = ""
) -> Display:
    """Draw ``z_i - z_j`` along a line, with its solutions.

    Args:
        solutions: the result of ``solve`` or ``along``.
        values: takes points ``(k,)`` on the line and returns ``z_i - z_j`` there.
        ax: axes to draw on; a new figure when omitted.
        title: the line above.

    Returns:
        The display.

    Raises:
        MissingDependencyError: Matplotlib is not installed.
    """
    ax = _axes(ax)
    roots = solutions.values
    low, high = solutions.domain
    if not (np.isfinite(low) and np.isfinite(high)):
        spread = max(1.0, float(np.ptp(roots))) if len(roots) else 3.0
        centre = float(np.mean(roots)) if len(roots) else 0.0
        low = low if np.isfinite(low) else centre - 1.5 * spread
        high = high if np.isfinite(high) else centre + 1.5 * spread
    points = np.linspace(low, high, 1001)
    ax.axhline(0.0, color="0.6", linewidth=0.8)
    ax.plot(points, values(points), color=LINE_COLOR, linewidth=1.6)
    ax.plot(roots, np.zeros(len(roots)), "o", color=_OPEN)
    for start, end in solutions.identical:
        ax.axvspan(max(start, low), min(end, high), color=LINE_COLOR, alpha=0.3, linewidth=0)
    for start, end in solutions.undecided:
        ax.axvspan(max(start, low), min(end, high), color=_OPEN, alpha=0.4, linewidth=0)
    ax.set_xlim(low, high)
    label(ax, [solutions.variable], title)
    return Display(ax, ax.figure)


def along_line(boundary: Boundary, solutions: Solutions) -> Callable[[Array], Array]:
    """Return ``z_i - z_j`` (reduced) as a function of the variable that was solved for."""
    place = boundary.frame.input(solutions.variable)
    origin = boundary.frame.fixed(dict(solutions.at), (place,))

    def values(points: Array) -> Array:
        full = np.repeat(origin[None], len(points), axis=0)
        full[:, place] = points
        return np.asarray(boundary.reduced(full))[:, 0]

    return values


def plot_regions(found: PiecewiseBoundary, *, ax: Any = None, title: str = "") -> Display:
    """Draw the linear regions of a piecewise-linear network in the plane, and the boundary.

    Args:
        found: the result of ``regions`` with two free inputs.
        ax: axes to draw on; a new figure when omitted.
        title: the line above.

    Returns:
        The display.

    Raises:
        MissingDependencyError: Matplotlib is not installed.
        UnsupportedError: there are not two free inputs.
    """
    if len(found.names) != 2:
        count = len(found.names)
        msg = f"regions are drawn for two free inputs, not {count}; fix the others with at="
        raise UnsupportedError(msg)
    ax = _axes(ax)
    from matplotlib.collections import LineCollection, PolyCollection

    colours = np.random.default_rng(0).uniform(0.72, 0.97, (len(found.regions), 3))
    polygons = [region.vertices for region in found.regions]
    ax.add_collection(
        PolyCollection(polygons, facecolors=colours, edgecolors="0.6", linewidths=0.3)
    )
    for tie in found.ties:
        ax.fill(tie.vertices[:, 0], tie.vertices[:, 1], color=LINE_COLOR, alpha=0.35)
    lines = [piece.vertices for piece in found.pieces]
    ax.add_collection(LineCollection(lines, colors=LINE_COLOR, linewidths=1.8))
    ax.set_xlim(found.box.low[0], found.box.high[0])
    ax.set_ylim(found.box.low[1], found.box.high[1])
    label(ax, found.names, title)
    return Display(ax, ax.figure)


def plot_surface(surface: Surface, *, ax: Any = None, title: str = "") -> Display:
    """Draw a boundary in space as its mesh.

    Args:
        surface: the result of ``surface``.
        ax: three-dimensional axes to draw on; a new figure when omitted.
        title: the line above.

    Returns:
        The display.

    Raises:
        MissingDependencyError: Matplotlib is not installed.
    """
    ax = _axes(ax, solid=True)
    if len(surface.faces):
        v = surface.vertices
        ax.plot_trisurf(v[:, 0], v[:, 1], v[:, 2], triangles=surface.faces, color=_ABOVE, alpha=0.8)
    for setter, low, high in zip(
        (ax.set_xlim, ax.set_ylim, ax.set_zlim), surface.box.low, surface.box.high, strict=True
    ):
        setter(low, high)
    label(ax, surface.names, title)
    return Display(ax, ax.figure)
