"""Model files are untrusted: foreign, damaged, oversized and scripted ones give one clear error."""

from __future__ import annotations

import json
import os
import zipfile
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest

from nneq.adapters.keras import import_model
from nneq.errors import NneqError, UnsupportedError

pytestmark = pytest.mark.filterwarnings("ignore")  # Keras warns about old formats

L = keras.layers


def small() -> Any:
    return keras.Sequential([keras.Input((2,)), L.Dense(2)])


def rewritten(source: Path, target: Path, change: Any) -> None:
    """Copy an archive with its configuration changed."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            if name == "config.json":
                content = json.dumps(change(json.loads(content))).encode()
            new.writestr(name, content)


@pytest.mark.parametrize("suffix", ["keras", "h5"])
def test_lambda_layer_is_refused(tmp_path: Path, suffix: str) -> None:
    """A Lambda layer in a file is pickled code: refused by name, never run."""
    layer = L.Lambda(lambda x: x * 2, name="secret")
    path = tmp_path / f"model.{suffix}"
    keras.Sequential([keras.Input((2,)), layer, L.Dense(2)]).save(path)

    with pytest.raises(UnsupportedError, match=r"pickled code.*'secret'"):
        import_model(path)


def test_custom_class_says_what_to_do(tmp_path: Path) -> None:
    """A class that is not registered is not imported; the message says what to do."""
    path, other = tmp_path / "model.keras", tmp_path / "other.keras"
    small().save(path)

    def change(config: Any) -> Any:
        layer = config["config"]["layers"][1]
        layer.update(class_name="Mine", module="os", registered_name="Mine")
        return config

    rewritten(path, other, change)

    with pytest.raises(NneqError, match=r"cannot read 'other\.keras'"):
        import_model(other)


@pytest.mark.parametrize(
    ("name", "content", "text"),
    [
        ("empty.keras", b"", "empty"),
        ("text.keras", b"hello world, no model here", "neither a .keras archive"),
        ("cut.h5", b"\x89HDF\r\n\x1a\n" + b"\0" * 40, "damaged"),
        ("cut.keras", b"PK\x03\x04" + b"\0" * 40, "damaged"),
    ],
)
def test_foreign_file(tmp_path: Path, name: str, content: bytes, text: str) -> None:
    """Empty, foreign and truncated files are named."""
    path = tmp_path / name
    path.write_bytes(content)

    with pytest.raises(NneqError, match=text) as caught:
        import_model(path)
    assert name in str(caught.value)


def test_missing_file_and_folder(tmp_path: Path) -> None:
    """A wrong path and a folder are said to be that."""
    with pytest.raises(NneqError, match=r"cannot open 'none\.keras'"):
        import_model(tmp_path / "none.keras")
    with pytest.raises(NneqError, match="it is a folder"):
        import_model(tmp_path)


def test_pipe_is_not_opened(tmp_path: Path) -> None:
    """A named pipe would block for ever; it is refused before it is opened."""
    path = tmp_path / "pipe.keras"
    os.mkfifo(path)

    with pytest.raises(NneqError, match="not a regular file"):
        import_model(path)


def test_truncated_archive(tmp_path: Path) -> None:
    """Half a model file is damaged."""
    path = tmp_path / "model.keras"
    small().save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])

    with pytest.raises(NneqError, match="damaged"):
        import_model(path)


def test_zip_bomb_is_refused(tmp_path: Path) -> None:
    """An archive that unpacks to far more than it holds is refused before it is unpacked."""
    path = tmp_path / "bomb.keras"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("config.json", "{}")
        archive.writestr("model.weights.h5", b"\0" * (300 << 20))

    assert path.stat().st_size < 1 << 20
    with pytest.raises(NneqError, match="unpack to"):
        import_model(path)


def test_member_outside_the_archive_is_refused(tmp_path: Path) -> None:
    """A member whose name leaves the archive is refused."""
    path = tmp_path / "slip.keras"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", "{}")
        archive.writestr("../../outside.txt", "x")

    with pytest.raises(NneqError, match="leaves the archive"):
        import_model(path)


def test_links_to_other_files_are_refused(tmp_path: Path) -> None:
    """Weights that lie in another file are never fetched from there."""
    model, other, path = tmp_path / "model.h5", tmp_path / "other.h5", tmp_path / "linked.h5"
    small().save(model)
    with h5py.File(other, "w") as file:
        file["secret"] = np.ones(3)
    for link in (h5py.ExternalLink(str(other), "secret"), None):
        path.write_bytes(model.read_bytes())
        with h5py.File(path, "r+") as file:
            if link is not None:
                file["model_weights"]["stolen"] = link
            else:
                layout = h5py.VirtualLayout(shape=(3,), dtype="f8")
                layout[:] = h5py.VirtualSource(str(other), "secret", shape=(3,))
                file["model_weights"].create_virtual_dataset("stolen", layout)

        with pytest.raises(NneqError, match="another file"):
            import_model(path)


def test_gigantic_weights_are_refused(tmp_path: Path) -> None:
    """A small file that declares terabytes is refused before anything is allocated."""
    path = tmp_path / "model.h5"
    small().save(path)
    with h5py.File(path, "r+") as file:
        file["model_weights"].create_dataset(
            "wide", shape=(1 << 40,), dtype="f4", chunks=(1 << 20,)
        )

    with pytest.raises(NneqError, match="declare"):
        import_model(path)


def test_layer_that_opens_other_files_is_refused(tmp_path: Path) -> None:
    """A layer that loads another folder, or holds a pickled module, is refused by name."""
    path = tmp_path / "model.keras"
    small().save(path)
    for kind, text in (("TFSMLayer", "open other files"), ("TorchModuleWrapper", "pickled code")):
        other = tmp_path / f"{kind}.keras"

        def change(config: Any, kind: str = kind) -> Any:
            config["config"]["layers"][1]["class_name"] = kind
            return config

        rewritten(path, other, change)
        with pytest.raises(UnsupportedError, match=text):
            import_model(other)


def test_weights_file_is_no_model(tmp_path: Path) -> None:
    """A file with weights only says so."""
    path = tmp_path / "only.weights.h5"
    small().save_weights(path)

    with pytest.raises(NneqError, match="perhaps only weights"):
        import_model(path)


def test_names_are_labels(tmp_path: Path) -> None:
    """Names that are code elsewhere stay text and end up nowhere but in labels."""
    name = "__import__('os').system('true')"
    inputs = keras.Input((2,), name=name)
    network = import_model(keras.Model(inputs, L.Dense(1, name="x\x1b[31m")(inputs))).network

    assert name == network.inputs[0].label
    assert "input_1" == network.inputs[0].name
    assert (1, 1) == network(np.zeros((1, 2))).shape
