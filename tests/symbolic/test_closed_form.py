"""Closed forms solve the boundary exactly where they are claimed, completely."""

from __future__ import annotations

import numpy as np
import pytest
import sympy as sp
from certified_networks import one_hidden
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


def _one_layer(rows, offsets, weights, bias):
    return difference(
        one_hidden(rows, offsets, [weights, [0.0] * len(weights)], [bias, 0.0], "sigmoid"), 0, 1
    ).network


def test_units_that_cancel_have_every_input_as_a_solution():
    """With s(x) + s(-x) - 1 = 0 no formula is claimed to hold all solutions."""
    found = solve_expr(_one_layer([[1.0], [-1.0]], [0.0, 0.0], [1.0, 1.0], -1.0), 0, ("x_1",))

    assert isinstance(found, NoClosedForm)
    assert "every x_1 is a solution" in found.reason


def test_a_slice_on_which_all_inputs_are_solutions_is_said():
    """On x_2 = 0 the equation s(x_1 + x_2) = s(x_1 - x_2) holds for every x_1."""
    network = _one_layer([[1.0, 1.0], [1.0, -1.0]], [0.0, 0.0], [1.0, -1.0], 0.0)
    found = solve_expr(network, 0, NAMES)

    assert isinstance(found, ClosedForms)
    assert "every x_1 is a solution" in found.reason
    assert [] == _solutions(found, 0.5)


def test_one_input_without_solutions():
    """Complex roots of the polynomial in one input are no solutions, and no error."""
    network = _one_layer([[1.0], [-1.0]], [-1.0, -1.0], [1.0, 1.0], -0.1)
    found = solve_expr(network, 0, ("x_1",))

    assert isinstance(found, ClosedForms)
    assert not any(bool(form.condition) for form in found)
