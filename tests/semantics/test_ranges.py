"""Ranges of activations and their derivatives against ball arithmetic, without tolerance."""

from __future__ import annotations

import itertools
from fractions import Fraction

import flint
import numpy as np
import pytest

from nneq.activations import RULES
from nneq.semantics import ranges
from nneq.semantics.arb import activation
from nneq.semantics.ball import Ball

BITS = 300
DOMAINS = {
    "acos": (-0.99, 0.99),
    "asin": (-0.99, 0.99),
    "atanh": (-0.99, 0.99),
    "log": (1e-3, 50.0),
    "sqrt": (1e-3, 50.0),
    "acosh": (1.001, 50.0),
    "reciprocal": (1e-3, 50.0),
    "tan": (-1.5, 1.5),
    "exp": (-40.0, 40.0),
    "sinh": (-20.0, 20.0),
    "cosh": (-20.0, 20.0),
}
JUMPS = {"ceil", "floor", "round", "trunc", "sign", "hard_shrink", "thresholded_relu"}
FORMULA_JUMPS = {"sign", "hard_shrink", "thresholded_relu", "trunc", "ceil", "floor", "round"}
CHECKS = 25


def intervals(name, count, seed=0):
    """Return intervals of widths from 1e-9 to the whole domain, with one point inside each."""
    rng = np.random.default_rng(seed)
    left, right = DOMAINS.get(name, (-60.0, 60.0))
    if name not in DOMAINS:
        centre = rng.normal(size=count) * 10.0 ** rng.uniform(-2, 1.5, size=count)
    else:
        centre = rng.uniform(left, right, size=count)
    width = 10.0 ** rng.uniform(-9, 1.5, size=count)
    low = np.clip(centre - width * rng.random(count), left, right)
    high = np.clip(centre + width * rng.random(count), left, right)
    inside = low + (high - low) * rng.random(count)
    return low, high, np.clip(inside, low, high)


def assert_contains(low, high, value, what):
    """Fail unless the Arb ball can lie in ``[low, high]``; nothing is allowed for."""
    below = value < flint.arb(low) if np.isfinite(low) else False
    above = value > flint.arb(high) if np.isfinite(high) else False

    assert not below, f"{what}: {value} < {low!r}"
    assert not above, f"{what}: {value} > {high!r}"


@pytest.mark.parametrize("name", sorted(RULES))
@pytest.mark.parametrize("order", [0, 1, 2])
def test_ranges_contain_arb(name, order):
    """The range of f, f' and f'' holds the value in balls at points of the interval."""
    rule = RULES[name]
    formula = (rule.formula, rule.derivative, rule.second)[order]
    if formula is None:
        assert rule.kind in {"piecewise-linear", "step"}
        return
    low, high, inside = intervals(name, CHECKS, seed=order)
    function = (ranges.value, ranges.slope, ranges.bend)[order]
    bottom, top = function(name, rule.defaults, low, high)
    with flint.ctx.workprec(BITS):
        for k in range(CHECKS):
            for z in (low[k], inside[k], high[k]):
                value = activation(name, rule.defaults, flint.arb(z), order)
                assert_contains(bottom[k], top[k], value, f"{name} order {order} at {z!r}")


@pytest.mark.parametrize("name", sorted(set(RULES) - JUMPS))
def test_slopes_contain_difference_quotients(name):
    """Every difference quotient inside an interval lies in the range of the slope."""
    rule = RULES[name]
    low, high, _ = intervals(name, CHECKS, seed=7)
    high = np.maximum(high, low + 1e-9)
    bottom, top = ranges.slope(name, rule.defaults, low, high)
    with flint.ctx.workprec(BITS):
        for k in range(CHECKS):
            a, b = flint.arb(low[k]), flint.arb(high[k])
            quotient = (activation(name, rule.defaults, b) - activation(name, rule.defaults, a)) / (
                b - a
            )
            assert_contains(bottom[k], top[k], quotient, f"{name} on [{low[k]!r}, {high[k]!r}]")


@pytest.mark.parametrize(
    "name", sorted(n for n, r in RULES.items() if r.second is not None and n not in JUMPS)
)
def test_bends_contain_difference_quotients_of_the_slope(name):
    """Difference quotients of f' lie in the range of f'', so second derivatives are right."""
    rule = RULES[name]
    low, high, _ = intervals(name, CHECKS, seed=8)
    high = np.maximum(high, low + 1e-9)
    bottom, top = ranges.bend(name, rule.defaults, low, high)
    with flint.ctx.workprec(BITS):
        for k in range(CHECKS):
            a, b = flint.arb(low[k]), flint.arb(high[k])
            quotient = (
                activation(name, rule.defaults, b, 1) - activation(name, rule.defaults, a, 1)
            ) / (b - a)
            assert_contains(bottom[k], top[k], quotient, f"{name} on [{low[k]!r}, {high[k]!r}]")


@pytest.mark.parametrize("name", sorted(n for n, r in RULES.items() if r.turning is not None))
def test_turning_points_are_zeros(name):
    """Every tabulated turning point is a zero of the derivative it belongs to."""
    rule = RULES[name]
    with flint.ctx.workprec(BITS):
        for order, texts in enumerate(rule.turning):
            for text in texts:
                step = flint.arb(max(6e-16 * abs(float(text)), 1e-30))  # the margin used
                left, right = flint.arb(text) - step, flint.arb(text) + step
                if order < 2:
                    ends = [activation(name, rule.defaults, z, order + 1) for z in (left, right)]
                else:  # the third derivative, as a difference of the second
                    tiny = flint.arb(10) ** -40
                    ends = [
                        activation(name, rule.defaults, z + tiny, 2)
                        - activation(name, rule.defaults, z - tiny, 2)
                        for z in (left, right)
                    ]
                power = name == "power"  # 0 is listed for every exponent

                assert power or not (ends[0] * ends[1] > 0), f"{name} order {order + 1} at {text}"


