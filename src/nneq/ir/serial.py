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


def _array(value: Array) -> dict[str, Any]:
    kind = value.dtype.name if value.dtype.name in _DTYPES else "float64"
    flat = value.astype(kind, copy=False).reshape(-1)
    if kind.startswith("float"):
        data: list[Any] = [float(number).hex() for number in flat.astype(np.float64).tolist()]
    else:
        data = flat.tolist()
    return {"array": kind, "shape": list(value.shape), "data": data}


def _plain(value: Any) -> Any:
    """Return one field of a map or a node as JSON data."""
    if isinstance(value, np.ndarray):
        return _array(value)
    if isinstance(value, lm.LinearMap):
        return _record(value)
    if isinstance(value, ir.Term):
        return {"arg": value.arg, "map": _record(value.map)}
    if isinstance(value, Mapping):
        return {str(key): _plain(part) for key, part in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(part) for part in value]
    if isinstance(value, np.generic):
        return _plain(value.item())
    if isinstance(value, float):
        return {"float": value.hex()}
    return value


def _record(item: Any) -> dict[str, Any]:
    fields = {f.name: _plain(getattr(item, f.name)) for f in dataclasses.fields(item)}
    return {"kind": type(item).__name__, **fields}


def network_to_dict(network: ir.Network) -> dict[str, Any]:
    """Return the network as JSON data; ``network_from_dict`` gives it back bit for bit."""
    return {
        "format": FORMAT,
        "nodes": [_record(node) for node in network.nodes],
        "inputs": [_plain_port(port) for port in network.inputs],
        "outputs": [_plain_port(port) for port in network.outputs],
        "source": _plain(dataclasses.asdict(network.source)),
    }


def _plain_port(port: ir.Port) -> dict[str, Any]:
    return {f.name: _plain(getattr(port, f.name)) for f in dataclasses.fields(port)}


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
        nodes = tuple(_node(record) for record in data["nodes"])
        inputs = tuple(_port(record) for record in data["inputs"])
        outputs = tuple(_port(record) for record in data["outputs"])
        source = _source(data.get("source", {}))
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


def _restored(value: Any) -> Any:
    if isinstance(value, Mapping):
        if "array" in value:
            return _restored_array(value)
        if "float" in value:
            return float.fromhex(value["float"])
        if "kind" in value:
            return _map(value)
        return {key: _restored(part) for key, part in value.items()}
    if isinstance(value, list):
        return tuple(_restored(part) for part in value)
    return value


def _restored_array(value: Mapping[str, Any]) -> Array:
    kind = value["array"]
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


def _map(record: Mapping[str, Any]) -> lm.LinearMap:
    cls = _MAPS.get(record["kind"])
    if cls is None:
        msg = f"unknown linear map {record['kind']!r}"
        raise NneqError(msg)
    fields = {key: _restored(part) for key, part in record.items() if key != "kind"}
    return cls(**fields)


def _node(record: Mapping[str, Any]) -> ir.Node:
    cls = _NODES.get(record["kind"])
    if cls is None:
        msg = f"unknown node {record['kind']!r}"
        raise NneqError(msg)
    fields = {key: _restored(part) for key, part in record.items() if key not in {"kind", "terms"}}
    if "terms" in record:
        fields["terms"] = tuple(ir.Term(term["arg"], _map(term["map"])) for term in record["terms"])
    node: ir.Node = cls(**fields)
    return node


def _port(record: Mapping[str, Any]) -> ir.Port:
    port = ir.Port(**{key: _restored(part) for key, part in record.items()})
    if not port.name.isidentifier() or not port.name.isascii():
        msg = f"a port has the name {port.name[:80]!r}, which is not an identifier"
        raise NneqError(msg)
    return port


def _source(record: Mapping[str, Any]) -> ir.Source:
    return ir.Source(**{key: _restored(part) for key, part in record.items()})
