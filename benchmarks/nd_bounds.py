"""Questions in n dimensions: nearest points, excluded boxes, decision maps, surfaces.

The networks are trained here (NumPy, seconds).  Printed are the quotients the method is judged by:
proven lower bound over distance found, certified radius over attacked radius (auto_LiRPA's CROWN
reaches 0.35 on tanh 10-100-100-3 and 0.38 to 0.72 on tanh networks with two inputs), junctions
against a grid of labels, and times.
"""

from __future__ import annotations

import itertools
import os
import time

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from timing import shown

from nneq.boundary.problem import Problem
from nneq.boundary.results import Box, Budget
from nneq.boundary.smooth.decision_map import decision_map
from nneq.boundary.smooth.nearest import nearest_point
from nneq.boundary.smooth.search import values
from nneq.boundary.smooth.space import trace_space
from nneq.ir.linear_map import Dense
from nneq.ir.network import Affine, Elementwise, Input, Network, Port, Term
from nneq.passes.difference import difference
from nneq.semantics.domain import Domain
from nneq.semantics.gradient import value_and_gradient
from nneq.semantics.linear_bounds import LinearBounds

NETWORKS = {
    "tanh 2-16-16-2": (2, 16, 16, 2),
    "tanh 2-64-64-2": (2, 64, 64, 2),
    "tanh 2-(32x8)-2": (2, *(32,) * 8, 2),
    "tanh 10-100-100-3": (10, 100, 100, 3),
}


def trained(widths: tuple[int, ...], seed: int = 1, steps: int = 1500) -> Network:
    """Return a tanh network trained by Adam to a smooth classification of [-3, 3]^n."""
    random = np.random.default_rng(seed)
    n, classes = widths[0], widths[-1]
    x = random.uniform(-3, 3, (3000, n))
    mixed = x @ random.normal(size=(n, 2 * classes)) / np.sqrt(n)
    score = np.sin(1.5 * mixed[:, :classes]) + np.cos(1.3 * mixed[:, classes:])
    label = score.argmax(axis=1)
    weights = [
        [random.normal(size=(b, a)) / np.sqrt(a), np.zeros(b)]
        for a, b in itertools.pairwise(widths)
    ]
    moments = [[np.zeros_like(p), np.zeros_like(p)] for layer in weights for p in layer]
    for step in range(1, steps + 1):
        rows = random.integers(0, len(x), 256)
        made = [x[rows]]
        for k, (w, b) in enumerate(weights):
            z = made[-1] @ w.T + b
            made.append(np.tanh(z) if k < len(weights) - 1 else z)
        share = np.exp(made[-1] - made[-1].max(axis=1, keepdims=True))
        back = share / share.sum(axis=1, keepdims=True)
        back[np.arange(len(rows)), label[rows]] -= 1
        back /= len(rows)
        slopes = []
        for k in range(len(weights) - 1, -1, -1):
            slopes = [back.T @ made[k], back.sum(axis=0), *slopes]
            back = (back @ weights[k][0]) * (1 - made[k] ** 2)
        for k, slope in enumerate(slopes):
            first, second = moments[k]
            first += 0.1 * (slope - first)
            second += 0.001 * (slope**2 - second)
            size = 4e-3 * np.sqrt(1 - 0.999**step) / (1 - 0.9**step)
            weights[k // 2][k % 2] -= size * first / (np.sqrt(second) + 1e-8)
    nodes: list = [Input((n,))]
    for k, (w, b) in enumerate(weights):
        width = w.shape[0]
        term = Term(len(nodes) - 1, Dense(w.astype(np.float32)))
        nodes.append(Affine((width,), (term,), b.astype(np.float32)))
        if k < len(weights) - 1:
            nodes.append(Elementwise((width,), len(nodes) - 1, "tanh"))
    last = len(nodes) - 1
    return Network(tuple(nodes), (Port("x", 0, (n,)),), (Port("z", last, (classes,)),))


def question(network: Network) -> Problem:
    """Return the problem z_1 = z_2."""
    names = tuple(f"x_{k + 1}" for k in range(network.input_size))
    return Problem(difference(network, 0, 1).network, "z_1 = z_2", names)


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
            started = time.perf_counter()
            found = [
                nearest_point(problem, x, norm, clock=Budget(seconds=10).start()) for x in points
            ]
            spent = (time.perf_counter() - started) / len(points)
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
            started = time.perf_counter()
            found_map = decision_map(
                network,
                origin,
                np.eye(widths[0])[:, :2],
                Box((-3, -3), (3, 3)),
                names=("x_1", "x_2"),
                clock=Budget(seconds=60).start(),
            )
            spent = time.perf_counter() - started
            print(f"{name} | decision map: {found_map.words} | {shown(spent)}")
            started = time.perf_counter()
            surface = trace_space(
                problem,
                origin,
                np.eye(widths[0])[:, :3],
                Box((-1.5,) * 3, (1.5,) * 3),
                names=("x_1", "x_2", "x_3"),
                clock=Budget(seconds=60).start(),
            )
            spent = time.perf_counter() - started
            print(f"{name} | surface: {surface.words} | {shown(spent)}")


if __name__ == "__main__":
    main()
