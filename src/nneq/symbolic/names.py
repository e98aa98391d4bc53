"""The one place where a label from outside becomes safe to show, and where symbols get names.

A label is text from a model file or from a user: it may be Python, LaTeX, HTML, a spreadsheet
formula or a terminal escape.  It is never parsed, never executed and never part of an identifier;
the functions below make it harmless for one medium each, and every printer goes through them.
Symbols come from :func:`entry_name` alone, whose results are checked identifiers.
"""

from __future__ import annotations

import html
import re
import unicodedata
from typing import Self

from nneq.errors import NneqError

__all__ = [
    "Variable",
    "checked",
    "csv_text",
    "entry_name",
    "find_variable",
    "html_block",
    "html_text",
    "latex_name",
    "latex_text",
    "terminal_text",
]

_IDENTIFIER = re.compile(r"[A-Za-z][A-Za-z0-9]*(_[0-9]+)?\Z")
_LATEX = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "_": r"\_",
    "%": r"\%",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "`": r"\textasciigrave{}",
}
_LONGEST = 120


class Variable(str):
    """The name of an input, an output or a unit, with the label it has in the model.

    A plain string for every purpose (``"x_1" in eqs.inputs``); ``label`` is text to show.
    """

    __slots__ = ("label",)
    label: str

    def __new__(cls, name: str, label: str = "") -> Self:
        """Return the name; it must be one of our identifiers."""
        made = super().__new__(cls, checked(name))
        made.label = label
        return made

    def __getnewargs__(self) -> tuple[str, str]:  # type: ignore[override]  # pickled with its label
        return (str(self), self.label)


def checked(name: str) -> str:
    """Return ``name`` if it is one of our identifiers.

    Raises:
        NneqError: it is not; a label must never become a symbol.
    """
    if _IDENTIFIER.match(name) is None:
        msg = f"{terminal_text(name)!r} is not a name of nneq; labels are kept beside the names"
        raise NneqError(msg)
    return name


def entry_name(prefix: str, number: int) -> str:
    """Return ``prefix_number``, for example ``x_1`` or ``y2_3``."""
    return f"{prefix}_{number}"


def _shortened(text: str) -> str:
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "\u2026"


def _printable(text: str) -> str:
    """Return one line without control, format, surrogate or private characters."""
    shown = []
    for char in text:
        if char in "\t\r\n\u2028\u2029\x0b\x0c":
            shown.append(" ")
        elif unicodedata.category(char) in {"Cc", "Cf", "Cs", "Co", "Cn"}:
            shown.append("\ufffd")
        else:
            shown.append(char)
    return "".join(shown)


def terminal_text(label: str) -> str:
    """Return the label as one printable line: no escapes, no direction marks, no line breaks."""
    return _shortened(_printable(label))


def latex_text(label: str) -> str:
    r"""Return the label for LaTeX's ``\text{...}``: every special character escaped."""
    return "".join(_LATEX.get(char, char) for char in terminal_text(label))


def html_text(label: str) -> str:
    """Return the label for HTML text and attributes."""
    return html.escape(terminal_text(label), quote=True)


def html_block(text: str) -> str:
    """Return text of several lines for HTML."""
    return "\n".join(html.escape(_printable(line), quote=True) for line in text.split("\n"))


def csv_text(label: str) -> str:
    """Return the label for a spreadsheet cell: never read as a formula."""
    shown = terminal_text(label)
    return f"'{shown}" if shown.lstrip()[:1] in {"=", "+", "-", "@", "|"} else shown


def latex_name(name: str) -> str:
    """Return an identifier of ours as LaTeX: ``y2_3`` becomes ``y^{(2)}_{3}``."""
    match = re.match(r"([A-Za-z]+)(\d*)(?:_(\d+))?\Z", checked(name))
    if match is None:
        return rf"\mathrm{{{latex_text(name)}}}"
    letters, layer, unit = match.groups()
    head = letters if len(letters) == 1 else rf"\mathrm{{{letters}}}"
    upper = f"^{{({layer})}}" if layer else ""
    return f"{head}{upper}_{{{unit}}}" if unit else head + upper


def find_variable(key: str | int, names: tuple[Variable, ...], what: str) -> Variable:
    """Return the variable that a name, a label or a number from 1 means.

    Raises:
        NneqError: nothing, or more than one variable, has that name.
    """
    if isinstance(key, int) and not isinstance(key, bool):
        if 1 <= key <= len(names):
            return names[key - 1]
        msg = f"there is no {what} number {key}; they are numbered from 1 to {len(names)}"
        raise NneqError(msg)
    text = str(key)
    for name in names:
        if name == text:
            return name
    found = [name for name in names if name.label == text]
    if len(found) == 1:
        return found[0]
    shown = ", ".join(names[:8]) + (", ..." if len(names) > 8 else "")
    if found:
        both = " and ".join(found)
        msg = f"the label {terminal_text(text)!r} belongs to {both}; use the name"
        raise NneqError(msg)
    msg = f"there is no {what} {terminal_text(text)!r}; the {what}s are: {shown}"
    raise NneqError(msg)
