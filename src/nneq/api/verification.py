"""Equations held against the framework's own forward pass, in numbers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from nneq.activations import RULES
from nneq.adapters.base import Reference
from nneq.errors import NneqError
from nneq.ir import Elementwise, Network, Select
from nneq.symbolic.names import terminal_text

__all__ = ["Verification", "draw_samples", "tolerance_of", "verify_against"]

Array = np.ndarray[Any, Any]
Function = Callable[..., Any]

_TOLERANCES = {
    "float64": 1e-12,
    "float32": 1e-5,
    "float16": 16 * 2.0**-10,
    "bfloat16": 16 * 2.0**-7,
}
_AMPLIFIED = 64.0
_LOOSEST = 1e-2
_SAMPLE_ENTRIES = 1 << 22


@dataclass(frozen=True)
class Verification:
    """How far the equations are from the framework's own forward pass, on random samples.

    Args:
        max_abs_error: the largest absolute difference of an output entry.
        max_rel_error: the largest difference relative to the largest entry of the same output
            tensor of the same sample.
        worst_input: the input entries ``(n,)`` of the sample with the largest relative difference.
        passed: whether ``max_rel_error`` is at most ``tolerance``.
        tolerance: 1e-12 for float64 models, 1e-5 for float32, 16 rounding units for half precision.
        samples: how many inputs were compared.
        reference: what the equations were compared with.

    Guarantee: numerical; it says how the equations and the executed model differ by rounding.
    """

    max_abs_error: float
    max_rel_error: float
    worst_input: Array
    passed: bool
    tolerance: float
    samples: int
    reference: str

    def __str__(self) -> str:
        verdict = "agree" if self.passed else "DISAGREE"
        return (
            f"equations and {self.reference} {verdict} on {self.samples} samples: largest relative "
            f"difference {self.max_rel_error:.2e} (tolerance {self.tolerance:.0e}), "
            f"absolute {self.max_abs_error:.2e}"
        )


def tolerance_of(network: Network) -> float:
    """Return the relative tolerance of the model's coarsest floating-point type."""
    ports = (*network.inputs, *network.outputs)
    found = [_TOLERANCES[port.dtype] for port in ports if port.dtype in _TOLERANCES]
    return max(found, default=1e-5)


def draw_samples(network: Network, count: int, seed: int | tuple[int, ...]) -> list[Array]:
    """Return one array ``(count, *shape)`` per input port, in the port's own element type.

    Floats are standard normal; integers are uniform over the values the input takes.
    """
    rng = np.random.default_rng(seed)
    found = []
    for port in network.inputs:
        shape = (count, *port.shape)
        if port.dtype == "bool":
            found.append(rng.integers(0, 2, shape).astype(bool))
        elif port.dtype.startswith(("int", "uint")) or port.levels is not None:
            high = port.levels if port.levels is not None else 2
            found.append(rng.integers(0, max(1, high), shape).astype(_kind(port.dtype)))
        else:
            found.append(_rounded(rng.standard_normal(shape), port.dtype))
    return found


def _kind(name: str) -> Any:
    return np.float32 if name == "bfloat16" else np.dtype(name)


def _rounded(values: Array, dtype: str) -> Array:
    if dtype == "bfloat16":
        bits = values.astype(np.float32).view(np.uint32) & np.uint32(0xFFFF0000)
        return bits.view(np.float32)
    return values.astype(_kind(dtype))


def _has_jumps(network: Network) -> bool:
    return any(
        isinstance(node, Select)
        or (isinstance(node, Elementwise) and RULES[node.rule].kind == "step")
        for node in network.nodes
    )


def reference_outputs(
    network: Network, reference: Reference, samples: Sequence[Array], *, batches: bool
) -> list[Array]:
    """Return the framework's outputs ``(count, *shape)`` for samples ``(count, *shape)``.

    Raises:
        NneqError: the model does not run in its own framework.
    """

    def run(arrays: Sequence[Array]) -> Sequence[Array]:
        try:
            return reference(arrays)
        except (NneqError, KeyboardInterrupt):
            raise
        except Exception as error:  # a framework raises whatever it likes
            name = network.source.framework
            first = (str(error).strip() or type(error).__name__).splitlines()
            told = " ".join(terminal_text(line.strip()) for line in first if line.strip())[:300]
            msg = (
                f"the model does not run in {name} itself on this machine, so it cannot be "
                f"compared with its equations: {told}; mend that, or read it with check=False"
            )
            raise NneqError(msg) from error

    count = samples[0].shape[0] if samples else 1
    together = batches and all(p.batched for p in (*network.inputs, *network.outputs))
    if together and count > 1:
        arrays = [
            a.reshape(count, *p.shape[1:]) for a, p in zip(samples, network.inputs, strict=True)
        ]
        outputs = run(arrays)
        return [
            np.asarray(out, dtype=np.float64).reshape(count, *p.shape)
            for out, p in zip(outputs, network.outputs, strict=True)
        ]
    rows = []
    for k in range(count):
        outputs = run([array[k] for array in samples])
        rows.append(
            [
                np.asarray(out, dtype=np.float64).reshape(p.shape)
                for out, p in zip(outputs, network.outputs, strict=True)
            ]
        )
    return [np.stack(column) for column in zip(*rows, strict=True)]


