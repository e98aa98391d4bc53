"""The reduced question every engine answers: where is ``g(x) = 0``.

Engines see a network with one output of shape ``(1,)``, ``g``, over the flat inputs
``x_1 ... x_n``; what was cancelled on the way is in ``notes``.  A question on a line, a plane or a
slice is the same network restricted to it (:func:`nneq.passes.restrict`).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from nneq.activations import RULES
from nneq.ir import Elementwise, Maximum, Network, Product, Select, Softmax

__all__ = ["Problem"]


@dataclass(frozen=True, eq=False)
class Problem:
    """``g(x) = 0`` for one pair of outputs or one level.

    Args:
        network: one output port of shape ``(1,)``: ``g``; inputs are the model's own.
        title: the question in words, e.g. ``z_1 = z_2``.
        names: our names ``x_1 ... x_n`` of the input entries.
        notes: what was cancelled or kept, and why, one sentence each.
        rivals: for decision boundaries: a network whose output of shape ``(k,)`` holds
            ``z_i - z_k`` for every other class ``k`` but ``j``; else None.
        executed: the same functions with both outputs' rows kept apart, as they are executed:
            ``(g, rivals)``; float32 statements are about these.
    """

    network: Network
    title: str
    names: tuple[str, ...]
    notes: tuple[str, ...] = ()
    rivals: Network | None = None
    executed: tuple[Network, Network | None] | None = None

    def posed(self, precision: str) -> Network:
        """Return ``g`` in the form that statements of this precision are about."""
        if precision == "real" or self.executed is None:
            return self.network
        return self.executed[0]

    def rivals_posed(self, precision: str) -> Network | None:
        """Return the rivals in the form that statements of this precision are about."""
        if precision == "real" or self.executed is None:
            return self.rivals
        return self.executed[1]

    @cached_property
    def piecewise_linear(self) -> bool:
        """Whether ``g`` is continuous and piecewise linear, so that exact engines apply."""
        return not self.obstacles

    @cached_property
    def obstacles(self) -> tuple[str, ...]:
        """Why the exact piecewise-linear engine does not apply: one line per kind of node."""
        found: dict[str, None] = {}
        for node in self.network.nodes:
            if isinstance(node, Product | Softmax | Select):
                found[f"{type(node).__name__.lower()} ({node.origin})"] = None
            elif isinstance(node, Elementwise) and RULES[node.rule].kind != "piecewise-linear":
                found[f"{node.rule} ({node.origin})"] = None
        return tuple(found)

    @cached_property
    def has_maximum(self) -> bool:
        """Whether a ``Maximum`` node stands in the way of plain activation patterns."""
        return any(isinstance(node, Maximum) for node in self.network.nodes)
