"""``nneq boundary``: where two outputs are equal, solved with proof."""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from nneq.cli.model import model_path
from nneq.cli.show import (
    clean,
    debug_option,
    json_option,
    model_argument,
    plot_target,
    print_json,
    print_table,
)
from nneq.cli.words import (
    Command,
    advice,
    asked,
    fixed_apart_from_box,
    output_or_level,
    read_at,
    read_box,
    read_interval,
)

if TYPE_CHECKING:
    from nneq.api.boundary import Boundary
    from nneq.boundary.results import Curve, Solutions, Surface

__all__ = ["command"]

_MOST_ROWS = 100
_MOST_TERMS = 2000
_NOT_DECIDED = 3


@click.command("boundary", cls=Command)
@model_argument
@click.argument("first", metavar="OUTPUT")
@click.argument("second", metavar="OUTPUT_OR_LEVEL")
@click.option("--solve", "variable", metavar="INPUT", help="Solve for this input, as in x_1.")
@click.option(
    "--at", callback=read_at, multiple=True, metavar="x_2=0.3,...", help="The other inputs."
)
@click.option(
    "--domain",
    callback=read_interval,
    metavar="LOW:HIGH",
    help="Where to solve; the whole real line when omitted.",
)
@click.option(
    "--box",
    callback=read_box,
    multiple=True,
    metavar="x_1=-3:3,...",
    help="Trace the boundary in this box of two or three inputs.",
)
@click.option("--exact", is_flag=True, help="Rational arithmetic (piecewise-linear networks).")
@click.option(
    "--precision",
    type=click.Choice(["real", "float32"]),
    default="real",
    show_default=True,
    help="float32: also true for the network as executed.",
)
@click.option("--decision", is_flag=True, help="Only where no third output is larger.")
@click.option("--seconds", type=click.FloatRange(min=0, min_open=True), help="Time limit.")
@click.option(
    "--plot",
    "picture",
    type=click.Path(dir_okay=False),
    metavar="FILE",
    help="Draw to FILE (.png, .svg, .pdf).",
)
@json_option
@debug_option
def command(
    model: str,
    first: str,
    second: str,
    variable: str | None,
    at: dict[str, float] | None,
    domain: tuple[float, float] | None,
    box: dict[str, tuple[float, float]] | None,
    exact: bool,
    precision: str,
    decision: bool,
    seconds: float | None,
    picture: str | None,
    as_json: bool,
) -> int:
    """Solve OUTPUT = OUTPUT_OR_LEVEL: for one input on a line, or in a box.

    A level is a number: `nneq boundary MODEL z_1 -0.5`. Without --solve and --box the function
    whose zeros are the answer is printed. Exit status 3 when something could not be decided.
    """
    from nneq.api.importing import to_equations
    from nneq.boundary.results import Budget

    _check_options(variable is not None, box, at)
    if picture is not None:
        plot_target(picture, model)
    limits: dict[str, Any] = {
        "precision": precision,
        "budget": Budget(seconds=math.inf if seconds is None else seconds),
    }
    with model_path(model) as path:
        equations = to_equations(path)
        boundary = equations.boundary(first, output_or_level(second), decision=decision)
        line = area = None
        if variable is not None:
            line = boundary.solve(variable, at, domain, exact=exact, **limits)
        if box is not None:
            area = _area(boundary, box, _rest(box, at), exact, limits)
        if picture is not None:
            _draw(boundary, line, area, box, at, picture)
    if as_json:
        print_json("boundary", _record(boundary, line, area))
    else:
        _show(boundary, line, area)
    found = [one for one in (line, area) if one is not None]
    return 0 if all(one.complete and not one.undecided for one in found) else _NOT_DECIDED


