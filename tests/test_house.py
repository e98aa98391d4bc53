"""The rules about which tests run are themselves tested."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def run_pytest(frameworks: str, *args: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Collect the tests in a fresh process with ``NNEQ_TEST_FRAMEWORKS`` set."""
    return subprocess.run(
        [sys.executable, "-m", "pytest", "--collect-only", "-q", *args],
        cwd=cwd,
        env={**os.environ, "NNEQ_TEST_FRAMEWORKS": frameworks},
        capture_output=True,
        text=True,
        check=False,
    )


def test_an_unknown_framework_is_an_error():
    """A name that nobody knows stops the run."""
    found = run_pytest("torhc", "tests/test_house.py")

    assert found.returncode != 0
    assert "NNEQ_TEST_FRAMEWORKS names ['torhc']" in found.stderr


def test_a_named_framework_that_does_not_import_is_an_error(tmp_path, monkeypatch):
    """A framework that is asked for and missing stops the run instead of skipping."""
    (tmp_path / "lightning.py").write_text("raise ImportError('not here')\n", encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    found = run_pytest("lightning", "tests/test_house.py")

    assert found.returncode != 0
    assert "framework 'lightning' is asked for, but lightning does not import" in found.stderr


def test_only_the_named_frameworks_are_collected(tmp_path):
    """A framework's folder is collected when it is named; --only-frameworks drops the rest."""
    (tmp_path / "conftest.py").write_text(
        (ROOT / "tests" / "conftest.py")
        .read_text(encoding="utf-8")
        .replace('("torch",)', '("json",)'),
        encoding="utf-8",
    )
    for name in ("adapters/torch/test_a.py", "adapters/keras/test_b.py", "test_c.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("def test_it():\n    pass\n", encoding="utf-8")

    def collected(frameworks: str, *args: str) -> set[str]:
        lines = run_pytest(frameworks, "-p", "no:cacheprovider", *args, cwd=tmp_path).stdout
        return {Path(line.split("::")[0]).name for line in lines.splitlines() if "::" in line}

    assert {"test_c.py"} == collected("")
    assert {"test_a.py", "test_c.py"} == collected("torch")
    assert {"test_a.py"} == collected("torch", "--only-frameworks")
    assert {"test_a.py"} == collected("", "adapters/torch")


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("adapters/torch/test_x.py", "torch"),
        ("callbacks/keras", "keras"),
        ("cli/test_onnx_files.py", "onnx"),
        ("test_laws.py", None),
    ],
)
def test_the_framework_of_a_file_is_read_from_its_path(path, expected, request):
    """Folders and file names say which framework a test needs."""
    plugin = next(
        module
        for module in request.config.pluginmanager.get_plugins()
        if hasattr(module, "framework_of")
    )

    assert expected == plugin.framework_of(ROOT / "tests" / path)
