r"""Closed forms of the boundary for one input, where they exist (and why not where they do not).

For one hidden layer, :math:`\delta_0 + \sum_i \delta_i y_i = 0`:

- when exactly one unit ``m`` with :math:`\delta_m \ne 0` depends on :math:`x_k`, the equation gives
  :math:`y_m` in the other inputs, and :math:`x_k = (\varphi^{-1}(y_m) - c_m -
  \sum_{j \ne k} r_{mj} x_j) / r_{mk}` wherever :math:`y_m` lies in the unit's open range;
- when the slopes along :math:`x_k` are :math:`m_i\theta` with integers of
  :math:`\sum |m_i| \le 2`, the boundary is a polynomial of degree at most two in
  :math:`u = e^{-\kappa\theta x_k}`, solved by radicals;
- otherwise no closed form is known.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import sympy as sp

from nneq.errors import UnsupportedError
from nneq.ir import network as ir
from nneq.symbolic.exponential_sum import commensurable, rational
from nneq.symbolic.functions import activation
from nneq.symbolic.one_hidden import OneHidden, affine_form, one_hidden

__all__ = ["ClosedForm", "ClosedForms", "NoClosedForm", "solve_expr"]


@dataclass(frozen=True, eq=False)
class ClosedForm:
    """``variable = expr`` wherever ``condition`` holds, and nowhere else.

    Args:
        variable: the input solved for.
        expr: in the other inputs only.
        condition: a SymPy condition in the other inputs (``true`` when there is none).
    """

    variable: str
    expr: sp.Expr
    condition: Any

    @property
    def equation(self) -> sp.Eq:
        """``variable = expr``."""
        return sp.Eq(sp.Symbol(self.variable), self.expr, evaluate=False)


@dataclass(frozen=True, eq=False)
class ClosedForms(Sequence[ClosedForm]):
    """All solutions for one input as formulas; complete: there is no other solution.

    Args:
        forms: the formulas.
        reason: which theorem gives them.
    """

    forms: tuple[ClosedForm, ...]
    reason: str

    def __getitem__(self, index: Any) -> Any:
        return self.forms[index]

    def __len__(self) -> int:
        return len(self.forms)

    def __iter__(self) -> Iterator[ClosedForm]:
        return iter(self.forms)


@dataclass(frozen=True)
class NoClosedForm:
    """There is no known closed form; ``reason`` says why and what to call instead."""

    reason: str

    def __bool__(self) -> bool:
        return False


def _linear(coefficients: Sequence[Fraction], names: Sequence[str], constant: Fraction) -> sp.Expr:
    terms = [
        sp.Mul(rational(value), sp.Symbol(name), evaluate=False)
        for value, name in zip(coefficients, names, strict=True)
        if value != 0
    ]
    if constant != 0 or not terms:
        terms.append(rational(constant))
    return sp.Add(*terms, evaluate=False) if len(terms) > 1 else terms[0]


def solve_expr(
    network: ir.Network, place: int, names: tuple[str, ...]
) -> ClosedForms | NoClosedForm:
    """Return the closed forms of input ``place`` on ``g = 0``, or why there is none.

    Args:
        network: one output ``g`` of shape ``(1,)``.
        place: the input solved for, from 0.
        names: ``x_1 ... x_n``.

    Guarantee: exact.
    """
    affine = affine_form(network)
    if affine is not None:
        return _hyperplane(list(affine[0]), affine[1], place, names)
    try:
        form = one_hidden(network)
    except UnsupportedError as error:
        return NoClosedForm(
            f"no closed form is known: {error}; solve() gives every solution as a proven enclosure"
        )
    units = [k for k in range(form.units) if form.delta[k] != 0]
    moving = [k for k in units if form.r[k][place] != 0]
    if not moving:
        return NoClosedForm(f"the boundary does not depend on {names[place]}")
    if len(moving) == 1:
        return ClosedForms(
            (_one_unit(form, units, moving[0], place, names),),
            f"only hidden unit {moving[0] + 1} depends on {names[place]}",
        )
    theta, multiples = commensurable([form.r[k][place] for k in moving])
    degree = sum(abs(m) for m in multiples)
    if degree <= 2:
        poly = _polynomial(form, units, moving, multiples, place, names)
        if poly.is_zero:
            return NoClosedForm(f"every {names[place]} is a solution: the units cancel")
        why = f"a polynomial of degree {degree} in exp(-{form.kappa * theta} {names[place]})"
        if poly.free_symbols_in_domain:
            why += f"; where all its coefficients are 0, every {names[place]} is a solution"
        scale = -1 / rational(form.kappa * theta)
        return ClosedForms(tuple(_quadratic(poly, scale, names[place])), why)
    return NoClosedForm(
        f"{len(moving)} hidden units depend on {names[place]} with slopes that make the boundary a "
        f"sum of exponentials with no closed form known (as a polynomial it has degree {degree}); "
        "solve() gives every solution as a proven enclosure"
    )


def _hyperplane(
    slopes: Sequence[Fraction], constant: Fraction, place: int, names: tuple[str, ...]
) -> ClosedForms | NoClosedForm:
    if slopes[place] == 0:
        return NoClosedForm(f"the boundary does not depend on {names[place]}")
    scale = -1 / slopes[place]
    others = [Fraction(0) if k == place else s * scale for k, s in enumerate(slopes)]
    expr = _linear(others, names, constant * scale)
    return ClosedForms((ClosedForm(names[place], expr, sp.true),), "the boundary is a hyperplane")


def _unit(form: OneHidden, k: int, names: Sequence[str]) -> sp.Expr:
    return activation(form.rule, _linear(form.r[k], names, form.c[k]))


def _one_unit(
    form: OneHidden, units: Sequence[int], m: int, place: int, names: tuple[str, ...]
) -> ClosedForm:
    scale = -1 / form.delta[m]
    terms: list[Any] = [rational(form.delta_0 * scale)]
    for k in units:
        if k != m:
            factor = rational(form.delta[k] * scale)
            terms.append(sp.Mul(factor, _unit(form, k, names), evaluate=False))
    y = sp.Add(*terms, evaluate=False) if len(terms) > 1 else terms[0]
    logit = sp.log(y / (1 - y)) if form.rule == "sigmoid" else sp.atanh(y)
    rest = [Fraction(0) if j == place else s for j, s in enumerate(form.r[m])]
    offset = _linear(rest, names, form.c[m])
    slope = rational(form.r[m][place])
    expr = sp.Mul(sp.Add(logit, -offset, evaluate=False), 1 / slope, evaluate=False)
    condition = sp.And(y > form.low, y < 1)
    return ClosedForm(names[place], expr, condition)


def _polynomial(
    form: OneHidden,
    units: Sequence[int],
    moving: Sequence[int],
    multiples: Sequence[int],
    place: int,
    names: tuple[str, ...],
) -> sp.Poly:
    """Return ``P F`` as a polynomial in ``u``."""
    kappa, low = form.kappa, form.low
    rest_terms: list[Any] = [rational(form.delta_0)]
    for k in units:
        if k not in moving:
            rest_terms.append(rational(form.delta[k]) * _unit(form, k, names))
    u = sp.Dummy("u", positive=True)
    total, common = sp.Add(*rest_terms), sp.Integer(1)
    for k, m in zip(moving, multiples, strict=True):
        rest = [Fraction(0) if j == place else s for j, s in enumerate(form.r[k])]
        e = sp.exp(-kappa * _linear(rest, names, form.c[k]))
        ends = (sp.Integer(1), e * u ** abs(m)) if m > 0 else (u ** abs(m), e)
        weight = rational(form.delta[k])
        total = total * (ends[0] + ends[1]) + weight * (ends[0] + low * ends[1]) * common
        common = common * (ends[0] + ends[1])
    return sp.Poly(sp.expand(total), u)


def _quadratic(poly: sp.Poly, scale: sp.Expr, name: str) -> Iterator[ClosedForm]:
    """Yield the branches of a polynomial of degree 1 or 2: a root for each positive ``u``.

    The conditions hold no quotient and no root of a negative number, so that they can be asked at
    every point.
    """
    a, b, c = (poly.coeff_monomial(poly.gen**k) for k in (2, 1, 0))
    if a != 0:
        delta = b**2 - 4 * a * c
        size = sp.sqrt(sp.Max(delta, 0))
        for sign in (1, -1):
            real = delta >= 0 if sign > 0 else delta > 0  # a double root once
            condition = sp.And(sp.Ne(a, 0), real, a * (sign * size - b) > 0)
            root = (-b + sign * sp.sqrt(delta)) / (2 * a)
            yield ClosedForm(name, scale * sp.log(root), condition)
    if b != 0 and c != 0:
        yield ClosedForm(name, scale * sp.log(-c / b), sp.And(sp.Eq(a, 0), -b * c > 0))
