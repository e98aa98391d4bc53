"""Inputs of a model: their shapes for one sample, their batch axis, and the user's own names."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from onnx import ModelProto, ValueInfoProto

from nneq.adapters.onnx.limits import MAX_LIVE, check_size
from nneq.adapters.onnx.tensors import element_dtype
from nneq.errors import NneqError, UnsupportedError, problems_message
from nneq.ir import Network, Port
from nneq.lowering import Builder

__all__ = ["InputSpec", "input_specs", "labelled", "with_levels"]

Examples = Sequence[Any] | Mapping[str, Any] | None

_TIME = re.compile(r"seq|time|step|length|token", re.IGNORECASE)


@dataclass(frozen=True)
class InputSpec:
    """One input tensor of the model, for one sample.

    Args:
        label: the name in the file.
        shape: with the batch axis at extent 1.
        dtype: element type.
        batched: whether axis 0 is the batch axis.
        symbolic: whether the model takes any extent there.
    """

    label: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    batched: bool
    symbolic: bool


def input_specs(model: ModelProto, examples: Examples = None) -> list[InputSpec]:
    """Return the inputs that are not initialisers.

    Axis 0 is the batch axis when its extent is symbolic, or 1 in a tensor of two axes or more.

    Raises:
        NneqError: when an extent cannot be known, or examples do not fit.
        UnsupportedError: for element types and kinds of input outside what nneq does.
    """
    stored = {tensor.name for tensor in model.graph.initializer}
    stored |= {sparse.values.name for sparse in model.graph.sparse_initializer}
    ports = [port for port in model.graph.input if port.name not in stored]
    arrays = _example_arrays(ports, examples)
    problems: list[str] = []
    refused: list[str] = []
    found = []
    seen: set[str] = set()
    for port in ports:
        if port.name in seen:
            problems.append(f"input {port.name!r} is declared twice")
        seen.add(port.name)
        try:
            found.append(_spec(port, arrays.get(port.name)))
        except UnsupportedError as error:
            refused.append(f"input {port.name[:120]!r}: {error}")
        except NneqError as error:
            problems.append(f"input {port.name[:120]!r}: {error}")
    if problems or refused:
        kind = NneqError if problems else UnsupportedError
        remedy = "export the model again with named tensor inputs of fixed, moderate shapes"
        raise kind(problems_message("the inputs cannot be used", [*problems, *refused], remedy))
    return found


def _example_arrays(ports: Sequence[ValueInfoProto], examples: Examples) -> dict[str, Any]:
    if examples is None:
        return {}
    if isinstance(examples, Mapping):
        unknown = [repr(name) for name in examples if name not in {p.name for p in ports}]
        if unknown:
            names = ", ".join(repr(port.name) for port in ports)
            msg = f"example_inputs names {', '.join(unknown)}; the inputs are {names}"
            raise NneqError(msg)
        return {name: np.asarray(value) for name, value in examples.items()}
    given = [examples] if hasattr(examples, "shape") else list(examples)
    if len(given) != len(ports):
        msg = f"example_inputs holds {len(given)} arrays, the model has {len(ports)} inputs"
        raise NneqError(msg)
    return {port.name: np.asarray(value) for port, value in zip(ports, given, strict=True)}


def _spec(port: ValueInfoProto, example: Any) -> InputSpec:
    kind = port.type.WhichOneof("value")
    if kind != "tensor_type":
        msg = f"it is a {(kind or 'value without a type').replace('_type', '')}, not a tensor"
        raise UnsupportedError(msg)
    tensor = port.type.tensor_type
    dtype = element_dtype(tensor.elem_type)
    if not tensor.HasField("shape"):
        if example is None:
            msg = "its shape is not in the model; give example_inputs"
            raise NneqError(msg)
        shape = tuple(int(size) for size in example.shape)
        return InputSpec(port.name, shape, dtype, shape[:1] == (1,) and len(shape) > 1, False)
    dims = tensor.shape.dim
    if example is not None and example.ndim != len(dims):
        msg = f"the example has {example.ndim} axes, the model {len(dims)}"
        raise NneqError(msg)
    sizes: list[int] = []
    batched = symbolic = False
    for axis, dim in enumerate(dims):
        known = dim.dim_value if dim.WhichOneof("value") == "dim_value" else None
        if known is not None and (known > 0 or (known == 0 and (axis or len(dims) == 1))):
            if example is not None and example.shape[axis] != known:
                msg = f"axis {axis} of the example has {example.shape[axis]} entries, not {known}"
                raise NneqError(msg)
            sizes.append(int(known))
            batched |= axis == 0 and known == 1 and len(dims) > 1
        elif axis == 0 and not _TIME.search(dim.dim_param):
            batched = symbolic = True
            sizes.append(1)
        elif example is not None:
            sizes.append(int(example.shape[axis]))
        else:
            name = f" ({dim.dim_param[:60]!r})" if dim.dim_param else ""
            msg = (
                f"axis {axis}{name} has no fixed extent; give example_inputs, an array of the "
                "shape to use, or fix it with onnx.tools.update_model_dims"
            )
            raise NneqError(msg)
    check_size(sizes, MAX_LIVE, "it")
    return InputSpec(port.name, tuple(sizes), dtype, batched, symbolic)


def with_levels(builder: Builder, node: int, levels: int) -> None:
    """Note that the integer input at ``node`` takes the values ``0 .. levels - 1``."""
    for k, port in enumerate(builder.ports):
        if port.node == node and np.dtype(port.dtype).kind in "iu":
            known = levels if port.levels is None else min(levels, port.levels)
            builder.ports[k] = dataclasses.replace(port, levels=known)


def labelled(
    network: Network, inputs: Sequence[str] | None, outputs: Sequence[str] | None
) -> Network:
    """Return the network with the user's names as labels: of entries, or of whole tensors.

    Raises:
        NneqError: when their number fits neither.
    """
    if inputs is not None:
        network = dataclasses.replace(network, inputs=_named(network.inputs, inputs, "input_names"))
    if outputs is not None:
        network = dataclasses.replace(
            network, outputs=_named(network.outputs, outputs, "output_names")
        )
    return network


def _named(ports: Sequence[Port], names: Sequence[str], what: str) -> tuple[Port, ...]:
    given = [str(name) for name in names]
    sizes = [port.size for port in ports]
    if len(given) == sum(sizes):
        found = []
        start = 0
        for port, size in zip(ports, sizes, strict=True):
            entries = tuple(given[start : start + size])
            found.append(dataclasses.replace(port, entry_labels=entries))
            start += size
        return tuple(found)
    if len(given) == len(ports):
        return tuple(
            dataclasses.replace(port, label=name) for port, name in zip(ports, given, strict=True)
        )
    msg = (
        f"{what} holds {len(given)} names; the model has {sum(sizes)} entries in {len(ports)} "
        "tensors"
    )
    raise NneqError(msg)
