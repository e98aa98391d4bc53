"""Linear bounds against Arb at random points, with no tolerance."""

from __future__ import annotations

import itertools
from fractions import Fraction

import flint
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from random_networks import random_network

from nneq.activations import RULES
from nneq.ir.float64 import evaluate
from nneq.ir.linear_map import Dense
from nneq.ir.network import Affine, Elementwise, Input, Network, Port, Term
from nneq.semantics.arb import ArbNetwork, activation, lift
from nneq.semantics.curvature import shape_of
from nneq.semantics.domain import Domain
from nneq.semantics.linear_bounds import LinearBounds
from nneq.semantics.relaxation import _offset, hull, lines

_BITS = 200


def _exact(value):
    return flint.arb(float(value))


def _intervals(name, random, count):
    """Return intervals of every width, inside the rule's domain and away from poles."""
    low, high = RULES[name].domain
    center = random.normal(size=count) * 10.0 ** random.uniform(-2, 1, count)
    half = 10.0 ** random.uniform(-12, 1, count)
    half[:3] = 0.0
    a, b = center - half, center + half
    if np.isfinite(low) or np.isfinite(high):
        a, b = np.clip(a, low + 1e-3, high - 1e-3), np.clip(b, low + 1e-3, high - 1e-3)
    if name == "reciprocal":
        a, b = np.abs(center) + 1e-3, np.abs(center) + 1e-3 + half
    return a, np.maximum(a, b)


@pytest.mark.parametrize("adaptive", [False, True])
@pytest.mark.parametrize("name", sorted(RULES))
def test_lines_hold_the_activation(name, adaptive):
    """The lines and the range around an activation hold it at random points of the interval."""
    random = np.random.default_rng(len(name) * 7)
    params = dict(RULES[name].defaults)
    low, high = _intervals(name, random, 40)
    found = lines(name, params, low[None], high[None], adaptive=adaptive)
    below, above = hull(name, params, low[None], high[None])
    proven = 0
    with flint.ctx.workprec(_BITS):
        for k in range(len(low)):
            for share in (0.0, 1.0, *random.uniform(size=3)):
                z = min(max(low[k] + share * (high[k] - low[k]), low[k]), high[k])
                value = activation(name, params, _exact(z))
                if not value.is_finite():
                    continue
                if np.isfinite(found.low[0, k]):
                    line = _exact(found.slope_low[0, k]) * _exact(z) + _exact(found.low[0, k])
                    assert not value < line, (name, low[k], high[k], z)
                    proven += 1
                if np.isfinite(found.high[0, k]):
                    line = _exact(found.slope_high[0, k]) * _exact(z) + _exact(found.high[0, k])
                    assert not value > line, (name, low[k], high[k], z)
                if np.isfinite(below[0, k]):
                    assert not value < _exact(below[0, k])
                if np.isfinite(above[0, k]):
                    assert not value > _exact(above[0, k])

    assert proven > 80


def test_lines_with_parameters_per_entry():
    """Array parameters give every entry its own lines."""
    alpha = np.array([0.1, 0.5, 0.1])
    low, high = np.full((2, 3), -1.0), np.full((2, 3), 2.0)

    found = lines("leaky_relu", {"alpha": alpha}, low, high)

    for k in range(3):
        single = lines("leaky_relu", {"alpha": alpha[k]}, low[:, k], high[:, k])
        assert np.array_equal(single.high, found.high[:, k])
        assert np.array_equal(single.slope_high, found.slope_high[:, k])


def test_relu_lines_are_the_known_ones():
    """Around 0 the upper line of ReLU is the chord, the lower one has slope 0 or 1."""
    found = lines("relu", {}, np.array([[-1.0, -3.0]]), np.array([[3.0, 1.0]]))

    assert np.allclose([[0.75, 0.25]], found.slope_high, atol=2e-3)
    assert np.allclose([[1.0, 0.0]], found.slope_low, atol=2e-3)


def _domains(random, n, count):
    center = random.normal(size=(count, n))
    half = 10.0 ** random.uniform(-6, 0.3, (count, n)) * random.integers(0, 2, (count, n))
    return center - half, center + half


