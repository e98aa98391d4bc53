"""What ``nneq inspect`` says, held against networks whose facts are known."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from nneq.cli.demo import demo_network, demo_weights
from nneq.cli.facts import facts, formula_sizes
from nneq.ir import Network
from nneq.ir.linear_map import Dense
from nneq.ir.network import Source
from nneq.lowering import Builder


def dense(widths: list[int], rule: str, last: str | None = None) -> Network:
    """Return a dense network with random weights."""
    rng = np.random.default_rng(0)
    builder = Builder()
    value = builder.input((1, widths[0]))
    for k, (n_in, n_out) in enumerate(itertools.pairwise(widths)):
        weight = rng.standard_normal((n_out, n_in)).astype(np.float32)
        value = builder.linear(value, Dense(weight, (1,)), np.ones(n_out, np.float32))
        if k < len(widths) - 2:
            value = builder.elementwise(rule, value)
    if last == "softmax":
        value = builder.softmax(value, 1)
    elif last:
        value = builder.elementwise(last, value)
    return builder.build([(value, "z")], source=Source())


def test_the_demo_network():
    """The 2-3-2 network: its sizes, its class, its exponential sum."""
    found = facts(demo_network(demo_weights()))

    assert found["parameters"] == 17
    assert found["widths"] == [2, 3, 2]
    assert found["depth"] == 2
    assert found["function_class"] == "smooth"
    assert found["formula"]["system"]["equations"] == 5
    assert "z_i = z_j as an exponential sum with 2^3 constants" in found["solving"]["exact"]
    assert [9, 0, 8, 0] == [layer["parameters"] for layer in found["layers"]]


def test_a_softmax_over_relu_is_solved_exactly():
    """The softmax cannot change z_i = z_j, so the exact engine applies."""
    found = facts(dense([3, 8, 4, 3], "relu", "softmax"))

    assert found["solving"]["exact"]
    assert not found["solving"]["certified"]
    assert found["solving"]["reduction"] == [
        "softmax cancelled: it preserves the order of its inputs"
    ]


def test_what_is_not_exact_says_why():
    """Curved units are named."""
    found = facts(dense([2, 4, 4, 2], "gelu"))["solving"]

    assert found["exact"] == []
    assert found["certified"]
    assert found["not_exact_because"] == ["gelu is not piecewise linear"]


@pytest.mark.parametrize("widths", [[2, 3, 2], [4, 16, 16, 3]])
def test_the_estimated_length_of_the_system_is_about_right(widths):
    """The estimate is within a factor of two of the printed text."""
    from nneq import to_equations

    network = dense(widths, "tanh")
    length = len(str(to_equations(network)))
    estimate = formula_sizes(network)["system"]["characters"]

    assert length / 2 < estimate < 2 * length


def test_the_estimated_length_of_one_expression_is_about_right():
    """The estimate of the substituted formula is within a factor of three of SymPy's text."""
    from nneq import to_equations

    network = dense([2, 4, 4, 2], "tanh")
    length = len(str(to_equations(network)["z_1"]))
    estimate = 10 ** formula_sizes(network)["expression"]["characters_log10"]

    assert length / 3 < estimate < 3 * length


def test_the_expression_grows_with_depth_without_overflow():
    """A thousand layers give a finite logarithm of the length."""
    sizes = formula_sizes(dense([2] + [8] * 1000 + [2], "tanh"))

    assert 800 < sizes["expression"]["characters_log10"] < 1100
    assert math.isfinite(sizes["expression"]["characters_log10"])
