"""How layers are found and named."""

from __future__ import annotations

import numpy as np
from zoo_networks import mlp

import nneq
from nneq.ir import Source
from nneq.lowering import Builder
from nneq.symbolic import rows


def built(b, *outputs):
    return nneq.to_equations(
        b.build([(v, f"o{k}") for k, v in enumerate(outputs)], source=Source())
    )


def test_one_hidden_layer_has_no_layer_number():
    """y_1 ... y_k with one hidden layer, y1_1, y2_1 with two."""
    one = [str(eq.lhs) for eq in nneq.to_equations(mlp([2, 3, 1], last=None)).system()]
    two = [str(eq.lhs) for eq in nneq.to_equations(mlp([2, 1, 2, 1], last=None)).system()]

    assert ["y_1", "y_2", "y_3", "z_1"] == one
    assert ["y1_1", "y2_1", "y2_2", "z_1"] == two


def test_a_sum_that_is_read_twice_gets_a_name():
    """A residual sum is written once."""
    b = Builder()
    x = b.input((1, 2))
    w = b.constant(np.array([[1.0, 2.0], [3.0, 4.0]]))
    s = b.add(b.matmul(x, w), b.constant(np.array([0.5, 0.25])))
    eqs = built(b, b.add(s, b.elementwise("tanh", s)))

    assert [
        "u_1 = x_1 + 3.0*x_2 + 0.5",
        "u_2 = 2.0*x_1 + 4.0*x_2 + 0.25",
        "y_1 = tanh(u_1)",
        "y_2 = tanh(u_2)",
        "z_1 = u_1 + y_1",
        "z_2 = u_2 + y_2",
    ] == str(eqs).splitlines()


def test_moved_entries_have_no_equations():
    """Transpose, reshape, concatenation and slices are read through."""
    b = Builder()
    x = b.input((1, 2, 2))
    both = b.concat([b.permute(x, (0, 2, 1)), x], 1)
    last = b.slice_axis(b.reshape(both, (1, 8)), 1, 1, 4)
    eqs = built(b, b.elementwise("relu", b.negative(last)))

    assert [
        "z_1 = relu(-x_3)",
        "z_2 = relu(-x_2)",
        "z_3 = relu(-x_4)",
        "z_4 = relu(-x_1)",
    ] == str(eqs).splitlines()


def test_a_product_of_weights_is_never_rounded():
    """A scale after a dense layer becomes an equation of its own: no coefficient is a product."""
    b = Builder()
    x = b.input((1, 2))
    w, s = np.array([[0.1, 0.2], [0.3, 0.7]]), np.array([1 / 3, 1 / 7])
    eqs = built(b, b.scale(b.matmul(x, b.constant(w)), s))

    assert [
        "u_1 = 0.1*x_1 + 0.3*x_2",
        "u_2 = 0.2*x_1 + 0.7*x_2",
        f"z_1 = {1 / 3!r}*u_1",
        f"z_2 = {1 / 7!r}*u_2",
    ] == str(eqs).splitlines()


def test_repeated_entries_are_not_merged():
    """x + w x keeps both weights: 1 + w would round."""
    b = Builder()
    x = b.input((1, 1))
    eqs = built(b, b.add(x, b.matmul(x, b.constant(np.array([[1e-17]])))))

    assert "z_1 = x_1 + 1e-17*x_1" == str(eqs)


def test_slices_of_what_was_never_placed_disappear():
    """The last step of a stacked sequence reads the last step only."""
    b = Builder()
    x = b.input((1, 2))
    first, second = b.elementwise("tanh", x), b.elementwise("sin", x)
    stacked = b.stack([first, second], 1)
    last = b.reshape(b.slice_axis(stacked, 1, 1, 1), (1, 2))
    eqs = built(b, b.matmul(last, b.constant(np.eye(2))))

    assert ["y_1 = sin(x_1)", "y_2 = sin(x_2)", "z_1 = y_1", "z_2 = y_2"] == str(eqs).splitlines()
    assert "place" not in str(eqs.matrix_form()) or "sin" in str(eqs.matrix_form())
    assert "tanh" not in str(eqs.matrix_form())


def test_a_shared_array_has_one_name():
    """A weight used in two layers is one array of the matrix form."""
    b = Builder()
    x = b.input((1, 2))
    w = b.constant(np.array([[1.0, 2.0], [3.0, 4.0]]))
    h = b.elementwise("tanh", b.matmul(x, w))
    eqs = built(b, b.matmul(h, w))

    names = [name for eq in eqs.matrix_form().equations for name in eq.weights]

    assert len(eqs.matrix_form().weights) == len(set(names))


def test_rows_of_a_convolution_are_those_of_the_map():
    """The sparse rows give what the matrix-free map gives."""
    from nneq.ir import linear_map as lm

    random = np.random.default_rng(0)
    conv = lm.Conv(
        random.normal(size=(4, 2, 3, 2)), (1, 4, 5, 6), (2, 1), (1, 2), ((1, 0), (2, 1)), 2
    )
    for linear in (conv, conv.transpose()):
        x = random.normal(size=(3, *linear.in_shape))
        found = rows.matrix(linear) @ x.reshape(3, -1).T

        assert np.allclose(linear.apply(x).reshape(3, -1).T, found, atol=1e-14)
        assert rows.terms_of(linear) >= rows.matrix(linear).nnz


def test_the_estimate_bounds_the_terms():
    """term_count is an upper bound of the terms that are written."""
    eqs = nneq.to_equations(mlp([5, 7, 3], last=None))

    assert 5 * 7 + 7 * 3 <= eqs.layout.term_count <= 5 * 7 + 7 * 3 + 7 + 3


def test_the_estimate_counts_affine_layers():
    """Scores before a softmax, linear chains and activations alike are counted."""
    wide = nneq.to_equations(mlp([50, 60, 70]))

    assert wide.layout.term_count >= 50 * 60 + 60 * 70
