"""All roots of z_1 = z_2 for x_1 in [-10, 10], beside grids, codac and dReal, in one process.

CPU seconds, one thread, trained tanh networks.  The peers and what their answer proves:

* grid of 20,001 points and brentq: nothing.
* codac, interval paving to 1e-6: no root outside the boxes; not that a box holds one.
* codac and a loop on signs and derivatives: exactly these roots, as nneq.
* dReal, one solution at a time, 1e-3 around it excluded: no root outside; a box may hold none.

codac is given the scalar expression of the network (the only form it takes for a contractor), with
the float64 weights.  Last, one pass of linear bounds beside auto_LiRPA's CROWN, whose figures are
quoted: PyPI's 0.3 needs torch before 1.13, which no current Python runs.

codac switches the processor to rounding upwards when it is imported, which it needs and nneq (and
every other float64 library) does not: each side runs in its own mode.

Run: ``python benchmarks/smooth_peers.py [--quick]``; needs ``pip install codac`` (2.x), never in
one process with TensorFlow, and ``dreal`` where its libraries are installed.
"""

from __future__ import annotations

import argparse
import ctypes
import itertools
import os
import sys
import time
from collections.abc import Callable
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from nd_bounds import attacked_radius, certified_radius
from scipy.optimize import brentq
from timing import shown
from trained_networks import question, trained

from nneq.api.equations import Equations
from nneq.ir.network import Affine, Network
from nneq.semantics.linear_bounds import LinearBounds

NETWORKS = {
    "tanh 2-16-16-2": (2, 16, 16, 2),
    "tanh 2-64-64-2": (2, 64, 64, 2),
    "tanh 10-100-100-3": (10, 100, 100, 3),
}
# CPU seconds of dReal 4.21.6.2 on networks of the same shapes, two lines each, measured elsewhere
DREAL = {
    "tanh 2-16-16-2": (0.31, 0.33),
    "tanh 2-64-64-2": (2.6, 6.2),
    "tanh 10-100-100-3": (2.3, 17.9),
}
# certified over attacked radius of auto_LiRPA 0.7.1's CROWN, one network of each shape, elsewhere
CROWN = {"tanh 2-16-16-2": 0.72, "tanh 2-64-64-2": 0.47, "tanh 10-100-100-3": 0.35}
LOW, HIGH = -10.0, 10.0

Weights = list[tuple[np.ndarray, np.ndarray]]


_NEAREST, _UPWARD = 0, 0x800


def rounding(mode: int) -> None:
    """Set the processor's rounding mode (Linux, x86-64)."""
    ctypes.CDLL("libm.so.6").fesetround(mode)


def timed(function: Callable[[], Any], repeats: int = 1) -> tuple[Any, float]:
    """Return the result and the least CPU time."""
    best, result = float("inf"), None
    for _ in range(repeats):
        started = time.process_time()
        result = function()
        best = min(best, time.process_time() - started)
    return result, best


def on_line(network: Network, point: np.ndarray) -> Weights:
    """Return the layers of ``z_1 - z_2`` as a function of ``x_1`` alone, in float64."""
    layers = []
    for node in network.nodes:
        if isinstance(node, Affine):
            matrix = np.asarray(node.terms[0].map.weight, dtype=np.float64)
            layers.append((matrix, np.asarray(node.bias, dtype=np.float64)))
    (first, start), (last, end) = layers[0], layers[-1]
    layers[0] = (first[:, :1], first[:, 1:] @ point[1:] + start)
    layers[-1] = (last[:1] - last[1:2], end[:1] - end[1:2])
    return layers


def floats(layers: Weights, t: np.ndarray) -> np.ndarray:
    """Return ``g`` at many ``t``."""
    value = t[:, None]
    for k, (w, b) in enumerate(layers):
        value = value @ w.T + b
        value = np.tanh(value) if k < len(layers) - 1 else value
    return value[:, 0]


def expression(layers: Weights, t: Any, tanh: Callable[[Any], Any]) -> Any:
    """Return ``g(t)`` as one scalar expression of the operators of ``t``."""
    values = [t]
    for k, (w, b) in enumerate(layers):
        found = []
        for row, bias in zip(w.tolist(), b.tolist(), strict=True):
            total = row[0] * values[0] + bias
            for weight, value in zip(row[1:], values[1:], strict=True):
                total = total + weight * value
            found.append(tanh(total) if k < len(layers) - 1 else total)
        values = found
    return values[0]


def grid(layers: Weights) -> list[float]:
    """Return the roots that 20,001 points and brentq find."""
    t = np.linspace(LOW, HIGH, 20_001)
    y = floats(layers, t)
    places = np.flatnonzero(np.sign(y[:-1]) != np.sign(y[1:]))

    def one(s: float) -> float:
        return float(floats(layers, np.array([s]))[0])

    return [brentq(one, t[k], t[k + 1], xtol=1e-14) for k in places]


def codac_paving(codac: Any, function: Any) -> int:
    """Return how many clusters of boxes of at most 1e-6 the paving leaves."""
    contractor = codac.CtcInverse(function, codac.Interval(0.0, 0.0))
    paving = codac.pave(codac.IntervalVector([[LOW, HIGH]]), contractor, 1e-6)
    boxes = paving.boxes(codac.PavingOut.outer)
    ends = sorted((box[0].lb(), box[0].ub()) for box in boxes)
    apart = [b[0] > a[1] + 1e-5 for a, b in itertools.pairwise(ends)]
    return sum(apart) + bool(ends)


