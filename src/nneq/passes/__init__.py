"""Network to equal network; every pass keeps the function and says how to go back."""

from __future__ import annotations

from nneq.passes.difference import Reduced, difference, level, margins, stripped
from nneq.passes.restrict import restrict
from nneq.passes.simplify import drop_dead, fuse_affine, tidy

__all__ = [
    "Reduced",
    "difference",
    "drop_dead",
    "fuse_affine",
    "level",
    "margins",
    "restrict",
    "stripped",
    "tidy",
]
