"""ONNX models and files: read as untrusted, checked, then written as a network."""

from __future__ import annotations

from nneq.adapters.onnx.convert import import_bytes, import_model
from nneq.adapters.onnx.read import read_model

__all__ = ["import_bytes", "import_model", "read_model"]
