"""Proofs in float64 need rounding to nearest; a library in the same process may have changed that.

IBEX and what is built on it (codac) switch the processor to rounding upwards when they are imported
and leave it so.  Errors are then twice what the bounds here allow for.
"""

from __future__ import annotations

from nneq.errors import NneqError

__all__ = ["require_nearest"]

_ONE = 1.0
_HALF_STEP = 2.0**-53
_QUARTER_STEP = 2.0**-54


def require_nearest() -> None:
    """Refuse to compute bounds while the processor does not round to nearest.

    Raises:
        NneqError: another rounding mode is set.
    """
    if (
        _ONE + _HALF_STEP == _ONE
        and _ONE - _QUARTER_STEP == _ONE
        and -_ONE - _HALF_STEP == -_ONE
        and -_ONE + _QUARTER_STEP == -_ONE
    ):
        return
    msg = (
        "the processor does not round to nearest, so no bound can be proven; another library in "
        "this process has changed the rounding mode (codac does when it is imported): use a "
        "process of its own, or set the mode back with ctypes.CDLL('libm.so.6').fesetround(0)"
    )
    raise NneqError(msg)
