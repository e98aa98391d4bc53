"""Labels from outside are shown safely in every medium and never become code."""

from __future__ import annotations

import pickle
import re

import numpy as np
import pytest
from zoo_networks import mlp

import nneq
from nneq.symbolic.names import (
    Variable,
    checked,
    csv_text,
    html_text,
    latex_name,
    latex_text,
    terminal_text,
)

HOSTILE = [
    "__import__('os').system('echo pwned')",
    "x_1); import os; os.abort(",
    r"\input{/etc/passwd} $\write18{id}$ % & # _ ^ ~",
    "<script>alert(1)</script>\"'&",
    '=HYPERLINK("http://example.org")',
    "\x1b[31mred\x1b[0m\x07\r\nsecond line",
    "\u202edesrever",
    "lambda",
    "",
    "x" * 100_000,
    "\ud800 lone surrogate",
    "{{7*7}}",
]


def named(labels, outputs=None):
    """Return equations whose inputs have the labels."""
    return nneq.to_equations(mlp([len(labels), 2, 2]), input_names=labels, output_names=outputs)


@pytest.mark.parametrize("label", HOSTILE)
def test_a_terminal_shows_one_plain_line(label):
    """No control, format or surrogate character is left, and the line is short."""
    shown = terminal_text(label)

    assert shown.isprintable()
    assert len(shown) <= 120
    shown.encode("utf-8")


@pytest.mark.parametrize("label", HOSTILE)
def test_latex_escapes_every_special_character(label):
    """What is left of backslashes, braces and dollars belongs to our own escapes."""
    shown = latex_text(label)
    bare = re.sub(r"\\text[a-z]+\{\}|\\[{}$&#_%]", "", shown)

    assert not set(bare) & set("\\{}$&#_%^~")


@pytest.mark.parametrize("label", HOSTILE)
def test_html_holds_no_markup(label):
    """No tag and no quote that could close an attribute."""
    shown = html_text(label)

    assert not set(shown) & set("<>\"'")


@pytest.mark.parametrize("label", ["=1+1", "+cmd|' /C calc'!A0", "-2", "@SUM(A1)", " =1", "\t=1"])
def test_a_spreadsheet_reads_no_formula(label):
    """A cell that would start a formula starts with an apostrophe."""
    assert csv_text(label).startswith("'")


@pytest.mark.parametrize("name", ["x_1", "y2_3", "z_10", "u", "s_4"])
def test_our_own_names_are_identifiers(name):
    """A checked name passes and has a LaTeX form."""
    assert name == checked(name)
    assert latex_name(name)


@pytest.mark.parametrize(
    "name", ["x 1", "x_1\n", "__class__", "x_1_2", "1x", "", "x\u0661", "f(x)"]
)
def test_a_label_is_never_a_name(name):
    """Whatever is not one of our identifiers is refused."""
    with pytest.raises(nneq.NneqError, match="not a name of nneq"):
        checked(name)


def test_latex_of_a_layered_name():
    """The layer is a superscript in parentheses, the unit a subscript."""
    assert "y^{(2)}_{3}" == latex_name("y2_3")


def test_a_variable_is_a_string_with_a_label():
    """It compares as its name and keeps the label through pickling."""
    variable = Variable("x_1", "petal length")
    again = pickle.loads(pickle.dumps(variable))

    assert "x_1" == variable
    assert ("x_1", "petal length") == (again, again.label)


def test_no_form_runs_or_leaks_a_hostile_label():
    """Symbols, source, text, LaTeX and HTML of equations with hostile labels are safe."""
    eqs = named(HOSTILE, ["<b>", "\\end{document}"])
    rows = np.zeros((1, len(HOSTILE)))

    assert {str(s) for s in eqs["z_1"].free_symbols} <= set(eqs.inputs)
    assert "pwned" not in eqs.lambdify().source
    assert eqs.lambdify()(rows).shape == (1, 2)
    assert "\x1b" not in str(eqs)
    assert "<script>" not in eqs._repr_html_()
    assert "\\end{document}" not in eqs.latex()
    assert "\\input" not in eqs.latex()
    assert str(eqs).count("\n") == len(eqs.inputs) - 1 + 2 + 1 + 6 - 1
    str(eqs).encode("utf-8")


def test_an_output_is_found_by_its_label():
    """A class name is as good as z_2, as long as one output has it."""
    eqs = named(["a", "b"], ["cat", "dog"])

    assert eqs["z_2"] == eqs["dog"]
    assert "z_1" == eqs.output_name("cat")


def test_a_label_of_two_outputs_is_refused():
    """The message names both outputs."""
    eqs = named(["a", "b"], ["cat", "cat"])

    with pytest.raises(nneq.NneqError, match="belongs to z_1 and z_2"):
        eqs["cat"]


def test_an_unknown_output_is_refused():
    """The message lists what there is."""
    eqs = named(["a", "b"])

    with pytest.raises(nneq.NneqError, match="there is no output 'z_9'; the outputs are: z_1, z_2"):
        eqs["z_9"]
