"""Pooling, ordering and resizing against plain NumPy loops, live and on constants."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from nneq.errors import UnsupportedError
from nneq.ir import Source
from nneq.lowering import Builder
from nneq.lowering.ordering import (
    argmax,
    argmin,
    cumulative_sum,
    hardmax,
    lookup,
    one_hot,
    top_k,
)
from nneq.lowering.pooling import average_pool, lp_pool, max_pool, max_pool_indices, pooled_extent
from nneq.lowering.resize import interpolation_matrix, resize, sample_positions


def both_ways(write, x, dtype="float64"):
    """Return the outputs with ``x`` live, after holding them against ``x`` as a constant."""
    builder = Builder()
    made = write(builder, builder.input(x.shape, dtype=dtype, batched=False))
    made = made if isinstance(made, tuple) else (made,)
    network = builder.build([(value, "") for value in made], source=Source())
    found = network(x)
    found = found if isinstance(found, tuple) else (found,)
    fixed = Builder()
    stored = write(fixed, fixed.constant(x))
    stored = stored if isinstance(stored, tuple) else (stored,)
    for live, constant in zip(found, stored, strict=True):
        assert np.allclose(fixed.array(constant), live)
    return found if len(found) > 1 else found[0]


def windows(x, kernel, strides, pads, dilations, ceil_mode):
    """Yield ``(window, entries, places)`` by plain loops; ``places`` count within one plane."""
    extents = [
        pooled_extent(n, k, s, d, p, ceil_mode)
        for n, k, s, d, p in zip(x.shape[2:], kernel, strides, dilations, pads, strict=True)
    ]
    for at in itertools.product(*(range(n) for n in (*x.shape[:2], *extents))):
        entries, places = [], []
        for slot in itertools.product(*(range(k) for k in kernel)):
            where = [
                o * s - p[0] + j * d
                for o, s, p, j, d in zip(at[2:], strides, pads, slot, dilations, strict=True)
            ]
            if all(0 <= w < n for w, n in zip(where, x.shape[2:], strict=True)):
                entries.append(x[(*at[:2], *where)])
                places.append(int(np.ravel_multi_index(where, x.shape[2:])))
        yield at, entries, places


GEOMETRY = [
    ((3, 2), (2, 1), ((1, 1), (1, 0)), (1, 2), False),
    ((3, 3), (2, 2), ((1, 1), (1, 1)), (1, 1), True),
    ((2, 2), (3, 3), ((0, 0), (0, 0)), (1, 1), True),
    ((2, 3), (1, 2), ((0, 1), (2, 1)), (2, 1), False),
]


@pytest.mark.parametrize(("kernel", "strides", "pads", "dilations", "ceil_mode"), GEOMETRY)
def test_pools_agree_with_loops(kernel, strides, pads, dilations, ceil_mode):
    """Maximum, its place (the first of equals), mean without padding, and p-norm."""
    x = np.random.default_rng(0).integers(-4, 5, (2, 3, 7, 6)).astype(float)
    options = (kernel, strides, pads, dilations)
    highest = both_ways(lambda b, v: max_pool(b, v, *options, ceil_mode=ceil_mode), x)
    place = both_ways(
        lambda b, v: max_pool_indices(b, v, *options, ceil_mode=ceil_mode, per_plane=True), x
    )
    mean = both_ways(lambda b, v: average_pool(b, v, *options, ceil_mode=ceil_mode), x)
    norm = both_ways(lambda b, v: lp_pool(b, v, *options, p=3, ceil_mode=ceil_mode), x)
    for at, entries, places in windows(x, *options, ceil_mode):
        assert max(entries) == highest[at]
        assert (
            min(p for p, e in zip(places, entries, strict=True) if e == max(entries)) == place[at]
        )
        assert abs(np.mean(entries) - mean[at]) < 1e-12
        assert abs((np.abs(entries) ** 3).sum() ** (1 / 3) - norm[at]) < 1e-12


def test_padding_is_counted_only_when_asked():
    """The same sums, divided by the whole window."""
    x = np.ones((1, 1, 3))
    pads = ((1, 1),)
    without = both_ways(lambda b, v: average_pool(b, v, (3,), (1,), pads), x)
    counted = both_ways(
        lambda b, v: average_pool(b, v, (3,), (1,), pads, count_include_pad=True), x
    )

    assert [1.0, 1.0, 1.0] == without.ravel().tolist()
    assert np.allclose([2 / 3, 1.0, 2 / 3], counted.ravel())


def test_a_window_outside_the_tensor_is_refused():
    """A maximum of padding only would be minus infinity."""
    builder = Builder()
    x = builder.input((1, 1, 2), batched=False)
    with pytest.raises(UnsupportedError, match="entirely in the padding"):
        max_pool(builder, x, (1,), (1,), ((2, 0),))
    with pytest.raises(UnsupportedError, match="does not fit"):
        max_pool(builder, x, (5,))


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_order_along_every_axis(axis):
    """Ties included: the first of equals comes first."""
    x = np.random.default_rng(1).integers(-3, 4, (3, 5, 4)).astype(float)
    order = np.argsort(-x, axis, kind="stable")
    values, places = both_ways(lambda b, v: top_k(b, v, 2, axis), x)

    assert np.array_equal(order.take([0, 1], axis), places)
    assert np.array_equal(np.take_along_axis(x, order.take([0, 1], axis), axis), values)
    assert np.array_equal(
        np.sort(x, axis).take([0, 1], axis),
        both_ways(lambda b, v: top_k(b, v, 2, axis, largest=False), x)[0],
    )
    assert np.array_equal(x.argmax(axis), both_ways(lambda b, v: argmax(b, v, axis), x))
    assert np.array_equal(
        x.shape[axis] - 1 - np.flip(x, axis).argmax(axis),
        both_ways(lambda b, v: argmax(b, v, axis, last=True), x),
    )
    assert np.array_equal(
        x.argmin(axis, keepdims=True),
        both_ways(lambda b, v: argmin(b, v, axis, keepdims=True), x),
    )
    hard = both_ways(lambda b, v: hardmax(b, v, axis), x)
    assert np.array_equal(x.argmax(axis), hard.argmax(axis))
    assert (hard.sum(axis) == 1).all()


@pytest.mark.parametrize("axis", [0, 1])
def test_running_sums(axis):
    """Forward, backward, with and without the entry itself."""
    x = np.random.default_rng(2).integers(-9, 9, (4, 5)).astype(float)
    back = np.flip(np.flip(x, axis).cumsum(axis), axis)
    expected = {
        (False, False): x.cumsum(axis),
        (True, False): x.cumsum(axis) - x,
        (False, True): back,
        (True, True): back - x,
    }
    for (exclusive, reverse), wanted in expected.items():
        found = both_ways(
            lambda b, v, e=exclusive, r=reverse: cumulative_sum(b, v, axis, exclusive=e, reverse=r),
            x,
        )

        assert np.array_equal(wanted, found)


def test_a_live_integer_is_looked_up():
    """Places of every sign, in one-hot form; the table may be live too."""
    places = np.array([[0, -1, 2], [4, 3, -5]])
    table = np.random.default_rng(3).normal(size=(2, 5, 3))
    found = both_ways(lambda b, v: lookup(b, b.constant(table), v, 1), places, "int64")

    assert np.allclose(np.take(table, places, 1), found)
    builder = Builder()
    t = builder.input(table.shape, batched=False)
    i = builder.input(places.shape, dtype="int64", batched=False)
    network = builder.build([(lookup(builder, t, i, 1), "")], source=Source())

    assert np.allclose(np.take(table, places, 1), network(table, places))


def test_one_hot_with_other_numbers():
    """On and off values; integers outside give off everywhere."""
    index = np.array([1, -1, 7])
    found = both_ways(
        lambda b, v: one_hot(
            b, v, 3, on=b.constant(np.array(5.0)), off=b.constant(np.array(-2.0)), wrap=True
        ),
        index,
        "int64",
    )

    assert [[-2, 5, -2], [-2, -2, 5], [-2, -2, -2]] == found.tolist()


def test_linear_resizing_keeps_a_straight_line():
    """Linear interpolation of a line, corners aligned, is the line."""
    x = np.linspace(-1.0, 3.0, 5).reshape(1, 1, 5)
    matrix = interpolation_matrix(sample_positions(5, 9, "align_corners"), 5, "linear")
    found = both_ways(lambda b, v: resize(b, v, {2: matrix}), x)

    assert np.allclose(np.linspace(-1.0, 3.0, 9), found.ravel())


def test_nearest_resizing_only_moves_entries():
    """Doubling repeats every entry; no arithmetic is done."""
    matrix = interpolation_matrix(
        sample_positions(3, 6, "asymmetric"), 3, "nearest", rounding="floor"
    )
    builder = Builder()
    x = builder.input((1, 3), batched=False)
    network = builder.build([(resize(builder, x, {1: matrix}), "")], source=Source())
    stages = [s for n in network.nodes for t in getattr(n, "terms", ()) for s in t.map.stages()]

    assert [[1.0, 1.0, 2.0, 2.0, 3.0, 3.0]] == network(np.array([[1.0, 2.0, 3.0]])).tolist()
    assert [0] * len(stages) == [stage.fan_in for stage in stages]


@pytest.mark.parametrize("mode", ["linear", "cubic"])
@pytest.mark.parametrize("size", [3, 8, 13])
def test_interpolation_weights_add_up_to_one(mode, size):
    """A constant stays that constant, with and without antialiasing."""
    for scale in (None, size / 8):
        matrix = interpolation_matrix(sample_positions(8, size), 8, mode, antialias_scale=scale)

        assert np.allclose(1.0, matrix.sum(axis=1))


def test_unknown_names_are_refused():
    """A transform, a mode and a rounding that do not exist."""
    with pytest.raises(UnsupportedError, match="'sideways'"):
        sample_positions(3, 4, "sideways")
    with pytest.raises(UnsupportedError, match="'quintic'"):
        interpolation_matrix(np.zeros(2), 3, "quintic")
    with pytest.raises(UnsupportedError, match="'up'"):
        interpolation_matrix(np.zeros(2), 3, "nearest", rounding="up")
