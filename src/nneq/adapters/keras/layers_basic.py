"""Layers that do nothing at inference, and simple layers whose ``call`` is bound to a backend."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from nneq.adapters.keras.ops_normal import softmax
from nneq.adapters.keras.registry import layer
from nneq.adapters.keras.tracing import trace
from nneq.errors import UnsupportedError
from nneq.lowering import Value
from nneq.lowering.normalization import batch_norm

if TYPE_CHECKING:
    from nneq.adapters.keras.walk import Walk

__all__: list[str] = []


@layer(
    "Dropout", "SpatialDropout1D", "SpatialDropout2D", "SpatialDropout3D", "GaussianDropout",
    "GaussianNoise", "AlphaDropout", "ActivityRegularization", "Identity",
)  # fmt: skip
def _identity(walk: Walk, _: Any, inputs: Any, **__: Any) -> Value:
    return walk.value(inputs)


@layer("TimeDistributed")
def _time_distributed(walk: Walk, wrapper: Any, inputs: Any, mask: Any = None) -> Value:
    b, x = walk.b, walk.value(inputs)
    inner = wrapper.layer
    steps = []
    for t in range(x.shape[1]):
        rest = (x.shape[0], *x.shape[2:])
        step = b.reshape(b.slice_axis(x, 1, t, 1), rest)
        kwargs = {}
        if mask is not None and len(mask.shape) > 2 and inner.supports_masking:
            part = b.slice_axis(mask, 1, t, 1)
            kwargs["mask"] = b.reshape(part, (mask.shape[0], *mask.shape[2:]))
        found = walk.child(inner, step, **kwargs)
        if not isinstance(found, Value):
            msg = "a TimeDistributed layer with several outputs is not supported"
            raise UnsupportedError(msg)
        steps.append(found)
    return b.stack(steps, 1)


@layer("Lambda")
def _lambda(walk: Walk, layer_: Any, inputs: Any, mask: Any = None) -> Any:
    kwargs = {"mask": mask} if mask is not None else {}
    return trace(walk, layer_.call, (inputs,), kwargs)


@layer("SpectralNormalization")
def _spectral(walk: Walk, wrapper: Any, inputs: Any) -> Any:
    return walk.child(wrapper.layer, inputs)


@layer("Normalization")
def _normalization(walk: Walk, layer_: Any, inputs: Any) -> Value:
    b, x = walk.b, walk.value(inputs)
    if layer_.mean is None:
        msg = "it has no statistics: call adapt() on data, or give mean= and variance="
        raise UnsupportedError(msg)
    mean = walk.array(layer_.mean).astype(np.float64)
    # Keras keeps the square root of the variance away from zero by its epsilon.
    import keras

    deviation = np.maximum(np.sqrt(walk.array(layer_.variance).astype(np.float64)),
                           keras.backend.epsilon())  # fmt: skip
    x = b.cast(x, np.float32) if x.dtype.kind != "f" else x
    if layer_.invert:
        return b.add(b.multiply(x, b.constant(deviation)), b.constant(mean))
    return b.divide(b.subtract(x, b.constant(mean)), b.constant(deviation))


@layer("Rescaling")
def _rescaling(walk: Walk, layer_: Any, inputs: Any) -> Value:
    import keras

    b, x = walk.b, walk.value(inputs)
    parts = [np.asarray(v, dtype=np.float64) for v in (layer_.scale, layer_.offset)]
    if parts[0].ndim and keras.config.image_data_format() == "channels_first":
        parts = [v.reshape(v.shape + (1,) * (3 - v.ndim)) if v.ndim else v for v in parts]
    x = b.cast(x, np.float32) if x.dtype.kind != "f" else x
    if walk.setting(x, 0.1) != 0.1:  # a number that float32 rounds
        parts = [v.astype(np.float32).astype(np.float64) for v in parts]
    return b.add(b.multiply(x, b.constant(parts[0])), b.constant(parts[1]))


@layer("BatchNormalization")
def _batch_normalization(walk: Walk, layer_: Any, inputs: Any, **_: Any) -> Value:
    return batch_norm(
        walk.b,
        walk.value(inputs),
        walk.value(layer_.moving_mean),
        walk.value(layer_.moving_variance),
        eps=float(layer_.epsilon),
        scale=walk.value(layer_.gamma) if layer_.scale else None,
        bias=walk.value(layer_.beta) if layer_.center else None,
        axis=layer_.axis,
    )


@layer("Softmax")
def _softmax(walk: Walk, layer_: Any, inputs: Any, mask: Any = None) -> Value:
    b, x = walk.b, walk.value(inputs)
    if mask is not None:
        # Keras adds a large negative number where the mask is closed; it is never minus infinity.
        low = b.constant(np.float64(-3e4 if "float16" in layer_.compute_dtype else -1e9))
        kept = b.where(b.cast(walk.value(mask), bool), b.constant(np.float64(0.0)), low)
        x = b.add(x, kept)
    return softmax(walk, x, layer_.axis)
