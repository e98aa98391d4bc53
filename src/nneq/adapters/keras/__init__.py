"""Keras 3 models, on any backend, read from their own graph of layers and operations."""

from __future__ import annotations

from nneq.adapters.keras.model import import_model

__all__ = ["import_model"]
