"""A disc that a PyTorch model learns: what is logged between proven records is right."""

from __future__ import annotations

import math

import pytest
import torch

import nneq
from nneq.callbacks.torch import BoundaryLogger

BOX = [(-3.0, 3.0), (-3.0, 3.0)]


@pytest.mark.parametrize("monitored", [False, True])
def test_a_disc_that_is_learned(monitored):
    """Every epoch's numbers are those of a fresh trace (length to 1 %), or NaN."""
    torch.manual_seed(1)
    x = torch.randn((600, 2), generator=torch.Generator().manual_seed(0))
    y = ((x**2).sum(dim=1) < 1.2).long()
    model = torch.nn.Sequential(torch.nn.Linear(2, 12), torch.nn.Tanh(), torch.nn.Linear(12, 2))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.03)
    order = torch.Generator().manual_seed(2)
    sketches = measured = 0
    with BoundaryLogger(model, box=BOX, monitored=monitored) as logger:
        for epoch in range(25):
            for rows in torch.randperm(600, generator=order).split(32):
                optimizer.zero_grad()
                torch.nn.functional.cross_entropy(model(x[rows]), y[rows]).backward()
                optimizer.step()
            if epoch:  # the worst case: no time for a trace, ever
                purse = logger.recorder._purse
                purse.pay("trace", 100.0)
                purse.pay("sketch", 0.01)
                purse.trained = 100.0
            found = logger.step()
            traced = nneq.to_equations(model).boundary("z_1", "z_2").trace(BOX)
            if math.isnan(found["boundary_length"]):
                assert not monitored
                assert math.isnan(found["boundary_components"])
                continue
            measured += 1
            sketches += found["boundary_complete"] == 0.0
            assert found["boundary_components"] == len(traced.components), epoch
            assert found["boundary_closed"] == sum(c.closed for c in traced.components), epoch
            assert found["boundary_length"] == pytest.approx(traced.length, rel=0.01), epoch
    assert sketches >= 15
    assert measured == 25 if monitored else measured >= 16
