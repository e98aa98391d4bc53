"""Opens a model file as what it is: untrusted."""

from __future__ import annotations

import json
import os
import stat
import zipfile
from pathlib import Path
from typing import Any

import keras

from nneq.errors import NneqError, UnsupportedError

__all__ = ["load_model"]

_CONFIG_LIMIT = 64 << 20
_EXPANSION_LIMIT = 200
_SLACK = 16 << 20
_CODE = frozenset({"Lambda", "__lambda__", "TorchModuleWrapper", "FlaxLayer", "JaxLayer"})
_ELSEWHERE = frozenset({"TFSMLayer"})


def load_model(path: Path) -> Any:
    """Return the Keras model stored at ``path``; code stored in it is never run.

    Args:
        path: a ``.keras`` archive or a ``.h5`` file.

    Raises:
        NneqError: when the file is missing, not a regular file, foreign, damaged or too large.
        UnsupportedError: when the model holds pickled code (``Lambda`` layers) or custom classes.
    """
    name = path.name
    try:
        status = path.stat()
    except OSError as error:
        msg = f"cannot open {name!r}: {error.strerror or error}"
        raise NneqError(msg) from error
    if not stat.S_ISREG(status.st_mode):
        what = "a folder" if stat.S_ISDIR(status.st_mode) else "not a regular file"
        msg = f"cannot read {name!r} as a Keras model: it is {what}; give a .keras or .h5 file"
        raise NneqError(msg)
    with path.open("rb") as file:
        head = file.read(8)
    if head[:4] == b"PK\x03\x04":
        _check_archive(path, status.st_size)
    elif head == b"\x89HDF\r\n\x1a\n":
        _check_weights(name, path, status.st_size)
        _check_config(name, _hdf5_config(path))
    else:
        what = "empty" if not head else "neither a .keras archive nor an HDF5 file"
        msg = f"cannot read {name!r} as a Keras model: it is {what}"
        raise NneqError(msg)
    return _load(path)


def _load(path: Path) -> Any:
    try:
        return keras.saving.load_model(os.fspath(path), compile=False, safe_mode=True)
    except Exception as error:  # Keras raises anything on a damaged file
        text = next((t.strip() for t in str(error).split("\n") if t.strip()), "")
        msg = f"cannot read {path.name!r} as a Keras model: {type(error).__name__}: {text[:300]}"
        if "could not locate class" in str(error).lower() or "custom object" in str(error).lower():
            msg += "; import the module that defines its custom classes and pass the model itself"
            raise UnsupportedError(msg) from error
        raise NneqError(msg) from error


def _check_archive(path: Path, size: int) -> None:
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            total = sum(member.file_size for member in members)
            names = {member.filename for member in members}
            if "config.json" not in names:
                msg = f"cannot read {path.name!r} as a Keras model: the archive has no config.json"
                raise NneqError(msg)
            config = next(member for member in members if member.filename == "config.json")
            strange = sorted(n for n in names if n.startswith(("/", "\\")) or ".." in n)
            if strange:
                msg = f"cannot read {path.name!r}: a member leaves the archive ({strange[0]!r})"
                raise NneqError(msg)
            if config.file_size > _CONFIG_LIMIT or total > _EXPANSION_LIMIT * max(size, 1 << 20):
                msg = (
                    f"cannot read {path.name!r}: {size} bytes unpack to {total}; this is not how "
                    "Keras stores models"
                )
                raise NneqError(msg)
            text = archive.read(config)
            for member in members:
                if member.filename.endswith(".h5"):
                    with archive.open(member) as weights:
                        _check_weights(path.name, weights, member.file_size)
    except (zipfile.BadZipFile, OSError, NotImplementedError, RuntimeError) as error:
        msg = f"cannot read {path.name!r}: the archive is damaged ({error})"
        raise NneqError(msg) from error
    _check_config(path.name, text)


def _hdf5_config(path: Path) -> bytes:
    import h5py

    try:
        with h5py.File(path, "r") as file:
            found = file.attrs.get("model_config")
    except OSError as error:
        msg = f"cannot read {path.name!r}: the HDF5 file is damaged ({error})"
        raise NneqError(msg) from error
    if found is None:
        msg = (
            f"cannot read {path.name!r}: it holds no model, perhaps only weights; "
            "load them into the model and pass the model itself"
        )
        raise NneqError(msg)
    return found.encode() if isinstance(found, str) else bytes(found)


def _check_weights(name: str, source: Any, size: int) -> None:
    """Refuse links out of the file, and more numbers than the file can hold."""
    import h5py

    try:
        with h5py.File(source, "r") as file:
            total = 0
            stack = [file]
            while stack:
                group = stack.pop()
                for key in group:
                    if isinstance(group.get(key, getlink=True), h5py.ExternalLink):
                        msg = f"cannot read {name!r}: {key!r} is a link to another file"
                        raise NneqError(msg)
                    part = group.get(key)
                    if isinstance(part, h5py.Group):
                        stack.append(part)
                    elif isinstance(part, h5py.Dataset):
                        if part.external or part.is_virtual:
                            msg = f"cannot read {name!r}: the weights {key!r} lie in another file"
                            raise NneqError(msg)
                        total += part.nbytes
    except (OSError, RuntimeError, KeyError) as error:
        msg = f"cannot read {name!r}: the HDF5 file is damaged ({error})"
        raise NneqError(msg) from error
    if total > 2 * size + _SLACK:
        msg = f"cannot read {name!r}: {size} bytes declare {total} bytes of weights"
        raise NneqError(msg)


def _check_config(name: str, text: bytes) -> None:
    try:
        config = json.loads(text)
    except (ValueError, RecursionError) as error:
        msg = f"cannot read {name!r}: its configuration is not JSON ({error})"
        raise NneqError(msg) from error
    foreign = sorted(_named(config, _ELSEWHERE))
    if foreign:
        names = ", ".join(repr(n) for n in foreign)
        msg = f"cannot read {name!r}: its layers {names} open other files; give those to nneq"
        raise UnsupportedError(msg)
    lambdas = sorted(_named(config, _CODE))
    if lambdas:
        names = ", ".join(repr(n) for n in lambdas)
        msg = (
            f"cannot read {name!r}: it holds pickled code, which nneq never runs (layers {names}); "
            "replace Lambda layers by keras.ops calls or by layer classes, or pass the model "
            "itself as a Python object"
        )
        raise UnsupportedError(msg)


def _named(config: Any, classes: frozenset[str]) -> set[str]:
    """Return the names of the layers of these classes, at any depth of the configuration."""
    found: set[str] = set()
    stack = [config]
    while stack:
        part = stack.pop()
        if isinstance(part, dict):
            if part.get("class_name") in classes:
                inner = part.get("config")
                label = inner.get("name") if isinstance(inner, dict) else None
                found.add(str(label or part.get("name") or part["class_name"]))
            stack.extend(part.values())
        elif isinstance(part, list):
            stack.extend(part)
    return found - ({"__lambda__"} if len(found) > 1 else set())
