"""The PyTorch logger: identical training, hooks, early checks."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from nneq.callbacks import BoundaryHistory
from nneq.callbacks.torch import BoundaryLogger
from nneq.errors import NneqError, UnsupportedError

BOX = [(-3.0, 3.0), (-3.0, 3.0)]


def _model():
    torch.manual_seed(0)
    return torch.nn.Sequential(
        torch.nn.Linear(2, 8),
        torch.nn.BatchNorm1d(8),
        torch.nn.Tanh(),
        torch.nn.Dropout(0.2),
        torch.nn.Linear(8, 2),
    )


def _data():
    x = torch.from_numpy(np.random.default_rng(0).normal(size=(200, 2)).astype("float32"))
    return x, (x[:, 0] * x[:, 1] > 0).long()


def _train(model, epochs, after_epoch=None, optimizer=None):
    x, y = _data()
    optimizer = optimizer or torch.optim.Adam(model.parameters(), lr=0.05)
    for _ in range(epochs):
        for rows in torch.randperm(len(x)).split(50):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(model(x[rows]), y[rows]).backward()
            optimizer.step()
        if after_epoch is not None:
            after_epoch()
    return [p.detach().clone() for p in model.state_dict().values()]


def test_training_is_bit_identical(tmp_path):
    """Dropout, shuffling and batch statistics: all as without the logger, to the last bit."""
    plain = _train(_model(), 3)
    model = _model()
    with BoundaryLogger(
        model,
        box=BOX,
        solve_for="x_1",
        at={"x_2": 0.5},
        jsonl=tmp_path / "run.jsonl",
        max_seconds=20,
    ) as logger:
        logged = _train(model, 3, logger.step)

    assert all(torch.equal(a, b) for a, b in zip(plain, logged, strict=True))
    assert model.training
    assert BoundaryHistory.load(tmp_path / "run.jsonl").epochs == [0, 1, 2]
    assert logger.logs["boundary_length"] > 0


def test_optimizer_hook_counts_epochs():
    """With an optimizer and the steps of an epoch, records are made by themselves."""
    model = _model()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with BoundaryLogger(
        model, box=BOX, optimizer=optimizer, steps_per_epoch=4, max_seconds=20
    ) as logger:
        _train(model, 3, optimizer=optimizer)

    assert logger.epoch == 3
    assert not optimizer._optimizer_step_post_hooks


def test_unsupported_models_fail_before_the_first_epoch():
    """An operator that is not a function of the inputs is refused by ``with``."""

    class Noisy(torch.nn.Module):
        def forward(self, x):
            return x + torch.randn_like(x)

    with pytest.raises(UnsupportedError, match="rand"):
        BoundaryLogger(Noisy(), box=BOX, example_inputs=(torch.zeros(1, 2),)).start()


def test_bad_options():
    """An optimizer without its number of steps is refused."""
    model = _model()
    with pytest.raises(NneqError, match="together"):
        BoundaryLogger(model, box=BOX, steps_per_epoch=3)
    with pytest.raises(NneqError, match="there is no output 'z_5'"):
        BoundaryLogger(model, between=("z_1", "z_5"), box=BOX).start()


def test_a_closed_logger_begins_again(tmp_path):
    """A second ``with`` goes on in the same file, counts on, and hooks the optimizer again."""
    model = _model()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    logger = BoundaryLogger(
        model,
        box=BOX,
        jsonl=tmp_path / "run.jsonl",
        optimizer=optimizer,
        steps_per_epoch=4,
        max_seconds=20,
    )
    for _ in range(2):
        with logger:
            _train(model, 2, optimizer=optimizer)

    assert BoundaryHistory.load(tmp_path / "run.jsonl").epochs == [0, 1, 2, 3]


def test_broken_weights_do_not_stop_the_loop():
    """Weights that become NaN warn once; the keys stay, and no movement is made up."""
    model = _model()
    with BoundaryLogger(model, box=BOX, max_seconds=20) as logger:
        first = logger.step()
        with torch.no_grad():
            model[0].weight.fill_(float("nan"))
        with pytest.warns(UserWarning, match="holds NaN or infinity"):
            second = logger.step()
        third = logger.step()

    assert list(first) == list(second) == list(third)
    assert np.isnan([second["boundary_shift"], third["boundary_shift"]]).all()
