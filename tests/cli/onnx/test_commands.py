"""Every command on ONNX files, from the demo's network to hostile names."""

from __future__ import annotations

import itertools
import json
import math
import re

import numpy as np
import onnx
import pytest
from command_blocks import ROOT
from command_line import run
from onnx import TensorProto, helper, numpy_helper

from nneq.cli.demo import demo_weights, direct


def model(widths, activation, *, seed=0, names=("x", "z"), last=None) -> onnx.ModelProto:
    """Return a dense ONNX network with random weights."""
    rng = np.random.default_rng(seed)
    nodes, tensors, value = [], [], names[0]
    for k, (n_in, n_out) in enumerate(itertools.pairwise(widths)):
        tensors.append(
            numpy_helper.from_array(rng.standard_normal((n_in, n_out)).astype(np.float32), f"W{k}")
        )
        tensors.append(
            numpy_helper.from_array(rng.standard_normal(n_out).astype(np.float32), f"b{k}")
        )
        final = k == len(widths) - 2
        after = names[1] if final and not last else f"a{k}"
        nodes.append(helper.make_node("Gemm", [value, f"W{k}", f"b{k}"], [after], name=f"layer{k}"))
        value = after
        if not final:
            nodes.append(helper.make_node(activation, [value], [f"y{k}"]))
            value = f"y{k}"
    if last:
        nodes.append(helper.make_node(last, [value], [names[1]]))
    graph = helper.make_graph(
        nodes,
        "dense",
        [helper.make_tensor_value_info(names[0], TensorProto.FLOAT, ["batch", widths[0]])],
        [helper.make_tensor_value_info(names[1], TensorProto.FLOAT, ["batch", widths[-1]])],
        tensors,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return a folder with demo.onnx, relu.onnx and deep.onnx; the demo's run is kept beside."""
    made = tmp_path_factory.mktemp("models")
    made.joinpath("relu.onnx").write_bytes(model([2, 6, 6, 3], "Relu").SerializeToString())
    made.joinpath("deep.onnx").write_bytes(model([2, 9, 9, 2], "Tanh").SerializeToString())
    made.joinpath("one.onnx").write_bytes(
        model([2, 5, 1], "Tanh", last="Sigmoid").SerializeToString()
    )
    return made


@pytest.fixture(scope="module")
def demo(folder):
    """Run the demo once."""
    return run("demo", "-d", folder)


def test_the_demo_does_everything(demo, folder):
    """The demo ends well, every statement holds, and both files are there."""
    assert (demo.status, demo.err) == (0, "")
    assert "FAILS" not in demo.out
    assert demo.out.count("\n  holds ") == 6
    assert "The 8 constants C_S" in demo.out
    assert "complete: there are no other solutions (proven)" in demo.out
    assert (folder / "demo.png").read_bytes().startswith(b"\x89PNG")
    onnx.checker.check_model(onnx.load(folder / "demo.onnx"))


def test_the_demo_shows_solutions_that_direct_evaluation_confirms(demo):
    """The numbers in the table are zeros of the difference of the logits."""
    rows = [line.split() for line in demo.out.splitlines() if line.endswith("enclosed")]
    points = [[float(row[1]), 0.3] for row in rows]
    logits = direct(demo_weights(), points)

    assert len(points) == 3
    assert np.abs(logits[:, 0] - logits[:, 1]).max() < 1e-12


@pytest.mark.parametrize("x2", [-5.0, 0.0, 0.3, 0.49])
def test_the_demo_holds_for_other_lines(tmp_path, x2):
    """The checks are made on whatever line is asked for."""
    found = run("demo", "-d", tmp_path, "--x2", x2)

    assert found.status == 0
    assert "FAILS" not in found.out


@pytest.mark.usefixtures("demo")
def test_inspect_reads_what_the_demo_wrote(folder):
    """``nneq inspect demo.onnx`` works on the file of the demo, as text and as JSON."""
    text = run("inspect", folder / "demo.onnx")
    found = run("inspect", folder / "demo.onnx", "--json").json

    assert text.status == 0
    assert "2 - 3 - 2" in text.out
    assert found["schema"] == "nneq.inspect/1"
    assert (found["parameters"], found["widths"]) == (17, [2, 3, 2])
    assert found["source"]["framework"] == "onnx"
    assert [port["label"] for port in found["inputs"]] == ["x"]


@pytest.mark.usefixtures("demo")
def test_standard_input_gives_the_same_answer(folder):
    """A model on standard input is read like a file."""
    named = run("inspect", folder / "demo.onnx", "--json").json
    piped = run("inspect", "-", "--json", stdin=(folder / "demo.onnx").read_bytes()).json

    assert piped["source"].pop("label") == "standard input"
    assert named["source"].pop("label").endswith("demo.onnx")
    assert named == piped


@pytest.mark.usefixtures("demo")
@pytest.mark.parametrize(
    ("style", "form"),
    [
        *itertools.product(["text", "latex"], ["system", "matrix", "expression"]),
        ("json", None),
    ],
)
def test_equations_in_every_form(folder, tmp_path, style, form):
    """Every form in every format is printed, and -o writes the same text."""
    args = (
        "equations",
        folder / "demo.onnx",
        "--format",
        style,
        *(["--form", form] if form else []),
    )
    printed = run(*args)
    written = run(*args, "-o", tmp_path / "out")

    assert (printed.status, printed.err) == (0, "")
    assert printed.out == (tmp_path / "out").read_text(encoding="utf-8")
    assert written.out == ""
    assert printed.out.strip()


@pytest.mark.usefixtures("demo")
def test_equations_hold_every_weight_to_the_last_bit(folder):
    """Each float32 weight stands in the system as a decimal that gives it back."""
    text = run("equations", folder / "demo.onnx").out
    weights = np.concatenate([array.ravel() for array in demo_weights()])
    missing = [w for w in weights.tolist() if repr(abs(w)) not in text]

    assert missing == []


@pytest.mark.usefixtures("demo")
def test_one_output_is_one_expression(folder):
    """--output gives that output in the inputs only."""
    found = run("equations", folder / "demo.onnx", "--output", "z_2")

    assert found.out.startswith("z_2 = ")
    assert found.out.count("\n") == 1
    assert "y_" not in found.out


@pytest.mark.usefixtures("demo")
def test_the_model_is_never_overwritten(folder):
    """-o and --plot refuse the model's own file."""
    before = (folder / "demo.onnx").read_bytes()
    found = run("equations", folder / "demo.onnx", "-o", folder / "demo.onnx")

    assert found.status == 2
    assert "is the model itself" in found.err
    assert before == (folder / "demo.onnx").read_bytes()


@pytest.mark.usefixtures("demo")
def test_an_output_folder_that_does_not_exist(folder, tmp_path):
    """The message names the file."""
    found = run("equations", folder / "demo.onnx", "-o", tmp_path / "no" / "out.txt")

    assert found.status == 1
    assert "out.txt" in found.err
    assert "Traceback" not in found.err


@pytest.mark.parametrize("name", ["relu.onnx", "deep.onnx", "one.onnx"])
def test_verify(folder, name):
    """The equations agree with the framework, and the numbers say how well."""
    found = run("verify", folder / name, "--samples", "50", "--json")

    assert found.status == 0
    assert found.json["passed"] is True
    assert found.json["samples"] == 50
    assert 0 <= found.json["max_rel_error"] <= found.json["tolerance"]
    assert run("verify", folder / name, "--samples", "5").status == 0


def test_boundary_on_a_line(folder):
    """All solutions on the whole line, as a table and as JSON with enclosures."""
    args = ("boundary", folder / "deep.onnx", "z_1", "z_2", "--solve", "x_1", "--at", "x_2=0.3")
    found = run(*args, "--json").json
    text = run(*args)

    assert text.status == 0
    assert found["engine"] == "certified"
    line = found["solutions"]
    assert line["complete"] is True
    assert (line["domain"], line["at"]) == (["-inf", "inf"], {"x_2": 0.3})
    for root in line["roots"]:
        assert root["lower"] <= root["value"] <= root["upper"]
        assert repr(root["value"]) in text.out
        assert root["certificate"]["kind"] == "enclosed"


def test_boundary_of_a_piecewise_linear_network(folder):
    """A ReLU network is solved by the exact engine."""
    found = run(
        "boundary",
        folder / "relu.onnx",
        "z_1",
        "z_3",
        "--solve",
        "x_2",
        "--at",
        "x_1=0.1",
        "--json",
    )

    assert found.status == 0
    assert found.json["engine"] == "exact"
    assert found.json["solutions"]["complete"] is True


def test_a_level_of_one_output(folder):
    """A number in place of the second output asks for a level."""
    found = run(
        "boundary", folder / "one.onnx", "z_1", "0.5", "--solve", "x_1", "--at", "x_2=0", "--json"
    )

    assert found.status == 0
    assert found.json["question"] == "z_1 = 0.5"


@pytest.mark.parametrize("name", ["deep.onnx", "relu.onnx"])
def test_boundary_in_a_box(folder, tmp_path, name):
    """The curve in a box, its picture, and the claim that goes with it."""
    target = tmp_path / "curve.svg"
    found = run(
        "boundary", folder / name, "z_1", "z_2", "--box", "x_1=-2:2,x_2=-2:2",
        "--plot", target, "--json",
    )  # fmt: skip
    curve = found.json["curve"]

    assert found.status == 0
    assert curve["complete"] is True
    assert curve["undecided"] == []
    assert math.isclose(curve["length"], sum(part["length"] for part in curve["components"]))
    assert target.read_text(encoding="utf-8").startswith("<?xml")


def test_a_budget_that_is_too_small_exits_with_3(folder):
    """What could not be decided in time is said, with exit status 3."""
    found = run(
        "boundary", folder / "deep.onnx", "z_1", "z_2", "--box", "x_1=-50:50,x_2=-50:50",
        "--seconds", "0.000001",
    )  # fmt: skip

    assert found.status == 3
    assert found.err == ""
    assert "not decided" in found.out or "not complete" in found.out or "undecided" in found.out


def test_regions(folder, tmp_path):
    """The linear regions fill the box; the picture is drawn."""
    target = tmp_path / "regions.png"
    found = run(
        "regions",
        folder / "relu.onnx",
        "--box",
        "x_1=-2:2,x_2=-2:2",
        "--between",
        "z_2",
        "z_3",
        "--plot",
        target,
        "--json",
    )
    text = run(
        "regions", folder / "relu.onnx", "--box", "x_1=-2:2,x_2=-2:2", "--between", "z_2", "z_3"
    )
    count = found.json["region_count"]

    assert (found.status, text.status) == (0, 0)
    assert count == len(found.json["regions"]) > 1
    assert len(found.json["pieces"]) > 0
    assert found.json["pieces"][0]["equation"].endswith(" = 0")
    assert f"{count:,}" in text.out
    assert target.stat().st_size > 0


def test_regions_of_a_smooth_network_are_refused(folder):
    """The message names what is in the way and what to use instead."""
    found = run("regions", folder / "deep.onnx", "--box", "x_1=-2:2,x_2=-2:2")

    assert found.status == 1
    assert "tanh" in found.err
    assert "Traceback" not in found.err


@pytest.mark.usefixtures("demo")
@pytest.mark.parametrize("style", ["text", "latex"])
def test_derive(folder, style):
    """The derivation is printed in both formats."""
    found = run("derive", folder / "demo.onnx", "z_1", "z_2", "--format", style)

    assert (found.status, found.err) == (0, "")
    assert len(found.out.splitlines()) > 10


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["boundary", "deep.onnx", "z_1", "z_9"], ["z_9", "z_1"]),
        (["boundary", "deep.onnx", "z_1", "z_1"], ["everywhere"]),
        (["boundary", "deep.onnx", "z_1", "z_2", "--solve", "x_7"], ["x_7", "x_1"]),
        (["boundary", "deep.onnx", "z_1", "z_2", "--solve", "x_1"], ["x_2", "at"]),
        (["boundary", "deep.onnx", "z_1", "z_2", "--box", "x_1=3:-3,x_2=0:1"], ["x_1", "above"]),
        (["boundary", "deep.onnx", "z_1", "z_2", "--solve", "x_1", "--at", "x_2=0", "--domain",
          "1:0"], ["reversed"]),
        (["equations", "deep.onnx", "--output", "z_9"], ["z_9", "z_1, z_2"]),
    ],
)  # fmt: skip
def test_wrong_questions_are_one_clear_message(folder, args, words):
    """Unknown names and bad boxes name what is there, with exit status 1."""
    found = run(args[0], folder / args[1], *args[2:])

    assert found.status == 1
    assert "Traceback" not in found.err
    assert [word for word in words if word not in found.err] == []


