"""The errors a user of nneq can meet, and how several problems become one message."""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["MissingDependencyError", "NneqError", "UnsupportedError", "problems_message"]


class NneqError(ValueError):
    """The model, the file or the question is at fault; the message says what to do."""


class UnsupportedError(NneqError, NotImplementedError):
    """The model or the question lies outside what nneq does."""


class MissingDependencyError(NneqError, ImportError):
    """An optional package is needed; the message holds the command that installs it."""


def problems_message(headline: str, problems: Iterable[str], remedy: str = "") -> str:
    """Return one message that lists every problem, one per line, and the remedy last.

    Args:
        headline: what could not be done, without a final colon.
        problems: one line of text each; repeated lines are counted, not repeated.
        remedy: what to do, or empty.
    """
    counts: dict[str, int] = {}
    for problem in problems:
        counts[problem] = counts.get(problem, 0) + 1
    lines = [f"{headline}:"]
    for problem, count in counts.items():
        lines.append(f"  - {problem}" + (f" ({count} times)" if count > 1 else ""))
    if remedy:
        lines.append(remedy)
    return "\n".join(lines)
