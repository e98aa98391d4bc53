"""Names, points and boxes as a user writes them, to the flat places engines use.

Every function collects all problems and raises one error that lists the names available.
"""

from __future__ import annotations

import difflib
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from nneq.boundary.results import Box
from nneq.errors import NneqError, problems_message
from nneq.ir import Network

__all__ = ["Frame", "Slice"]

Array = np.ndarray[Any, Any]
At = Mapping[str, Any] | None
BoxLike = Mapping[str, tuple[float, float]] | Sequence[tuple[float, float]] | Box


@dataclass(frozen=True, eq=False)
class Slice:
    """A box in some inputs, the others fixed.

    Args:
        origin: the point with the free inputs at 0, shape ``(n,)``.
        places: the free inputs.
        names: their names.
        box: the box in the free inputs.
    """

    origin: Array
    places: tuple[int, ...]
    names: tuple[str, ...]
    box: Box

    @property
    def directions(self) -> Array:
        """Unit vectors of the free inputs, shape ``(n, d)``."""
        found = np.zeros((self.origin.size, len(self.places)))
        found[self.places, range(len(self.places))] = 1.0
        return found

    @property
    def full_box(self) -> Box:
        """The box in all inputs (fixed ones have zero width)."""
        low, high = self.origin.copy(), self.origin.copy()
        low[list(self.places)] = self.box.low
        high[list(self.places)] = self.box.high
        return Box(tuple(low), tuple(high))


class Frame:
    """The names of one network's input and output entries."""

    def __init__(self, network: Network) -> None:
        """Number the entries: inputs ``x_1 ... x_n``, outputs ``z_1 ... z_m``."""
        self.inputs = tuple(f"x_{k + 1}" for k in range(network.input_size))
        self.outputs = tuple(f"z_{k + 1}" for k in range(network.output_size))
        self._input_places = _places(self.inputs, _labels(network, "inputs"))
        self._output_places = _places(self.outputs, _labels(network, "outputs"))

    def input(self, name: str) -> int:
        """Return the 0-based place of an input.

        Raises:
            NneqError: when there is none of that name.
        """
        return self._find(name, self._input_places, self.inputs, "input")

    def output(self, name: str) -> int:
        """Return the 0-based place of an output, by name or by class label.

        Raises:
            NneqError: when there is none of that name.
        """
        return self._find(name, self._output_places, self.outputs, "output")

    @staticmethod
    def _find(name: str, places: Mapping[str, int], names: tuple[str, ...], kind: str) -> int:
        if isinstance(name, str) and name in places:
            return places[name]
        raise NneqError(f"there is no {kind} {name!r}; {_available(name, names, kind)}")

    def point(self, x: Any) -> Array:
        """Return a full point ``(n,)`` from an array-like or a mapping name -> number.

        Raises:
            NneqError: wrong length, unknown or missing names, or values that are not finite.
        """
        if isinstance(x, Mapping):
            return self.fixed(x, ())
        found = as_floats(x).reshape(-1)
        if found.size != len(self.inputs):
            msg = f"expected a point with {len(self.inputs)} entries, got {found.size}"
            raise NneqError(msg)
        if not np.isfinite(found).all():
            bad = [self.inputs[k] for k in np.flatnonzero(~np.isfinite(found))[:5]]
            msg = f"the point is not finite at {', '.join(bad)}"
            raise NneqError(msg)
        return found

    def fixed(self, at: At, free: Sequence[int], *, given_free_is_error: bool = True) -> Array:
        """Return the point with every input that is not free taken from ``at``; free ones are 0.

        Raises:
            NneqError: unknown, missing or superfluous names; values that are not finite numbers.
        """
        lines = self.fixed_lines(at, free, given_free_is_error=given_free_is_error)
        if lines.shape[0] != 1:
            msg = "at: one number per input is needed here, not an array"
            raise NneqError(msg)
        found: Array = lines[0]
        return found

    def fixed_lines(
        self, at: At, free: Sequence[int], *, given_free_is_error: bool = True
    ) -> Array:
        """Return one point per entry of the arrays in ``at`` (broadcast), shape ``(L, n)``.

        Raises:
            NneqError: unknown, missing or superfluous names; values that are not finite numbers;
                arrays of different lengths.
        """
        given = _given(at)
        columns: dict[int, Array] = {}
        problems = []
        for name, value in given.items():
            if name not in self._input_places:
                problems.append(f"{name!r} is not an input")
                continue
            place = self._input_places[name]
            if place in free:
                if given_free_is_error:
                    problems.append(f"{name} is free here and must not be fixed by at")
                continue
            try:
                column = np.atleast_1d(np.asarray(value, dtype=np.float64)).reshape(-1)
            except (TypeError, ValueError):
                problems.append(f"at[{name!r}] is not a number")
                continue
            if not column.size:
                problems.append(f"at[{name!r}] is empty")
            elif not np.isfinite(column).all():
                problems.append(f"at[{name!r}] is not finite")
            columns[place] = column
        missing = [name for k, name in enumerate(self.inputs) if k not in columns and k not in free]
        if missing and not problems:
            shown = ", ".join(missing[:8]) + (", ..." if len(missing) > 8 else "")
            example = ", ".join(f'"{name}": 0.0' for name in missing[:3])
            problems.append(f"at does not say the value of {shown}; write at={{{example}, ...}}")
        lengths = {column.size for column in columns.values()} - {1}
        if len(lengths) > 1:
            problems.append(f"the arrays in at have different lengths: {sorted(lengths)}")
        if problems:
            names = _available("", self.inputs, "input")
            raise NneqError(problems_message("cannot fix the other inputs", problems, names))
        count = max(lengths, default=1)
        points = np.zeros((count, len(self.inputs)))
        for place, column in columns.items():
            points[:, place] = column
        return points

    def slice(self, box: BoxLike, at: At = None, *, free: int | None = None) -> Slice:
        """Return the box a user wrote, with the inputs that are not in it fixed by ``at``.

        Args:
            box: mapping name -> ``(low, high)``, a sequence of pairs in input order, or a ``Box``.
            at: values of the inputs that are not in the box.
            free: how many inputs of positive width the method takes; None: any number.

        Raises:
            NneqError: unknown names, reversed or empty or non-finite intervals, the wrong number
                of free inputs.
        """
        intervals, problems = self._intervals(box)
        found: dict[int, tuple[float, float]] = {}
        pinned: dict[str, float] = {}
        for place, pair in intervals.items():
            name = self.inputs[place]
            try:
                low, high = (float(end) for end in pair)
            except (TypeError, ValueError):
                problems.append(f"{name}: expected (low, high), got {pair!r}")
                continue
            if math.isnan(low) or math.isnan(high):
                problems.append(f"{name}: an end of the interval is NaN")
            elif math.isinf(low) or math.isinf(high):
                problems.append(f"{name}: the interval must be finite")
            elif low > high:
                problems.append(f"{name}: the lower end {low!r} is above the upper end {high!r}")
            elif math.isinf(high - low):
                problems.append(f"{name}: the interval is too wide; use ends of at most 1e300")
            elif low == high:
                pinned[name] = low
            else:
                found[place] = (low, high)
        if free is not None and not problems and len(found) != free:
            have = ", ".join(self.inputs[k] for k in sorted(found)) or "none"
            problems.append(
                f"{free} free inputs are needed, the box has {len(found)} ({have}); fix the others "
                "with at={...}"
            )
        if not problems and not found:
            problems.append("every interval has zero width: the box is a point")
        if problems:
            names = _available("", self.inputs, "input")
            raise NneqError(problems_message("this box cannot be used", problems, names))
        places = tuple(sorted(found))
        origin = self.fixed({**pinned, **_given(at)}, places)
        chosen = Box(tuple(found[k][0] for k in places), tuple(found[k][1] for k in places))
        return Slice(origin, places, tuple(self.inputs[k] for k in places), chosen)

    def _intervals(self, box: BoxLike) -> tuple[dict[int, Any], list[str]]:
        problems: list[str] = []
        if isinstance(box, Box):
            box = list(zip(box.low, box.high, strict=True))
        if isinstance(box, Mapping):
            intervals: dict[int, Any] = {}
            for name, pair in box.items():
                if name in self._input_places:
                    intervals[self._input_places[name]] = pair
                else:
                    problems.append(f"{name!r} is not an input")
            return intervals, problems
        if isinstance(box, str) or not isinstance(box, Iterable):
            problems.append(
                f"expected name -> (low, high), pairs in input order or a Box, got {box!r}"
            )
            return {}, problems
        pairs = list(box)
        if len(pairs) != len(self.inputs):
            problems.append(
                f"expected {len(self.inputs)} intervals in input order, got {len(pairs)}; a box in "
                "some inputs only is a mapping name -> (low, high)"
            )
            return {}, problems
        return dict(enumerate(pairs)), problems


