"""The elementary functions of rules in float64 arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import special

__all__ = ["NUMPY", "NumpyElementary"]

Array = np.ndarray[Any, Any]
_CONSTANTS = {
    "pi": np.pi,
    "sqrt(2)": np.sqrt(2.0),
    "sqrt(pi)": np.sqrt(np.pi),
    "sqrt(2*pi)": np.sqrt(2.0 * np.pi),
    "sqrt(2/pi)": np.sqrt(2.0 / np.pi),
}


class NumpyElementary:
    """Float64 meaning of :class:`nneq.activations.rule.Elementary`."""

    exp = staticmethod(np.exp)
    expm1 = staticmethod(np.expm1)
    log = staticmethod(np.log)
    log1p = staticmethod(np.log1p)
    sqrt = staticmethod(np.sqrt)
    sigmoid = staticmethod(special.expit)
    tanh = staticmethod(np.tanh)
    sinh = staticmethod(np.sinh)
    cosh = staticmethod(np.cosh)
    atanh = staticmethod(np.arctanh)
    asinh = staticmethod(np.arcsinh)
    acosh = staticmethod(np.arccosh)
    sin = staticmethod(np.sin)
    cos = staticmethod(np.cos)
    tan = staticmethod(np.tan)
    asin = staticmethod(np.arcsin)
    acos = staticmethod(np.arccos)
    atan = staticmethod(np.arctan)
    erf = staticmethod(special.erf)
    floor = staticmethod(np.floor)
    round = staticmethod(np.round)
    power = staticmethod(np.power)

    def constant(self, decimal: str) -> float:
        """Return the constant rounded to float64."""
        found = _CONSTANTS.get(decimal)
        return float(decimal) if found is None else float(found)

    def split(self, z: Any, at: Any, below: Any, above: Any) -> Array:
        """Return ``below`` where ``z < at``, ``above`` elsewhere."""
        found: Array = np.where(np.asarray(z) < at, below, above)
        return found


NUMPY = NumpyElementary()
