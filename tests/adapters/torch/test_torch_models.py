"""Real models, trained here on scikit-learn's data, against PyTorch's own forward pass."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from sklearn import datasets
from torch import nn

import nneq
from nneq.adapters.torch import import_model

TOLERANCES = {torch.float32: 1e-5, torch.float64: 1e-12}


class Recurrent(nn.Module):
    """A digit read row by row."""

    def __init__(self, kind):
        super().__init__()
        self.rows = kind(8, 12, batch_first=True, bidirectional=kind is nn.GRU)
        self.head = nn.LazyLinear(10)

    def forward(self, x):
        rows, _ = self.rows(x)
        return self.head(rows[:, -1])


class Attention(nn.Module):
    """A digit as eight tokens."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Linear(8, 16)
        self.layer = nn.TransformerEncoderLayer(16, 4, 24, batch_first=True, activation="gelu")
        self.head = nn.Linear(16, 10)

    def forward(self, x):
        return self.head(self.layer(self.embed(x)).mean(dim=1))


def mlp(inputs, outputs):
    return nn.Sequential(
        nn.Linear(inputs, 16), nn.Tanh(), nn.Linear(16, 12), nn.ReLU(), nn.Linear(12, outputs)
    )


def convolutional():
    return nn.Sequential(
        nn.Conv2d(1, 6, 3, padding=1),
        nn.BatchNorm2d(6),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(6, 8, 3),
        nn.SiLU(),
        nn.Dropout(0.2),
        nn.Flatten(),
        nn.Linear(32, 10),
        nn.Softmax(dim=1),
    )


def tabular(load):
    data = load()
    x = (data.data - data.data.mean(axis=0)) / data.data.std(axis=0)
    return x, data.target


def digits(shape):
    data = datasets.load_digits()
    return data.data.reshape(-1, *shape) / 16.0, data.target


MODELS = {
    "iris": (lambda: mlp(4, 3), lambda: tabular(datasets.load_iris)),
    "wine": (lambda: mlp(13, 3), lambda: tabular(datasets.load_wine)),
    "cancer": (lambda: mlp(30, 2), lambda: tabular(datasets.load_breast_cancer)),
    "diabetes": (lambda: mlp(10, 1), lambda: tabular(datasets.load_diabetes)),
    "digits-cnn": (convolutional, lambda: digits((1, 8, 8))),
    "digits-lstm": (lambda: Recurrent(nn.LSTM), lambda: digits((8, 8))),
    "digits-gru": (lambda: Recurrent(nn.GRU), lambda: digits((8, 8))),
    "digits-transformer": (Attention, lambda: digits((8, 8))),
}


def trained(name, dtype):
    """Return the model after a few steps of training, still in train mode, and its data."""
    build, load = MODELS[name]
    features, target = load()
    torch.manual_seed(0)
    model = build().to(dtype)
    x = torch.tensor(features[:400], dtype=dtype)
    model(x[:2])
    regression = name == "diabetes"
    kind = dtype if regression else torch.int64
    y = torch.tensor(target[:400] / (100 if regression else 1), dtype=kind)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    for _ in range(8):
        optimizer.zero_grad()
        out = model(x)
        loss = ((out[:, 0] - y) ** 2).mean() if regression else nn.functional.cross_entropy(out, y)
        loss.backward()
        optimizer.step()
    return model, x


def assert_same_network(model, found, x, tolerance):
    """Fail unless the network's outputs for a batch are those of the model in eval mode."""
    quiet = copy.deepcopy(model).eval()
    with torch.no_grad():
        expected = quiet(x).numpy().astype(np.float64)

    actual = found.network(x.numpy())

    assert expected.shape == actual.shape
    assert np.abs(expected - actual).max() <= tolerance * np.abs(expected).max()


@pytest.mark.parametrize("dtype", list(TOLERANCES), ids=["float32", "float64"])
@pytest.mark.parametrize("name", list(MODELS))
def test_trained_models_equal_pytorch(name, dtype):
    """A trained model's equations give its outputs; the model stays in training as it was."""
    model, x = trained(name, dtype)
    state = {key: value.clone() for key, value in model.state_dict().items()}
    random_state = torch.get_rng_state()

    found = import_model(model, example_inputs=x[:3])

    assert_same_network(model, found, x[:20], TOLERANCES[dtype])
    assert found.batches
    assert found.network.inputs[0].shape == (1, *x.shape[1:])
    assert found.network.inputs[0].dtype == str(dtype).removeprefix("torch.")
    assert all(module.training for module in model.modules())
    assert all(p.requires_grad and p.grad is not None for p in model.parameters())
    assert torch.equal(random_state, torch.get_rng_state())
    assert all(torch.equal(value, model.state_dict()[key]) for key, value in state.items())


