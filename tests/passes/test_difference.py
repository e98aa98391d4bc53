"""The reduction of ``z_i = z_j`` keeps every zero, and cancels only what it may."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from zoo_networks import mlp

from nneq.ir.float64 import evaluate
from nneq.passes import difference, level, margins, restrict


def _values(network, points):
    return evaluate(network, [points[:, None, :]])[0].reshape(points.shape[0], -1)


@pytest.mark.parametrize("last", ["softmax", "sigmoid", "tanh", "softplus", None])
def test_sign_of_the_difference(last):
    """``g`` has the sign of ``z_i - z_j`` at random points."""
    network = mlp((3, 8, 8, 4), "tanh", last=last, gain=2.0)
    points = np.random.default_rng(1).normal(size=(500, 3))
    z = _values(network, points)

    g = _values(difference(network, 2, 0).network, points)[:, 0]

    assert (np.sign(z[:, 2] - z[:, 0]) == np.sign(g)).all()


@pytest.mark.parametrize("last", ["relu", "clip", "hard_sigmoid"])
def test_flat_activations_are_kept(last):
    """An output activation that ties on sets with interior is not cancelled."""
    reduced = difference(mlp((2, 4, 2), "tanh", last=last), 0, 1)

    assert any(node.origin == "difference" for node in reduced.network.nodes)
    assert f"{last} kept" in reduced.notes[0]


def test_softmax_across_groups_is_kept():
    """Entries of two different softmax groups are compared as probabilities."""
    from nneq.ir import Source
    from nneq.lowering import Builder

    builder = Builder()
    x = builder.input((1, 4))
    grouped = builder.softmax(builder.reshape(x, (1, 2, 2)), -1)
    network = builder.build([(grouped, "p")], source=Source())
    points = np.random.default_rng(0).normal(size=(50, 4))

    g = _values(difference(network, 0, 2).network, points)[:, 0]

    z = _values(network, points)
    np.testing.assert_allclose(g, z[:, 0] - z[:, 2], atol=1e-15)


def test_rows_are_subtracted_exactly():
    """The subtracted rows equal the fractions ``w_i - w_j`` even where float64 would round."""
    network = mlp((2, 6, 2), "tanh", dtype="float64", seed=5)
    reduced = difference(network, 0, 1).network
    hidden = next(k for k, node in enumerate(reduced.nodes) if hasattr(node, "rule"))
    last = network.nodes[-2]

    total = [Fraction(0)] * 6
    for term in reduced.nodes[-1].terms:
        if term.arg == hidden:
            row = term.map.dense()[0]
            total = [t + Fraction(float(w)) for t, w in zip(total, row, strict=True)]

    w = last.terms[0].map.dense()
    expected = [Fraction(float(a)) - Fraction(float(b)) for a, b in zip(w[0], w[1], strict=True)]
    assert expected == total


def test_margins():
    """Margins are ``z_i - z_k`` in sign for every rival."""
    network = mlp((2, 8, 5), "tanh", gain=3.0)
    points = np.random.default_rng(2).normal(size=(200, 2))
    z = _values(network, points)

    m = _values(margins(network, 1, [0, 3, 4]), points)

    assert (np.sign(z[:, [1]] - z[:, [0, 3, 4]]) == np.sign(m)).all()


@pytest.mark.parametrize(("last", "value"), [("sigmoid", 0.5), ("sigmoid", 0.3), (None, 1.25)])
def test_level_sets(last, value):
    """A level set's ``g`` has the sign of ``z_i - value``; the logit is used where exact."""
    network = mlp((2, 8, 1), "tanh", last=last, gain=3.0)
    points = np.random.default_rng(2).normal(size=(200, 2))

    g = _values(level(network, 0, value).network, points)[:, 0]

    assert (np.sign(_values(network, points)[:, 0] - value) == np.sign(g)).all()


def test_restriction():
    """The network on a slice equals the network at the slice's points."""
    network = mlp((4, 8, 2), "tanh", last=None)
    random = np.random.default_rng(0)
    origin, directions = random.normal(size=4), random.normal(size=(4, 2))
    t = random.normal(size=(20, 2))

    found = evaluate(restrict(network, origin, directions), [t])[0].reshape(20, -1)

    np.testing.assert_allclose(found, _values(network, origin + t @ directions.T), atol=1e-12)
