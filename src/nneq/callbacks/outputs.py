"""Where an epoch's record goes: CSV, JSON lines, TensorBoard, MLflow.

Every file is complete after every epoch: a line is handed to the operating system whole, so that a
killed run leaves all finished epochs readable; at most a second later it is synced to disk.
Between two epochs no text file is open.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import math
import os
import struct
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from nneq.errors import MissingDependencyError, NneqError

__all__ = ["CsvOutput", "JsonLinesOutput", "MlflowOutput", "Output", "TensorBoardOutput"]


_SYNC_SECONDS = 1.0


class Output(Protocol):
    """One destination.

    Args:
        name: what it is called in warnings.
    """

    name: str

    def write(self, epoch: int, values: Mapping[str, float], record: Mapping[str, Any]) -> None:
        """Write one epoch: the plain numbers and the whole record."""

    def close(self) -> None:
        """Finish."""


class _Lines:
    """A text file that grows by whole lines.

    Args:
        path: where; its folder is made.
        append: go on in a file that is there; a last line that was cut off is taken away.

    Raises:
        NneqError: the file cannot be written.
    """

    def __init__(self, path: str | os.PathLike[str], *, append: bool) -> None:
        self.path = Path(path)
        self._synced, self._unsynced = -math.inf, False
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("ab" if append else "wb"):
                pass
            if append:
                self._mend()
        except OSError as error:
            msg = (
                f"cannot write {str(self.path)!r}: {error.strerror or error}; give a path in a "
                "folder that can be written"
            )
            raise NneqError(msg) from None

    def _mend(self) -> None:
        whole = self.path.read_bytes()
        end = whole.rfind(b"\n") + 1
        if end < len(whole):
            os.truncate(self.path, end)

    def first(self) -> str:
        """Return the first line without its end, or nothing."""
        with self.path.open(encoding="utf-8", errors="replace", newline="") as file:
            return file.readline().rstrip("\r\n")

    def add(self, line: str) -> None:
        """Add one line; sync it to disk if the last time was not just now."""
        now = time.monotonic()
        with self.path.open("ab", buffering=0) as file:
            file.write(line.encode("utf-8"))
            self._unsynced = now - self._synced < _SYNC_SECONDS
            if not self._unsynced:
                os.fsync(file.fileno())
                self._synced = now

    def close(self) -> None:
        """Sync what was added since."""
        if self._unsynced:
            with contextlib.suppress(OSError), self.path.open("ab") as file:
                os.fsync(file.fileno())
            self._unsynced = False


class CsvOutput:
    """One row per epoch, under a header that is written before the first.

    Args:
        path: the file.
        keys: the columns behind ``epoch``.
        append: add rows to a file that is there.

    Raises:
        NneqError: the file cannot be written, or has other columns.
    """

    def __init__(
        self, path: str | os.PathLike[str], keys: Sequence[str], *, append: bool = False
    ) -> None:
        """Write the header."""
        self.name = f"the CSV file {os.fspath(path)!r}"
        self._keys = tuple(keys)
        self._lines = _Lines(path, append=append)
        header, found = ",".join(["epoch", *self._keys]), self._lines.first()
        if found and found != header:
            msg = f"cannot append to {os.fspath(path)!r}: its columns are others; give another path"
            raise NneqError(msg)
        if not found:
            self._lines.add(header + "\r\n")

    def write(self, epoch: int, values: Mapping[str, float], record: Mapping[str, Any]) -> None:
        """Write one row of numbers."""
        del record
        row = [str(epoch), *(repr(float(values[key])) for key in self._keys)]
        self._lines.add(",".join(row) + "\r\n")

    def close(self) -> None:
        """Sync the file."""
        self._lines.close()


class JsonLinesOutput:
    """One JSON object per epoch, with the curve and the equations.

    Args:
        path: the file.
        append: add lines to a file that is there.

    Raises:
        NneqError: the file cannot be written.
    """

    def __init__(self, path: str | os.PathLike[str], *, append: bool = False) -> None:
        """Make the file."""
        self.name = f"the JSON-lines file {os.fspath(path)!r}"
        self._lines = _Lines(path, append=append)

    def write(self, epoch: int, values: Mapping[str, float], record: Mapping[str, Any]) -> None:
        """Write one object; numbers that JSON does not have become null."""
        kept = {key: value for key, value in record.items() if key not in {"png", "text"}}
        line = {"epoch": epoch, "values": _plain(dict(values)), **kept}
        try:
            text = json.dumps(line, allow_nan=False)
        except ValueError:
            text = json.dumps(_plain(line), allow_nan=False)
        self._lines.add(text + "\n")

    def close(self) -> None:
        """Sync the file."""
        self._lines.close()


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


class TensorBoardOutput:
    """Scalars, the picture and the equation text as TensorBoard events."""

    def __init__(self, log_dir: str | os.PathLike[str]) -> None:
        """Open an event file.

        Raises:
            MissingDependencyError: tensorboard is not installed.
            NneqError: the folder cannot be written.
        """
        if importlib.util.find_spec("tensorboard") is None:
            msg = "log_dir needs TensorBoard: pip install 'nneq[tensorboard]'"
            raise MissingDependencyError(msg)
        from tensorboard.summary.writer.event_file_writer import EventFileWriter

        self.name = f"TensorBoard's {os.fspath(log_dir)!r}"
        folder = Path(log_dir)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            probe = folder / ".nneq"
            probe.touch()
            probe.unlink()
        except OSError as error:
            msg = f"cannot write to log_dir {str(folder)!r}: {error.strerror or error}"
            raise NneqError(msg) from None
        self._writer = EventFileWriter(str(folder))

    def write(self, epoch: int, values: Mapping[str, float], record: Mapping[str, Any]) -> None:
        """Write one event: scalars, and text and picture where there are any."""
        from tensorboard.compat.proto import event_pb2, summary_pb2

        parts = [
            summary_pb2.Summary.Value(tag=key, simple_value=float(value))
            for key, value in values.items()
            if math.isfinite(value)
        ]
        if record.get("text"):
            parts.append(_text_value("boundary/equation", str(record["text"])))
        if record.get("png"):
            image = _image_value(record["png"])
            parts.append(summary_pb2.Summary.Value(tag="boundary/picture", image=image))
        event = event_pb2.Event(
            wall_time=time.time(), step=epoch, summary=summary_pb2.Summary(value=parts)
        )
        self._writer.add_event(event)
        self._writer.flush()

    def close(self) -> None:
        """Close the event file."""
        self._writer.close()


def _image_value(png: bytes) -> Any:
    """Return the encoded bytes as they are; width and height stand in a PNG's header."""
    from tensorboard.compat.proto import summary_pb2

    width, height = struct.unpack(">II", png[16:24])
    return summary_pb2.Summary.Image(
        encoded_image_string=png, width=width, height=height, colorspace=3
    )


