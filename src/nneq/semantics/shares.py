"""Work on many rows, shared among the workers of an executor.

Any ``concurrent.futures.Executor`` serves: threads, processes, a cluster.  A task carries all it
needs, because an executor that is given need not have initialised its workers.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor
from typing import Any, TypeVar

__all__ = ["shared"]

_Result = TypeVar("_Result")


def shared(
    executor: Executor | None, function: Callable[..., _Result], rows: int, size: int, *columns: Any
) -> list[_Result]:
    """Return ``function`` of the columns, cut into parts of at most ``size`` rows, in order.

    Args:
        executor: None computes here.
        function: of the parts of all columns; with processes it must be picklable.
        rows: how many rows the columns have.
        size: rows in one task.
        columns: sliced along the first axis.
    """
    parts = [slice(start, start + size) for start in range(0, rows, size)] or [slice(0, 0)]
    tasks = [tuple(column[part] for column in columns) for part in parts]
    if executor is None or len(tasks) == 1:
        return [function(*task) for task in tasks]
    return list(executor.map(function, *zip(*tasks, strict=True)))
