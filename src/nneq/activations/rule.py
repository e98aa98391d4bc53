"""What nneq knows about one scalar function, and the registry of all of them.

A rule is declared once, in its own file, and every engine asks it: adapters for its spellings,
printers for its formula, the exact engine for its pieces, the certified engine for its derivatives
and turning points.  Nothing about an activation may be written anywhere else.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import numpy as np

__all__ = ["RULES", "Elementary", "Params", "Part", "Piece", "Rule", "Tails", "register", "rule"]

Array = np.ndarray[Any, Any]
Params = Mapping[str, Any]
Kind = Literal["piecewise-linear", "step", "smooth", "piecewise-smooth"]
Monotone = Literal["strict", "weak", "decreasing", "none"]


class Elementary(Protocol):
    """The elementary functions of one arithmetic (NumPy, SymPy, balls, ...)."""

    def exp(self, z: Any, /) -> Any: ...
    def expm1(self, z: Any, /) -> Any: ...
    def log(self, z: Any, /) -> Any: ...
    def log1p(self, z: Any, /) -> Any: ...
    def sqrt(self, z: Any, /) -> Any: ...
    def sigmoid(self, z: Any, /) -> Any: ...
    def tanh(self, z: Any, /) -> Any: ...
    def sinh(self, z: Any, /) -> Any: ...
    def cosh(self, z: Any, /) -> Any: ...
    def atanh(self, z: Any, /) -> Any: ...
    def asinh(self, z: Any, /) -> Any: ...
    def acosh(self, z: Any, /) -> Any: ...
    def sin(self, z: Any, /) -> Any: ...
    def cos(self, z: Any, /) -> Any: ...
    def tan(self, z: Any, /) -> Any: ...
    def asin(self, z: Any, /) -> Any: ...
    def acos(self, z: Any, /) -> Any: ...
    def atan(self, z: Any, /) -> Any: ...
    def erf(self, z: Any, /) -> Any: ...
    def floor(self, z: Any, /) -> Any: ...
    def power(self, z: Any, exponent: Any, /) -> Any: ...
    def constant(self, decimal: str, /) -> Any:
        """The real number written by ``decimal``, or ``"pi"``, ``"sqrt(2)"``, ``"sqrt(2/pi)"``."""

    def split(self, z: Any, at: Any, below: Any, above: Any, /) -> Any:
        """``below`` where ``z < at``, ``above`` elsewhere."""


@dataclass(frozen=True)
class Piece:
    """``slope * z + intercept`` for ``z <= upper`` (and above the piece before).

    ``blur`` bounds how far ``upper`` is from the true end, where that is no float64.
    """

    upper: float
    slope: float
    intercept: float
    blur: float = 0.0


@dataclass(frozen=True)
class Part:
    """One formula of a piecewise-smooth rule, for ``z <= upper`` (and above the part before).

    Args:
        upper: where the part ends; ``inf`` for the last one.
        formula: the value, as in ``Rule.formula``, smooth on the whole line.
        derivative: the first derivative.
        second: the second derivative.
        turning: zeros of the first, second and third derivative inside the part.
    """

    upper: float
    formula: Callable[[Any, Any, Params], Any]
    derivative: Callable[[Any, Any, Params], Any]
    second: Callable[[Any, Any, Params], Any]
    turning: tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]] = ((), (), ())


@dataclass(frozen=True)
class Tails:
    """``f(z) -> left_slope z + left`` for ``z -> -inf`` and ``right_slope z + right`` for ``inf``.

    For ``|z| >= 40`` the value is within 1e-15 of that line, the derivative within 1e-15 of its
    slope and the second derivative within 1e-15 of 0.
    """

    left_slope: float
    left: float
    right_slope: float
    right: float


def _monotone(_: Params) -> Monotone:
    return "none"


def _image(_: Params) -> tuple[float, float]:
    return (-np.inf, np.inf)


@dataclass(frozen=True, eq=False)
class Rule:
    """Everything known about one scalar function ``f(z; params)``.

    Args:
        name: the identifier, also of its file and of its SymPy function.
        kind: piecewise-linear, step (piecewise constant), smooth, or piecewise-smooth.
        formula: ``formula(z, fn, params)`` in the elementary functions of any arithmetic.
        numeric: ``numeric(z, params)``: float64 arrays, stable for every finite ``z``.
        defaults: parameter names with the value a missing parameter has.
        derivative: ``f'`` as a formula, or None when piecewise linear or a step.
        second: ``f''`` as a formula, or None.
        pieces: the pieces of a piecewise-linear rule with scalar parameters, left to right.
        monotone: ``strict`` (strictly increasing), ``weak`` (non-decreasing), ``decreasing``
            (strictly), or ``none``.
        image: an interval that holds every value.
        domain: the open interval on which the function is defined and real.
        kinks: points where a piecewise-smooth rule changes formula.
        turning: zeros of ``f'``, ``f''`` and ``f'''`` as decimal strings, when there are finitely
            many and they do not depend on parameters; None when not tabulated.
        inverse: the inverse function as a formula, or None.
        parts: the formulas of a piecewise-smooth rule, left to right.
        tails: the lines the function approaches, or None.
        spellings: the names by framework.
    """

    name: str
    kind: Kind
    formula: Callable[[Any, Any, Params], Any]
    numeric: Callable[[Array, Params], Array]
    defaults: Mapping[str, float] = field(default_factory=dict)
    derivative: Callable[[Any, Any, Params], Any] | None = None
    second: Callable[[Any, Any, Params], Any] | None = None
    pieces: Callable[[Params], tuple[Piece, ...]] | None = None
    monotone: Callable[[Params], Monotone] = _monotone
    image: Callable[[Params], tuple[float, float]] = _image
    domain: tuple[float, float] = (-np.inf, np.inf)
    kinks: Callable[[Params], tuple[float, ...]] | None = None
    turning: tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]] | None = None
    inverse: Callable[[Any, Any, Params], Any] | None = None
    parts: tuple[Part, ...] = ()
    tails: Tails | None = None
    spellings: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


RULES: dict[str, Rule] = {}


def register(new: Rule) -> Rule:
    """Enter a rule; a second one of the same name is an error."""
    if new.name in RULES:
        msg = f"activation {new.name!r} is declared twice"
        raise ValueError(msg)
    RULES[new.name] = new
    return new


def rule(name: str) -> Rule:
    """Return the rule of that name."""
    return RULES[name]
