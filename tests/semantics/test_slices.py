"""A plane in another basis: the same plane exactly, or refused."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from certified_networks import mlp

from nneq.boundary.smooth.slanted import _AXES, _SLANTS
from nneq.semantics.slices import Slices

NETWORK = mlp((3, 4, 1), "tanh")


@pytest.mark.parametrize(
    ("directions", "accepted"),
    [
        ([[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]], True),
        ([[3.0, -2.0], [5.0, 7.0], [0.0, 1.0]], True),
        ([[0.1, 0.0], [0.0, 0.7], [0.0, 0.0]], False),
        ([[0.1, 0.3], [0.2, 0.7], [0.4, 0.9]], False),
        ([[0.25, 0.0], [0.0, 1.5], [0.0, 0.0]], True),
    ],
)
def test_a_turned_plane_is_the_same_plane(directions, accepted):
    """Where a product or a sum of a new direction would round, there is no turned plane."""
    slices = Slices(NETWORK, np.zeros((1, 3)), np.array(directions))
    refused = 0
    for w in _AXES + _SLANTS:
        basis = np.array([[w[0], -w[1]], [w[1], w[0]]], dtype=np.float64)
        turned = slices.turned(basis)
        if turned is None:
            refused += 1
            continue
        for i in range(3):
            for k in range(2):
                exact = sum(Fraction(directions[i][m]) * Fraction(basis[m, k]) for m in range(2))

                assert Fraction(float(turned.directions.reshape(3, 2)[i, k])) == exact
    assert (refused == 0) == accepted
