"""Smooth branches: at every point one of them has the network's value and gradient."""

from __future__ import annotations

import numpy as np
import pytest

from nneq.ir.linear_map import Dense, Reshape
from nneq.ir.network import Affine, Elementwise, Input, Maximum, Network, Port, Term
from nneq.semantics.branches import fork, met
from nneq.semantics.slices import Slices


def _network(seed, rule, params=None):
    """Return a 3-8-8-1 network: the rule, then tanh; ``maximum`` takes pairs of 16 units."""
    random = np.random.default_rng(seed)

    def affine(rows, columns, arg):
        weight = random.normal(size=(rows, columns)) * 1.5 / np.sqrt(columns)
        return Affine((rows,), (Term(arg, Dense(weight)),), random.normal(size=rows) * 0.4)

    nodes = [Input((3,)), affine(16 if rule == "maximum" else 8, 3, 0)]
    if rule == "maximum":
        grouped = Affine((8, 2), (Term(1, Reshape((16,), (8, 2))),))
        nodes += [grouped, Maximum((8,), 2, (1,))]
    else:
        nodes.append(Elementwise((8,), 1, rule, params or {}))
    last = len(nodes) - 1
    nodes += [affine(8, 8, last), Elementwise((8,), last + 1, "tanh"), affine(1, 8, last + 2)]
    return Network(tuple(nodes), (Port("x", 0, (3,)),), (Port("z", len(nodes) - 1, (1,)),))


@pytest.mark.parametrize(
    ("rule", "params"),
    [
        ("relu", {}),
        ("abs", {}),
        ("leaky_relu", {"alpha": np.linspace(-0.5, 0.9, 8)}),
        ("clip", {"low": -0.3, "high": 0.4}),
        ("elu", {"alpha": 0.4}),
        ("hard_swish", {}),
        ("maximum", {}),
    ],
)
def test_one_branch_holds_value_and_gradient(rule, params):
    """Sampled points of boxes across kinks: the enclosures of one branch meet both."""
    slices = Slices(_network(3, rule, params), np.zeros((1, 3)), np.eye(3))
    random = np.random.default_rng(0)
    centre = random.uniform(-1, 1, (40, 3))
    half = np.exp(random.uniform(-6, -1.5, (40, 1))) * np.ones(3)
    line = np.zeros(40, dtype=np.int64)
    arithmetic, (jet,), owner = slices.branches(line, centre, half)
    low, high = (end[:, 0] for end in arithmetic.range(jet))
    slopes = arithmetic.slopes(jet)
    bottom, top = (
        np.stack([end[:, 0] for end in ends], axis=1)
        for ends in ([s.lower for s in slopes], [s.upper for s in slopes])
    )
    several = np.bincount(owner).max()
    for _ in range(20):
        points = centre + half * random.uniform(-1, 1, (40, 3))
        value = slices.balls(line, points)[0]
        _, (point,) = slices.jets(line, points, np.zeros((40, 3)))
        gradient, error = point.mid[1:4, :, 0].T, point.rad[1:4, :, 0].T
        sure = np.isfinite(gradient).all(axis=1)
        inside = (value.upper[owner, 0] >= low) & (value.lower[owner, 0] <= high)
        inside &= ((gradient + error)[owner] >= bottom).all(axis=1)
        inside &= ((gradient - error)[owner] <= top).all(axis=1)

        assert (np.bincount(owner, weights=inside) > 0)[sure].all()

    assert several > 1


def test_branches_are_sharper_than_hulls():
    """|x_1| through two later units: the branches know that both see the same side."""
    weights = np.array([[1.0], [1.0]])
    nodes = (
        Input((3,)),
        Affine((1,), (Term(0, Dense(np.array([[1.0, 0.5, 0.0]]))),)),
        Elementwise((1,), 1, "abs"),
        Affine((2,), (Term(2, Dense(weights)),)),
        Elementwise((2,), 3, "tanh"),
        Affine(
            (1,),
            (
                Term(4, Dense(np.array([[1.0, -1.0]]))),
                Term(0, Dense(np.array([[0.0, 0.0, 0.1]]))),
            ),
        ),
    )
    network = Network(nodes, (Port("x", 0, (3,)),), (Port("z", 5, (1,)),))
    slices = Slices(network, np.zeros((1, 3)), np.eye(3))
    box = np.zeros(1, dtype=np.int64), np.zeros((1, 3)), np.full((1, 3), 0.01)
    hull, (whole,) = slices.jets(*box)
    arithmetic, (jet,), owner = slices.branches(*box)

    assert [0, 0] == owner.tolist()
    assert hull.slopes(whole)[0].rad.max() > 1.9
    assert arithmetic.slopes(jet)[0].rad.max() < 0.01


def test_too_many_choices_stay_open():
    """Rows that would need more branches than allowed keep their kinks, others are split."""
    pieces = np.zeros((2, 3, 2), dtype=bool)
    pieces[0] = True
    pieces[1, 1] = True
    row, choice, weight = fork(pieces, np.ones(2), 4)

    assert [0, 1, 1] == row.tolist()
    assert [[-1, -1, -1], [-1, 0, -1], [-1, 1, -1]] == choice.tolist()
    assert [1.0, 2.0, 2.0] == weight.tolist()


def test_an_entry_without_a_range_may_win():
    """Two finite entries are not all that may be the maximum where a third one overflows."""
    low = np.array([[0.9, 0.9, 1.0], [0.9, 0.9, -np.inf], [0.9, 0.9, np.nan], [0.9, 0.9, 0.0]])
    high = np.array([[1.1, 1.1, np.inf], [1.1, 1.1, 0.1], [1.1, 1.1, np.nan], [1.1, 1.1, 0.1]])
    found = met(Maximum((), 0, (0,)), low, high)

    assert [[False] * 3, [True, True, False], [False] * 3, [True, True, False]] == [
        row.tolist() for row in found[:, 0]
    ]
