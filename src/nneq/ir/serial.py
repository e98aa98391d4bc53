"""A network as plain JSON data and back, bit for bit.

Floating-point arrays are lists of ``float.hex`` strings, integers are integers; every map and node
is a mapping with its kind.  Reading checks everything: the data may come from anywhere.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from nneq.errors import NneqError
from nneq.ir import linear_map as lm
from nneq.ir import network as ir

__all__ = ["FORMAT", "network_from_dict", "network_to_dict"]

Array = np.ndarray[Any, Any]
FORMAT = "nneq-network-1"

_MAPS: dict[str, type[lm.LinearMap]] = {
    cls.__name__: cls
    for cls in (
        lm.Identity,
        lm.Dense,
        lm.Contract,
        lm.Conv,
        lm.ConvTranspose,
        lm.Reshape,
        lm.Permute,
        lm.Slice,
        lm.Place,
        lm.Broadcast,
        lm.Sum,
        lm.Scale,
        lm.Take,
        lm.Scatter,
        lm.Chain,
    )
}
_NODES: dict[str, Any] = {
    cls.__name__: cls
    for cls in (
        ir.Input,
        ir.Constant,
        ir.Affine,
        ir.Elementwise,
        ir.Product,
        ir.Maximum,
        ir.Select,
        ir.Softmax,
    )
}
_DTYPES = {"float64", "float32", "float16", "int64", "int32", "int16", "int8", "uint8", "bool"}
_DTYPES |= {"uint16", "uint32", "uint64"}


class _Writer:
    """Turns fields into JSON data; an array that stands in several places is written once."""

    def __init__(self) -> None:
        self.arrays: list[dict[str, Any]] = []
        self._places: dict[int, tuple[int, Array]] = {}

    def array(self, value: Array) -> dict[str, Any]:
        """Return the reference to an array; the array itself goes to the table."""
        known = self._places.get(id(value))
        if known is None:
            known = self._places[id(value)] = (len(self.arrays), value)
            self.arrays.append(_array(value))
        return {"array": known[0]}

    def plain(self, value: Any) -> Any:
        """Return one field of a map or a node as JSON data."""
        match value:
            case np.ndarray():
                return self.array(value)
            case lm.LinearMap():
                return self.record(value)
            case ir.Term():
                return {"arg": value.arg, "map": self.record(value.map)}
            case Mapping():
                return {str(key): self.plain(part) for key, part in value.items()}
            case tuple() | list():
                return [self.plain(part) for part in value]
            case np.generic():
                return self.plain(value.item())
            case float():
                return {"float": value.hex()}
            case _:
                return value

    def record(self, item: Any) -> dict[str, Any]:
        """Return a map or a node with its kind."""
        fields = {f.name: self.plain(getattr(item, f.name)) for f in dataclasses.fields(item)}
        return {"kind": type(item).__name__, **fields}

    def port(self, port: ir.Port) -> dict[str, Any]:
        """Return a port."""
        return {f.name: self.plain(getattr(port, f.name)) for f in dataclasses.fields(port)}


def _array(value: Array) -> dict[str, Any]:
    kind = value.dtype.name if value.dtype.name in _DTYPES else "float64"
    flat = value.astype(kind, copy=False).reshape(-1)
    if kind.startswith("float"):
        data: list[Any] = [number.hex() for number in flat.astype(np.float64).tolist()]
    else:
        data = flat.tolist()
    return {"dtype": kind, "shape": list(value.shape), "data": data}


def network_to_dict(network: ir.Network) -> dict[str, Any]:
    """Return the network as JSON data; ``network_from_dict`` gives it back bit for bit."""
    writer = _Writer()
    return {
        "format": FORMAT,
        "nodes": [writer.record(node) for node in network.nodes],
        "inputs": [writer.port(port) for port in network.inputs],
        "outputs": [writer.port(port) for port in network.outputs],
        "source": writer.plain(dataclasses.asdict(network.source)),
        "arrays": writer.arrays,
    }


# ---------------------------------------------------------------------- reading
def network_from_dict(data: Mapping[str, Any]) -> ir.Network:
    """Return the network that ``network_to_dict`` wrote.

    Raises:
        NneqError: the data is not such a network.
    """
    if not isinstance(data, Mapping) or data.get("format") != FORMAT:
        msg = f"this is not a network of nneq: the field 'format' is not {FORMAT!r}"
        raise NneqError(msg)
    try:
        reader = _Reader([_restored_array(record) for record in data["arrays"]])
        nodes = tuple(reader.node(record) for record in data["nodes"])
        inputs = tuple(reader.port(record) for record in data["inputs"])
        outputs = tuple(reader.port(record) for record in data["outputs"])
        source = reader.source(data.get("source", {}))
        for port in (*inputs, *outputs):
            if not 0 <= port.node < len(nodes):
                msg = f"port {port.name!r} names node {port.node}, of {len(nodes)}"
                raise NneqError(msg)
        return ir.verify(ir.Network(nodes, inputs, outputs, source))
    except NneqError:
        raise
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        msg = f"this network cannot be read ({type(error).__name__}: {error}); write it again"
        raise NneqError(msg) from error


def _restored_array(value: Mapping[str, Any]) -> Array:
    kind = value["dtype"]
    if kind not in _DTYPES:
        msg = f"unknown element type {kind!r}"
        raise NneqError(msg)
    shape = _shape(value["shape"])
    data = value["data"]
    if kind.startswith("float"):
        flat = np.array([float.fromhex(number) for number in data], dtype=np.float64).astype(kind)
    else:
        flat = np.array(data, dtype=kind)
    return flat.reshape(shape)


def _shape(value: Sequence[Any]) -> tuple[int, ...]:
    shape = tuple(value)
    if not all(isinstance(size, int) and size >= 0 for size in shape):
        msg = f"a shape holds {shape!r}"
        raise NneqError(msg)
    return shape


class _Reader:
    """Turns JSON data back into fields, with the arrays of the table."""

    def __init__(self, arrays: list[Array]) -> None:
        self._arrays = arrays

    def restored(self, value: Any) -> Any:
        if isinstance(value, Mapping):
            if "array" in value:
                return self._arrays[value["array"]]
            if "float" in value:
                return float.fromhex(value["float"])
            if "kind" in value:
                return self.map(value)
            return {key: self.restored(part) for key, part in value.items()}
        if isinstance(value, list):
            return tuple(self.restored(part) for part in value)
        return value

    def map(self, record: Mapping[str, Any]) -> lm.LinearMap:
        cls = _MAPS.get(record["kind"])
        if cls is None:
            msg = f"unknown linear map {record['kind']!r}"
            raise NneqError(msg)
        fields = {key: self.restored(part) for key, part in record.items() if key != "kind"}
        return cls(**fields)

    def node(self, record: Mapping[str, Any]) -> ir.Node:
        cls = _NODES.get(record["kind"])
        if cls is None:
            msg = f"unknown node {record['kind']!r}"
            raise NneqError(msg)
        skipped = {"kind", "terms"}
        fields = {key: self.restored(part) for key, part in record.items() if key not in skipped}
        if "terms" in record:
            fields["terms"] = tuple(
                ir.Term(term["arg"], self.map(term["map"])) for term in record["terms"]
            )
        node: ir.Node = cls(**fields)
        return node

    def port(self, record: Mapping[str, Any]) -> ir.Port:
        port = ir.Port(**{key: self.restored(part) for key, part in record.items()})
        if not (port.name.isidentifier() and port.name.isascii()):
            msg = f"a port has the name {port.name[:80]!r}, which is not an identifier"
            raise NneqError(msg)
        return port

    def source(self, record: Mapping[str, Any]) -> ir.Source:
        return ir.Source(**{key: self.restored(part) for key, part in record.items()})
