"""Closed-form partial derivatives by the chain rule over the units: no recursion at any depth."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sympy
from sympy.core.singleton import S

from nneq.symbolic.formulas import formulas
from nneq.symbolic.functions import activation
from nneq.symbolic.layout import Layout
from nneq.symbolic.substitution import ancestors, formula_sizes, refuse_large
from nneq.symbolic.system import SympyWriter, scaled, total, weight

__all__ = ["TangentWriter", "gradients"]

Tangent = dict[str, Any]
Value = tuple[Any, Tangent]


class TangentWriter:
    """Formulas with their derivatives: a value is ``(expression, {input: derivative})``.

    A derivative that is zero is not in the mapping.
    """

    def __init__(self, inputs: Sequence[str]) -> None:
        """Start from the inputs, whose derivatives are one."""
        self._plain = SympyWriter()
        one = sympy.Integer(1)
        self._known: dict[str, Value] = {
            name: (sympy.Symbol(name), {name: one}) for name in map(str, inputs)
        }

    def define(self, name: str, value: Value) -> None:
        """Let a name stand for a value from here on."""
        self._known[name] = value
        self._plain.define(name, value[0])

    def affine(self, terms: Sequence[tuple[float, str]], constant: float) -> Value:
        """Return the weighted sum and its derivatives."""
        found: dict[str, list[Any]] = {}
        for factor, name in terms:
            for key, slope in self._known[name][1].items():
                unit = slope is S.One and abs(factor) != 1.0
                part = weight(factor) if unit else scaled(factor, slope)
                found.setdefault(key, []).append(part)
        return self._plain.affine(terms, constant), _summed(found)

    def call(self, rule: str, argument: Value, params: tuple[tuple[str, float], ...]) -> Value:
        """Return the activation: ``f'(z) dz``."""
        z, tangent = argument
        numbers = tuple(weight(value) for _, value in params)
        value = activation(rule, z, numbers)
        if not tangent:
            return value, {}
        dummy = sympy.Dummy("z")
        slope = _fdiff(rule, dummy, numbers).xreplace({dummy: z})
        return value, {key: _times(slope, part) for key, part in tangent.items()}

    def products(self, pairs: Sequence[tuple[Value, Value]]) -> Value:
        """Return the sum of products: ``a db + b da``."""
        found: dict[str, list[Any]] = {}
        for (a, da), (b, db) in pairs:
            for key, slope in da.items():
                found.setdefault(key, []).append(_times(b, slope))
            for key, slope in db.items():
                found.setdefault(key, []).append(_times(a, slope))
        return self._plain.products([(a[0], b[0]) for a, b in pairs]), _summed(found)

    def maximum(self, parts: Sequence[Value]) -> Value:
        """Return the largest part: its own derivative."""
        value = self._plain.maximum([part[0] for part in parts])
        if len(parts) == 1:
            return parts[0]
        slopes: dict[str, list[Any]] = {}
        for k, (_, tangent) in enumerate(parts):
            chosen = value.fdiff(k + 1)
            for key, slope in tangent.items():
                slopes.setdefault(key, []).append(_times(chosen, slope))
        return value, _summed(slopes)

    def select(self, test: Value, relation: str, yes: Value, no: Value) -> Value:
        """Return the two cases of the derivative (the jump itself has none)."""
        value = self._plain.select(test[0], relation, yes[0], no[0])
        zero = sympy.Integer(0)
        tangent = {
            key: self._plain.select(test[0], relation, yes[1].get(key, zero), no[1].get(key, zero))
            for key in (yes[1] | no[1])
        }
        return value, tangent

    def exponentials(self, members: Sequence[Value]) -> Value:
        """Return the sum of exponentials: ``sum exp(a) da``."""
        found: dict[str, list[Any]] = {}
        for member, tangent in members:
            power = sympy.exp(member, evaluate=False)
            for key, slope in tangent.items():
                found.setdefault(key, []).append(_times(power, slope))
        return self._plain.exponentials([member[0] for member in members]), _summed(found)

    def share(self, member: Value, whole: Value, log: bool) -> Value:  # a node's flag
        """Return the softmax ``p``: ``p (da - dT / T)``; or its logarithm: ``da - dT / T``."""
        value = self._plain.share(member[0], whole[0], log)
        inverse = sympy.Pow(whole[0], -1, evaluate=False)
        found: Tangent = {}
        for key in member[1] | whole[1]:
            parts = []
            if key in member[1]:
                parts.append(member[1][key])
            if key in whole[1]:
                parts.append(scaled(-1.0, _times(whole[1][key], inverse)))
            slope = total(parts)
            found[key] = slope if log else _times(value, slope)
        return value, found


def _fdiff(rule: str, dummy: Any, params: tuple[Any, ...]) -> Any:
    found = activation(rule, dummy, params)
    return found.fdiff() if hasattr(found, "rule_name") else sympy.diff(found, dummy)


def _times(a: Any, b: Any) -> Any:
    if a is S.One:
        return b
    return a if b is S.One else sympy.Mul(a, b, evaluate=False)


def _summed(found: dict[str, list[Any]]) -> Tangent:
    return {key: total(parts) for key, parts in found.items()}


def gradients(layout: Layout, wanted: Sequence[str]) -> dict[str, dict[Any, Any]]:
    """Return ``{output: {input: derivative}}``, every input in order.

    Raises:
        UnsupportedError: the closed form would be too large.
    """
    sizes = formula_sizes(layout)
    for name in wanted:
        size, depth = sizes[name]
        refuse_large(f"the gradient of {name}", size * (2 * depth + 1), 2 * depth)
    needed = ancestors(layout, wanted)
    writer = TangentWriter(layout.input_names)
    found: dict[str, Tangent] = {}
    for name, value in formulas(layout, writer, needed):
        writer.define(name, value)
        if name in wanted:
            found[name] = value[1]
    zero = sympy.Integer(0)
    return {
        name: {variable: found[name].get(str(variable), zero) for variable in layout.input_names}
        for name in wanted
    }
