"""Certified smooth engines against the usual numerical way, in one process, one thread.

CPU seconds.  Lines: all roots on [-3, 3], proven, against a 10,000-point grid and brentq; the
whole real line against the interval.  Planes: the certified curve against contourpy on 2000 x 2000
points (measured on 1000 x 1000, times 4).  Both sides evaluate the same float64 network, already
restricted to the slice.

Run: ``python benchmarks/smooth_tables.py [lines|planes]``
"""

from __future__ import annotations

import os
import statistics
import sys
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

import contourpy
import numpy as np
from certified_networks import mlp
from scipy.optimize import brentq

from nneq.boundary.problem import Problem
from nneq.boundary.results import Box, Budget
from nneq.boundary.smooth.lines import solve_lines
from nneq.boundary.smooth.plane import trace_plane
from nneq.passes.difference import difference
from nneq.semantics.slices import Slices

# widths, activation, gain of the random weights, what is asked of lines and planes
NETWORKS = [
    ((2, 3, 2), "sigmoid", 4.0, 0.6, 0.1),
    ((2, 16, 16, 2), "tanh", 2.5, 0.6, 0.1),
    ((2, 64, 2), "tanh", 4.0, 0.6, 0.1),
    ((2, 64, 64, 2), "tanh", 2.5, 0.6, 0.1),
    ((2, 32, 32, 32, 32, 2), "tanh", 1.8, 0.6, 0.1),
    ((2, *(32,) * 8, 2), "tanh", 1.5, 1.5, 1.0),
    ((10, 100, 100, 3), "tanh", 2.5, 0.6, 0.1),
    ((10, 1000, 1000, 3), "tanh", 2.0, 0.6, 0.1),
]


def problem_of(network):
    """Return z_1 = z_2."""
    reduced = difference(network, 0, 1)
    names = tuple(f"x_{k + 1}" for k in range(network.input_size))
    return Problem(reduced.network, "z_1 = z_2", names, reduced.notes)


def timed(function, repeats=3):
    """Return the result and the least CPU time."""
    best, result = np.inf, None
    for _ in range(repeats):
        started = time.process_time()
        result = function()
        best = min(best, time.process_time() - started)
    return result, best


def grid_roots(slices, low, high, count=10_000):
    """Return the roots a grid and brentq find."""

    def g(t):
        return slices.floats(np.zeros(len(t), dtype=int), t[:, None])[0].reshape(-1)

    t = np.linspace(low, high, count + 1)
    y = g(t)
    k = np.flatnonzero(np.sign(y[:-1]) != np.sign(y[1:]))
    return [brentq(lambda s: g(np.array([s]))[0], t[i], t[i + 1], xtol=1e-14) for i in k]


def lines():
    """Print the table of lines."""
    print("widths           roots boxes  solve ms  /grid ask   whole/interval ask 5")
    for widths, rule, gain, ask, _ in NETWORKS:
        ratios, wholes, rows = [], [], []
        large = max(widths) >= 1000
        for seed in range(2 if large else 5):
            problem = problem_of(mlp(widths, rule, seed, gain, 1.0))
            n = widths[0]
            rng = np.random.default_rng(seed)
            origin, direction = rng.normal(size=n), np.eye(n)[0]
            origin[0] = 0.0

            def solve(domain, problem=problem, origin=origin, direction=direction):
                return solve_lines(
                    problem, origin[None], direction, domain, clock=Budget(seconds=60).start()
                )[0]

            found, cost = timed(lambda: solve((-3.0, 3.0)), 3 if large else 5)
            slices = Slices(problem.network, origin[None], direction[:, None])
            grid, grid_cost = timed(lambda s=slices: grid_roots(s, -3.0, 3.0), 1 if large else 3)
            whole, whole_cost = timed(lambda: solve((-np.inf, np.inf)))
            missed = [t for t in grid if not any(abs(r.value - t) < 1e-9 for r in found)]
            if missed or not found.complete:
                print("   MISSED or incomplete:", widths, seed, missed, found.undecided)
            if not whole.complete:
                print("   whole line incomplete:", widths, seed, whole.undecided)
            ratios.append(cost / grid_cost)
            wholes.append(whole_cost / cost)
            rows.append((len(found), found.stats["boxes"], cost))
        roots, boxes, cost = (statistics.median(column) for column in zip(*rows, strict=True))
        print(
            f"{'-'.join(map(str, widths))[:16]:16} {roots:5} {boxes:5} {cost * 1e3:9.2f} "
            f"{statistics.median(ratios):6.2f} {ask:4}  {statistics.median(wholes):6.1f}"
        )


def planes():
    """Print the table of planes."""
    print("widths          curve(closed) cells leaves trace s  /contourpy ask")
    box, side = Box((-3.0, -3.0), (3.0, 3.0)), 1000
    for widths, rule, gain, _, ask in NETWORKS:
        problem = problem_of(mlp(widths, rule, 1, gain, 1.5))
        n = widths[0]
        origin = np.random.default_rng(1).normal(size=n) * 0.5
        origin[:2] = 0.0
        directions = np.eye(n, 2)
        curve, cost = timed(
            lambda p=problem, o=origin, d=directions: trace_plane(
                p, o, d, box, names=("x_1", "x_2"), clock=Budget(seconds=120).start()
            ),
            1,
        )
        slices = Slices(problem.network, origin[None], directions)
        points = side if max(widths) < 1000 else side // 4
        axis = np.linspace(-3, 3, points)

        def contour(slices=slices, axis=axis, points=points):
            x, y = np.meshgrid(axis, axis)
            flat = np.stack([x.reshape(-1), y.reshape(-1)], axis=1)
            parts = np.array_split(flat, max(1, points * points // 10_000))
            z = [slices.floats(np.zeros(len(p), dtype=int), p)[0].reshape(-1) for p in parts]
            grid = np.concatenate(z).reshape(points, points)
            return contourpy.contour_generator(axis, axis, grid).lines(0)

        _, contour_cost = timed(contour, 1)
        contour_cost *= (2000 / points) ** 2
        closed = sum(component.closed for component in curve.components)
        print(
            f"{'-'.join(map(str, widths))[:16]:16} {len(curve.components):3} ({closed}) "
            f"{curve.stats['boxes']:9} {curve.stats['leaves']:6} {cost:7.3f} "
            f"{cost / contour_cost:8.3f}   {ask}" + ("" if curve.complete else "  INCOMPLETE")
        )


if __name__ == "__main__":
    wanted = sys.argv[1:] or ["lines", "planes"]
    if "lines" in wanted:
        lines()
    if "planes" in wanted:
        planes()
