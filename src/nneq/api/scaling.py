"""A scaler that was applied before the model becomes part of the network."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from nneq.errors import NneqError, UnsupportedError
from nneq.ir import Affine, Input, Network, Term
from nneq.ir import linear_map as lm
from nneq.passes.simplify import renumbered, tidy
from nneq.symbolic.names import terminal_text

__all__ = ["affine_of", "with_scaler"]

Array = np.ndarray[Any, Any]


def affine_of(scaler: Any, network: Network) -> tuple[Array, Array, Array]:
    """Return ``shift, factor, offset`` with ``scaled = (x - shift) * factor + offset``, each (n,).

    Args:
        scaler: a fitted scikit-learn ``StandardScaler``, ``MinMaxScaler``, ``RobustScaler`` or
            ``MaxAbsScaler`` (or any object with their attributes), or ``(mean, scale)``.
        network: the network whose first and only input is scaled.

    Raises:
        NneqError: it is not fitted, or its size is not the number of inputs.
        UnsupportedError: it is not an affine scaler, or the model has several inputs.
    """
    if len(network.inputs) != 1:
        msg = f"a scaler needs a model with one input tensor; this one has {len(network.inputs)}"
        raise UnsupportedError(msg)
    shift, factor, offset = _parts(scaler)
    size = network.input_size
    found = []
    for name, value in (("mean", shift), ("scale", factor), ("offset", offset)):
        array = np.asarray(value, dtype=np.float64)
        if array.size not in {1, size}:
            msg = f"the scaler's {name} has {array.size} entries, the model has {size} inputs"
            raise NneqError(msg)
        if not np.isfinite(array).all():
            msg = f"the scaler's {name} holds NaN or infinity (a feature of zero width?)"
            raise NneqError(msg)
        found.append(np.broadcast_to(array.reshape(-1), (size,)))
    return found[0], found[1], found[2]


def _parts(scaler: Any) -> tuple[Any, Any, Any]:
    if isinstance(scaler, tuple | list) and len(scaler) == 2:
        mean, scale = scaler
        return mean, _inverse(scale), 0.0
    if hasattr(scaler, "data_min_") and hasattr(scaler, "min_"):
        if getattr(scaler, "clip", False):
            msg = "a MinMaxScaler with clip=True is not affine; fit it with clip=False"
            raise UnsupportedError(msg)
        return 0.0, scaler.scale_, scaler.min_
    if hasattr(scaler, "scale_"):
        # a StandardScaler keeps the mean even where it does not use it
        mean = getattr(scaler, "mean_", None) if getattr(scaler, "with_mean", True) else None
        centre = getattr(scaler, "center_", None)
        shift = mean if mean is not None else centre
        return 0.0 if shift is None else shift, _inverse(scaler.scale_), 0.0
    shown = terminal_text(type(scaler).__qualname__)
    if hasattr(scaler, "fit") and not hasattr(scaler, "n_features_in_"):
        msg = f"the {shown} is not fitted; call its fit() first"
        raise NneqError(msg)
    msg = (
        f"cannot fold a {shown} into the equations; accepted are scikit-learn's StandardScaler, "
        "MinMaxScaler, RobustScaler and MaxAbsScaler, or a pair (mean, scale)"
    )
    raise UnsupportedError(msg)


def _inverse(scale: Any) -> Any:
    if scale is None:
        return 1.0
    array = np.asarray(scale, dtype=np.float64)
    if (array == 0).any():
        msg = "the scaler divides by zero (a scale is 0)"
        raise NneqError(msg)
    return 1.0 / array


def with_scaler(network: Network, shift: Array, factor: Array, offset: Array) -> Network:
    """Return the network of the unscaled inputs: ``network((x - shift) * factor + offset)``."""
    port = network.inputs[0]
    shape = port.shape
    nodes: list[Any] = [Input(shape, "input")]
    identity = lm.Identity(shape)
    if shift.any():
        nodes.append(Affine(shape, (Term(0, identity),), -shift.reshape(shape), "scaler"))
    scale = lm.Scale(np.ascontiguousarray(factor).reshape(shape), shape)
    bias = offset.reshape(shape).copy() if offset.any() else None
    nodes.append(Affine(shape, (Term(len(nodes) - 1, scale),), bias, "scaler"))
    ahead = len(nodes) - 1
    # the network's own input node becomes an identity of the scaled tensor
    moved = {}
    for place, node in enumerate(network.nodes):
        if place == port.node:
            moved[place] = ahead
            continue
        nodes.append(renumbered(node, moved))
        moved[place] = len(nodes) - 1
    return tidy(
        dataclasses.replace(
            network,
            nodes=tuple(nodes),
            inputs=(dataclasses.replace(port, node=0),),
            outputs=tuple(dataclasses.replace(p, node=moved[p.node]) for p in network.outputs),
        )
    )
