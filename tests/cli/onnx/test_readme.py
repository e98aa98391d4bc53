"""The README is run: its commands print what it shows, its Python works."""

from __future__ import annotations

import contextlib
import io
import re
import shlex

from command_blocks import ROOT, blocks, shown_commands
from command_line import run

NUMBER = re.compile(r"-?\d+\.\d+(?:e-?\d+)?|-?\d+e-?\d+")


def assert_shows(expected: str, actual: str) -> None:
    """Compare texts; a line ``...`` stands for any lines, and numbers agree to 1e-9."""
    pattern = ""
    values: list[float] = []
    for line in expected.rstrip("\n").split("\n"):
        if line == "...":
            pattern += r"(?:.*\n)*?"
            continue
        values += [float(found) for found in NUMBER.findall(line)]
        parts = [re.sub(r"(?:\\ )+", r"\\s+", re.escape(part)) for part in NUMBER.split(line)]
        pattern += r"(-?\d+\.?\d*(?:e-?\d+)?)".join(parts) + r"\n"
    match = re.search(pattern, actual)
    assert match is not None, f"not shown so:\n{actual}"
    for value, found in zip(values, match.groups(), strict=True):
        assert abs(value - float(found)) <= 1e-9 * abs(value) + 1e-12


def test_the_commands_of_the_readme_print_what_it_shows(tmp_path, monkeypatch):
    """Every command after a prompt runs, in order, in one folder."""
    monkeypatch.chdir(tmp_path)
    shown = shown_commands(ROOT / "README.md")
    for one in shown:
        found = run(*shlex.split(one.command)[1:])

        assert (found.status, found.err) == (0, ""), one.command
        if one.output.strip():
            assert_shows(one.output, found.out)
    for name in ("demo.onnx", "demo.png", "boundary.png", "derivation.tex"):
        assert (tmp_path / name).stat().st_size > 0


def test_the_python_of_the_readme_runs(tmp_path, monkeypatch):
    """The snippet prints the equations, the verification and the solutions."""
    monkeypatch.chdir(tmp_path)
    assert run("demo").status == 0
    # the second snippet, about training, is what examples/keras_training.py does in full
    block, _ = [b for b in blocks(ROOT / "README.md") if b.language == "python"]
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        exec(compile(block.text, "README.md", "exec"), {})
    lines = out.getvalue().splitlines()

    assert lines[0].startswith("y_1 = sigmoid(")
    assert "agree" in lines[5]
    assert len(lines) == 10
    assert lines[-1].endswith(" True")
