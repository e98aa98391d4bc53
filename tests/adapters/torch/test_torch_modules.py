"""PyTorch's own module database: every module passes, or is refused for a documented reason."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from torch.testing._internal.common_modules import module_db

from nneq import UnsupportedError
from nneq.adapters.torch import import_model
from nneq.errors import NneqError

DOCS = Path(__file__).parents[3] / "docs" / "torch.md"
MOST = {
    torch.float32: 2,
    torch.float64: 7,
}  # samples of one module; the database has up to 857 of a loss, alike but for options
TOLERANCES = {torch.float32: 1e-5, torch.float64: 1e-12}

# module -> part of the reason; docs/torch.md says the same in a table
EMPTY = "has no entries"  # a sample with an empty input, of whatever module
REFUSED = {
    "nn.BatchNorm1d": "takes its statistics from the batch",
    "nn.CTCLoss": "decides by the value of a tensor",
    "nn.FractionalMaxPool2d": "draws its windows at random",
    "nn.FractionalMaxPool3d": "draws its windows at random",
    "nn.GaussianNLLLoss": "decides by the value of a tensor",
    "nn.LinearCrossEntropyLoss": "_linear_cross_entropy_batch_chunked",
    "nn.Transformer": "decides by the value of a tensor",
    "nn.TransformerEncoder": "decides by the value of a tensor",
}


class Called(nn.Module):
    """A module with fixed keyword arguments that are no tensors."""

    def __init__(self, module, spec, leaves):
        super().__init__()
        self.module, self.spec, self.leaves = module, spec, leaves

    def forward(self, *tensors):
        waiting = iter(tensors)
        leaves = [next(waiting) if isinstance(v, torch.Tensor) else v for v in self.leaves]
        args, kwargs = torch.utils._pytree.tree_unflatten(leaves, self.spec)
        return self.module(*args, **kwargs)


def samples(info, dtype):
    """Return some modules with their inputs, spread over the database's list."""
    most = MOST[dtype]
    torch.manual_seed(0)
    inputs = info.module_inputs_func(
        info, device="cpu", dtype=dtype, requires_grad=False, training=False
    )
    inputs = [i for i in inputs if i.forward_input is not None]
    if len(inputs) > most:
        inputs = [inputs[round(k * (len(inputs) - 1) / (most - 1))] for k in range(most)]
    for entry in inputs:
        module = info.module_cls(*entry.constructor_input.args, **entry.constructor_input.kwargs)
        module = module.to(dtype).eval()
        given = (tuple(entry.forward_input.args), dict(entry.forward_input.kwargs))
        if any(nn.parameter.is_lazy(p) for p in module.parameters()):
            module(*given[0], **given[1])
        leaves, spec = torch.utils._pytree.tree_flatten(given)
        tensors = tuple(leaf for leaf in leaves if isinstance(leaf, torch.Tensor))
        yield Called(module, spec, leaves), tensors


def outcome(model, tensors, tolerance):
    """Return ``pass``, or the text of the refusal; fail when the numbers differ."""
    try:
        found = import_model(model, example_inputs=tensors)
    except NneqError as error:
        return str(error)
    arrays = [
        tensor.numpy()[:1] if port.batched else tensor.numpy()
        for tensor, port in zip(tensors, found.network.inputs, strict=True)
    ]
    expected, actual = found.reference(arrays), found.network(*arrays)
    actual = actual if isinstance(actual, tuple) else (actual,)
    for want, got in zip(expected, actual, strict=True):
        assert want.shape == got.shape
        same = (want == got) | (np.isnan(want.astype(float)) & np.isnan(got))
        with np.errstate(invalid="ignore"):
            gap = np.where(same, 0.0, np.abs(want.astype(float) - got)).max(initial=0.0)
        size = np.abs(want[np.isfinite(want.astype(float))]).max(initial=1e-30)
        assert gap <= tolerance * size, gap / size
    return "pass"


@pytest.fixture(scope="module")
def outcomes():
    """Return what became of every sample, by module and element type; filled by the tests."""
    return {}


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("dtype", list(TOLERANCES), ids=["float32", "float64"])
@pytest.mark.parametrize("info", module_db, ids=[info.name for info in module_db])
def test_modules_pass_or_are_refused(info, dtype, outcomes):
    """No module of PyTorch's database gives wrong numbers, or an error that is not ours."""
    outcomes.setdefault(info.name, [])
    if dtype not in info.dtypes:
        return
    if dtype == torch.float32 and info.name.startswith(("nn.Transformer", "nn.Multihead")):
        return  # the float64 run holds them to the stricter bound

    for model, tensors in samples(info, dtype):
        found = outcome(model, tensors, TOLERANCES[dtype])
        outcomes[info.name].append(found)
        if found != "pass" and EMPTY not in found:
            assert REFUSED.get(info.name, "(no refusal expected)") in found


def test_the_refused_modules_are_the_documented_ones(outcomes, capsys):
    """The modules with a refusal are those of the table in docs/torch.md; the counts are shown."""
    if len(outcomes) < len(module_db):
        pytest.skip("needs all the tests of this file before it")
    passed = sum(found == "pass" for texts in outcomes.values() for found in texts)
    total = sum(len(texts) for texts in outcomes.values())
    refused = {
        name
        for name, texts in outcomes.items()
        if any(text != "pass" and EMPTY not in text for text in texts)
    }
    whole = sum(not set(texts) - {"pass"} for texts in outcomes.values())
    with capsys.disabled():
        print(f"\nPyTorch modules: {whole} of {len(outcomes)} pass whole; ", end="")
        print(f"samples: {passed} pass, {total - passed} are refused, 0 are wrong")
    table = [line for line in DOCS.read_text().splitlines() if line.startswith("| `nn.")]
    documented = {line.split("`")[1] for line in table}

    assert set(REFUSED) == refused
    assert set(REFUSED) == documented


def test_refusals_are_of_our_type():
    """What is refused for its operators is an UnsupportedError."""
    model = nn.FractionalMaxPool2d(2, output_size=2)

    with pytest.raises(UnsupportedError, match="rand"):
        import_model(model, example_inputs=torch.zeros(1, 1, 5, 5))