def test_hostile_names_never_reach_the_terminal(tmp_path):
    """Escapes, markup and formulas in a model's names are shown as text."""
    names = ("\x1b]0;owned\x07[red]=cmd()", "__import__('os').system('x')\u202e")
    path = tmp_path / "hostile.onnx"
    path.write_bytes(model([2, 3, 2], "Tanh", names=names).SerializeToString())
    text = run("inspect", path)
    found = run("inspect", path, "--json")

    assert text.status == found.status == 0
    assert "\x1b" not in text.out + found.out
    assert "\u202e" not in text.out + found.out
    assert "[red]=cmd()" in text.out
    assert found.json["inputs"][0]["label"] == names[0]
    assert run("equations", path).status == 0


@pytest.mark.parametrize(
    "content",
    [b"", b"hello", b"PK\x03\x04broken", b"\x89HDF\r\n\x1a\nbroken", b"\x08\x08\x3a\xff\xff\xff"],
)
def test_files_that_are_no_models(tmp_path, content):
    """Foreign and broken files are one message, as files and on standard input."""
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    for found in (run("inspect", path), run("inspect", "-", stdin=content)):
        assert found.status == 1
        assert found.err.startswith("nneq: error: ")
        assert "Traceback" not in found.err
        assert "fault of nneq" not in found.err
        assert "/nneq-" not in found.err


