"""Numbers of the comparison: tolerances, samples, jumps, amplification."""

from __future__ import annotations

import numpy as np
import pytest
from zoo_networks import mlp

import nneq
from nneq.api.verification import differences, draw_samples, tolerance_of
from nneq.ir import Source
from nneq.lowering import Builder


def one_input(dtype="float32", levels=None, size=3):
    b = Builder()
    x = b.input((1, size), dtype=dtype, levels=levels)
    return b.build(
        [(b.add(x, b.constant(np.ones(size, dtype=np.float32))), "out")], source=Source()
    )


@pytest.mark.parametrize(
    ("dtype", "expected"),
    [("float32", 1e-5), ("float64", 1e-12), ("float16", 2**-6), ("int64", 1e-5)],
)
def test_the_tolerance_follows_the_element_type(dtype, expected):
    """The coarsest floating-point type decides."""
    b = Builder()
    x = b.input((1, 2), dtype=dtype)
    network = b.build([(x, "out")], source=Source())

    assert expected == tolerance_of(network)


def test_samples_have_the_ports_element_types():
    """Integers stay below their levels, booleans are two, floats are representable."""
    integers = draw_samples(one_input("int32", levels=5), 400, 0)[0]
    booleans = draw_samples(one_input("bool"), 50, 0)[0]
    halves = draw_samples(one_input("float16"), 50, 0)[0]

    assert set(range(5)) == set(integers.reshape(-1).tolist())
    assert (np.int32, np.bool_, np.float16) == (integers.dtype, booleans.dtype, halves.dtype)


def test_samples_repeat_with_the_seed():
    """The same seed gives the same inputs, another seed others."""
    network = one_input()
    first, again, other = (draw_samples(network, 5, seed)[0] for seed in (1, 1, 2))

    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_nan_agrees_with_nan_and_with_nothing_else():
    """The same NaN or infinity is agreement; a NaN against a number is infinitely far."""
    a = [np.array([[np.nan, 1.0], [np.inf, 2.0], [np.nan, 3.0]])]
    b = [np.array([[np.nan, 1.0], [np.inf, 2.0], [4.0, 3.0]])]
    absolute, relative = differences(a, b)

    assert [0.0, 0.0, np.inf] == absolute.tolist()
    assert [0.0, 0.0, np.inf] == relative.tolist()


def test_many_samples_go_in_pieces():
    """A large model is compared piece by piece, over all the samples asked for."""
    network = one_input(size=1 << 21)
    sizes = []

    def reference(arrays):
        sizes.append(arrays[0].shape[0])
        return [network(*arrays)]

    found = nneq.Equations(network, reference, batches=True).verify(samples=5)

    assert found.passed
    assert [2, 2, 1] == sizes
    assert 5 == found.samples


def stairs():
    """A floor whose jumps sit between the samples of float32."""
    b = Builder()
    x = b.input((1, 1))
    return b.build([(b.elementwise("floor", x), "out")], source=Source())


@pytest.mark.parametrize(("wrong", "passed"), [(1, True), (20, False)])
def test_a_jump_may_fall_on_the_other_side(wrong, passed):
    """At most one sample in twenty is forgiven, and only where the model has jumps."""
    network = stairs()

    def reference(arrays):
        out = network(*arrays).copy()
        out[:wrong] += 1
        return [out]

    assert passed is nneq.Equations(network, reference, batches=True).verify(samples=100).passed
    smooth = mlp([1, 2, 1], last=None)

    def shifted(arrays):
        out = smooth(*arrays).copy()
        out[:1] += 1
        return [out]

    assert not nneq.Equations(smooth, shifted, batches=True).verify(samples=100).passed


def test_amplified_rounding_is_measured():
    """A float32 difference of two large numbers passes with a tolerance that says so."""
    b = Builder()
    x = b.input((1, 1))
    shifted = b.add(x, b.constant(np.array([100.0])))
    cancelled = b.subtract(b.elementwise("square", shifted), b.constant(np.array([10000.0])))
    network = b.build([(cancelled, "out")], source=Source())

    def reference(arrays):
        x = np.asarray(arrays[0], dtype=np.float32)
        return [(x + np.float32(100)) ** 2 - np.float32(10000)]

    found = nneq.Equations(network, reference, batches=True).verify(samples=200)

    assert found.max_rel_error > 1e-5
    assert found.passed is (found.max_rel_error <= found.tolerance)
    assert found.tolerance <= 1e-2


def test_a_framework_that_cannot_run_its_model_is_one_clear_error():
    """What the framework raises is told in a ``NneqError``, with what to do."""
    network = one_input()

    def broken(arrays):
        raise RuntimeError("no kernel for this machine")

    with pytest.raises(nneq.NneqError, match=r"does not run.*no kernel.*check=False"):
        nneq.Equations(network, broken, batches=True).verify(samples=2)
