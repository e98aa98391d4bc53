"""What comes in around a module: wrappers, element types, inputs, files, memory, mistakes."""

from __future__ import annotations

import dataclasses
import gc
import io
import weakref
import zipfile

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, prune

import nneq
from nneq import NneqError, UnsupportedError
from nneq.adapters.torch import import_model, watch

IGNORED = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning")


@pytest.fixture(autouse=True)
def fixed_weights():
    """Start every test from the same random numbers."""
    torch.manual_seed(0)


def net(dtype=torch.float32):
    return nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 2)).to(dtype)


def assert_equal_outputs(found, model, *tensors, tolerance=1e-5):
    """Fail unless the network's outputs are the model's, in order."""
    expected = model(*tensors)
    expected = expected if isinstance(expected, list) else [expected]
    actual = found.network(*(tensor.to(torch.float64).numpy() for tensor in tensors))
    actual = actual if isinstance(actual, tuple) else (actual,)
    assert len(expected) == len(actual)
    for want, got in zip(expected, actual, strict=True):
        wide = want.detach().to(torch.float64).numpy()
        assert wide.shape == got.shape
        assert np.abs(wide - got).max() <= tolerance * np.abs(wide).max()


# ---------------------------------------------------------------------- wrappers
def weight_normed():
    model = net()
    parametrizations.weight_norm(model[0])
    return model


def old_weight_normed():
    model = net()
    nn.utils.weight_norm(model[0])
    model(torch.zeros(1, 3))
    return model


def spectral_normed():
    model = net()
    parametrizations.spectral_norm(model[0])
    return model


def pruned():
    model = net()
    prune.l1_unstructured(model[0], "weight", amount=0.4)
    return model


def partly_compiled():
    model = net()
    return nn.Sequential(torch.compile(model), nn.ReLU())


WRAPPED = {
    "compiled": lambda: torch.compile(net()),
    "partly compiled": partly_compiled,
    "parallel": lambda: nn.DataParallel(net()),
    "compiled parallel": lambda: torch.compile(nn.DataParallel(net())),
    "weight norm": weight_normed,
    "old weight norm": old_weight_normed,
    "spectral norm": spectral_normed,
    "pruned": pruned,
}


@IGNORED
@pytest.mark.parametrize("name", list(WRAPPED))
def test_wrapped_models_are_read_as_what_they_compute(name):
    """Compiled, parallel, weight-normed and pruned modules give the plain module's numbers."""
    model = WRAPPED[name]().eval()
    plain = getattr(model, "_orig_mod", model)
    plain = getattr(plain, "module", plain)
    if name == "partly compiled":
        plain = nn.Sequential(model[0]._orig_mod, model[1])
    keys = set(model.state_dict())

    found = import_model(model, example_inputs=torch.zeros(1, 3))

    assert_equal_outputs(found, plain, torch.randn(4, 3))
    assert keys == set(model.state_dict())


def test_folded_weights_hold_no_parametrisation():
    """A weight-normed layer becomes one affine node: its weight is computed once."""
    found = import_model(weight_normed())
    plain = import_model(net())

    assert len(plain.network.nodes) == len(found.network.nodes)


def test_in_place_compile_is_taken_off():
    """``module.compile()`` changes the call; the copy is read without it."""
    model = net()
    model.compile(backend="eager")

    found = import_model(model, fast=False)

    assert (1, 2) == found.network.outputs[0].shape


@pytest.mark.parametrize(
    ("dtype", "tolerance"),
    [(torch.float16, 4e-3), (torch.bfloat16, 3e-2), (torch.float64, 1e-12)],
    ids=["float16", "bfloat16", "float64"],
)
def test_element_types_are_kept_and_upcast_exactly(dtype, tolerance):
    """The port says the element type; the equations are those of the exact stored weights."""
    model = net(dtype)
    x = torch.randn(6, 3).to(dtype)
    wide = net().double()
    wide.load_state_dict({k: v.double() for k, v in model.state_dict().items()})

    found = import_model(model)

    assert str(dtype).removeprefix("torch.") == found.network.inputs[0].dtype
    assert str(dtype).removeprefix("torch.") == found.network.outputs[0].dtype
    assert_equal_outputs(found, model, x, tolerance=tolerance)
    assert_equal_outputs(found, wide, x.double(), tolerance=1e-14)
    assert found.reference([x.double().numpy()])[0].shape == (6, 2)


# ---------------------------------------------------------------------- inputs and outputs
@dataclasses.dataclass
class Result:
    """A model's result."""

    logits: torch.Tensor
    extra: tuple[torch.Tensor, None]


