"""Signs on whole rays: proven for what grows like a power, and true as far out as one looks."""

from __future__ import annotations

import flint
import numpy as np
import pytest
from certified_networks import GROWING, KINKED, SMOOTH, every_kind, growing, mlp, one_hidden

from nneq.api.equations import Equations
from nneq.boundary.smooth.rays import Power, Rays
from nneq.boundary.smooth.tails import ray_signs
from nneq.ir import network as ir
from nneq.semantics.arb import ArbNetwork
from nneq.semantics.ball import Ball
from nneq.semantics.slices import Slices

AT = {"x_2": 0.4, "x_3": -0.7}


@pytest.mark.parametrize("kind", [k for k in GROWING if k != "select"])
def test_whole_lines_of_growing_networks_are_complete(kind):
    """Products, squares, maxima, attention and normalisation have proven tails."""
    for seed in range(6):
        found = Equations(growing(kind, seed)).boundary("z_1", "z_2").solve("x_1", at=AT)

        assert found.complete, (seed, found.undecided)


def test_a_parabola():
    """t**2 = 2 has two solutions on the whole line, and t**2 = -2 none."""
    network = one_hidden([[1.0]], [0.0], [[1.0], [0.0]], [-2.0, 0.0], "square")
    found = Equations(network).boundary("z_1", "z_2").solve("x_1")
    none = Equations(network).boundary("z_1", -4.0).solve("x_1")

    assert found.complete
    assert found.values == pytest.approx([-np.sqrt(2), np.sqrt(2)], abs=1e-15)
    assert (none.complete, len(none)) == (True, 0)


def check_rays(rng, network):
    """Fail unless Arb confirms every sign said of a random ray; return how many were looked at."""
    problem = Equations(network).boundary("z_1", "z_2").problem
    origin, direction = rng.normal(size=3) * 10 ** rng.uniform(-1, 2), rng.normal(size=3)
    slices = Slices(problem.network, origin[None], direction[:, None])
    start, side = 2.0 ** rng.integers(0, 30, 6), rng.choice([-1, 1], 6)
    signs = ray_signs(slices, np.zeros(6, dtype=int), start, side)
    exact = ArbNetwork(problem.network)
    for k in np.flatnonzero(signs):
        places = start[k] * side[k] * np.array([1.0, 1.3, 17.0, 1e4])
        points = [flint.arb(float(t)) for t in places]
        for value in exact.on_line(origin, direction, points, 400).reshape(-1):
            assert value * int(signs[k]) > 0 or (value.contains(0) and not value.is_exact())
    return 4 * np.count_nonzero(signs)


@pytest.mark.parametrize("kind", [*GROWING, "every kind"])
def test_signs_on_rays_hold(kind):
    """In Arb, without tolerance."""
    rng = np.random.default_rng(len(kind))
    checks = 0
    for seed in range(4):
        network = every_kind(seed) if kind == "every kind" else growing(kind, seed)
        checks += check_rays(rng, network)

    assert checks > 20


@pytest.mark.long
def test_signs_on_many_rays_hold():
    """The same for every activation and kind, a hundred thousand points."""
    rng = np.random.default_rng(1)
    kinds = [*GROWING, *SMOOTH, *KINKED]
    checks = 0
    while checks < 100_000:
        kind, seed = kinds[rng.integers(len(kinds))], int(rng.integers(1e6))
        gain = 10 ** rng.uniform(-1, 1)
        network = growing(kind, seed) if kind in GROWING else mlp((3, 6, 6, 2), kind, seed, gain)
        checks += check_rays(rng, network)


@pytest.mark.parametrize(
    ("rule", "side"),
    [("sigmoid", -1), ("silu", -1), ("gelu", -1), ("gelu_tanh", -1), ("mish", -1),
     ("softplus", -1), ("exp", -1), ("log_sigmoid", 1)],
)  # fmt: skip
def test_closed_gates_fade_as_fast_as_is_said(rule, side):
    """|f(z)| <= exp(-|z|/2) from |z| = 2 on, and the bound of a ray holds on all of it."""
    from nneq.semantics.arb import activation

    with flint.ctx.workprec(12000):
        for z in [2.0, 2.5, 3.0, 5.0, 11.0, 17.0]:
            assert abs(activation(rule, {}, flint.arb(side * z))) <= (-flint.arb(z) / 2).exp()
    rays = Rays(np.array([16.0]))
    line = Power(Ball.point(np.array([[0.7 * side]])), Ball.point(np.array([[1.5 * side]])))
    with np.errstate(all="ignore"):
        fading = float(rays.elementwise(ir.Elementwise((1,), 0, rule), line).fading[0, 0])
    with flint.ctx.workprec(12000):
        for t in [16.0, 16.1, 18.0, 21.0, 25.0]:
            value = abs(activation(rule, {}, flint.arb(side * (0.7 + 1.5 * t))))

            assert value <= flint.arb(fading) * flint.arb(t) ** -8


def test_a_normalised_value_is_bounded():
    """(2 t + 1) / sqrt((2 t + 1)**2) is 1, and what is exactly 0 stays 0."""
    rays = Rays(np.array([1024.0]))
    line = Power(Ball.point(np.array([[1.0]])), Ball.point(np.array([[2.0]])))
    with np.errstate(all="ignore"):  # as the walk does: infinite ends are its everyday life
        square = rays.elementwise(ir.Elementwise((1,), 0, "square"), line)
        root = rays.elementwise(ir.Elementwise((1,), 0, "sqrt"), square)
        rate = rays.elementwise(ir.Elementwise((1,), 0, "reciprocal"), root)
        share = rays.product(ir.Product((1,), 0, 0, "a,a->a"), line, rate)
        low, high = rays.ends(share)

    assert [square.degree, root.degree, rate.degree, share.degree] == [2, 1, -1, 0]
    assert 0.99 < float(low[0, 0]) <= 1 <= float(high[0, 0]) < 1.01
    assert not root.base.mid.any()
    assert not root.base.rad.any()
