"""A recorded run, read back: tables, pictures, animation, and the equations of any epoch."""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nneq.errors import NneqError
from nneq.plotting import LINE_COLOR, Display, draw_lines, label, new_figure

__all__ = ["BoundaryHistory"]

Array = np.ndarray[Any, Any]

_COLUMNS = (
    ("boundary_shift", "moved by"),
    ("boundary_length", "length"),
    ("boundary_components", "components"),
    ("boundary_roots", "solutions"),
)
# of Matplotlib's player, whose icons come from a web font
_SIGNS = {
    "fa-minus": "&minus;", "fa-plus": "+", "fa-fast-backward": "|&lt;&lt;",
    "fa-step-backward": "&lt;|", "fa-play fa-flip-horizontal": "&#9664;", "fa-pause": "||",
    "fa-play": "&#9654;", "fa-step-forward": "|&gt;", "fa-fast-forward": "&gt;&gt;|",
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class BoundaryHistory:
    """The records of one training run.

    Args:
        records: one mapping per recorded epoch, in order.

    Example:
        >>> history = BoundaryHistory.load("run.jsonl")          # doctest: +SKIP
        >>> history.animate("run.gif")                           # doctest: +SKIP
    """

    records: tuple[Mapping[str, Any], ...]

    def __repr__(self) -> str:
        if not self.records:
            return "<BoundaryHistory: no records>"
        first, last = (int(self.records[k]["epoch"]) for k in (0, -1))
        return f"<BoundaryHistory: {len(self.records)} records, epochs {first} to {last}>"

    @classmethod
    def load(cls, path: str | os.PathLike[str], run: int = -1) -> BoundaryHistory:
        """Read a JSON-lines file; a last line that was cut off by a crash is left out.

        Args:
            path: the file.
            run: which run, where a file holds several: 0 is the first, -1 the last.  A new one
                begins where the epochs start again.

        Raises:
            NneqError: the file cannot be read, holds no record or no such run, or has a damaged
                line inside.
        """
        try:
            lines = Path(path).read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            msg = f"cannot read {str(path)!r} as a boundary history: {error}"
            raise NneqError(msg) from None
        runs: list[list[Mapping[str, Any]]] = []
        for number, line in enumerate(lines, start=1):
            try:
                record = json.loads(line)
                epoch = int(record["epoch"])
                record["values"].items()
            except (ValueError, TypeError, KeyError, AttributeError):
                if number == len(lines):
                    break
                msg = f"line {number} of {str(path)!r} is not a boundary record"
                raise NneqError(msg) from None
            if not runs or epoch <= int(runs[-1][-1]["epoch"]):
                runs.append([])
            runs[-1].append(record)
        if not runs:
            msg = f"{str(path)!r} holds no boundary record"
            raise NneqError(msg)
        if not -len(runs) <= run < len(runs):
            msg = f"there is no run {run} in {str(path)!r}; it holds {len(runs)}, from 0 on"
            raise NneqError(msg)
        return cls(tuple(runs[run]))

    def __len__(self) -> int:
        return len(self.records)

    @property
    def epochs(self) -> list[int]:
        """The recorded epochs."""
        return [int(record["epoch"]) for record in self.records]

    def column(self, key: str) -> Array:
        """Return one number over the epochs (NaN where it was not finite), shape ``(epochs,)``.

        Raises:
            NneqError: there is no such number; the message lists them.
        """
        known = list(self.records[0]["values"])
        if key not in known:
            msg = f"there is no number {key!r}; there are {', '.join(known)}"
            raise NneqError(msg)
        values = [record["values"].get(key) for record in self.records]
        return np.array([math.nan if v is None else float(v) for v in values])

    def equations(self, epoch: int) -> Any:
        """Return the equations of one recorded epoch, bit for bit.

        Raises:
            NneqError: the epoch was not recorded, or the network was too large to store.
        """
        from nneq.api.equations import Equations

        for record in self.records:
            if int(record["epoch"]) == epoch:
                if "equations" not in record:
                    msg = f"epoch {epoch} holds no equations (the network was too large to store)"
                    raise NneqError(msg)
                return Equations.from_dict(record["equations"])
        msg = f"epoch {epoch} was not recorded; recorded are {self.epochs[0]} to {self.epochs[-1]}"
        raise NneqError(msg)

    def _curves(self) -> list[Mapping[str, Any]]:
        found = [record for record in self.records if "curve" in record]
        if not found:
            msg = "this history holds no curves; record with box= (two free inputs)"
            raise NneqError(msg)
        return found

    def plot(self) -> Display:
        """Draw the numbers over the epochs, and the curves coloured from first to last.

        Returns:
            A display object with ``.ax_`` and ``.figure_``.

        Raises:
            MissingDependencyError: Matplotlib is not installed.
        """
        shown = [
            (key, title)
            for key, title in _COLUMNS
            if key in self.records[0]["values"] and np.isfinite(self.column(key)).any()
        ]
        curves = [record for record in self.records if "curve" in record]
        columns = 2 if curves else 1
        figure = new_figure((5.0 * columns, max(3.2, 1.5 * len(shown))))
        grid = figure.add_gridspec(max(1, len(shown)), columns)
        axes: list[Any] = []
        for row, (key, title) in enumerate(shown):
            ax = figure.add_subplot(grid[row, 0], sharex=axes[0] if axes else None)
            first = int(key == "boundary_shift")  # the first record has nothing to move from
            ax.plot(self.epochs[first:], self.column(key)[first:], marker=".", color=LINE_COLOR)
            ax.set_ylabel(title)
            ax.xaxis.get_major_locator().set_params(integer=True)
            ax.label_outer()
            axes.append(ax)
        if axes:
            axes[-1].set_xlabel("epoch")
        if curves:
            ax = figure.add_subplot(grid[:, 1])
            self._draw_all(ax, curves)
            axes.append(ax)
        return Display(axes, figure)

    def _draw_all(self, ax: Any, curves: Sequence[Mapping[str, Any]]) -> None:
        from matplotlib import colormaps
        from matplotlib.cm import ScalarMappable
        from matplotlib.colors import Normalize

        first, last = int(curves[0]["epoch"]), int(curves[-1]["epoch"])
        colors: Any = ScalarMappable(Normalize(first, max(last, first + 1)), colormaps["viridis"])
        for record in curves:
            shade = colors.to_rgba(int(record["epoch"]))
            width = 2.2 if record is curves[-1] else 0.9
            _draw(ax, record, color=shade, width=width)
        bar = ax.figure.colorbar(colors, ax=ax, label="epoch")
        bar.locator.set_params(integer=True)

    def animate(
        self, path: str | os.PathLike[str] | None = None, *, frames_per_second: float = 5.0
    ) -> Any:
        """Return the boundary over the epochs as an animation, and write it.

        Args:
            path: ``.gif`` (needs Pillow, which Matplotlib brings) or ``.html``; None writes
                nothing.
            frames_per_second: speed.

        Returns:
            A Matplotlib ``FuncAnimation``.

        Raises:
            MissingDependencyError: Matplotlib is not installed.
            NneqError: there are no curves, another ending, or a file that cannot be written.
        """
        curves = self._curves()
        ending = None if path is None else Path(path).suffix.lower()
        if ending not in {None, ".gif", ".html"}:
            msg = f"cannot write an animation as {ending!r}; use .gif or .html"
            raise NneqError(msg)
        figure = new_figure()
        ax = figure.add_subplot()
        from matplotlib.animation import FuncAnimation, PillowWriter

        def frame(number: int) -> list[Any]:
            record = curves[number]
            ax.clear()
            artists = _draw(ax, record)
            ax.set_title(f"epoch {int(record['epoch'])}")
            return artists

        movie = FuncAnimation(
            figure, frame, frames=len(curves), interval=1000 / frames_per_second, init_func=list
        )
        if path is None:
            return movie
        speed: Any = frames_per_second  # Matplotlib takes fractions too, and declares integers
        try:
            if ending == ".gif":
                movie.save(os.fspath(path), writer=PillowWriter(fps=speed))
            else:
                Path(path).write_text(_offline(movie.to_jshtml(fps=speed)), encoding="utf-8")
        except OSError as error:
            msg = f"cannot write {str(path)!r}: {error.strerror or error}"
            raise NneqError(msg) from None
        return movie


def _offline(page: str) -> str:
    """Return Matplotlib's page with signs in place of the icons that it would load."""
    page = re.sub(r"<link[^>]*font-awesome[^>]*>", "", page)
    for icon, sign in _SIGNS.items():
        page = page.replace(f'<i class="fa {icon}"></i>', sign)
    return page


def _draw(ax: Any, record: Mapping[str, Any], **look: Any) -> list[Any]:
    """Draw one epoch's curve in its box; return the artists."""
    lines = [(part["points"], bool(part["closed"])) for part in record["curve"]]
    artists = draw_lines(ax, lines, **look)
    low, high = record["box"]
    ax.set_xlim(low[0], high[0])
    ax.set_ylim(low[1], high[1])
    label(ax, record["names"])
    return artists
