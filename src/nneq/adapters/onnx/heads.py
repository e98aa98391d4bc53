"""Which outputs become equations: scores stay, label heads beside them are left out and said so."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from onnx import ModelProto, NodeProto, TensorProto, ValueInfoProto

from nneq.errors import UnsupportedError

__all__ = ["Head", "Heads", "find_heads"]

_ML = "ai.onnx.ml"
_INTEGERS = {TensorProto.INT64, TensorProto.INT32}
_MOVES = {"Cast", "Identity", "Reshape", "Squeeze", "Unsqueeze", "Flatten"}


@dataclass(frozen=True)
class Head:
    """One output that is kept.

    Args:
        tensor: the value in the graph that is read.
        name: the output's name in the file.
        code: its ONNX element type, or None when not declared.
        batched: whether its declared axis 0 can be a batch axis (symbolic or 1).
        classes: labels of its entries.
    """

    tensor: str
    name: str
    code: int | None
    batched: bool
    classes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Heads:
    """The outputs that are kept, and what a user must know about the others."""

    outputs: tuple[Head, ...]
    notes: tuple[str, ...]


def find_heads(model: ModelProto) -> Heads:
    """Return the outputs of a model that become equations.

    A probability map (``ZipMap``) is read before the map is made.  A label (text, or an integer
    taken from class labels) beside numeric scores is left out: it is their argmax.

    Raises:
        UnsupportedError: when only labels are left.
    """
    makers = {name: node for node in model.graph.node for name in node.output if name}
    heads, labels = [], []
    for port in model.graph.output:
        maker = makers.get(port.name)
        if maker is not None and maker.op_type == "ZipMap" and maker.input:
            heads.append(Head(maker.input[0], port.name, None, True, _classes(maker)))
        elif _is_label(port, makers):
            labels.append(port)
        else:
            heads.append(_plain(port, makers))
    notes = []
    if labels and heads:
        names = ", ".join(repr(port.name[:60]) for port in labels)
        notes.append(f"the label output {names} was left out: it is the class of the largest score")
    elif labels:
        heads = [_plain(port, makers) for port in labels]
        if any(_is_text(port) for port in labels):
            msg = "its only output is text; export it with its scores (probabilities) as output"
            raise UnsupportedError(msg)
    return Heads(tuple(heads), tuple(notes))


def _plain(port: ValueInfoProto, makers: Mapping[str, NodeProto]) -> Head:
    kind = port.type.WhichOneof("value")
    tensor = port.type.tensor_type
    code = tensor.elem_type if kind == "tensor_type" and tensor.elem_type else None
    batched = True
    if kind == "tensor_type" and tensor.HasField("shape"):
        dims = tensor.shape.dim
        symbolic = bool(dims) and dims[0].WhichOneof("value") != "dim_value"
        batched = bool(dims) and (symbolic or dims[0].dim_value <= 1)
    maker = makers.get(port.name)
    classes: tuple[str, ...] = ()
    maker = _before_moves(maker, makers, _MOVES | {"Normalizer"})
    if maker is not None and maker.op_type == "LinearClassifier":
        classes = _classes(maker)
    return Head(port.name, port.name, code, batched, classes)


def _before_moves(
    node: NodeProto | None, makers: Mapping[str, NodeProto], moves: set[str]
) -> NodeProto | None:
    """Return the node behind operators that only move entries (a cycle of them ends the search)."""
    for _ in range(100):
        if node is None or node.op_type not in moves or not node.input:
            return node
        node = makers.get(node.input[0])
    return None


def _classes(node: NodeProto) -> tuple[str, ...]:
    for found in node.attribute:
        if found.name in {"classlabels_int64s", "classlabels_ints"} and found.ints:
            return tuple(str(value) for value in found.ints)
        if found.name == "classlabels_strings" and found.strings:
            return tuple(value.decode("utf-8", "replace") for value in found.strings)
    return ()


def _is_text(port: ValueInfoProto) -> bool:
    return bool(port.type.tensor_type.elem_type == TensorProto.STRING)


def _is_label(port: ValueInfoProto, makers: Mapping[str, NodeProto]) -> bool:
    """Whether an output is text, or an integer that comes from a table of class labels."""
    if port.type.WhichOneof("value") != "tensor_type":
        return False
    if _is_text(port):
        return True
    if port.type.tensor_type.elem_type not in _INTEGERS:
        return False
    node = _before_moves(makers.get(port.name), makers, _MOVES)
    return (
        node is not None
        and node.domain == _ML
        and node.op_type
        in {
            "ArrayFeatureExtractor", "LabelEncoder", "LinearClassifier", "SVMClassifier",
            "TreeEnsembleClassifier",
        }
    )  # fmt: skip
