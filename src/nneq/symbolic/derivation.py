r"""From ``z_i = z_j`` to the form that is solved, step by step, as the note derives it.

The note (Fishbein 2023, equations 1 to 69) is followed with its slips corrected: the exponent is
:math:`B_i = -(w_1 x_1 + w_2 x_2 + b)` with the minus on *every* term (its equations 5 to 8), and
its "dead end" (47) is the best form there is.  Every step is held against the network at random
points; ``Step.check`` is the largest relative discrepancy seen.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import sympy as sp

from nneq.errors import NneqError, UnsupportedError
from nneq.ir import network as ir
from nneq.ir.float64 import Float64, evaluate
from nneq.ir.forward import forward_all
from nneq.semantics.arb import ArbNetwork, lift
from nneq.symbolic.exponential_sum import ExponentialSum
from nneq.symbolic.layout import layout_of
from nneq.symbolic.one_hidden import one_hidden
from nneq.symbolic.system import system, weight

__all__ = ["Derivation", "Step", "derive"]

Array = np.ndarray[Any, Any]

_EXPANDED_UNITS = 6
_LAYER_TERMS = 20_000
_POINTS = 64
_WRITTEN_POINTS = 3
_WRITTEN_BITS = 400
_UNSATURATED = 8.0


@dataclass(frozen=True, eq=False)
class Step:
    """One step of a derivation.

    Args:
        title: what is done.
        equation: a SymPy equation, or a list of them.
        justification: why it holds.
        check: largest relative discrepancy against the network at random points; None where the
            step is a definition.
    """

    title: str
    equation: Any
    justification: str
    check: float | None = None

    @property
    def equations(self) -> tuple[Any, ...]:
        """The equations as a tuple."""
        return tuple(self.equation) if isinstance(self.equation, list) else (self.equation,)


class Derivation(tuple[Step, ...]):
    """The steps in order, printable as text and LaTeX."""

    __slots__ = ()

    def __str__(self) -> str:
        lines: list[str] = []
        for number, step in enumerate(self, start=1):
            lines.append(f"({number}) {step.title}")
            lines += [f"      {eq.lhs} = {eq.rhs}" for eq in step.equations]
            lines.append(f"    {step.justification}" + _checked(step))
        return "\n".join(lines)

    def latex(self) -> str:
        """Return the derivation as LaTeX (``align*`` blocks and sentences)."""
        parts: list[str] = []
        for number, step in enumerate(self, start=1):
            body = r" \\ ".join(
                f"{sp.latex(eq.lhs)} &= {sp.latex(eq.rhs)}" for eq in step.equations
            )
            parts.append(
                f"\\paragraph{{({number}) {_latex_text(step.title)}}}\n"
                f"\\begin{{align*}}\n{body}\n\\end{{align*}}\n"
                f"{_latex_text(step.justification + _checked(step))}"
            )
        return "\n".join(parts)

    def _repr_latex_(self) -> str:
        return self.latex()


def _checked(step: Step) -> str:
    return "" if step.check is None else f" [checked: {step.check:.1e}]"


_LATEX_MARKS = str.maketrans(
    {"_": r"\_", "^": r"\textasciicircum{}", "%": r"\%", "&": r"\&", "#": r"\#", "$": r"\$"}
)


def _latex_text(sentence: str) -> str:
    """Return a sentence of this module with LaTeX's special characters escaped."""
    return sentence.translate(_LATEX_MARKS)


def number(value: Fraction) -> Any:
    """Return a fraction as the decimal of the float64 nearest to it."""
    return weight(float(value))


def derive(
    network: ir.Network,
    reduced: ir.Network,
    names: tuple[str, str | float],
    notes: Sequence[str],
) -> Derivation:
    """Return the derivation of ``names[0] = names[1]``.

    Args:
        network: the model.
        reduced: ``g``, one output of shape ``(1,)``.
        names: the two outputs, or an output and a level.
        notes: what the reduction cancelled.

    Raises:
        UnsupportedError: the layered system has too many terms to write out.
        NneqError: a step disagrees with the network (a bug; please report it).

    Guarantee: exact; every step also checked numerically.
    """
    steps = [_question(names)]
    try:
        form = one_hidden(reduced)
    except UnsupportedError:
        steps += _layered(network, reduced, names, notes)
    else:
        inputs = tuple(f"x_{k + 1}" for k in range(network.input_size))
        steps += _one_layer(network, ExponentialSum(form, inputs), reduced, names, notes)
    for step in steps:
        if step.check is not None and not step.check <= 1e-6:
            msg = f"the step {step.title!r} disagrees with the network by {step.check!r}"
            raise NneqError(msg)
    return Derivation(steps)


