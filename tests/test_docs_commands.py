"""The commands in the documentation: each one exists, parses, and is the one the tests run."""

from __future__ import annotations

import re
import shlex
import tomllib

import click
import pytest
from command_blocks import PAGES, ROOT, blocks, shell_commands, shown_commands

from nneq.cli.group import COMMANDS, cli

SHOWN = [shown for page in PAGES for shown in shown_commands(page)]


def parsed(command: str) -> click.Context:
    """Return the context that click makes of ``nneq ...`` without running it."""
    _, name, *rest = shlex.split(command)
    context = click.Context(cli, obj={})
    found = cli.get_command(context, name)
    assert found is not None
    return found.make_context(name, rest, parent=context)


@pytest.mark.parametrize("shown", SHOWN, ids=lambda shown: f"{shown.page}: {shown.command}")
def test_every_shown_command_parses(shown):
    """A command after a prompt is one of ours, with options that exist."""
    assert shown.command.startswith("nneq ")
    assert parsed(shown.command).command.name in COMMANDS


def test_the_readme_has_its_two_commands_and_ci_runs_the_second():
    """.ci/run holds the README's test command, character for character."""
    install, test = shell_commands(ROOT / "README.md")[:2]
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    inside = re.search(r"# >>> README\n(.*?)\n# <<< README", script, re.DOTALL)

    assert install.endswith("nneq demo")
    assert test.endswith("/bin/tox")
    assert inside is not None
    assert inside.group(1) == test


def test_the_extras_of_the_readme_exist():
    """Every extra named in a command or in the table is in the package's metadata."""
    metadata = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    extras = set(metadata["project"]["optional-dependencies"])
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    named = set(re.findall(r"\.\[(\w+)\]", text)) | set(
        re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE)
    )

    assert "demo" in named
    assert named <= extras


def test_the_environments_named_in_the_pages_exist():
    """``tox -e NAME`` names environments of tox.ini."""
    text = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)
    known = set(
        re.findall(
            r"^\[testenv:(\w+)\]", (ROOT / "tox.ini").read_text(encoding="utf-8"), re.MULTILINE
        )
    )
    named = set(re.findall(r"tox -e (\w+)", text))

    assert {"check", "core"} <= named <= known


def test_the_overview_of_commands_is_the_command_line():
    """docs/cli.md lists every command, with options that exist."""
    (overview,) = [b for b in blocks(ROOT / "docs" / "cli.md") if b.language == "text"]
    lines = [line.split() for line in overview.text.splitlines()]
    context = click.Context(cli)

    assert sorted(COMMANDS) == sorted(words[1] for words in lines)
    for words in lines:
        command = cli.get_command(context, words[1])
        assert command is not None
        known = {text for param in command.params for text in param.opts}
        used = {word.strip("[]") for word in words[2:] if word.strip("[]").startswith("-")}
        assert used <= known | {"--help"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_files_named_in_a_page_exist(page):
    """A path of the repository that a page names in code marks is there."""
    text = page.read_text(encoding="utf-8")
    folders = r"(?:docs|src|tests|benchmarks|examples)/[\w./-]+"
    named = set(re.findall(rf"`({folders}|[A-Z]+\.md|tox\.ini|pyproject\.toml)`", text))
    missing = sorted(name for name in named if not (ROOT / name).exists())

    assert missing == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_python_blocks_compile(page):
    """Python in a page is Python."""
    for block in blocks(page):
        if block.language == "python":
            compile(block.text, block.page, "exec")