def assert_holds(network, domain, points, precision="real"):
    """Check ranges and linear forms of the first output against Arb at the points of every set."""
    bounds = LinearBounds(network, precision=precision)
    forms = bounds(domain)
    exact = ArbNetwork(network)
    checks = 0
    for k in range(domain.count):
        inputs, offset = [], 0
        for port in network.inputs:
            part = points[k][:, offset : offset + port.size]
            inputs.append(lift(part.reshape(-1, *port.shape)))
            offset += port.size
        values = exact(inputs, _BITS)[0]
        values = values.reshape(values.shape[0], -1)
        with flint.ctx.workprec(_BITS):
            for s, row in enumerate(values if len(values) > 1 else [values[0]] * len(points[k])):
                x = lift(points[k][s])
                for entry, value in enumerate(row):
                    if not value.is_finite():
                        continue
                    if np.isfinite(forms.low[k, entry]):
                        assert not value < _exact(forms.low[k, entry])
                        assert not value > _exact(forms.high[k, entry])
                        checks += 2
                    for slope, offset_, sign in (
                        (forms.slope_low, forms.offset_low, 1),
                        (forms.slope_high, forms.offset_high, -1),
                    ):
                        line = slope[k if slope.shape[0] > 1 else 0, entry]
                        start = offset_[k, entry]
                        if np.isfinite(start) and np.isfinite(line).all():
                            level = (lift(line) * x).sum() + _exact(start)
                            assert not sign * (value - level) < 0
                            checks += 1
    return checks


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6))
def test_bounds_hold_on_random_networks(seed):
    """Every node kind: no value outside the bounds, at corners and inside."""
    network = random_network(seed)
    random = np.random.default_rng(seed)
    low, high = _domains(random, network.input_size, 4)
    points = [
        np.clip(a + random.uniform(size=(4, a.size)).round(2) * (b - a), a, b)
        for a, b in zip(low, high, strict=True)
    ]

    assert_holds(network, Domain.box(low, high), points)


def _mlp(seed, widths, rules):
    random = np.random.default_rng(seed)
    nodes = [Input((widths[0],))]
    for k, (a, b) in enumerate(itertools.pairwise(widths)):
        weight = (random.normal(size=(b, a)) / np.sqrt(a) * 1.5).astype(np.float32)
        bias = random.normal(size=b).astype(np.float32)
        nodes.append(Affine((b,), (Term(len(nodes) - 1, Dense(weight)),), bias))
        if k < len(widths) - 2:
            nodes.append(Elementwise((b,), len(nodes) - 1, rules[k % len(rules)]))
    last = len(nodes) - 1
    return Network(tuple(nodes), (Port("x", 0, (widths[0],)),), (Port("z", last, (widths[-1],)),))


@pytest.mark.parametrize(
    "rules", [("tanh",), ("relu",), ("tanh", "relu"), ("silu", "sigmoid"), ("gelu",), ("sin",)]
)
def test_bounds_hold_on_layers(rules):
    """At least 500 checks per kind of network, tiny boxes and single points included."""
    network = _mlp(3, [3, 8, 8, 2], rules)
    random = np.random.default_rng(1)
    low, high = _domains(random, 3, 24)
    points = [
        np.clip(a + random.uniform(size=(4, 3)) * (b - a), a, b)
        for a, b in zip(low, high, strict=True)
    ]

    assert assert_holds(network, Domain.box(low, high), points) >= 500


@pytest.mark.parametrize("norm", ["l2", "l1", "linf"])
def test_bounds_hold_on_balls(norm):
    """Points of the ball, its surface included, keep the bounds; they beat the bounding box's."""
    network = _mlp(5, [6, 10, 10, 2], ("tanh",))
    random = np.random.default_rng(2)
    center = random.normal(size=(6, 6))
    radius = 10.0 ** random.uniform(-3, 0, 6)
    step = random.normal(size=(6, 8, 6))
    size = np.linalg.norm(step, ord={"l2": 2, "l1": 1, "linf": np.inf}[norm], axis=2)
    points = center[:, None] + 0.999999 * step / size[..., None] * radius[:, None, None]
    ball = Domain.ball(center, radius, norm)

    assert assert_holds(network, ball, list(points)) >= 200
    box = Domain.box(center - radius[:, None], center + radius[:, None])
    inside, outside = LinearBounds(network)(ball), LinearBounds(network)(box)
    assert np.all(inside.high - inside.low <= (outside.high - outside.low) * 1.000001)


def test_float32_bounds_hold_the_executed_network():
    """Values computed in float32, in two orders of summation, lie within the wider bounds."""
    network = _mlp(7, [4, 64, 64, 2], ("tanh",))
    random = np.random.default_rng(3)
    points = random.normal(size=(40, 4)).astype(np.float32)
    wide = LinearBounds(network, precision="float32")(Domain.box(*(points.astype(float),) * 2))
    real = LinearBounds(network)(Domain.box(*(points.astype(float),) * 2))
    weights = [node for node in network.nodes if isinstance(node, Affine)]
    for reverse in (False, True):
        value = points
        for k, node in enumerate(weights):
            weight = node.terms[0].map.weight
            order = slice(None, None, -1) if reverse else slice(None)
            products = value[:, None, order] * weight[None][:, :, order]
            total = np.zeros((len(value), weight.shape[0]), dtype=np.float32)
            for column in range(products.shape[2]):
                total = total + products[:, :, column]
            value = total + node.bias
            if k < len(weights) - 1:
                value = np.tanh(value)

        assert np.all(wide.low <= value)
        assert np.all(value <= wide.high)
        assert not np.all((real.low <= value) & (value <= real.high))


