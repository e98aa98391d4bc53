"""Where an epoch's record goes: CSV, JSON lines, TensorBoard, MLflow.

Every file is complete after every epoch: a line is written whole, flushed and synced, so that a
killed run leaves all finished epochs readable.
"""

from __future__ import annotations

import importlib.util
import json
import math
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any, Protocol

from nneq.errors import MissingDependencyError, NneqError

__all__ = ["CsvOutput", "JsonLinesOutput", "MlflowOutput", "Output", "TensorBoardOutput", "opened"]


class Output(Protocol):
    """One destination."""

    def write(self, epoch: int, values: Mapping[str, float], record: Mapping[str, Any]) -> None:
        """Write one epoch: the plain numbers and the whole record."""

    def close(self) -> None:
        """Finish."""


def opened(path: str | os.PathLike[str]) -> IO[str]:
    """Open a text file for writing, with its folder made.

    Raises:
        NneqError: it cannot be written.
    """
    target = Path(path)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        return target.open("w", encoding="utf-8", newline="")
    except OSError as error:
        msg = (
            f"cannot write {str(target)!r}: {error.strerror or error}; give a path in a folder "
            "that can be written"
        )
        raise NneqError(msg) from None


def _sync(file: IO[str]) -> None:
    file.flush()
    os.fsync(file.fileno())


class CsvOutput:
    """One row per epoch, the columns fixed by the first."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Open the file."""
        self._file = opened(path)
        self._columns: list[str] = []

    def write(self, epoch: int, values: Mapping[str, float], record: Mapping[str, Any]) -> None:
        """Write one row of numbers."""
        del record
        if not self._columns:
            self._columns = list(values)
            self._file.write(",".join(["epoch", *self._columns]) + "\r\n")
        row = [str(epoch), *(repr(float(values[column])) for column in self._columns)]
        self._file.write(",".join(row) + "\r\n")
        _sync(self._file)

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class JsonLinesOutput:
    """One JSON object per epoch, with the curve and the equations."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Open the file."""
        self._file = opened(path)

    def write(self, epoch: int, values: Mapping[str, float], record: Mapping[str, Any]) -> None:
        """Write one object; numbers that JSON does not have become null."""
        line = {"epoch": epoch, "values": dict(values), **record}
        self._file.write(json.dumps(_plain(line), allow_nan=False) + "\n")
        _sync(self._file)

    def close(self) -> None:
        """Close the file."""
        self._file.close()


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
        import time

        from tensorboard.compat.proto import event_pb2, summary_pb2

        parts = [
            summary_pb2.Summary.Value(tag=key, simple_value=float(value))
            for key, value in values.items()
            if math.isfinite(value)
        ]
        if record.get("text"):
            parts.append(_text_value("boundary/equation", str(record["text"])))
        if record.get("png"):
            image = summary_pb2.Summary.Image(encoded_image_string=record["png"])
            parts.append(summary_pb2.Summary.Value(tag="boundary/picture", image=image))
        event = event_pb2.Event(
            wall_time=time.time(), step=epoch, summary=summary_pb2.Summary(value=parts)
        )
        self._writer.add_event(event)
        self._writer.flush()

    def close(self) -> None:
        """Close the event file."""
        self._writer.close()


def _text_value(tag: str, text: str) -> Any:
    from tensorboard.compat.proto import summary_pb2, tensor_pb2, types_pb2

    metadata = summary_pb2.SummaryMetadata(
        plugin_data=summary_pb2.SummaryMetadata.PluginData(plugin_name="text")
    )
    tensor = tensor_pb2.TensorProto(dtype=types_pb2.DT_STRING, string_val=[text.encode("utf-8")])
    return summary_pb2.Summary.Value(tag=tag, metadata=metadata, tensor=tensor)


class MlflowOutput:
    """Metrics of the active MLflow run; only where MLflow is loaded and a run is active."""

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