def _question(names: tuple[str, str | float]) -> Step:
    right = sp.Symbol(names[1]) if isinstance(names[1], str) else sp.Float(names[1])
    return Step(
        "the question",
        sp.Eq(sp.Symbol(names[0]), right, evaluate=False),
        "the decision boundary is where the two sides are equal",
    )


def _points(network: ir.Network) -> Array:
    return np.random.default_rng(0).normal(scale=2.0, size=(_POINTS, network.input_size))


def _split(network: ir.Network, points: Array) -> list[Array]:
    inputs, start = [], 0
    for port in network.inputs:
        part = points[:, start : start + port.size]
        inputs.append(part.reshape(points.shape[0], *port.shape))
        start += port.size
    return inputs


def _values(network: ir.Network, points: Array) -> Array:
    out = evaluate(network, _split(network, points))
    return np.concatenate([part.reshape(points.shape[0], -1) for part in out], axis=1)


def _discrepancy(found: Array, wanted: Array) -> float:
    scale = np.maximum(1.0, np.abs(wanted))
    return float((np.abs(found - wanted) / scale).max())


def _written(equations: Sequence[sp.Eq], reduced: ir.Network, points: Array) -> float | None:
    """Return how far the equations, as they are written, are from ``g``: the last right-hand side.

    Numbers are put in from the first equation to the last, to 60 digits, and compared with the
    network in Arb; None where that gives no number.
    """
    few = points[:_WRITTEN_POINTS]
    wanted = ArbNetwork(reduced)([lift(part) for part in _split(reduced, few)], _WRITTEN_BITS)
    found = []
    for point in few:
        known = {sp.Symbol(f"x_{k}"): sp.Float(v, 60) for k, v in enumerate(point, start=1)}
        for equation in equations:
            value = equation.rhs.xreplace(known).doit()
            if not value.is_number:
                return None
            known[equation.lhs] = sp.Float(value, 60)
        found.append(float(known[equations[-1].lhs]))
    exact = np.array([float(ball.mid()) for ball in wanted[0].reshape(-1)])
    return _discrepancy(np.array(found), exact)


def _cancel_step(
    network: ir.Network,
    reduced: ir.Network,
    names: tuple[str, str | float],
    notes: Sequence[str],
    equation: sp.Eq,
) -> Step:
    """The step from the outputs to ``g``: checked by the signs of both sides."""
    points = _points(network)
    g = _values(reduced, points)[:, 0]
    outputs = _values(network, points)
    first = outputs[:, int(names[0].split("_")[1]) - 1]
    second = outputs[:, int(names[1].split("_")[1]) - 1] if isinstance(names[1], str) else names[1]
    decided = first != second  # rounding of saturated outputs makes them equal far from g = 0
    agrees = np.sign(first - second)[decided] == np.sign(g)[decided]
    why = "; ".join(notes) if notes else "the outputs have no activation to cancel"
    return Step(
        "cancel the output activation and subtract",
        equation,
        f"{why}; the sign of the left side is the sign of {names[0]} - {names[1]}",
        0.0 if bool(agrees.all()) else 1.0,
    )


