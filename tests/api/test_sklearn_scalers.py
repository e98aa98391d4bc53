"""Scalers of scikit-learn become part of the equations."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.preprocessing import MaxAbsScaler, MinMaxScaler, RobustScaler, StandardScaler
from zoo_networks import mlp

import nneq

DATA = np.random.default_rng(0).normal(size=(200, 3)) * [1.0, 10.0, 0.1] + [5.0, -3.0, 0.0]


@pytest.mark.parametrize(
    "scaler",
    [
        StandardScaler(),
        StandardScaler(with_mean=False),
        StandardScaler(with_std=False),
        MinMaxScaler((-1, 1)),
        RobustScaler(),
        RobustScaler(with_centering=False),
        MaxAbsScaler(),
    ],
    ids=repr,
)
def test_a_fitted_scaler_is_folded_in(scaler):
    """Raw features in, the same outputs as scaler and network one after the other."""
    network = mlp([3, 4, 2])
    scaler.fit(DATA)
    eqs = nneq.to_equations(network, scaler=scaler)

    assert np.allclose(network(scaler.transform(DATA)), eqs(DATA), rtol=1e-12)


def test_an_unfitted_scaler_is_refused():
    """It has nothing to fold in yet."""
    with pytest.raises(nneq.NneqError, match="is not fitted"):
        nneq.to_equations(mlp([3, 4, 2]), scaler=StandardScaler())
