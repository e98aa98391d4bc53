"""The note's sum of exponentials: exact constants, bounds, polynomial solutions."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from zoo_networks import mlp

from nneq.errors import NneqError, UnsupportedError
from nneq.passes import difference
from nneq.symbolic.exponential_sum import ExponentialSum
from nneq.symbolic.one_hidden import one_hidden


def _sum(activation="sigmoid", units=3, inputs=2, seed=0, gain=3.0, weights=None):
    network = mlp((inputs, units, 2), activation, seed=seed, gain=gain, weights=weights)
    reduced = difference(network, 0, 1).network
    names = tuple(f"x_{k + 1}" for k in range(inputs))
    return ExponentialSum(one_hidden(reduced), names), reduced


def _values(reduced, points):
    return reduced(points)[:, 0]


def _changes(reduced, x_2, span=60.0, count=60_001):
    t = np.linspace(-span, span, count)
    v = _values(reduced, np.stack([t, np.full_like(t, x_2)], axis=1))
    return int((np.sign(v[1:]) != np.sign(v[:-1])).sum())


@given(
    st.sampled_from(["sigmoid", "tanh"]),
    st.integers(1, 7),
    st.integers(1, 4),
    st.integers(0, 10_000),
)
@settings(max_examples=60, deadline=None)
def test_equals_the_network(activation, units, inputs, seed):
    """The sum over P is the network's own difference of logits."""
    sums, reduced = _sum(activation, units, inputs, seed)
    points = np.random.default_rng(seed).normal(scale=2, size=(30, inputs))

    np.testing.assert_allclose(sums(points), _values(reduced, points), atol=1e-12)


def test_coefficient_is_the_corner_value():
    """``C_S`` is the exact value with the units of S low and the others high."""
    sums, _ = _sum("tanh", 3)
    form = sums.form

    expected = form.delta_0 - form.delta[0] + form.delta[1] - form.delta[2]

    assert expected == sums.coefficient({1, 3})
    assert isinstance(expected, Fraction)
    assert set(sums.coefficients) == set(sums.exact_coefficients)


def test_the_note_s_eight_constants():
    """For sigmoid units the eight constants are the note's, by its own formula (64)."""
    sums, _ = _sum("sigmoid", 3)
    d, d0 = sums.form.delta, sums.form.delta_0
    note = {
        frozenset(): d0 + d[0] + d[1] + d[2],
        frozenset({1}): d0 + d[1] + d[2],
        frozenset({2}): d0 + d[0] + d[2],
        frozenset({3}): d0 + d[0] + d[1],
        frozenset({2, 3}): d0 + d[0],
        frozenset({1, 3}): d0 + d[1],
        frozenset({1, 2}): d0 + d[2],
        frozenset({1, 2, 3}): d0,
    }

    assert note == dict(sums.exact_coefficients)


@pytest.mark.parametrize("activation", ["sigmoid", "tanh"])
@pytest.mark.parametrize("seed", range(15))
def test_integer_slopes(activation, seed):
    """Rigorous polynomial roots agree with the bound, its parity and a dense scan."""
    random = np.random.default_rng(seed)
    w = random.integers(-3, 4, size=(2, 4)).astype(float)
    sums, reduced = _sum(
        activation, 4, weights=[w, 3 * random.normal(size=(4, 2)).astype("float32")]
    )
    at = {"x_2": 0.25}
    if not w[0].any():
        pytest.fail("the seed makes a network that does not depend on x_1")

    roots = sums.polynomial_roots("x_1", at)

    bound = sums.root_bound("x_1", at)
    assert len(roots) <= bound.most
    assert len(roots) % 2 == bound.parity
    assert _changes(reduced, 0.25) == len(roots)
    for root in roots:
        below, above = float(root.lower()) - 1e-9, float(root.upper()) + 1e-9
        ends = _values(reduced, np.array([[below, 0.25], [above, 0.25]]))
        assert ends[0] * ends[1] < 0


def test_no_boundary_anywhere():
    """When all constants have one sign the boundary is empty, and this is said."""
    sums, reduced = _sum("sigmoid", 3)
    low, high = sums.extremes
    points = np.random.default_rng(0).normal(scale=10, size=(5000, 2))
    values = _values(reduced, points)

    assert float(low) < values.min()
    assert values.max() < float(high)
    assert sums.sign_everywhere is None

    bias = [np.zeros(3), np.array([float(-low) + 1.0, 0.0])]
    network = mlp((2, 3, 2), "sigmoid", gain=3.0, biases=bias)
    shifted = ExponentialSum(one_hidden(difference(network, 0, 1).network), ("x_1", "x_2"))
    assert shifted.sign_everywhere == 1


def test_equal_on_the_whole_line_is_not_counted():
    """A difference that is 0 everywhere has no count of solutions."""
    same = np.ones((3, 2))
    network = mlp(
        (2, 3, 2), "tanh", weights=[np.ones((2, 3)), same], biases=[np.zeros(3), np.ones(2)]
    )
    sums = ExponentialSum(one_hidden(difference(network, 0, 1).network), ("x_1", "x_2"))

    assert sums.sign_everywhere == 0
    with pytest.raises(UnsupportedError, match="equal on the whole line"):
        sums.root_bound("x_1", {"x_2": 0.0})


def test_refusals():
    """Large sums, deep networks, unknown units and inputs are refused with the way out."""
    big, _ = _sum("tanh", 30)
    with pytest.raises(UnsupportedError, match=r"2\*\*30 terms .* coefficient\(S\)"):
        big.coefficients  # noqa: B018  # the property is the call
    with pytest.raises(NneqError, match="units 1 to 30, not \\[31\\]"):
        big.coefficient({31})
    with pytest.raises(NneqError, match="there is no input 'x_9'"):
        _sum("tanh", 3)[0].root_bound("x_9")
    with pytest.raises(UnsupportedError, match="needs one hidden layer; the network is deeper"):
        one_hidden(difference(mlp((2, 3, 3, 2), "tanh"), 0, 1).network)
    with pytest.raises(UnsupportedError, match="the network has relu"):
        one_hidden(difference(mlp((2, 3, 2), "relu"), 0, 1).network)
