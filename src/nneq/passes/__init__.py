"""Network to equal network; every pass keeps the function and says how to go back."""

from __future__ import annotations

from nneq.passes.simplify import drop_dead, fuse_affine, tidy

__all__ = ["drop_dead", "fuse_affine", "tidy"]
