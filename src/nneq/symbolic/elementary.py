"""The elementary functions of the rules' formulas, in SymPy and in mpmath."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import sympy

__all__ = ["MpElementary", "SympyElementary"]

_ROOTS: dict[str, tuple[int, int, int]] = {
    "sqrt(2)": (2, 1, 0),
    "sqrt(pi)": (1, 1, 1),
    "sqrt(2*pi)": (2, 1, 1),
    "sqrt(2/pi)": (2, 1, -1),
}
"""``sqrt(a/b * pi**k)`` as ``(a, b, k)``."""


class SympyElementary:
    """SymPy's functions.

    Args:
        activation: when given, ``tanh``, ``sigmoid`` and the like become the unevaluated functions
            of ``nneq.symbolic.functions``; when None, SymPy's own.
    """

    def __init__(self, activation: Callable[..., Any] | None) -> None:
        """Use our own functions, or SymPy's when ``activation`` is None."""
        self._own = activation

    def _call(self, name: str, z: Any) -> Any:
        return getattr(sympy, name)(z) if self._own is None else self._own(name, z)

    def exp(self, z: Any) -> Any:
        return sympy.exp(z)

    def expm1(self, z: Any) -> Any:
        return sympy.exp(z) - 1

    def log(self, z: Any) -> Any:
        return sympy.log(z)

    def log1p(self, z: Any) -> Any:
        return sympy.log(1 + z)

    def sqrt(self, z: Any) -> Any:
        return sympy.sqrt(z)

    def sigmoid(self, z: Any) -> Any:
        return 1 / (1 + sympy.exp(-z)) if self._own is None else self._own("sigmoid", z)

    def tanh(self, z: Any) -> Any:
        return self._call("tanh", z)

    def sinh(self, z: Any) -> Any:
        return self._call("sinh", z)

    def cosh(self, z: Any) -> Any:
        return self._call("cosh", z)

    def asinh(self, z: Any) -> Any:
        return self._call("asinh", z)

    def acosh(self, z: Any) -> Any:
        return self._call("acosh", z)

    def atanh(self, z: Any) -> Any:
        return self._call("atanh", z)

    def sin(self, z: Any) -> Any:
        return self._call("sin", z)

    def cos(self, z: Any) -> Any:
        return self._call("cos", z)

    def tan(self, z: Any) -> Any:
        return self._call("tan", z)

    def asin(self, z: Any) -> Any:
        return self._call("asin", z)

    def acos(self, z: Any) -> Any:
        return self._call("acos", z)

    def atan(self, z: Any) -> Any:
        return self._call("atan", z)

    def erf(self, z: Any) -> Any:
        return self._call("erf", z)

    def floor(self, z: Any) -> Any:
        return self._call("floor", z)

    def round(self, z: Any) -> Any:
        """Half to even, from floors (SymPy has no rounding function)."""
        low = self.floor(z)
        rest = z - low
        even = 2 * self.floor((low + 1) / 2)
        half = sympy.Rational(1, 2)
        return sympy.Piecewise((low, rest < half), (low + 1, rest > half), (even, True))

    def power(self, z: Any, exponent: Any) -> Any:
        number = float(exponent)
        return z ** (int(number) if number.is_integer() else exponent)

    def constant(self, decimal: str) -> Any:
        if decimal == "pi":
            return sympy.pi
        if decimal in _ROOTS:
            a, b, k = _ROOTS[decimal]
            return sympy.sqrt(sympy.Rational(a, b) * sympy.pi**k)
        return sympy.Rational(decimal)

    def split(self, z: Any, at: Any, below: Any, above: Any) -> Any:
        condition = sympy.Lt(z, at, evaluate=False)
        return sympy.Piecewise((below, condition), (above, True), evaluate=False)


class MpElementary:
    """mpmath's functions at its current working precision."""

    def __init__(self, context: Any) -> None:
        """Use the context ``mpmath`` (or another one of its kind)."""
        for name in [
            "exp",
            "expm1",
            "log",
            "log1p",
            "sqrt",
            "tanh",
            "sinh",
            "cosh",
            "asinh",
            "acosh",
            "atanh",
            "sin",
            "cos",
            "tan",
            "asin",
            "acos",
            "atan",
            "erf",
            "floor",
        ]:
            setattr(self, name, getattr(context, name))
        self._context = context

    def sigmoid(self, z: Any) -> Any:
        return 1 / (1 + self._context.exp(-z))

    def round(self, z: Any) -> Any:
        return self._context.nint(z)

    def power(self, z: Any, exponent: Any) -> Any:
        return self._context.power(z, exponent)

    def constant(self, decimal: str) -> Any:
        if decimal == "pi":
            return +self._context.pi
        if decimal in _ROOTS:
            a, b, k = _ROOTS[decimal]
            return self._context.sqrt(self._context.mpf(a) / b * self._context.pi**k)
        return self._context.mpf(decimal)

    def split(self, z: Any, at: Any, below: Any, above: Any) -> Any:
        return below if z < at else above
