"""Framework-neutral lowering: tensor operations to the eight node kinds; see ``builder.py``."""

from __future__ import annotations

from nneq.lowering.builder import Builder, Value

__all__ = ["Builder", "Value"]
