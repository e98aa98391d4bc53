"""Linear regions and exact boundaries beside regioncam (Rust, float32), in one process.

CPU seconds, one thread, best of three.  ``pip install regioncam`` first.
"""

from __future__ import annotations

import os
import sys
import time

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pwl_networks as nets

from nneq.boundary.pwl import kernel
from nneq.boundary.pwl.regions import enumerate_regions
from nneq.boundary.pwl.trace import trace_plane
from nneq.boundary.results import Box, Budget

ZERO, EYE = np.zeros(2), np.eye(2)
NAMES = ("x_1", "x_2", "x_3", "x_4")


def cpu(function, least=3):
    """Return the best CPU time and the last result."""
    best = np.inf
    result = None
    for _ in range(least):
        started = time.process_time()
        result = function()
        best = min(best, time.process_time() - started)
    return best, result


def regioncam_count(found, half):
    """Return the number of faces regioncam finds."""
    import regioncam

    scene = regioncam.Regioncam(half)
    for k, (W, b) in enumerate(found):
        if k == len(found) - 1:
            break
        scene.linear(np.ascontiguousarray(W.T), b)
        scene.relu()
    return scene.num_faces


def ours(found, half, **options):
    """Enumerate the regions of the whole network (its outputs)."""
    box = Box((-half, -half), (half, half))
    return enumerate_regions(
        nets.network(found), ZERO, EYE, box, names=NAMES[:2], clock=Budget().start(), **options
    )


def counts():
    """Compare the counts on 50 networks, random and trained."""
    equal = 0
    for seed in range(50):
        widths = [(2, 16, 16, 2), (2, 32, 32, 2), (2, 12, 12, 12, 2)][seed % 3]
        found = nets.moons(widths, seed, 150) if seed % 2 else nets.layers(widths, seed)
        mine, theirs = len(ours(found, 2.0).regions), regioncam_count(found, 2.0)
        equal += mine == theirs
        if mine != theirs:
            print(f"  seed {seed} {widths}: nneq {mine}, regioncam {theirs}")
    print(f"same count as regioncam on {equal} of 50 networks")


def times():
    """Compare the times."""
    for widths in ((2, 64, 64, 64, 2), (2, 256, 256, 2)):
        found = nets.layers(widths, 1)
        theirs, faces = cpu(lambda f=found: regioncam_count(f, 2.0))
        mine, result = cpu(lambda f=found: ours(f, 2.0))
        plain, _ = cpu(lambda f=found: ours(f, 2.0, use_numba=False), 2)
        areas = result.regions.areas
        print(
            f"{widths}: {len(result.regions)} regions (regioncam {faces}); nneq {mine:.4f} s, "
            f"regioncam {theirs:.3f} s: {theirs / mine:.1f} times faster; without numba "
            f"{plain / mine:.1f} times slower; area - 16 = {areas.sum() - 16:.1e}, "
            f"least {areas.min():.1e}"
        )


def boundaries():
    """Time the traced boundary against the full enumeration."""
    for widths in ((2, 64, 64, 64, 2), (2, 256, 256, 2), (2, 512, 512, 512, 512, 2)):
        question = nets.problem(nets.network(nets.layers(widths, 1)))
        box = Box((-2.0, -2.0), (2.0, 2.0))
        seconds, curve = cpu(
            lambda q=question, b=box: trace_plane(
                q, ZERO, EYE, b, names=NAMES[:2], clock=Budget().start()
            ),
            1 if widths[1] == 512 else 3,
        )
        segments = curve.stats["segments"]
        print(
            f"{widths}: {segments} segments, length {curve.length:.6f}, {seconds:.3f} s, "
            f"complete={curve.complete} ({curve.stats['engine']})"
        )
        if widths[1] < 512:
            full = enumerate_regions(
                question, ZERO, EYE, box, names=NAMES[:2], clock=Budget().start()
            )
            length = sum(np.linalg.norm(p.vertices[0] - p.vertices[1]) for p in full.pieces)
            print(f"  full enumeration: {len(full.pieces)}, difference {length - curve.length:.1e}")


def cells():
    """Time three to six inputs."""
    for widths, half in (((4, 16, 16, 3), 2.0), ((3, 32, 32, 2), 2.0), ((4, 32, 32, 3), 1.0)):
        d = widths[0]
        question = nets.problem(nets.network(nets.layers(widths, 1)))
        box = Box((-half,) * d, (half,) * d)
        seconds, found = cpu(
            lambda q=question, b=box, d=d: enumerate_regions(
                q, np.zeros(d), np.eye(d), b, names=NAMES[:d], clock=Budget().start()
            ),
            1,
        )
        margin = found.stats["smallest margin"]
        print(
            f"{widths}: {len(found.regions)} cells, {len(found.pieces)} boundary pieces, "
            f"{seconds:.2f} s, complete={found.complete}, margin {margin:.0f}"
        )


def main() -> int:
    """Print every comparison."""
    started = time.process_time()
    kernel.compiled()
    ours(nets.layers((2, 4, 2), 0), 1.0)
    print(f"first call (numba import and cached kernel): {time.process_time() - started:.2f} s")
    counts()
    times()
    boundaries()
    cells()
    return 0


if __name__ == "__main__":
    sys.exit(main())