def _one_layer(
    network: ir.Network,
    sums: ExponentialSum,
    reduced: ir.Network,
    names: tuple[str, str | float],
    notes: Sequence[str],
) -> Iterator[Step]:
    form = sums.form
    points = _points(network)
    g = _values(reduced, points)[:, 0]
    units = range(1, form.units + 1)
    y = [sp.Symbol(f"y_{k}") for k in units]
    b = [sp.Symbol(f"B_{k}") for k in units]
    terms = [number(d) * s for d, s in zip(form.delta, y, strict=True) if d != 0]
    if form.delta_0 != 0 or not terms:
        terms.append(number(form.delta_0))
    linear = sp.Add(*terms, evaluate=False) if len(terms) > 1 else terms[0]
    yield _cancel_step(network, reduced, names, notes, sp.Eq(linear, 0, evaluate=False))
    activation = form(points)
    exponents = [
        sp.Eq(s, _readable(sums, k), evaluate=False) for k, s in zip(units, b, strict=True)
    ]
    fractions = [
        sp.Eq(s, _unit_of(form.rule, e), evaluate=False) for s, e in zip(y, b, strict=True)
    ]
    yield Step(
        "the units",
        fractions,
        f"a {form.rule} unit is a fraction in e^B; this equation in y (the note's 47, its 'dead "
        "end') is the form that is solved numerically: it is bounded and has only N terms",
        _discrepancy(activation, g),
    )
    yield Step(
        "the exponents",
        exponents,
        f"B_i = -{form.kappa if form.kappa > 1 else ''}(r_i . x + c_i): the minus stands on every "
        "term (the note has it on the x_1 term only, in its equations 5 to 8)",
        _written(
            [*exponents, *fractions, sp.Eq(sp.Symbol("g"), linear, evaluate=False)],
            reduced,
            points,
        ),
    )
    if form.units > _EXPANDED_UNITS:
        yield Step(
            "the constants",
            sp.Eq(sp.Symbol("P") * sp.Symbol("g"), sp.Symbol("S"), evaluate=False),
            f"multiplied by P = prod(1 + e^B_i) > 0 the equation is S, a sum of 2^{form.units} "
            "exponentials C_S exp(sum of B over S), which is not written out",
        )
        return
    product = sp.Mul(*(1 + sp.exp(s) for s in b), evaluate=False)
    yield Step(
        "multiply by the common denominator",
        sp.Eq(sp.Symbol("P"), product, evaluate=False),
        "P > 0 for all real x, so no solution is lost or gained, multiplicities included",
    )
    yield Step(
        "a sum of exponentials",
        sums.equation,
        "multiplied out (the note's 65 to 69): one term for each set of units",
        _discrepancy(sums(points), g),
    )
    yield Step(
        "the constants",
        [
            sp.Eq(sp.Symbol(_constant_name(s)), number(value), evaluate=False)
            for s, value in sums.exact_coefficients.items()
        ],
        "C_S is the value of the equation where the units in S are saturated low and the others "
        "high (printed to the nearest float64; exact_coefficients holds the fractions)",
        _discrepancy(
            np.array([float(v) for v in sums.exact_coefficients.values()]),
            np.array([_corner(sums, s) for s in sums.exact_coefficients]),
        ),
    )


def _constant_name(units: frozenset[int]) -> str:
    return "C_" + ("_".join(str(k) for k in sorted(units)) or "0")


def _corner(sums: ExponentialSum, units: frozenset[int]) -> float:
    form = sums.form
    y = [form.low if k in units else 1 for k in range(1, form.units + 1)]
    return float(np.dot(form.delta.astype(np.float64), y) + float(form.delta_0))


def _unit_of(rule: str, exponent: Any) -> Any:
    inverse = 1 / (1 + sp.exp(exponent))
    return inverse if rule == "sigmoid" else (1 - sp.exp(exponent)) * inverse


def _readable(sums: ExponentialSum, unit: int) -> Any:
    form, kappa = sums.form, sums.form.kappa
    terms = [
        number(-kappa * slope) * sp.Symbol(name)
        for slope, name in zip(form.r[unit - 1], sums.names, strict=True)
        if slope != 0
    ]
    offset = -kappa * form.c[unit - 1]
    if offset != 0 or not terms:
        terms.append(number(offset))
    return sp.Add(*terms, evaluate=False) if len(terms) > 1 else terms[0]


