"""Attention layers: read through their own ``call``; rows for what that cannot express."""

from __future__ import annotations

__all__: list[str] = []