@pytest.mark.parametrize("name", ["iris", "digits-cnn"])
def test_the_public_door_checks_and_verifies(name):
    """``nneq.to_equations`` takes a module; ``verify`` holds it to the module's own forward."""
    model, x = trained(name, torch.float32)

    eqs = nneq.to_equations(model, example_inputs=x[:1])

    assert eqs.verify(samples=16).passed


def test_weights_are_copied_in_their_own_precision():
    """Training on changes neither the network nor the reference it is held against."""
    model, x = trained("iris", torch.float32)
    found = import_model(model, example_inputs=x[:1])
    before = found.network(x.numpy())

    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(1.0)

    assert np.array_equal(before, found.network(x.numpy()))
    assert np.allclose(before, found.reference([x.numpy()])[0], atol=1e-5)
    weight = found.network.nodes[1].terms[0].map.parameters[0]
    assert weight.dtype == np.float32


def test_shared_weights_count_once():
    """One layer used twice, and two layers with one weight, store their numbers once."""

    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = nn.Linear(4, 4, bias=False), nn.Linear(4, 4, bias=False)
            self.second.weight = self.first.weight

        def forward(self, x):
            return self.first(torch.tanh(self.second(torch.tanh(self.first(x)))))

    found = import_model(Tied())

    assert found.network.parameter_count == 16


LAYERS = [
    nn.ReLU(), nn.ReLU6(), nn.Sigmoid(), nn.Tanh(), nn.SiLU(), nn.Mish(), nn.SELU(),
    nn.Hardswish(), nn.Hardsigmoid(), nn.LogSigmoid(), nn.Softsign(), nn.Tanhshrink(), nn.GELU(),
    nn.GELU("tanh"), nn.ELU(0.7), nn.CELU(0.7), nn.LeakyReLU(0.2), nn.Hardtanh(-0.5, 0.6),
    nn.Softplus(2.0, 3.0), nn.Softshrink(0.2), nn.Hardshrink(0.2), nn.Threshold(0.1, -1.0),
    nn.Softmax(-1), nn.LogSoftmax(1), nn.BatchNorm1d(5), nn.Identity(), nn.Dropout(), nn.Flatten(),
]  # fmt: skip

# tracing gives these as several simpler operators
TAKEN_APART = (nn.Softsign, nn.Softshrink, nn.Hardshrink)


@pytest.mark.parametrize("layer", LAYERS, ids=[repr(layer) for layer in LAYERS])
def test_fast_path_equals_tracing(layer, monkeypatch):
    """A plain Sequential read layer by layer gives the network that tracing gives."""
    torch.manual_seed(0)
    inner = nn.Sequential(nn.Linear(3, 5, dtype=torch.float64), layer.double())
    model = nn.Sequential(inner, nn.Linear(5, 2, dtype=torch.float64))
    x = np.random.default_rng(0).standard_normal((50, 3))

    slow = import_model(model, fast=False)
    monkeypatch.setattr(torch.export, "export", None)  # the fast path does not trace
    quick = import_model(model)

    assert np.allclose(slow.network(x), quick.network(x), rtol=1e-14, atol=1e-15)
    if not isinstance(layer, TAKEN_APART):
        assert slow.network.parameter_count == quick.network.parameter_count
        assert len(slow.network.nodes) == len(quick.network.nodes)


def test_hooks_keep_off_the_fast_path():
    """A forward hook that changes the output is part of the function."""
    model = nn.Sequential(nn.Linear(3, 2))
    model[0].register_forward_hook(lambda _module, _args, out: 2 * out)
    x = torch.randn(4, 3)

    found = import_model(model)

    assert np.allclose(model(x).detach().numpy(), found.network(x.numpy()), atol=1e-6)
    assert len(model[0]._forward_hooks) == 1
