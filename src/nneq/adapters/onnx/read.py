"""From a path or bytes to a parsed model; nothing is trusted and nothing large is made early."""

from __future__ import annotations

import mmap
import os
import stat
from pathlib import Path

from google.protobuf.message import DecodeError
from onnx import ModelProto

from nneq.adapters.onnx.limits import MAX_NODES
from nneq.errors import NneqError

__all__ = ["parse", "read_model"]

_LARGEST = (1 << 31) - 1
_GRAPH, _FUNCTIONS, _IR_VERSION, _OPSETS = 7, 25, 1, 8
_NODES_OF_GRAPH, _NODES_OF_FUNCTION = 1, 7
_HIGHEST_FIELD = 100
_REMEDY = "save it again with onnx.save(model, path), or check that the download is complete"


def read_model(path: str | os.PathLike[str]) -> ModelProto:
    """Return the model in a file.

    Args:
        path: a regular file; folders, pipes and devices are never opened.

    Raises:
        NneqError: when the file cannot be read or is not an ONNX model; the message says why.
    """
    where = Path(path)
    try:
        found = where.stat()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "not a path"
        msg = f"cannot read {os.fspath(path)!r}: {reason.lower()}; check the path"
        raise NneqError(msg) from None
    if not stat.S_ISREG(found.st_mode):
        msg = f"cannot read {str(where)!r}: it is {_kind(found.st_mode)}, not a file"
        raise NneqError(msg)
    label = str(where)
    if found.st_size == 0:
        msg = f"{label!r} is empty; {_REMEDY}"
        raise NneqError(msg)
    if found.st_size > _LARGEST:
        msg = f"{label!r} has {found.st_size} bytes, above 2 GiB; store weights as external data"
        raise NneqError(msg)
    try:
        with (
            where.open("rb") as stream,
            mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as view,
        ):
            _scan(view, label)
            data = bytes(view)
    except OSError as error:
        msg = f"cannot read {label!r}: {(error.strerror or 'input error').lower()}"
        raise NneqError(msg) from None
    return _parsed(data, label)


def _kind(mode: int) -> str:
    kinds = (
        (stat.S_ISDIR, "a folder"),
        (stat.S_ISFIFO, "a pipe"),
        (stat.S_ISSOCK, "a socket"),
        (stat.S_ISCHR, "a device"),
        (stat.S_ISBLK, "a device"),
    )
    return next((name for test, name in kinds if test(mode)), "something else")


def parse(data: bytes, label: str = "<stdin>") -> ModelProto:
    """Return the model in a byte string.

    Raises:
        NneqError: when the bytes are not an ONNX model.
    """
    if not data:
        msg = f"{label!r} is empty; {_REMEDY}"
        raise NneqError(msg)
    _scan(data, label)
    return _parsed(data, label)


def _parsed(data: bytes, label: str) -> ModelProto:
    model = ModelProto()
    try:
        model.ParseFromString(data)
    except (DecodeError, ValueError, RecursionError):
        msg = f"{label!r} is not a readable ONNX model (truncated or damaged); {_REMEDY}"
        raise NneqError(msg) from None
    return model


def _varint(data: bytes | mmap.mmap, at: int, end: int) -> tuple[int, int]:
    """Return a protobuf integer and the place after it; -1 when it is broken."""
    value = shift = 0
    while at < end and shift < 70:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
    return -1, at


def _fields(data: bytes | mmap.mmap, at: int, end: int) -> list[tuple[int, int, int]] | None:
    """Return ``(field, start, end)`` of the fields of one message, or None when it is broken.

    Stops well above the node budget, so that a small file cannot unfold in memory.
    """
    found = []
    while at < end:
        tag, at = _varint(data, at, end)
        if tag <= 0:
            return None
        field, wire = tag >> 3, tag & 7
        start = at
        if wire == 0:
            value, at = _varint(data, at, end)
            if value < 0:
                return None
        elif wire == 1:
            at += 8
        elif wire == 5:
            at += 4
        elif wire == 2:
            length, at = _varint(data, at, end)
            if length < 0:
                return None
            start = at
            at += length
        else:
            return None
        if at > end or not 0 < field <= _HIGHEST_FIELD:
            return None
        found.append((field, start, at))
        if len(found) > 4 * MAX_NODES:
            return found
    return found


def _scan(data: bytes | mmap.mmap, label: str) -> None:
    """Check the outermost fields and count nodes before the library unfolds the file.

    Raises:
        NneqError: when the bytes are no ONNX model, are cut off, or hold too many nodes.
    """
    outer = _fields(data, 0, len(data))
    names = {field for field, _, _ in outer or []}
    if outer is None or _GRAPH not in names or not names & {_IR_VERSION, _OPSETS}:
        msg = f"{label!r} is not an ONNX model, or it is cut off; {_REMEDY}"
        raise NneqError(msg)
    count = 0
    for field, start, end in outer:
        if field not in {_GRAPH, _FUNCTIONS}:
            continue
        inner = _fields(data, start, end)
        if inner is None:
            msg = f"{label!r} is not a readable ONNX model (damaged graph); {_REMEDY}"
            raise NneqError(msg)
        wanted = _NODES_OF_GRAPH if field == _GRAPH else _NODES_OF_FUNCTION
        count += sum(1 for number, _, _ in inner if number == wanted)
        if len(inner) > 4 * MAX_NODES:
            count = max(count, MAX_NODES + 1)
    if count > MAX_NODES:
        msg = f"{label!r} has {count} nodes or more; the limit is {MAX_NODES}: export a part"
        raise NneqError(msg)