@pytest.mark.parametrize("name", sorted(n for n, r in RULES.items() if r.tails is not None))
@pytest.mark.parametrize("z", [-1e6, -300.0, -41.0, -40.0, 40.0, 41.0, 300.0, 1e6])
def test_tails_are_reached_at_40(name, z):
    """Beyond 40 value, slope and bend are within 1e-15 of the asymptote."""
    tails = RULES[name].tails
    slope, rest = (tails.left_slope, tails.left) if z < 0 else (tails.right_slope, tails.right)
    with flint.ctx.workprec(4000):
        for order, line in enumerate((flint.arb(slope) * flint.arb(z) + rest, slope, 0)):
            value = activation(name, RULES[name].defaults, flint.arb(z), order)

            assert abs(value - line) < flint.arb("1e-15"), f"{name} order {order}: {value}"


@pytest.mark.parametrize(
    ("rule", "params", "low", "high"),
    [
        ("relu", {}, -1.0, 2.0),
        (
            "leaky_relu",
            {"alpha": np.array([0.1, 0.5])},
            np.array([-1.0, -2.0]),
            np.array([1.0, -1.0]),
        ),
        ("elu", {"alpha": 2.0}, -1.0, 1.0),
        ("clip", {"low": -0.5, "high": 0.25}, -1.0, 1.0),
    ],
)
def test_slopes_across_kinks_are_hulls(rule, params, low, high):
    """Across a kink the slope is the hull of both sides and the bend unknown."""
    merged = {**RULES[rule].defaults, **params}
    bottom, top = ranges.slope(rule, merged, np.asarray(low), np.asarray(high))
    left, right = np.asarray(low).reshape(-1)[0], np.asarray(high).reshape(-1)[0]
    before = ranges.slope(rule, merged, np.full_like(bottom, left), np.full_like(bottom, left))
    after = ranges.slope(rule, merged, np.full_like(bottom, right), np.full_like(bottom, right))

    assert np.all(bottom.reshape(-1)[0] <= np.minimum(before[0], after[0]).reshape(-1)[0])
    assert np.all(top.reshape(-1)[0] >= np.maximum(before[1], after[1]).reshape(-1)[0])
    bend = ranges.bend(rule, merged, np.asarray(low), np.asarray(high))

    assert np.isinf(bend[0].reshape(-1)[0])


@pytest.mark.parametrize("name", ["log", "sqrt", "reciprocal", "tan", "acosh", "atanh"])
def test_outside_the_domain_nothing_is_known(name):
    """An interval that leaves the domain or holds a pole has no known slope."""
    bottom, top = ranges.slope(name, {}, np.array([-3.0]), np.array([3.0]))

    assert bottom[0] == -np.inf
    assert top[0] == np.inf


@pytest.mark.parametrize("name", sorted(RULES))
def test_images_of_balls_contain_arb(name):
    """The image of a ball, narrow or wide, holds the value at its ends and centre."""
    rule = RULES[name]
    low, high, inside = intervals(name, CHECKS, seed=11)
    for narrow in (True, False):
        radius = np.full(CHECKS, 1e-9) if narrow else (high - low) / 3
        left, right = DOMAINS.get(name, (-np.inf, np.inf))
        centre = np.clip(inside, left + radius * 1.01, right - radius * 1.01)
        ball = ranges.image(name, rule.defaults, Ball(centre, radius))
        with flint.ctx.workprec(BITS):
            for k in range(CHECKS):
                for share in (-1, 0, 1):
                    z = flint.arb(centre[k]) + share * flint.arb(radius[k])
                    value = activation(name, rule.defaults, z)
                    assert_contains(ball.lower[k], ball.upper[k], value, f"{name} at {z}")


@pytest.mark.parametrize("seed", range(20))
def test_the_ends_of_a_hard_sigmoid_that_are_no_floats(seed):
    """Values and slopes hold in rational arithmetic some floats around ``-beta / alpha``."""
    rng = np.random.default_rng(seed)
    alpha, beta = float(rng.uniform(0.05, 3)), float(rng.uniform(-1, 1.5))
    params = {"alpha": alpha, "beta": beta}

    def exact(z):
        return min(max(Fraction(alpha) * Fraction(z) + Fraction(beta), Fraction(0)), Fraction(1))

    for place in (-beta / alpha, (1 - beta) / alpha):
        near = [place + k * np.spacing(abs(place)) for k in range(-4, 5)]
        for low, high in itertools.combinations(near, 2):
            ends = np.array(low), np.array(high)
            bottom, top = ranges.value("hard_sigmoid", params, *ends)
            least, most = ranges.slope("hard_sigmoid", params, *ends)
            rise = (exact(high) - exact(low)) / (Fraction(high) - Fraction(low))

            assert Fraction(float(bottom)) <= exact(low) <= exact(high) <= Fraction(float(top))
            assert Fraction(float(least)) <= rise <= Fraction(float(most))
