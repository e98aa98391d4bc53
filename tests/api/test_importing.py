"""Which adapter reads what, names and scalers, and one clear error for everything else."""

from __future__ import annotations

import os
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from zoo_networks import mlp

import nneq
from nneq.api import importing, registration
from nneq.ir import Source
from nneq.lowering import Builder


def test_a_network_is_read_as_it_is():
    """to_network of a network is the network."""
    network = mlp([2, 3, 2])

    assert network.nodes == nneq.to_network(network).nodes


@pytest.mark.parametrize("thing", [3, "", None, [1, 2], {"a": 1}, np.zeros(3), object()])
def test_what_is_no_model_is_refused(thing):
    """The message names the type and what is accepted."""
    with pytest.raises(nneq.NneqError, match=r"cannot read a|cannot open|is a folder"):
        nneq.to_network(thing)


@pytest.mark.parametrize(
    ("module", "name", "hint"),
    [
        ("sklearn.neural_network._mlp", "MLPClassifier", "skl2onnx.to_onnx"),
        ("onnx_ir._core", "Model", "onnx_ir.to_proto"),
    ],
)
def test_a_neighbour_gets_a_hint(module, name, hint):
    """Models of related packages are told how to come in."""
    thing = type(name, (), {"__module__": module})()

    with pytest.raises(nneq.UnsupportedError, match=hint):
        nneq.to_network(thing)


@pytest.mark.parametrize(
    ("modules", "names", "expected"),
    [
        (["torch.nn.modules.module"], ["Module"], "torch"),
        (["torch.export.exported_program"], ["ExportedProgram"], "torch"),
        (["keras.src.models.model", "tensorflow.python.trackable"], ["Model", "Auto"], "keras"),
        (["keras.src.models.model", "torch.nn.modules.module"], ["Model", "Module"], "keras"),
        (["tensorflow.python.module.module"], ["Module"], "tensorflow"),
        (["onnx.onnx_ml_pb2"], ["ModelProto"], "onnx"),
    ],
)
def test_the_framework_is_found_from_the_bases(modules, names, expected):
    """No framework is imported to find out, and a user's subclass counts as its base."""
    base = object
    for module, name in zip(reversed(modules), reversed(names), strict=True):
        base = type(name, (base,), {"__module__": module})
    own = type("Mine", (base,), {"__module__": "users.code"})

    assert expected == importing.framework_of(own())


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("missing.onnx", None, "cannot open .*No such file"),
        ("empty.onnx", b"", "is empty"),
        ("model.pt", b"x", "pickled Python code"),
        ("model.pkl", b"x", "pickled Python code"),
        ("model.txt", b"x", "does not end in .onnx, .keras, .h5 or .pt2"),
        ("model", b"x", "does not end in"),
    ],
)
def test_a_wrong_path_is_one_clear_error(tmp_path, name, content, message):
    """The message names the file and the way out."""
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)

    for given in (path, str(path)):
        with pytest.raises(nneq.NneqError, match=message) as error:
            nneq.to_network(given)
        assert name in str(error.value)


def test_a_folder_that_is_no_savedmodel_is_refused(tmp_path):
    """A folder needs saved_model.pb."""
    with pytest.raises(nneq.NneqError, match=r"is a folder without saved_model\.pb"):
        nneq.to_network(tmp_path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="named pipes are a Unix thing")
def test_a_pipe_is_refused(tmp_path):
    """A pipe would block; it is not opened."""
    os.mkfifo(tmp_path / "pipe.onnx")

    with pytest.raises(nneq.NneqError, match="is not a regular file"):
        nneq.to_network(tmp_path / "pipe.onnx")


@pytest.mark.parametrize("path", ["a\0b.onnx", "\x1b[31m.onnx", "x" * 5000 + ".onnx"])
def test_a_hostile_path_is_shown_safely(path):
    """Null bytes, escapes and endless names are one error without control characters."""
    with pytest.raises(nneq.NneqError) as error:
        nneq.to_network(path)

    assert str(error.value).isprintable()
    assert len(str(error.value)) < 400


