"""With an executor the answers are the same, whoever computes them."""

from __future__ import annotations

import dataclasses
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor

import numpy as np
import pytest
from certified_networks import mlp

import nneq


class _Counting(Executor):
    """Runs every task at once, after sending it through pickle as a process would, and counts."""

    def __init__(self):
        self.tasks = 0

    def submit(self, function, /, *args, **options):
        import pickle

        self.tasks += 1
        again = pickle.loads(pickle.dumps((function, args, options)))
        future = Future()
        future.set_result(again[0](*again[1], **again[2]))
        return future


def _boundary(widths=(2, 48, 48, 2), gain=3.0):
    return nneq.to_equations(mlp(widths, "tanh", 1, gain, 1.5)).boundary("z_1", "z_2")


def _bare(result):
    """Return the answer without what the clock measured."""
    return dataclasses.replace(result, stats={}, at=None) if hasattr(result, "at") else result


def test_lines_are_the_same_with_an_executor():
    """Many lines: equal roots, and the work really left in tasks."""
    b = _boundary()
    at = {"x_2": np.linspace(-2, 2, 40)}
    alone = b.solve("x_1", at=at, domain=(-3, 3))
    pool = _Counting()
    together = b.solve("x_1", at=at, domain=(-3, 3), executor=pool)

    assert [_bare(s) for s in alone] == [_bare(s) for s in together]
    assert pool.tasks > 1


@pytest.mark.parametrize("make", [_Counting, lambda: ThreadPoolExecutor(2)])
def test_curves_are_the_same_with_an_executor(make):
    """The certified curve of a plane: equal components and flags."""
    b = _boundary()
    box = {"x_1": (-3, 3), "x_2": (-3, 3)}
    alone = b.trace(box)
    with make() as pool:
        together = b.trace(box, executor=pool)

    assert alone.complete == together.complete
    assert len(alone.components) == len(together.components) > 0
    for one, other in zip(alone.components, together.components, strict=True):
        assert one.closed == other.closed
        np.testing.assert_allclose(one.points, other.points, rtol=0, atol=1e-10)


def test_bounds_are_shared_among_processes():
    """A box that needs many bounds is proven free by two processes as by none."""
    b = _boundary((6, 20, 20, 2), 2.5)
    x = np.full(6, 0.3)
    radius = 0.7 * b.nearest(x, "linf").distance
    box = [(v - radius, v + radius) for v in x]
    alone = b.excludes(box)
    with ProcessPoolExecutor(2) as pool:
        together = b.excludes(box, executor=pool)

    assert alone.excluded is together.excluded is True
    assert alone.stats["boxes"] == together.stats["boxes"] > 1


def test_what_is_no_executor_is_refused():
    """A number of workers is not an executor; the message says what is."""
    with pytest.raises(nneq.NneqError, match=r"executor must be a concurrent\.futures\.Executor"):
        _boundary().solve("x_1", at={"x_2": 0.0}, executor=4)
