"""Pictures of results: curves, regions, meshes, functions along a line.

Every function takes a finished result and returns a :class:`Display` with ``.ax_`` and
``.figure_``; nothing is solved here, and no global state of Matplotlib is touched.  Text from a
model is drawn as it is, never read as mathematics.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from nneq.errors import MissingDependencyError, NneqError, UnsupportedError

if TYPE_CHECKING:
    from nneq.api.boundary import Boundary
    from nneq.api.framing import At, BoxLike
    from nneq.boundary.results import Curve, PiecewiseBoundary, Solutions, Surface
    from nneq.ir.network import Port

__all__ = [
    "CLASS_COLORS",
    "LINE_COLOR",
    "Display",
    "along_line",
    "axis_names",
    "draw_lines",
    "in_plane",
    "label",
    "mark_solutions",
    "new_figure",
    "plot_boundary",
    "plot_curve",
    "plot_line",
    "plot_regions",
    "plot_surface",
    "require_matplotlib",
    "ring_of",
    "side_names",
    "title_of",
]

Array = np.ndarray[Any, Any]
Evaluate = Callable[[Array], Array]

LINE_COLOR = "#1f2a44"
_BELOW, _ABOVE = "#f6c79a", "#a9c9ea"
CLASS_COLORS = (_ABOVE, _BELOW, "#b9dfb0", "#d5c3ea", "#f3b6b6", "#f4e3a1", "#b5e0dd", "#dcdcdc")
_OPEN = "#c0392b"
_MOST_FIXED = 6
_WIDEST_LEGEND = 70
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


def axis_names(boundary: Boundary, names: Sequence[str]) -> list[str]:
    """Return inputs as an axis names them: ``x_1``, or ``x_1 (width)`` where the model has labels.

    Args:
        boundary: the question, which knows the model.
        names: our names of the inputs.
    """
    ports = boundary.equations.network.inputs
    return [_named(name, ports, boundary.frame.input(name)) for name in names]


def side_names(boundary: Boundary) -> tuple[str, str]:
    """Return what holds on the two sides of a boundary: ``("z_1 > z_2", "z_1 < z_2")``."""
    ports, frame = boundary.equations.network.outputs, boundary.frame
    first = _named(boundary.first, ports, frame.output(boundary.first))
    second = boundary.second
    if isinstance(second, str):
        shown = _named(second, ports, frame.output(second))
    else:
        shown = f"{second:g}"
    return f"{first} > {shown}", f"{first} < {shown}"


def title_of(question: str, fixed: Mapping[str, float]) -> str:
    """Return a title that says what is asked and which inputs are fixed where."""
    if not fixed:
        return question
    values = ", ".join(f"{name} = {value:g}" for name, value in fixed.items())
    shown = values if len(fixed) <= _MOST_FIXED else f"{len(fixed)} fixed inputs"
    return textwrap.fill(f"{question} at {shown}", 60)


def _named(name: str, ports: Sequence[Port], place: int) -> str:
    for port in ports:
        if place < port.size:
            labels = port.entry_labels
            if len(labels) != port.size:
                labels = (port.label if port.size == 1 else "",) * port.size
            shown = "".join(c if c.isprintable() else "?" for c in labels[place])
            short = textwrap.shorten(shown, 30, placeholder="...")
            return name if short in {"", name} else f"{name} ({short})"
        place -= port.size
    return name


def _legend(ax: Any, sides: Sequence[str], others: Sequence[tuple[Any, str]] = ()) -> None:
    """Say below the axes which colour is which side; text is never read as mathematics."""
    from matplotlib.patches import Patch

    colours = (_ABOVE, _BELOW)
    entries = [(Patch(color=c), name) for c, name in zip(colours, sides, strict=False)]
    entries += others
    names = [name for _, name in entries]
    columns = len(names) if len("".join(names)) < _WIDEST_LEGEND else 1
    found = ax.legend(
        [handle for handle, _ in entries], names, ncols=columns,
        loc="upper center", bbox_to_anchor=(0.5, -0.13), frameon=False, fontsize="small",
    )  # fmt: skip
    for text in found.get_texts():
        text.set_parse_math(False)


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
    return plot_curve(
        curve,
        ax=ax,
        evaluate=in_plane(boundary, box, at),
        title=boundary.problem.title,
        sides=side_names(boundary),
    )


def in_plane(boundary: Boundary, box: BoxLike, at: At = None) -> Evaluate:
    """Return ``z_i - z_j`` (reduced) as a function of points ``(k, 2)`` in a box's free inputs."""
    part = boundary.frame.slice(box, at, free=2)

    def evaluate(points: Array) -> Array:
        full = part.origin + points @ part.directions.T
        return np.asarray(boundary.reduced(full))[:, 0]

    return evaluate


