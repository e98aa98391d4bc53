"""The fenced blocks of the documentation, taken apart."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


@dataclass(frozen=True)
class Block:
    """One fenced block: its page, its language, its lines."""

    page: str
    language: str
    text: str


@dataclass(frozen=True)
class Shown:
    """A command in a page and the output shown below it (empty: none is shown)."""

    page: str
    command: str
    output: str


def blocks(path: Path) -> list[Block]:
    """Return the fenced blocks of a page."""
    pattern = re.compile(r"^```([^\n`]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
    name = path.relative_to(ROOT).as_posix()
    return [Block(name, *found) for found in pattern.findall(path.read_text(encoding="utf-8"))]


def shown_commands(path: Path) -> list[Shown]:
    """Return the commands that stand after ``$`` in a page's console blocks."""
    found = []
    for block in blocks(path):
        if block.language == "console":
            for part in re.split(r"^\$ ", block.text, flags=re.MULTILINE)[1:]:
                command, _, output = part.partition("\n")
                found.append(Shown(block.page, command, output))
    return found


def shell_commands(path: Path) -> list[str]:
    """Return the lines of console blocks that show no prompt: commands for a reader to type."""
    return [
        line.partition("  #")[0].strip()
        for block in blocks(path)
        if block.language == "console" and "$ " not in block.text
        for line in block.text.splitlines()
    ]
