"""Stored tensors to arrays: sizes are checked against the stored bytes before anything is made."""

from __future__ import annotations

import math
import os
import stat
from pathlib import Path
from typing import Any

import numpy as np
from onnx import SparseTensorProto, TensorProto, helper, numpy_helper

from nneq.adapters.onnx.limits import MAX_CONSTANT, check_size, shown
from nneq.errors import NneqError, UnsupportedError

__all__ = [
    "element_dtype",
    "external_bytes",
    "sparse_to_array",
    "stored_size",
    "tensor_to_array",
    "widened",
]

Array = np.ndarray[Any, Any]

_BITS = {
    TensorProto.FLOAT: 32,
    TensorProto.UINT8: 8,
    TensorProto.INT8: 8,
    TensorProto.UINT16: 16,
    TensorProto.INT16: 16,
    TensorProto.INT32: 32,
    TensorProto.INT64: 64,
    TensorProto.BOOL: 8,
    TensorProto.FLOAT16: 16,
    TensorProto.DOUBLE: 64,
    TensorProto.UINT32: 32,
    TensorProto.UINT64: 64,
    TensorProto.BFLOAT16: 16,
    TensorProto.FLOAT8E4M3FN: 8,
    TensorProto.FLOAT8E4M3FNUZ: 8,
    TensorProto.FLOAT8E5M2: 8,
    TensorProto.FLOAT8E5M2FNUZ: 8,
    TensorProto.UINT4: 4,
    TensorProto.INT4: 4,
}
_TYPED_FIELD = {
    TensorProto.FLOAT: "float_data",
    TensorProto.DOUBLE: "double_data",
    TensorProto.INT64: "int64_data",
    TensorProto.UINT32: "uint64_data",
    TensorProto.UINT64: "uint64_data",
}


def element_dtype(code: int) -> np.dtype[Any]:
    """Return the NumPy type of an ONNX element type; narrow floats are read as float32.

    Raises:
        UnsupportedError: for strings, complex numbers and types this version does not know.
    """
    if code not in _BITS:
        name = _type_name(code)
        msg = f"element type {name} is not supported; use a real or integer type"
        raise UnsupportedError(msg)
    if code == TensorProto.BFLOAT16 or "FLOAT8" in _type_name(code):
        return np.dtype(np.float32)
    if code in {TensorProto.INT4, TensorProto.UINT4}:
        return np.dtype(np.int8 if code == TensorProto.INT4 else np.uint8)
    found: np.dtype[Any] = np.dtype(helper.tensor_dtype_to_np_dtype(code))
    return found


def _type_name(code: int) -> str:
    if code in TensorProto.DataType.values():
        return str(TensorProto.DataType.Name(code))
    return f"number {code}"


def widened(array: Array) -> Array:
    """Return the array in a type NumPy computes with (narrow floats and 4-bit integers widened)."""
    name = array.dtype.name
    if array.dtype.kind in "fiub" and name not in {"int4", "uint4"}:
        return array
    if "int" in name:
        return array.astype(np.uint8 if name.startswith("u") else np.int8)
    if name.startswith(("bfloat", "float")):
        return array.astype(np.float32)
    msg = f"element type {name} is not supported; use a real or integer type"
    raise UnsupportedError(msg)


