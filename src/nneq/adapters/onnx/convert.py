"""From a parsed ONNX model to a network, with the package's reference forward beside it."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from onnx import ModelProto, TensorProto

from nneq.adapters.base import Imported
from nneq.adapters.onnx import operators as _operators
from nneq.adapters.onnx import schema as schemas
from nneq.adapters.onnx.heads import Heads, find_heads
from nneq.adapters.onnx.ports import InputSpec, input_specs, labelled
from nneq.adapters.onnx.read import parse, read_model
from nneq.adapters.onnx.reference import Runner
from nneq.adapters.onnx.structure import check_expansion, needed, ordered
from nneq.adapters.onnx.tensors import element_dtype, tensor_to_array
from nneq.adapters.onnx.upgrade import upgraded
from nneq.adapters.onnx.walk import Scope, Walk
from nneq.errors import NneqError, UnsupportedError, problems_message
from nneq.ir import Affine, Constant, Network, Softmax, Source
from nneq.lowering import Builder, Value
from nneq.passes import tidy

__all__ = ["import_bytes", "import_model"]

Array = np.ndarray[Any, Any]
Examples = Sequence[Any] | Mapping[str, Any] | None

_WAY_OUT = (
    "what to do: export the model again without these operators (opset 17 or newer, inference "
    "mode), or cut it before them with onnx.utils.extract_model"
)

_CORRECT = (
    "what to do: correct the named nodes (onnx.checker.check_model may say more), or export the "
    "model again"
)


def import_bytes(
    data: bytes,
    *,
    label: str = "<stdin>",
    example_inputs: Examples = None,
    input_names: Sequence[str] | None = None,
    output_names: Sequence[str] | None = None,
) -> Imported:
    """Return the network of a model given as bytes; see :func:`import_model`."""
    model = parse(data, label)
    return _imported(model, _Origin(label), example_inputs, input_names, output_names)


def import_model(
    model: ModelProto | str | os.PathLike[str],
    *,
    example_inputs: Examples = None,
    input_names: Sequence[str] | None = None,
    output_names: Sequence[str] | None = None,
) -> Imported:
    """Return the network of an ONNX model and the package's reference forward.

    Args:
        model: a model, or the path of a file.
        example_inputs: arrays in the order of the inputs, or by name; needed where an extent other
            than the batch axis is symbolic.
        input_names: names of the input entries ``x_1 ... x_n`` (features), or of the tensors.
        output_names: names of the output entries ``z_1 ... z_m`` (classes), or of the tensors.

    Returns:
        The network computes the real-number function of the stored weights (exact lowering); the
        reference computes in the model's own element types.

    Raises:
        NneqError: when the file or the graph is not valid; every problem is named.
        UnsupportedError: when nodes are outside what nneq does; every one is named.
    """
    if isinstance(model, ModelProto):
        label = model.graph.name or "the ONNX model"
        return _imported(model, _Origin(label), example_inputs, input_names, output_names)
    path = Path(model)
    stamp = _stamp(path)
    found = read_model(path)

    def reread() -> ModelProto:
        if _stamp(path) != stamp:
            msg = f"{str(path)!r} has changed since it was read; import it again"
            raise NneqError(msg)
        return upgraded(read_model(path))

    origin = _Origin(str(path), path.parent, reread)
    return _imported(found, origin, example_inputs, input_names, output_names)


@dataclass(frozen=True)
class _Origin:
    """Where a model came from: its label, its folder, and how to read it once more."""

    label: str
    folder: Path | None = None
    reread: Callable[[], ModelProto] | None = None


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except (OSError, ValueError):
        return None
    return found.st_size, found.st_mtime_ns


def _opsets(model: ModelProto, label: str) -> dict[str, int]:
    found = {("" if o.domain == "ai.onnx" else o.domain): o.version for o in model.opset_import}
    if not found:
        found = {"": 1}
    problems = []
    for domain, version in found.items():
        newest = schemas.newest_opset(domain)
        if newest is not None and version > newest:
            problems.append(
                f"opset {version} of {domain or 'ai.onnx'} is newer than the installed onnx "
                f"package, which knows {newest}: upgrade onnx"
            )
        elif version < 1:
            problems.append(f"opset {version} of {domain or 'ai.onnx'} does not exist")
    if problems:
        raise UnsupportedError(problems_message(f"cannot read {label!r}", problems))
    return found


def _imported(
    model: ModelProto,
    origin: _Origin,
    example_inputs: Examples,
    input_names: Sequence[str] | None,
    output_names: Sequence[str] | None,
) -> Imported:
    try:
        return _converted(model, origin, example_inputs, input_names, output_names)
    except UnsupportedError as error:
        raise UnsupportedError(_about(origin.label, error)) from None
    except NneqError as error:
        raise NneqError(_about(origin.label, error)) from None


def _about(label: str, error: NneqError) -> str:
    text = str(error)
    return text if repr(label) in text else f"cannot read {label!r}: {text}"


def _converted(
    model: ModelProto,
    origin: _Origin,
    example_inputs: Examples,
    input_names: Sequence[str] | None,
    output_names: Sequence[str] | None,
) -> Imported:
    label, folder, reread = origin.label, origin.folder, origin.reread
    if not model.graph.output:
        msg = "the graph has no output; a network needs at least one"
        raise NneqError(msg)
    _opsets(model, label)
    functions = {(_standard(f.domain), f.name, f.overload): f for f in model.functions}
    check_expansion(model, functions)
    model = upgraded(model)
    opsets = _opsets(model, label)
    _check_names(model)
    specs = input_specs(model, example_inputs)
    heads = find_heads(model)
    builder = Builder()
    walk = Walk(builder, functions, _stored_reader(builder, folder))
    scope = Scope()
    walk.codes = {port.name: port.type.tensor_type.elem_type for port in model.graph.input}
    walk.add_stored(model.graph, scope)
    for spec in specs:
        scope.values[spec.label] = _input(builder, spec)
    nodes = ordered(model.graph.node, scope.names(), f"the graph of {label!r}")
    values = _outputs(walk, nodes, scope, opsets, heads)
    if walk.problems:
        kind = NneqError if walk.malformed else UnsupportedError
        headline = f"cannot read {label!r} as equations"
        remedy = _CORRECT if walk.malformed else _WAY_OUT
        raise kind(problems_message(headline, walk.problems, remedy))
    batched = [spec.batched for spec in specs]
    network = _network(builder, values, heads, walk, any(batched), label, opsets, model)
    network = labelled(network, input_names, output_names)
    again = model if reread is None else reread
    reference = Runner(again, folder, [s.label for s in specs], [h.tensor for h in heads.outputs])
    symbolic = any(batched) and all(spec.symbolic for spec in specs if spec.batched)
    return Imported(network, reference, symbolic)


def _check_names(model: ModelProto) -> None:
    """Refuse two stored tensors of one name: nothing says which one is meant."""
    seen: set[str] = set()
    twice = []
    stored = [t.name for t in model.graph.initializer]
    stored += [s.values.name for s in model.graph.sparse_initializer]
    for name in stored:
        if name in seen:
            twice.append(f"initialiser {name[:120]!r} is stored twice")
        seen.add(name)
    if twice:
        remedy = "give every stored tensor its own name"
        raise NneqError(problems_message("names are not unique", twice[:20], remedy))


def _standard(domain: str) -> str:
    return "" if domain == "ai.onnx" else domain


def _stored_reader(builder: Builder, folder: Path | None) -> Any:
    def load(tensor: TensorProto) -> Value:
        try:
            array = tensor_to_array(tensor, folder)
        except NneqError as error:
            msg = f"initialiser {tensor.name[:120]!r}: {error}"
            raise type(error)(msg) from None
        if array.dtype.kind == "f" and array.size and np.isnan(array).any():
            msg = (
                f"initialiser {tensor.name[:120]!r} holds NaN ({int(np.isnan(array).sum())} of "
                f"{array.size} entries); a model with such weights has no values: train it again"
            )
            raise NneqError(msg)
        return builder.constant(array)

    return load


def _input(builder: Builder, spec: InputSpec) -> Value:
    return builder.input(spec.shape, label=spec.label, dtype=spec.dtype, batched=spec.batched)


def _outputs(
    walk: Walk, nodes: Any, scope: Scope, opsets: Mapping[str, int], heads: Heads
) -> list[Value | None]:
    names = [head.tensor for head in heads.outputs]
    problems = [name for name in names if name not in scope.names()]
    made = {name for node in nodes for name in node.output}
    missing = [name for name in problems if name not in made]
    if missing:
        msg = f"nothing makes the output {missing[0]!r}; add the node that makes it"
        raise NneqError(msg)
    walk.run(needed(nodes, names), scope, opsets)
    return [scope.find(name) for name in names]


def _network(
    builder: Builder,
    values: Sequence[Value | None],
    heads: Heads,
    walk: Walk,
    batched: bool,
    label: str,
    opsets: Mapping[str, int],
    model: ModelProto,
) -> Network:
    outputs = []
    flags = []
    for value, head in zip(values, heads.outputs, strict=True):
        if value is None:
            msg = f"the output {head.name!r} could not be made"
            raise NneqError(msg)
        dtype = value.dtype if head.code is None else element_dtype(head.code)
        outputs.append((Value(value.shape, dtype, value.node, value.array), head.name))
        flags.append(batched and value.shape[:1] == (1,) and head.batched)
    details = [("opset", ", ".join(f"{d or 'ai.onnx'} {v}" for d, v in sorted(opsets.items())))]
    if model.producer_name:
        producer = f"{model.producer_name} {model.producer_version}".strip()
        details.append(("producer", producer[:120]))
    source = Source(
        framework="onnx",
        label=label,
        details=tuple(details),
        notes=(*heads.notes, *dict.fromkeys(walk.notes)),
    )
    entry_labels = [
        head.classes if len(head.classes) == value.size else ()
        for head, (value, _) in zip(heads.outputs, outputs, strict=True)
    ]
    network = tidy(
        builder.build(outputs, source=source, batched=flags, entry_labels=entry_labels)
    )
    _check_finite(network)
    return network


def _check_finite(network: Network) -> None:
    """Refuse weights that are NaN or infinite (minus infinity before a softmax is a mask)."""
    problems = []
    masks = any(isinstance(node, Softmax) for node in network.nodes)
    for node in network.nodes:
        arrays: list[Array] = []
        if isinstance(node, Affine):
            arrays = [array for term in node.terms for array in term.map.parameters]
            if node.bias is not None:
                arrays.append(node.bias)
        elif isinstance(node, Constant):
            arrays = [node.value]
        for array in arrays:
            if array.dtype.kind == "f" and array.size and not _finite(array, masks=masks):
                problems.append(f"node {node.origin!r}: {_count(array)}")
    if problems:
        remedy = "the model has no finite values with such weights: train or export it again"
        raise NneqError(problems_message("weights are not finite", problems[:20], remedy))


def _finite(array: Array, *, masks: bool) -> bool:
    core = array[tuple(slice(0, 1) if s == 0 else slice(None) for s in array.strides)]
    known = np.isfinite(core)
    return bool(known.all()) or (masks and bool((known | np.isneginf(core)).all()))


def _count(array: Array) -> str:
    nan, inf = int(np.isnan(array).sum()), int(np.isinf(array).sum())
    return f"{nan} entries are NaN and {inf} infinite, of {array.size}"


_REGISTERED = _operators.OPERATORS
