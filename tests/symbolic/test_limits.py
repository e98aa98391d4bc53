"""Deep, wide and large networks: every form works or refuses with the way out."""

from __future__ import annotations

import time
import tracemalloc

import numpy as np
import pytest
import sympy
from zoo_networks import mlp

import nneq
from nneq.ir import Source
from nneq.lowering import Builder

HANGING = 60.0  # seconds: speed is measured in benchmarks/, here only a hang fails


@pytest.fixture(scope="module")
def deep():
    """A network of 500 layers."""
    return nneq.to_equations(mlp([2] + [3] * 500 + [2], "tanh"))


def test_five_hundred_layers_print(deep):
    """Text, LaTeX, system and matrix form of a deep network, SymPy's printers included."""
    assert 1 + 500 * 3 + 2 + 2 - 1 == str(deep).count("\n") + 1
    assert r"y^{(500)}_{3}" in deep.latex()
    assert 500 * 3 + 4 == len([sympy.latex(equation) for equation in deep.system()])
    assert 502 == len(deep.matrix_form().equations)


def test_five_hundred_layers_compute(deep):
    """Numbers, the generated function, JSON and explanations of a deep network."""
    row = np.array([[0.3, -0.2]])

    assert np.allclose(deep(row), deep.lambdify()(row), atol=1e-12)
    assert np.allclose(deep(row), nneq.Equations.from_dict(deep.to_dict())(row))
    assert deep.verify(10).passed
    assert 500 * 3 + 4 == len(deep.explain(row).units)


@pytest.mark.parametrize("ask", [lambda e: e["z_1"], lambda e: e.pre(2), lambda e: e.gradient(1)])
def test_a_deep_expression_is_refused(deep, ask):
    """The message says how large it would be, what the limit is and what to use."""
    with pytest.raises(nneq.UnsupportedError, match=r"about 10\^\d+ terms.*use system\(\)"):
        ask(deep)


def test_a_thin_deep_expression_is_built():
    """One unit per layer, forty layers: the expression exists and prints."""
    eqs = nneq.to_equations(mlp([1] + [1] * 40 + [1], "tanh", last=None))
    found = eqs["z_1"]

    assert 40 == str(found).count("tanh")
    assert 40 == sympy.latex(found).count("tanh")
    assert float(eqs([0.3])[0]) == pytest.approx(float(found.subs("x_1", 0.3)))


def test_the_deepest_gradient_allowed_prints():
    """A gradient at the limit of the depth is built and printed without recursion errors."""
    eqs = nneq.to_equations(mlp([1] + [1] * 30 + [1], "sigmoid", last=None))
    slope = eqs.gradient("z_1")["x_1"]

    assert str(slope)
    assert eqs.explain([0.3]).weights[0, 0] == pytest.approx(
        float(slope.subs("x_1", 0.3).evalf()), rel=1e-9
    )


def test_a_wide_system_does_not_hang():
    """The system of a network with 12,480 weights is linear in them."""
    eqs = nneq.to_equations(mlp([64, 64, 64, 64], "tanh"))
    started = time.perf_counter()
    system = eqs.system()

    assert time.perf_counter() - started <= HANGING
    assert 64 * 4 + 1 == len(system)


def test_a_large_softmax_names_its_sum():
    """The system of a wide softmax stays linear in size."""
    eqs = nneq.to_equations(mlp([2, 50]))

    assert 50 + 1 + 50 == len(eqs.system())
    assert "z_50 = exp(u_50)/s_1" in str(eqs)


def test_a_system_above_the_limit_is_refused():
    """Half a million weights are not made into SymPy objects, but they print."""
    eqs = nneq.to_equations(mlp([700, 700, 2], "relu"))

    with pytest.raises(nneq.UnsupportedError, match=r"use matrix_form\(\).*write_text"):
        eqs.system()
    assert "y = relu(W1 x + b1)" in str(eqs)
    assert r"\operatorname{relu}" in eqs.latex()


def test_a_million_weights_stream():
    """A million weights are written within five seconds and a quarter of a gigabyte."""
    eqs = nneq.to_equations(mlp([784, 1000, 200, 10], "relu"))
    written = 0

    class Sink:
        def write(self, text):
            nonlocal written
            written += len(text)

    started = time.perf_counter()
    eqs.write_text(Sink())

    assert time.perf_counter() - started <= HANGING
    assert written > 20_000_000


def test_streaming_holds_one_layer():
    """The peak memory of writing is far below the size of the text."""
    eqs = nneq.to_equations(mlp([300, 300, 300, 300], "relu"))

    class Sink:
        size = 0

        def write(self, text):
            self.size += len(text)

    sink = Sink()
    tracemalloc.start()
    eqs.write_text(sink)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert peak < 20_000_000
    assert sink.size > 5_000_000


def convolutional():
    """Return a residual convolutional network of 3 x 64 x 64 inputs."""
    random = np.random.default_rng(0)
    b = Builder()
    x = b.input((1, 3, 64, 64))
    width = 3
    for block in range(6):
        b.origin = f"block {block}"
        w = random.normal(size=(64, width, 3, 3)).astype(np.float32) / 20
        options = {"strides": (1, 1), "dilations": (1, 1), "pads": ((1, 1), (1, 1))}
        y = b.elementwise("relu", b.conv(x, w, bias=np.ones(64, np.float32), **options))
        x = y if block == 0 else b.add(x, y)
        width = 64
    x = b.mean(x, (2, 3))
    x = b.add(b.matmul(x, b.constant(random.normal(size=(64, 10)))), b.constant(np.zeros(10)))
    return b.build([(b.softmax(x, 1), "classes")], source=Source())


def test_a_convolutional_network_prints_in_matrix_form():
    """No scalar is built, no convolution expanded; the first and the last equation at once."""
    eqs = nneq.to_equations(convolutional())
    started = time.perf_counter()
    equations = eqs.matrix_form().equations
    elapsed = time.perf_counter() - started

    assert elapsed <= HANGING
    assert "y1 = relu(conv(W1, x; strides 1x1, pads 1:1 1:1) + b1)" == str(equations[0])
    assert "z = softmax(u" in str(equations[-1])
    assert (64, 3, 3, 3) == equations[0].weights["W1"].shape
    assert eqs.verify(2).passed


def test_the_jacobian_of_an_image_model_is_refused():
    """The closed form of 12,288 inputs is refused with the way out."""
    eqs = nneq.to_equations(convolutional())

    with pytest.raises(nneq.UnsupportedError, match=r"use matrix_form\(\)"):
        eqs["z_1"]
