r"""The smooth branches of a network with kinks, on boxes that kinks cross.

In a small box few units straddle a kink.  Fix, for each of them, the piece of its activation (or
the winner of its maximum): what is left is a smooth function on the whole box, a *branch*.  At
every point of the box the network equals one of the branches, so that

- its values are among the values of the branches, and
- its Clarke gradients are convex combinations of gradients of the branches at the same point
  (Scholtes 2012, Introduction to Piecewise Differentiable Equations, proposition 4.3.1).

That keeps what the hull of every single unit's slopes forgets: that all later units see the same
side of a kink.

This module says which entries of a node straddle kinks, and makes one row of a batch per choice.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from nneq.activations import RULES
from nneq.ir.network import Elementwise, Maximum
from nneq.semantics import ranges
from nneq.semantics.ball import UNIT, Ball

__all__ = ["fork", "met", "piece_facts"]

Array = np.ndarray[Any, Any]
Facts = tuple[Ball, Ball, Ball, Ball, Ball]

_EXTENDED = {"elu", "selu", "hard_swish"}  # their parts have no turning points further out
_NEAR = 30.0


def met(node: Elementwise | Maximum, low: Array, high: Array) -> Array | None:
    """Return which pieces an argument in ``[low, high]`` may lie on, ``(B, S, pieces)``.

    Entries without a choice (no kink inside, or a kind of kink that is not covered) have none.

    Args:
        node: a node with kinks.
        low: of the argument on boxes, ``(B, *shape)``.
        high: likewise.
    """
    if isinstance(node, Maximum):
        source = [axis + 1 for axis in node.axes]
        target = list(range(low.ndim - len(source), low.ndim))
        bottom, top = (
            np.moveaxis(x, source, target).reshape(len(x), -1, _size(x.shape, source))
            for x in (low, high)
        )
        found = ~(top < bottom.max(axis=-1, keepdims=True))
        # one of which nothing is known may win as well
        found &= (np.isfinite(top - bottom) | ~found).all(axis=-1, keepdims=True)
    else:
        ends = _ends(node)
        if ends is None:
            return None
        bottom, top = low.reshape(len(low), -1, 1), high.reshape(len(low), -1, 1)
        left, right = ends
        found = (bottom < right) & (top > left)
        if RULES[node.rule].kind != "piecewise-linear":
            found &= (bottom > -_NEAR) & (top < _NEAR)
    found = np.asarray(found)
    found &= (found.sum(axis=-1) > 1)[..., None]
    return found if found.any() else None


def _size(shape: tuple[int, ...], axes: list[int]) -> int:
    return int(np.prod([shape[axis] for axis in axes], dtype=int))


def _ends(node: Elementwise) -> tuple[Array, Array] | None:
    """Return the ends of the pieces, each ``(S, pieces)`` or ``(1, pieces)``."""
    declared = RULES[node.rule]
    if declared.kind == "piecewise-linear" and declared.pieces is not None:
        pieces = declared.pieces(node.params)
        uppers, blurs = [piece.upper for piece in pieces], [piece.blur for piece in pieces]
    elif node.rule in _EXTENDED and not ranges.is_smooth(node.rule, node.params):
        uppers, blurs = [part.upper for part in declared.parts], [0.0] * len(declared.parts)
    else:
        return None
    flat = [
        np.broadcast_to(upper, node.shape).reshape(-1) if np.ndim(upper) else np.full(1, upper)
        for upper in uppers
    ]
    right = np.stack(np.broadcast_arrays(*flat), axis=-1).astype(np.float64)
    blur = np.array(blurs)
    left = np.concatenate([np.full((len(right), 1), -np.inf), (right - blur)[:, :-1]], axis=-1)
    return left, right + blur


def fork(pieces: Array, weight: Array, most: int) -> tuple[Array, Array, Array]:
    """Return ``(row, choice, weight)``: which row each new row comes from, and its pieces.

    Args:
        pieces: from :func:`met`.
        weight: of how many rows each row is one already, ``(B,)``.
        most: rows for which more than that would be needed keep their choices open (-1).
    """
    count = pieces.sum(axis=-1)
    with np.errstate(all="ignore"):
        total = np.prod(np.maximum(count, 1).astype(np.float64), axis=1) * weight
    row = np.arange(len(pieces))
    choice = np.full(count.shape, -1, dtype=np.int64)
    waiting = (count > 0) & (total <= most)[:, None]
    while waiting.any():
        entry = np.argmax(waiting, axis=1)
        live = waiting[np.arange(len(row)), entry]
        options = pieces[row, entry] & live[:, None]
        copies = np.where(live, options.sum(axis=1), 1)
        source = np.repeat(np.arange(len(row)), copies)
        place = np.arange(len(source)) - np.repeat(np.cumsum(copies) - copies, copies)
        ranked = np.argsort(~options, axis=1, kind="stable")
        picked = ranked[source, np.minimum(place, options.shape[1] - 1)]
        row, choice, waiting = row[source], choice[source], waiting[source]
        weight = weight[source] * copies[source]
        forked, spot = live[source], entry[source]
        choice[forked, spot[forked]] = picked[forked]
        waiting[forked, spot[forked]] = False
    return row, choice, weight


def piece_facts(
    node: Elementwise, piece: Array, centre: Ball, low: Array, high: Array, facts: Facts
) -> Facts:
    """Return facts in which the chosen pieces stand for the activation, on the whole line.

    Args:
        node: the activation.
        piece: the choices, -1 for none, ``(B, *shape)``.
        centre: the argument at the centres.
        low: of the argument on the boxes.
        high: likewise.
        facts: balls of f, f' at the centres, f', f'' and f over the boxes.
    """
    declared = RULES[node.rule]
    shape = np.broadcast_shapes(piece.shape, low.shape)
    made = [
        Ball(np.broadcast_to(b.mid, shape).copy(), np.broadcast_to(b.rad, shape).copy())
        for b in facts
    ]
    for k in np.unique(piece[piece >= 0]).tolist():
        if declared.kind == "piecewise-linear" and declared.pieces is not None:
            own = declared.pieces(node.params)[k]
            zero = np.zeros(shape)
            slope = Ball.point(zero + own.slope)
            shift = Ball.point(zero + own.intercept)
            box = Ball.interval(low, high)
            new = (
                _line(slope, centre, shift),
                slope,
                slope,
                Ball.point(zero),
                _line(slope, box, shift),
            )
        else:
            ends = centre.lower, centre.upper
            parts = [
                ranges.part(node.rule, node.params, k, *at, order)  # type: ignore[arg-type]
                for at, order in (
                    (ends, 0),
                    (ends, 1),
                    ((low, high), 1),
                    ((low, high), 2),
                    ((low, high), 0),
                )
            ]
            new = tuple(Ball.interval(*part) for part in parts)  # type: ignore[assignment]
        for old, ball in zip(made, new, strict=True):
            np.copyto(old.mid, ball.mid, where=piece == k)
            np.copyto(old.rad, ball.rad, where=piece == k)
    return made[0], made[1], made[2], made[3], made[4]


def _line(slope: Ball, z: Ball, shift: Ball) -> Ball:
    """Return ``slope z + shift``."""
    product = slope.mid * z.mid
    mid = product + shift.mid
    rad = np.abs(slope.mid) * z.rad + 4 * UNIT * (np.abs(product) + np.abs(mid))
    return Ball(mid, rad * (1 + 8 * UNIT) + 1e-300)
