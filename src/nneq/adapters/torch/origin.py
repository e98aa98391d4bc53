"""Where a node of an exported program came from: the module and the user's own line."""

from __future__ import annotations

from pathlib import Path

import torch

__all__ = ["origin", "where"]

_HOME = str(Path(torch.__file__).parent)


def _module_of(node: torch.fx.Node) -> tuple[str, str]:
    """Return the path and the type of the innermost module."""
    stack = node.meta.get("nn_module_stack") or {}
    path, kind = next(reversed(stack.values()), ("", ""))
    path = str(path).removeprefix("model").removeprefix(".")
    return path, str(kind).rsplit(".", maxsplit=1)[-1]


def origin(node: torch.fx.Node) -> str:
    """Return the path of the innermost module, or the node's name."""
    path, _ = _module_of(node)
    return path or node.name


def where(node: torch.fx.Node) -> str:
    """Return a node's name, operator, module and line for a message."""
    path, kind = _module_of(node)
    place = f"module {path!r} ({kind})" if path else "the model's own forward()"
    line = _user_line(node.meta.get("stack_trace") or "")
    return f"node {node.name!r}: operator {node.target} in {place}{line}"


def _user_line(trace: str) -> str:
    """Return the innermost line outside PyTorch and nneq, as text."""
    found = ""
    lines = trace.splitlines()
    for k, line in enumerate(lines):
        text = line.strip()
        if not text.startswith('File "'):
            continue
        name = text.split('"')[1]
        if name.startswith(_HOME) or "/nneq/adapters/" in name:
            continue
        number = text.split("line ")[-1].split(",")[0]
        code = lines[k + 1].strip() if k + 1 < len(lines) else ""
        found = f", {Path(name).name} line {number}: {code}"
    return found
