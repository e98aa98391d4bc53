"""Every form of the equations says the same as the network, on random networks."""

from __future__ import annotations

import json

import hypothesis
import numpy as np
import pytest
import sympy
from hypothesis import given, settings
from hypothesis import strategies as st
from random_networks import random_network

import nneq
from nneq.ir import float64
from nneq.semantics.tangent import jacobian

seeds = st.integers(0, 10_000)


def small(ask, *args):
    """Return what is asked for; an example above the limits is left out."""
    try:
        return ask(*args)
    except nneq.UnsupportedError:
        hypothesis.reject()


def point_of(eqs: nneq.Equations, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=len(eqs.inputs))


def direct(eqs: nneq.Equations, point: np.ndarray) -> np.ndarray:
    """Return the outputs from the reference arithmetic."""
    arrays, first = [], 0
    for port in eqs.network.inputs:
        arrays.append(point[first : first + port.size].reshape(1, *port.shape))
        first += port.size
    return np.concatenate([out.reshape(-1) for out in float64.evaluate(eqs.network, arrays)])


def assert_close(expected, actual, tolerance=1e-9):
    """The arrays agree relative to their largest entry."""
    expected, actual = np.asarray(expected, float), np.asarray(actual, float)
    assert expected.shape == actual.shape
    scale = max(1.0, float(np.abs(expected).max(initial=0.0)))
    assert np.abs(expected - actual).max(initial=0.0) <= tolerance * scale


@settings(max_examples=60, deadline=None)
@given(seeds)
def test_the_system_evaluates_to_the_network(seed):
    """Evaluating the equations one after the other gives the outputs."""
    eqs = nneq.to_equations(random_network(seed))
    point = point_of(eqs, seed)
    values = dict(zip(map(sympy.Symbol, eqs.inputs), map(sympy.Float, point), strict=True))
    for equation in eqs.system():
        values[equation.lhs] = equation.rhs.xreplace(values).evalf(30)

    assert_close(direct(eqs, point), [float(values[sympy.Symbol(z)]) for z in eqs.outputs])


@settings(max_examples=40, deadline=None)
@given(seeds)
def test_one_expression_evaluates_to_the_network(seed):
    """The substituted expression gives the output, at 30 digits."""
    eqs = nneq.to_equations(random_network(seed, depth=2))
    point = point_of(eqs, seed)
    values = dict(zip(map(sympy.Symbol, eqs.inputs), map(sympy.Float, point), strict=True))
    found = [small(eqs.__getitem__, z).xreplace(values).evalf(30) for z in eqs.outputs]

    assert_close(direct(eqs, point), found)


@settings(max_examples=40, deadline=None)
@given(seeds)
def test_an_expression_reads_inputs_only(seed):
    """No hidden unit is left in a substituted expression."""
    eqs = nneq.to_equations(random_network(seed, depth=2))
    names = {str(symbol) for z in eqs.outputs for symbol in small(eqs.__getitem__, z).free_symbols}

    assert names <= set(eqs.inputs)


@settings(max_examples=100, deadline=None)
@given(seeds)
def test_numbers_agree(seed):
    """The compiled call, the generated source and the reference arithmetic agree on a batch."""
    eqs = nneq.to_equations(random_network(seed))
    rows = np.random.default_rng(seed).normal(size=(7, len(eqs.inputs)))
    expected = np.stack([direct(eqs, row) for row in rows])

    assert_close(expected, eqs(rows), 1e-12)
    assert_close(expected, eqs.lambdify()(rows), 1e-12)
    assert_close(expected[0], eqs(rows[0]), 1e-12)


@settings(max_examples=30, deadline=None)
@given(seeds)
def test_the_jacobian_is_the_derivative(seed):
    """The closed-form Jacobian equals the numerical one, and that equals finite differences."""
    eqs = nneq.to_equations(random_network(seed, depth=2))
    point = point_of(eqs, seed)
    values = dict(zip(map(sympy.Symbol, eqs.inputs), map(sympy.Float, point), strict=True))
    closed = small(eqs.jacobian).xreplace(values).evalf(20)
    closed = np.array(closed.tolist(), dtype=float)
    _, numeric = jacobian(eqs.network, point)
    step = 1e-6
    shifts = step * np.eye(len(point))
    central = np.stack(
        [(direct(eqs, point + s) - direct(eqs, point - s)) / (2 * step) for s in shifts]
    )

    assert_close(numeric, closed.reshape(numeric.shape))
    assert_close(central.T, numeric, 1e-5)


@settings(max_examples=60, deadline=None)
@given(seeds)
def test_json_gives_the_same_equations_back(seed):
    """to_dict and from_dict keep every bit."""
    eqs = nneq.to_equations(random_network(seed))
    again = nneq.Equations.from_dict(json.loads(json.dumps(eqs.to_dict(), allow_nan=False)))
    rows = np.random.default_rng(seed).normal(size=(3, len(eqs.inputs)))

    assert str(eqs) == str(again)
    assert np.array_equal(eqs(rows), again(rows))
    assert str(eqs.network) == str(again.network)


@settings(max_examples=40, deadline=None)
@given(seeds)
def test_every_form_prints(seed):
    """Text, LaTeX, matrix form and notebook output exist and name every output."""
    eqs = nneq.to_equations(random_network(seed))

    assert all(f"{z} = " in str(eqs) for z in eqs.outputs)
    assert eqs.latex().count(r"\begin") == eqs.latex().count(r"\end")
    assert "z" in str(eqs.matrix_form())
    assert eqs._repr_html_().endswith("</pre>")
    assert eqs._repr_latex_().startswith("$")
    assert all(sympy.latex(equation) for equation in eqs.system())


@settings(max_examples=40, deadline=None)
@given(seeds)
def test_an_explanation_agrees_with_the_system(seed):
    """Unit values are those of the equations, and the local map passes through the point."""
    eqs = nneq.to_equations(random_network(seed))
    point = point_of(eqs, seed)
    found = eqs.explain(point)
    values = dict(zip(map(sympy.Symbol, eqs.inputs), map(sympy.Float, point), strict=True))
    for equation in eqs.system():
        values[equation.lhs] = equation.rhs.xreplace(values).evalf(30)
    expected = [float(values[sympy.Symbol(name)]) for name in found.units]

    assert_close(expected, list(found.units.values()))
    assert_close(direct(eqs, point), found.weights @ point + found.bias)


@pytest.mark.parametrize("seed", range(8))
def test_the_source_stands_alone(seed):
    """The generated text runs in a fresh namespace and holds no name of ours but its own."""
    eqs = nneq.to_equations(random_network(seed))
    source = eqs.lambdify().source
    space: dict = {}
    exec(source, space)
    rows = np.random.default_rng(seed).normal(size=(2, len(eqs.inputs)))

    assert_close(eqs(rows), space["outputs"](rows), 1e-12)
    assert "nneq" not in source
