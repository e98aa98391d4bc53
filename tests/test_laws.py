"""What a rule declares is held against what can be derived from it, for every rule."""

from __future__ import annotations

import itertools

import mpmath
import numpy as np
import pytest
import sympy

from nneq.activations import RULES
from nneq.symbolic.elementary import MpElementary, SympyElementary

FN = MpElementary(mpmath)
BITS = 2048
SAMPLES = np.unique(
    np.concatenate(
        [
            np.linspace(-12, 12, 97) + 0.001953125,
            [-745.0, -100.0, -30.5, 0.0, 30.5, 100.0, 700.0],
            np.linspace(-0.99, 0.99, 23),
        ]
    )
)


def defaults(name):
    return {key: float(value) for key, value in RULES[name].defaults.items()}


def samples(name):
    low, high = RULES[name].domain
    found = SAMPLES[(SAMPLES > low) & (SAMPLES < high)]
    return found[found != 0] if name == "reciprocal" else found


def exact(name, z, what="formula"):
    """Return a declared formula at ``z`` in 2048 bits."""
    formula = getattr(RULES[name], what)
    return formula(mpmath.mpf(float(z)), FN, defaults(name))


@pytest.fixture(autouse=True)
def working_precision():
    """Every law is checked at 2048 bits: the tails of the samples need a thousand."""
    with mpmath.workprec(BITS):
        yield


@pytest.mark.parametrize("name", sorted(RULES))
def test_the_numeric_form_is_the_formula(name):
    """Float64 agrees with the formula to 1e-12 wherever the value is a normal number."""
    points = samples(name)
    with np.errstate(all="ignore"):
        found = np.asarray(RULES[name].numeric(points, defaults(name)), dtype=np.float64)
    for z, value in zip(points, found, strict=True):
        truth = exact(name, z)
        if abs(truth) > 1.7e308 or 0 < abs(truth) < 1e-290:
            continue

        assert abs(mpmath.mpf(float(value)) - truth) <= 1e-12 * abs(truth) + mpmath.mpf(10) ** -290


@pytest.mark.parametrize("name", sorted(n for n, r in RULES.items() if r.derivative))
def test_the_derivative_is_that_of_the_formula(name):
    """SymPy's derivative of the formula has the same values, kinks left out."""
    z = sympy.Symbol("z", real=True)
    params = defaults(name)
    formula = RULES[name].formula(z, SympyElementary(None), params)
    derived = sympy.lambdify(z, sympy.diff(formula, z), "mpmath")
    for point in samples(name)[::3]:
        if point == 0 or abs(point) > 100:
            continue
        truth = derived(mpmath.mpf(float(point)))
        declared = exact(name, point, "derivative")

        assert abs(declared - truth) <= mpmath.mpf(10) ** -12 * max(abs(truth), 1)


@pytest.mark.parametrize("name", sorted(n for n, r in RULES.items() if r.second))
def test_the_second_derivative_is_the_slope_of_the_first(name):
    """A central difference of the declared derivative gives the declared second derivative."""
    step = mpmath.mpf(10) ** -30
    rule, params = RULES[name], defaults(name)
    for point in samples(name)[::3]:
        if point == 0 or abs(point) > 100:
            continue
        z = mpmath.mpf(float(point))
        slope = (rule.derivative(z + step, FN, params) - rule.derivative(z - step, FN, params)) / (
            2 * step
        )

        gap = abs(slope - exact(name, point, "second"))

        assert gap <= mpmath.mpf(10) ** -12 * max(1, abs(slope))


@pytest.mark.parametrize("name", sorted(n for n, r in RULES.items() if r.inverse))
def test_the_inverse_undoes_the_formula(name):
    """``inverse(formula(z)) = z`` wherever the image is not saturated at this precision."""
    rule, params = RULES[name], defaults(name)
    for point in samples(name):
        if abs(point) > 100:
            continue
        value = exact(name, point)
        back = rule.inverse(value, FN, params)

        assert abs(back - mpmath.mpf(float(point))) <= mpmath.mpf(10) ** -20 * max(1, abs(point))


@pytest.mark.parametrize("name", sorted(RULES))
def test_the_image_holds_every_value(name):
    """No sample leaves the declared image by more than the image's own rounding."""
    low, high = RULES[name].image(defaults(name))
    slack = 1e-7
    for point in samples(name):
        value = exact(name, point)

        assert low - slack <= value <= high + slack


@pytest.mark.parametrize("name", sorted(RULES))
def test_monotone_rules_are_monotone(name):
    """Sorted samples give sorted values, strictly where the rule says so."""
    kind = RULES[name].monotone(defaults(name))
    values = [exact(name, point) for point in samples(name) if abs(point) <= 40]
    gaps = [b - a for a, b in itertools.pairwise(values)]
    match kind:
        case "strict":
            assert all(gap > 0 for gap in gaps)
        case "weak":
            assert all(gap >= 0 for gap in gaps)
        case "decreasing":
            assert all(gap < 0 for gap in gaps)
        case "none":
            assert any(gap > 0 for gap in gaps)


@pytest.mark.parametrize("name", sorted(n for n, r in RULES.items() if r.pieces))
def test_pieces_are_the_formula(name):
    """Each piece gives the formula on its interval, and neighbours meet at the breakpoint."""
    pieces = RULES[name].pieces(defaults(name))
    for point in samples(name):
        piece = next(p for p in pieces if point <= p.upper)
        value = mpmath.mpf(piece.slope) * mpmath.mpf(float(point)) + piece.intercept

        assert abs(value - exact(name, point)) <= mpmath.mpf(10) ** -15 * max(1, abs(value))
    for left, right in itertools.pairwise(pieces):
        at = left.upper

        assert left.slope * at + left.intercept == pytest.approx(
            right.slope * at + right.intercept, abs=1e-12
        )


@pytest.mark.parametrize("name", sorted(n for n, r in RULES.items() if r.turning))
def test_turning_points_are_zeros_of_the_derivatives(name):
    """The first and second derivative vanish at the tabulated points."""
    rule = RULES[name]
    params = {"exponent": 4.0} if name == "power" else defaults(name)
    for what, points in zip(("derivative", "second"), rule.turning[:2], strict=True):
        formula = getattr(rule, what)
        if formula is None:
            continue
        for text in points:
            assert abs(formula(mpmath.mpf(text), FN, params)) <= mpmath.mpf(10) ** -15


def test_every_rule_has_a_file_of_its_name():
    """``activations/<name>.py`` declares the rule ``name`` and no other."""
    import nneq.activations as package

    for name in RULES:
        module = getattr(package, f"_{name}")

        assert RULES[name] is module.RULE
