"""One expression in the inputs only: every unit substituted, under a limit on the size."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from nneq.errors import UnsupportedError
from nneq.symbolic.formulas import formulas, pre_formulas
from nneq.symbolic.layout import Layout
from nneq.symbolic.system import SympyWriter

__all__ = ["DEPTH_LIMIT", "SIZE_LIMIT", "Sizes", "expressions", "formula_sizes", "refuse_large"]

SIZE_LIMIT = 50_000
"""Largest number of terms of one substituted expression."""
DEPTH_LIMIT = 60
"""Deepest nesting of units: SymPy's printers recurse, and Python stops them at about 75."""


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

    def share(self, member: Any, whole: Any, _log: bool) -> tuple[int, int]:  # noqa: FBT001
        """Return one level more."""
        return _combined([member, whole])


def _combined(parts: Sequence[tuple[int, int]]) -> tuple[int, int]:
    return sum(size for size, _ in parts) + 1, max((d for _, d in parts), default=0) + 1


def formula_sizes(layout: Layout) -> dict[str, tuple[int, int]]:
    """Return ``{name: (terms, depth)}`` of the substituted formula of every unit."""
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
    needed = set(wanted)
    defined: dict[str, Any] = {}
    keep = {name for name, (size, depth) in sizes.items() if _small(size, depth)}
    for name, formula in formulas(layout, _Guarded(writer, keep)):
        if formula is not None and name in keep:
            writer.define(name, formula)
            if name in needed:
                defined[name] = formula
    if not pre:
        return defined
    for layer in layout.outputs:
        names = [layer.name(k) for k in range(layer.size)]
        if needed.isdisjoint(names):
            continue
        arguments = pre_formulas(layout, layer, _Guarded(writer, keep))
        if arguments is not None:
            defined.update(
                (name, argument)
                for name, argument in zip(names, arguments, strict=True)
                if name in needed
            )
    return {name: defined[name] for name in wanted}


def _small(size: int, depth: int) -> bool:
    return size <= SIZE_LIMIT and depth <= DEPTH_LIMIT


class _Guarded:
    """A SymPy writer that gives None for whatever reads a name that is too large to build."""

    def __init__(self, writer: SympyWriter, keep: set[str]) -> None:
        self._writer = writer
        self._keep = keep

    def affine(self, terms: Sequence[tuple[float, str]], constant: float) -> Any:
        if any(name not in self._keep for _, name in terms):
            return None
        return self._writer.affine(terms, constant)

    def call(self, rule: str, argument: Any, params: Any) -> Any:
        return None if argument is None else self._writer.call(rule, argument, params)

    def products(self, pairs: Sequence[tuple[Any, Any]]) -> Any:
        if any(part is None for pair in pairs for part in pair):
            return None
        return self._writer.products(pairs)

    def maximum(self, parts: Sequence[Any]) -> Any:
        return None if any(part is None for part in parts) else self._writer.maximum(parts)

    def select(self, test: Any, relation: str, yes: Any, no: Any) -> Any:
        if test is None or yes is None or no is None:
            return None
        return self._writer.select(test, relation, yes, no)

    def exponentials(self, members: Sequence[Any]) -> Any:
        return None if any(m is None for m in members) else self._writer.exponentials(members)

    def share(self, member: Any, whole: Any, log: bool) -> Any:  # noqa: FBT001
        if member is None or whole is None:
            return None
        return self._writer.share(member, whole, log)
