"""A segment between two images through a random ResNet-20: its crossings, proven.

``python pwl_resnet.py`` walks a part; ``--whole`` the whole segment; CPU seconds, one thread each.
"""

from __future__ import annotations

import argparse
import os
import resource
import sys
import time
from concurrent.futures import ProcessPoolExecutor

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
from resnet_network import question, resnet

from nneq.boundary.pwl.lines import solve_lines
from nneq.boundary.pwl.segment import Plan, walk_segment
from nneq.boundary.pwl.walk import Program, walk_lines
from nneq.boundary.results import Budget


def images(size: int, seed: int):
    """Return two random images with standardised pixels."""
    return np.random.default_rng(seed).standard_normal((2, 3 * size * size))


def cpu_seconds() -> float:
    """Return the CPU seconds of this process and of its workers that have ended."""
    workers = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + workers.ru_utime + workers.ru_stime


def forward_seconds(network, a, b) -> float:
    """Return the CPU time per image of a plain float64 pass in batches of 16."""
    t = np.linspace(0, 1, 64)[:, None]
    shape = network.inputs[0].shape[1:]
    x = (a + t * (b - a)).reshape(4, 16, *shape)
    network(x[0])
    started = time.process_time()
    for batch in x:
        network(batch)
    return (time.process_time() - started) / 64


def part(problem, a, b, start: float, length: float, *, forms: bool) -> None:
    """Walk a part with every breakpoint made, and as ``solve_lines`` does it."""
    program = Program(problem.network)
    forward = forward_seconds(problem.network, a, b)
    span = (start, start + length)
    plan = Plan.of(program)
    started = time.process_time()
    track, _ = walk_segment(plan, a, b - a, span, Budget().start())
    seconds = time.process_time() - started
    pieces = len(track.t) - 1
    print(
        f"forward pass: {forward * 1e3:.2f} ms an image; every breakpoint: {pieces} pieces in "
        f"{seconds:.2f} s, {pieces / seconds:.0f} pieces/s, {seconds / pieces / forward:.2f} "
        f"forward passes a piece; error bound {track.error.max():.1e}"
    )
    started = time.process_time()
    found = solve_lines(problem, a[None], b - a, span, clock=Budget().start())[0]
    proven = time.process_time() - started
    print(
        f"solve_lines: {proven:.2f} s with samples and brackets, {found.stats['pieces']} pieces, "
        f"{len(found)} crossings, complete: {found.complete}"
    )
    if forms:
        started = time.process_time()
        strips, _ = walk_lines(program, a[None], (b - a)[None], span, Budget().start())
        seconds = time.process_time() - started
        print(f"forms (walk_lines): {len(strips.line)} pieces in {seconds:.2f} s")


def whole(problem, a, b, workers: int, seconds: float) -> None:
    """Walk the whole segment and print what is proven."""
    clock = Budget(seconds=seconds).start()
    began, cpu = time.monotonic(), cpu_seconds()
    if workers:
        with ProcessPoolExecutor(workers) as executor:
            found = solve_lines(problem, a[None], b - a, (0.0, 1.0), clock=clock, executor=executor)
    else:
        found = solve_lines(problem, a[None], b - a, (0.0, 1.0), clock=clock)
    line = found[0]
    print(
        f"whole segment: {len(line)} crossings, complete: {line.complete}, undecided: "
        f"{line.undecided[:8]}, {line.stats['pieces']} pieces, {cpu_seconds() - cpu:.0f} s CPU, "
        f"{time.monotonic() - began:.0f} s wall"
    )
    for root in line:
        width = root.upper - root.lower
        print(f"  t = {root.value:.9f}, {root.crossing}, width {width:.1e}, {root.certificate}")


def main() -> int:
    """Print the comparison of a part, or the whole segment."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--whole", action="store_true")
    parser.add_argument("--forms", action="store_true", help="the part by walk_lines as well")
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=float("inf"))
    parser.add_argument("--start", type=float, default=0.3)
    parser.add_argument("--length", type=float, default=1 / 400)
    parser.add_argument("--outputs", type=int, nargs=2, default=(3, 4))
    options = parser.parse_args()
    problem = question(resnet(), *options.outputs)
    a, b = images(32, 1)
    if options.whole:
        whole(problem, a, b, options.workers, options.seconds)
    else:
        part(problem, a, b, options.start, options.length, forms=options.forms)
    return 0


if __name__ == "__main__":
    sys.exit(main())
