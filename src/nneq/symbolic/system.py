"""The system of equations as SymPy objects, layer by layer, built unevaluated and in one pass."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import mpmath
import sympy
from sympy.core.singleton import S

from nneq.errors import UnsupportedError
from nneq.symbolic.formulas import formulas
from nneq.symbolic.functions import Largest, activation
from nneq.symbolic.latex import latex_number
from nneq.symbolic.layout import Layout

__all__ = ["SYSTEM_LIMIT", "SympyWriter", "Weight", "exact", "scaled", "system", "total", "weight"]

SYSTEM_LIMIT = 400_000
"""Largest number of terms that are turned into SymPy objects (about 10 microseconds each)."""


class Weight(sympy.Float):
    """A stored weight: a float64 that prints with the shortest decimal that gives it back."""

    __slots__ = ()

    def __neg__(self) -> Any:
        return weight(-float(self))

    def __abs__(self) -> Any:
        return weight(abs(float(self)))

    def __mul__(self, other: Any) -> Any:
        if other is S.One:
            return self
        return -self if other is S.NegativeOne else super().__mul__(other)

    def __add__(self, other: Any) -> Any:
        return self if other is S.Zero else super().__add__(other)

    def _sympystr(self, _printer: Any) -> str:
        return repr(float(self))

    def _latex(self, _printer: Any) -> str:
        return latex_number(repr(float(self)))

    def _sympyrepr(self, _printer: Any) -> str:
        return f"Float('{float(self)!r}', precision=53)"

    def _pythoncode(self, _printer: Any) -> str:
        return repr(float(self))


def weight(value: float) -> Any:
    """Return a float64 as an exact SymPy number; small integers become integers."""
    if not math.isfinite(value):
        return sympy.nan if math.isnan(value) else sympy.Float(value)
    return Weight(value)


class SympyWriter:
    """Formulas as unevaluated SymPy expressions.

    Args:
        values: what a name stands for; a new symbol for every name that is missing.
    """

    def __init__(self, values: Mapping[str, Any] | None = None) -> None:
        """Write the names in ``values`` as those expressions, every other one as a symbol."""
        self._values: dict[str, Any] = dict(values or {})

    def define(self, name: str, value: Any) -> None:
        """Let a name stand for an expression from here on."""
        self._values[name] = value

    def symbol(self, name: str) -> Any:
        """Return what the name stands for."""
        found = self._values.get(name)
        if found is None:
            found = self._values[name] = sympy.Symbol(name)
        return found

    def affine(self, terms: Sequence[tuple[float, str]], constant: float) -> Any:
        """Return the weighted sum."""
        parts = []
        for factor, name in terms:
            symbol = self.symbol(name)
            parts.append(scaled(factor, symbol))
        if constant != 0.0 or not parts:
            parts.append(weight(constant) if constant != 0.0 else sympy.Integer(0))
        return total(parts)

    def call(self, rule: str, argument: Any, params: tuple[tuple[str, float], ...]) -> Any:
        """Return the activation of the argument."""
        return activation(rule, argument, tuple(weight(value) for _, value in params))

    def products(self, pairs: Sequence[tuple[Any, Any]]) -> Any:
        """Return the sum of the products."""
        return total([sympy.Mul(a, b, evaluate=False) for a, b in pairs] or [sympy.Integer(0)])

    def maximum(self, parts: Sequence[Any]) -> Any:
        """Return the largest of the parts."""
        return parts[0] if len(parts) == 1 else Largest(*parts, evaluate=False)

    def select(self, test: Any, relation: str, yes: Any, no: Any) -> Any:
        """Return the two cases."""
        kinds = {">": sympy.Gt, ">=": sympy.Ge, "==": sympy.Eq}
        condition = kinds[relation](test, 0, evaluate=False)
        return sympy.Piecewise((yes, condition), (no, True), evaluate=False)

    def exponentials(self, members: Sequence[Any]) -> Any:
        """Return the sum of the exponentials."""
        return total([sympy.exp(member, evaluate=False) for member in members])

    def share(self, member: Any, whole: Any, log: bool) -> Any:  # a node's flag
        """Return the softmax or its logarithm."""
        if log:
            return total([member, scaled(-1.0, sympy.log(whole, evaluate=False))])
        inverse = sympy.Pow(whole, -1, evaluate=False)
        return sympy.Mul(sympy.exp(member, evaluate=False), inverse, evaluate=False)


def scaled(factor: float, value: Any) -> Any:
    """Return ``factor * value`` unevaluated; 1 disappears."""
    if factor == 1.0:
        return value
    number = sympy.Integer(-1) if factor == -1.0 else weight(factor)
    if value is S.One:
        return number
    if isinstance(value, sympy.Mul) and value.args[0].is_Number:
        # side by side: SymPy's printer would multiply nested numbers, and round
        return sympy.Mul(number, *value.args, evaluate=False)
    return sympy.Mul(number, value, evaluate=False)


def total(parts: Sequence[Any]) -> Any:
    """Return the unevaluated sum in the order given."""
    return parts[0] if len(parts) == 1 else sympy.Add(*parts, evaluate=False)


def system(layout: Layout) -> list[Any]:
    """Return one ``Eq(name, formula)`` per unit, in order of computation.

    Raises:
        UnsupportedError: above ``SYSTEM_LIMIT`` terms.
    """
    if layout.term_count > SYSTEM_LIMIT:
        msg = (
            f"the system has about {layout.term_count} terms, more than {SYSTEM_LIMIT}; use "
            "matrix_form(), which works for any size, or write_text(file), which streams"
        )
        raise UnsupportedError(msg)
    writer = SympyWriter()
    return [
        sympy.Eq(writer.symbol(name), formula, evaluate=False)
        for name, formula in formulas(layout, writer)
    ]


def exact(value: Any) -> Any:
    """Return a weight of the system as the exact fraction it is."""
    man, exp = mpmath.mpf(float(value)).man_exp
    return sympy.Rational(int(man)) * sympy.Integer(2) ** int(exp)
