"""A logger whose framework is missing says what to install."""

from __future__ import annotations

import importlib
import sys

import pytest

from nneq.errors import MissingDependencyError


@pytest.mark.parametrize(
    ("name", "command"),
    [
        ("keras", "nneq[keras]"),
        ("lightning", "pip install lightning"),
        ("transformers", "pip install transformers"),
    ],
)
def test_a_missing_framework_is_named(monkeypatch, name, command):
    """Importing the logger is one clear error with the command that installs the package."""
    monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.delitem(sys.modules, f"nneq.callbacks.{name}", raising=False)

    with pytest.raises(MissingDependencyError) as caught:
        importlib.import_module(f"nneq.callbacks.{name}")

    assert command in str(caught.value)
