"""The frozen intermediate representation; see ``docs/ir.md``."""

from __future__ import annotations

from nneq.ir.forward import Arithmetic, forward, forward_all
from nneq.ir.network import (
    Affine,
    Constant,
    Elementwise,
    Input,
    Maximum,
    Network,
    Node,
    Port,
    Product,
    Select,
    Softmax,
    Source,
    Term,
    verify,
)

__all__ = [
    "Affine",
    "Arithmetic",
    "Constant",
    "Elementwise",
    "Input",
    "Maximum",
    "Network",
    "Node",
    "Port",
    "Product",
    "Select",
    "Softmax",
    "Source",
    "Term",
    "forward",
    "forward_all",
    "verify",
]
