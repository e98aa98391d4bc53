"""Nothing is proven while another library has changed the rounding mode."""

from __future__ import annotations

import ctypes
import sys

import numpy as np
import pytest
from certified_networks import mlp

import nneq
from nneq.api.equations import Equations
from nneq.semantics.ball import Balls

MODES = {"up": 0x800, "down": 0x400, "to zero": 0xC00}


@pytest.fixture
def set_rounding():
    """Return the C function that sets the mode; rounding to nearest is restored."""
    if sys.platform != "linux" or np.finfo(float).eps != 2.0**-52:
        pytest.skip("the modes' numbers are those of Linux on x86-64")
    library = ctypes.CDLL("libm.so.6")
    yield library.fesetround
    library.fesetround(0)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("rule", ["tanh", "relu"])
def test_other_rounding_modes_are_refused(set_rounding, rule, mode):
    """A proof in float64 counts on rounding to nearest, and says so when it is not there."""
    boundary = Equations(mlp((1, 4, 2), rule)).boundary("z_1", "z_2")
    assert set_rounding(MODES[mode]) == 0
    message = ""
    try:
        boundary.solve("x_1", domain=(-3.0, 3.0))
    except nneq.NneqError as error:
        message = str(error)
    finally:
        set_rounding(0)

    assert "does not round to nearest" in message


def test_rounding_to_nearest_is_accepted():
    """The usual mode raises nothing."""

    assert isinstance(Balls(), Balls)
