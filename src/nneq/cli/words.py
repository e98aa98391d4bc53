"""Names, numbers and boxes as they stand on a command line: ``x_1=-3:3,x_2=-3:3``."""

from __future__ import annotations

import math

import click

__all__ = ["output_or_level", "read_at", "read_box", "read_interval"]


def _number(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        msg = f"{text!r} is not a number"
        raise click.BadParameter(msg) from None
    if math.isnan(value):
        msg = f"{text!r} is not a number to solve with"
        raise click.BadParameter(msg)
    return value


def _interval(text: str) -> tuple[float, float]:
    low, colon, high = text.partition(":")
    if not colon:
        msg = f"{text!r} is not an interval; write low:high, as in -3:3"
        raise click.BadParameter(msg)
    return _number(low), _number(high)


def _pairs(text: str, example: str) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for part in text.split(","):
        name, equals, value = part.rpartition("=")
        if not equals or not name.strip():
            msg = f"{part!r} is not name=value; write it as in {example}"
            raise click.BadParameter(msg)
        if name.strip() in dict(found):
            msg = f"{name.strip()} is given twice"
            raise click.BadParameter(msg)
        found.append((name.strip(), value.strip()))
    return found


def read_box(
    _ctx: click.Context, _param: click.Parameter, value: str | None
) -> dict[str, tuple[float, float]] | None:
    """Return ``x_1=-3:3,x_2=-3:3`` as a mapping name -> (low, high); an option's callback."""
    if value is None:
        return None
    return {name: _interval(text) for name, text in _pairs(value, "x_1=-3:3,x_2=-3:3")}


def read_at(
    _ctx: click.Context, _param: click.Parameter, value: str | None
) -> dict[str, float] | None:
    """Return ``x_2=0.3,x_3=1`` as a mapping name -> number; an option's callback."""
    if value is None:
        return None
    return {name: _number(text) for name, text in _pairs(value, "x_2=0.3,x_3=1")}


def read_interval(
    _ctx: click.Context, _param: click.Parameter, value: str | None
) -> tuple[float, float] | None:
    """Return ``low:high`` as a pair of numbers; an option's callback."""
    return None if value is None else _interval(value)


def output_or_level(text: str) -> str | float:
    """Return a number when the text is one (a level), else the text (an output's name)."""
    try:
        return float(text)
    except ValueError:
        return text
