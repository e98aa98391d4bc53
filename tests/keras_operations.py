"""Calls of ``keras.ops`` on symbolic tensors: a function of the inputs, and what it is given."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import keras
import numpy as np

ops = keras.ops


@dataclass(frozen=True)
class OpCase:
    """``call`` of inputs of per-sample ``shapes``, drawn from ``low`` to ``high``."""

    name: str
    call: Callable[..., Any]
    shapes: tuple[tuple[int, ...], ...] = ((3, 4),)
    low: float = -2.0
    high: float = 2.0
    levels: int | None = None


CASES: list[OpCase] = []


def case(name: str, call: Callable[..., Any], *shapes: tuple[int, ...], **options: Any) -> None:
    CASES.append(OpCase(name, call, shapes or ((3, 4),), **options))


for _name in (
    "abs", "absolute", "arctan", "arcsinh", "ceil", "cos", "cosh", "erf", "exp", "exp2", "expm1",
    "floor", "negative", "relu", "relu6", "sigmoid", "sign", "silu", "sin", "sinh", "softplus",
    "softsign", "square", "tanh", "trunc", "elu", "selu", "celu", "gelu", "leaky_relu",
    "hard_sigmoid", "hard_silu", "hard_tanh", "hard_shrink", "soft_shrink", "tanh_shrink",
    "log_sigmoid", "log_softmax", "softmax", "sparse_plus", "sparse_sigmoid", "squareplus",
    "copy", "conj", "real", "cumsum", "round", "nan_to_num", "isnan",
    "isfinite", "isinf", "deg2rad", "rad2deg", "ones_like", "zeros_like", "logical_not", "signbit",
    "stop_gradient", "sinc", "max", "min", "sum", "mean", "all", "any", "logsumexp", "flip", "cbrt",
    "std", "var", "argmax", "argmin", "sort", "median", "fabs", "ptp", "count_nonzero", "prod",
    "rms_normalization", "layer_normalization", "normalize", "diff",
):  # fmt: skip
    if hasattr(ops, _name):
        kwargs = {"axis": -1} if _name in {"cumsum", "max", "min", "sum", "mean", "all", "any",
                  "logsumexp", "flip", "std", "var", "argmax", "argmin", "sort", "median", "ptp",
                  "count_nonzero", "prod", "diff"} else {}  # fmt: skip
        case(_name, partial(getattr(ops, _name), **kwargs))
for _name in ("log", "log10", "log2", "log1p", "sqrt", "rsqrt", "reciprocal", "tan"):
    case(_name, getattr(ops, _name), low=0.2, high=1.4)
for _name in ("arccos", "arcsin", "arctanh"):
    case(_name, getattr(ops, _name), low=-0.9, high=0.9)
case("arccosh", ops.arccosh, low=1.1, high=3.0)
case("erfc", ops.erfc) if hasattr(ops, "erfc") else None
PAIR = ((3, 4), (3, 4))
for _name in ("add", "subtract", "multiply", "maximum", "minimum", "greater", "greater_equal",
              "less", "less_equal", "equal", "not_equal", "logaddexp", "logical_and", "logical_or",
              "logical_xor", "hypot", "isclose", "fmax", "fmin"):  # fmt: skip
    if hasattr(ops, _name):
        case(_name, getattr(ops, _name), *PAIR)
for _name in ("divide", "true_divide", "divide_no_nan", "mod", "floor_divide", "fmod", "power"):
    if hasattr(ops, _name):
        case(_name, getattr(ops, _name), *PAIR, low=0.3, high=2.9)
case("add", lambda x: x + np.arange(4, dtype="float32"))
case("add", lambda x, y: x + y, (3, 4), (1, 4))
case("subtract", lambda x: 1.0 - x)
case("multiply", lambda x: x * 2 * x)
case("divide", lambda x: 3.0 / x, low=0.5)
case("power", lambda x: x**3)
case("power", lambda x: 2.0**x)
case("power", lambda x: ops.power(x, 1.7), low=0.2)
case("negative", lambda x: -x)
case("getitem", lambda x: x[:, 1:, ::2], (4, 5))
case("getitem", lambda x: x[..., 0], (4, 5))
case("getitem", lambda x: x[:, -1, None, 1], (4, 5))
case("matmul", ops.matmul, (3, 4), (4, 2))
case("matmul", lambda x: x @ np.arange(12, dtype="float32").reshape(4, 3))
case("einsum", lambda x, y: ops.einsum("bij,bkj->bik", x, y), (3, 4), (2, 4))
case("einsum", lambda x: ops.einsum("...ij->...ji", x))
case("einsum", lambda x: ops.einsum("bii->b", x), (3, 3))
case("einsum", lambda x, y: ops.einsum("...ij,...jk->...ik", x, y), (3, 4), (4, 2))
case("einsum", lambda x, y: ops.einsum("bi,bj,bi->bij", x, y, x), (3,), (4,))
case("dot", lambda x: ops.dot(x, np.ones((4, 2), "float32")))
case("tensordot", lambda x: ops.tensordot(x, np.ones((4, 2), "float32"), axes=1))
case("clip", lambda x: ops.clip(x, -0.5, 0.7))
case("where", lambda x, y: ops.where(x > 0, x, y), *PAIR)
case("where", lambda x: ops.where(x > 0.3, 1.0, x))
case("reshape", lambda x: ops.reshape(x, (-1, 2, 6)))
case("transpose", lambda x: ops.transpose(x, (0, 2, 1)))
case("swapaxes", lambda x: ops.swapaxes(x, 1, 2))
case("moveaxis", lambda x: ops.moveaxis(x, 1, -1), (2, 3, 4))
case("expand_dims", lambda x: ops.expand_dims(x, (1, -1)))
case("squeeze", lambda x: ops.squeeze(x, 2), (3, 1))
case("concatenate", lambda x, y: ops.concatenate([x, y], axis=-1), (3, 4), (3, 2))
case("stack", lambda x, y: ops.stack([x, y], axis=1), *PAIR)
case("hstack", lambda x, y: ops.hstack([x, y]), *PAIR)
case("split", lambda x: ops.split(x, 2, axis=-1)[1])
case("split", lambda x: ops.split(x, [1, 3], axis=-1)[1])
case("array_split", lambda x: ops.array_split(x, 3, axis=-1)[0])
case("unstack", lambda x: ops.unstack(x, axis=1)[1])
case("tile", lambda x: ops.tile(x, (1, 2, 1)))
case("repeat", lambda x: ops.repeat(x, 2, axis=1))
case("pad", lambda x: ops.pad(x, ((0, 0), (1, 2), (0, 1))))
case("pad", lambda x: ops.pad(x, ((0, 0), (1, 2), (0, 1)), constant_values=1.5))
case("pad", lambda x: ops.pad(x, ((0, 0), (1, 2), (0, 1)), mode="reflect"))
case("pad", lambda x: ops.pad(x, ((0, 0), (1, 2), (0, 1)), mode="symmetric"))
case("roll", lambda x: ops.roll(x, 1, axis=2))
case("rot90", lambda x: ops.rot90(x, axes=(1, 2)))
case("tril", ops.tril, (4, 4))
case("triu", lambda x: ops.triu(x, k=1), (4, 4))
case("diagonal", lambda x: ops.diagonal(x, axis1=1, axis2=2), (4, 4))
case("trace", lambda x: ops.trace(x, axis1=1, axis2=2), (4, 4))
case("take", lambda x: ops.take(x, [2, 0, 2], axis=2))
case("take", lambda x: ops.take(np.arange(10.0, dtype="float32").reshape(5, 2), x, axis=0), (3,),
     levels=5)  # fmt: skip
case("take_along_axis", lambda x: ops.take_along_axis(x, np.array([[[2, 0]]]), axis=2))
case("take_along_axis", lambda x: ops.take_along_axis(x, ops.argmax(x, axis=-1, keepdims=True), 2))
case("one_hot", lambda x: ops.one_hot(x, 5), (3,), levels=5)
case("multi_hot", lambda x: ops.multi_hot(x, 5), (3,), levels=5)
case("cast", lambda x: ops.cast(x, "int32"))
case("cast", lambda x: ops.cast(x > 0, "float32"))
case("top_k", lambda x: ops.top_k(x, 2)[0])
case("top_k", lambda x: ops.top_k(x, 2)[1])
case("argsort", lambda x: ops.argsort(x, axis=-1))
case("quantile", lambda x: ops.quantile(x, 0.3, axis=-1))
case(
    "average", lambda x: ops.average(x, axis=-1, weights=np.array([1.0, 2.0, 3.0, 4.0], "float32"))
)
case("norm", lambda x: ops.norm(x, axis=-1))
case("norm", lambda x: ops.norm(x, ord=1, axis=-1))
case("norm", lambda x: ops.norm(x, ord=np.inf, axis=-1))
case("cumprod", lambda x: ops.cumprod(x, axis=-1))
case("moments", lambda x: ops.moments(x, axes=[-1])[1])
case("logaddexp", lambda x: ops.logaddexp(x, 0.3))
case("digitize", lambda x: ops.digitize(x, np.array([-0.5, 0.0, 1.0])))
case("select", lambda x: ops.select([x > 1, x > 0], [x, 2 * x], 0.0))
case("glu", lambda x: ops.glu(x, axis=-1))
case("threshold", lambda x: ops.threshold(x, 0.3, -1.0))
case("conv", lambda x: ops.conv(x, np.ones((2, 2, 1, 3), "float32"), padding="same"), (4, 5, 1))
case("depthwise_conv", lambda x: ops.depthwise_conv(x, np.ones((2, 2, 2, 2), "float32")), (4, 5, 2))
case("separable_conv",
     lambda x: ops.separable_conv(x, np.ones((2, 2, 2, 1), "float32"),
                                  np.ones((1, 1, 2, 3), "float32")), (4, 5, 2))  # fmt: skip
case("max_pool", lambda x: ops.max_pool(x, 2), (4, 5, 1))
case("average_pool", lambda x: ops.average_pool(x, 2), (4, 5, 1))
case("batch_normalization",
     lambda x: ops.batch_normalization(x, np.ones(4, "float32"), np.full(4, 2.0, "float32"),
                                       axis=-1, offset=np.zeros(4, "float32"),
                                       scale=np.full(4, 3.0, "float32")))  # fmt: skip
case("dot_product_attention", ops.dot_product_attention, (3, 2, 4), (5, 2, 4), (5, 2, 4))
case("dot_product_attention",
     lambda q, k, v: ops.dot_product_attention(q, k, v, is_causal=True, scale=0.3),
     (3, 2, 4), (3, 2, 4), (3, 2, 4))  # fmt: skip
case("dot_product_attention",
     lambda q, k, v: ops.dot_product_attention(q, k, v, mask=np.tril(np.ones((1, 2, 3, 5), bool))),
     (3, 2, 4), (5, 2, 4), (5, 2, 4))  # fmt: skip
case("layer_normalization",
     lambda x: ops.layer_normalization(x, np.arange(4, dtype="float32"), axis=-1))  # fmt: skip
case("full_like", lambda x: x + ops.full_like(x, 2.0))
case("image.resize", lambda x: ops.image.resize(x, (3, 7)), (4, 5, 2))
case("image.resize",
     lambda x: ops.image.resize(x, (8, 3), interpolation="nearest"), (4, 5, 2))  # fmt: skip
case("image.extract_patches", lambda x: ops.image.extract_patches(x, 2), (4, 5, 2))
case("image.rgb_to_grayscale", ops.image.rgb_to_grayscale, (4, 5, 3))
case("image.pad_images", lambda x: ops.image.pad_images(x, 1, 2, target_height=8, target_width=9),
     (4, 5, 2))  # fmt: skip
case("image.crop_images", lambda x: ops.image.crop_images(x, 1, 2, target_height=2, target_width=2),
     (4, 5, 2))  # fmt: skip
case("depth_to_space", lambda x: ops.depth_to_space(x, 2), (2, 3, 8)) if hasattr(
    ops, "depth_to_space") else None  # fmt: skip
case("cond", lambda x: ops.cond(True, lambda: x, lambda: -x))
case("det", lambda x: ops.linalg.det(x), (3, 3))
case("rfft", lambda x: ops.rfft(x)[0])
case("cross", lambda x, y: ops.cross(x, y), (4, 3), (4, 3))
case("inner", lambda x: ops.inner(x, np.ones((2, 4), "float32")))
case("unfold", lambda x: ops.unfold(x, 2), (2, 4, 5)) if hasattr(ops, "unfold") else None
case("map", lambda x: ops.map(lambda row: row * 2, x))
case("while_loop", lambda x: ops.while_loop(lambda y: ops.sum(y) < 10, lambda y: (y + 1,), (x,))[0])
case("erfinv", ops.erfinv, low=-0.9, high=0.9)
case("arctan2", ops.arctan2, *PAIR)
case("sparsemax", ops.sparsemax) if hasattr(ops, "sparsemax") else None


def build(spec: OpCase) -> Any:
    """Return the model of one call."""
    kind = "int32" if spec.levels else None
    inputs = [keras.Input(shape, dtype=kind) for shape in spec.shapes]
    return keras.Model(inputs, spec.call(*inputs))


def samples(spec: OpCase, count: int = 3, seed: int = 1) -> list[Any]:
    """Return input arrays for the call."""
    rng = np.random.default_rng(seed)
    if spec.levels:
        return [rng.integers(0, spec.levels, size=(count, *s)).astype("int32") for s in spec.shapes]
    return [
        rng.uniform(spec.low, spec.high, size=(count, *s)).astype("float32") for s in spec.shapes
    ]


# Calls that no function of one sample can be: refused with this reason.
ACROSS = {
    "ravel": lambda x: ops.ravel(x),
    "transpose": lambda x: ops.transpose(x),
    "mean over the batch": lambda x: x - ops.mean(x, axis=0, keepdims=True),
    "softmax over the batch": lambda x: ops.softmax(x, axis=0),
    "sum of everything": lambda x: ops.sum(x),
}
# Operations outside what nneq reads: listed in docs/keras.md.
REFUSED = {"det", "rfft", "cross", "map", "while_loop", "erfinv", "arctan2", "sparsemax"}
