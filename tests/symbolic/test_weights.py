"""Every weight is in every form bit for bit."""

from __future__ import annotations

import io
import re

import numpy as np
import pytest
import sympy
from zoo_networks import mlp

import nneq
from nneq.ir import Source
from nneq.ir import linear_map as lm
from nneq.lowering.builder import Builder
from nneq.symbolic.system import weight

NUMBER = re.compile(r"(?<![\w.])(\d+\.\d+(?:e-?\d+)?|\d+e-?\d+)")


def stored(network):
    """Return the absolute values of all stored weights, sorted."""
    found = []
    for node in network.nodes:
        for term in getattr(node, "terms", ()):
            found += [w.reshape(-1) for w in term.map.parameters]
        if getattr(node, "bias", None) is not None:
            found.append(node.bias.reshape(-1))
    return sorted(np.abs(np.concatenate(found).astype(np.float64)).tolist())


def numbers_of(text):
    return sorted(float(part) for part in NUMBER.findall(text))


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])
def test_text_holds_every_bit(dtype):
    """The decimals of the text are the stored weights, as float64, one for one."""
    network = mlp([3, 5, 4, 2], "tanh", last=None, dtype=dtype)

    assert stored(network) == numbers_of(str(nneq.to_equations(network)))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_sympy_prints_every_bit(dtype):
    """SymPy's own printer writes the system without losing a digit."""
    network = mlp([3, 5, 4, 2], "tanh", last=None, dtype=dtype)
    system = nneq.to_equations(network).system()

    assert stored(network) == numbers_of("\n".join(str(equation) for equation in system))


def test_sympy_holds_exact_numbers():
    """The coefficients are the dyadic rationals that the floats are."""
    network = mlp([2, 3, 2], "tanh", last=None)
    system = nneq.to_equations(network).system()
    found = sorted(
        abs(sympy.Rational(number)) for eq in system for number in eq.rhs.atoms(sympy.Float)
    )

    assert [sympy.Rational(value) for value in stored(network)] == found


def test_python_source_holds_every_bit():
    """The arrays of the generated function are the stored weights."""
    network = mlp([3, 5, 2], "tanh", last=None)
    source = nneq.to_equations(network).lambdify().source

    assert stored(network) == numbers_of(source)


def test_matrix_form_holds_the_stored_arrays():
    """The arrays are those of the network, in the stored precision, not copies."""
    network = mlp([3, 5, 2], "tanh", last=None)
    form = nneq.to_equations(network).matrix_form()

    assert {"W1": (5, 3), "b1": (5,), "W2": (2, 5), "b2": (2,)} == {
        name: array.shape for name, array in form.weights.items()
    }
    assert all(array.dtype == np.float32 for array in form.weights.values())


@pytest.mark.parametrize(
    "value", [0.1, -0.1, 1e-300, 5e-324, 1.7976931348623157e308, 1 / 3, -2.0, 123456789.123]
)
def test_a_weight_survives_sympys_arithmetic(value):
    """Negation, absolute value, pickling and multiplication by one keep the exact decimal."""
    x = sympy.Symbol("x")
    number = weight(value)

    assert repr(value) == str(number)
    assert repr(-value) == str(-number)
    assert repr(abs(value)) == str(abs(number))
    assert f"{value!r}*x" == str(sympy.Mul(number, x, evaluate=False))
    assert f"{value!r}*x" == str(1 * number * x)
    assert value == float(number)


def test_zero_weights_disappear_and_ones_are_silent():
    """A weight of zero writes nothing, a weight of one writes no factor."""
    w = np.array([[0.0, 1.0], [-1.0, 2.0]])
    eqs = nneq.to_equations(mlp([2, 2], last=None, weights=[w], biases=[np.zeros(2)]))

    assert "z_1 = -x_2\nz_2 = x_1 + 2.0*x_2" == str(eqs)


def test_display_digits_shorten():
    """``digits`` is for the eye only."""
    network = mlp([2, 2], last=None, weights=[np.full((2, 2), 1 / 3)], biases=[np.zeros(2)])
    eqs = nneq.to_equations(network)

    assert "z_1 = 0.333*x_1 + 0.333*x_2\nz_2 = 0.333*x_1 + 0.333*x_2" == eqs.text(digits=3)


def test_write_text_is_the_text():
    """The stream and the string are the same."""
    eqs = nneq.to_equations(mlp([3, 4, 2]))
    sink = io.StringIO()
    eqs.write_text(sink)

    assert str(eqs) + "\n" == sink.getvalue()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_weights_that_are_not_finite_are_shown_as_such(bad):
    """NaN and infinity do not stop any form."""
    w = np.array([[1.0, bad], [2.0, 3.0]])
    eqs = nneq.to_equations(mlp([2, 2], last=None, weights=[w], biases=[np.zeros(2)]))

    assert "nan" in str(eqs) or "inf" in str(eqs)
    assert 2 == len(eqs.system())
    assert eqs.latex()
    assert np.array_equal(eqs(np.ones((1, 2))), eqs.lambdify()(np.ones((1, 2))), equal_nan=True)


def test_chained_scales_print_both_factors():
    """A layer behind a rescaled input prints both stored factors, not their rounded product."""
    builder = Builder()
    x = builder.input((1, 2))
    scaled = builder.linear(x, lm.Scale(np.array([0.0039, -0.0039]), (1, 2)), None)
    dense = lm.Dense(np.array([[-0.137123456789, 0.3], [0.25, -0.7]]), (1,))
    network = builder.build([(builder.linear(scaled, dense, None), "z")], source=Source())
    expression = nneq.to_equations(network)["z_1"]
    numbers = {0.137123456789, 0.3, 0.0039}

    assert numbers == set(numbers_of(str(expression)))
    assert str(expression).startswith("-0.137123456789*0.0039*x_1")