def test_a_folder_is_no_model(tmp_path):
    """A folder that is no SavedModel is named."""
    found = run("inspect", tmp_path)

    assert found.status == 1
    assert "Traceback" not in found.err


def test_nothing_is_written_by_reading(folder, tmp_path, monkeypatch):
    """Inspecting writes no file into the working folder."""
    monkeypatch.chdir(tmp_path)
    run("inspect", folder / "relu.onnx")
    run("verify", folder / "relu.onnx", "--samples", "2")

    assert list(tmp_path.iterdir()) == []


def test_json_is_one_object(folder):
    """Standard output with --json is JSON and nothing else."""
    found = run("inspect", folder / "relu.onnx", "--json")

    assert isinstance(json.loads(found.out), dict)


def keys_of(value) -> set[str]:
    """Return every key in a JSON value, except those of mappings by input name."""
    if isinstance(value, dict):
        inner = set().union(*(keys_of(item) for key, item in value.items() if key != "at"))
        return inner | set(value)
    if isinstance(value, list):
        return set().union(*(keys_of(item) for item in value[:3]), set())
    return set()


def test_every_key_of_the_json_is_documented(folder):
    """docs/cli.md names each field of each schema."""
    page = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    documented = set(re.findall(r"`([\w.-]+)`", page))
    line = ("--solve", "x_1", "--at", "x_2=0.3")
    box = ("--box", "x_1=-2:2,x_2=-2:2")
    relu, deep = folder / "relu.onnx", folder / "deep.onnx"
    records = [
        run("inspect", deep, "--json").json,
        run("verify", deep, "--samples", "2", "--json").json,
        run("boundary", deep, "z_1", "z_2", *line, *box, "--json").json,
        run("boundary", relu, "z_2", "z_3", *line, *box, "--json").json,
        run("regions", relu, *box, "--between", "z_2", "z_3", "--json").json,
    ]
    for record in records:
        record["source"] = {**record.get("source", {}), "details": {}}
    missing = set().union(*(keys_of(record) for record in records)) - documented

    assert {"nneq.inspect/1", "nneq.verify/1", "nneq.boundary/1", "nneq.regions/1"} == {
        record["schema"] for record in records
    }
    assert missing == set()
