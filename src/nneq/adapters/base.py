"""What every adapter returns."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from nneq.ir import Network

__all__ = ["Imported", "Reference", "Weights"]

Array = np.ndarray[Any, Any]
Reference = Callable[[Sequence[Array]], list[Array]]


@dataclass(frozen=True, eq=False)
class Imported:
    """A network and the framework's own forward pass to hold it against.

    Args:
        network: the lowered model.
        reference: takes one array per input port, in the model's own shapes (batch axis of extent
            1 or, when ``batches`` is true, of any extent) and element types; returns the outputs in
            the order of the network's output ports. None when the framework cannot run the model.
        batches: whether ``reference`` takes any batch extent.
    """

    network: Network
    reference: Reference | None
    batches: bool = False


@dataclass(frozen=True, eq=False)
class Weights:
    """A model of plain layers, as far as it can change while it is trained.

    Two models with the same :attr:`structure` differ in their weights only, so that a network read
    from one becomes that of the other by other arrays in the same places.

    Args:
        structure: the layers themselves and all that says what they do, in order; compared with
            ``==`` (layers are equal only to themselves).
        arrays: copies of the weights in the order of the layers; a matrix is ``(n_out, n_in)``.
    """

    structure: tuple[Any, ...]
    arrays: tuple[Array, ...]