def differences(ours: Sequence[Array], theirs: Sequence[Array]) -> tuple[Array, Array]:
    """Return the absolute and relative difference of every sample, the worst output of each."""
    absolute, relative = [], []
    for a, b in zip(ours, theirs, strict=True):
        first, second = a.reshape(a.shape[0], -1), b.reshape(b.shape[0], -1)
        same = (first == second) | (np.isnan(first) & np.isnan(second))
        with np.errstate(all="ignore"):
            gap = np.where(same, 0.0, np.abs(first - second))
        gap = np.where(np.isnan(gap), np.inf, gap).max(axis=1, initial=0.0)
        finite = np.where(np.isfinite(second), np.abs(second), 0.0).max(axis=1, initial=0.0)
        absolute.append(gap)
        with np.errstate(all="ignore"):
            relative.append(np.where(gap == 0, 0.0, gap / np.maximum(finite, 1e-300)))
    if not absolute:
        return np.zeros(1), np.zeros(1)
    return np.max(absolute, axis=0), np.max(relative, axis=0)


def verify_against(
    network: Network,
    ours: Function,
    theirs: Function,
    *,
    samples: int,
    seed: int,
    name: str,
) -> Verification:
    """Compare two functions from samples ``(count, *shape)`` to outputs ``(count, *shape)``.

    A model with jumps may fall on the other side of one within rounding; then at most one sample
    in twenty is forgiven (and one where there are fewer).  Where a model amplifies rounding at a
    sample, the tolerance of that sample grows with the measured amplification (the change of the
    outputs under one rounding of the inputs), to one percent at most.
    """
    base = tolerance_of(network)
    absolute, relative, tolerances = [], [], []
    worst, worst_input = -1.0, np.zeros(0)
    step = max(1, _SAMPLE_ENTRIES // max(1, network.input_size, network.output_size))
    for number, low in enumerate(range(0, samples, step)):
        drawn = draw_samples(network, min(step, samples - low), (seed, number))
        mine = ours(drawn)
        gaps, ratios = differences(mine, theirs(drawn))
        allowed = np.full(ratios.shape, base)
        if ratios.max() > base:
            moved = _AMPLIFIED * _sensitivity(network, ours, drawn, mine)
            allowed = np.clip(moved, base, max(base, _LOOSEST))
        absolute.append(gaps)
        relative.append(ratios)
        tolerances.append(allowed)
        place = int(np.argmax(ratios))
        if ratios[place] > worst:
            worst = float(ratios[place])
            flat = [array[place].reshape(-1).astype(np.float64) for array in drawn]
            worst_input = np.concatenate(flat) if flat else np.zeros(0)
    every = np.concatenate(relative)
    limits = np.concatenate(tolerances)
    forgiven = max(1, samples // 20) if _has_jumps(network) and samples > 1 else 0
    return Verification(
        max_abs_error=float(np.concatenate(absolute).max()),
        max_rel_error=float(every.max()),
        worst_input=worst_input,
        passed=bool((every > limits).sum() <= forgiven),
        tolerance=float(limits.max()),
        samples=samples,
        reference=name,
    )


def _sensitivity(
    network: Network, ours: Function, drawn: Sequence[Array], outputs: Sequence[Array]
) -> Array:
    """Return each sample's relative change of the outputs under one rounding of its inputs."""
    base = tolerance_of(network)
    unit = {1e-12: 2.0**-53, 1e-5: 2.0**-24}.get(base, base / 16)
    rng = np.random.default_rng(1)
    moved = [
        array.astype(np.float64) * (1 + unit * rng.choice([-1.0, 1.0], array.shape))
        if array.dtype.kind == "f"
        else array
        for array in drawn
    ]
    _, relative = differences(ours(moved), outputs)
    return np.where(np.isfinite(relative), relative, 0.0)
