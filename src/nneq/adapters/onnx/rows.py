"""Are the rows of a batch read one by one?  A network of one row must say the same as the model."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from nneq.errors import NneqError
from nneq.ir import Network
from nneq.ir.float64 import evaluate

if TYPE_CHECKING:
    from nneq.adapters.onnx.ports import InputSpec
    from nneq.adapters.onnx.program import Program

__all__ = ["separate_rows"]

Array = np.ndarray[Any, Any]

_MOST_WEIGHTS = 1 << 21
_MOST_NODES = 2000
_TOLERANCE = 1e-6


def separate_rows(program: Program, specs: Sequence[InputSpec], network: Network) -> Network:
    """Return the network with its outputs' batch axes checked against a batch of two rows.

    The model is written once more for two rows and both are evaluated on random rows (a numerical
    check).  Models too large for that are left as they are: the comparison with the model's own
    forward pass finds the same fault.

    Raises:
        NneqError: when the outputs of a row depend on the other rows of its batch.
    """
    if not any(spec.symbolic for spec in specs) or network.parameter_count > _MOST_WEIGHTS:
        return network
    if len(network.nodes) > _MOST_NODES:
        return network
    pairs = [
        dataclasses.replace(s, shape=(2, *s.shape[1:]), batched=False) if s.symbolic else s
        for s in specs
    ]
    try:
        both = program.network(pairs)
    except NneqError:
        return network  # the graph fixes a batch of one row; rows are evaluated one by one
    feeds = _draw(pairs, network)
    alone = evaluate(
        network,
        [
            f[:, None] if s.symbolic else np.broadcast_to(f, (2, *f.shape))
            for f, s in zip(feeds, specs, strict=True)
        ],
    )
    together = [out[0] for out in evaluate(both, [feed[None] for feed in feeds])]
    ports = []
    mixed = []
    for port, one, two in zip(network.outputs, alone, together, strict=True):
        if not port.batched or _equal(one, np.broadcast_to(two, one.shape[:1] + two.shape)):
            # The same for one row and for two: no batch axis (or it lies elsewhere).
            ports.append(dataclasses.replace(port, batched=False) if port.batched else port)
        elif two.shape[:1] == (2,) and _equal(one[:, 0], two):
            ports.append(port)
        else:
            mixed.append(repr(port.label[:120]))
    if mixed:
        msg = (
            f"the output {', '.join(mixed)} of one row depends on the other rows of its batch; "
            "nneq reads a model row by row: export it for a fixed batch, whose rows are then one "
            "input together"
        )
        raise NneqError(msg)
    return dataclasses.replace(network, outputs=tuple(ports))


def _equal(a: Array, b: Array) -> bool:
    if a.shape != b.shape:
        return False
    scale = float(np.nanmax(np.abs(a), initial=1e-30)) if a.size else 1.0
    return bool(np.allclose(a, b, rtol=0.0, atol=_TOLERANCE * scale, equal_nan=True))


def _draw(specs: Sequence[InputSpec], network: Network) -> list[Array]:
    """Return random arrays of the specs' shapes: numbers, truth values or small integers."""
    rng = np.random.default_rng(0)
    found = []
    for spec, port in zip(specs, network.inputs, strict=True):
        if spec.dtype.kind == "f":
            found.append(rng.normal(size=spec.shape))
        else:
            top = 2 if spec.dtype.kind == "b" else (port.levels or 5)
            found.append(rng.integers(0, top, size=spec.shape).astype(np.float64))
    return found
