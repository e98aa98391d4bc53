"""Advice in the words of the command line; what comes from a model stays as it is."""

from __future__ import annotations

import pytest

from nneq.boundary.results import Status
from nneq.cli.words import advice


@pytest.mark.parametrize("status", Status)
def test_no_status_speaks_python(status):
    """Every way to end is told with options."""
    said = advice(status.value)

    assert ".undecided" not in said
    assert "Budget(" not in said
    assert "raise the budget" not in said


@pytest.mark.parametrize(
    ("python", "said"),
    [
        (
            """value of x_1, x_2, x_3; write at={"x_1": 0.0, "x_2": 0.0, ...}""",
            "value of x_1, x_2, x_3; write --at x_1=0.0,x_2=0.0,...",
        ),
        ("take it, or lambdify()", "take it, or lambdify()"),
        (
            "use system(), which is linear in the number of weights, matrix_form(), or lambdify()",
            "use --form system, which is linear in the number of weights, or --form matrix",
        ),
        (
            "matrix_form() of the boundary's .reduced equations works for any size",
            "nneq equations with --form matrix works for any size",
        ),
        ("solve() and trace() need no such condition",
         "nneq boundary with --solve or --box needs no such condition"),
    ],
)  # fmt: skip
def test_advice(python, said):
    """Methods become commands and options."""
    assert advice(python) == said


def test_text_of_a_model_is_left_alone():
    """A quoted name that reads like advice is a name."""
    text = "there is no input 'use trace(box)'; the inputs are x_1, x_2"

    assert advice(text) == text
