"""``nneq equations``: the model as equations, in the form and format asked for."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from nneq.cli.model import model_path
from nneq.cli.show import debug_option, jsonable, model_argument, output_option, write_text

if TYPE_CHECKING:
    from nneq import Equations

__all__ = ["command"]

_FORMATS = ("text", "latex", "python", "sympy", "json")
_FORMS = ("system", "matrix", "expression")


@click.command("equations")
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

    if outputs and form in {"system", "matrix"}:
        msg = "--output gives single expressions; leave --form out, or ask for --form expression"
        raise click.UsageError(msg)
    with model_path(model) as path:
        equations = to_equations(path)
    chosen = form or ("expression" if outputs else "system")
    names = list(outputs) or [str(name) for name in equations.outputs]
    write_text(_written(equations, chosen, style, names), target, model)


def _written(equations: Equations, form: str, style: str, names: list[str]) -> str:
    if style == "json":
        return json.dumps(jsonable(equations.to_dict()), indent=2, allow_nan=False)
    if form == "matrix":
        matrix = equations.matrix_form()
        return str(matrix.latex() if style == "latex" else matrix)
    raise NotImplementedError
