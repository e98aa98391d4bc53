"""The command line ``nneq``; its start loads neither NumPy nor SymPy nor a framework."""

from __future__ import annotations

from nneq.cli.group import main

__all__ = ["main"]
