"""Ball arithmetic against exact rationals, Arb and known tightest interval results."""

from __future__ import annotations

from fractions import Fraction

import flint
import numpy as np
import pytest
from certified_networks import KINKED, SMOOTH, built, every_kind, mlp
from hypothesis import given, settings
from hypothesis import strategies as st

from nneq.ir import linear_map as lm
from nneq.ir.float64 import evaluate
from nneq.lowering import Builder
from nneq.semantics.arb import ArbNetwork, lift
from nneq.semantics.ball import (
    Ball,
    affine,
    ball_evaluate,
    contract,
    decide,
    gamma,
    linear,
    log_softmax,
    softmax_range,
)
from nneq.semantics.ball_functions import BALL_FUNCTIONS

finite = st.floats(-1e12, 1e12, allow_nan=False)
radii = st.floats(0, 1e6, allow_nan=False)


def assert_holds(ball, exact):
    """Fail unless the exact rational lies in the ball."""
    mid, rad = Fraction(float(ball.mid)), Fraction(float(ball.rad))

    assert abs(exact - mid) <= rad


@settings(max_examples=200, deadline=None)
@given(
    a=finite,
    ra=radii,
    b=finite,
    rb=radii,
    s=st.sampled_from([-1, 0, 1]),
    t=st.sampled_from([-1, 0, 1]),
)
def test_arithmetic_holds_exact_results(a, ra, b, rb, s, t):
    """Sum, difference, product and quotient hold the exact results of points inside."""
    x, y = Ball(np.array(a), np.array(ra)), Ball(np.array(b), np.array(rb))
    p, q = Fraction(a) + s * Fraction(ra), Fraction(b) + t * Fraction(rb)
    assert_holds(x + y, p + q)
    assert_holds(x - y, p - q)
    assert_holds(x * y, p * q)
    with np.errstate(all="ignore"):
        quotient = x / y
    if np.isfinite(float(quotient.rad)):
        assert_holds(quotient, p / q)


def test_division_by_a_ball_with_zero_is_unknown():
    """A quotient by a ball that holds 0 has no finite radius."""
    with np.errstate(all="ignore"):
        quotient = Ball.point(1.0) / Ball(np.array(0.5), np.array(0.5))

    assert not np.isfinite(float(quotient.rad))


# tightest results of interval arithmetic on simple arguments: (function, low, high, low, high)
VECTORS = [
    ("exp", 0.0, 0.0, 1.0, 1.0),
    ("exp", 1.0, 1.0, float.fromhex("0x1.5bf0a8b145769p+1"), float.fromhex("0x1.5bf0a8b14576ap+1")),
    ("log", 1.0, 1.0, 0.0, 0.0),
    ("sqrt", 4.0, 4.0, 2.0, 2.0),
    (
        "sqrt",
        2.0,
        2.0,
        float.fromhex("0x1.6a09e667f3bccp+0"),
        float.fromhex("0x1.6a09e667f3bcdp+0"),
    ),
    ("sin", 0.0, 0.0, 0.0, 0.0),
    ("cos", 0.0, 0.0, 1.0, 1.0),
    ("tanh", 0.0, 0.0, 0.0, 0.0),
    (
        "atan",
        1.0,
        1.0,
        float.fromhex("0x1.921fb54442d18p-1"),
        float.fromhex("0x1.921fb54442d19p-1"),
    ),
    ("sinh", 0.0, 0.0, 0.0, 0.0),
    ("cosh", 0.0, 0.0, 1.0, 1.0),
    ("expm1", 0.0, 0.0, 0.0, 0.0),
    ("log1p", 0.0, 0.0, 0.0, 0.0),
]


@pytest.mark.parametrize("vector", VECTORS)
def test_elementary_functions_contain_the_tightest_interval(vector):
    """Each function's ball contains the tightest interval known for the argument."""
    name, low, high, bottom, top = vector
    ball = getattr(BALL_FUNCTIONS, name)(Ball.interval(np.array(low), np.array(high)))

    assert float(ball.lower) <= bottom
    assert float(ball.upper) >= top


