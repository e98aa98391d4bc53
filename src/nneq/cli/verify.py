"""``nneq verify``: the equations against the framework's own forward pass."""

from __future__ import annotations

import click

from nneq.cli.model import model_path
from nneq.cli.show import debug_option, json_option, model_argument, print_json, print_table
from nneq.cli.words import Command

__all__ = ["command"]


@click.command("verify", cls=Command)
@model_argument
@click.option(
    "--samples",
    type=click.IntRange(min=1),
    default=1000,
    show_default=True,
    help="How many random inputs.",
)
@click.option(
    "--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of the random inputs."
)
@json_option
@debug_option
def command(model: str, samples: int, seed: int, as_json: bool) -> int:
    """Hold the equations of MODEL against the framework's own forward pass.

    Exit status 0 when they agree, 1 when they do not.
    """
    from nneq.api.importing import to_equations

    with model_path(model) as path:
        found = to_equations(path, check=False).verify(samples=samples, seed=seed)
    record = {
        "passed": found.passed,
        "max_abs_error": found.max_abs_error,
        "max_rel_error": found.max_rel_error,
        "worst_input": found.worst_input,
        "tolerance": found.tolerance,
        "samples": found.samples,
        "seed": seed,
        "reference": found.reference,
    }
    if as_json:
        print_json("verify", record)
    else:
        rows = [
            ["result", "the equations agree" if found.passed else "THE EQUATIONS DO NOT AGREE"],
            ["compared with", found.reference],
            ["random inputs", f"{found.samples:,} (seed {seed})"],
            ["largest absolute error", f"{found.max_abs_error:.3g}"],
            ["largest relative error", f"{found.max_rel_error:.3g}"],
            ["tolerance", f"{found.tolerance:.0e}"],
        ]
        print_table("Equations against the framework", ["", ""], rows)
    return 0 if found.passed else 1
