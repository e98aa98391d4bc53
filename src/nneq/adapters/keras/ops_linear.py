"""Matrix products, einsum, convolutions and pooling of ``keras.ops``."""

from __future__ import annotations

import math
import string
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from nneq.adapters.keras import graph
from nneq.adapters.keras.registry import layer, operation
from nneq.adapters.keras.tracing import trace
from nneq.errors import UnsupportedError
from nneq.ir import linear_map as lm
from nneq.lowering import Value
from nneq.lowering.pooling import average_pool, max_pool

if TYPE_CHECKING:
    from nneq.adapters.keras.walk import Walk

__all__ = ["channels_first", "channels_last_axis", "einsum", "from_channels_first", "same_pads"]

Array = np.ndarray[Any, Any]


# ---------------------------------------------------------------------- products
@operation("Matmul")
def _matmul(walk: Walk, _: Any, x1: Any, x2: Any) -> Value:
    return walk.b.matmul(walk.value(x1), walk.value(x2))


@operation("Einsum")
def _einsum(walk: Walk, op: Any, *operands: Any, **_: Any) -> Value:
    return einsum(walk, op.subscripts, [walk.value(x) for x in operands])


def einsum(walk: Walk, subscripts: str, operands: Sequence[Value]) -> Value:
    """Return ``numpy.einsum`` with ellipsis, implicit output and repeated letters."""
    b = walk.b
    text = subscripts.replace(" ", "")
    ins, _, out = text.partition("->")
    terms = ins.split(",")
    if "->" not in text:
        letters = [c for c in "".join(terms) if c.isalpha()]
        single = sorted(c for c in set(letters) if letters.count(c) == 1)
        out = ("..." if "..." in ins else "") + "".join(single)
    free = iter(c for c in string.ascii_letters if c not in text)
    wide = max(
        (len(x.shape) - len(t.replace("...", "")))
        for t, x in zip(terms, operands, strict=True)
        if "..." in t
    ) if "..." in ins else 0  # fmt: skip
    dots = "".join(next(free) for _ in range(wide))
    values = []
    for k, (term, x) in enumerate(zip(terms, operands, strict=True)):
        own = len(x.shape) - len(term.replace("...", ""))
        terms[k] = term.replace("...", dots[wide - own :] if own else "")
        value, terms[k] = _diagonal_of_repeats(walk, x, terms[k])
        values.append(value)
    out = out.replace("...", dots)
    sizes: dict[str, int] = {}
    for term, x in zip(terms, values, strict=True):
        for letter, size in zip(term, x.shape, strict=True):
            sizes[letter] = max(sizes.get(letter, 1), size)
    for k, (term, x) in enumerate(zip(terms, values, strict=True)):
        values[k] = b.broadcast_to(x, [sizes[c] for c in term])
    value, term = values[0], terms[0]
    for k in range(1, len(values)):
        later = "".join(terms[k + 1 :]) + out
        kept = "".join(dict.fromkeys(c for c in term + terms[k] if c in later))
        value = b.einsum(f"{term},{terms[k]}->{kept}", value, values[k])
        term = kept
    gone = [k for k, c in enumerate(term) if c not in out]
    value = b.sum(value, gone) if gone else value
    term = "".join(c for c in term if c in out)
    return b.permute(value, [term.index(c) for c in out])


def _diagonal_of_repeats(walk: Walk, x: Value, term: str) -> tuple[Value, str]:
    if len(set(term)) == len(term):
        return x, term
    plain = "".join(dict.fromkeys(term))
    places = np.arange(x.size).reshape(x.shape)
    index = np.einsum(f"{term}->{plain}", places)
    return walk.b.take(x, np.ascontiguousarray(index)), plain


@operation("Dot")
def _dot(walk: Walk, _: Any, x1: Any, x2: Any) -> Value:
    b = walk.b
    left, right = walk.value(x1), walk.value(x2)
    if not left.shape or not right.shape:
        return b.multiply(left, right)
    axis = max(len(right.shape) - 2, 0)
    return _tensordot(walk, left, right, [len(left.shape) - 1], [axis])


