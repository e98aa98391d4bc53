r"""The system of equations as LaTeX, aligned, one line per unit."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from nneq.symbolic.formulas import formulas
from nneq.symbolic.layout import Layout
from nneq.symbolic.names import html_text, latex_name, latex_text

__all__ = [
    "LatexWriter",
    "function_latex",
    "latex_lines",
    "latex_number",
    "legend_html",
    "system_latex",
]

FUNCTIONS = {
    "sigmoid": r"\sigma",
    "tanh": r"\tanh",
    "exp": r"\exp",
    "log": r"\log",
    "sin": r"\sin",
    "cos": r"\cos",
    "tan": r"\tan",
    "asin": r"\arcsin",
    "acos": r"\arccos",
    "atan": r"\arctan",
    "sinh": r"\sinh",
    "cosh": r"\cosh",
}


def latex_number(decimal: str) -> str:
    r"""Return a decimal as LaTeX: ``1e-07`` becomes ``1 \cdot 10^{-7}``."""
    if "inf" in decimal:
        return decimal.replace("inf", r"\infty")
    if "nan" in decimal:
        return r"\mathrm{NaN}"
    if "e" not in decimal:
        return decimal
    mantissa, exponent = decimal.split("e")
    return rf"{mantissa} \cdot 10^{{{int(exponent)}}}"


def function_latex(rule: str) -> str:
    """Return the name of an activation for LaTeX."""
    return FUNCTIONS.get(rule, rf"\operatorname{{{latex_text(rule)}}}")


def _number(digits: int | None) -> Callable[[float], str]:
    if digits is None:
        return lambda value: latex_number(repr(value))
    return lambda value: latex_number(f"{value:.{digits}g}")


def _grouped(text: str) -> str:
    single = " " not in text and not text.startswith("-")
    return text if single else rf"\left({text}\right)"


class LatexWriter:
    """Formulas as LaTeX."""

    def __init__(self, digits: int | None = None) -> None:
        """Write numbers with ``digits`` significant digits, or exactly when None."""
        self.number = _number(digits)

    def affine(self, terms: Sequence[tuple[float, str]], constant: float) -> str:
        """Return the weighted sum."""
        parts = []
        for weight, name in terms:
            size = abs(weight)
            shown = latex_name(name)
            body = shown if size == 1.0 else rf"{self.number(size)} \, {shown}"
            parts.append(f" - {body}" if weight < 0 else f" + {body}")
        if constant != 0.0 or not parts:
            sign = " - " if constant < 0 else " + "
            parts.append(f"{sign}{self.number(abs(constant))}")
        text = "".join(parts)
        return text[3:] if text.startswith(" + ") else f"-{text[3:]}"

    def call(self, rule: str, argument: str, params: tuple[tuple[str, float], ...]) -> str:
        """Return the activation of the argument."""
        match rule:
            case "square":
                return f"{_grouped(argument)}^{{2}}"
            case "reciprocal":
                return rf"\frac{{1}}{{{argument}}}"
            case "sqrt":
                return rf"\sqrt{{{argument}}}"
            case "abs":
                return rf"\left|{argument}\right|"
            case "exp":
                return f"e^{{{argument}}}"
            case "power":
                return f"{_grouped(argument)}^{{{self.number(params[0][1])}}}"
            case _:
                lower = ",".join(self.number(value) for _, value in params)
                head = function_latex(rule) + (f"_{{{lower}}}" if lower else "")
                return rf"{head}\left({argument}\right)"

    def products(self, pairs: Sequence[tuple[str, str]]) -> str:
        """Return the sum of the products."""
        shown = (rf"{_grouped(left)} \cdot {_grouped(right)}" for left, right in pairs)
        return " + ".join(shown) or "0"

    def maximum(self, parts: Sequence[str]) -> str:
        """Return the largest of the parts."""
        return rf"\max\left({', '.join(parts)}\right)"

    def select(self, test: str, relation: str, yes: str, no: str) -> str:
        """Return the two cases."""
        sign = {">": ">", ">=": r"\geq", "==": "="}[relation]
        cases = rf"{yes} & {test} {sign} 0 \\ {no} & \text{{otherwise}}"
        return rf"\begin{{cases}} {cases} \end{{cases}}"

    def exponentials(self, members: Sequence[str]) -> str:
        """Return the sum of the exponentials."""
        return " + ".join(f"e^{{{member}}}" for member in members)

    def share(self, member: str, total: str, log: bool) -> str:  # a node's flag
        """Return the softmax or its logarithm."""
        if log:
            return rf"{member} - \log\left({total}\right)"
        return rf"\frac{{e^{{{member}}}}}{{{total}}}"


def latex_lines(layout: Layout, digits: int | None = None) -> Iterator[str]:
    """Yield ``name &= formula`` of every unit."""
    for name, formula in formulas(layout, LatexWriter(digits)):
        yield f"{latex_name(name)} &= {formula}"


def system_latex(layout: Layout, digits: int | None = None) -> str:
    """Return the system as one ``aligned`` environment, labels in text after it."""
    body = " \\\\\n".join(latex_lines(layout, digits))
    named = [v for v in (*layout.input_names, *layout.output_names) if v.label]
    legend = "".join(
        r" \\" + f"\n& {latex_name(v)}:\\ \\text{{{latex_text(v.label)}}}" for v in named
    )
    return f"\\begin{{aligned}}\n{body}{legend}\n\\end{{aligned}}"


def legend_html(layout: Layout) -> str:
    """Return the labels as an HTML list, or nothing when there are none."""
    named = [v for v in (*layout.input_names, *layout.output_names) if v.label]
    if not named:
        return ""
    items = "".join(f"<li><code>{v}</code>: {html_text(v.label)}</li>" for v in named)
    return f"<ul>{items}</ul>"
