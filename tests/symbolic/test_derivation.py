"""The derivation follows the note, is checked step by step, and says its conditions."""

from __future__ import annotations

import numpy as np
import pytest
import sympy as sp
from zoo_networks import mlp

from nneq.errors import UnsupportedError
from nneq.passes import difference, level
from nneq.symbolic.derivation import derive


def _derivation(network, names=("z_1", "z_2")):
    reduced = difference(network, 0, 1)
    return derive(network, reduced.network, names, reduced.notes)


def test_one_hidden_layer():
    """The 2-3-2 network goes from the question to eight constants, every step checked."""
    steps = _derivation(mlp((2, 3, 2), "sigmoid", gain=2.0))

    assert [step.title for step in steps] == [
        "the question",
        "cancel the output activation and subtract",
        "the units",
        "the exponents",
        "multiply by the common denominator",
        "a sum of exponentials",
        "the constants",
    ]
    assert len(steps[-1].equations) == 8
    assert all(step.check is None or step.check < 1e-12 for step in steps)
    assert sum(step.check is not None for step in steps) == 5


def test_substituting_backwards_gives_the_network():
    """The printed equations, substituted, are the network's difference at a point."""
    network = mlp((2, 3, 2), "tanh", gain=2.0, seed=4)
    steps = _derivation(network)
    point = {"x_1": 0.3, "x_2": -0.8}
    values = {eq.lhs: eq.rhs.subs(point) for eq in steps[3].equations}
    units = {eq.lhs: eq.rhs.subs(values) for eq in steps[2].equations}

    found = float(steps[1].equation.lhs.subs(units))

    g = difference(network, 0, 1).network(np.array([[0.3, -0.8]] * 2))[0, 0]
    assert found == pytest.approx(g, abs=1e-12)


def test_deep_networks_say_when_backward_substitution_is_true():
    """Layers that do not widen satisfy the rank condition, others are told that they do not."""
    narrowing = _derivation(mlp((5, 4, 3, 2), "tanh"))
    widening = _derivation(mlp((2, 4, 3, 2), "tanh"))

    assert "every W has full row rank" in narrowing[-1].justification
    assert "layer 1 has 4 units but rank 2" in widening[-1].justification


@pytest.mark.parametrize(
    ("widths", "rule", "gain"),
    [((2, 9, 9, 2), "tanh", 20.0), ((3, 6, 6, 6, 2), "sigmoid", 4.0), ((2, 7, 7, 2), "gelu", 3.0),
     ((2, 8, 8, 8, 8, 8, 2), "tanh", 50.0), ((3, 9, 9, 2), "relu", 2.0)],
)  # fmt: skip
def test_every_step_of_a_deep_network_is_checked(widths, rule, gain):
    """The written equations hold to the last digits, also where the network is chaotic."""
    steps = _derivation(mlp(widths, rule, gain=gain, seed=2))

    assert all(step.check is not None for step in steps[1:])
    assert all(step.check < 1e-13 for step in steps[1:3])
    assert all(step.check < 1e-9 for step in steps[3:])


def test_a_wrong_equation_does_not_pass_the_check():
    """One weight changed in the text is seen."""
    from nneq.symbolic import derivation
    from nneq.symbolic.layout import layout_of
    from nneq.symbolic.system import system

    reduced = difference(mlp((2, 5, 5, 2), "tanh", gain=2.0), 0, 1).network
    equations = list(system(layout_of(reduced)))
    points = np.array([[0.4, -0.3]])
    right = derivation._written(equations, reduced, points)
    number = next(iter(equations[2].rhs.atoms(sp.Float)))
    equations[2] = equations[2].subs(number, number * 1.001)

    assert right < 1e-15
    assert derivation._written(equations, reduced, points) > 1e-6


def test_level_and_text():
    """A level set is derived too; text and LaTeX hold every step."""
    network = mlp((2, 3, 1), "sigmoid", last="sigmoid")
    reduced = level(network, 0, 0.5)
    steps = derive(network, reduced.network, ("z_1", 0.5), reduced.notes)

    assert "sigmoid cancelled" in steps[1].justification
    assert str(steps).count("\n(") == len(steps) - 1
    assert steps.latex().count(r"\begin{align*}") == len(steps)
    assert steps[0].equation == sp.Eq(sp.Symbol("z_1"), sp.Float(0.5), evaluate=False)


def test_too_large():
    """A derivation that could not be read is refused with the way out."""
    with pytest.raises(UnsupportedError, match="matrix_form"):
        _derivation(mlp((2, 200, 200, 2), "tanh"))
