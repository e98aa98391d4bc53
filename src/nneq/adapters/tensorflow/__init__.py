"""TensorFlow without Keras: modules, functions and SavedModel folders, read as frozen graphs."""

from __future__ import annotations

from nneq.adapters.tensorflow.model import import_model

__all__ = ["import_model"]
