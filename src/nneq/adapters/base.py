"""What every adapter returns."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from nneq.ir import Network

__all__ = ["Imported", "Reference"]

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