@pytest.mark.parametrize(
    ("version", "numbers"),
    [("2.13.0+cpu", (2, 13, 0)), ("3.13.2rc1", (3, 13, 2)), ("2.9", (2, 9)), ("dev", ())],
)
def test_versions_are_compared_as_numbers(version, numbers):
    """2.13 is newer than 2.9."""
    assert numbers == importing._release(version)


def test_a_missing_framework_names_the_command(monkeypatch, tmp_path):
    """The message holds the command that installs it."""
    (tmp_path / "m.onnx").write_bytes(b"x")
    monkeypatch.setattr(importing, "FLOORS", {"onnx": (("surely_not_installed", "1.0"),)})

    with pytest.raises(nneq.MissingDependencyError, match=r'pip install "nneq\[onnx\]"'):
        nneq.to_network(tmp_path / "m.onnx")


def test_an_old_framework_is_refused(monkeypatch, tmp_path):
    """A version below the floor is named with the floor and the command."""
    (tmp_path / "m.onnx").write_bytes(b"x")
    monkeypatch.setattr(importing, "FLOORS", {"onnx": (("numpy", "99.1"),)})

    with pytest.raises(nneq.MissingDependencyError, match=r'older than 99\.1.*"numpy>=99\.1"'):
        nneq.to_network(tmp_path / "m.onnx")


# ---------------------------------------------------------------------- names
def test_names_of_entries():
    """One name for each entry labels x_1 ... x_n and z_1 ... z_m."""
    eqs = nneq.to_equations(mlp([2, 3, 2]), input_names=["a", "b"], class_names=["no", "yes"])

    assert ["a", "b"] == [v.label for v in eqs.inputs]
    assert ["no", "yes"] == [v.label for v in eqs.outputs]
    assert "x_1: a\nx_2: b\nz_1: no\nz_2: yes\n" in str(eqs)


def test_names_of_tensors():
    """One name for each tensor labels the tensors."""
    network = nneq.to_network(mlp([2, 3, 2]), input_names=["image"], output_names=["scores"])

    assert "image" == network.inputs[0].label
    assert (1, 2) == network.run({"image": np.zeros((1, 2))})["output_1"].shape


@pytest.mark.parametrize("names", [["a", "b", "c"], []])
def test_a_wrong_number_of_names_is_refused(names):
    """The message gives all three numbers."""
    with pytest.raises(nneq.NneqError, match="the model has 2 input entries in 1 tensors"):
        nneq.to_network(mlp([2, 3, 2]), input_names=names)


def test_a_single_string_is_no_list_of_names():
    """A string would be taken letter by letter."""
    with pytest.raises(nneq.NneqError, match="must be a sequence of names"):
        nneq.to_network(mlp([2, 3, 2]), output_names="ab")


def test_class_names_are_one_for_each_output():
    """One class name for two outputs is not taken for the name of the tensor."""
    with pytest.raises(nneq.NneqError, match="1 class names were given, and the model has 2"):
        nneq.to_equations(mlp([2, 3, 2]), class_names=["a"])


def test_class_names_and_output_names_exclude_each_other():
    """Both name the outputs."""
    with pytest.raises(nneq.NneqError, match="either class_names or output_names"):
        nneq.to_network(mlp([2, 3, 2]), output_names=["a", "b"], class_names=["a", "b"])


# ---------------------------------------------------------------------- scalers
MEAN, SCALE = np.array([10.0, -3.0]), np.array([2.0, 0.25])


