"""Layers that no equation in numbers can say, each with its reason and the way out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nneq.adapters.keras.registry import layer
from nneq.errors import UnsupportedError

if TYPE_CHECKING:
    from nneq.adapters.keras.walk import Walk

__all__ = ["REFUSED"]

_TEXT = "it works on text; apply it to the data and give the model the numbers"
_HASH = "it hashes its input; apply it to the data and give the model the integers"
_FOREIGN = "its inside belongs to another framework; give that model to nneq by itself"
_PIXELS = "it depends on the image through histograms or integer pixels; apply it to the data"

REFUSED: dict[str, str] = {
    "AutoContrast": _PIXELS,
    "ContrastLimitedAdaptiveHistogramEqualization": _PIXELS,
    "Equalization": _PIXELS,
    "Solarization": _PIXELS,
    "RandomCrop": "at inference it resizes by data-dependent rules; use CenterCrop or Resizing",
    "MaxNumBoundingBoxes": "it works on bounding boxes; apply it to the data",
    "HashedCrossing": _HASH,
    "Hashing": _HASH,
    "IntegerLookup": "it looks integers up in a table; apply it to the data and give the indices",
    "StringLookup": _TEXT,
    "TextVectorization": _TEXT,
    "MelSpectrogram": "it takes a Fourier transform; apply it to the data",
    "FlaxLayer": _FOREIGN,
    "JaxLayer": _FOREIGN,
    "TFSMLayer": _FOREIGN,
    "TorchModuleWrapper": _FOREIGN,
}


def _refuse(reason: str) -> Any:
    def lower(_: Walk, __: Any, *___: Any, **____: Any) -> Any:
        raise UnsupportedError(reason)

    return lower


for _name, _reason in REFUSED.items():
    layer(_name)(_refuse(_reason))