class Several(nn.Module):
    """Two inputs, one by keyword, a flag; a dataclass out."""

    def __init__(self):
        super().__init__()
        self.left, self.right = nn.Linear(3, 4), nn.Linear(2, 4)

    def forward(self, x, *, y, double=False):
        out = self.left(x) * torch.sigmoid(self.right(y["part"]))
        return Result(2 * out if double else out, (out.relu(), None))


def test_dictionaries_keywords_and_dataclasses():
    """Inputs and outputs in containers become ports that keep their names as labels."""
    model = Several()
    x, y = torch.randn(5, 3), torch.randn(5, 2)

    found = import_model(model, example_inputs={"x": x, "y": {"part": y}, "double": True})

    assert ["x", "y.part"] == [port.label for port in found.network.inputs]
    assert ["logits", "extra.0"] == [port.label for port in found.network.outputs]
    expected = model(x, y={"part": y}, double=True)
    actual = found.network(x.numpy(), y.numpy())
    assert np.allclose(expected.logits.detach(), actual[0], atol=1e-6)
    assert np.allclose(expected.extra[0].detach(), actual[1], atol=1e-6)
    assert found.batches


def test_positional_dictionary():
    """A model whose one argument is a dictionary takes the example as that dictionary."""

    class Features(nn.Module):
        def forward(self, batch):
            return {"sum": batch["a"] + batch["b"]}

    found = import_model(Features(), example_inputs={"a": torch.ones(2, 3), "b": torch.ones(2, 1)})

    assert ["batch.a", "batch.b"] == [port.label for port in found.network.inputs]
    assert ["sum"] == [port.label for port in found.network.outputs]


def test_numpy_examples_take_the_models_precision():
    """A float64 array is an example for a float32 model."""
    found = import_model(net(), example_inputs=np.zeros((4, 3)))

    assert "float32" == found.network.inputs[0].dtype


def test_integer_inputs_become_one_hot():
    """An embedding's live index gives the row of the table."""

    class Words(nn.Module):
        def __init__(self):
            super().__init__()
            self.table, self.head = nn.Embedding(11, 4), nn.Linear(4, 2)

        def forward(self, words):
            return self.head(self.table(words).mean(dim=1))

    model = Words()
    words = torch.randint(0, 11, (3, 6))

    found = import_model(model, example_inputs=words)

    assert "int64" == found.network.inputs[0].dtype
    assert 11 == found.network.inputs[0].levels
    expected = model(words).detach().numpy()
    assert np.allclose(expected, found.network(words.numpy()), atol=1e-6)


def test_a_batch_axis_that_is_none_is_seen():
    """A recurrent layer with time first, and a layer over the batch, are one sample as a whole."""
    layer = nn.LSTM(3, 2)

    found = import_model(layer, example_inputs=torch.randn(5, 2, 3))

    assert (5, 2, 3) == found.network.inputs[0].shape
    assert not found.network.inputs[0].batched
    assert not found.batches
    assert (
        "the whole example input, shape (5, 2, 3), is one sample" in found.network.source.notes[0]
    )


def test_outputs_with_another_batch_axis():
    """The states of a batch-first LSTM have their batch axis in the middle: no batches of them."""
    layer = nn.LSTM(3, 2, batch_first=True)

    found = import_model(layer, example_inputs=torch.randn(4, 5, 3))

    assert [True, False, False] == [port.batched for port in found.network.outputs]
    assert not found.batches


# ---------------------------------------------------------------------- without an example
def test_the_first_layer_fixes_the_shape():
    """Without an example the first linear layer says the input; the note says so."""
    found = import_model(net(), fast=False)

    assert (1, 3) == found.network.inputs[0].shape
    assert (
        "the input shape (1, 3) was assumed from the first layer '0' (Linear)"
        in found.network.source.notes[0]
    )


NO_EXAMPLE = {
    "conv": (nn.Sequential(nn.Conv2d(3, 4, 3)), r"first layer .* '0' \(Conv2d\).*\(1, 3, height"),
    "lstm": (nn.LSTM(3, 4), r"'the model itself' \(LSTM\).*\(steps, 1, 3\)"),
    "embedding": (nn.Sequential(nn.Embedding(7, 2)), r"integers 0 \.\. 6"),
    "none": (nn.Sequential(nn.ReLU()), "no layer that fixes the shape"),
    "two": (nn.Bilinear(2, 3, 4), r"several inputs \(input1, input2\)"),
}


@pytest.mark.parametrize("name", list(NO_EXAMPLE))
def test_a_missing_example_is_asked_for(name):
    """Where nothing fixes the shape, the message says what is missing and what to give."""
    model, text = NO_EXAMPLE[name]

    with pytest.raises(NneqError, match=text) as caught:
        import_model(model)

    assert "give example_inputs" in str(caught.value)
    assert "nneq.watch(model)" in str(caught.value)


