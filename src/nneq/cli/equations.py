"""``nneq equations``: the model as equations, in the form and format asked for."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from nneq.cli.model import model_path
from nneq.cli.show import (
    debug_option,
    jsonable,
    model_argument,
    output_option,
    text_target,
    write_text,
)
from nneq.cli.words import Command

if TYPE_CHECKING:
    from nneq import Equations

__all__ = ["command"]

_FORMATS = ("text", "latex", "json")
_FORMS = ("system", "matrix", "expression")


@click.command("equations", cls=Command)
@model_argument
@output_option
@click.option("--format", "style", type=click.Choice(_FORMATS), default="text", show_default=True)
@click.option(
    "--form",
    type=click.Choice(_FORMS),
    default=None,
    help="system: one equation for every unit (default); matrix: one for every layer; "
    "expression: every output in the inputs only.",
)
@click.option(
    "--output",
    "outputs",
    multiple=True,
    metavar="NAME",
    help="Only this output, in the inputs only, as in z_1; may be repeated.",
)
@debug_option
def command(
    model: str, target: str | None, style: str, form: str | None, outputs: tuple[str, ...]
) -> None:
    """Print the equations of MODEL, or write them with -o FILE."""
    from nneq.api.importing import to_equations

    if style == "json" and (form or outputs):
        given = " and ".join(["--form"] * bool(form) + ["--output"] * bool(outputs))
        msg = f"--format json prints the whole network; {given} needs --format text or latex"
        raise click.UsageError(msg)
    if outputs and form in {"system", "matrix"}:
        msg = "--output gives single expressions; leave --form out, or ask for --form expression"
        raise click.UsageError(msg)
    chosen = form or ("expression" if outputs else "system")
    with model_path(model) as path:
        equations = to_equations(path)
        if chosen == "system" and style == "text":
            with text_target(target, model) as file:
                equations.write_text(file)
            return
        write_text(_written(equations, chosen, style, outputs), target, model)


def _written(equations: Equations, form: str, style: str, outputs: tuple[str, ...]) -> str:
    if style == "json":
        return json.dumps(jsonable(equations.to_dict()), indent=2, allow_nan=False)
    if form == "matrix":
        matrix = equations.matrix_form()
        return matrix.latex() if style == "latex" else str(matrix)
    if form == "system":
        return equations.latex()
    return "\n".join(_expression(equations, name, style) for name in outputs or equations.outputs)


def _expression(equations: Equations, key: str, style: str) -> str:
    name = equations.output_name(key)
    if style == "latex":
        import sympy

        from nneq.symbolic.names import latex_name

        return f"{latex_name(name)} = {sympy.latex(equations[name])}"
    return f"{name} = {equations[name]}"