def test_infinite_boxes_use_bounded_activations():
    """On the whole space a network of bounded units still has a finite range."""
    network = _mlp(9, [2, 5, 1], ("tanh",))
    everywhere = Domain.box(np.full((1, 2), -np.inf), np.full((1, 2), np.inf))

    forms = LinearBounds(network)(everywhere)

    weight = network.nodes[3].terms[0].map.weight.astype(float)
    bias = float(network.nodes[3].bias[0])
    assert forms.low[0, 0] <= bias - np.abs(weight).sum() <= forms.low[0, 0] + 1e-9
    assert forms.high[0, 0] - 1e-9 <= bias + np.abs(weight).sum() <= forms.high[0, 0]


def test_unknown_is_never_a_number():
    """Where nothing can be proven the ends are infinite, never NaN."""
    network = Network(
        (Input((1,)), Elementwise((1,), 0, "reciprocal")),
        (Port("x", 0, (1,)),),
        (Port("z", 1, (1,)),),
    )

    forms = LinearBounds(network)(Domain.box(np.array([[-1.0], [1.0]]), np.array([[1.0], [2.0]])))

    assert forms.low[0, 0] == -np.inf
    assert forms.high[0, 0] == np.inf
    assert forms.low[1, 0] <= 0.5
    assert 1.0 <= forms.high[1, 0]


def test_bounds_are_as_tight_as_the_method_allows():
    """Small boxes: the bounds approach the range to second order."""
    network = _mlp(11, [2, 32, 32, 1], ("tanh",))
    random = np.random.default_rng(4)
    center = random.normal(size=(20, 2))
    forms = LinearBounds(network)(Domain.box(center - 0.01, center + 0.01))
    points = center[:, None] + random.uniform(-0.01, 0.01, (20, 2000, 2))
    corners = np.array([[-0.01, -0.01], [-0.01, 0.01], [0.01, -0.01], [0.01, 0.01]])
    points = np.concatenate([points, center[:, None] + corners], axis=1)
    values = evaluate(network, [points.reshape(-1, 2)])[0].reshape(20, -1)
    spread = values.max(axis=1) - values.min(axis=1)

    ratio = (forms.high[:, 0] - forms.low[:, 0]) / spread
    assert np.median(ratio) <= 1.05
    assert ratio.max() <= 1.3


def test_convolutions_and_residual_sums():
    """A network of convolutions, residual sums and pooling keeps its bounds."""
    from nneq.ir.linear_map import Conv, Identity, Reshape
    from nneq.ir.network import Maximum

    random = np.random.default_rng(6)
    conv = Conv(
        random.normal(size=(3, 1, 3, 3)).astype(np.float32) / 3,
        (1, 1, 6, 6),
        (1, 1),
        (1, 1),
        ((1, 1), (1, 1)),
    )
    again = Conv(
        random.normal(size=(3, 3, 3, 3)).astype(np.float32) / 5,
        (1, 3, 6, 6),
        (1, 1),
        (1, 1),
        ((1, 1), (1, 1)),
    )
    shape = (1, 3, 6, 6)
    nodes = (
        Input((36,)),
        Affine((1, 1, 6, 6), (Term(0, Reshape((36,), (1, 1, 6, 6))),)),
        Affine(shape, (Term(1, conv),)),
        Elementwise(shape, 2, "tanh"),
        Affine(shape, (Term(3, again), Term(3, Identity(shape)))),
        Elementwise(shape, 4, "relu"),
        Maximum((1, 3), 5, (2, 3)),
        Affine((1, 2), (Term(6, Dense(random.normal(size=(2, 3)), (1,))),)),
    )
    network = Network(nodes, (Port("x", 0, (36,)),), (Port("z", 7, (1, 2)),))
    center = random.normal(size=(2, 36))
    points = [c + random.uniform(-0.05, 0.05, (3, 36)) for c in center]

    assert assert_holds(network, Domain.box(center - 0.05, center + 0.05), points) >= 24


# In each a float lies between (1 - beta) / alpha and what float64 makes of it.
@pytest.mark.parametrize(
    ("alpha", "beta"),
    [
        (0.33093100529232766, -0.0007356324565029881),
        (0.09413431031413223, -0.15460306575850702),
        (1.733805500517119, -0.440714818128077),
        (2.554776613212259, -0.11304300761351216),
    ],
)
def test_offsets_hold_around_corners_that_are_no_floats(alpha, beta):
    """Bounds of f - s z on a hard sigmoid, in rational arithmetic, some floats around a corner."""
    shape = shape_of("hard_sigmoid", (("alpha", alpha), ("beta", beta)))

    def exact(z):
        return min(max(Fraction(alpha) * Fraction(z) + Fraction(beta), Fraction(0)), Fraction(1))

    for place in (-beta / alpha, (1 - beta) / alpha):
        near = place + np.arange(-3, 4) * np.spacing(abs(place))
        for sign, slope in itertools.product((1.0, -1.0), (0.0, alpha)):
            bound = _offset(shape, sign, np.full(near.shape, slope), near, near)
            for z, most in zip(near.tolist(), bound.tolist(), strict=True):
                value = int(sign) * (exact(z) - Fraction(slope) * Fraction(z))

                assert value <= Fraction(most)