def test_watch_remembers_one_forward_pass():
    """After one forward pass under ``watch`` no example is needed; ``remove`` forgets it."""
    model = nn.Sequential(nn.Conv1d(2, 3, 2), nn.ReLU())
    handle = watch(model, units=True)
    assert not handle.seen

    model(torch.randn(7, 2, 5))
    found = import_model(model)

    assert handle.seen
    assert (1, 2, 5) == found.network.inputs[0].shape
    assert {"0", "1"} == set(handle.values)
    assert not handle.values["0"].requires_grad
    handle.remove()
    handle.remove()
    assert not model._forward_hooks
    with pytest.raises(NneqError, match="give example_inputs"):
        import_model(model)


def test_watch_holds_no_model_alive():
    """The remembered inputs go with the model."""
    model = nn.Linear(3, 2)
    handle = watch(model)
    model(torch.zeros(2, 3))
    alive = weakref.ref(model)

    del model
    gc.collect()

    assert alive() is None
    assert not handle.seen
    handle.remove()


def test_registered_modules_have_methods():
    """``nneq.register`` gives modules a method, and takes it away."""
    handle = nneq.register("torch")
    try:
        network = net().to_network()
    finally:
        handle.remove()

    assert 2 == network.output_size
    assert not hasattr(nn.Module, "to_network")


# ---------------------------------------------------------------------- exported programs
def exported(dynamic=True):
    shapes = ({0: torch.export.Dim("batch")},) if dynamic else None
    return torch.export.export(net().eval(), (torch.zeros(4, 3),), dynamic_shapes=shapes)


class Fixed(nn.Module):
    """A reshape that an export fixes to the batch it has seen."""

    def forward(self, x):
        return torch.tanh(x.reshape(-1)).reshape(x.shape)


@IGNORED
def test_exported_programs():
    """A program comes in as samples where it takes them one by one, else its batch as a whole."""
    x = torch.randn(4, 3)
    program = torch.export.export(Fixed(), (x,))

    for entry, shape in (
        (exported(), (1, 3)),
        (exported(dynamic=False), (1, 3)),
        (program, (4, 3)),
    ):
        found = import_model(entry)
        expected = entry.module()(x).detach().numpy()
        assert shape == found.network.inputs[0].shape
        assert np.allclose(expected, found.network(x.numpy()), atol=1e-6)
    assert "is one sample" in found.network.source.notes[0]


@IGNORED
def test_saved_programs(tmp_path):
    """A ``.pt2`` file gives the network of the program in it."""
    program = exported()
    path = tmp_path / "model.pt2"
    torch.export.save(program, path)

    found = import_model(path)

    x = torch.randn(4, 3)
    expected = program.module()(x).detach().numpy()
    assert np.allclose(expected, found.network(x.numpy()), atol=1e-6)
    assert str(path) == found.network.source.label


