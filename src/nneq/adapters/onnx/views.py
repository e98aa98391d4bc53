"""Repeated constants stay views; what filling them would take is counted first."""

from __future__ import annotations

from collections.abc import Sequence

from onnx import NodeProto

from nneq.adapters.onnx.limits import MAX_CONSTANT, check_size
from nneq.lowering import Value

__all__ = ["check_views", "held_extents", "largest_stored"]


def largest_stored(inputs: Sequence[Value | None]) -> int:
    """Return how large the largest constant operand is (a weight of the file may be large)."""
    return max((v.size for v in inputs if v is not None and v.array is not None), default=0)


def held_extents(value: Value) -> list[int]:
    """Return the extents of a constant that take memory (a broadcast axis takes none)."""
    if value.array is None:
        return list(value.shape)
    pairs = zip(value.array.shape, value.array.strides, strict=True)
    return [size if stride else min(size, 1) for size, stride in pairs]


_KEEP_VIEWS = {
    "BatchNormalization", "Cast", "Conv", "ConvTranspose", "Dropout", "Expand", "Flatten", "Gemm",
    "Identity", "MatMul", "Reshape", "Shape", "Size", "Slice", "Split", "Squeeze", "Transpose",
    "Unsqueeze",
}  # fmt: skip


def check_views(node: NodeProto, inputs: Sequence[Value | None]) -> None:
    """Refuse to fill in a huge repeated constant; operators that keep it a view may take it.

    Raises:
        UnsupportedError: when the operator would write every entry of it.
    """
    for value in inputs:
        if value is None or value.array is None or value.size <= MAX_CONSTANT:
            continue
        strides = [s for s, n in zip(value.array.strides, value.shape, strict=True) if n != 1]
        if all(strides) or (node.op_type in _KEEP_VIEWS and not any(strides)):
            continue
        check_size(value.shape, MAX_CONSTANT, "the repeated constant")