MAPS = [
    lm.Dense(np.array([[1.0, 1e16, -1e16], [0.1, 0.2, 0.3]]), ()),
    lm.Scale(np.array([0.1, -3.0, 1e-200]), (3,)),
    lm.Sum((3,), (0,)),
    lm.chain(lm.Scale(np.array([0.1, 0.7, -0.3]), (3,)), lm.Dense(np.array([[0.3, 0.7, 1e10]]))),
    lm.Scatter(lm.Take((2,), np.array([0, 0, 1]))),
    lm.Contract(np.array([[0.1, 0.2, 0.3]]), "ab,b->a", (3,)),
]


@pytest.mark.parametrize("map_", MAPS)
def test_linear_maps_hold_exact_results(map_):
    """A map's ball holds the exact rational image, whatever cancels."""
    rng = np.random.default_rng(0)
    for _ in range(20):
        x = rng.normal(size=(1, *map_.in_shape)) * 10.0 ** rng.integers(-8, 8)
        r = np.abs(rng.normal(size=x.shape)) * rng.choice([0.0, 1e-12, 1.0])
        mid, rad = linear(map_, x, r)
        for side in (-1, 0, 1):
            exact = map_.apply(_fractions(x) + side * _fractions(r), _fractions).reshape(-1)
            for k, value in enumerate(exact):
                assert_holds(Ball(mid.reshape(-1)[k], rad.reshape(-1)[k]), Fraction(value))


def _fractions(array):
    made = np.empty(array.size, dtype=object)
    made[:] = [Fraction(float(v)) for v in array.reshape(-1)]
    return made.reshape(array.shape)


def test_zero_rows_stay_exactly_zero_on_request():
    """With ``zeros`` a zero row, or a zero argument, has radius 0."""
    map_ = lm.Dense(np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 2.0]]), ())
    mid, rad = linear(map_, np.array([[0.0, 3.0]]), np.zeros((1, 2)), zeros=True)

    assert (mid[0, :2].tolist(), rad[0, :2].tolist()) == ([0.0, 0.0], [0.0, 0.0])
    assert rad[0, 2] > 0


def test_gamma_is_an_upper_bound():
    """gamma(n) is not below n u / (1 - n u)."""
    for n in (1, 10, 10**6):
        u = Fraction(1, 2**53)

        assert Fraction(gamma(n)) >= n * u / (1 - n * u)
    assert gamma(2**53) == np.inf


@pytest.mark.parametrize("spread", [0.0, 1e-9, 1.0, 800.0])
def test_softmax_ranges_contain_arb(spread):
    """Softmax and log-softmax of logits inside a box lie inside their ranges."""
    rng = np.random.default_rng(3)
    for count in (2, 5, 70):
        low = rng.normal(size=(1, count)) * 10
        high = low + spread * rng.random((1, count))
        bottom, top = softmax_range(low, high, 1)
        ball = log_softmax(Ball.interval(low, high), 1)
        for _ in range(3):
            z = np.where(rng.random(low.shape) < 0.5, low, high)
            with flint.ctx.workprec(200):
                exps = [flint.arb(v).exp() for v in z[0]]
                total = sum(exps, flint.arb(0))
                for k, value in enumerate(exps):
                    share = value / total

                    assert not share < flint.arb(bottom[0, k])
                    assert not share > flint.arb(top[0, k])
                    assert not share.log() < flint.arb(ball.lower[0, k])
                    assert not share.log() > flint.arb(ball.upper[0, k])


def test_contractions_hold_exact_results():
    """An einsum of balls holds the exact contraction."""
    rng = np.random.default_rng(5)
    a, b = rng.normal(size=(2, 3, 4)), rng.normal(size=(2, 4, 5))
    ball = contract("ab,bc->ac", Ball(a, np.full(a.shape, 1e-3)), Ball.point(b))
    for side in (-1, 0, 1):
        left = _fractions(a) + side * Fraction(1e-3)
        exact = np.einsum("Zab,Zbc->Zac", left, _fractions(b))
        for place in np.ndindex(*exact.shape):
            assert_holds(ball[place], exact[place])


