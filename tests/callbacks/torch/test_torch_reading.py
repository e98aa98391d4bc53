"""A PyTorch model read again: the weights alone, and in full where anything else changed."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import nneq
from nneq.api.importing import weights_of
from nneq.callbacks.reading import Reader
from nneq.errors import NneqError

X = np.random.default_rng(0).normal(size=(50, 2))


def _model():
    torch.manual_seed(0)
    return torch.nn.Sequential(
        torch.nn.Linear(2, 2),
        torch.nn.Tanh(),
        torch.nn.Dropout(0.5),
        torch.nn.Linear(2, 8),
        torch.nn.LeakyReLU(0.1),
        torch.nn.Linear(8, 2),
    )


def _shake(model):
    with torch.no_grad():
        for weight in model.parameters():
            weight += torch.randn_like(weight)


def _assert_as_new(reader, model):
    """The network is that of a full import, bit for bit."""
    found, full = reader.read(model), nneq.to_network(model)
    assert np.array_equal(found(X), full(X))
    model.eval()
    expected = model(torch.from_numpy(X).float()).detach().numpy()
    np.testing.assert_allclose(found(X), expected, rtol=1e-4, atol=1e-5)
    model.train()


def _fast(monkeypatch):
    def refuse(*_args, **_options):
        raise AssertionError("read in full")

    monkeypatch.setattr("nneq.callbacks.reading.to_network", refuse)


def test_weights_that_changed(monkeypatch):
    """The weights are read afresh, without a second import; a square matrix is not turned."""
    model, reader = _model(), Reader()
    reader.read(model)
    for _ in range(3):
        _shake(model)
        with monkeypatch.context() as patch:
            _fast(patch)
            reader.read(model)
        _assert_as_new(reader, model)


def test_the_network_keeps_its_own_weights():
    """Training goes on in place; a network that was read does not move with it."""
    model, reader = _model(), Reader()
    reader.read(model)
    network = reader.read(model)
    before = network(X)
    _shake(model)

    assert np.array_equal(network(X), before)


def _swap(model):
    model[1] = torch.nn.Sigmoid()


def _setting(model):
    model[4].negative_slope = 0.7


def _hook(model):
    model[1].register_forward_hook(lambda _module, _args, out: 2 * out)


def _norm(model):
    model.append(torch.nn.BatchNorm1d(2))


def _longer(model):
    model.append(torch.nn.Linear(2, 3))


def _forward(model):
    model[1].forward = torch.relu


def _parametrized(model):
    torch.nn.utils.parametrizations.weight_norm(model[0])


@pytest.mark.parametrize(
    "change", [_swap, _setting, _hook, _norm, _longer, _forward, _parametrized]
)
def test_other_changes_are_seen(change):
    """Layers, settings, hooks, overridden methods: read in full."""
    model, reader = _model(), Reader()
    reader.read(model)
    reader.read(model)
    change(model)
    for _ in range(2):
        _assert_as_new(reader, model)
        _shake(model)


def test_another_model():
    """Two models in turn, of the same layers, are not taken for one another."""
    first, second, reader = _model(), _model(), Reader()
    _shake(second)
    for model in (first, second, first, second):
        _assert_as_new(reader, model)


def test_weights_that_are_no_numbers():
    """NaN is refused as by a full import."""
    model, reader = _model(), Reader()
    reader.read(model)
    with torch.no_grad():
        model[0].weight.fill_(float("nan"))

    with pytest.raises(NneqError, match="holds NaN or infinity"):
        reader.read(model)


def test_models_without_a_short_way():
    """Modules with code of their own, and normalisation, are read in full."""

    class Own(torch.nn.Sequential):
        def forward(self, x):
            return super().forward(2 * x)

    assert weights_of(Own(torch.nn.Linear(2, 2))) is None
    assert weights_of(torch.nn.Sequential(torch.nn.BatchNorm1d(2))) is None
    assert weights_of(_model()) is not None


def test_layers_used_twice(monkeypatch):
    """One activation, or one layer, in two places of a ``Sequential``."""
    torch.manual_seed(0)
    act, tied = torch.nn.Tanh(), torch.nn.Linear(4, 4)
    inner = torch.nn.Sequential(tied, act)
    model = torch.nn.Sequential(
        torch.nn.Linear(2, 4), act, tied, act, inner, inner, torch.nn.Linear(4, 2)
    )
    reader = Reader()
    _assert_as_new(reader, model)
    _shake(model)
    with monkeypatch.context() as patch:
        _fast(patch)
        reader.read(model)
    _assert_as_new(reader, model)
