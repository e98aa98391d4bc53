"""Equations straight from PyTorch modules."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import nneq


def model(dtype=torch.float32):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3), nn.Softmax(-1)).to(dtype)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-12)])
def test_equations_are_the_forward_pass(dtype, tolerance):
    """Within 1e-5 for float32 and 1e-12 for float64."""
    found = nneq.to_equations(model(dtype)).verify(200)

    assert found.passed
    assert found.max_rel_error <= tolerance
    assert "torch" == found.reference


def test_the_weights_are_those_of_the_module():
    """Every coefficient of the first layer, bit for bit."""
    net = model()
    system = nneq.to_equations(net).system()
    weight = net[0].weight.detach().double().numpy()
    found = [[float(system[k].rhs.args[0].coeff(f"x_{i + 1}")) for i in range(4)] for k in range(6)]

    assert np.array_equal(weight, found)


def test_registered_modules_have_the_methods():
    """model.to_equations() after register(); gone after remove()."""
    handle = nneq.register("torch")
    try:
        eqs = model().to_equations(class_names=["a", "b", "c"])
        network = model().to_network()
    finally:
        handle.remove()

    assert "z_2: b" in str(eqs)
    assert (4, 3) == (network.input_size, network.output_size)
    assert not hasattr(nn.Module, "to_equations")


class Reads(nn.Module):
    """A module whose input shape only an example can tell."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(0.5))

    def forward(self, x):
        return torch.tanh(self.scale * x).sum(dim=-1, keepdim=True)


def test_a_watched_module_needs_no_example():
    """One forward pass under watch() tells the shapes."""
    net = Reads().eval()
    handle = nneq.watch(net)
    try:
        net(torch.zeros(2, 5))
        eqs = nneq.to_equations(net)
    finally:
        handle.remove()

    assert 5 == len(eqs.inputs)
    assert eqs.verify(50).passed


def test_importing_leaves_the_module_alone():
    """Training mode, gradients and weights are as before."""
    net = model().train()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    nneq.to_equations(net)

    assert net.training
    assert all(p.requires_grad for p in net.parameters())
    assert all(torch.equal(before[name], value) for name, value in net.state_dict().items())


def test_a_scaler_is_folded_into_the_module():
    """The equations of the raw inputs, verified against module after scaler."""
    mean, scale = np.array([1.0, 2.0, 3.0, 4.0]), np.array([0.5, 2.0, 1.0, 4.0])
    net = model(torch.float64)
    eqs = nneq.to_equations(net, scaler=(mean, scale))
    rows = np.random.default_rng(0).normal(size=(10, 4)) + mean
    expected = net(torch.tensor((rows - mean) / scale)).detach().numpy()

    assert eqs.verify(50).passed
    assert np.allclose(expected, eqs(rows), rtol=1e-12)


def test_a_pickled_file_is_never_loaded(tmp_path):
    """torch.save files are refused by name, without running anything."""
    torch.save(model(), tmp_path / "model.pt")

    with pytest.raises(nneq.UnsupportedError, match="which nneq never runs"):
        nneq.to_network(tmp_path / "model.pt")


def test_an_exported_program_is_read(tmp_path):
    """torch.export gives the same equations, from memory and from a .pt2 file."""
    program = torch.export.export(model(), (torch.zeros(1, 4),))
    torch.export.save(program, tmp_path / "model.pt2")
    rows = np.random.default_rng(0).normal(size=(5, 4))
    expected = nneq.to_equations(model())(rows)

    assert np.allclose(expected, nneq.to_equations(program)(rows), rtol=1e-12)
    assert np.allclose(expected, nneq.to_equations(tmp_path / "model.pt2")(rows), rtol=1e-12)