def _text_value(tag: str, text: str) -> Any:
    from tensorboard.compat.proto import summary_pb2, tensor_pb2, types_pb2

    metadata = summary_pb2.SummaryMetadata(
        plugin_data=summary_pb2.SummaryMetadata.PluginData(plugin_name="text")
    )
    block = "\n".join("    " + line for line in text.splitlines())  # Markdown: as it is
    tensor = tensor_pb2.TensorProto(dtype=types_pb2.DT_STRING, string_val=[block.encode("utf-8")])
    return summary_pb2.Summary.Value(tag=tag, metadata=metadata, tensor=tensor)


class MlflowOutput:
    """Metrics of the active MLflow run; only where MLflow is loaded and a run is active."""

    name = "MLflow"

    @staticmethod
    def active() -> bool:
        """Whether there is a run to log to."""
        mlflow = sys.modules.get("mlflow")
        return mlflow is not None and mlflow.active_run() is not None

    def write(self, epoch: int, values: Mapping[str, float], record: Mapping[str, Any]) -> None:
        """Log the finite numbers."""
        del record
        finite = {key: float(value) for key, value in values.items() if math.isfinite(value)}
        sys.modules["mlflow"].log_metrics(finite, step=epoch)

    def close(self) -> None:
        """Leave the run to its owner."""