def codac_roots(codac: Any, function: Any) -> tuple[int, int]:
    """Return how many roots are proven by signs and monotonicity, and how many pieces are left."""
    waiting, monotone, left = [(LOW, HIGH)], [], 0
    while waiting:
        low, high = waiting.pop()
        box = codac.IntervalVector([[low, high]])
        if not function.eval(box).contains(0.0):
            continue
        slope = function.diff(box)[0, 0]
        if not slope.contains(0.0):
            monotone.append((low, high))
        elif high - low < 1e-9:
            left += 1
        else:
            middle = 0.5 * (low + high)
            waiting += [(low, middle), (middle, high)]

    def sign(t: float) -> int:
        value = function.eval(codac.IntervalVector([[t, t]]))
        return 1 if value.lb() > 0 else -1 if value.ub() < 0 else 0

    signs = [(sign(low), sign(high)) for low, high in monotone]
    return sum(a * b < 0 for a, b in signs), left + sum(a * b == 0 for a, b in signs)


def dreal_roots(dreal: Any, layers: Weights) -> int:
    """Return how many solutions dReal lists, each with 1e-3 around it excluded."""
    t = dreal.Variable("t")
    value = expression(layers, t, dreal.tanh)
    asked = dreal.And(value == 0, t >= LOW, t <= HIGH)
    count = 0
    while count < 100:
        box = dreal.CheckSatisfiability(asked, 1e-6)
        if box is None:
            break
        middle = box[t].mid()
        asked = dreal.And(asked, dreal.Or(t < middle - 1e-3, t > middle + 1e-3))
        count += 1
    return count


def peers() -> tuple[Any, Any]:
    """Return codac and dReal, or None with a line that says why."""
    found = []
    for name in ("codac", "dreal"):
        try:
            found.append(__import__(name))
        except ImportError as error:
            found.append(None)
            print(f"{name} is not run here: {error}")
    rounding(_NEAREST)
    return found[0], found[1]


def roots(name: str, network: Network, point: np.ndarray, codac: Any, dreal: Any) -> None:
    """Measure one line and print its ratios."""
    boundary = Equations(network).boundary("z_1", "z_2")
    at = {f"x_{k + 1}": float(v) for k, v in enumerate(point) if k}

    def solve() -> Any:
        return boundary.solve("x_1", at, (LOW, HIGH))

    solve()
    answer, own = timed(solve, 7)
    width = max((root.upper - root.lower for root in answer), default=0.0)
    print(
        f"{name}, x_2 = {point[1]:.2f}: {len(answer)} roots, "
        f"{'proven complete' if answer.complete else 'NOT COMPLETE'}, enclosures up to "
        f"{width:.1e} wide, {answer.stats['boxes']} boxes, {shown(own)}"
    )

    def row(peer: str, seconds: float, found: str) -> None:
        print(f"    {peer:24} {shown(seconds):>8}   {seconds / own:8.1f} times nneq   {found}")

    layers = on_line(network, point)
    found, spent = timed(lambda: grid(layers), 3)
    row("grid 20,001 + brentq", spent, f"{len(found)} roots")
    if codac is not None:
        t = codac.VectorVar(1)
        function = codac.AnalyticFunction([t], expression(layers, t[0], codac.tanh))
        rounding(_UPWARD)
        count, spent = timed(lambda: codac_paving(codac, function))
        row("codac pave 1e-6", spent, f"{count} places")
        (count, left), spent = timed(lambda: codac_roots(codac, function))
        rounding(_NEAREST)
        row("codac, signs and slopes", spent, f"{count} roots, {left} pieces left")
    if dreal is not None:
        count, spent = timed(lambda: dreal_roots(dreal, layers))
        row("dReal, delta 1e-6", spent, f"{count} solutions")
    else:
        for seconds in DREAL[name]:
            row("dReal (quoted)", seconds, "another network of this shape")


def radii(name: str, network: Network, points: np.ndarray) -> None:
    """Print certified over attacked radius of one pass of linear bounds."""
    problem = question(network)
    bounds = LinearBounds(problem.network)
    quotients, spent = [], []
    for x in points:
        most = attacked_radius(problem, x)
        value, seconds = timed(lambda x=x, most=most: certified_radius(bounds, x, most))
        quotients.append(value / most)
        spent.append(seconds / 100)
    print(
        f"{name}: CROWN radius / attacked radius, {len(points)} points: median "
        f"{np.median(quotients):.2f} ({min(quotients):.2f} to {max(quotients):.2f}); "
        f"auto_LiRPA (quoted, one point of another network) {CROWN[name]:.2f}; "
        f"{shown(float(np.median(spent)))} for one box"
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="the smallest network only")
    quick = parser.parse_args(sys.argv[1:]).quick
    codac, dreal = peers()
    random = np.random.default_rng(0)
    for name, widths in NETWORKS.items():
        if quick and max(widths) > 16:
            break
        network = trained(widths)
        for x_2 in (0.65, -2.0):
            point = random.uniform(-1, 1, widths[0])
            point[1] = x_2
            roots(name, network, point, codac, dreal)
        radii(name, network, random.uniform(-2.5, 2.5, (16, widths[0])))


if __name__ == "__main__":
    main()
