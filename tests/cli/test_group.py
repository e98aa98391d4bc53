"""The command line's manners: help, usage errors, exit status, no traceback, light start."""

from __future__ import annotations

import json
import subprocess
import sys

import click
import pytest
from command_line import run

from nneq.cli import show, words
from nneq.cli.group import COMMANDS, cli

HEAVY = {"numpy", "sympy", "scipy", "flint", "torch", "keras", "tensorflow", "onnx", "matplotlib"}


def loaded_by(code: str) -> set[str]:
    """Return the heavy packages that a fresh interpreter has loaded after running the code."""
    script = f"import sys, json\ntry:\n    {code}\nexcept SystemExit:\n    pass\n"
    script += "print('|' + json.dumps(sorted({name.split('.')[0] for name in sys.modules})))"
    found = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    ).stdout
    return HEAVY & set(json.loads(found.rsplit("|", 1)[1]))


def test_help_lists_every_command_and_loads_nothing_heavy():
    """The help names all commands; NumPy, SymPy and the frameworks stay unloaded."""
    found = run("--help")

    assert found.status == 0
    assert [name for name in COMMANDS if f"\n  {name} " in found.out] == list(COMMANDS)
    assert set() == loaded_by("from nneq.cli import main; main(['--help'])")


@pytest.mark.parametrize("name", COMMANDS)
def test_help_of_every_command_is_light(name):
    """Each command explains itself without loading anything heavy."""
    found = run(name, "--help")

    assert found.status == 0
    assert f"Usage: nneq {name}" in found.out
    assert set() == loaded_by(f"from nneq.cli import main; main([{name!r}, '--help'])")


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_debug_and_a_help_text(name):
    """Every command takes --debug after its name and describes itself."""
    command = cli.get_command(click.Context(cli), name)

    assert command is not None
    assert command.help
    assert "--debug" in {text for param in command.params for text in param.opts}


@pytest.mark.parametrize(
    "args",
    [
        ["nonsense"],
        ["inspect"],
        ["inspect", "--nonsense", "model.onnx"],
        ["boundary", "model.onnx", "z_1"],
        ["boundary", "model.onnx", "z_1", "z_2", "--box", "x_1"],
        ["boundary", "model.onnx", "z_1", "z_2", "--box", "x_1=3"],
        ["boundary", "model.onnx", "z_1", "z_2", "--at", "x_2=abc"],
        ["boundary", "model.onnx", "z_1", "z_2", "--at", "x_2=nan"],
        ["boundary", "model.onnx", "z_1", "z_2", "--at", "x_2=1,x_2=2"],
        ["boundary", "model.onnx", "z_1", "z_2", "--domain", "0:1"],
        ["boundary", "model.onnx", "z_1", "z_2", "--plot", "a.png"],
        ["boundary", "model.onnx", "z_1", "z_2", "--solve", "x_1", "--plot", "a.gif"],
        ["boundary", "model.onnx", "z_1", "z_2", "--seconds", "0"],
        ["regions", "model.onnx"],
        ["equations", "model.onnx", "--format", "nonsense"],
        ["equations", "model.onnx", "--output", "z_1", "--form", "matrix"],
        ["verify", "model.onnx", "--samples", "0"],
        ["verify", "model.onnx", "--seed", "-1"],
    ],
)
def test_wrong_usage_exits_with_2(args):
    """Wrong usage is told on standard error, with exit status 2 and no traceback."""
    found = run(*args)

    assert found.status == 2
    assert "Usage:" in found.err
    assert "Traceback" not in found.err
    assert found.out == ""


def test_a_missing_model_exits_with_1():
    """A path that does not exist is one message that names it."""
    found = run("inspect", "no-such-file.onnx")

    assert found.status == 1
    assert found.err.startswith("nneq: error: ")
    assert "no-such-file.onnx" in found.err
    assert "Traceback" not in found.err


def test_debug_shows_the_traceback():
    """With --debug the error comes through whole, before or after the command's name."""
    from nneq.errors import NneqError

    for args in (["--debug", "inspect", "no-such.onnx"], ["inspect", "no-such.onnx", "--debug"]):
        with pytest.raises(NneqError, match=r"no-such\.onnx"):
            run(*args)


def test_empty_standard_input_is_an_error():
    """Nothing on standard input is told as such."""
    found = run("inspect", "-")

    assert found.status == 1
    assert "standard input is empty" in found.err


def test_an_error_never_carries_terminal_escapes():
    """Control characters in a path are shown, not sent to the terminal."""
    found = run("inspect", "no\x1b[31m-such\u202e.onnx")

    assert found.status == 1
    assert "\x1b" not in found.err
    assert "\u202e" not in found.err


def test_version():
    """The version is the package's."""
    import nneq

    found = run("--version")

    assert (0, f"nneq {nneq.__version__}\n") == (found.status, found.out)


def test_json_has_no_numbers_that_json_does_not_have():
    """Infinities and NaN become strings, arrays lists, fractions quotients."""
    from fractions import Fraction

    import numpy as np

    found = show.jsonable(
        {"a": np.inf, "b": [np.float32(0.5), -np.inf], "c": np.array([[1, 2]]), "d": Fraction(1, 3)}
    )

    assert {"a": "inf", "b": [0.5, "-inf"], "c": [[1, 2]], "d": "1/3"} == found


def test_a_word_that_is_a_number_is_a_level():
    """A number in place of the second output is a level; everything else is a name."""
    assert words.output_or_level("0.5") == 0.5
    assert words.output_or_level("z_2") == "z_2"
