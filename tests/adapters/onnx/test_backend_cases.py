"""Every node case of the onnx package: right, or refused for a documented reason."""

from __future__ import annotations

import re
from pathlib import Path

import onnx
import pytest
from adapters.onnx.cases import REASONS, node_cases, tally

DOCS = Path(__file__).parents[3] / "docs" / "onnx.md"


@pytest.fixture(scope="module")
def tallies():
    cases = node_cases()
    return {
        "as shipped": tally(cases, constants=False),
        "operands stored": tally(cases, constants=True),
    }


def test_no_case_is_silently_wrong(tallies):
    """A case passes or is refused; no result differs from the package's own."""
    assert {mode: [] for mode in tallies} == {mode: t.wrong for mode, t in tallies.items()}


def test_every_refusal_has_a_documented_reason(tallies):
    """No refusal is outside the table of reasons."""
    assert {mode: [] for mode in tallies} == {mode: t.unexplained for mode, t in tallies.items()}


def test_the_counts_are_those_of_the_documentation(tallies):
    """The table in docs/onnx.md holds the counts of this run (for the onnx version it names)."""
    text = DOCS.read_text(encoding="utf-8")
    version = re.search(r"onnx (\d+\.\d+\.\d+)", text)
    for mode, found in tallies.items():
        print(f"{mode}: {dict(found.counts)}")  # the counts are part of the test's output
    assert version is not None
    if version.group(1) != onnx.__version__:
        pytest.skip(f"the table is for onnx {version.group(1)}")
    rows = dict(re.findall(r"^\| `([^`]+)` \|[^|]*\| (\d+ \| \d+) \|$", text, re.MULTILINE))
    modes = [tallies["as shipped"], tallies["operands stored"]]
    expected = {name: " | ".join(str(mode.reasons[name]) for mode in modes) for name in REASONS} | {
        name: " | ".join(str(mode.counts[name]) for mode in modes) for name in ("passed", "refused")
    }

    assert expected == rows


def test_the_refused_operators_are_those_of_the_documentation(tallies):
    """docs/onnx.md lists exactly the operators that the cases meet and nneq does not read."""
    text = DOCS.read_text(encoding="utf-8")
    listed = re.search(r"<!-- refused operators -->\n(.*?)\n<!-- end -->", text, re.DOTALL)
    assert listed is not None
    expected = set().union(*(t.operators for t in tallies.values()))

    assert expected == set(re.findall(r"`([\w.]+)`", listed.group(1)))
