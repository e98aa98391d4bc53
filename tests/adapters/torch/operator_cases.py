"""One or more calls for every lowered ATen operator; inputs are drawn by the test."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn import functional

__all__ = ["CASES", "REFUSED", "Case"]

aten = torch.ops.aten


@dataclass(frozen=True)
class Case:
    """A function of live tensors of the given shapes that must reach one lowering."""

    op: str
    function: Callable[..., Any]
    shapes: tuple[tuple[int, ...], ...] = ((2, 3, 4),)


CASES: list[Case] = []


def add(op: str, function: Callable[..., Any], *shapes: tuple[int, ...]) -> None:
    CASES.append(Case(op, function, shapes or ((2, 3, 4),)))


def weights(*shape: int, seed: int = 0) -> torch.Tensor:
    """Return fixed float64 numbers in (-1, 1)."""
    count = torch.Size(shape).numel()
    places = torch.arange(count, dtype=torch.float64) + 10 * seed + sum(shape)
    return torch.sin(places * 2.3 + places**2).reshape(shape)


# ------------------------------------------------------------------ activations
for name in [
    "relu",
    "sigmoid",
    "tanh",
    "silu",
    "mish",
    "selu",
    "hardswish",
    "softsign",
    "gelu",
    "relu6",
    "hardsigmoid",
    "elu",
    "celu",
    "softplus",
    "hardshrink",
    "softshrink",
    "tanhshrink",
    "leaky_relu",
    "rrelu",
    "hardtanh",
]:
    add(name, getattr(functional, name))
add("log_sigmoid", functional.logsigmoid)
add("log_sigmoid_forward", lambda x: aten.log_sigmoid_forward(x)[0])
add("gelu", lambda x: functional.gelu(x, approximate="tanh"))
add("elu", lambda x: functional.elu(x, 1.3))
add("elu", lambda x: aten.elu(x, 1.3, 0.7, 1.9))
add("celu", lambda x: functional.celu(x, 0.4))
add("softplus", lambda x: functional.softplus(x, beta=2.5, threshold=1.0))
add("softplus", lambda x: functional.softplus(30 * x))
add("threshold", lambda x: functional.threshold(x, 0.1, -2.0))
add("threshold", lambda x: functional.threshold(x, 0.2, 0.0))
add("threshold", lambda x: functional.threshold(x, 0.0, 0.0))
add("prelu", lambda x: functional.prelu(x, weights(3)))
add("prelu", lambda x: functional.prelu(x, weights(1)))
add("prelu", lambda x, w: functional.prelu(x, w), (2, 3, 4), (3,))
add("_prelu_kernel", lambda x: aten._prelu_kernel(x, weights(1, 3, 1)))
add("glu", lambda x: functional.glu(x, -1))
add("softmax", lambda x: functional.softmax(x, 1))
add("softmax", lambda x: (x + torch.full((4, 4), -torch.inf).triu(1)[1:]).softmax(-1))
add("softmax", lambda x: x.masked_fill(weights(1, 1, 4) > 0.4, -torch.inf).softmax(-1))
add("_softmax", lambda x: aten._softmax(x, 2, False))
add("_safe_softmax", lambda x: aten._safe_softmax(x, 2))
add("log_softmax", lambda x: functional.log_softmax(x, 0))
add("_log_softmax", lambda x: aten._log_softmax(x, 2, False))
add("native_dropout", lambda x: aten.native_dropout(x, 0.5, False)[0])

# ------------------------------------------------------------------ arithmetic
for name in [
    "exp",
    "abs",
    "sign",
    "square",
    "sin",
    "cos",
    "tan",
    "atan",
    "sinh",
    "cosh",
    "asinh",
    "erf",
    "floor",
    "ceil",
    "trunc",
    "round",
    "frac",
    "exp2",
    "expm1",
    "neg",
    "erfc",
    "sinc",
    "deg2rad",
    "rad2deg",
    "clone",
    "detach",
]:
    add(name, getattr(torch, name) if hasattr(torch, name) else lambda x, n=name: getattr(x, n)())
for name in ["log", "sqrt", "rsqrt", "log2", "log10", "log1p"]:
    add(name, lambda x, n=name: getattr(torch, n)(x.abs() + 0.3))
for name in ["asin", "acos", "atanh", "logit"]:
    add(name, lambda x, n=name: getattr(torch, n)(torch.sigmoid(x)))
add("logit", lambda x: torch.logit(x.sigmoid(), eps=0.4))
add("acosh", lambda x: torch.acosh(x.abs() + 1.1))
add("reciprocal", lambda x: torch.reciprocal(x + 5))
add("round", lambda x: torch.round(x, decimals=2))
add("round", lambda x: torch.round(100 * x, decimals=-1))
add("alias", lambda x: aten.alias(x))
add("_to_copy", lambda x: aten._to_copy(3 * x, dtype=torch.int32))
add("type_as", lambda x: (3 * x).type_as(torch.zeros(1, dtype=torch.int64)))
add("copy", lambda x, y: aten.copy(x, y), (2, 3), (3,))
add("add", lambda x, y: torch.add(x, y, alpha=3), (2, 3), (3,))
add("add", lambda x: (x > 0) + (x > 1))
add("sub", lambda x, y: torch.sub(x, y, alpha=3), (2, 3), (3,))
add("rsub", lambda x: 1 - x)
add("rsub", lambda x, y: torch.rsub(x, y, alpha=2), (2, 3), (2, 3))
add("mul", lambda x, y: x * y, (2, 3), (3,))
add("mul", lambda x: x * x)
add("mul", lambda x: (x > 0) * (x < 1))
add("div", lambda x, y: x / (y + 3), (2, 3), (3,))
add("div", lambda x: torch.div(50 * x, 7.0, rounding_mode="floor"))
add("div", lambda x: torch.div(50 * x, -7.0, rounding_mode="trunc"))
add("div", lambda x, y: torch.div(50 * x, y + 2, rounding_mode="trunc"), (2, 3), (3,))
add("floor_divide", lambda x: torch.floor_divide((500 * x).to(torch.int64), 49))
add("remainder", lambda x: torch.remainder(50 * x, -7.5))
add("fmod", lambda x: torch.fmod(50 * x, 7.5))
add("pow", lambda x: x**3)
add("pow", lambda x: x**2)
add("pow", lambda x: (x + 4) ** -0.5)
add("pow", lambda x: x.abs() ** 1.7)
add("pow", lambda x: x**0)
add("pow", lambda x: 2.0**x)
add("pow", lambda x: (x.abs() + 0.1) ** weights(4))
add("float_power", lambda x: torch.float_power(x, 2))
add("addcmul", lambda x, y: torch.addcmul(x, y, y, value=0.3), (2, 3), (2, 3))
add("addcdiv", lambda x, y: torch.addcdiv(x, y, y + 4, value=0.3), (2, 3), (2, 3))
add("lerp", lambda x, y: torch.lerp(x, y, 0.3), (2, 3), (2, 3))
add("lerp", lambda x, y: torch.lerp(x, y, y), (2, 3), (2, 3))
add("hypot", torch.hypot, (2, 3), (2, 3))
add("logaddexp", torch.logaddexp, (2, 3), (2, 3))
add("logaddexp2", torch.logaddexp2, (2, 3), (2, 3))
add("xlogy", lambda x, y: torch.xlogy(x, y.abs() + 0.1), (2, 3), (2, 3))
add(
    "xlogy",
    lambda x: torch.xlogy(x.relu(), torch.tensor([0.5, 2.0, 0.0], dtype=torch.float64)),
    (2, 3),
)
add("xlogy", lambda x: torch.xlogy(torch.tensor([0.5, 0.0, 1.0]), x.abs()), (2, 3))
add("xlogy", lambda x: torch.xlogy(2.0, x.abs()), (2, 3))

# ------------------------------------------------------------------ attention
Q = (2, 2, 3, 4)
add(
    "scaled_dot_product_attention",
    lambda q, k: functional.scaled_dot_product_attention(q, k, k),
    Q,
    Q,
)
add(
    "scaled_dot_product_attention",
    lambda q, k: functional.scaled_dot_product_attention(q, k, k, is_causal=True, scale=0.3),
    Q,
    (2, 2, 5, 4),
)
add(
    "scaled_dot_product_attention",
    lambda q, k: functional.scaled_dot_product_attention(q, k, k, attn_mask=weights(3, 5) > -0.5),
    Q,
    (2, 2, 5, 4),
)
add(
    "scaled_dot_product_attention",
    lambda q, k: functional.scaled_dot_product_attention(
        q, k, k, attn_mask=torch.where(weights(3, 5) > -0.5, weights(3, 5), -torch.inf)
    ),
    Q,
    (2, 2, 5, 4),
)
add(
    "scaled_dot_product_attention",
    lambda q, k, m: functional.scaled_dot_product_attention(q, k, k, attn_mask=m),
    Q,
    (2, 2, 5, 4),
    (3, 5),
)
add(
    "scaled_dot_product_attention",
    lambda q, m: functional.scaled_dot_product_attention(
        q, q, q, attn_mask=(m > 0) | torch.eye(3).bool()
    ),
    Q,
    (3, 3),
)
add(
    "scaled_dot_product_attention",
    lambda q, k: functional.scaled_dot_product_attention(q, k, k, enable_gqa=True),
    (1, 4, 3, 2),
    (1, 2, 5, 2),
)
add(
    "_scaled_dot_product_flash_attention_for_cpu",
    lambda q: aten._scaled_dot_product_flash_attention_for_cpu(q, q, q)[0],
    Q,
)

# ------------------------------------------------------------------ comparisons
for name in ["gt", "ge", "lt", "le", "eq", "ne", "maximum", "minimum"]:
    add(name, getattr(torch, name), (2, 3), (3,))
    if not name.startswith("m"):
        add(name, lambda x, n=name: getattr(torch, n)(x.round(), 1.0))
add("logical_not", lambda x: torch.logical_not(x > 0))
add("logical_not", lambda x: torch.logical_not(x.round()))
add("bitwise_not", lambda x: ~(x > 0))
add("bitwise_not", lambda x: ~(5 * x).to(torch.int64))
for name in [
    "logical_and",
    "logical_or",
    "logical_xor",
    "bitwise_and",
    "bitwise_or",
    "bitwise_xor",
]:
    add(name, lambda x, y, n=name: getattr(torch, n)(x > 0, y > 0), (2, 3), (2, 3))
add("where", lambda x, y: torch.where(x > y, x, 2 * y), (2, 3), (3,))
add("where", lambda x: torch.where(weights(4) > 0, x, 2.0))
add("masked_fill", lambda x: x.masked_fill(x > 0, 3.0))
add("masked_fill", lambda x: x.masked_fill(weights(4) > 0, 3.0))
add("clamp", lambda x: x.clamp(-0.5, 0.7))
add("clamp", lambda x: x.clamp(min=0.2))
add("clamp", lambda x: x.clamp(max=weights(4)))
add("clamp_min", lambda x: torch.clamp_min(x, 0.1))
add("clamp_max", lambda x: torch.clamp_max(x, 0.1))
add("heaviside", lambda x: torch.heaviside(x.round(), torch.tensor(0.3, dtype=torch.float64)))

# ------------------------------------------------------------------ convolutions
add("conv1d", lambda x: functional.conv1d(x, weights(4, 3, 2), weights(4), stride=2), (2, 3, 7))
add("conv1d", lambda x: functional.conv1d(x, weights(4, 3, 2)), (3, 7))
add("conv1d", lambda x: functional.conv1d(x, weights(4, 3, 4), padding="same"), (2, 3, 7))
add("conv1d", lambda x: functional.conv1d(x, weights(4, 3, 4), padding="valid"), (2, 3, 7))
add(
    "conv2d",
    lambda x: functional.conv2d(x, weights(4, 1, 2, 3), groups=2, padding=(1, 2)),
    (2, 2, 5, 6),
)
add("conv2d", lambda x: functional.conv2d(x, weights(4, 2, 2, 2), dilation=2), (2, 2, 5, 6))
add("conv3d", lambda x: functional.conv3d(x, weights(2, 2, 2, 1, 2), weights(2)), (1, 2, 3, 4, 3))
add(
    "convolution",
    lambda x: aten.convolution(x, weights(4, 2, 2), None, [1], [1], [1], False, [0], 1),
    (2, 2, 5),
)
add(
    "convolution",
    lambda x: aten.convolution(x, weights(2, 4, 3), None, [2], [1], [1], True, [1], 1),
    (2, 2, 5),
)
add(
    "_convolution",
    lambda x: aten._convolution(
        x, weights(4, 2, 2), None, [1], [1], [1], False, [0], 1, False, False, False, False
    ),
    (2, 2, 5),
)
add(
    "conv_transpose1d",
    lambda x: functional.conv_transpose1d(x, weights(3, 2, 3), stride=2),
    (2, 3, 5),
)
add(
    "conv_transpose1d",
    lambda x: functional.conv_transpose1d(x, weights(3, 2, 3), weights(2)),
    (3, 5),
)
add(
    "conv_transpose1d",
    lambda x: functional.conv_transpose1d(x, weights(3, 2, 3), stride=3, output_padding=2),
    (2, 3, 5),
)
add(
    "conv_transpose2d",
    lambda x: functional.conv_transpose2d(
        x, weights(4, 2, 3, 2), weights(4), stride=2, padding=1, output_padding=1, groups=2
    ),
    (2, 4, 3, 4),
)
add(
    "conv_transpose3d",
    lambda x: functional.conv_transpose3d(x, weights(2, 1, 2, 2, 2), dilation=2, padding=1),
    (1, 2, 2, 3, 2),
)

# ------------------------------------------------------------------ distances
add("cosine_similarity", lambda x, y: functional.cosine_similarity(x, y, dim=-1), (2, 3, 4), (3, 4))
add("pairwise_distance", lambda x, y: functional.pairwise_distance(x, y, p=3.0), (2, 4), (2, 4))
add(
    "pairwise_distance",
    lambda x, y: functional.pairwise_distance(x, y, keepdim=True),
    (2, 4),
    (2, 4),
)
add("cdist", lambda x, y: torch.cdist(x, y, p=1.0), (2, 3, 4), (2, 5, 4))
add("_cdist_forward", lambda x, y: aten._cdist_forward(x, y, 2.0, None), (3, 4), (5, 4))

# ------------------------------------------------------------------ look-ups and writes
INDEX = torch.tensor([[2, 0, 1], [1, 1, 0]])


def whole(x: torch.Tensor, most: int) -> torch.Tensor:
    """Return live integers 0 .. most - 1."""
    return (x.abs() * 3).to(torch.int64) % most


add("embedding", lambda x: functional.embedding(whole(x, 5), weights(5, 3)), (2, 4))
for mode in ("sum", "mean", "max"):
    add(
        "embedding_bag",
        lambda x, m=mode: functional.embedding_bag(whole(x, 5), weights(5, 3), mode=m),
        (2, 4),
    )
add(
    "embedding_bag",
    lambda x, y: functional.embedding_bag(
        whole(x, 5), weights(5, 3), mode="sum", per_sample_weights=y
    ),
    (2, 4),
    (2, 4),
)
add(
    "_embedding_bag",
    lambda x: aten._embedding_bag(weights(5, 3), whole(x, 5), torch.tensor([0, 2]))[0],
    (4,),
)
add("one_hot", lambda x: functional.one_hot(whole(x, 4), 4), (2, 3))
add("index_select", lambda x: x.index_select(1, torch.tensor([2, 0])))
add("index_select", lambda x, y: x.index_select(1, whole(y, 3)), (2, 3, 4), (5,))
add("gather", lambda x: x[:, :, 0].gather(1, INDEX), (2, 3, 4))
add("gather", lambda x, y: x.gather(1, whole(y, 3)), (2, 3), (2, 2))
add("gather", lambda x, y: x.gather(0, whole(y, 3)), (3, 4), (2, 3))
add("gather", lambda x: weights(3, 4).gather(1, whole(x, 4)), (3, 2))
add("take", lambda x: x.take(INDEX))
add("index", lambda x: x[:, [2, 0]])
add("index", lambda x: x[[1, 0], [2, 0]])
add("index", lambda x, y: x[:, whole(y, 3)], (2, 3), (2, 2))
add("index", lambda x: weights(5, 3)[whole(x, 5)], (2, 3))
add("_unsafe_index", lambda x: aten._unsafe_index(x, [None, torch.tensor([2, 0])]))
add("select_scatter", lambda x, y: torch.select_scatter(x, y, 1, 2), (2, 3, 4), (2, 4))
add("slice_scatter", lambda x, y: torch.slice_scatter(x, y, 2, 1, 4, 2), (2, 3, 4), (2, 3, 2))
add("diagonal_scatter", lambda x, y: torch.diagonal_scatter(x, y, 1), (3, 4), (3,))
add("scatter", lambda x, y: x.scatter(1, INDEX[:, :2], y), (2, 3), (2, 2))
add("scatter", lambda x: x.scatter(1, INDEX[:, :2], 7.0), (2, 3))
add("scatter", lambda y: torch.zeros(2, 3, dtype=torch.float64).scatter(1, INDEX[:, :2], y), (2, 2))
add("scatter_add", lambda x, y: x.scatter_add(1, INDEX, y), (2, 3), (2, 3))
add("index_add", lambda x, y: x.index_add(1, torch.tensor([2, 2]), y, alpha=2), (2, 3), (2, 2))
add("index_copy", lambda x, y: x.index_copy(1, torch.tensor([2, 0]), y), (2, 3), (2, 2))
add("index_fill", lambda x: x.index_fill(1, torch.tensor([2, 0]), 5.0), (2, 3))
add("index_put", lambda x, y: x.index_put((INDEX[:, 0],), y), (3, 4), (2, 4))
add(
    "index_put",
    lambda x, y: x.index_put((torch.tensor([1, 1]),), y, accumulate=True),
    (3, 4),
    (2, 4),
)
add(
    "_unsafe_index_put",
    lambda x, y: aten._unsafe_index_put(x, [torch.tensor([2, 0])], y),
    (3, 4),
    (2, 4),
)

# ------------------------------------------------------------------ matrix products
add("linear", lambda x: functional.linear(x, weights(5, 4), weights(5)))
add("linear", lambda x, w, b: functional.linear(x, w, b), (2, 4), (5, 4), (5,))
add("linear", lambda w: functional.linear(weights(2, 4), w), (5, 4))
add("matmul", lambda x: x @ weights(4, 2))
add("matmul", lambda x: weights(2, 3) @ x)
add("matmul", lambda x, y: x @ y, (2, 3, 4), (4,))
add("matmul", lambda x, y: x @ y, (5, 1, 3, 4), (2, 4, 2))
add("mm", torch.mm, (2, 3), (3, 4))
add("bmm", torch.bmm, (2, 3, 4), (2, 4, 1))
add("mv", torch.mv, (2, 3), (3,))
add("dot", torch.dot, (3,), (3,))
add("addmm", lambda x, y, z: torch.addmm(x, y, z, beta=2, alpha=3), (4,), (2, 3), (3, 4))
add("baddbmm", lambda x, y, z: torch.baddbmm(x, y, z), (2, 3, 1), (2, 3, 4), (2, 4, 1))
add("baddbmm", lambda y, z: torch.baddbmm(weights(2, 3, 1), y, z, beta=0), (2, 3, 4), (2, 4, 1))
add("addbmm", lambda x, y, z: torch.addbmm(x, y, z), (3, 1), (2, 3, 4), (2, 4, 1))
add("addmv", lambda x, y, z: torch.addmv(x, y, z), (2,), (2, 3), (3,))
add("addr", lambda x, y, z: torch.addr(x, y, z, alpha=2), (2, 3), (2,), (3,))
add("outer", torch.outer, (3,), (2,))
add(
    "bilinear", lambda x, y: functional.bilinear(x, y, weights(5, 3, 4), weights(5)), (2, 3), (2, 4)
)
add("einsum", lambda x, y: torch.einsum("bij,bjk->bik", x, y), (2, 3, 4), (2, 4, 5))
add("einsum", lambda x: torch.einsum("bij,jk->bk", x, weights(4, 5)))
add("einsum", lambda x: torch.einsum("bii->bi", x), (2, 3, 3))
add("einsum", lambda x, y: torch.einsum("...ij,...jk", x, y), (2, 3, 4), (4, 2))
add("einsum", lambda x, y: torch.einsum("Ab,Cb,Ab->AC", x, y, x), (2, 3), (4, 3))
add("einsum", lambda x: torch.einsum("ij->", x), (2, 3))

# ------------------------------------------------------------------ normalisation
add(
    "batch_norm",
    lambda x: functional.batch_norm(x, weights(3), weights(3).abs() + 0.5, weights(3), weights(3)),
)
add(
    "batch_norm",
    lambda x: functional.batch_norm(x, weights(3), weights(3).abs() + 0.5, eps=0.1),
    (2, 3),
)
add(
    "_native_batch_norm_legit_no_training",
    lambda x: aten._native_batch_norm_legit_no_training(
        x, None, None, weights(3), weights(3).abs() + 0.5, 0.1, 1e-5
    )[0],
)
add(
    "_native_batch_norm_legit",
    lambda x: functional.batch_norm(x, None, None, training=True),
    (1, 3, 4),
)
add("instance_norm", lambda x: functional.instance_norm(x, weight=weights(3), bias=weights(3)))
add(
    "instance_norm",
    lambda x: functional.instance_norm(
        x, weights(3), weights(3).abs() + 0.5, use_input_stats=False
    ),
)
add("group_norm", lambda x: functional.group_norm(x, 2, weights(4), weights(4)), (2, 4, 3))
add(
    "native_group_norm",
    lambda x: aten.native_group_norm(x, None, None, 2, 4, 3, 2, 1e-5)[0],
    (2, 4, 3),
)
add("layer_norm", lambda x: functional.layer_norm(x, (3, 4), weights(3, 4), weights(3, 4)))
add("native_layer_norm", lambda x: aten.native_layer_norm(x, (4,), None, None, 1e-5)[0])
add("rms_norm", lambda x: functional.rms_norm(x, (4,), weights(4)))
add("rms_norm", lambda x: functional.rms_norm(x, (4,), eps=0.1))

# ------------------------------------------------------------------ pooling
for rank, shape in ((1, (2, 3, 7)), (2, (2, 2, 6, 7)), (3, (1, 2, 4, 5, 4))):
    for kind in ("max", "avg"):
        pool = getattr(functional, f"{kind}_pool{rank}d")
        add(f"{kind}_pool{rank}d", lambda x, f=pool: f(x, 2, stride=3, padding=1), shape)
        add(f"{kind}_pool{rank}d", lambda x, f=pool: f(x, 3, stride=2, ceil_mode=True), shape)
        add(f"{kind}_pool{rank}d", lambda x, f=pool: f(x, 2), shape[1:])
        adaptive = getattr(functional, f"adaptive_{kind}_pool{rank}d")
        add(f"adaptive_{kind}_pool{rank}d", lambda x, f=adaptive: f(x, 3), shape)
        add(f"adaptive_{kind}_pool{rank}d", lambda x, f=adaptive: f(x, 1), shape[1:])
    indexed = getattr(functional, f"max_pool{rank}d_with_indices")
    add(f"max_pool{rank}d_with_indices", lambda x, f=indexed: f(x, 2, padding=1), shape)
add("max_pool2d", lambda x: functional.max_pool2d(x, (2, 3), dilation=2), (2, 2, 6, 7))
add(
    "avg_pool2d",
    lambda x: functional.avg_pool2d(x, 3, padding=1, count_include_pad=False),
    (2, 2, 6, 7),
)
add("avg_pool2d", lambda x: functional.avg_pool2d(x, 3, divisor_override=5), (2, 2, 6, 7))
add("_adaptive_avg_pool2d", lambda x: aten._adaptive_avg_pool2d(x, [2, 3]), (2, 2, 6, 7))
add("_adaptive_avg_pool3d", lambda x: aten._adaptive_avg_pool3d(x, [2, 3, 2]), (1, 2, 4, 5, 4))

# ------------------------------------------------------------------ recurrent
for name, gates in (("lstm", 4), ("gru", 3), ("rnn_tanh", 1), ("rnn_relu", 1)):

    def layer(x: torch.Tensor, h: torch.Tensor, *, n: str = name, g: int = gates) -> Any:
        tensors = [weights(3 * g, k, seed=s) for s, k in enumerate((2, 3))] + [
            weights(3 * g, seed=2),
            weights(3 * g, seed=3),
        ]
        state = [h, h.tanh()] if n == "lstm" else h
        return getattr(torch, n)(x, state, tensors, True, 1, 0.0, False, False, True)

    def cell(x: torch.Tensor, h: torch.Tensor, *, n: str = name, g: int = gates) -> Any:
        state = (h, h.tanh()) if n == "lstm" else h
        pair = weights(3 * g, 2), weights(3 * g, 3)
        return getattr(torch, f"{n}_cell")(x, state, *pair, weights(3 * g), weights(3 * g))

    add(name, layer, (2, 4, 2), (1, 2, 3))
    add(f"{name}_cell", cell, (2, 2), (2, 3))

# ------------------------------------------------------------------ reductions
for name in ["sum", "mean", "amax", "amin", "std", "var", "prod", "logsumexp", "any", "all"]:
    function = getattr(torch, name)
    if name not in {"prod", "any", "all", "logsumexp"}:
        add(name, lambda x, f=function: f(x, (0, 2), keepdim=True))
    add(name, lambda x, f=function: f(x.round() if f in {torch.any, torch.all} else x, 1))
    if name != "logsumexp":
        add(name, lambda x, f=function: f(x))
add("sum", lambda x: (x > 0).sum(1))
add("var", lambda x: torch.var(x, 1, unbiased=False))
add("std", lambda x: torch.std(x, 1, correction=0.5))
add("var_mean", lambda x: torch.var_mean(x, 1))
add("std_mean", lambda x: torch.std_mean(x, (0, 1), keepdim=True))
add("aminmax", lambda x: torch.aminmax(x, dim=1, keepdim=True))
for name in ("max", "min"):
    function = getattr(torch, name)
    add(name, lambda x, f=function: f(x))
    add(name, lambda x, f=function: f(x, 1))
    add(name, lambda x, y, f=function: f(x, y), (2, 3), (3,))
    for kind in (f"arg{name}", f"cum{name}"):
        function = getattr(torch, kind)
        add(kind, lambda x, f=function: f(x, 1))
add("argmax", lambda x: x.argmax())
add("argmin", lambda x: x.argmin(keepdim=True))
for order in (0, 1, 2, 3.5, torch.inf, -torch.inf):
    add("linalg_vector_norm", lambda x, p=order: torch.linalg.vector_norm(x, p, dim=1))
add("norm", lambda x: aten.norm(x, 3.0, [1], True))
add("norm", lambda x: aten.norm(x))
add("count_nonzero", lambda x: torch.count_nonzero(x.round(), 1))
for name in ["cumsum", "cumprod", "logcumsumexp"]:
    add(name, lambda x, n=name: getattr(torch, n)(x, 1))
add("topk", lambda x: x.topk(2, 1))
add("topk", lambda x: x.topk(2, largest=False))
add("sort", lambda x: x.sort(1))
add("sort", lambda x: x.sort(2, descending=True))
add("argsort", lambda x: x.argsort(1))
add("kthvalue", lambda x: x.kthvalue(2, 1))
add("median", lambda x: x.median())
add("median", lambda x: x.median(1, keepdim=True))
add("trace", torch.trace, (3, 4))
add("renorm", lambda x: torch.renorm(x, 2, 1, 0.9))

# ------------------------------------------------------------------ moving entries
add("view", lambda x: x.view(4, 6))
add("_unsafe_view", lambda x: aten._unsafe_view(x, [6, 4]))
add("squeeze", lambda x: x.squeeze(1), (2, 1, 3))
add("unsqueeze", lambda x: x.unsqueeze(1))
add("permute", lambda x: x.permute(2, 0, 1))
add("transpose", lambda x: x.transpose(0, 2))
add("t", lambda x: x.t(), (2, 3))
add("expand", lambda x: x.expand(5, 3, 4), (1, 3, 4))
add("broadcast_tensors", lambda x, y: torch.broadcast_tensors(x, y), (2, 1), (3,))
add("cat", lambda x, y: torch.cat([x, weights(2, 3, 1), y], -1), (2, 3, 2), (2, 3, 4))
add("stack", lambda x, y: torch.stack([x, y], 1), (2, 3), (2, 3))
add("slice", lambda x: x[:, -2:, ::2])
add("select", lambda x: x[:, -1])
add("split", lambda x: x.split(3, 2))
add("unsafe_split", lambda x: torch.unsafe_split(x, 3, 2))
add("split_with_sizes", lambda x: x.split([1, 3], 2))
add("unbind", lambda x: x.unbind(1))
add("constant_pad_nd", lambda x: aten.constant_pad_nd(x, [1, 2, -1, 0], 0.5))
for mode in ("constant", "reflect", "replicate", "circular"):
    add("pad", lambda x, m=mode: functional.pad(x, (2, 1), mode=m), (2, 3, 4))
    add("pad", lambda x, m=mode: functional.pad(x, (1, 2, 0, 1), mode=m), (2, 3, 4, 3))
add("flip", lambda x: x.flip(0, 2))
add("roll", lambda x: x.roll((1, 2), (0, 2)))
add("rot90", lambda x: x.rot90(1, (1, 2)))
add("repeat", lambda x: x.repeat(2, 1, 3, 1))
add("repeat_interleave", lambda x: x.repeat_interleave(2, 1))
add("pixel_shuffle", lambda x: functional.pixel_shuffle(x, 2), (1, 4, 2, 3))
add("pixel_unshuffle", lambda x: functional.pixel_unshuffle(x, 2), (1, 1, 4, 6))
add("channel_shuffle", lambda x: functional.channel_shuffle(x, 2), (1, 4, 2, 2))
add("unfold", lambda x: x.unfold(2, 2, 1))
add("diagonal", lambda x: x.diagonal(0, 1, 2))
for name, extra in (("reflection", (2, 3)), ("replication", (2, 3))):
    for rank in (1, 2, 3):
        function = getattr(aten, f"{name}_pad{rank}d")
        pads = [1, 2, 1, 0, 0, 1][: 2 * rank]
        add(f"{name}_pad{rank}d", lambda x, f=function, p=pads: f(x, p), (*extra, *(4,) * rank))
add("as_strided", lambda x: x.as_strided((2, 2), (3, 1), 1))
add("im2col", lambda x: functional.unfold(x, 2, padding=1, stride=2), (2, 2, 4, 5))
add("col2im", lambda x: functional.fold(x, (4, 5), 2, padding=1), (2, 8, 30))
add("tril", lambda x: x.tril(-1))
add("triu", lambda x: x.triu(1))
add("diag_embed", lambda x: x.diag_embed(1))
add("diag", lambda x: x.diag(), (3,))
add("diag", lambda x: x.diag(1), (3, 4))
add("zeros_like", lambda x: x + torch.zeros_like(x))
add("ones_like", lambda x: x + torch.ones_like(x))
add("full_like", lambda x: x + torch.full_like(x, 1.5))
add("new_zeros", lambda x: x + x.new_zeros(4))
add("new_ones", lambda x: x + x.new_ones(4))
add("new_full", lambda x: x + x.new_full((4,), 2.5))

# ------------------------------------------------------------------ interpolation
for rank, smooth in ((1, "linear"), (2, "bilinear"), (3, "trilinear")):
    shape = (1, 2, *(3, 4, 2)[:rank])
    add(f"upsample_nearest{rank}d", lambda x: functional.interpolate(x, scale_factor=2.5), shape)
    add(
        f"_upsample_nearest_exact{rank}d",
        lambda x: functional.interpolate(x, scale_factor=1.7, mode="nearest-exact"),
        shape,
    )
    op = f"upsample_{smooth}{rank}d"
    add(op, lambda x, m=smooth: functional.interpolate(x, scale_factor=1.7, mode=m), shape)
    add(op, lambda x, m=smooth, r=rank: functional.interpolate(x, (5, 7, 3)[:r], mode=m), shape)
    add(
        op,
        lambda x, m=smooth: functional.interpolate(x, scale_factor=2, mode=m, align_corners=True),
        shape,
    )
add("upsample_bicubic2d", lambda x: functional.interpolate(x, (5, 7), mode="bicubic"), (1, 2, 3, 4))
for smooth in ("bilinear", "bicubic"):
    add(
        f"_upsample_{smooth}2d_aa",
        lambda x, m=smooth: functional.interpolate(x, (3, 4), mode=m, antialias=True),
        (1, 1, 7, 8),
    )

# ------------------------------------------------------------------ operators that are refused
GRID = (1, 2, 2, 2)
SAMPLES = weights(1, 1, 2).abs()
REFUSED: dict[str, Case] = {
    case.op: case
    for case in (
        Case("nan_to_num", torch.nan_to_num),
        Case("scatter_reduce", lambda x: x.scatter_reduce(1, INDEX, x, "amax"), ((2, 3),)),
        Case(
            "max_unpool2d",
            lambda x: functional.max_unpool2d(*functional.max_pool2d(x, 2, return_indices=True), 2),
            ((1, 1, 4, 4),),
        ),
        Case(
            "max_unpool3d",
            lambda x: functional.max_unpool3d(*functional.max_pool3d(x, 2, return_indices=True), 2),
            ((1, 1, 4, 4, 4),),
        ),
        Case(
            "fractional_max_pool2d",
            lambda x: functional.fractional_max_pool2d(x, 2, 2, _random_samples=SAMPLES),
            ((1, 1, 5, 5),),
        ),
        Case(
            "fractional_max_pool3d",
            lambda x: functional.fractional_max_pool3d(
                x, 2, 2, _random_samples=SAMPLES[:, :, [0, 1, 1]]
            ),
            ((1, 1, 5, 5, 5),),
        ),
        Case(
            "grid_sampler",
            lambda x, g: functional.grid_sample(x, g, align_corners=False),
            ((1, 1, 3, 3), GRID),
        ),
        Case(
            "grid_sampler_2d",
            lambda x, g: aten.grid_sampler_2d(x, g, 0, 0, False),
            ((1, 1, 3, 3), GRID),
        ),
        Case(
            "grid_sampler_3d",
            lambda x, g: aten.grid_sampler_3d(x, g, 0, 0, False),
            ((1, 1, 3, 3, 3), (1, 2, 2, 2, 3)),
        ),
        Case(
            "affine_grid_generator",
            lambda x: functional.affine_grid(x, [1, 1, 3, 3], align_corners=False),
            ((1, 2, 3),),
        ),
    )
}