def _layered(
    network: ir.Network,
    reduced: ir.Network,
    names: tuple[str, str | float],
    notes: Sequence[str],
) -> Iterator[Step]:
    layout = layout_of(reduced)
    if layout.term_count > _LAYER_TERMS:
        msg = (
            f"the derivation would write {layout.term_count} terms (the limit is {_LAYER_TERMS}); "
            "matrix_form() of the boundary's .reduced equations works for any size"
        )
        raise UnsupportedError(msg)
    equations = system(layout)
    last = equations[-1]
    yield _cancel_step(network, reduced, names, notes, sp.Eq(last.rhs, 0, evaluate=False))
    if len(equations) > 1:
        yield Step(
            "the units, layer by layer",
            equations[:-1],
            "every hidden unit named; substituted from the first to the last they give the "
            "boundary as one equation in the inputs",
            _written(equations, reduced, _points(reduced)),
        )
    yield from _backward(reduced)


def _backward(reduced: ir.Network) -> Iterator[Step]:
    """The note's 'solve for B first', with the condition under which it is true."""
    layers = _dense_layers(reduced)
    if layers is None:
        return
    rules = [rule for rule, _ in layers]
    steps = []
    widens = []
    for depth in range(len(layers), 0, -1):
        rule, matrix = layers[depth - 1]
        inverse = sp.Function("logit" if rule == "sigmoid" else "atanh")
        w, b = sp.Symbol(f"W_{depth}"), sp.Symbol(f"c_{depth}")
        below = sp.Symbol(f"y{depth - 1}" if depth > 1 else "x")
        steps.append(sp.Eq(w * below + b, inverse(sp.Symbol(f"y{depth}")), evaluate=False))
        rank = int(np.linalg.matrix_rank(matrix))
        if rank < matrix.shape[0]:
            widens.append(f"layer {depth} has {matrix.shape[0]} units but rank {rank}")
    low = {"sigmoid": "(0, 1)", "tanh": "(-1, 1)"}[rules[-1]]
    condition = (
        "every W has full row rank (computed in float64), so each equation can be solved "
        f"backwards; only unit values inside the open range {low} of every layer are kept"
        if not widens
        else "as written this is false here: "
        + "; ".join(widens)
        + "; the unit values then lie on a curved set, and backward substitution meets equations "
        "without solutions. solve() and trace() need no such condition"
    )
    yield Step(
        "solve for the last layer first, then backwards",
        steps,
        condition,
        _inverted(reduced, layers),
    )


def _inverted(reduced: ir.Network, layers: Sequence[tuple[str, Array]]) -> float | None:
    """Return how far ``W y + c`` is from the inverse activation, where that is not saturated."""
    units = [k for k, node in enumerate(reduced.nodes) if isinstance(node, ir.Elementwise)]
    before = [reduced.nodes[k].args[0] for k in units]
    points = _points(reduced)
    inputs = _split(reduced, points)
    with np.errstate(all="ignore"):
        values = forward_all(reduced, Float64(), inputs, [*units, *before])
    worst: float | None = None
    for (rule, _), unit, inner in zip(layers, units, before, strict=True):
        wanted, y = values[inner].reshape(-1), values[unit].reshape(-1)
        open_ = np.abs(wanted) < _UNSATURATED
        if open_.any():
            y = y[open_]
            found = np.log(y / (1 - y)) if rule == "sigmoid" else np.arctanh(y)
            worst = max(worst or 0.0, _discrepancy(found, wanted[open_]))
    return worst


def _dense_layers(reduced: ir.Network) -> list[tuple[str, Array]] | None:
    """Return ``(rule, W)`` of every hidden layer of a plain sigmoid/tanh network, else None."""
    found: list[tuple[str, Array]] = []
    for node in reduced.nodes:
        if isinstance(node, ir.Elementwise):
            if node.rule not in {"sigmoid", "tanh"}:
                return None
            source = reduced.nodes[node.arg]
            if not isinstance(source, ir.Affine) or len(source.terms) != 1:
                return None
            inner = reduced.nodes[source.terms[0].arg]
            if not isinstance(inner, ir.Input | ir.Elementwise):
                return None
            if source.terms[0].map.in_size * source.terms[0].map.out_size > 1 << 20:
                return None
            found.append((node.rule, source.terms[0].map.dense()))
        elif not isinstance(node, ir.Input | ir.Affine | ir.Constant):
            return None
    return found or None
