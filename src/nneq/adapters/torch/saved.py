"""Model files: ``.pt2`` archives of ``torch.export``; pickled files are refused."""

from __future__ import annotations

import contextlib
import io
import json
import os
import stat
import zipfile
from pathlib import Path
from typing import Any

import torch

from nneq.errors import NneqError, UnsupportedError

__all__ = ["load_exported"]


def load_exported(path: str | os.PathLike[str]) -> torch.export.ExportedProgram:
    """Return the program in a ``.pt2`` file; no pickled code is loaded.

    Raises:
        NneqError: no such file, not a regular file, empty, damaged, or not such an archive.
        UnsupportedError: pickled modules, TorchScript archives, archives that hold pickled objects.
    """
    file = Path(path)
    try:
        found = os.stat(file)  # noqa: PTH116  # follows links, and says what it is before opening
    except OSError as error:
        msg = f"cannot read {str(file)!r}: {error.strerror}; give the path of a .pt2 file"
        raise NneqError(msg) from None
    if not stat.S_ISREG(found.st_mode):
        msg = f"{str(file)!r} is not a regular file; give the path of a .pt2 file"
        raise NneqError(msg)
    if found.st_size == 0:
        msg = f"{str(file)!r} is empty; save the model again with torch.export.save"
        raise NneqError(msg)
    data = file.read_bytes()
    _check_archive(str(file), data)
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            return torch.export.load(io.BytesIO(data))
    except Exception as error:  # torch.export raises many private types on damaged files
        text = str(error).strip().splitlines()
        msg = (
            f"{str(file)!r} cannot be read as an exported program: {type(error).__name__}: "
            f"{text[0] if text else ''}; save the model again with torch.export.save"
        )
        raise NneqError(msg) from error


def _check_archive(name: str, data: bytes) -> None:
    """Raise unless the archive is a ``.pt2`` without pickled objects."""
    advice = (
        "nneq does not load pickled code: build the model, load its weights with "
        "model.load_state_dict(torch.load(path, weights_only=True)), and give the module, or save "
        "it with torch.export.save(torch.export.export(model.eval(), example_inputs), 'model.pt2')"
    )
    if not zipfile.is_zipfile(io.BytesIO(data)):
        pickled = data[:1] == b"\x80"
        kind = "is a pickled file" if pickled else "is not a .pt2 archive"
        raise (UnsupportedError if pickled else NneqError)(f"{name!r} {kind}; {advice}")
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            entries = archive.namelist()
            configs = [archive.read(e) for e in entries if e.endswith("_config.json")]
    except (zipfile.BadZipFile, OSError, ValueError, RuntimeError) as error:
        msg = f"{name!r} is a damaged archive: {error}; save the model again with torch.export.save"
        raise NneqError(msg) from None
    tails = {entry.split("/", maxsplit=1)[-1] for entry in entries}
    if "archive_format" not in tails and any(entry.endswith("data.pkl") for entry in entries):
        script = any("/code/" in entry or entry.endswith("constants.pkl") for entry in entries)
        kind = "a TorchScript archive" if script else "a pickled file"
        raise UnsupportedError(f"{name!r} is {kind}; {advice}")
    if not any(entry.startswith("models/") for entry in tails):
        msg = f"{name!r} is a zip archive without an exported program; {advice}"
        raise NneqError(msg)
    if any("aotinductor" in entry for entry in tails):
        msg = f"{name!r} holds compiled code, which is not run; {advice}"
        raise UnsupportedError(msg)
    held = [key for text in configs for key in _pickled(_json(name, text))]
    if held:
        msg = f"{name!r} holds pickled objects ({', '.join(sorted(held)[:5])}); {advice}"
        raise UnsupportedError(msg)


def _json(name: str, text: bytes) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        msg = f"{name!r} is a damaged archive: its table of weights is not JSON"
        raise NneqError(msg) from None


def _pickled(table: Any) -> list[str]:
    """Return the names of the weights and constants that are stored as pickles."""
    entries = table.get("config", {}) if isinstance(table, dict) else {}
    if not isinstance(entries, dict):
        return ["(table)"]
    return [
        str(key)
        for key, entry in entries.items()
        if not isinstance(entry, dict) or entry.get("use_pickle", True)
    ]