def as_floats(x: Any) -> Array:
    """Return an array-like as float64.

    Raises:
        NneqError: it does not hold numbers in a regular shape.
    """
    try:
        return np.asarray(x, dtype=np.float64)
    except (TypeError, ValueError) as error:
        msg = f"expected numbers, got {type(x).__name__}: {error}"
        raise NneqError(msg) from None


def _given(at: At) -> dict[str, Any]:
    if at is not None and not isinstance(at, Mapping):
        msg = f"at must be a mapping name -> number, got {at!r}"
        raise NneqError(msg)
    return dict(at or {})


def _labels(network: Network, side: str) -> list[str]:
    found: list[str] = []
    for port in getattr(network, side):
        labels = list(port.entry_labels)
        if len(labels) != port.size:
            labels = [port.label] if port.size == 1 else [""] * port.size
        found += labels
    return found


def _places(names: tuple[str, ...], labels: list[str]) -> dict[str, int]:
    places: dict[str, int] = {}
    counts = Counter(labels)
    places.update({label: k for k, label in enumerate(labels) if label and counts[label] == 1})
    places.update({name: k for k, name in enumerate(names)})
    return places


def _available(name: Any, names: tuple[str, ...], kind: str) -> str:
    close = difflib.get_close_matches(str(name), names, n=3) if len(names) <= 10_000 else []
    if close:
        return f"did you mean {' or '.join(close)}?"
    if not names:
        return f"the model has no {kind}s"
    shown = ", ".join(names) if len(names) <= 8 else f"{', '.join(names[:3])}, ..., {names[-1]}"
    return f"the {kind}s are {shown}"
