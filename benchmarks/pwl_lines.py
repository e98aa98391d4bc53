"""Exact lines: the walker against a batched float64 forward pass at as many points.

CPU seconds, one thread.
"""

from __future__ import annotations

import os
import sys
import time

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pwl_networks as nets

from nneq.boundary.pwl.lines import solve_lines
from nneq.boundary.pwl.walk import Program, walk_lines
from nneq.boundary.results import Budget


def cpu(function):
    """Return the CPU time and the result."""
    started = time.process_time()
    result = function()
    return time.process_time() - started, result


def ratios():
    """Compare with a forward pass at as many points."""
    rng = np.random.default_rng(0)
    cases = [
        ("2-16-16-2", nets.network(nets.layers((2, 16, 16, 2), 1)), 2000, 2, 4.0),
        ("2-64-64-64-2", nets.network(nets.layers((2, 64, 64, 64, 2), 1)), 200, 2, 4.0),
        ("2-512x4-2", nets.network(nets.layers((2, 512, 512, 512, 512, 2), 1)), 4, 2, 4.0),
        ("784-256-256-10", nets.network(nets.layers((784, 256, 256, 10), 1)), 10, 784, 16.0),
        ("LeNet 28x28", nets.lenet(), 4, 784, 2.0),
    ]
    for name, net, lines, n, length in cases:
        program = Program(net)
        a = rng.uniform(0, 1, (lines, n))
        d = rng.standard_normal((lines, n))
        d *= length / np.linalg.norm(d, axis=1)[:, None]
        seconds, (strips, _) = cpu(
            lambda p=program, a=a, d=d: walk_lines(p, a, d, (0.0, 1.0), Budget().start())
        )
        count = len(strips.line)
        t = strips.start[:, 0] * 0.5 + strips.end[:, 0] * 0.5
        x = (a[strips.line] + t[:, None] * d[strips.line]).reshape(count, *net.inputs[0].shape[1:])
        forward, z = cpu(lambda net=net, x=x: net(x))
        form = strips.forms[:, 0] * t[:, None] + strips.forms[:, 1]
        error = np.abs(form - z.reshape(form.shape)).max() / np.abs(z).max()
        print(
            f"{name}: {count} pieces on {lines} lines, {seconds:.3f} s, {count / seconds:.0f} "
            f"pieces/s, {seconds / forward:.1f} times the forward pass, relative error {error:.1e}"
        )


def axes():
    """Solve every pixel axis of a 28 x 28 image, the whole real line each."""
    net = nets.network(nets.layers((784, 128, 128, 10), 1))
    x = np.random.default_rng(0).uniform(0, 1, 784)
    origins = np.repeat(x[None], 784, 0)
    origins[np.arange(784), np.arange(784)] = 0.0
    seconds, found = cpu(
        lambda: solve_lines(
            nets.problem(net), origins, np.eye(784), (-np.inf, np.inf),
            clock=Budget().start(), pieces=False,
        )
    )  # fmt: skip
    roots = sum(len(line) for line in found)
    complete = all(line.complete for line in found)
    print(f"784 pixel axes: {seconds:.2f} s, {roots} crossings, all complete: {complete}")


def exact():
    """Time rational arithmetic on one segment."""
    rng = np.random.default_rng(0)
    for widths in ((2, 64, 64, 64, 2), (784, 256, 256, 10)):
        net = nets.network(nets.layers(widths, 1))
        a, b = rng.uniform(-1, 1, (2, widths[0])).astype(np.float32).astype(np.float64)
        seconds, found = cpu(
            lambda net=net, a=a, b=b: solve_lines(
                nets.problem(net), a[None], b - a, (0.0, 1.0), exact=True, clock=Budget().start()
            )[0]
        )
        print(f"exact {widths}: {len(found.pieces)} pieces, {len(found)} roots, {seconds:.2f} s")


def main() -> int:
    """Print every comparison."""
    ratios()
    axes()
    exact()
    return 0


if __name__ == "__main__":
    sys.exit(main())