def _check_options(
    line: bool, box: dict[str, tuple[float, float]] | None, at: dict[str, float] | None
) -> None:
    """Refuse options that would have no effect.

    Raises:
        click.UsageError: naming the option and what it needs.
    """
    if asked("domain") and not line:
        msg = "--domain says where --solve looks; name the input with --solve x_1"
        raise click.UsageError(msg)
    if not line and box is None:
        needy = ("at", "exact", "precision", "decision", "seconds", "picture")
        given = [f"--{name}" for name in needy if asked(name)]
        if given:
            shown = ", ".join(given).replace("picture", "plot")
            needs = "needs" if len(given) == 1 else "need"
            msg = f"{shown} {needs} a question to answer: --solve x_1, or --box x_1=-3:3,x_2=-3:3"
            raise click.UsageError(msg)
    if asked("exact") and click.get_current_context().params["precision"] == "float32":
        msg = "--exact is about the real function: it needs --precision real"
        raise click.UsageError(msg)
    if box is not None and not line:
        fixed_apart_from_box(at, box)


def _rest(box: Mapping[str, Any], at: Mapping[str, float] | None) -> dict[str, float]:
    """Return what ``--at`` fixes in the box: ``--solve`` may need values the box leaves free."""
    return {name: value for name, value in (at or {}).items() if name not in box}


def _area(
    boundary: Boundary,
    box: dict[str, tuple[float, float]],
    rest: dict[str, float],
    exact: bool,
    limits: dict[str, Any],
) -> Curve | Surface:
    """Trace a curve, or a surface when the box has three free inputs."""
    if sum(low != high for low, high in box.values()) == 3:
        return boundary.surface(box, rest, exact=exact, **limits)
    return boundary.trace(box, rest, exact=exact, **limits)


def _draw(
    boundary: Boundary,
    line: Solutions | None,
    area: Curve | Surface | None,
    box: dict[str, tuple[float, float]] | None,
    at: dict[str, float] | None,
    picture: str,
) -> None:
    from nneq import plotting
    from nneq.boundary.results import Surface

    question = boundary.problem.title
    sides = plotting.side_names(boundary)
    if area is not None and box is not None:
        rest = _rest(box, at)
        fixed = {name: low for name, (low, high) in box.items() if low == high} | rest
        names: tuple[str, ...] = area.names
        if isinstance(area, Surface):
            display = plotting.plot_surface(area)
        else:
            values = plotting.in_plane(boundary, box, rest)
            display = plotting.plot_curve(area, evaluate=values, sides=sides)
        if line is not None and not plotting.mark_solutions(
            display, boundary, line, box, rest, at=at
        ):
            print(
                "nneq: note: the solutions lie outside the box's slice and are not drawn",
                file=sys.stderr,
            )
    elif line is not None:
        fixed, names = at or {}, (line.variable,)
        values = plotting.along_line(boundary, line, at)
        display = plotting.plot_line(line, values, sides=sides)
    else:
        return
    title = plotting.title_of(question, fixed)
    plotting.label(display.ax_, plotting.axis_names(boundary, names), title)
    display.save(picture)


def _record(
    boundary: Boundary, line: Solutions | None, area: Curve | Surface | None
) -> dict[str, Any]:
    from nneq.boundary.results import Curve, Surface
    from nneq.cli.records import curve_record, solutions_record, surface_record

    return {
        "question": boundary.problem.title,
        "engine": boundary.engine,
        "notes": list(boundary.notes),
        "solutions": None if line is None else solutions_record(line),
        "curve": curve_record(area) if isinstance(area, Curve) else None,
        "surface": surface_record(area) if isinstance(area, Surface) else None,
    }


def _show(boundary: Boundary, line: Solutions | None, area: Curve | Surface | None) -> None:
    rows = [["engine", boundary.engine], *(["reduction", note] for note in boundary.notes)]
    print_table(boundary.problem.title, ["", ""], rows)
    if line is None and area is None:
        _show_function(boundary)
    if line is not None:
        show_solutions(line)
    if area is not None:
        _show_area(area)


