"""Second-order Taylor enclosures against Arb: values, gradients, ranges, without tolerance.

The default run makes more than 5,000 checks of networks; ``-m long`` makes 100,000.
"""

from __future__ import annotations

import flint
import numpy as np
import pytest
from certified_networks import KINKED, SMOOTH, every_kind, mlp
from hypothesis import given, settings
from hypothesis import strategies as st

from nneq.passes.difference import difference
from nneq.semantics.arb import ArbNetwork
from nneq.semantics.slices import Slices, is_rough

BITS = 500


def assert_enclosed(network, *, seed, count, scales, d=2):
    """Check boxes of a network's slice; return how many comparisons were made."""
    rng = np.random.default_rng(seed)
    reduced = difference(network, 0, 1).network
    exact = ArbNetwork(reduced)
    n = reduced.input_size
    origin, directions = rng.normal(size=(1, n)), rng.normal(size=(n, d))
    slices = Slices(reduced, origin, directions)
    checks = 0
    for scale in scales:
        centre, half = rng.normal(size=(count, d)), scale * rng.random((count, d))
        arithmetic, (jet,) = slices.jets(np.zeros(count, dtype=int), centre, half)
        with np.errstate(all="ignore"):
            low, high = arithmetic.range(jet)
            slopes = arithmetic.slopes(jet)
        inside = centre + half * rng.uniform(-1, 1, size=(count, d)) * (1 - 1e-12)
        steps = [np.zeros(d), *np.eye(d)]
        with flint.ctx.workprec(BITS):
            tiny = flint.arb(2) ** -180

            def at(points, shift, sign=1, tiny=tiny):
                places = [
                    [flint.arb(v) + sign * tiny * s for v, s in zip(p, shift, strict=True)]
                    for p in points
                ]
                return exact.on_line(origin[0], directions, places, BITS).reshape(-1)

            middle = at(centre, steps[0])
            values = at(inside, steps[0])
            gradients = [
                (at(inside, step) - at(inside, step, -1)) / (2 * tiny) for step in steps[1:]
            ]
            for k in range(count):
                checks += 2 + d
                if np.isfinite(jet.rad[0, k, 0]):
                    gap = abs(middle[k] - flint.arb(jet.mid[0, k, 0]))

                    assert not gap > flint.arb(jet.rad[0, k, 0])
                assert_between(low[k, 0], values[k], high[k, 0])
                for ball, gradient in zip(slopes, gradients, strict=True):
                    assert_between(ball.lower[k, 0], gradient[k], ball.upper[k, 0])
    return checks


def assert_between(low, value, high):
    """Fail when the Arb value is proven outside; unknown ends allow everything."""
    assert not (np.isfinite(low) and value < flint.arb(low)), (low, value, high)
    assert not (np.isfinite(high) and value > flint.arb(high)), (low, value, high)


SCALES = (1e-9, 1e-4, 1e-2, 0.3, 3.0)


@pytest.mark.parametrize("rule", [*SMOOTH, *KINKED])
def test_activations_are_enclosed(rule):
    """Ranges, values and gradients of small networks of every kind of activation."""
    made = assert_enclosed(
        mlp((3, 8, 8, 2), rule, seed=3, gain=2.0), seed=1, count=16, scales=SCALES
    )

    assert made == 16 * 5 * 4


@pytest.mark.parametrize(
    "rules",
    [
        ("relu", "tanh"),
        ("tanh", "relu"),
        ("gelu", "abs", "sigmoid"),
        ("sin", "tan"),
        ("exp", "atan"),
    ],
)
def test_mixed_networks_are_enclosed(rules):
    """Networks that mix smooth and kinked units."""
    widths = (2, *(8,) * len(rules), 2)
    assert_enclosed(mlp(widths, list(rules), seed=5, gain=2.0), seed=2, count=16, scales=SCALES)


@pytest.mark.parametrize("rough", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_every_node_kind_is_enclosed(seed, rough):
    """Products, softmax and log-softmax; with ``rough`` also maxima and selections."""
    network = every_kind(seed, rough=rough)

    assert is_rough(network) == rough
    assert_enclosed(network, seed=seed, count=10, scales=SCALES)


@pytest.mark.parametrize("gain", [1e-6, 30.0, 1e4, 1e12])
def test_extreme_weights_are_enclosed(gain):
    """Tiny, large and saturating weights."""
    assert_enclosed(
        mlp((2, 8, 8, 2), "tanh", seed=6, gain=gain, dtype=np.float64),
        seed=3,
        count=12,
        scales=SCALES,
    )


def test_lines_have_one_variable():
    """One active direction works as two do."""
    assert_enclosed(mlp((4, 12, 12, 2), "silu", seed=2), seed=4, count=20, scales=SCALES, d=1)


@settings(max_examples=20, deadline=None)
@given(
    depth=st.integers(1, 4),
    width=st.integers(1, 9),
    rules=st.lists(st.sampled_from([*SMOOTH, *KINKED]), min_size=4, max_size=4),
    seed=st.integers(0, 10**6),
    gain=st.sampled_from([0.5, 2.0, 20.0]),
)
def test_random_architectures_are_enclosed(depth, width, rules, seed, gain):
    """Any stack of any activations."""
    network = mlp((2, *(width,) * depth, 2), rules[:depth], seed=seed, gain=gain)
    assert_enclosed(network, seed=seed, count=4, scales=(1e-6, 1e-2, 1.0))


def test_bounds_are_tight_on_small_boxes():
    """The range over a small box is at most a few percent wider than the true one."""
    network = difference(mlp((2, 16, 16, 2), "tanh", seed=1), 0, 1).network
    slices = Slices(network, np.zeros((1, 2)), np.eye(2))
    rng = np.random.default_rng(0)
    centre, half = rng.uniform(-2, 2, size=(20, 2)), np.full((20, 2), 1e-3)
    arithmetic, (jet,) = slices.jets(np.zeros(20, dtype=int), centre, half)
    low, high = arithmetic.range(jet)
    corners = [
        slices.floats(np.zeros(20, dtype=int), centre + half * np.array([a, b]))[0]
        for a in (-1, 1)
        for b in (-1, 1)
    ]
    true = np.max(corners, axis=0) - np.min(corners, axis=0)

    assert np.all(high - low <= 1.1 * true)


@pytest.mark.long
def test_a_hundred_thousand_checks():
    """100,000 comparisons with Arb on random networks, boxes and points."""
    rng = np.random.default_rng(2024)
    checks = 0
    while checks < 100_000:
        depth = int(rng.integers(1, 4))
        rules = [str(r) for r in rng.choice([*SMOOTH, *KINKED], size=depth)]
        widths = (2, *(int(w) for w in rng.integers(1, 12, size=depth)), 2)
        network = mlp(
            widths, rules, seed=int(rng.integers(10**9)), gain=float(rng.choice([1, 3, 10]))
        )
        checks += assert_enclosed(
            network, seed=int(rng.integers(10**9)), count=25, scales=(1e-8, 1e-3, 0.1, 2.0)
        )

    assert checks >= 100_000
