"""Names, numbers and boxes as they stand on a command line: ``x_1=-3:3,x_2=-3:3``."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection, Iterable, Sequence

import click

__all__ = [
    "Command",
    "advice",
    "asked",
    "fixed_apart_from_box",
    "output_or_level",
    "read_at",
    "read_box",
    "read_interval",
]


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


def _pairs(texts: Sequence[str], example: str) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for part in (part for text in texts for part in text.split(",")):
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
    _ctx: click.Context, _param: click.Parameter, value: Sequence[str]
) -> dict[str, tuple[float, float]] | None:
    """Return ``x_1=-3:3,x_2=-3:3`` as a mapping name -> (low, high); an option's callback."""
    if not value:
        return None
    return {name: _interval(text) for name, text in _pairs(value, "x_1=-3:3,x_2=-3:3")}


def read_at(
    _ctx: click.Context, _param: click.Parameter, value: Sequence[str]
) -> dict[str, float] | None:
    """Return ``x_2=0.3,x_3=1`` as a mapping name -> number; an option's callback."""
    if not value:
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


# ---------------------------------------------------------------------- options
_NEGATIVE = re.compile(r"-(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", re.IGNORECASE)


class Command(click.Command):
    """A command that drops nothing it is given: no option twice, and ``-0.5`` is a number."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse; negative numbers are no options, and an option with one value comes once."""
        end = args.index("--") if "--" in args else len(args)
        # A space before it keeps a number from being read as an option; it is taken off again.
        guarded = [f" {arg}" if _NEGATIVE.fullmatch(arg) else arg for arg in args[:end]]
        guarded += args[end:]
        if not ctx.resilient_parsing:
            self._refuse_repeated(ctx, guarded)
        rest = super().parse_args(ctx, guarded)
        for name, value in ctx.params.items():
            ctx.params[name] = _unguarded(value)
        return rest

    def _refuse_repeated(self, ctx: click.Context, args: Iterable[str]) -> None:
        order = self.make_parser(ctx).parse_args(list(args))[2]
        for param in order:
            one = isinstance(param, click.Option) and not (param.multiple or param.is_flag)
            if one and order.count(param) > 1:
                msg = f"{max(param.opts, key=len)} is given twice; it takes one value"
                raise click.UsageError(msg, ctx)


def _unguarded(value: object) -> object:
    if isinstance(value, str) and _NEGATIVE.fullmatch(value[1:]) and value.startswith(" "):
        return value[1:]
    if isinstance(value, tuple):
        return tuple(_unguarded(item) for item in value)
    return value


def asked(name: str) -> bool:
    """Return whether the user wrote the option (its parameter's name), default or not."""
    source = click.get_current_context().get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def fixed_apart_from_box(at: Collection[str] | None, box: Collection[str]) -> None:
    """Refuse inputs that have an interval and a fixed value: one of the two would be ignored.

    Raises:
        click.UsageError: naming them.
    """
    both = [name for name in at or () if name in box]
    if both:
        msg = f"{', '.join(both)}: both in --box and in --at; give an interval or a value"
        raise click.UsageError(msg)


# ---------------------------------------------------------------------- advice
def _values(match: re.Match[str]) -> str:
    """Return ``--at x_2=0.0,x_3=0.0`` for ``at={"x_2": 0.0, "x_3": 0.0, ...}``."""
    pairs = re.findall(r"['\"]([^'\"]+)['\"]: ([^,}]+)", match["values"])
    more = ",..." if match["names"].count(",") >= len(pairs) else ""
    written = ",".join(f"{name}={value}" for name, value in pairs)
    return f"value of {match['names']}; write --at {written}{more}"


_BOX = "nneq boundary with --box"
_LINE = "nneq boundary with --solve"
# What the library advises -> how it is done here; the first that matches counts.
_ADVICE: tuple[tuple[str, str | Callable[[re.Match[str]], str]], ...] = (
    (r"value of (?P<names>[^;]*); write at=\{(?P<values>[^}]*)\}", _values),
    (r"(?<=with )at=(\{\.\.\.\})?(?!\S)", "--at"),
    (r"\bat\[(?P<q>['\"])(?P<name>[^\]]*)(?P=q)\]", lambda match: f"--at {match['name']}"),
    (r"\bat (?=does not say the value)|(?<=fixed by )at\b", lambda m: m[0].replace("at", "--at")),
    (r"\bexact=True\b", "--exact"),
    (r"(?<=leave )exact(?= out)", "--exact"),
    (r"\bprecision='(?P<kind>real|float32)'", lambda match: f"--precision {match['kind']}"),
    (r"\bdecision=True\b", "--decision"),
    (r"the limit \(regions\(\.\.\., limit=\.\.\.\)\)", "--limit"),
    (
        r"on lines \(solve, along\), on 2-D slices \(.*?\)+, or locally \(\w+, \w+\)",
        f"on lines ({_LINE}), or on 2-D slices ({_BOX} and --at)",
    ),
    (r"trace\(box\) or (surface\(box\)|solve_graph\(variable, box\))", _BOX),
    (r"trace\(box\) and solve\(\)", "nneq boundary with --box or --solve"),
    (r"solve\(\) and trace\(\) need\b", "nneq boundary with --solve or --box needs"),
    (r"trace\(box\)", _BOX),
    (r"\bsolve\(\)", _LINE),
    (r"\bsolve without exact=True", f"{_LINE}, without --exact"),
    (r"the budget was used up", "the time was used up"),
    (r"the budget ended", "the time ended"),
    (r"the rest is in \.undecided", "--json lists the rest as undecided"),
    (r"\b(look at|see) \.undecided", "--json lists them as undecided"),
    (r"raise Budget\([^)]*\)", "raise --seconds"),
    (r"shrink the box, or raise the budget", "shrink --box or --domain, or raise --seconds"),
    (r"matrix_form\(\), which works for any size, or explain\(x\)[^;\n]*",
     "--form matrix, which works for any size"),
    (r"system\(\), which is linear in the number of weights, matrix_form\(\), or lambdify\(\)",
     "--form system, which is linear in the number of weights, or --form matrix"),
    (r"matrix_form\(\) of the boundary's \.reduced equations",
     "nneq equations with --form matrix"),
)  # fmt: skip
_QUOTED = r"(?<![\w=\[{])'(?:[^'\\\n]|\\.)*'"  # a name as it stands in the model or the command


def advice(text: str) -> str:
    """Return a message of the library with its advice in the words of the command line.

    Quoted names stay as they are: they come from a model or from the user.
    """
    rules = [re.compile(pattern) for pattern, _ in _ADVICE]
    parts = re.split(f"({_QUOTED})", text)
    for place in range(0, len(parts), 2):
        for rule, (_, said) in zip(rules, _ADVICE, strict=True):
            parts[place] = rule.sub(said, parts[place])
    return "".join(parts)
