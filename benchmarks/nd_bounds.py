"""Questions in n dimensions: nearest points, excluded boxes, decision maps, surfaces.

Printed are the quotients the method is judged by:
proven lower bound over distance found, certified radius over attacked radius (auto_LiRPA's CROWN
reaches 0.35 on tanh 10-100-100-3 and 0.38 to 0.72 on tanh networks with two inputs), junctions
against a grid of labels, and CPU times.
"""

from __future__ import annotations

import os
import time

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from timing import shown
from trained_networks import question, trained

from nneq.boundary.problem import Problem
from nneq.boundary.results import Box, Budget
from nneq.boundary.smooth.decision_map import decision_map
from nneq.boundary.smooth.nearest import nearest_point
from nneq.boundary.smooth.search import values
from nneq.boundary.smooth.space import trace_space
from nneq.semantics.domain import Domain
from nneq.semantics.gradient import value_and_gradient
from nneq.semantics.linear_bounds import LinearBounds

NETWORKS = {
    "tanh 2-16-16-2": (2, 16, 16, 2),
    "tanh 2-64-64-2": (2, 64, 64, 2),
    "tanh 2-(32x8)-2": (2, *(32,) * 8, 2),
    "tanh 10-100-100-3": (10, 100, 100, 3),
}


def attacked_radius(problem: Problem, x: np.ndarray) -> float:
    """Return the smallest radius of an L-infinity box in which a sign attack succeeds."""
    sign = np.sign(values(problem.network, x[None])[0, 0])
    low, high = 0.0, 4.0
    random = np.random.default_rng(0)
    for _ in range(14):
        radius = 0.5 * (low + high)
        point = x + random.uniform(-radius, radius, (32, x.size))
        for k in range(25):
            _, slope = value_and_gradient(problem.network, point)
            step = radius * 0.5 * 0.85**k
            point = np.clip(point - step * sign * np.sign(slope), x - radius, x + radius)
        found = sign * values(problem.network, point)[:, 0] <= 0
        low, high = (low, radius) if found.any() else (radius, high)
    return high


def certified_radius(bounds: LinearBounds, x: np.ndarray, most: float) -> float:
    """Return the largest radius that one pass of linear bounds proves, to 1 %."""
    radii = most * np.linspace(0, 1, 101)[1:]
    forms = bounds(Domain.box(x - radii[:, None], x + radii[:, None]))
    good = np.flatnonzero((forms.low[:, 0] > 0) | (forms.high[:, 0] < 0))
    return float(radii[good[-1]]) if good.size else 0.0


def main() -> None:
    """Measure and print."""
    random = np.random.default_rng(0)
    print("network | norm | lower/distance median, least | time per query")
    for name, widths in NETWORKS.items():
        network = trained(widths)
        problem = question(network)
        points = random.uniform(-2.5, 2.5, (8, widths[0]))
        for norm in ("l2", "linf", "l1"):
            started = time.process_time()
            found = [
                nearest_point(problem, x, norm, clock=Budget(seconds=10).start()) for x in points
            ]
            spent = (time.process_time() - started) / len(points)
            ratio = [f.lower_bound / f.distance for f in found if f.point is not None]
            print(f"{name} | {norm} | {np.median(ratio):.3f}, {min(ratio):.3f} | {shown(spent)}")
        bounds = LinearBounds(problem.network)
        quotients = []
        for x in points:
            most = attacked_radius(problem, x)
            quotients.append(certified_radius(bounds, x, most) / most)
        print(
            f"{name} | one CROWN pass, certified / attacked radius: median "
            f"{np.median(quotients):.2f}, {min(quotients):.2f} to {max(quotients):.2f}"
        )
        if widths[-1] == 3:
            origin = np.concatenate([np.zeros(2), random.uniform(-1, 1, widths[0] - 2)])
            started = time.process_time()
            found_map = decision_map(
                network,
                origin,
                np.eye(widths[0])[:, :2],
                Box((-3, -3), (3, 3)),
                names=("x_1", "x_2"),
                clock=Budget(seconds=60).start(),
            )
            spent = time.process_time() - started
            print(f"{name} | decision map: {found_map.words} | {shown(spent)}")
            started = time.process_time()
            surface = trace_space(
                problem,
                origin,
                np.eye(widths[0])[:, :3],
                Box((-1.5,) * 3, (1.5,) * 3),
                names=("x_1", "x_2", "x_3"),
                clock=Budget(seconds=60).start(),
            )
            spent = time.process_time() - started
            print(f"{name} | surface: {surface.words} | {shown(spent)}")


if __name__ == "__main__":
    main()
