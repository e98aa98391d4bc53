"""SymPy functions made from the rules: values, derivatives, rewriting, big arguments."""

from __future__ import annotations

import mpmath
import numpy as np
import pytest
import sympy

from nneq.activations import RULES
from nneq.symbolic.functions import ACTIVATIONS, Largest, activation

x = sympy.Symbol("x")
SAMPLES = ("-7.25", "-2.75", "-0.3125", "0.4375", "0.875", "1.25", "3.375", "9.125")


def params_of(name):
    return tuple(sympy.Float(value) for value in RULES[name].defaults.values())


def inside(name):
    low, high = RULES[name].domain
    return [s for s in SAMPLES if low < float(s) < high]


@pytest.mark.parametrize("name", sorted(RULES))
def test_evalf_agrees_with_the_numeric_form(name):
    """Thirty digits of SymPy agree with float64."""
    for sample in inside(name):
        exact = activation(name, x, params_of(name)).subs(x, sympy.Rational(sample)).evalf(30)
        defaults = dict(RULES[name].defaults)
        expected = float(RULES[name].numeric(np.array([float(sample)]), defaults)[0])

        assert expected == pytest.approx(float(exact), rel=1e-12, abs=1e-300)


@pytest.mark.parametrize("name", sorted(RULES))
def test_the_derivative_agrees_with_differences(name):
    """``diff`` gives the slope that a central difference at 60 digits shows."""
    function = activation(name, x, params_of(name))
    slope = sympy.diff(function, x)
    h = sympy.Rational(1, 10**20)
    for sample in inside(name):
        at = sympy.Rational(sample)
        high = function.subs(x, at + h).evalf(60)
        low = function.subs(x, at - h).evalf(60)
        expected = float((high - low) / (2 * h))

        assert expected == pytest.approx(float(slope.subs(x, at).evalf(20)), rel=1e-9, abs=1e-15)


@pytest.mark.parametrize("name", ["floor", "ceil", "round", "trunc", "sign"])
def test_a_staircase_has_no_slope(name):
    """Between its jumps the derivative of a staircase is zero."""
    slope = sympy.diff(activation(name, x), x)

    assert 0 == slope.subs(x, sympy.Rational(1, 3)).doit()


@pytest.mark.parametrize("name", sorted(ACTIVATIONS))
def test_expanding_keeps_the_value(name):
    """The formula in SymPy's own functions has the same values."""
    function = activation(name, x, params_of(name))
    expanded = sympy.expand_func(function)

    assert not expanded.has(ACTIVATIONS[name])
    for sample in inside(name):
        at = sympy.Rational(sample)
        found = complex(expanded.subs(x, at).evalf(30))

        assert float(function.subs(x, at).evalf(30)) == pytest.approx(found.real, rel=1e-12)


def test_the_sigmoid_rewrites_to_exponentials():
    """``rewrite(exp)`` gives the formula of the note."""
    assert 1 / (1 + sympy.exp(-x)) == ACTIVATIONS["sigmoid"](x).rewrite(sympy.exp)


def test_tanh_rewrites_to_exponentials():
    """``rewrite(exp)`` leaves no hyperbolic function."""
    found = ACTIVATIONS["tanh"](x).rewrite(sympy.exp)

    assert found.has(sympy.exp)
    assert not found.has(sympy.tanh)


@pytest.mark.parametrize(
    ("name", "z", "expected"),
    [
        ("sigmoid", 800.0, 1.0),
        ("sigmoid", -800.0, 3.7e-348),
        ("softplus", 1e5, 1e5),
        ("gelu", -40.0, -40.0 * 3.66e-350),
        ("log_sigmoid", -1e6, -1e6),
        ("mish", -1000.0, 0.0),
    ],
)
def test_large_arguments_do_not_overflow(name, z, expected):
    """A shifted argument of hundreds neither overflows nor becomes NaN."""
    shifted = activation(name, sympy.Add(x, sympy.Float(z), evaluate=False))
    found = shifted.subs(x, 0).evalf(20)

    assert found.is_finite
    assert float(expected) == pytest.approx(float(found), rel=1e-2, abs=1e-300)


def test_a_tail_keeps_its_digits():
    """Cancellation in the formula is met with more bits: gelu(-40) to 25 digits."""
    with mpmath.workdps(400):
        exact = -40 * (1 + mpmath.erf(-40 / mpmath.sqrt(2))) / 2
    found = ACTIVATIONS["gelu"](sympy.Integer(-40)).evalf(25)

    assert mpmath.nstr(exact, 25) == str(found)


@pytest.mark.parametrize("name", sorted(ACTIVATIONS))
def test_building_evaluates_nothing(name):
    """An exact argument stays as it is written; a floating-point number is computed."""
    third = sympy.Rational(1, 3)
    exact = ACTIVATIONS[name](third, *params_of(name))
    number = ACTIVATIONS[name](sympy.Float("1.25" if name == "acosh" else "0.25"), *params_of(name))

    assert number.is_number
    assert not number.has(ACTIVATIONS[name])
    assert third == exact.args[0]


def test_nesting_is_cheap():
    """Sixty nested activations are built and printed at once."""
    found = x
    for _ in range(60):
        found = ACTIVATIONS["tanh"](found)

    assert 60 == str(found).count("tanh")


def test_lambdify_knows_the_functions():
    """SymPy's own lambdify evaluates them on arrays."""
    function = ACTIVATIONS["sigmoid"](2 * x) + Largest(x, 0.5)
    found = sympy.lambdify(x, function)(np.array([-1.0, 2.0]))

    assert np.allclose([1 / (1 + np.exp(2.0)) + 0.5, 1 / (1 + np.exp(-4.0)) + 2.0], found)


def test_the_largest_is_one_argument():
    """A maximum of numbers is their maximum; of symbols it stays, and converts to Max."""
    y = sympy.Symbol("y")

    assert 3 == Largest(1, 3, 2)
    assert sympy.Max(x, y) == sympy.expand_func(Largest(x, y))
    assert 1 == Largest(x, y).diff(x).subs({x: 2, y: 1})
    assert 0 == Largest(x, y).diff(x).subs({x: 1, y: 2})


def test_pickling_keeps_an_expression():
    """Expressions travel between processes."""
    import pickle

    expression = ACTIVATIONS["leaky_relu"](x, sympy.Float(0.1)) + ACTIVATIONS["gelu"](x)

    assert expression == pickle.loads(pickle.dumps(expression))
