"""One file per family of ATen operators; importing this package enters them all."""

from __future__ import annotations

import importlib

from nneq.adapters.torch.registry import LOWERINGS

__all__ = ["FAMILIES", "LOWERINGS"]

FAMILIES = (
    "activation",
    "arithmetic",
    "attention",
    "compare",
    "convolution",
    "distance",
    "index",
    "linear",
    "normalization",
    "pooling",
    "recurrent",
    "reduction",
    "resize",
    "shape",
)

for _family in FAMILIES:
    importlib.import_module(f"{__name__}.{_family}")
