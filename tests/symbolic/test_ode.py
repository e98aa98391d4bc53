"""The boundary as a differential equation: slopes, polynomial system, projected integration."""

from __future__ import annotations

import numpy as np
import pytest
import sympy as sp
from zoo_networks import mlp

from nneq.errors import NneqError, UnsupportedError
from nneq.passes import difference
from nneq.semantics.gradient import value_and_gradient
from nneq.symbolic.ode import boundary_ode

NAMES = ("x_1", "x_2")


def _ode(activation="tanh", sizes=(2, 5, 4, 2), seed=3):
    network = mlp(sizes, activation, gain=3.0, seed=seed)
    reduced = difference(network, 0, 1).network
    return boundary_ode(reduced, (0, 1), NAMES), reduced


def _start(reduced):
    points = np.random.default_rng(0).normal(size=(2000, 2))
    value, _ = value_and_gradient(reduced, points)
    return points[np.argmin(np.abs(value))]


def test_equation_is_the_implicit_slope():
    """``dx_1/dx_2 = -g_2/g_1`` at a point, against the numerical gradient."""
    ode, reduced = _ode()
    point = np.array([0.3, -0.4])
    _, gradient = value_and_gradient(reduced, point)

    slope = ode.equation.rhs
    function = ode.equation.lhs.expr
    found = slope.subs(function, sp.Float(0.3)).subs(sp.Symbol("x_2"), sp.Float(-0.4))

    assert float(found) == pytest.approx(-gradient[0, 1] / gradient[0, 0], rel=1e-10)


@pytest.mark.parametrize("activation", ["sigmoid", "tanh"])
def test_polynomial_system(activation):
    """The right sides are polynomials of unit values and give the gradient when evaluated."""
    ode, reduced = _ode(activation)
    point = {"x_1": 0.2, "x_2": 0.7}
    from nneq.symbolic.layout import layout_of
    from nneq.symbolic.system import system

    values = dict(point)
    for eq in system(layout_of(reduced)):
        values[str(eq.lhs)] = float(eq.rhs.subs(values).evalf())
    for eq in ode.system:
        if not eq.lhs.is_Symbol:
            continue
        assert eq.rhs.is_polynomial()
        values[str(eq.lhs)] = float(eq.rhs.subs(values))

    _, gradient = value_and_gradient(reduced, np.array([0.2, 0.7]))
    np.testing.assert_allclose([values["g_a"], values["g_b"]], gradient[0], rtol=1e-9)


def test_integration_stays_on_the_curve():
    """The residual at x itself stays at rounding level along the orbit."""
    ode, reduced = _ode()

    orbit = ode.integrate(_start(reduced), 3.0)

    values = reduced(orbit.points)[:, 0]
    assert np.abs(values).max() == pytest.approx(orbit.residual, abs=1e-12)
    assert orbit.residual < 1e-12
    assert orbit.arc_length[-1] == pytest.approx(3.0)


def test_a_closed_component_closes():
    """An orbit of a closed component comes back and says so."""
    w = [np.array([[2.0, -2.0, 0, 0], [0, 0, 2.0, -2.0]]), np.array([[1.0, 0.0]] * 4)]
    b = [np.full(4, -1.0), np.array([2.5, 0.0])]
    network = mlp((2, 4, 2), "tanh", weights=w, biases=b)
    reduced = difference(network, 0, 1).network
    ode = boundary_ode(reduced, (0, 1), NAMES)

    orbit = ode.integrate(_start(reduced), 60.0, step=0.05)

    assert orbit.closed


def test_refusals():
    """Other activations, far starts and bad lengths are refused by name."""
    relu, _ = _ode("relu", (2, 4, 2))
    with pytest.raises(UnsupportedError, match="the network has relu"):
        relu.system  # noqa: B018  # the property is the call
    ode, _ = _ode()
    with pytest.raises(NneqError, match="finite number other than 0"):
        ode.integrate([0, 0], 0.0)
    with pytest.raises(NneqError, match="does not project onto the boundary"):
        boundary_ode(
            difference(
                mlp((2, 3, 2), "tanh", gain=0.1, biases=[np.zeros(3), np.array([5, 0.0])]), 0, 1
            ).network,
            (0, 1),
            NAMES,
        ).integrate([0, 0], 1.0)