def tensor_to_array(tensor: TensorProto, folder: Path | None = None) -> Array:
    """Return a stored tensor as an array, external data included.

    Args:
        tensor: the tensor.
        folder: the folder of the model's file, for external data; None when there is none.

    Raises:
        NneqError: when the stored bytes do not fit the shape, or external data cannot be read.
        UnsupportedError: for element types outside what nneq reads.
    """
    dims = [int(size) for size in tensor.dims]
    if any(size < 0 for size in dims) or len(dims) > 24:
        msg = f"shape {shown(dims)} is not a shape"
        raise NneqError(msg)
    element_dtype(tensor.data_type)
    count = math.prod(dims)
    wanted = -(-count * _BITS[tensor.data_type] // 8)
    if tensor.data_location == TensorProto.EXTERNAL:
        raw = external_bytes(tensor, folder, wanted)
        plain = TensorProto(data_type=tensor.data_type, dims=dims, raw_data=raw)
        return widened(numpy_helper.to_array(plain))
    _check_stored(tensor, count, wanted, dims)
    if count == 0:
        return np.zeros(dims, dtype=element_dtype(tensor.data_type))
    return widened(numpy_helper.to_array(tensor))


def stored_size(tensor: TensorProto) -> int:
    """Return how many bytes the tensor's entries take when stored raw."""
    return -(-math.prod(int(size) for size in tensor.dims) * _BITS[tensor.data_type] // 8)


def _check_stored(tensor: TensorProto, count: int, wanted: int, dims: list[int]) -> None:
    if tensor.HasField("raw_data"):
        found, unit = len(tensor.raw_data), "bytes"
    else:
        field = _TYPED_FIELD.get(tensor.data_type, "int32_data")
        found, unit = len(getattr(tensor, field)), "values"
        packed = _BITS[tensor.data_type] == 4
        wanted = -(-count // 2) if packed else count
    if found != wanted:
        msg = f"shape {shown(dims)} needs {wanted} {unit}, the file holds {found}"
        raise NneqError(msg)


def external_bytes(tensor: TensorProto, folder: Path | None, wanted: int) -> bytes:
    """Return the bytes of external data: a regular file inside ``folder``, within its end.

    Raises:
        NneqError: when it is anywhere else, too short, or ``folder`` is unknown.
    """
    entries = {entry.key: entry.value for entry in tensor.external_data}
    location = entries.get("location", "")
    if folder is None:
        msg = f"the data lies in another file ({location!r}); give the path of the model"
        raise NneqError(msg)
    try:
        offset = int(entries.get("offset", 0))
        length = int(entries.get("length", wanted))
    except ValueError:
        msg = f"external data {location!r}: offset and length must be integers"
        raise NneqError(msg) from None
    path = _inside(folder, location)
    size = path.stat().st_size
    if offset < 0 or length != wanted or offset + length > size:
        msg = (
            f"external data {location!r}: {wanted} bytes are needed, the model names {length} at "
            f"{offset}, the file has {size}"
        )
        raise NneqError(msg)
    with path.open("rb") as stream:
        stream.seek(offset)
        raw = stream.read(length)
    if len(raw) != wanted:
        msg = f"external data {location!r} ended early"
        raise NneqError(msg)
    return raw


def _inside(folder: Path, location: str) -> Path:
    """Return the path of external data if it is a regular file inside the folder."""
    outside = f"external data {location!r} must be a regular file inside the model's folder"
    if not location or "\0" in location or Path(location).is_absolute() or "\\" in location:
        raise NneqError(outside)
    root = Path(os.path.realpath(folder))
    path = Path(os.path.realpath(root / location))
    if not path.is_relative_to(root):
        raise NneqError(outside)
    try:
        kind = path.stat().st_mode
    except OSError:
        msg = f"external data {location!r} is missing beside the model"
        raise NneqError(msg) from None
    if not stat.S_ISREG(kind):
        raise NneqError(outside)
    return path


def sparse_to_array(sparse: SparseTensorProto) -> Array:
    """Return a sparse stored tensor as a full array.

    Raises:
        NneqError: when indices do not fit the shape.
        UnsupportedError: when the full tensor is above the constant budget.
    """
    dims = [int(size) for size in sparse.dims]
    count = check_size(dims, MAX_CONSTANT, "the sparse tensor")
    values = tensor_to_array(sparse.values)
    indices = tensor_to_array(sparse.indices).astype(np.int64)
    if indices.ndim == 2 and indices.shape[1] == len(dims):
        steps = np.array([math.prod(dims[k + 1 :]) for k in range(len(dims))], dtype=np.int64)
        inside = bool(((indices >= 0) & (indices < np.array(dims))).all())
        indices = indices @ steps
    else:
        inside = indices.ndim == 1
    if (
        not inside
        or len(indices) != values.size
        or (indices.size and (int(indices.min()) < 0 or int(indices.max()) >= count))
    ):
        msg = "a sparse tensor whose indices do not fit its shape"
        raise NneqError(msg)
    full = np.zeros(count, dtype=values.dtype)
    full[indices] = values.ravel()
    return full.reshape(dims)
