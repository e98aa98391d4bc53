"""Readable forms: hinge sums, solved pieces, simplified polylines, rational arithmetic."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from boundary.pwl.networks import dense, fractions, lenet

from nneq.boundary.pwl.forms import BoundaryPiece, hinge_sum, simplified
from nneq.boundary.pwl.walk import Program, walk_lines
from nneq.boundary.results import Budget, Component, Piece
from nneq.errors import NneqError
from nneq.semantics.pattern import affine_piece, expand_maximum
from nneq.semantics.rational import evaluate_exact, integers


def test_hinge_sum_of_a_network_with_one_input():
    """a + b*t + sum c_k*max(0, t - t_k) equals the network."""
    network = dense((1, 16, 16, 1), 2)
    strips, _ = walk_lines(
        Program(network), np.zeros((1, 1)), np.ones((1, 1)), (-4.0, 4.0), Budget().start()
    )
    pieces = [
        Piece(s[0], e[0], f[0], f[1])
        for s, e, f in zip(strips.start, strips.end, strips.forms, strict=True)
    ]
    formula = hinge_sum(pieces, "x_1")
    t = np.linspace(-4, 4, 2001)

    assert formula(t) == pytest.approx(network(t[:, None]).reshape(-1), abs=1e-12)
    assert formula.text(3).count("max(0, ") == len(formula.hinges)


def test_solved_piece():
    """2 x_1 - x_2 + 1 = 0 becomes x_1 = 1/2*x_2 - 1/2 with exact fractions."""
    exact = (Fraction(2), Fraction(-1), Fraction(1))
    piece = BoundaryPiece(("x_1", "x_2"), (2.0, -1.0, 1.0), np.array([[0, 1], [1, 3.0]]), exact)

    assert str(piece) == "2*x_1 - x_2 + 1 = 0"
    assert piece.solved("x_1") == ((Fraction(1, 2),), Fraction(-1, 2))
    assert piece.solved_text() == "x_1 = 1/2*x_2 - 1/2 on x_2 in [1.0, 3.0]"
    assert piece.solved("x_2") == ((Fraction(2),), Fraction(1))
    with pytest.raises(NneqError, match="does not depend on x_2"):
        BoundaryPiece(("x_1", "x_2"), (1.0, 0.0, 1.0), np.zeros((2, 2))).solved("x_2")


@pytest.mark.parametrize("closed", [False, True])
def test_simplified_polyline_keeps_its_deviation(closed):
    """No corner of the exact polyline is farther from the simplified one than stated."""
    t = np.linspace(0, 2 * np.pi, 200, endpoint=not closed)
    curve = Component(np.stack([np.cos(t), np.sin(2 * t)], axis=1), closed)
    short, worst = simplified(curve, 0.01)
    ring = np.vstack([short.points, short.points[:1]]) if closed else short.points
    gaps = []
    for p in curve.points:
        d = np.diff(ring, axis=0)
        share = np.clip(((p - ring[:-1]) * d).sum(1) / (d * d).sum(1), 0, 1)
        gaps.append(np.linalg.norm(ring[:-1] + share[:, None] * d - p, axis=1).min())

    assert max(gaps) <= worst + 1e-15
    assert worst <= 0.01
    assert len(short.points) < 60
    assert short.closed == closed


def test_integers_are_exact():
    """Floats become integers over one power of two, exactly, whatever their size."""
    values = np.array([0.1, -3.0, 2.0**-1074, 1e300, 0.0, 5e-324])
    ints, shift = integers(values)

    assert [Fraction(int(i), 1 << shift) for i in ints] == fractions(values)


def test_exact_evaluation_of_convolution_and_pooling():
    """Rational evaluation equals the float64 one to its rounding, before and after expansion."""
    network = lenet(size=8, channels=(2, 3))
    x = np.random.default_rng(0).uniform(0, 1, 64)
    number = network(x.reshape(1, 1, 8, 8))[0]
    exact = evaluate_exact(network, [fractions(x)])[0]

    assert [float(v) for v in exact] == pytest.approx(number, rel=1e-12)
    assert evaluate_exact(expand_maximum(network), [fractions(x)])[0] == exact


def test_affine_piece_is_the_local_map():
    """W and b come from the pattern: finite differences inside the region agree."""
    network = lenet(size=8, channels=(2, 3))
    x = np.random.default_rng(1).uniform(0, 1, 64)
    piece = affine_piece(network, x)
    step = np.random.default_rng(2).standard_normal(64) * 1e-9
    number = network((x + step).reshape(1, 1, 8, 8))[0]

    assert piece.W @ x + piece.b == pytest.approx(piece.value, rel=1e-12)
    assert piece.W @ (x + step) + piece.b == pytest.approx(number, rel=1e-12)
    assert piece.margin > 0


@pytest.mark.parametrize("rule", ["relu", "clip", "leaky_relu"])
def test_reduced_network_is_the_same_on_the_box(rule):
    """Dead and always-on units disappear; the function on the box does not change."""
    from nneq.boundary.pwl.reduce import reduced_on_box
    from nneq.boundary.results import Box
    from nneq.ir import Elementwise, verify

    network = dense((2, 24, 24, 2), 3, rule)
    box = Box((0.1, 0.1), (0.4, 0.4))
    found = reduced_on_box(network, box)
    units = sum(
        int(np.prod(node.shape)) for node in found.network.nodes if isinstance(node, Elementwise)
    )
    x = np.random.default_rng(0).uniform(0.1, 0.4, (200, 2))

    assert verify(found.network) is found.network
    assert found.dead + found.affine + found.kept == 48
    assert 0 < found.kept == units < 48
    assert found.network(x) == pytest.approx(network(x), rel=1e-12, abs=1e-12)
