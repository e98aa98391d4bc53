"""``nneq derive``: from ``z_i = z_j`` to the form that is solved, step by step."""

from __future__ import annotations

import click

from nneq.cli.model import model_path
from nneq.cli.show import debug_option, model_argument, output_option, write_text
from nneq.cli.words import Command, advice, output_or_level

__all__ = ["command"]


@click.command("derive", cls=Command)
@model_argument
@click.argument("first", metavar="OUTPUT")
@click.argument("second", metavar="OUTPUT_OR_LEVEL")
@click.option(
    "--format", "style", type=click.Choice(["text", "latex"]), default="text", show_default=True
)
@output_option
@debug_option
def command(model: str, first: str, second: str, style: str, target: str | None) -> None:
    """Derive the equation that is solved from OUTPUT = OUTPUT_OR_LEVEL, step by step."""
    from nneq.api.importing import to_equations

    with model_path(model) as path:
        boundary = to_equations(path).boundary(first, output_or_level(second))
        steps = boundary.derivation()
    write_text(advice(steps.latex() if style == "latex" else str(steps)), target, model)
