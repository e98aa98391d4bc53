"""Rows of linear bounds on their way back to the inputs, with the rounding they collect."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from nneq.ir import network as ir
from nneq.ir.linear_map import LinearMap
from nneq.semantics.ball import TINY, UNIT
from nneq.semantics.domain import Domain

__all__ = ["Forms", "Rows"]

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, eq=False)
class Forms:
    """``slope_low @ x + offset_low <= f(x) <= slope_high @ x + offset_high`` on every set.

    Args:
        slope_low: shape ``(B, K, n)`` (or ``(1, K, n)``).
        offset_low: shape ``(B, K)``; all rounding is in it.
        slope_high: as ``slope_low``; the same object when the lines are parallel.
        offset_high: shape ``(B, K)``.
        low: proven lower ends of ``f``, shape ``(B, K)``; -inf: nothing is known.
        high: proven upper ends, shape ``(B, K)``.
    """

    slope_low: Array
    offset_low: Array
    slope_high: Array
    offset_high: Array
    low: Array
    high: Array


class Rows:
    """Rows on their way back: ``waiting[place] = (low, high)``, each ``(B or 1, K, *shape)``."""

    def __init__(self, domain: Domain, sizes: dict[int, Array], size: int) -> None:
        """Start with no rows."""
        self.domain, self.sizes = domain, sizes
        self.size = size
        self.waiting: dict[int, tuple[Array, Array]] = {}
        self.low = np.zeros((1, size))
        self.high = np.zeros((1, size))

    def shift(self, low: Array, high: Array) -> None:
        """Add to the constants, rounded outwards."""
        total = self.low + low
        self.low = total - (4 * UNIT * np.abs(total) + TINY)
        total = self.high + high
        self.high = total + (4 * UNIT * np.abs(total) + TINY)

    def offset(self, low: Array, high: Array, middle: Array, spread: Array) -> None:
        """Add ``rows @ middle -+ |rows| @ spread``; the spread holds the dot's own rounding."""
        if low is high:
            value, width = _dot(low, middle), _dot(np.abs(low), spread)
            self.shift(value - width, value + width)
        else:
            self.shift(
                _dot(low, middle) - _dot(np.abs(low), spread),
                _dot(high, middle) + _dot(np.abs(high), spread),
            )

    def transposed(
        self, low: Array, high: Array, stages: Sequence[tuple[LinearMap, Array | None]]
    ) -> tuple[Array, Array]:
        """Return the rows times the map, with the slips of every stage added."""
        same = low is high
        for adjoint, slip in stages:
            if slip is not None:
                zero = np.zeros((1, *slip.shape[1:]))
                self.offset(low, high, zero, slip)
            low, high = _applied(adjoint, low), low if same else _applied(adjoint, high)
            if same:
                high = low
        return low, high

    def add(self, place: int, low: Array, high: Array) -> None:
        """Let rows wait at a node; rows that meet are added, with their rounding."""
        if place not in self.waiting:
            self.waiting[place] = (low, high)
            return
        old_low, old_high = self.waiting[place]
        same = low is high and old_low is old_high
        total = old_low + low
        other = total if same else old_high + high
        self.waiting[place] = (total, other)
        slip = 2 * UNIT * self.sizes[place]
        self.offset(total, other, np.zeros((1, *slip.shape[1:])), slip)

    def finish(self, network: ir.Network, unit: float) -> Forms:
        """Return the bounds on the sets; for float32 statements the inputs are rounded first."""
        domain = self.domain
        if unit != UNIT:
            for port in network.inputs:
                if port.node in self.waiting:
                    slip = unit * self.sizes[port.node] * 1.0625 + 1e-44
                    zero = np.zeros((1, *port.shape))
                    self.offset(*self.waiting[port.node], zero, slip)
        parts: list[tuple[Array, Array]] = []
        for port in network.inputs:
            zero = np.zeros((1, self.size, port.size))
            pair = self.waiting.get(port.node, (zero, zero))
            low, high = (rows.reshape(*rows.shape[:2], port.size) for rows in pair)
            parts.append((low, low if pair[0] is pair[1] else high))
        low, high = parts[0] if len(parts) == 1 else _side_by_side(parts)
        below, above = domain.span(low)
        upper = above if low is high else domain.span(high)[1]
        value_low, value_high = below + self.low, upper + self.high
        value_low = value_low - (4 * UNIT * np.abs(value_low) + TINY)
        value_high = value_high + (4 * UNIT * np.abs(value_high) + TINY)
        shape = (domain.count, self.size)
        return Forms(
            low,
            np.broadcast_to(self.low, shape),
            high,
            np.broadcast_to(self.high, shape),
            np.where(np.isnan(value_low), -np.inf, value_low),
            np.where(np.isnan(value_high), np.inf, value_high),
        )


def _applied(adjoint: LinearMap, rows: Array) -> Array:
    """Return the adjoint of every row of a batch ``(B, K, *shape)``."""
    flat = rows.reshape(-1, *rows.shape[2:])
    return adjoint.apply(flat).reshape(*rows.shape[:2], *adjoint.out_shape)


def _dot(rows: Array, vector: Array) -> Array:
    """Return ``(B, K)`` from rows ``(B or 1, K, *shape)`` and vectors ``(B or 1, *shape)``."""
    flat = rows.reshape(*rows.shape[:2], -1)
    return np.asarray(np.matmul(flat, vector.reshape(vector.shape[0], -1, 1))[..., 0])


def _side_by_side(parts: list[tuple[Array, Array]]) -> tuple[Array, Array]:
    """Return the rows of all inputs next to one another."""
    count = max(part.shape[0] for pair in parts for part in pair)

    def whole(k: int) -> Array:
        return np.concatenate(
            [np.broadcast_to(pair[k], (count, *pair[k].shape[1:])) for pair in parts], axis=-1
        )

    low = whole(0)
    return low, low if all(pair[0] is pair[1] for pair in parts) else whole(1)
