"""No option is ignored, and what a command says speaks of its own options."""

from __future__ import annotations

import re

import pytest
from cli.onnx.test_commands import model
from command_line import run

PYTHON = re.compile(
    r"\w=\{|\w=\(|exact=|decision=|limit=|Budget\(|\.undecided|trace\(|solve\(|_form\(|system\(\)"
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return a folder with small models."""
    made = tmp_path_factory.mktemp("models")
    for name, widths, rule in (
        ("relu", [2, 6, 6, 3], "Relu"),
        ("deep", [2, 9, 9, 2], "Tanh"),
        ("one", [2, 5, 1], "Relu"),
        ("four", [4, 6, 3], "Relu"),
        ("many", [2, 30, 30, 2], "Relu"),
    ):
        made.joinpath(f"{name}.onnx").write_bytes(model(widths, rule).SerializeToString())
    return made


QUESTION = ("boundary", "relu.onnx", "z_1", "z_2")
BOX = ("--box", "x_1=-2:2,x_2=-2:2")
LINE = ("--solve", "x_1", "--at", "x_2=0.3")


def ask(folder, *args):
    """Run a command on a model of the folder."""
    return run(args[0], folder / args[1], *args[2:])


@pytest.mark.parametrize(
    ("args", "words"),
    [
        ((*QUESTION, "--at", "x_2=0.3"), ["--at", "--solve", "--box"]),
        ((*QUESTION, "--exact"), ["--exact", "--solve", "--box"]),
        ((*QUESTION, "--precision", "float32"), ["--precision", "--solve", "--box"]),
        ((*QUESTION, "--decision"), ["--decision", "--solve", "--box"]),
        ((*QUESTION, "--seconds", "5"), ["--seconds", "--solve", "--box"]),
        ((*QUESTION, "--domain", "0:1", *BOX), ["--domain", "--solve"]),
        ((*QUESTION, *BOX, "--at", "x_2=0.3"), ["x_2", "--box", "--at"]),
        ((*QUESTION, "--box", "x_1=-2:2,x_2=0:0", "--at", "x_2=1"), ["x_2", "--box", "--at"]),
        ((*QUESTION, *LINE, "--exact", "--precision", "float32"), ["--exact", "--precision"]),
        ((*QUESTION, *LINE, "--solve", "x_2"), ["--solve", "twice"]),
        ((*QUESTION, *LINE, "--at", "x_2=0.4"), ["x_2", "twice"]),
        ((*QUESTION, *BOX, "--box", "x_2=0:1"), ["x_2", "twice"]),
        (("equations", "relu.onnx", "--form", "expression", "--format", "json"), ["--form"]),
        (("equations", "relu.onnx", "--output", "z_1", "--format", "json"), ["--output"]),
        (("equations", "relu.onnx", "--format", "text", "--format", "latex"), ["twice"]),
        (("derive", "relu.onnx", "z_1", "z_2", "-o", "a", "--output-file", "b"), ["twice"]),
        (("verify", "relu.onnx", "--seed", "1", "--seed", "2"), ["--seed", "twice"]),
        (
            (
                "regions",
                "four.onnx",
                "--box",
                "x_1=0:1,x_2=0:1,x_3=0:1",
                "--at",
                "x_4=0",
                "--plot",
                "a.png",
            ),
            ["--plot", "--box has 3", "--at"],
        ),
        (("regions", "relu.onnx", *BOX, "--at", "x_2=0.3"), ["x_2", "--box", "--at"]),
    ],
)
def test_an_option_that_would_be_ignored_is_wrong_usage(folder, args, words):
    """The message says which option needs, or excludes, which."""
    found = ask(folder, *args)

    assert (found.status, found.out) == (2, "")
    assert [word for word in words if word not in found.err.partition("Error:")[2]] == []


def test_a_second_output_that_is_asked_for_is_never_replaced(folder):
    """Only the default of --between becomes z_1 = 0 where there is one output."""
    named = ask(folder, "regions", "one.onnx", *BOX, "--between", "z_1", "z_2")
    usual = ask(folder, "regions", "one.onnx", *BOX)

    assert (named.status, usual.status) == (1, 0)
    assert "z_2" in named.err
    assert "z_1 = 0" in usual.out


def test_a_box_of_three_inputs_can_be_exact(folder):
    """--exact reaches the surface."""
    box = ("--box", "x_1=-1:1,x_2=-1:1,x_3=-1:1", "--at", "x_4=0")
    found = ask(folder, "boundary", "four.onnx", "z_1", "z_2", *box, "--exact", "--json")

    assert found.status == 0
    assert found.json["surface"]["certificate"]["kind"] == "exact"


def test_at_and_box_may_be_given_in_parts(folder):
    """Several --at, or --box, add up."""
    line = ask(
        folder, "boundary", "four.onnx", "z_1", "z_2", "--solve", "x_1",
        "--at", "x_2=0", "--at", "x_3=1", "--at", "x_4=2", "--json",
    )  # fmt: skip
    area = ask(folder, *QUESTION, "--box", "x_1=-1:1", "--box", "x_2=-1:1", "--json")

    assert line.json["solutions"]["at"] == {"x_2": 0.0, "x_3": 1.0, "x_4": 2.0}
    assert area.json["curve"]["box"] == [[-1.0, 1.0], [-1.0, 1.0]]


@pytest.mark.parametrize("level", ["-0.5", "-.5", "-5e-1"])
@pytest.mark.parametrize("place", ["plain", "last", "dashes"])
def test_a_negative_level(folder, level, place):
    """A negative number is a level, with and without the dashes, before and after options."""
    args = {
        "plain": ("z_1", level, *LINE),
        "last": (*LINE, "z_1", level),
        "dashes": (*LINE, "--", "z_1", level),
    }[place]
    found = run("boundary", folder / "relu.onnx", "--json", *args)

    assert (found.status, found.err) == (0, "")
    assert found.json["question"] == "z_1 = -0.5"
    assert "z_1 = -0.5" in ask(folder, "regions", "relu.onnx", *BOX, "--between", "z_1", level).out


def test_other_options_are_still_checked(folder):
    """An option that does not exist is no level; derive takes a negative level too."""
    found = ask(folder, *QUESTION, "-x")
    close = ask(folder, *QUESTION, "--solv", "x_1")

    assert (found.status, close.status) == (2, 2)
    assert "No such option '-x'" in found.err
    assert "--solve" in close.err
    assert ask(folder, "derive", "relu.onnx", "z_1", "-0.5").status == 0


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("four.onnx", "z_1", "z_2", "--solve", "x_1"), ["--at x_2=0.0,x_3=0.0,x_4=0.0\n"]),
        (("four.onnx", "z_1", "z_2", *BOX), ["--at x_3=0.0,x_4=0.0"]),
        (("four.onnx", "z_1", "z_2", "--box", "x_1=0:1"), ["fix the others with --at"]),
        (("relu.onnx", "z_1", "z_2", *LINE, "--at", "x_1=1"), ["fixed by --at"]),
        (("relu.onnx", "z_1", "z_2", "--solve", "x_1", "--at", "x_2=inf"), ["--at x_2 is not"]),
        (("deep.onnx", "z_1", "z_2", *LINE, "--exact"), ["--exact needs", "leave --exact out"]),
        (("relu.onnx", "z_1", "0.5", *LINE, "--decision"), ["--decision is about two outputs"]),
    ],
)
def test_advice_speaks_of_options(folder, args, words):
    """What a user can do is told in the words of the command line."""
    found = run("boundary", folder / args[0], *args[1:])

    assert found.status == 1
    assert [word for word in words if word not in found.err] == []
    assert not PYTHON.search(found.err)


def test_advice_of_regions(folder):
    """A smooth network, and too many regions."""
    smooth = ask(folder, "regions", "deep.onnx", *BOX)
    many = ask(folder, "regions", "many.onnx", *BOX, "--limit", "3")

    assert (smooth.status, many.status) == (1, 1)
    assert "use nneq boundary with --box" in smooth.err
    assert "raise --limit" in many.err
    assert not PYTHON.search(smooth.err + many.err)


@pytest.mark.parametrize("name", ["deep.onnx", "relu.onnx"])
def test_time_that_ran_out_is_said(folder, name):
    """The time limit is named, and one box is one box."""
    box = ("--box", "x_1=-50:50,x_2=-50:50", "--seconds", "0.000001")
    found = ask(folder, "boundary", name, "z_1", "z_2", *box)

    assert found.status == 3
    assert "1 box is not decided" in found.out
    assert "the time was used up" in found.out
    assert "--seconds" in found.out
    assert not PYTHON.search(found.out)


def test_no_solutions_are_no_solutions(folder):
    """Without a solution there is no table, and nothing about other ones."""
    line = ("--solve", "x_1", "--at", "x_2=0", "--domain")
    found = ask(folder, "boundary", "relu.onnx", "z_1", "1e6", *line, "-1:1")
    curve = ask(folder, "boundary", "relu.onnx", "z_1", "1e6", *BOX)
    box = ("--box", "x_1=-1:1,x_2=-1:1,x_3=-1:1", "--at", "x_4=0")
    surface = ask(folder, "boundary", "four.onnx", "z_1", "1e6", *box)

    for ran in (found, curve, surface):
        assert ran.status == 0
        assert "no solutions (proven)" in ran.out
        assert "other" not in ran.out
        assert "crossing" not in ran.out
        assert "component" not in ran.out


def test_the_reduced_function_has_its_own_name(folder):
    """It is g, not an output; the words say what its zeros are."""
    two = ask(folder, "boundary", "relu.onnx", "z_2", "z_3").out
    level = ask(folder, "boundary", "one.onnx", "z_1", "0.5").out

    assert "z_2 = z_3 where g = 0" in two
    assert "z_1 = 0.5 where g = 0" in level
    for text in (two, level):
        assert "\ng = " in text
        assert not re.search(r"^z_\d+ = .*y", text, re.MULTILINE)


def test_a_picture_says_what_it_shows(folder, tmp_path):
    """Fixed values in the title, the sides in the legend, solutions where they lie in the box."""
    args = ("boundary", folder / "four.onnx", "z_1", "z_2", "--plot", tmp_path / "a.svg")
    box = ("--box", "x_1=-9:9,x_2=-2:2")
    found = run(*args, *box, "--solve", "x_1", "--at", "x_2=0,x_3=0.25,x_4=-1")
    picture = (tmp_path / "a.svg").read_text(encoding="utf-8")
    away = run(*args, *box, "--box", "x_3=1:1", "--solve", "x_1", "--at", "x_2=0,x_3=0,x_4=-1")

    assert (found.status, found.err) == (0, "")
    for text in ("z_1 = z_2 at x_3 = 0.25, x_4 = -1", "z_1 &gt; z_2", "solved for x_1 at x_2 = 0"):
        assert f"<!-- {text} -->" in picture
    assert "not drawn" in away.err


def test_a_line_through_many_inputs_is_drawn(tmp_path):
    """A result does not repeat a hundred fixed inputs; its picture needs them."""
    (tmp_path / "wide.onnx").write_bytes(model([100, 3, 2], "Tanh").SerializeToString())
    at = ",".join(f"x_{k}=0.1" for k in range(2, 101))
    target = tmp_path / "a.svg"
    found = run(
        "boundary", tmp_path / "wide.onnx", "z_1", "z_2", "--solve", "x_1", "--at", at,
        "--domain", "-1:1", "--plot", target,
    )  # fmt: skip

    assert (found.status, found.err) == (0, "")
    assert "z_1 = z_2 at 99 fixed inputs" in target.read_text(encoding="utf-8")