def _show_function(boundary: Boundary) -> None:
    reduced = boundary.reduced
    if reduced.layout.term_count > _MOST_TERMS:
        print("the reduced function is long; ask with --solve, --box, or see nneq equations")
        return
    print(f"{boundary.problem.title} where g = 0:\n")
    # The one output of the reduced network is no output of the model.
    print(re.sub(r"^\w+ = (?!.*^\w+ = )", "g = ", reduced.text(), flags=re.MULTILINE | re.DOTALL))
    print("\nsolve it with --solve x_1 --at ..., or trace it with --box x_1=-3:3,x_2=-3:3")


def show_solutions(line: Solutions) -> None:
    """Print the solutions on a line as a table, and what is proven about the rest."""
    low, high = line.domain
    where = (
        "on the whole real line"
        if math.isinf(low) and math.isinf(high)
        else f"on [{low:g}, {high:g}]"
    )
    fixed = ", ".join(f"{name} = {value!r}" for name, value in line.at.items())
    title = f"{line.variable} {where}" + (f" at {fixed}" if fixed and len(line.at) <= 8 else "")
    rows = [
        [
            k,
            repr(root.value) if root.exact is None else f"{root.exact} = {root.value!r}",
            f"{(root.upper - root.lower) / 2:.1e}",
            root.crossing,
            type(root.certificate).__name__.lower(),
        ]
        for k, root in enumerate(line[:_MOST_ROWS], start=1)
    ]
    heads = ["", f"{line.variable} =", "within", "crossing", "certificate"]
    if rows:
        print_table(title, heads, rows, right=(0, 2))
    else:
        print(f"{clean(title)}\n")
    if len(line) > _MOST_ROWS:
        print(f"... and {len(line) - _MOST_ROWS:,} more (--json lists all)\n")
    for start, end in line.identical:
        print(f"equal everywhere on [{start!r}, {end!r}]")
    for start, end in line.undecided:
        print(f"not decided on [{start!r}, {end!r}]")
    print(_claim(line, "solutions", nothing=not line and not line.identical))


def _claim(found: Solutions | Curve | Surface, what: str, *, nothing: bool) -> str:
    """Return what is proven about what was not found, and how the computation ended."""
    message = advice(found.status.value)
    if found.complete and not message:
        if nothing:
            return "no solutions (proven)"
        return f"complete: there are no other {what} (proven)"
    start = "no solutions were found; not complete" if nothing else "not complete"
    return f"{start}: {message or f'{what} may exist that were not found'}"


def _show_area(area: Curve | Surface) -> None:
    from nneq.boundary.results import Curve

    names = ", ".join(area.names)
    if isinstance(area, Curve):
        title, nothing = f"the curve in ({names})", not (area.components or area.ties)
        rows = [
            [k, "closed" if part.closed else "open", f"{part.length:.6g}", len(part.points)]
            for k, part in enumerate(area.components[:_MOST_ROWS], start=1)
        ]
        heads, right = ["", "component", "length", "points"], [0, 2, 3]
    else:
        title = f"the surface in ({names})"
        nothing = not (len(area.faces) or area.ties or area.isolated)
        rows = [["vertices", len(area.vertices)], ["triangles", len(area.faces)]]
        heads, right = ["", ""], [1]
    if nothing:
        print(f"{title}\n")
    else:
        print_table(title, heads, rows, right=right)
    if len(area.ties) and isinstance(area, Curve):
        print(f"{_count(len(area.ties), 'area')} in which both are equal everywhere")
    if area.undecided:
        count = len(area.undecided)
        boxes = _count(count, "box", "boxes")
        print(f"{boxes} {'is' if count == 1 else 'are'} not decided (--json lists them)")
    if area.words and not nothing:
        print(advice(area.words))
    if nothing or not area.words or area.status.value:
        print(_claim(area, "parts", nothing=nothing))


def _count(number: int, one: str, many: str = "") -> str:
    return f"{number:,} {one if number == 1 else many or one + 's'}"
