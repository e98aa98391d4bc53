"""From a parsed ONNX model to a network, with the package's reference forward beside it."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from onnx import ModelProto

from nneq.adapters.base import Imported
from nneq.adapters.onnx import schema as schemas
from nneq.adapters.onnx.heads import find_heads
from nneq.adapters.onnx.ports import input_specs, labelled
from nneq.adapters.onnx.program import Program, check_names
from nneq.adapters.onnx.read import parse, read_model
from nneq.adapters.onnx.reference import Runner
from nneq.adapters.onnx.rows import separate_rows
from nneq.adapters.onnx.structure import check_expansion, check_text
from nneq.adapters.onnx.upgrade import upgraded
from nneq.errors import NneqError, UnsupportedError, problems_message

__all__ = ["import_bytes", "import_model"]

_DAMAGED = (TypeError, KeyError, IndexError, AttributeError, ArithmeticError, MemoryError)

Examples = Sequence[Any] | Mapping[str, Any] | None


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
    except _DAMAGED as error:  # an untrusted graph can break any step in ways no check foresees
        msg = (
            f"cannot read {origin.label!r}: the graph is damaged ({type(error).__name__}: "
            f"{str(error)[:200]}); export it again, or run onnx.checker.check_model on it"
        )
        raise NneqError(msg) from error


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
    check_text(model)
    if not model.graph.output:
        msg = "the graph has no output; a network needs at least one"
        raise NneqError(msg)
    _opsets(model, label)
    functions = {(_standard(f.domain), f.name, f.overload): f for f in model.functions}
    check_expansion(model, functions)
    model = upgraded(model)
    opsets = _opsets(model, label)
    check_names(model)
    specs = input_specs(model, example_inputs)
    heads = find_heads(model)
    program = Program(model, label, folder, functions, opsets, heads)
    network = separate_rows(program, specs, program.network(specs))
    network = labelled(network, input_names, output_names)
    again = model if reread is None else reread
    reference = Runner(again, folder, [s.label for s in specs], [h.tensor for h in heads.outputs])
    symbolic = any(s.batched for s in specs) and all(s.symbolic for s in specs if s.batched)
    return Imported(network, reference, symbolic)


def _standard(domain: str) -> str:
    return "" if domain == "ai.onnx" else domain