def mark_solutions(
    display: Display,
    boundary: Boundary,
    solutions: Solutions,
    box: BoxLike,
    rest: At = None,
    *,
    at: At = None,
) -> bool:
    """Mark the solutions on a line in the picture of a box, and return whether they lie in it.

    Args:
        display: the picture of the box.
        boundary: the question.
        solutions: the result of ``solve``.
        box: the intervals that were drawn.
        rest: the inputs that were fixed in the picture.
        at: the inputs that were fixed on the line.
    """
    frame = boundary.frame
    part, place = frame.slice(box, rest), frame.input(solutions.variable)
    line = frame.fixed(at, (place,))
    fixed = [k for k in range(len(line)) if k not in part.places]
    if place in fixed or not np.array_equal(line[fixed], part.origin[fixed]):
        return False
    points = np.repeat(line[None], len(solutions), axis=0)
    points[:, place] = solutions.values
    low, high = np.array(part.box.low), np.array(part.box.high)
    shown = points[:, part.places]
    shown = shown[((shown >= low) & (shown <= high)).all(axis=1)]
    if len(shown):
        ax = display.ax_
        if len(part.places) > 2:
            ax.computed_zorder = False  # else the mesh hides them
        (marks,) = ax.plot(*shown.T, "o", color=_OPEN, markersize=5, zorder=10)
        where = {name: value for name, value in (at or {}).items() if name in part.names}
        name = title_of(f"solved for {solutions.variable}", where)
        old = ax.get_legend()
        texts = [] if old is None else [text.get_text() for text in old.get_texts()]
        handles = [] if old is None else old.legend_handles
        _legend(ax, (), [*zip(handles, texts, strict=True), (marks, name)])
    return True


def plot_curve(
    curve: Curve,
    *,
    ax: Any = None,
    evaluate: Evaluate | None = None,
    title: str = "",
    sides: tuple[str, str] | None = None,
) -> Display:
    """Draw a boundary in the plane.

    Args:
        curve: the result of ``trace``.
        ax: axes to draw on; a new figure when omitted.
        evaluate: takes points ``(k, 2)`` and returns ``z_i - z_j``; colours the two sides.
        title: the line above.
        sides: what holds where ``evaluate`` is positive, and where it is negative; a legend.

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
    if sides is not None:
        _legend(ax, sides)
    return Display(ax, ax.figure)


def plot_line(
    solutions: Solutions,
    values: Callable[[Array], Array],
    *,
    ax: Any = None,
    title: str = "",
    sides: tuple[str, str] | None = None,
) -> Display:
    """Draw ``z_i - z_j`` along a line, with its solutions.

    Args:
        solutions: the result of ``solve`` or ``along``.
        values: takes points ``(k,)`` on the line and returns ``z_i - z_j`` there.
        ax: axes to draw on; a new figure when omitted.
        title: the line above.
        sides: what holds where ``values`` is positive, and where it is negative; colours them.

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
    (marks,) = ax.plot(roots, np.zeros(len(roots)), "o", color=_OPEN)
    for start, end in solutions.identical:
        ax.axvspan(max(start, low), min(end, high), color=LINE_COLOR, alpha=0.3, linewidth=0)
    for start, end in solutions.undecided:
        ax.axvspan(max(start, low), min(end, high), color=_OPEN, alpha=0.4, linewidth=0)
    ax.set_xlim(low, high)
    label(ax, [solutions.variable], title)
    ax.set_ylabel("g")
    if sides is not None:
        bottom, top = ax.get_ylim()
        ax.axhspan(0.0, max(top, 0.0), color=_ABOVE, linewidth=0, zorder=0)
        ax.axhspan(min(bottom, 0.0), 0.0, color=_BELOW, linewidth=0, zorder=0)
        ax.set_ylim(bottom, top)
        _legend(ax, sides, [(marks, "solutions")] if len(roots) else [])
    return Display(ax, ax.figure)


def along_line(boundary: Boundary, solutions: Solutions, at: At = None) -> Callable[[Array], Array]:
    """Return ``z_i - z_j`` (reduced) as a function of the variable that was solved for.

    Args:
        boundary: the question.
        solutions: the result of ``solve``.
        at: the other inputs; those that the solutions name when None.
    """
    place = boundary.frame.input(solutions.variable)
    origin = boundary.frame.fixed(dict(solutions.at) if at is None else at, (place,))

    def values(points: Array) -> Array:
        full = np.repeat(origin[None], len(points), axis=0)
        full[:, place] = points
        return np.asarray(boundary.reduced(full))[:, 0]

    return values


def plot_regions(
    found: PiecewiseBoundary, *, ax: Any = None, title: str = "", question: str = ""
) -> Display:
    """Draw the linear regions of a piecewise-linear network in the plane, and the boundary.

    Args:
        found: the result of ``regions`` with two free inputs.
        ax: axes to draw on; a new figure when omitted.
        title: the line above.
        question: what holds on the boundary, as in ``z_1 = z_2``; a legend.

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
    if question:
        from matplotlib.lines import Line2D
        from matplotlib.patches import Patch

        line = Line2D([], [], color=LINE_COLOR, linewidth=1.8)
        region = Patch(facecolor=colours[0] if len(colours) else "w", edgecolor="0.6")
        _legend(ax, (), [(line, question), (region, "linear regions, each with its own colour")])
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
