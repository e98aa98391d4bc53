"""Preprocessing layers that are functions of numbers: encodings, bins, crops, resizing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from nneq.adapters.keras.ops_image import resize_images
from nneq.adapters.keras.ops_linear import channels_last_axis
from nneq.adapters.keras.registry import layer
from nneq.errors import UnsupportedError
from nneq.lowering import Value
from nneq.lowering.levels import note_levels
from nneq.lowering.ordering import one_hot

if TYPE_CHECKING:
    from nneq.adapters.keras.walk import Walk

__all__: list[str] = []


def _encoded(walk: Walk, index: Value, layer_: Any, depth: int, weights: Any = None) -> Value:
    """Return categories as numbers, by the layer's output mode."""
    b = walk.b
    if getattr(layer_, "sparse", False):
        msg = "its output is a sparse tensor; build it with sparse=False"
        raise UnsupportedError(msg)
    mode = layer_.output_mode
    if mode == "int":
        return index
    note_levels(walk.b, index, depth)
    if mode == "one_hot" and len(index.shape) > 1 and index.shape[-1] == 1:
        index = b.reshape(index, index.shape[:-1])
    hot = one_hot(b, index, depth)
    if mode == "one_hot":
        return hot
    if mode == "count" and weights is not None:
        given = walk.value(weights)
        hot = b.multiply(hot, b.reshape(given, (*given.shape, 1)))
    axis = 1 if len(index.shape) > 1 else 0
    return b.max(hot, (axis,)) if mode == "multi_hot" else b.sum(hot, (axis,))


@layer("CategoryEncoding")
def _category(walk: Walk, layer_: Any, inputs: Any, count_weights: Any = None) -> Value:
    index = walk.b.cast(walk.value(inputs), np.int64)
    return _encoded(walk, index, layer_, layer_.num_tokens, count_weights)


@layer("Discretization")
def _discretization(walk: Walk, layer_: Any, inputs: Any) -> Value:
    b, x = walk.b, walk.value(inputs)
    if layer_.bin_boundaries is None:
        msg = "it has no bins: call adapt() on data, or give bin_boundaries="
        raise UnsupportedError(msg)
    # The layer compares in float32, whatever the model's own element type.
    edges = np.asarray(layer_.bin_boundaries, dtype=np.float32).astype(np.float64)
    wide = b.broadcast_to(b.reshape(x, (*x.shape, 1)), (*x.shape, edges.size))
    above = b.cast(b.compare(wide, ">=", b.constant(edges)), np.int64)
    return _encoded(walk, b.sum(above, (-1,)), layer_, edges.size + 1)


@layer(
    "RandomBrightness", "RandomContrast", "RandomFlip", "RandomRotation", "RandomTranslation",
    "RandomZoom", "RandomHue", "RandomSaturation", "RandomColorJitter", "RandomErasing",
    "RandomGrayscale", "RandomInvert", "RandomPosterization", "RandomSharpness", "RandomShear",
    "RandomPerspective", "RandomGaussianBlur", "RandomElasticTransform", "RandomColorDegeneration",
    "AugMix", "CutMix", "MixUp", "RandAugment",
)  # fmt: skip
def _augmentation(walk: Walk, _: Any, data: Any) -> Value:
    if isinstance(data, dict):
        msg = "image augmentation of a dictionary (images with labels) is not supported"
        raise UnsupportedError(msg)
    return walk.value(data)


@layer("CenterCrop")
def _center_crop(walk: Walk, layer_: Any, data: Any) -> Value:
    x = walk.value(data)
    first = len(x.shape) - 3 if channels_last_axis(layer_.data_format) else len(x.shape) - 2
    high, wide = x.shape[first], x.shape[first + 1]
    if high < layer_.height or wide < layer_.width:
        msg = f"it enlarges images of {high} x {wide}; give images of at least its own size"
        raise UnsupportedError(msg)
    x = walk.b.slice_axis(x, first, int((high - layer_.height) / 2), layer_.height)
    return walk.b.slice_axis(x, first + 1, int((wide - layer_.width) / 2), layer_.width)


@layer("Resizing")
def _resizing(walk: Walk, layer_: Any, data: Any) -> Value:
    if layer_.crop_to_aspect_ratio or layer_.pad_to_aspect_ratio:
        msg = "resizing that keeps the aspect ratio is not supported; crop or pad first"
        raise UnsupportedError(msg)
    size = (layer_.height, layer_.width)
    return resize_images(walk, walk.value(data), size, layer_.interpolation, layer_)
