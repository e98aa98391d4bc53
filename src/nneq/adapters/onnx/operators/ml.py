"""The operators scikit-learn's exporter writes (``ai.onnx.ml``)."""

from __future__ import annotations

from typing import Any

import numpy as np

from nneq.adapters.onnx.call import Call, operator, retyped, wide
from nneq.errors import NneqError
from nneq.lowering import Builder, Value
from nneq.lowering.normalization import lp_norm

__all__ = []

Array = np.ndarray[Any, Any]

_ML = "ai.onnx.ml"


def _floats(call: Call, name: str) -> Array | None:
    found = call.attribute(name)
    return None if found is None else np.array(found, dtype=np.float64)


def _number(x: Value) -> Value:
    return (
        x
        if x.dtype.kind == "f" and x.array is None
        else (wide(x) if x.dtype.kind == "f" else retyped(x, np.float32))
    )


@operator("Scaler", domain=_ML)
def scaler(call: Call) -> Value:
    """``(x - offset) scale``."""
    b, x = call.builder, _number(call.input(0))
    offset, scale = _floats(call, "offset"), _floats(call, "scale")
    if offset is not None:
        x = b.subtract(x, b.constant(offset))
    return x if scale is None else b.scale(x, scale)


@operator("Normalizer", domain=_ML)
def normalizer(call: Call) -> Value:
    """Every row divided by its norm; a row of norm 0 stays."""
    b, x = call.builder, _number(call.input(0))
    kind = call.attribute("norm")
    if kind not in {"MAX", "L1", "L2"}:
        msg = f"the norm {kind!r} is not known"
        raise NneqError(msg)
    if _positive(b, x) and kind == "L1":
        return b.divide(x, b.sum(x, (-1,), keepdims=True))
    p = {"MAX": np.inf, "L1": 1.0, "L2": 2.0}[kind]
    norm = lp_norm(b, x, p, (len(x.shape) - 1,), keepdims=True)
    safe = b.select(norm, "==", b.constant(np.float64(1.0)), norm)
    return b.divide(x, safe)


def _positive(b: Builder, x: Value) -> bool:
    """Whether every entry is certainly above 0 (scores of logistic units)."""
    from nneq.ir import Elementwise, Softmax

    node = b.nodes[x.node] if x.node is not None else None
    return (isinstance(node, Elementwise) and node.rule in {"sigmoid", "exp"}) or (
        isinstance(node, Softmax) and not node.log
    )


@operator("LinearRegressor", domain=_ML)
def linear_regressor(call: Call) -> Value:
    """``x W^T + b``."""
    targets = int(call.attribute("targets"))
    weight, bias = _linear(call, targets)
    return _after(call, _applied(call, weight, bias))


def _linear(call: Call, rows: int) -> tuple[Array, Array | None]:
    flat, bias = _floats(call, "coefficients"), _floats(call, "intercepts")
    if flat is None or rows < 1 or flat.size % rows:
        msg = f"coefficients do not make {rows} rows"
        raise NneqError(msg)
    if bias is not None and bias.size != rows:
        msg = f"{bias.size} intercepts for {rows} rows"
        raise NneqError(msg)
    return flat.reshape(rows, -1), bias


def _applied(call: Call, weight: Array, bias: Array | None) -> Value:
    b, x = call.builder, _number(call.input(0))
    if len(x.shape) == 1:
        x = b.reshape(x, (1, *x.shape))
    if x.shape[-1] != weight.shape[1]:
        msg = f"{weight.shape[1]} coefficients per row for {x.shape[-1]} features"
        raise NneqError(msg)
    out = b.matmul(x, b.constant(weight.T))
    return out if bias is None else b.add(out, b.constant(bias))


def _after(call: Call, scores: Value) -> Value:
    b = call.builder
    kind = call.attribute("post_transform")
    if kind == "NONE":
        return scores
    if kind == "LOGISTIC":
        return b.elementwise("sigmoid", scores)
    if kind == "SOFTMAX":
        return b.softmax(scores, -1)
    msg = f"the transform {kind!r} is not supported; export with raw scores"
    raise call.refuse(msg)


@operator("LinearClassifier", domain=_ML)
def linear_classifier(call: Call) -> list[Value | None]:
    """The label (an index for integer labels) and the scores of all classes."""
    from nneq.lowering.ordering import argmax, lookup

    b = call.builder
    labels = call.attribute("classlabels_ints")
    texts = call.attribute("classlabels_strings")
    intercepts, flat = _floats(call, "intercepts"), _floats(call, "coefficients")
    classes = len(labels or texts or [])
    x = call.input(0)
    features = x.shape[-1] if x.shape else 0
    rows = 0 if flat is None or not features else flat.size // features
    if flat is None or rows < 1 or flat.size != rows * features:
        msg = "coefficients do not fit the features"
        raise NneqError(msg)
    scores = _applied(call, flat.reshape(rows, features), intercepts)
    if rows == 1 and classes in {0, 2}:
        kind = call.attribute("post_transform")
        one = _after(call, scores)
        low = b.negative(one) if kind == "NONE" else b.subtract(b.constant(np.float64(1.0)), one)
        scores = b.concat([low, one], -1)
    else:
        scores = _after(call, scores)
    label: Value | None = None
    if call.node.output and call.node.output[0]:
        label = argmax(b, scores, -1)
        if labels:
            label = retyped(
                lookup(b, b.constant(np.array(labels, dtype=np.float64)), label), np.int64
            )
        elif texts:
            label = None
    return [label, scores]


@operator("ArrayFeatureExtractor", domain=_ML)
def feature_extractor(call: Call) -> Value:
    """Columns of the last axis; a live place looks the column up."""
    from nneq.lowering.ordering import lookup

    b, x, index = call.builder, call.input(0), call.input(1)
    if index.array is not None:
        places = index.array.astype(np.int64).reshape(-1)
        if places.size and (places.min() < 0 or places.max() >= x.shape[-1]):
            msg = f"column {int(places.max())} of {x.shape[-1]}"
            raise NneqError(msg)
        out = b.gather(x, places, len(x.shape) - 1)
    else:
        flat = b.reshape(index, (index.size,))
        out = retyped(lookup(b, x, flat, len(x.shape) - 1), x.dtype)
    return b.reshape(out, (1, *out.shape)) if len(out.shape) == 1 else out


@operator("Binarizer", domain=_ML)
def binarizer(call: Call) -> Value:
    """1 above the threshold, else 0."""
    x = call.input(0)
    threshold = call.builder.constant(np.float64(call.attribute("threshold")))
    return call.builder.cast(call.builder.compare(x, ">", threshold), np.float32)


@operator("FeatureVectorizer", domain=_ML)
def feature_vectorizer(call: Call) -> Value:
    """The operands' columns side by side."""
    b = call.builder
    values = [_number(v) for v in call.operands()]
    rows = [b.reshape(v, (v.shape[0], -1 if not v.size else v.size // v.shape[0])) for v in values]
    return b.concat(rows, 1)


@operator("Imputer", domain=_ML)
def imputer(call: Call) -> Value:
    """The operand: a real number is never missing; a stored number to replace is refused."""
    missing = call.attribute("replaced_value_float")
    if call.given("replaced_value_int64") or (missing is not None and not np.isnan(missing)):
        msg = "an imputer that replaces a number; remove it before export"
        raise call.refuse(msg)
    call.walk.notes.append("the imputer is the identity: missing values are not real numbers")
    return call.input(0)
