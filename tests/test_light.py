"""``import nneq`` is light and patches nothing."""

from __future__ import annotations

import subprocess
import sys
import time

import nneq

HEAVY = {"numpy", "sympy", "scipy", "flint", "torch", "keras", "tensorflow", "onnx", "matplotlib"}


def fastest_start(code: str) -> float:
    """Return the shortest of several runs of a fresh interpreter, in seconds."""
    found = []
    for _ in range(15):
        started = time.perf_counter()
        subprocess.run([sys.executable, "-c", code], check=True)
        found.append(time.perf_counter() - started)
    return min(found)


def test_importing_loads_nothing_heavy():
    """No framework, no NumPy and no SymPy is loaded by the import."""
    code = "import sys, nneq; print(' '.join({name.split('.')[0] for name in sys.modules}))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert set() == HEAVY & set(found.stdout.split())


def test_importing_costs_at_most_three_bare_starts():
    """The whole process with the import takes at most three times a bare one."""
    bare = fastest_start("pass")

    assert fastest_start("import nneq") <= 3 * bare


def test_every_public_name_loads():
    """Every name in __all__ exists, and dir() shows it."""
    missing = [name for name in nneq.__all__ if not hasattr(nneq, name)]

    assert [] == missing
    assert set(nneq.__all__) <= set(dir(nneq))