def test_decisions_need_proof():
    """A test is decided only where the ball lies on one side; an exact 0 is decided."""
    ball = Ball(np.array([1.0, -1.0, 0.0, 0.0, np.nan]), np.array([0.5, 0.5, 0.5, 0.0, 0.0]))
    expected = {
        ">": ([True, False, False, False, False], [False, True, False, True, False]),
        ">=": ([True, False, False, True, False], [False, True, False, False, False]),
        "==": ([False, False, False, True, False], [True, True, False, False, False]),
    }
    for relation, (true, false) in expected.items():
        found = decide(relation, ball)

        assert (true, false) == (found[0].tolist(), found[1].tolist()), relation


@pytest.mark.parametrize("rule", [*SMOOTH, *KINKED])
def test_network_balls_hold_arb(rule):
    """The ball of every output, for point and box inputs, holds the value in Arb."""
    network = mlp((3, 8, 8, 2), rule, seed=1, gain=2.0)
    assert_network_holds(network, seed=2)


@pytest.mark.parametrize("seed", range(3))
def test_every_node_kind_holds_arb(seed):
    """Products, softmax, maxima and selections are enclosed too."""
    assert_network_holds(every_kind(seed), seed)


def assert_network_holds(network, seed):
    """Fail unless balls hold Arb values at corners and points of random boxes."""
    rng = np.random.default_rng(seed)
    exact = ArbNetwork(network)
    for radius in (0.0, 1e-10, 1e-2, 1.0):
        x = rng.normal(size=(5, 1, 3))
        (ball,) = ball_evaluate(network, [Ball(x, np.full(x.shape, radius))])
        points = x + radius * rng.choice([-1.0, 1.0, 0.3], size=x.shape) * (1 - 1e-9)
        (value,) = exact([lift(points)], 200)
        for place in np.ndindex(*value.shape):
            if np.isfinite(ball.rad[place]):
                gap = abs(value[place] - flint.arb(ball.mid[place]))

                assert not gap > flint.arb(ball.rad[place]), (radius, place)


def test_overflow_is_unknown_not_wrong():
    """Weights that overflow give an infinite radius."""
    builder = Builder()
    x = builder.input((1, 2))
    y = builder.linear(x, lm.Dense(np.full((1, 2), 1e300), (1,)))
    y = builder.linear(y, lm.Dense(np.full((1, 1), 1e300), (1,)))
    (ball,) = ball_evaluate(built(builder, y), [Ball.point(np.ones((1, 1, 2)))])

    assert ball.rad.item() == np.inf


def test_float32_balls_hold_float32_execution():
    """With ``precision="float32"`` the ball holds what float32 arithmetic gives."""
    network = mlp((3, 32, 32, 2), "tanh", seed=4, gain=2.0)
    rng = np.random.default_rng(0)
    x = rng.normal(size=(50, 1, 3))
    (ball,) = ball_evaluate(network, [Ball.point(x)], precision="float32")
    value = x.astype(np.float32)
    for node in network.nodes[1:]:
        if hasattr(node, "terms"):
            weight = node.terms[0].map.weight.astype(np.float32)
            value = value @ weight.T + node.bias.astype(np.float32)
        else:
            value = np.tanh(value)

    assert value.dtype == np.float32
    assert np.all(np.abs(value.astype(np.float64) - ball.mid) <= ball.rad)
    assert np.any(value.astype(np.float64) != evaluate(network, [x])[0])


def test_affine_needs_no_terms():
    """An affine node without terms is its bias."""
    from nneq.ir.network import Affine

    ball = affine(Affine((2,), (), np.array([1.0, 2.0])), [])

    assert (ball.mid.tolist(), ball.rad.tolist()) == ([[1.0, 2.0]], [[0.0, 0.0]])
