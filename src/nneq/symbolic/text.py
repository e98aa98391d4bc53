"""The system of equations as text, one line per unit, written as a stream.

Decimals are the shortest that give the same float64 back, so the text holds every weight bit for
bit; ``digits`` shortens them for display.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from nneq.symbolic.formulas import formulas
from nneq.symbolic.layout import Layout
from nneq.symbolic.names import terminal_text

__all__ = ["PlainWriter", "decimal", "equation_lines", "legend_lines", "system_lines"]


def decimal(digits: int | None = None) -> Callable[[float], str]:
    """Return a function that writes a float64: exactly, or with ``digits`` for display."""
    if digits is None:
        return repr
    return lambda value: f"{value:.{digits}g}"


def _atomic(text: str) -> bool:
    return " " not in text and not text.startswith("-")


def _grouped(text: str) -> str:
    return text if _atomic(text) and "*" not in text else f"({text})"


class PlainWriter:
    """Formulas as plain text."""

    def __init__(self, digits: int | None = None) -> None:
        """Write numbers with ``digits`` significant digits, or exactly when None."""
        self.number = decimal(digits)

    def affine(self, terms: Sequence[tuple[float, str]], constant: float) -> str:
        """Return ``0.5*x_1 - 2.0*x_2 + 0.1``."""
        number = self.number
        parts = []
        for weight, name in terms:
            size = abs(weight)
            body = name if size == 1.0 else f"{number(size)}*{name}"
            parts.append(f" - {body}" if weight < 0 else f" + {body}")
        if constant != 0.0 or not parts:
            sign = " - " if constant < 0 else " + "
            parts.append(f"{sign}{number(abs(constant))}")
        text = "".join(parts)
        return text[3:] if text.startswith(" + ") else f"-{text[3:]}"

    def call(self, rule: str, argument: str, params: tuple[tuple[str, float], ...]) -> str:
        """Return ``rule(argument, parameter=value)``."""
        match rule:
            case "square":
                return f"{_grouped(argument)}^2"
            case "reciprocal":
                return f"1/{_grouped(argument)}"
            case "power":
                return f"{_grouped(argument)}^({self.number(params[0][1])})"
            case _:
                rest = "".join(f", {key}={self.number(value)}" for key, value in params)
                return f"{rule}({argument}{rest})"

    def products(self, pairs: Sequence[tuple[str, str]]) -> str:
        """Return ``a*b + c*d``."""
        return " + ".join(f"{_grouped(left)}*{_grouped(right)}" for left, right in pairs) or "0.0"

    def maximum(self, parts: Sequence[str]) -> str:
        """Return ``max(a, b)``."""
        return f"max({', '.join(parts)})"

    def select(self, test: str, relation: str, yes: str, no: str) -> str:
        """Return ``(yes if test > 0 else no)``."""
        return f"({yes} if {test} {relation} 0 else {no})"

    def exponentials(self, members: Sequence[str]) -> str:
        """Return ``exp(a) + exp(b)``."""
        return " + ".join(f"exp({member})" for member in members)

    def share(self, member: str, total: str, log: bool) -> str:  # a node's flag
        """Return ``exp(member)/total`` or ``member - log(total)``."""
        return f"{member} - log({total})" if log else f"exp({member})/{_grouped(total)}"


def equation_lines(layout: Layout, digits: int | None = None) -> Iterator[str]:
    """Yield every equation of the system, in order of computation."""
    for name, formula in formulas(layout, PlainWriter(digits)):
        yield f"{name} = {formula}"


def legend_lines(layout: Layout) -> Iterator[str]:
    """Yield ``name: label`` for the inputs and outputs that have labels."""
    for variable in (*layout.input_names, *layout.output_names):
        if variable.label:
            yield f"{variable}: {terminal_text(variable.label)}"


def system_lines(layout: Layout, digits: int | None = None) -> Iterator[str]:
    """Yield the whole text: the legend, then the equations."""
    legend = list(legend_lines(layout))
    yield from legend
    if legend:
        yield ""
    yield from equation_lines(layout, digits)
