"""Which frameworks are tested is said from outside: ``NNEQ_TEST_FRAMEWORKS=torch,onnx``.

A framework that is named and does not import is an error, never a skip; so is an unknown name.
The tests of a framework are the files below a folder of its name (``tests/adapters/torch``,
``tests/callbacks/keras``) and the files ``test_<framework>.py`` and ``test_<framework>_*.py``.
They are collected when the framework is named, in the variable or as such a path on the command
line.  ``--only-frameworks`` leaves the other tests out.
"""

from __future__ import annotations

import importlib
import os
from pathlib import Path

import pytest

# Without oneDNN, TensorFlow has no dilated transposed convolution on the CPU; whether it is on by
# itself depends on the processor.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

# framework name -> modules that must import
FRAMEWORKS = {
    "onnx": ("onnx", "onnxruntime"),
    "torch": ("torch",),
    "keras": ("keras",),
    "tensorflow": ("tensorflow",),
    "lightning": ("lightning",),
    "transformers": ("transformers",),
    "sklearn": ("sklearn", "skl2onnx"),
}
TESTS = Path(__file__).parent


def framework_of(path: Path) -> str | None:
    """Return the framework whose tests ``path`` holds, or None."""
    parts = path.relative_to(TESTS).parts if path.is_relative_to(TESTS) else ()
    for part in parts[:-1] if path.suffix else parts:
        if part in FRAMEWORKS:
            return part
    for name in FRAMEWORKS:
        if path.stem == f"test_{name}" or path.stem.startswith(f"test_{name}_"):
            return name
    return None


def named_frameworks(config: pytest.Config) -> set[str]:
    """Return the frameworks named in the environment and on the command line."""
    text = os.environ.get("NNEQ_TEST_FRAMEWORKS", "")
    names = {name.strip() for name in text.split(",") if name.strip()}
    unknown = sorted(names - set(FRAMEWORKS))
    if unknown:
        msg = f"NNEQ_TEST_FRAMEWORKS names {unknown}; known are {sorted(FRAMEWORKS)}"
        raise pytest.UsageError(msg)
    for arg in config.args:
        found = framework_of(Path(config.invocation_params.dir, arg.split("::")[0]))
        if found:
            names.add(found)
    return names


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--only-frameworks", action="store_true", help="run the tests of the named frameworks only"
    )


def pytest_configure(config: pytest.Config) -> None:
    names = named_frameworks(config)
    config.stash[_NAMED] = names
    for name in sorted(names):
        for module in FRAMEWORKS[name]:
            try:
                importlib.import_module(module)
            except ImportError as error:
                msg = f"framework {name!r} is asked for, but {module} does not import: {error}"
                raise pytest.UsageError(msg) from error
    if config.getoption("--only-frameworks") and not names:
        msg = "--only-frameworks needs NNEQ_TEST_FRAMEWORKS to name one"
        raise pytest.UsageError(msg)


def pytest_report_header(config: pytest.Config) -> str:
    names = ", ".join(sorted(config.stash[_NAMED])) or "none"
    backend = os.environ.get("KERAS_BACKEND", "")
    return f"frameworks under test: {names}" + (f" (KERAS_BACKEND={backend})" if backend else "")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    found = framework_of(collection_path)
    if found is not None and found not in config.stash[_NAMED]:
        return True
    if (
        config.getoption("--only-frameworks")
        and found is None
        and collection_path.name.startswith("test_")
        and collection_path.suffix == ".py"
    ):
        return True
    return None


_NAMED: pytest.StashKey[set[str]] = pytest.StashKey()
