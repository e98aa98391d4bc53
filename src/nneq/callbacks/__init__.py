"""Watching the boundary while a network learns.

``nneq.callbacks.keras``, ``.torch``, ``.lightning`` and ``.transformers`` each hold a
``BoundaryLogger``; ``BoundaryRecorder`` is what they have in common, and ``BoundaryHistory`` reads
what they wrote.
"""

from __future__ import annotations

from nneq.callbacks.history import BoundaryHistory
from nneq.callbacks.recorder import BoundaryRecorder
from nneq.callbacks.settings import Settings

__all__ = ["BoundaryHistory", "BoundaryRecorder", "Settings"]
