"""The command line on exported PyTorch programs."""

from __future__ import annotations

import pytest
import torch
from command_line import run


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    """Return a saved program: a 2-8-8-3 ReLU network."""
    torch.manual_seed(0)
    model = torch.nn.Sequential(
        torch.nn.Linear(2, 8), torch.nn.ReLU(), torch.nn.Linear(8, 8), torch.nn.ReLU(),
        torch.nn.Linear(8, 3), torch.nn.Softmax(dim=1),
    ).eval()  # fmt: skip
    target = tmp_path_factory.mktemp("torch") / "model.pt2"
    torch.export.save(torch.export.export(model, (torch.zeros(1, 2),)), target)
    return target


def test_inspect(path):
    """An exported program is read like any model file."""
    found = run("inspect", path, "--json")

    assert (found.status, found.err) == (0, "")
    assert found.json["parameters"] == 2 * 8 + 8 + 8 * 8 + 8 + 8 * 3 + 3
    assert found.json["source"]["framework"] == "torch"
    assert found.json["solving"]["exact"]


def test_standard_input(path):
    """The first bytes say that it is a program of PyTorch."""
    found = run("inspect", "-", "--json", stdin=path.read_bytes())

    assert found.status == 0
    assert found.json["widths"] == [2, 8, 8, 3, 3] or found.json["widths"] == [2, 8, 8, 3]


def test_verify(path):
    """The equations agree with the program."""
    found = run("verify", path, "--samples", "50", "--json")

    assert found.status == 0
    assert found.json["passed"] is True


def test_boundary(path):
    """The boundary of a piecewise-linear program is solved exactly."""
    found = run("boundary", path, "z_1", "z_2", "--solve", "x_1", "--at", "x_2=0.3", "--json")

    assert found.status == 0
    assert found.json["engine"] == "exact"
    assert found.json["solutions"]["complete"] is True


def test_pickled_weights_are_refused(tmp_path):
    """A .pt file holds code; the message says what to save instead."""
    target = tmp_path / "weights.pt"
    torch.save({"w": torch.zeros(2)}, target)
    found = run("inspect", target)

    assert found.status == 1
    assert "Traceback" not in found.err
    assert "pt2" in found.err
