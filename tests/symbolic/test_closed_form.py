"""Closed forms solve the boundary exactly where they are claimed, completely."""

from __future__ import annotations

import numpy as np
import pytest
import sympy as sp
from zoo_networks import mlp

from nneq.passes import difference
from nneq.symbolic.closed_form import ClosedForms, NoClosedForm, solve_expr

NAMES = ("x_1", "x_2")


def _reduced(first_row, activation, seed):
    random = np.random.default_rng(seed)
    w = random.normal(size=(2, 3)).astype("float32")
    w[0] = first_row
    out = (3 * random.normal(size=(3, 2))).astype("float32")
    return difference(mlp((2, 3, 2), activation, weights=[w, out], seed=seed), 0, 1).network


def _solutions(forms, x_2):
    found = []
    value = sp.Float(x_2, 50)
    for form in forms:
        if bool(form.condition.subs({"x_2": value})):
            found.append(float(form.expr.subs({"x_2": value}).evalf(30)))
    return found


@pytest.mark.parametrize("activation", ["sigmoid", "tanh"])
@pytest.mark.parametrize("row", [(0, 0, 1.5), (1.5, 1.5, 0), (1.5, -1.5, 0)])
@pytest.mark.parametrize("seed", range(3))
def test_all_solutions(activation, row, seed):
    """The formulas give zeros, and as many as a dense scan finds."""
    reduced = _reduced(row, activation, seed)
    forms = solve_expr(reduced, 0, NAMES)
    assert isinstance(forms, ClosedForms)
    for x_2 in (-0.7, 0.1, 0.9):
        t = np.linspace(-50, 50, 40_001)
        v = reduced(np.stack([t, np.full_like(t, x_2)], axis=1))[:, 0]
        changes = int((np.sign(v[1:]) != np.sign(v[:-1])).sum())

        found = [s for s in _solutions(forms, x_2) if abs(s) < 50]

        assert changes == len(found)
        for s in found:
            assert abs(reduced(np.array([[s, x_2]] * 2))[0, 0]) < 1e-9


def test_hyperplane():
    """An affine network's boundary is solved for any input."""
    reduced = difference(mlp((2, 2)), 0, 1).network

    form = solve_expr(reduced, 1, NAMES)[0]

    x_2 = float(form.expr.subs({"x_1": sp.Float(0.3)}))
    assert abs(reduced(np.array([[0.3, x_2]] * 2))[0, 0]) < 1e-14
    assert form.condition is sp.true


def test_no_closed_form_says_why():
    """Where no closed form is known the reason and the call to use are given."""
    general = solve_expr(difference(mlp((2, 3, 2), "tanh"), 0, 1).network, 0, NAMES)
    deep = solve_expr(difference(mlp((2, 3, 3, 2), "tanh"), 0, 1).network, 0, NAMES)
    free = solve_expr(_reduced((0, 0, 0), "tanh", 0), 0, NAMES)

    assert isinstance(general, NoClosedForm)
    assert "3 hidden units depend on x_1" in general.reason
    assert "deeper" in deep.reason
    assert free.reason == "the boundary does not depend on x_1"
    assert not general
