"""The model that a command is about: a path, or a file that comes through standard input."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from nneq.errors import NneqError

__all__ = ["STANDARD_INPUT", "model_path"]

STANDARD_INPUT = "standard input"

_CHUNK = 1 << 20
_STDIN_LIMIT = 4 << 30


def _suffix(head: bytes) -> str:
    """Return the file name's ending that the first bytes of a model call for."""
    if head.startswith(b"PK\x03\x04"):
        return ".keras"
    if head.startswith(b"\x89HDF\r\n\x1a\n"):
        return ".h5"
    return ".onnx"


def _zip_suffix(path: str) -> str:
    """Return ``.pt2`` for an archive of PyTorch, ``.keras`` otherwise."""
    import zipfile

    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError):
        return ".keras"
    return ".keras" if "config.json" in names else ".pt2"


def _copy(source: IO[bytes], target: IO[bytes]) -> bytes:
    """Copy everything; return the first bytes."""
    head = b""
    size = 0
    while chunk := source.read(_CHUNK):
        head = head or chunk[:16]
        size += len(chunk)
        if size > _STDIN_LIMIT:
            msg = "standard input holds more than 4 GiB; write the model to a file and name that"
            raise NneqError(msg)
        target.write(chunk)
    return head


@contextmanager
def quiet_start(path: str) -> Iterator[None]:
    """Keep what TensorFlow's C++ parts write at their start away from standard error.

    They write to the file descriptor, whatever their log level says; what Python writes to
    ``sys.stderr`` meanwhile still arrives.
    """
    silent = Path(path).suffix in {".keras", ".h5", ".hdf5"} or Path(path).is_dir()
    try:
        descriptor = sys.stderr.fileno() if silent else -1
    except (OSError, ValueError):
        descriptor = -1  # standard error is no file: there is nothing to redirect
    if descriptor < 0:
        yield
        return
    kept, usual = os.dup(descriptor), sys.stderr
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        with os.fdopen(os.dup(kept), "w", encoding=usual.encoding, buffering=1) as spoken:
            sys.stderr = spoken
            os.dup2(nowhere, descriptor)
            yield
    finally:
        sys.stderr = usual
        os.dup2(kept, descriptor)
        os.close(kept)
        os.close(nowhere)


@contextmanager
def model_path(model: str) -> Iterator[str]:
    """Give the path of the model; standard input is kept in a temporary folder meanwhile."""
    if model != "-":
        with quiet_start(model):
            yield model
        return
    with tempfile.TemporaryDirectory(prefix="nneq-") as folder:
        raw = Path(folder, "stdin")
        with raw.open("wb") as target:
            head = _copy(sys.stdin.buffer, target)
        if not head:
            msg = "standard input is empty; give a model file, as in: nneq inspect - < model.onnx"
            raise NneqError(msg)
        suffix = _suffix(head)
        if suffix == ".keras":
            suffix = _zip_suffix(str(raw))
        path = str(raw.rename(raw.with_suffix(suffix)))
        try:
            with quiet_start(path):
                yield path
        except NneqError as error:
            raise type(error)(str(error).replace(path, STANDARD_INPUT)) from error
