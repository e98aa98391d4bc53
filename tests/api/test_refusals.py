"""What cannot be asked is refused with one message that says what to ask instead."""

from __future__ import annotations

import numpy as np
import pytest
from certified_networks import mlp

from nneq.api.importing import to_equations
from nneq.boundary.results import Budget
from nneq.errors import NneqError, UnsupportedError

EQUATIONS = to_equations(mlp((2, 4, 2), ("tanh",)))
BOUNDARY = EQUATIONS.boundary("z_1", "z_2")
BOX = [(-1, 1), (-1, 1)]
AT = {"x_2": 0.0}


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda: EQUATIONS.boundary("z_1", None), "name of an output or a number .* not None"),
        (lambda: EQUATIONS("abc"), "expected numbers, got str"),
        (lambda: EQUATIONS.explain([float("nan"), 0]), "finite numbers"),
        (lambda: EQUATIONS.verify(seed=-1), "seed must be 0 or more"),
        (lambda: EQUATIONS.decision_map(BOX, precision="half"), "unknown precision 'half'"),
        (lambda: BOUNDARY.solve("x_1", AT, precision="half"), "unknown precision 'half'"),
        (lambda: BOUNDARY.trace(BOX, precision="half"), "unknown precision 'half'"),
        (lambda: BOUNDARY.solve("x_1", AT, domain=(1, 2, 3)), r"must be \(low, high\)"),
        (lambda: BOUNDARY.solve("x_1", AT, domain=(-1e308, 1e308)), "too wide; use ends"),
        (lambda: BOUNDARY.solve("x_1", [0.0]), "at must be a mapping"),
        (lambda: BOUNDARY.along([-1e308] * 2, [1e308] * 2), "too long; use points"),
        (lambda: BOUNDARY.nearest([1e200] * 2), "too far out"),
        (lambda: BOUNDARY.solve("x_1", AT, budget=3), r"nneq.Budget\(seconds=...\), got 3"),
        (lambda: BOUNDARY.solve("x_1", {"x_2": np.zeros(0)}), "at\\['x_2'\\] is empty"),
        (lambda: BOUNDARY.along("ab", "cd"), "expected numbers, got str"),
    ],
)
def test_refused(ask, message):
    """A wrong argument is an error of nneq that names it."""
    with pytest.raises(NneqError, match=message):
        ask()


@pytest.mark.parametrize("rule", ["relu", "floor"])
def test_no_differential_equation(rule):
    """Units without a derivative are named where a derivative is needed."""
    boundary = to_equations(mlp((2, 4, 2), (rule,))).boundary("z_1", "z_2")

    with pytest.raises(UnsupportedError, match=rf"in the way: {rule} .*use trace\(box\)"):
        boundary.ode("x_1", wrt="x_2")


def test_both_unknown_outputs_are_named():
    """A boundary between two outputs that do not exist names both in one error."""
    with pytest.raises(NneqError, match=r"(?s)no output 'z_9'.*no output 'z_8'"):
        EQUATIONS.boundary("z_9", "z_8")


def test_an_unknown_option_of_a_boundary_is_named():
    """A misspelt option is one clear error, not a traceback."""
    with pytest.raises(NneqError, match=r"no option decison; the only one is decision=True"):
        EQUATIONS.boundary("z_1", "z_2", decison=True)


def test_a_budget_is_made_of_numbers():
    """Text in a budget is named."""
    with pytest.raises(NneqError, match=r"seconds='2'"):
        Budget(seconds="2")


def test_write_text_wants_an_open_file():
    """A path is refused with the call to use."""
    with pytest.raises(NneqError, match="open text file"):
        EQUATIONS.write_text("eqs.txt")
