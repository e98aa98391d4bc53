r"""The boundary of one hidden layer as a sum of exponentials, as the note derives it.

For :math:`F = \delta_0 + \sum_i \delta_i y_i` with sigmoid or tanh units, :math:`B_i = -\kappa
(r_i\cdot x + c_i)` and :math:`P = \prod_i (1 + e^{B_i}) > 0`,

.. math:: P F = \sum_{S \subseteq \{1..N\}} C_S\, e^{\sum_{i \in S} B_i},\qquad
          C_S = \delta_0 + \sum_{i\notin S}\delta_i + y^- \sum_{i\in S}\delta_i,

with :math:`y^- = 0` (sigmoid, :math:`\kappa = 1`) or :math:`-1` (tanh, :math:`\kappa = 2`).
``P`` has no zero, so the sum has the zeros of ``F`` with their multiplicities.  :math:`C_S` is the
value of ``F`` where the units in ``S`` are saturated low and the others high.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Any

import flint
import numpy as np
import sympy as sp

from nneq.errors import NneqError, UnsupportedError
from nneq.symbolic.one_hidden import OneHidden

__all__ = ["ExponentialSum", "RootBound", "commensurable", "rational"]

Array = np.ndarray[Any, Any]

_LISTED_UNITS = 16
_SHOWN_UNITS = 6
_BOUND_UNITS = 15
_DEGREE = 512


@dataclass(frozen=True)
class RootBound:
    """What the generalised rule of signs says about the solutions on one whole line.

    Args:
        most: the number ``V`` of sign changes: no line has more solutions, with multiplicity.
        parity: the number of solutions is congruent to this modulo 2.
        rates: the number of different exponential rates after merging.

    References: Descartes' rule for Dirichlet polynomials (Polya and Szego, part V, 75-77).
    """

    most: int
    parity: int
    rates: int

    @property
    def exact(self) -> int | None:
        """The number of solutions where the bound decides it (``V <= 1``), else None."""
        return self.most if self.most <= 1 else None


@dataclass(frozen=True, eq=False)
class ExponentialSum:
    """``sum over S of C_S exp(sum_{k in S} B_k) = 0`` for one hidden layer.

    Args:
        form: the exact one-hidden-layer form.
        names: the input names ``x_1 ... x_n``.

    Guarantee: exact (rational coefficients).
    """

    form: OneHidden
    names: tuple[str, ...]

    @property
    def units(self) -> int:
        """The number ``N`` of hidden units."""
        return self.form.units

    def __repr__(self) -> str:
        terms = f"2**{self.units} terms" if self.units > 4 else f"{2**self.units} terms"
        return f"<ExponentialSum: {self.units} units, {terms}>"

    def __str__(self) -> str:
        """Return the sum with its numbers, to 12 digits; above 6 units, its size."""
        if self.units > _SHOWN_UNITS:
            return repr(self)
        terms = []
        for units, value in self.exact_coefficients.items():
            power = " + ".join(f"B_{k}" for k in sorted(units))
            terms.append(f"{float(value):.12g}" + (f"*exp({power})" if power else ""))
        lines = [" + ".join(terms).replace("+ -", "- ") + " = 0"]
        for k, exponent in self.exponents.items():
            lines.append(f"  B_{k} = {exponent.evalf(12)}")
        return "\n".join(lines)

    def coefficient(self, units: frozenset[int] | set[int]) -> Fraction:
        """Return ``C_S`` as a fraction for a set ``S`` of unit numbers 1 .. N.

        Raises:
            NneqError: when a number is not a unit.
        """
        unknown = sorted(k for k in units if not 1 <= k <= self.units)
        if unknown:
            msg = f"there are units 1 to {self.units}, not {unknown}"
            raise NneqError(msg)
        total = self.form.delta_0
        for k, delta in enumerate(self.form.delta, start=1):
            total += delta * (self.form.low if k in units else 1)
        return total

    def _subsets(self) -> Iterator[frozenset[int]]:
        numbers = range(1, self.units + 1)
        for size in range(self.units + 1):
            for chosen in itertools.combinations(numbers, size):
                yield frozenset(chosen)

    def _listable(self, limit: int, what: str) -> None:
        if self.units > limit:
            msg = (
                f"{what} of {self.units} units has 2**{self.units} terms (the limit is {limit} "
                "units); coefficient(S) gives any single one, and solve() needs none of them"
            )
            raise UnsupportedError(msg)

    @cached_property
    def exact_coefficients(self) -> Mapping[frozenset[int], Fraction]:
        """Every ``C_S`` as a fraction, by set of unit numbers; at most 16 units.

        Raises:
            UnsupportedError: above the limit.
        """
        self._listable(_LISTED_UNITS, "the list of coefficients")
        return {units: self.coefficient(units) for units in self._subsets()}

    @property
    def coefficients(self) -> Mapping[frozenset[int], float]:
        """Every ``C_S`` as float64, by set of unit numbers; at most 16 units.

        Raises:
            UnsupportedError: above the limit.
        """
        return {units: float(value) for units, value in self.exact_coefficients.items()}

    @cached_property
    def exponents(self) -> Mapping[int, sp.Expr]:
        """``B_i = -kappa (r_i . x + c_i)`` by unit number, with exact coefficients."""
        return {k: self._exponent(k) for k in range(1, self.units + 1)}

    def _exponent(self, unit: int) -> sp.Expr:
        kappa = self.form.kappa
        terms = [
            sp.Mul(rational(-kappa * slope), sp.Symbol(name), evaluate=False)
            for slope, name in zip(self.form.r[unit - 1], self.names, strict=True)
            if slope != 0
        ]
        offset = -kappa * self.form.c[unit - 1]
        if offset != 0 or not terms:
            terms.append(rational(offset))
        return sp.Add(*terms, evaluate=False) if len(terms) > 1 else terms[0]

    @property
    def equation(self) -> sp.Eq:
        """The sum in the symbols ``B_1 ... B_N`` and ``C_...`` = 0; at most 6 units.

        Raises:
            UnsupportedError: above the limit.
        """
        self._listable(_SHOWN_UNITS, "the written sum")
        terms = [self._term(units) for units in self._subsets()]
        return sp.Eq(sp.Add(*terms, evaluate=False), 0, evaluate=False)

    def _term(self, units: frozenset[int]) -> sp.Expr:
        name = "C_" + ("_".join(str(k) for k in sorted(units)) or "0")
        exponent = sp.Add(*(sp.Symbol(f"B_{k}") for k in sorted(units)))
        coefficient = sp.Symbol(name)
        return coefficient * sp.exp(exponent) if units else coefficient

    def __call__(self, x: Array) -> Array:
        r"""Evaluate ``F`` (not ``P F``, which overflows) at points ``(S, n)``, in float64.

        The weights :math:`p_S = e^{\sum_S B} / P` form a probability distribution, so this is the
        sum itself divided by the positive ``P``: at most 16 units.
        """
        points = np.atleast_2d(np.asarray(x, dtype=np.float64))
        r, c = self.form.r.astype(np.float64), self.form.c.astype(np.float64)
        b = -self.form.kappa * (points @ r.T + c)
        low = 0.5 * (1.0 + np.tanh(0.5 * b))
        total = np.zeros(points.shape[0])
        for units, value in self.exact_coefficients.items():
            chosen = np.array([k in units for k in range(1, self.units + 1)], dtype=bool)
            total += float(value) * np.where(chosen, low, 1.0 - low).prod(axis=1)
        return total

    # -------------------------------------------------------------- what the constants prove
    @cached_property
    def extremes(self) -> tuple[Fraction, Fraction]:
        """The smallest and the largest ``C_S``; every value of ``F`` lies between them."""
        low = high = self.form.delta_0
        for delta in self.form.delta:
            ends = (delta * self.form.low, delta)
            low += min(ends)
            high += max(ends)
        return low, high

    @property
    def sign_everywhere(self) -> int | None:
        """1 or -1 where ``F`` has that sign on all of R^n, 0 where it is 0 everywhere, else None.

        ``F`` is a mean of the ``C_S`` with positive weights, so it attains an extreme only when
        all of them are equal.

        Guarantee: exact.
        """
        low, high = self.extremes
        if low == high:
            return (low > 0) - (low < 0)
        if low >= 0:
            return 1
        return -1 if high <= 0 else None

    def _line(self, name: str, at: Mapping[str, float] | None) -> tuple[list[Any], list[Any]]:
        """Return slopes and offsets of the pre-activations along one input."""
        if name not in self.names:
            msg = f"there is no input {name!r}; the inputs are {', '.join(self.names[:8])}"
            raise NneqError(msg)
        fixed = dict(at or {})
        missing = [n for n in self.names if n != name and n not in fixed]
        if missing:
            msg = f"at does not say the value of {', '.join(missing[:8])}"
            raise NneqError(msg)
        place = self.names.index(name)
        slopes = [row[place] for row in self.form.r]
        offsets = []
        for row, c in zip(self.form.r, self.form.c, strict=True):
            total = c
            for k, other in enumerate(self.names):
                if k != place and row[k] != 0:
                    total += row[k] * Fraction(float(fixed[other]))
            offsets.append(total)
        return slopes, offsets

    def root_bound(self, name: str, at: Mapping[str, float] | None = None) -> RootBound:
        r"""Return the bound on the number of solutions for one input on the whole real line.

        Along the line, :math:`P F = \sum_S C_S e^{-\kappa\beta_S} e^{-\kappa\omega_S t}`; terms of
        equal rate are merged, and the number of sign changes of the merged coefficients bounds the
        number of zeros, with the same parity.  A merged coefficient is a rational combination of
        exponentials of rationals, hence 0 only if its coefficients are (Lindemann-Weierstrass);
        its sign is decided in ball arithmetic.

        Args:
            name: the input solved for.
            at: the other inputs.

        Raises:
            NneqError: unknown or missing inputs.
            UnsupportedError: more than 15 units, or a function that is 0 on the whole line.

        Guarantee: exact count bound.
        """
        self._listable(_BOUND_UNITS, "the sign rule")
        slopes, offsets = self._line(name, at)
        merged: dict[Fraction, dict[Fraction, Fraction]] = {}
        kappa = self.form.kappa
        for units, value in self.exact_coefficients.items():
            rate = sum((slopes[k - 1] for k in units), Fraction(0))
            beta = -kappa * sum((offsets[k - 1] for k in units), Fraction(0))
            group = merged.setdefault(rate, {})
            group[beta] = group.get(beta, Fraction(0)) + value
        signs = [_sign(merged[rate]) for rate in sorted(merged)]
        signs = [sign for sign in signs if sign]
        if not signs:
            msg = "the two outputs are equal on the whole line"
            raise UnsupportedError(msg)
        changes = sum(a != b for a, b in itertools.pairwise(signs))
        return RootBound(changes, changes % 2, len(merged))

    # -------------------------------------------------------------- commensurable slopes
    def polynomial_roots(
        self, name: str, at: Mapping[str, float] | None = None, *, precision: int = 256
    ) -> list[Any]:
        r"""Return all solutions for one input when the slopes are integer multiples of one number.

        With :math:`\omega_i = m_i\theta`, ``P F`` is a polynomial of degree
        :math:`\sum |m_i|` in :math:`u = e^{-\kappa\theta t}` (up to a power of ``u``); its positive
        roots are isolated in ball arithmetic and mapped back.

        Args:
            name: the input solved for.
            at: the other inputs.
            precision: working bits.

        Returns:
            ``flint.arb`` balls, sorted, each holding exactly one solution.

        Raises:
            UnsupportedError: degree above 512 (every float network is commensurable, but its
                degree is useless), multiple roots, or no dependence on the input.

        Guarantee: certified, complete on the whole real line.
        """
        slopes, offsets = self._line(name, at)
        theta, multiples = commensurable(slopes)
        degree = sum(abs(m) for m in multiples)
        if degree == 0 or degree > _DEGREE:
            msg = (
                f"as a polynomial in exp(-k t) the boundary has degree {degree}; this closed form "
                f"is used for degrees 1 to {_DEGREE}; solve() has no such limit"
            )
            raise UnsupportedError(msg)
        with flint.ctx.workprec(precision):
            roots = _positive_roots(self._polynomial(multiples, offsets))
            scale = _arb(-self.form.kappa * theta)
            return sorted((u.log() / scale for u in roots), key=lambda ball: float(ball.mid()))

    def _polynomial(self, multiples: list[int], offsets: list[Fraction]) -> Any:
        """Return ``sum_i`` of numerators over the common denominator, negative powers cleared."""
        kappa, low = self.form.kappa, self.form.low
        factors, numerators = [], []
        for m, beta, delta in zip(multiples, offsets, self.form.delta, strict=True):
            e = (_arb(-kappa * beta)).exp()
            weight = [flint.arb(1), e] if m >= 0 else [e, flint.arb(1)]
            value = [_arb(delta), _arb(delta * low) * e]
            if m < 0:
                value = [value[1], value[0]]
            factors.append(_sparse(weight, abs(m)))
            numerators.append(_sparse(value, abs(m)))
        total = flint.arb_poly([_arb(self.form.delta_0)])
        denominator = flint.arb_poly([1])
        for factor, numerator in zip(factors, numerators, strict=True):
            total = total * factor + numerator * denominator
            denominator = denominator * factor
        return total


def _sparse(ends: list[Any], power: int) -> Any:
    """Return ``ends[0] + ends[1] u**power``."""
    if power == 0:
        return flint.arb_poly([ends[0] + ends[1]])
    return flint.arb_poly([ends[0], *[0] * (power - 1), ends[1]])


def commensurable(slopes: list[Fraction]) -> tuple[Fraction, list[int]]:
    """Return ``theta`` and integers with ``slope_i = m_i theta`` (theta > 0)."""
    nonzero = [abs(s) for s in slopes if s != 0]
    if not nonzero:
        return Fraction(1), [0] * len(slopes)
    common = math.lcm(*(s.denominator for s in nonzero))
    whole = math.gcd(*(int(s * common) for s in nonzero))
    theta = Fraction(whole, common)
    return theta, [int(s / theta) for s in slopes]


def _positive_roots(polynomial: Any) -> list[Any]:
    """Return balls of the positive real roots; roots must be simple.

    A root isolated by a ball that meets its own mirror image in the real axis, and no other ball,
    is real: a real polynomial's other roots come in conjugate pairs.
    """
    coefficients = [flint.acb(c) for c in polynomial.coeffs()]
    while coefficients and coefficients[-1].is_zero():
        coefficients.pop()
    try:
        roots = flint.acb_poly(coefficients).roots()
    except ValueError as error:
        msg = "the polynomial's roots could not be isolated (a multiple root?)"
        raise UnsupportedError(msg) from error
    found = []
    for k, root in enumerate(roots):
        mirror = flint.acb(root.real, -root.imag)
        others = (r for j, r in enumerate(roots) if j != k)
        if not root.imag.contains(0):
            continue
        if any(mirror.overlaps(other) for other in others):
            msg = "two roots could not be told from a conjugate pair; raise precision"
            raise UnsupportedError(msg)
        if root.real > 0:
            found.append(root.real)
        elif not root.real < 0:
            msg = "a root could not be separated from 0; raise precision"
            raise UnsupportedError(msg)
    return found


def _sign(group: Mapping[Fraction, Fraction]) -> int:
    """Return the sign of ``sum_beta group[beta] exp(beta)``, decided in balls."""
    terms = [(beta, value) for beta, value in group.items() if value != 0]
    if not terms:
        return 0
    top = max(beta for beta, _ in terms)
    bits = 64
    while True:
        with flint.ctx.workprec(bits):
            total = flint.arb(0)
            for beta, value in terms:
                total += _arb(value) * _arb(beta - top).exp()
            if total > 0:
                return 1
            if total < 0:
                return -1
        bits *= 2


def _arb(value: Fraction | int) -> Any:
    fraction = Fraction(value)
    return flint.arb(flint.fmpq(fraction.numerator, fraction.denominator))


def rational(value: Fraction) -> sp.Rational:
    """Return a fraction as a SymPy number."""
    return sp.Rational(value.numerator, value.denominator)
