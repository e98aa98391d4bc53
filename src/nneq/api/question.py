"""The question ``first = second`` reduced to ``g(x) = 0``."""

from __future__ import annotations

import math

from nneq.api.framing import Frame
from nneq.boundary.problem import Problem
from nneq.errors import NneqError
from nneq.ir import Network
from nneq.passes import difference, level, margins

__all__ = ["pose"]


def pose(network: Network, first: str, second: str | float, *, decision: bool = False) -> Problem:
    """Return the reduced problem ``first = second`` (an output, or a number for a level set).

    Args:
        network: the model.
        first: an output, by our name (``z_1``) or by its class label.
        second: another output, or a finite number.
        decision: keep only where no third output is larger.

    Raises:
        NneqError: unknown outputs, the same output twice, a level that is not finite, a decision
            boundary of a level or of fewer than three outputs.

    Guarantee: exact; ``g`` has the sign of ``first - second``.
    """
    frame = Frame(network)
    i = frame.output(first)
    if isinstance(second, str):
        j = frame.output(second)
        if i == j:
            msg = f"{frame.outputs[i]} = {frame.outputs[j]} holds everywhere; name two outputs"
            raise NneqError(msg)
        reduced = difference(network, i, j)
        apart = difference(network, i, j, apart=True).network
        title = f"{frame.outputs[i]} = {frame.outputs[j]}"
    else:
        j = -1
        value = float(second)
        if not math.isfinite(value):
            msg = f"the level must be a finite number, got {second!r}"
            raise NneqError(msg)
        reduced = level(network, i, value)
        apart = reduced.network
        title = f"{frame.outputs[i]} = {value!r}"
    rivals = rivals_apart = None
    if decision:
        if j < 0:
            msg = "decision=True is about two outputs among several, not about a level"
            raise NneqError(msg)
        others = [k for k in range(network.output_size) if k not in {i, j}]
        if others:
            rivals = margins(network, i, others)
            rivals_apart = margins(network, i, others, apart=True)
    executed = (apart, rivals_apart)
    return Problem(reduced.network, title, frame.inputs, reduced.notes, rivals, executed)
