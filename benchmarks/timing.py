"""One way to measure, for all benchmarks: the best of interleaved repetitions."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping


def best_times(
    functions: Mapping[str, Callable[[], object]], seconds: float = 2.0, least: int = 5
) -> dict[str, float]:
    """Return the shortest time of each function, in seconds.

    The functions take turns, so that a disturbance of the machine meets all of them.
    """
    best = dict.fromkeys(functions, float("inf"))
    for function in functions.values():
        function()
    rounds = 0
    end = time.perf_counter() + seconds * len(functions)
    while rounds < least or time.perf_counter() < end:
        for name, function in functions.items():
            started = time.perf_counter()
            function()
            best[name] = min(best[name], time.perf_counter() - started)
        rounds += 1
    return best


def shown(seconds: float) -> str:
    """Return a time with a fitting unit."""
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("us", 1e-6)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds / 1e-9:.3g} ns"
