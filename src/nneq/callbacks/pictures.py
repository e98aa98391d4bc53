"""The boundary of one epoch as a picture, without touching Matplotlib's global state."""

from __future__ import annotations

import importlib.util
import io
from collections.abc import Sequence
from typing import Any

import numpy as np

from nneq.errors import MissingDependencyError

__all__ = ["draw_curve", "new_figure", "png_of", "require_matplotlib"]

Polyline = tuple[Any, bool]

_LINE = "#1f2a44"


def require_matplotlib() -> None:
    """Raise if Matplotlib is not installed.

    Raises:
        MissingDependencyError: with the command that installs it.
    """
    if importlib.util.find_spec("matplotlib") is None:
        msg = "pictures need Matplotlib: pip install 'nneq[plot]'"
        raise MissingDependencyError(msg)


def new_figure(
    size: tuple[float, float] = (5.0, 4.5), *, layout: str | None = "constrained"
) -> Any:
    """Return a figure of its own canvas (``pyplot`` is never imported).

    Args:
        size: width and height in inches.
        layout: ``"constrained"`` fits the margins, at the price of a second drawing; None: fixed.
    """
    require_matplotlib()
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout=layout)
    FigureCanvasAgg(figure)
    return figure


def draw_curve(
    ax: Any,
    polylines: Sequence[Polyline],
    box: tuple[Sequence[float], Sequence[float]],
    names: Sequence[str],
    *,
    color: Any = _LINE,
    width: float = 1.6,
) -> list[Any]:
    """Draw polylines ``(points (k, 2), closed)`` into an axes; return the artists."""
    artists = []
    for points, closed in polylines:
        ring = np.asarray(points, dtype=np.float64).reshape(-1, 2)
        if closed and len(ring):
            ring = np.vstack([ring, ring[:1]])
        artists += ax.plot(ring[:, 0], ring[:, 1], color=color, linewidth=width)
    ax.set_xlim(box[0][0], box[1][0])
    ax.set_ylim(box[0][1], box[1][1])
    ax.set_xlabel(names[0], parse_math=False)
    ax.set_ylabel(names[1], parse_math=False)
    return artists


def png_of(
    polylines: Sequence[Polyline],
    box: tuple[Sequence[float], Sequence[float]],
    names: Sequence[str],
    title: str = "",
) -> bytes:
    """Return the picture of one epoch as PNG bytes."""
    figure = new_figure(layout=None)  # drawn while a network learns
    ax = figure.add_axes((0.14, 0.12, 0.82, 0.80))
    draw_curve(ax, polylines, box, names)
    ax.set_title(title, parse_math=False)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=100)
    return buffer.getvalue()
