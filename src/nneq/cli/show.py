"""How commands write: tables for people, JSON for programs, files only where they are asked for."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeVar

import click

from nneq.errors import NneqError

if TYPE_CHECKING:
    from rich.console import Console

__all__ = [
    "clean",
    "console",
    "debug_option",
    "json_option",
    "jsonable",
    "model_argument",
    "output_option",
    "plot_target",
    "print_json",
    "print_table",
    "text_target",
    "write_text",
]

Command = TypeVar("Command", bound=Callable[..., Any])
_WIDTH_OF_A_FILE = 120


def clean(text: str) -> str:
    """Return the text with its line breaks, and every other control character made visible."""
    kept = "".join(c if c == "\n" or (c.isprintable() and c not in _MARKS) else "�" for c in text)
    return kept.rstrip("\n")


_MARKS = frozenset(
    "\u200b\u200e\u200f\u2028\u2029\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
)


def model_argument(command: Command) -> Command:
    """Add the argument ``MODEL``: a file, or ``-`` for standard input."""
    return click.argument("model", type=str, metavar="MODEL")(command)


def json_option(command: Command) -> Command:
    """Add ``--json``."""
    return click.option(
        "--json",
        "as_json",
        is_flag=True,
        help="Print one JSON object (docs/cli.md has its schema).",
    )(command)


def debug_option(command: Command) -> Command:
    """Add ``--debug``, so that it may also stand after the command's name."""
    return click.option(
        "--debug", is_flag=True, expose_value=False, help="Show the traceback of an error."
    )(command)


def output_option(command: Command) -> Command:
    """Add ``-o FILE``."""
    return click.option(
        "-o",
        "--output-file",
        "target",
        type=click.Path(dir_okay=False),
        default=None,
        metavar="FILE",
        help="Write to FILE instead of standard output.",
    )(command)


def console() -> Console:
    """Return a console on standard output; colour and terminal width only on a terminal."""
    from rich.console import Console

    width = None if sys.stdout.isatty() else _WIDTH_OF_A_FILE
    return Console(file=sys.stdout, markup=False, highlight=False, emoji=False, width=width)


def print_table(
    title: str, columns: Sequence[str], rows: Iterable[Sequence[object]], right: Sequence[int] = ()
) -> None:
    """Print a table of plain text; cells are made safe, numbers stand right.

    Args:
        title: the line above.
        columns: the column heads.
        rows: cells, shown with ``str``.
        right: places of the columns that are set flush right.
    """
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, show_header=any(columns))
    for place, name in enumerate(columns):
        table.add_column(name, justify="right" if place in right else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(clean(str(cell))) for cell in row))
    target = console()
    with target.capture() as captured:
        target.print(Text(clean(title), style="bold"), soft_wrap=True)
        target.print(table)
    lines = [line.rstrip() for line in captured.get().splitlines()]
    print("\n".join(lines))


def jsonable(value: Any) -> Any:
    """Return the value made of JSON's own types.

    NumPy arrays become lists; numbers that JSON does not have become the strings ``"inf"``,
    ``"-inf"`` and ``"nan"``; fractions become ``"p/q"``.
    """
    import numbers
    from fractions import Fraction

    if value is None or isinstance(value, str | bool):
        return value
    if isinstance(value, Mapping):
        return {str(key): jsonable(item) for key, item in value.items()}
    if isinstance(value, Fraction):
        return str(value)
    if isinstance(value, numbers.Integral):
        return int(value)
    if isinstance(value, numbers.Real):
        number = float(value)
        return number if math.isfinite(number) else str(number)
    if hasattr(value, "tolist"):
        return jsonable(value.tolist())
    if isinstance(value, Iterable):
        return [jsonable(item) for item in value]
    msg = f"{type(value).__name__} has no JSON form"
    raise TypeError(msg)


def print_json(command: str, record: Mapping[str, Any]) -> None:
    """Print ``record`` as one JSON object with its schema's name first."""
    shown = {"schema": f"nneq.{command}/1", **jsonable(record)}
    print(json.dumps(shown, indent=2, allow_nan=False))


def plot_target(picture: str, model: str) -> None:
    """Check where a picture is to go, before anything is computed.

    Raises:
        click.UsageError: the ending is not one that can be drawn, or the file is the model.
    """
    if Path(picture).suffix.lower() not in {".png", ".svg", ".pdf"}:
        msg = f"cannot draw to {picture!r}: the ending must be .png, .svg or .pdf"
        raise click.UsageError(msg)
    _not_the_model(picture, model)


def _not_the_model(target: str, model: str) -> None:
    path = Path(target)
    if path.exists() and model != "-" and Path(model).exists() and path.samefile(model):
        msg = f"{target} is the model itself; name another file"
        raise click.UsageError(msg)


@contextmanager
def text_target(target: str | None, model: str) -> Iterator[IO[str]]:
    """Give the open text file that was asked for, or standard output."""
    if target is None:
        yield sys.stdout
        return
    _not_the_model(target, model)
    with Path(target).open("w", encoding="utf-8") as file:
        yield file


def write_text(text: str | bytes, target: str | None, model: str) -> None:
    """Write to the file that was asked for, or to standard output.

    Args:
        text: what to write; bytes only go to a file or a pipe.
        target: the file, or None for standard output.
        model: the model's path, which is never overwritten.
    """
    if target is None:
        if isinstance(text, bytes):
            if sys.stdout.isatty():
                msg = "this format is binary; name a file with -o FILE"
                raise NneqError(msg)
            sys.stdout.buffer.write(text)
        else:
            print(text if text.endswith("\n") else text + "\n", end="")
        return
    _not_the_model(target, model)
    path = Path(target)
    if isinstance(text, bytes):
        path.write_bytes(text)
    else:
        path.write_text(text if text.endswith("\n") else text + "\n", encoding="utf-8")
