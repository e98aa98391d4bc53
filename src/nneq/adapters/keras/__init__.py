"""Keras 3 models, on any backend, read from their own graph of layers and operations."""

from __future__ import annotations

from nneq.adapters.keras.model import import_model
from nneq.adapters.keras.weights import weights_of

__all__ = ["import_model", "weights_of"]
