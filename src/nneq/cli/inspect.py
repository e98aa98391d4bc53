"""``nneq inspect``: what is inside a model, and what can be done with it."""

from __future__ import annotations

import math
from typing import Any

import click

from nneq.cli.model import STANDARD_INPUT, model_path
from nneq.cli.show import debug_option, json_option, model_argument, print_json, print_table
from nneq.cli.words import Command

__all__ = ["command"]

_MOST_ROWS = 200


@click.command("inspect", cls=Command)
@model_argument
@json_option
@debug_option
def command(model: str, as_json: bool) -> None:
    """Say what is inside MODEL: layers, sizes, formula lengths, what can be solved.

    Nothing is built or run: the lengths of the formulas are estimates, and nneq verify compares
    the equations with the framework.
    """
    from nneq.api.importing import to_network
    from nneq.cli.facts import facts

    with model_path(model) as path:
        record = facts(to_network(path, check=False))
    if model == "-":
        record["source"]["label"] = STANDARD_INPUT
    if as_json:
        print_json("inspect", record)
    else:
        _show(record)


def _dims(shape: list[Any]) -> str:
    return " x ".join(str(size) for size in shape) or "scalar"


def _ports(record: dict[str, Any]) -> list[list[object]]:
    rows: list[list[object]] = []
    for kind in ("inputs", "outputs"):
        for port in record[kind]:
            entries = " ... ".join(dict.fromkeys(port["entries"])) or "none"
            labels = ", ".join(port["entry_labels"][:6])
            rows.append(
                [kind[:-1], port["label"], _dims(port["shape"]), port["dtype"], entries, labels]
            )
    return rows


def _length(log10: float) -> str:
    if log10 < 6:
        return f"about {round(10**log10, 1 - math.floor(max(log10, 1))):,.0f} characters"
    return f"about 10^{log10:.0f} characters"


def _show(record: dict[str, Any]) -> None:
    source = record["source"]
    details = ", ".join(f"{key} {value}" for key, value in source["details"].items())
    title = (
        f"{source['label'] or 'model'} ({source['framework']}{', ' + details if details else ''})"
    )
    heads = ["", "name in the model", "shape", "type", "entries", "labels"]
    print_table(title, heads, _ports(record))
    shown = record["layers"][:_MOST_ROWS]
    rows = [
        [r["node"], r["what"], _dims(r["shape"]), f"{r['parameters']:,}", r["origin"]]
        for r in shown
    ]
    print_table("Layers", ["node", "what", "shape", "parameters", "from"], rows, right=(0, 3))
    left = len(record["layers"]) - len(shown)
    if left:
        print(f"... and {left:,} more layers (--json lists all)\n")
    widths = record["widths"]
    path = " - ".join(map(str, widths if len(widths) <= 14 else [*widths[:6], "...", *widths[-6:]]))
    print_table(
        "Function",
        ["", ""],
        [
            ["class", record["function_class"]],
            ["parameters", f"{record['parameters']:,}"],
            ["depth", f"{record['depth']} nonlinear steps on the longest path"],
            ["widths", path],
        ],
    )
    form = record["formula"]
    system, matrix = form["system"], form["matrix"]
    print_table(
        "Length of the formula (estimated)",
        ["form", "equations", "length"],
        [
            ["system", f"{system['equations']:,}", _length(math.log10(system["characters"] + 1))],
            ["matrix", f"{matrix['equations']:,}", _length(math.log10(matrix["characters"] + 1))],
            ["one expression", "1 per output", _length(form["expression"]["characters_log10"])],
        ],
        right=(1,),
    )
    solving = record["solving"]
    rows = [["exact", text] for text in solving["exact"]]
    rows += [["certified", text] for text in solving["certified"]]
    rows += [["cost", text] for text in solving["cost"]]
    rows += [["reduction", text] for text in solving["reduction"]]
    rows += [["not exact", text] for text in solving["not_exact_because"]]
    print_table(f"Solving {solving['question']}", ["how", "what"], rows)
    if record["notes"]:
        print_table("Notes", [""], [[text] for text in record["notes"]])