@operation("Tensordot")
def _tensordot_op(walk: Walk, op: Any, x1: Any, x2: Any) -> Value:
    left, right = walk.value(x1), walk.value(x2)
    axes = op.axes
    if isinstance(axes, int):
        first = list(range(len(left.shape) - axes, len(left.shape)))
        second = list(range(axes))
    else:
        first, second = ([a] if isinstance(a, int) else list(a) for a in axes)
    return _tensordot(walk, left, right, first, second)


def _tensordot(
    walk: Walk, left: Value, right: Value, first: Sequence[int], second: Sequence[int]
) -> Value:
    letters = iter(string.ascii_letters)
    one = [next(letters) for _ in left.shape]
    two = [next(letters) for _ in right.shape]
    for a, c in zip(first, second, strict=True):
        two[c] = one[a]
    out = [c for c in one if c not in two] + [c for c in two if c not in one]
    return walk.b.einsum(f"{''.join(one)},{''.join(two)}->{''.join(out)}", left, right)


@operation("Outer", "Vdot", "Inner")
def _flat_products(walk: Walk, op: Any, x1: Any, x2: Any) -> Value:
    b = walk.b
    left, right = walk.value(x1), walk.value(x2)
    match type(op).__name__:
        case "Outer":
            return b.matmul(b.reshape(left, (left.size, 1)), b.reshape(right, (1, right.size)))
        case "Vdot":
            return b.matmul(b.reshape(left, (left.size,)), b.reshape(right, (right.size,)))
        case _:
            if not left.shape or not right.shape:
                return b.multiply(left, right)
            last = (len(left.shape) - 1, len(right.shape) - 1)
            return _tensordot(walk, left, right, [last[0]], [last[1]])


# ---------------------------------------------------------------------- channels
def channels_last_axis(data_format: Any) -> bool:
    """Return whether the channels stand last."""
    name = data_format if data_format is not None else keras.config.image_data_format()
    return str(name) == "channels_last"


def channels_first(walk: Walk, x: Value, data_format: Any) -> Value:
    """Return ``(N, C, *spatial)``."""
    if not channels_last_axis(data_format):
        return x
    rank = len(x.shape)
    return walk.b.permute(x, (0, rank - 1, *range(1, rank - 1)))


def from_channels_first(walk: Walk, x: Value, data_format: Any) -> Value:
    """Return ``(N, C, *spatial)`` in the model's own order."""
    if not channels_last_axis(data_format):
        return x
    rank = len(x.shape)
    return walk.b.permute(x, (0, *range(2, rank), 1))


def spread(setting: Any, rank: int) -> tuple[int, ...]:
    """Return one number per spatial axis."""
    if isinstance(setting, int):
        return (setting,) * rank
    found = tuple(int(s) for s in setting)
    return found * rank if len(found) == 1 else found


