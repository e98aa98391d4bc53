"""A rule's own stable numeric form as source text: it is run once on a value that takes notes.

NumPy hands every function it is asked for to ``__array_ufunc__`` and ``__array_function__``, so the
text is what the rule computes, call by call; nothing about an activation is written twice.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from nneq.activations import RULES
from nneq.errors import UnsupportedError

__all__ = ["Noted", "activation_source"]

_INFIX = {
    "add": "+",
    "subtract": "-",
    "multiply": "*",
    "divide": "/",
    "true_divide": "/",
    "less": "<",
    "less_equal": "<=",
    "greater": ">",
    "greater_equal": ">=",
}
_SPECIAL = {"erf", "erfc", "expit", "log_expit", "log_ndtr", "ndtr"}


class Noted(np.lib.mixins.NDArrayOperatorsMixin):
    """A value that writes down what is done to it."""

    def __init__(self, text: str, notes: list[tuple[str, str]], fresh: Callable[[], str]) -> None:
        """Stand for ``text``; lines go to ``notes``, names come from ``fresh``."""
        self.text = text
        self._notes = notes
        self._fresh = fresh

    def _note(self, text: str) -> Noted:
        for name, known in self._notes:
            if known == text:
                return Noted(name, self._notes, self._fresh)
        name = self._fresh()
        self._notes.append((name, text))
        return Noted(name, self._notes, self._fresh)

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        """Write one call."""
        if method != "__call__" or kwargs:
            return NotImplemented
        return self._call(ufunc.__name__, inputs)

    def __array_function__(self, func: Any, _types: Any, args: Any, kwargs: Any) -> Any:
        """Write one call."""
        if kwargs:
            return NotImplemented
        return self._call(func.__name__, args)

    def _call(self, name: str, inputs: Sequence[Any]) -> Noted:
        shown = [_shown(value) for value in inputs]
        if name in _INFIX and len(shown) == 2:
            return self._note(f"{shown[0]} {_INFIX[name]} {shown[1]}")
        if name == "negative":
            return self._note(f"-{shown[0]}")
        module = "special" if name in _SPECIAL else "np"
        return self._note(f"{module}.{name}({', '.join(shown)})")


def _shown(value: Any) -> str:
    if isinstance(value, Noted):
        return value.text
    number = float(value)
    text = repr(int(value)) if isinstance(value, int) else repr(number)
    return f"({text})" if text.startswith("-") else text


def activation_source(
    rule: str, argument: str, params: Mapping[str, Any], fresh: Callable[[], str]
) -> tuple[list[tuple[str, str]], str]:
    """Return lines ``(name, expression)`` and the name of the result.

    Args:
        rule: the activation.
        argument: the name of its argument.
        params: numbers, or names of arrays as text.
        fresh: gives a new name at every call.

    Raises:
        UnsupportedError: the rule's numeric form does something that has no note.
    """
    notes: list[tuple[str, str]] = []
    known = {
        key: Noted(value, notes, fresh) if isinstance(value, str) else value
        for key, value in params.items()
    }
    try:
        found = RULES[rule].numeric(Noted(argument, notes, fresh), known)  # type: ignore[arg-type]  # stands for an array
    except TypeError as error:
        msg = f"the activation {rule!r} cannot be written as NumPy source: {error}"
        raise UnsupportedError(msg) from error
    return notes, _shown(found)
