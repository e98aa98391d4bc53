"""What a network does at one input: every unit's value, the active piece, the local affine map."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from nneq.activations import RULES
from nneq.ir import Elementwise, Maximum, Network, Select, forward_all
from nneq.ir.float64 import Float64
from nneq.semantics.tangent import jacobian
from nneq.symbolic.layout import Layout

if TYPE_CHECKING:
    from nneq.api.boundary import Boundary
    from nneq.api.engines import Norm
    from nneq.boundary.results import Budget, Nearest

__all__ = ["Explanation", "explain"]

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, eq=False)
class Explanation:
    """The network at one input.

    Args:
        inputs: name -> value.
        units: name -> value of every hidden unit and output, in order of computation.
        outputs: name -> value.
        weights: ``(m, n)``, the derivatives of the outputs: rows are outputs, columns inputs.
        bias: ``(m,)``: around this input the outputs are ``weights x + bias`` (exactly so, up to
            rounding, for piecewise-linear networks; the tangent for smooth ones).
        pieces: unit name -> number of the active piece, counted from 0 from the left, of every
            piecewise-linear activation; which argument is largest, for a maximum; 1 or 0, for a
            condition that holds or not.
        boundaries: the boundaries of all pairs of outputs, which :meth:`distances` asks.

    Guarantee: numerical (float64).
    """

    inputs: Mapping[str, float]
    units: Mapping[str, float]
    outputs: Mapping[str, float]
    weights: Array
    bias: Array
    pieces: Mapping[str, int]
    boundaries: Mapping[tuple[str, str], Boundary] = field(default_factory=dict, repr=False)

    def distances(
        self, norm: Norm = "l2", *, budget: Budget | None = None
    ) -> dict[tuple[str, str], Nearest]:
        """Return the distance of this input to the boundary of every pair of outputs.

        Args:
            norm: ``l2``, ``linf`` or ``l1``.
            budget: limits of each pair; None allows 10 seconds.

        Raises:
            NneqError: an unknown norm.

        Guarantee: ``lower_bound`` certified; ``distance`` an upper bound with a witness.
        """
        point = list(self.inputs.values())
        return {
            pair: boundary.nearest(point, norm, budget=budget)
            for pair, boundary in self.boundaries.items()
        }

    def __str__(self) -> str:
        lines = [f"{name} = {value!r}" for name, value in {**self.inputs, **self.units}.items()]
        names = list(self.inputs)
        for (output, _), row, constant in zip(
            self.outputs.items(), self.weights.tolist(), self.bias.tolist(), strict=True
        ):
            slope = " + ".join(
                f"{weight:.6g}*{name}" for weight, name in zip(row, names, strict=True)
            )
            lines.append(f"near here: {output} = {slope} + {constant:.6g}".replace("+ -", "- "))
        return "\n".join(lines)


def explain(
    network: Network,
    layout: Layout,
    point: Array,
    boundaries: Mapping[tuple[str, str], Boundary],
) -> Explanation:
    """Return the values and the local map at the input entries ``(n,)``."""
    prepared = layout.network
    places = {layer.place for layer in layout.layers if layer.place is not None}
    asked = set(places)
    for place in places:
        asked.update(prepared.nodes[place].args)
    arrays, first = [], 0
    for port in prepared.inputs:
        arrays.append(point[first : first + port.size].reshape(1, *port.shape))
        first += port.size
    asked.update(port.node for port in prepared.outputs)
    with np.errstate(all="ignore"):
        values = forward_all(prepared, Float64(), arrays, asked)
    flat = {
        place: np.broadcast_to(value, (1, *prepared.nodes[place].shape)).reshape(-1)
        for place, value in values.items()
    }
    units: dict[str, float] = {}
    pieces: dict[str, int] = {}
    for layer in layout.layers:
        source = layer.args[0] if layer.place is None else layer.place
        entries = flat[source]
        units.update((layer.name(k), float(entries[k])) for k in range(layer.size))
        node = None if layer.place is None else prepared.nodes[layer.place]
        active = _active(prepared, node, flat)
        if active is not None:
            pieces.update((layer.name(k), int(active[k])) for k in range(layer.size))
    value, weights = jacobian(network, point)
    outputs = dict(zip(map(str, layout.output_names), value.tolist(), strict=True))
    return Explanation(
        inputs=dict(zip(map(str, layout.input_names), point.tolist(), strict=True)),
        units=units,
        outputs=outputs,
        weights=weights,
        bias=value - weights @ point,
        pieces=pieces,
        boundaries=boundaries,
    )


def _active(network: Network, node: Any, flat: Mapping[int, Array]) -> Array | None:
    """Return the number of the active piece of every entry, or None where there are no pieces."""
    match node:
        case Elementwise():
            rule = RULES[node.rule]
            scalar = not any(np.ndim(value) for value in node.params.values())
            if rule.pieces is None or not scalar:
                return None
            upper = [piece.upper for piece in rule.pieces(node.params)[:-1]]
            return np.searchsorted(np.array(upper), flat[node.arg], side="left")
        case Maximum():
            shape = network.nodes[node.arg].shape
            kept = [k for k in range(len(shape)) if k not in node.axes]
            moved = flat[node.arg].reshape(shape).transpose(*kept, *node.axes)
            found: Array | None = moved.reshape(int(np.prod(node.shape)), -1).argmax(axis=1)
            return found
        case Select():
            test = flat[node.test]
            holds = {">": test > 0, ">=": test >= 0, "==": test == 0}[node.relation]
            return np.asarray(holds).astype(int)
        case _:
            return None