@pytest.mark.parametrize(
    ("scaler", "transform"),
    [
        ((MEAN, SCALE), lambda x: (x - MEAN) / SCALE),
        (SimpleNamespace(mean_=MEAN, scale_=SCALE), lambda x: (x - MEAN) / SCALE),
        (SimpleNamespace(mean_=None, scale_=SCALE), lambda x: x / SCALE),
        (SimpleNamespace(mean_=MEAN, scale_=None), lambda x: x - MEAN),
        (SimpleNamespace(center_=MEAN, scale_=SCALE), lambda x: (x - MEAN) / SCALE),
        (SimpleNamespace(data_min_=0, min_=MEAN, scale_=SCALE), lambda x: x * SCALE + MEAN),
        ((1.5, 2.0), lambda x: (x - 1.5) / 2.0),
    ],
)
def test_a_scaler_becomes_part_of_the_equations(scaler, transform):
    """The equations take raw inputs and give what the model gives after the scaler."""
    network = mlp([2, 3, 2])
    eqs = nneq.to_equations(network, scaler=scaler)
    rows = np.random.default_rng(0).normal(size=(20, 2)) * 3 + 5

    assert np.allclose(network(transform(rows)), eqs(rows), rtol=1e-13)
    assert eqs.verify().passed
    at = dict(zip(["x_1", "x_2"], rows[0], strict=True))
    assert float(eqs["z_1"].subs(at)) == pytest.approx(eqs(rows)[0, 0], rel=1e-12)


@pytest.mark.parametrize(
    ("scaler", "message"),
    [
        ((np.zeros(3), np.ones(3)), "mean has 3 entries, the model has 2 inputs"),
        ((0.0, 0.0), "divides by zero"),
        ((np.array([np.nan, 0]), 1.0), "holds NaN or infinity"),
        (SimpleNamespace(fit=print), "is not fitted"),
        (SimpleNamespace(n_components=2), "cannot fold a SimpleNamespace"),
        (SimpleNamespace(data_min_=0, min_=0.0, scale_=1.0, clip=True), "clip=True is not affine"),
    ],
)
def test_a_wrong_scaler_is_refused(scaler, message):
    """One clear error for each way to be wrong."""
    with pytest.raises(nneq.NneqError, match=message):
        nneq.to_network(mlp([2, 3, 2]), scaler=scaler)


def test_a_scaler_of_several_inputs_is_refused():
    """It would be unclear which tensor is scaled."""
    b = Builder()
    total = b.add(b.input((1, 2)), b.input((1, 2)))
    network = b.build([(total, "sum")], source=Source())

    with pytest.raises(nneq.UnsupportedError, match="this one has 2"):
        nneq.to_network(network, scaler=(0.0, 1.0))


# ---------------------------------------------------------------------- register
def test_an_unknown_framework_cannot_be_registered():
    """The message lists the known ones."""
    with pytest.raises(nneq.NneqError, match="register 'jax'; known are 'torch' and 'keras'"):
        nneq.register("jax")


def test_register_adds_refuses_and_removes(monkeypatch):
    """Idempotent, never over a foreign attribute, and the handle takes back its own."""

    class Module:
        pass

    fake = SimpleNamespace(Module=Module)
    monkeypatch.setitem(sys.modules, "fake_framework", fake)
    monkeypatch.setattr(registration, "_OWNERS", {"torch": ("fake_framework", "Module")})
    monkeypatch.setattr(registration, "require", lambda *args: None)
    first, second = nneq.register("torch"), nneq.register("torch")

    assert callable(Module.to_equations)
    assert callable(Module.to_network)
    second.remove()
    assert callable(Module.to_equations)
    first.remove()
    first.remove()
    assert not hasattr(Module, "to_equations")

    Module.to_network = foreign = lambda self: 1
    with pytest.raises(nneq.NneqError, match="already has an attribute 'to_network'"):
        nneq.register("torch")
    assert foreign is Module.__dict__["to_network"]
    assert not hasattr(Module, "to_equations")


def test_only_torch_modules_are_watched():
    """Other frameworks know their input shapes."""
    thing = type("Model", (), {"__module__": "keras.src.models.model"})()

    with pytest.raises(nneq.UnsupportedError, match="watch"):
        nneq.watch(thing)
