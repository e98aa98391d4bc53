"""Names, points and boxes: every mistake gets one error with the names available."""

from __future__ import annotations

import numpy as np
import pytest
from zoo_networks import mlp

from nneq.api.framing import Frame
from nneq.boundary.results import Box
from nneq.errors import NneqError

FRAME = Frame(mlp((3, 4, 2)))


def test_slice():
    """A box in some inputs, the others fixed."""
    part = FRAME.slice({"x_3": (-1, 2), "x_1": (0, 1)}, {"x_2": 0.5}, free=2)

    assert part.names == ("x_1", "x_3")
    assert part.origin.tolist() == [0.0, 0.5, 0.0]
    assert part.directions.tolist() == [[1, 0], [0, 0], [0, 1]]
    assert part.full_box == Box((0, 0.5, -1), (1, 0.5, 2))


def test_zero_width_fixes_an_input():
    """An interval of zero width is a fixed input."""
    part = FRAME.slice([(0, 1), (2, 2), (0, 1)], free=2)

    assert part.origin.tolist() == [0.0, 2.0, 0.0]


@pytest.mark.parametrize(
    ("box", "at", "message"),
    [
        ({"x_1": (0, 1)}, {"x_2": 0.0, "x_3": 0.0}, "2 free inputs are needed, the box has 1"),
        ({"x_1": (0, 1), "x_2": (0, 1)}, None, "at does not say the value of x_3"),
        ({"x_1": (1, 0), "x_2": (0, 1)}, {"x_3": 0}, "the lower end 1.0 is above the upper end"),
        ({"x_1": (0, float("nan")), "x_2": (0, 1)}, {"x_3": 0}, "NaN"),
        ({"x_1": (0, float("inf")), "x_2": (0, 1)}, {"x_3": 0}, "must be finite"),
        ({"x_1": (-1e308, 1e308), "x_2": (0, 1)}, {"x_3": 0}, "the interval is too wide"),
        (3, None, "pairs in input order or a Box, got 3"),
        ("x_1", None, "pairs in input order or a Box, got 'x_1'"),
        ({"x_1": (0, 1), "x_2": (0, 1)}, [0.5], "at must be a mapping name -> number"),
        ({"y": (0, 1), "x_2": (0, 1)}, {"x_3": 0}, "'y' is not an input"),
        ({"x_1": 3, "x_2": (0, 1)}, {"x_3": 0}, r"expected \(low, high\)"),
        ([(0, 1)], None, "expected 3 intervals in input order, got 1"),
        ({"x_1": (0, 1), "x_2": (0, 1)}, {"x_3": 0, "x_1": 2}, "x_1 is free here"),
        ({"x_1": (0, 1), "x_2": (0, 1)}, {"x_3": "a"}, "is not a number"),
        ({"x_1": (0, 1), "x_2": (0, 1)}, {"x_3": float("inf")}, "is not finite"),
    ],
)
def test_bad_boxes(box, at, message):
    """Every bad box is refused with what is wrong."""
    with pytest.raises(NneqError, match=message):
        FRAME.slice(box, at, free=2)


def test_all_problems_at_once():
    """Two mistakes are in one message."""
    with pytest.raises(NneqError) as error:
        FRAME.slice({"y": (0, 1), "x_2": (2, 1)}, {"x_3": 0}, free=2)

    assert "'y' is not an input" in str(error.value)
    assert "above the upper end" in str(error.value)
    assert "the inputs are x_1, x_2, x_3" in str(error.value)


def test_lines():
    """Arrays in ``at`` make many lines; lengths must agree."""
    lines = FRAME.fixed_lines({"x_2": [0.0, 1.0], "x_3": 5.0}, (0,))

    assert lines.tolist() == [[0, 0, 5], [0, 1, 5]]
    with pytest.raises(NneqError, match="different lengths"):
        FRAME.fixed_lines({"x_2": [0.0, 1.0], "x_3": [1.0, 2.0, 3.0]}, (0,))


def test_names_are_suggested():
    """A name that is nearly right is suggested."""
    with pytest.raises(NneqError, match="did you mean x_1"):
        FRAME.input("x1")
    with pytest.raises(NneqError, match="there is no output 'z_3'"):
        FRAME.output("z_3")


def test_points():
    """Points are checked for length and finiteness."""
    assert FRAME.point([1, 2, 3]).tolist() == [1, 2, 3]
    assert FRAME.point({"x_1": 1, "x_2": 2, "x_3": 3}).tolist() == [1, 2, 3]
    with pytest.raises(NneqError, match="3 entries, got 2"):
        FRAME.point([1, 2])
    with pytest.raises(NneqError, match="not finite at x_2"):
        FRAME.point(np.array([0, np.nan, 0]))