@IGNORED
def test_pickled_and_foreign_files_are_refused(tmp_path):
    """No pickled code is loaded: the message says what to do instead."""
    model = net()
    files = {name: tmp_path / f"{name}.pt2" for name in ("whole", "script", "zip", "text", "cut")}
    torch.save(model, files["whole"])
    torch.jit.save(torch.jit.script(model), files["script"])
    with zipfile.ZipFile(files["zip"], "w") as archive:
        archive.writestr("a", "b")
    files["text"].write_text("not a model")
    buffer = io.BytesIO()
    torch.export.save(exported(), buffer)
    files["cut"].write_bytes(buffer.getvalue()[: len(buffer.getvalue()) // 2])
    expected = {
        "whole": (UnsupportedError, "is a pickled file; nneq does not load pickled code"),
        "script": (UnsupportedError, "is a TorchScript archive"),
        "zip": (NneqError, "is a zip archive without an exported program"),
        "text": (NneqError, "is not a .pt2 archive"),
        "cut": (NneqError, "is not a .pt2 archive"),
    }

    for name, (kind, text) in expected.items():
        with pytest.raises(kind) as caught:
            import_model(files[name])
        assert text in str(caught.value), name
        assert "torch.load(path, weights_only=True)" in str(caught.value)


def test_missing_empty_and_odd_paths(tmp_path):
    """A path that is no file is named, with what to give."""
    empty = tmp_path / "empty.pt2"
    empty.touch()

    for path, text in (
        (tmp_path / "none.pt2", "No such file"),
        (tmp_path, "is not a regular file"),
        (empty, "is empty"),
    ):
        with pytest.raises(NneqError, match=text):
            import_model(path)


# ---------------------------------------------------------------------- mistakes and refusals
class Branch(nn.Module):
    """Control flow on a value."""

    def forward(self, x):
        return x if x.sum() > 0 else -x


class Random(nn.Module):
    """Noise and training-mode dropout, in a submodule."""

    def __init__(self):
        super().__init__()
        self.block = nn.Sequential(nn.Linear(3, 3), Noise())

    def forward(self, x):
        return torch.linalg.det(self.block(x)[:, :, None] * x[:, None, :])


class Noise(nn.Module):
    """Two kinds of randomness."""

    def forward(self, x):
        return nn.functional.dropout(x + torch.randn_like(x), 0.5, training=True)


class Counter(nn.Module):
    """A buffer that changes."""

    def __init__(self):
        super().__init__()
        self.register_buffer("calls", torch.zeros(1))

    def forward(self, x):
        self.calls += 1
        return x + self.calls


def test_all_unsupported_nodes_are_in_one_error():
    """Every node is named with its operator, its module and its line; the way out comes last."""
    with pytest.raises(UnsupportedError) as caught:
        import_model(Random(), example_inputs=torch.randn(2, 3))

    lines = str(caught.value).splitlines()
    assert "cannot read the PyTorch model 'Random' as equations:" == lines[0]
    text = "\n".join(lines[1:-1])
    assert "operator aten.randn_like.default in module 'block.1' (Noise)" in text
    assert "operator aten.native_dropout.default in module 'block.1' (Noise)" in text
    assert "draws random numbers, so it is no function of the inputs" in text
    assert "test_torch_import.py line" in text
    assert lines[-1].startswith("replace these operators by ones that nneq knows")


def test_branches_on_values_are_refused():
    """Data-dependent control flow is refused with the line and the way out."""
    with pytest.raises(UnsupportedError) as caught:
        import_model(Branch(), example_inputs=torch.randn(2, 3))

    text = str(caught.value)
    assert "forward() decides by the value of a tensor" in text
    assert "test_torch_import.py line" in text
    assert "write it with torch.where" in text


def test_state_that_changes_is_refused():
    """A forward pass that writes into a buffer is no function; the user's buffer is untouched."""
    model = Counter()

    with pytest.raises(UnsupportedError, match="changes the model's own tensor 'calls'"):
        import_model(model, example_inputs=torch.randn(2, 3))

    assert 0.0 == model.calls.item()


def broken():
    model = net()
    with torch.no_grad():
        model[2].weight[0, 0] = torch.nan
    return model


MISTAKES = {
    "nan": (lambda: import_model(broken()), "parameter '2.weight' holds NaN or infinity"),
    "shape": (lambda: import_model(net(), example_inputs=torch.zeros(2, 4)), "does not accept"),
    "type": (
        lambda: import_model(net(), example_inputs=torch.zeros(2, 3, dtype=torch.int64)),
        r"does not accept the example input of shape \(2, 3\) \(int64\)",
    ),
    "empty": (lambda: import_model(net(), example_inputs=torch.zeros(0, 3)), "has no entries"),
    "text": (lambda: import_model(net(), example_inputs="x"), "holds no tensor"),
    "object": (
        lambda: import_model(net(), example_inputs=(object(),)),
        "is a object; give tensors",
    ),
    "function": (lambda: import_model(torch.relu), "expected a torch.nn.Module"),
    "lazy": (lambda: import_model(nn.LazyLinear(2)), "run one forward pass first"),
    "meta": (lambda: import_model(nn.Linear(2, 2, device="meta")), "on the meta device"),
    "names": (lambda: import_model(net(), input_names=["a", "b"]), "2 input names were given"),
}


@pytest.mark.parametrize("name", list(MISTAKES))
def test_mistakes_have_messages(name):
    """Wrong examples and wrong models are told what is wrong and what to give."""
    call, text = MISTAKES[name]

    with pytest.raises(NneqError, match=text):
        call()


@IGNORED
def test_scripted_modules_are_refused():
    """TorchScript code is not read."""
    with pytest.raises(UnsupportedError, match="is a TorchScript module"):
        import_model(torch.jit.script(net()), example_inputs=torch.zeros(1, 3))


def test_a_module_that_cannot_be_copied():
    """An attribute that refuses to be copied is named."""
    model = net()
    model.stream = (part for part in ())

    with pytest.raises(NneqError, match="cannot be copied") as caught:
        import_model(model)

    assert "torch.export.export(model.eval(), example_inputs)" in str(caught.value)


def test_names_are_labels():
    """Names for entries go to the entries, names for tensors to the tensors."""
    found = import_model(net(), input_names=["a", "b", "c"], output_names=["scores"])

    assert ("a", "b", "c") == found.network.inputs[0].entry_labels
    assert "scores" == found.network.outputs[0].label
