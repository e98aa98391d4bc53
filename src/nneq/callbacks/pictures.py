"""The picture of an epoch, drawn while a network learns: only what changes is drawn again."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import numpy as np

from nneq.plotting import CLASS_COLORS, LINE_COLOR, label, new_figure, ring_of

__all__ = ["LivePicture"]

Array = np.ndarray[Any, Any]

_SIZE, _AXES = (5.0, 4.5), (0.14, 0.15, 0.82, 0.77)  # inches; share of the figure
_LONGEST = 16


def _short(name: str) -> str:
    """Return a name that fits into a legend, with nothing that Matplotlib would typeset."""
    text = name if len(name) <= _LONGEST else name[: _LONGEST - 3] + "..."
    return text.replace("$", r"\$").removeprefix("_")


class LivePicture:
    """A picture of the plane that is drawn anew many times.

    The frame with its ticks and names is drawn once and kept as pixels.  Each call then lays the
    class areas, the curve, the edges and the title over a copy of it.

    Args:
        low: lower corner of the box, in input units.
        high: its upper corner.
        names: the two inputs.
        classes: what the class numbers mean; the first eight are named beside their colours.

    Raises:
        MissingDependencyError: Matplotlib is not installed.
    """

    def __init__(
        self,
        low: Sequence[float],
        high: Sequence[float],
        names: Sequence[str],
        classes: Sequence[str] = (),
    ) -> None:
        """Draw the frame."""
        figure = new_figure(_SIZE, layout=None)
        from matplotlib.collections import LineCollection

        figure.set_dpi(100)
        ax = self._ax = figure.add_axes(_AXES)
        self._curve = LineCollection([], colors=LINE_COLOR, linewidths=1.6, animated=True)
        ax.add_collection(self._curve, autolim=False)
        ax.set_xlim(low[0], high[0])
        ax.set_ylim(low[1], high[1])
        label(ax, names)
        self._title = ax.set_title("", parse_math=False, animated=True)
        if classes:
            from matplotlib.patches import Patch

            shown = [_short(name) for name in classes[: len(CLASS_COLORS)]]
            figure.legend(
                [Patch(color=color) for color in CLASS_COLORS[: len(shown)]], shown,
                loc="lower right", ncols=4, fontsize="x-small", frameon=False,
                bbox_to_anchor=(1.0, 0.0), borderaxespad=0.1, handlelength=1.0, columnspacing=1.0,
            )  # fmt: skip
        self._canvas = figure.canvas
        self._canvas.draw()
        self._frame = self._canvas.copy_from_bbox(figure.bbox)
        edges = ax.get_window_extent()
        self._left, self._bottom = round(edges.x0), round(edges.y0)
        self._pixels = (round(edges.x1) - self._left, round(edges.y1) - self._bottom)
        self._colors = np.array(
            [[int(color[k : k + 2], 16) for k in (1, 3, 5)] for color in CLASS_COLORS], np.uint8
        )

    def png(
        self, lines: Sequence[tuple[Any, bool]], classes: Array | None = None, title: str = ""
    ) -> bytes:
        """Return one picture as PNG.

        Args:
            lines: polylines ``(points (k, 2), closed)``, in input units.
            classes: class of every cell of a square grid, shape ``(count**2,)``, the second input
                running faster; None leaves the areas white.
            title: the line above.
        """
        from PIL import Image

        ax, renderer = self._ax, self._canvas.get_renderer()
        self._canvas.restore_region(self._frame)
        if classes is not None:
            count = round(len(classes) ** 0.5)
            cells = self._colors[classes.reshape(count, count).T % len(self._colors)]
            area = Image.fromarray(cells).resize(self._pixels, Image.Resampling.BICUBIC)
            renderer.draw_image(
                renderer.new_gc(), self._left, self._bottom, np.array(area.convert("RGBA"))
            )
        self._curve.set_segments([ring_of(points, closed) for points, closed in lines])
        self._title.set_text(title)
        for artist in (self._curve, *ax.spines.values(), self._title):
            ax.draw_artist(artist)
        buffer = io.BytesIO()
        pixels = np.asarray(self._canvas.buffer_rgba())[..., :3]
        Image.fromarray(np.ascontiguousarray(pixels)).save(buffer, "png", compress_level=1)
        return buffer.getvalue()
