"""``nneq regions``: the linear regions of a piecewise-linear network in a box."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import click

from nneq.cli.model import model_path
from nneq.cli.show import (
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
)

if TYPE_CHECKING:
    from nneq.boundary.results import PiecewiseBoundary

__all__ = ["command"]

_NOT_DECIDED = 3
_MOST_ROWS = 30
_DIGITS = 6


@click.command("regions", cls=Command)
@model_argument
@click.option(
    "--box",
    callback=read_box,
    multiple=True,
    metavar="x_1=-3:3,...",
    required=True,
    help="The intervals of two to six inputs.",
)
@click.option(
    "--at", callback=read_at, multiple=True, metavar="x_3=0.3,...", help="The other inputs."
)
@click.option(
    "--between",
    nargs=2,
    default=("z_1", "z_2"),
    show_default=True,
    metavar="OUTPUT OUTPUT_OR_LEVEL",
    help="The boundary whose pieces are listed.",
)
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    default=1_000_000,
    show_default=True,
    help="The largest number of regions.",
)
@click.option("--seconds", type=click.FloatRange(min=0, min_open=True), help="Time limit.")
@click.option(
    "--plot",
    "picture",
    type=click.Path(dir_okay=False),
    metavar="FILE",
    help="Draw to FILE (.png, .svg, .pdf); two free inputs.",
)
@json_option
@debug_option
def command(
    model: str,
    box: dict[str, tuple[float, float]],
    at: dict[str, float] | None,
    between: tuple[str, str],
    limit: int,
    seconds: float | None,
    picture: str | None,
    as_json: bool,
) -> int:
    """Find every linear region of MODEL in a box, and the exact pieces of a boundary.

    Exit status 3 when something could not be decided.
    """
    from nneq.api.importing import to_equations
    from nneq.boundary.results import Budget

    fixed_apart_from_box(at, box)
    if picture is not None:
        free = sum(low != high for low, high in box.values())
        if free != 2:
            msg = f"--plot draws two free inputs, --box has {free}; fix the others with --at"
            raise click.UsageError(msg)
        plot_target(picture, model)
    with model_path(model) as path:
        equations = to_equations(path)
        second = output_or_level(between[1])
        if len(equations.outputs) == 1 and not asked("between"):
            second = 0.0
        budget = Budget(seconds=math.inf if seconds is None else seconds)
        boundary = equations.boundary(between[0], second)
        found = boundary.regions(box, at, limit=limit, budget=budget)
        if picture is not None:
            from nneq import plotting

            fixed = {name: low for name, (low, high) in box.items() if low == high} | (at or {})
            display = plotting.plot_regions(found, question=boundary.problem.title)
            title = plotting.title_of("linear regions", fixed)
            plotting.label(display.ax_, plotting.axis_names(boundary, found.names), title)
            display.save(picture)
    if as_json:
        from nneq.cli.records import regions_record

        print_json("regions", regions_record(found))
    else:
        _show(found, " = ".join(map(str, (between[0], second))))
    return 0 if found.complete and not found.undecided else _NOT_DECIDED


def _show(found: PiecewiseBoundary, title: str) -> None:
    rows = [
        ["linear regions", f"{len(found.regions):,}"],
        [f"pieces of {title}", f"{len(found.pieces):,}"],
        ["regions with equal outputs", f"{len(found.ties):,}"],
        *([["isolated zeros", f"{len(found.isolated):,}"]] if found.isolated else []),
        ["not decided", f"{len(found.undecided):,}"],
        ["complete", "yes: the regions fill the box" if found.complete else "no"],
        ["certificate", type(found.certificate).__name__.lower()],
    ]
    if found.status.value:
        rows.append(["status", advice(found.status.value)])
    print_table(f"In the box of {', '.join(found.names)}", ["", ""], rows)
    if found.pieces:
        shown = [
            [k, piece.text(_DIGITS), piece.solved_text(None, _DIGITS)]
            for k, piece in enumerate(found.pieces[:_MOST_ROWS], 1)
        ]
        heads = ["", "equation", "solved"]
        print_table(f"The pieces of {title} ({_DIGITS} digits; --json has all)", heads, shown)
    left = len(found.pieces) - _MOST_ROWS
    if left > 0:
        print(f"... and {left:,} more pieces (--json lists all)")