def same_pads(
    sizes: Sequence[int], kernel: Sequence[int], strides: Sequence[int], dilations: Sequence[int]
) -> tuple[tuple[int, int], ...]:
    """Return TensorFlow's ``same`` padding: the odd zero goes behind."""
    pads = []
    for size, k, s, d in zip(sizes, kernel, strides, dilations, strict=True):
        count = -(-size // s)
        total = max((count - 1) * s + d * (k - 1) + 1 - size, 0)
        pads.append((total // 2, total - total // 2))
    return tuple(pads)


def _pads(
    padding: str, x: Value, kernel: Sequence[int], strides: Sequence[int], gaps: Sequence[int]
) -> tuple[tuple[int, int], ...]:
    match padding.lower():
        case "valid":
            return ((0, 0),) * len(kernel)
        case "same":
            return same_pads(x.shape[2:], kernel, strides, gaps)
        case "causal":
            return tuple((d * (k - 1), 0) for k, d in zip(kernel, gaps, strict=True))
        case _:
            msg = f"the padding {padding!r} is not known"
            raise UnsupportedError(msg)


# ---------------------------------------------------------------------- convolutions
def _convolve(walk: Walk, op: Any, x: Value, weight: Array, groups: int) -> Value:
    """Convolve ``(N, C, *spatial)`` with ``(C_out, C_in / groups, *kernel)``."""
    rank = weight.ndim - 2
    strides, gaps = spread(op.strides, rank), spread(op.dilation_rate, rank)
    pads = _pads(op.padding, x, weight.shape[2:], strides, gaps)
    return walk.b.conv(x, weight, strides=strides, dilations=gaps, pads=pads, groups=groups)


def _kernel_first(kernel: Array) -> Array:
    """Return a ``(*kernel, C_in, C_out)`` kernel as a view ``(C_out, C_in, *kernel)``."""
    rank = kernel.ndim - 2
    return kernel.transpose(rank + 1, rank, *range(rank))


def _depthwise_first(kernel: Array) -> Array:
    """Return a ``(*kernel, C, multiplier)`` kernel as ``(C * multiplier, 1, *kernel)``."""
    rank = kernel.ndim - 2
    turned = kernel.transpose(rank, rank + 1, *range(rank))
    return turned.reshape(kernel.shape[-2] * kernel.shape[-1], 1, *kernel.shape[:rank])


@operation("Conv")
def _conv(walk: Walk, op: Any, inputs: Any, kernel: Any) -> Value:
    x = channels_first(walk, walk.value(inputs), op.data_format)
    weight = _kernel_first(walk.array(kernel))
    out = _convolve(walk, op, x, weight, x.shape[1] // weight.shape[1])
    return from_channels_first(walk, out, op.data_format)


@operation("DepthwiseConv")
def _depthwise(walk: Walk, op: Any, inputs: Any, kernel: Any) -> Value:
    x = channels_first(walk, walk.value(inputs), op.data_format)
    out = _convolve(walk, op, x, _depthwise_first(walk.array(kernel)), x.shape[1])
    return from_channels_first(walk, out, op.data_format)


@operation("SeparableConv")
def _separable(walk: Walk, op: Any, inputs: Any, depthwise: Any, pointwise: Any) -> Value:
    x = channels_first(walk, walk.value(inputs), op.data_format)
    middle = _convolve(walk, op, x, _depthwise_first(walk.array(depthwise)), x.shape[1])
    weight = _kernel_first(walk.array(pointwise))
    rank = weight.ndim - 2
    ones = (1,) * rank
    out = walk.b.conv(middle, weight, strides=ones, dilations=ones, pads=((0, 0),) * rank)
    return from_channels_first(walk, out, op.data_format)


@operation("ConvTranspose")
def _conv_transpose(walk: Walk, op: Any, inputs: Any, kernel: Any) -> Value:
    x = channels_first(walk, walk.value(inputs), op.data_format)
    weight = _kernel_first(walk.array(kernel))
    rank = weight.ndim - 2
    strides, gaps = spread(op.strides, rank), spread(op.dilation_rate, rank)
    pads = [
        _transpose_pads(x.shape[2 + k], weight.shape[2 + k], strides[k], gaps[k], op, k)
        for k in range(rank)
    ]
    sizes = [
        (n - 1) * s + d * (k - 1) + 1 - before - after
        for n, s, d, k, (before, after) in zip(
            x.shape[2:], strides, gaps, weight.shape[2:], pads, strict=True
        )
    ]
    # `weight` is the kernel of the forward convolution whose adjoint this is.
    channels = weight.shape[1]
    grown = [(max(0, before), max(0, after)) for before, after in pads]
    inner = [
        s + min(0, before) + min(0, after) for s, (before, after) in zip(sizes, pads, strict=True)
    ]
    forward = lm.Conv(weight, (x.shape[0], channels, *inner), strides, gaps, tuple(grown))
    out = walk.b.linear(x, lm.ConvTranspose(forward))
    missing = [(max(0, -before), max(0, -after)) for before, after in pads]
    out = walk.b.pad(out, [(0, 0), (0, 0), *missing])
    return from_channels_first(walk, out, op.data_format)


def _transpose_pads(
    size: int, kernel: int, stride: int, gap: int, op: Any, axis: int
) -> tuple[int, int]:
    """Return what a transposed convolution cuts off its full result; negative adds zeros."""
    extra = op.output_padding
    if extra is not None and not isinstance(extra, int):
        extra = extra[axis]
    full = (size - 1) * stride + gap * (kernel - 1) + 1
    wide = gap * (kernel - 1) + 1
    if extra is None:
        out = size * stride if op.padding == "same" else size * stride + max(wide - stride, 0)
    else:
        pad = wide // 2 if op.padding == "same" else 0
        out = (size - 1) * stride + wide - 2 * pad + extra
    total = full - out
    before = total // 2 if op.padding == "same" and total > 0 else 0
    if keras.backend.backend() == "torch":
        return _torch_crops(size, kernel, stride, gap, op.padding, extra)
    return before, total - before


def _torch_crops(
    size: int, kernel: int, stride: int, gap: int, padding: str, extra: int | None
) -> tuple[int, int]:
    """Return what the torch backend cuts off; it differs from TensorFlow's for some strides."""
    from keras.src.backend.common import backend_utils

    crops = getattr(backend_utils, "compute_conv_transpose_output_crops_for_torch", None)
    if crops is not None:
        left, right = crops((1, size, 1), (kernel, 1, 1), stride, padding, extra, gap)[0]
        return int(left), int(right)
    # Keras before 3.15 hands torch a symmetric padding and an output padding behind; how, only its
    # own private function says.
    convert = backend_utils._convert_conv_transpose_padding_args_from_keras_to_torch  # noqa: SLF001
    pad, more = convert(kernel, stride, gap, padding, extra)
    return int(pad), int(pad - min(more, max(0, stride - 1)))


# ---------------------------------------------------------------------- pooling
@operation("MaxPool", "AveragePool")
def _pool(walk: Walk, op: Any, inputs: Any) -> Value:
    x = channels_first(walk, walk.value(inputs), op.data_format)
    rank = len(x.shape) - 2
    kernel = spread(op.pool_size, rank)
    strides = kernel if op.strides is None else spread(op.strides, rank)
    pads = _pads(op.padding, x, kernel, strides, (1,) * rank)
    if type(op).__name__ == "MaxPool":
        out = max_pool(walk.b, x, kernel, strides, pads)
    elif keras.backend.backend() == "torch" and any(a != c for a, c in pads):
        # The torch backend repeats the edge where the padding is lopsided, and counts it.
        edges = [(0, 0), (0, 0), *pads]
        grown = walk.move(x, lambda a: np.pad(a, edges, mode="edge"))
        out = average_pool(walk.b, grown, kernel, strides)
    else:
        out = average_pool(walk.b, x, kernel, strides, pads)
    return from_channels_first(walk, out, op.data_format)


@operation("AdaptiveMaxPool", "AdaptiveAveragePool")
def _adaptive_pool(walk: Walk, op: Any, inputs: Any) -> Value:
    b = walk.b
    x = channels_first(walk, walk.value(inputs), op.data_format)
    most = type(op).__name__ == "AdaptiveMaxPool"
    for axis, count in enumerate(spread(op.output_size, len(x.shape) - 2), start=2):
        size = x.shape[axis]
        parts = []
        for k in range(count):
            low, high = math.floor(k * size / count), math.ceil((k + 1) * size / count)
            window = b.slice_axis(x, axis, low, high - low)
            reduce = b.max if most else b.mean
            parts.append(reduce(window, (axis,), keepdims=True))
        x = b.concat(parts, axis)
    return from_channels_first(walk, x, op.data_format)


# ---------------------------------------------------------------------- grouped layers
@layer("Conv1D", "Conv2D", "Conv3D")
def _conv_layer(walk: Walk, conv: Any, inputs: Any) -> Any:
    """Write a convolution layer; Keras' symbolic form refuses groups, so it is read here."""
    b = walk.b
    x = channels_first(walk, walk.value(inputs), conv.data_format)
    weight = _kernel_first(walk.array(conv.kernel))
    out = _convolve(walk, conv, x, weight, conv.groups)
    if conv.use_bias:
        bias = walk.value(conv.bias)
        out = b.add(out, b.reshape(bias, (bias.size, *(1,) * conv.rank)))
    out = from_channels_first(walk, out, conv.data_format)
    if conv.activation is None:
        return out
    return trace(walk, graph.traceable(conv.activation), (out,), {})
