"""One expression in the inputs only: every unit substituted, under a limit on the size."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from nneq.errors import UnsupportedError
from nneq.symbolic.formulas import formulas, pre_formulas
from nneq.symbolic.layout import Layout
from nneq.symbolic.system import SympyWriter

__all__ = [
    "DEPTH_LIMIT",
    "SIZE_LIMIT",
    "Sizes",
    "ancestors",
    "expressions",
    "formula_sizes",
    "refuse_large",
]

SIZE_LIMIT = 50_000
"""Largest number of terms of one substituted expression."""
DEPTH_LIMIT = 60
"""Deepest nesting of units: SymPy's printers recurse, and Python stops them at about 75."""

WALK_LIMIT = 2_000_000
"""Largest system whose substituted sizes are counted."""


class Sizes:
    """A writer that counts: the value of a formula is ``(terms, depth)`` when substituted."""

    def __init__(self, inputs: Sequence[str]) -> None:
        """Start with the inputs, of size 1 and depth 0."""
        self.known: dict[str, tuple[int, int]] = dict.fromkeys(inputs, (1, 0))

    def affine(self, terms: Sequence[tuple[float, str]], constant: float) -> tuple[int, int]:
        """Return the sum of the terms' sizes."""
        found = [self.known[name] for _, name in terms]
        size = sum(size for size, _ in found) + (1 if constant != 0.0 or not found else 0)
        return size, max((depth for _, depth in found), default=0)

    def call(self, _rule: str, argument: tuple[int, int], _params: Any) -> tuple[int, int]:
        """Return one level more."""
        return argument[0] + 1, argument[1] + 1

    def products(self, pairs: Sequence[tuple[Any, Any]]) -> tuple[int, int]:
        """Return one level more."""
        return _combined([part for pair in pairs for part in pair])

    def maximum(self, parts: Sequence[tuple[int, int]]) -> tuple[int, int]:
        """Return one level more."""
        return _combined(parts)

    def select(self, test: Any, _relation: str, yes: Any, no: Any) -> tuple[int, int]:
        """Return one level more."""
        return _combined([test, yes, no])

    def exponentials(self, members: Sequence[tuple[int, int]]) -> tuple[int, int]:
        """Return one level more."""
        return _combined(members)

    def share(self, member: Any, whole: Any, _log: bool) -> tuple[int, int]:
        """Return one level more."""
        return _combined([member, whole])


def _combined(parts: Sequence[tuple[int, int]]) -> tuple[int, int]:
    return sum(size for size, _ in parts) + 1, max((d for _, d in parts), default=0) + 1


def formula_sizes(layout: Layout) -> dict[str, tuple[int, int]]:
    """Return ``{name: (terms, depth)}`` of the substituted formula of every unit.

    Raises:
        UnsupportedError: the system itself is so large that even counting takes long.
    """
    if layout.term_count > WALK_LIMIT:
        msg = (
            f"the system alone has about {layout.term_count} terms, so one expression in the "
            f"inputs is far above the limit of {SIZE_LIMIT}; use matrix_form(), which works "
            "for any size, or explain(x) for the derivatives at a point"
        )
        raise UnsupportedError(msg)
    sizes = Sizes(layout.input_names)
    for name, size in formulas(layout, sizes):
        sizes.known[name] = size
    return sizes.known


def refuse_large(name: str, size: int, depth: int) -> None:
    """Refuse an expression that is too large to build or too deep to print.

    Raises:
        UnsupportedError: with what to use instead.
    """
    if size > SIZE_LIMIT or depth > DEPTH_LIMIT:
        written = str(size) if size < 10**12 else f"about 10^{len(str(size)) - 1}"
        msg = (
            f"{name} as one expression in the inputs has {written} terms, nested {depth} units "
            f"deep (the limits are {SIZE_LIMIT} and {DEPTH_LIMIT}); use system(), which is linear "
            "in the number of weights, matrix_form(), or lambdify()"
        )
        raise UnsupportedError(msg)


def expressions(layout: Layout, wanted: Sequence[str], *, pre: bool = False) -> dict[str, Any]:
    """Return ``{name: expression in the inputs}`` for some outputs or units.

    Args:
        layout: the plan.
        wanted: names.
        pre: give what the output's activation is applied to instead.

    Raises:
        UnsupportedError: above the limits.
    """
    sizes = formula_sizes(layout)
    for name in wanted:
        refuse_large(name, *sizes[name])
    writer = SympyWriter()
    defined: dict[str, Any] = {}
    for name, formula in formulas(layout, writer, ancestors(layout, wanted)):
        writer.define(name, formula)
        defined[name] = formula
    found = {name: defined[name] for name in wanted}
    if pre:
        for layer in layout.outputs:
            places = [k for k in range(layer.size) if layer.name(k) in found]
            arguments = pre_formulas(layout, layer, writer, places)
            if arguments is not None:
                found.update((layer.name(k), a) for k, a in zip(places, arguments, strict=True))
    return found


class _Reads:
    """A writer that collects the names a formula reads."""

    def affine(self, terms: Sequence[tuple[float, str]], _constant: float) -> set[str]:
        return {name for _, name in terms}

    def call(self, _rule: str, argument: set[str], _params: Any) -> set[str]:
        return argument

    def products(self, pairs: Sequence[tuple[set[str], set[str]]]) -> set[str]:
        return set().union(*(part for pair in pairs for part in pair))

    def maximum(self, parts: Sequence[set[str]]) -> set[str]:
        return set().union(*parts)

    def select(self, test: set[str], _relation: str, yes: set[str], no: set[str]) -> set[str]:
        return test | yes | no

    def exponentials(self, members: Sequence[set[str]]) -> set[str]:
        return set().union(*members)

    def share(self, member: set[str], whole: set[str], _log: bool) -> set[str]:
        return member | whole


def ancestors(layout: Layout, wanted: Iterable[str]) -> set[str]:
    """Return the names that the formulas of some units are made of, themselves included."""
    reads = dict(formulas(layout, _Reads()))
    found: set[str] = set()
    stack = list(wanted)
    while stack:
        name = stack.pop()
        if name not in found:
            found.add(name)
            stack.extend(reads.get(name, ()))
    return found
