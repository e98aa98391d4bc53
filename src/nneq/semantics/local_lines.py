r"""Straight lines around every nonlinear node kind, and how rows are pulled back through them.

A :class:`Step` says for one node on a batch of sets: :math:`f(a)` lies within
``slopes(a) + middle -+ spread``, and :math:`\Lambda f` becomes ``pull(rows)`` on the arguments.
``spread`` holds everything uncertain: the distance of the lines, the rounding of the pulled
coefficients (times the largest argument) and, for float32 statements, the node's own error.

- activations: :mod:`nneq.semantics.relaxation`;
- products: :math:`ab = \bar b a + \bar a b - \bar a \bar b \pm \rho_a \rho_b` (McCormick's planes
  at the centre), summed over the contraction;
- maximum: the entry with the largest lower end, plus what the others can add; two live entries are
  :math:`b + \max(a - b, 0)`;
- select: the chosen branch where the test is decided, the hull of both elsewhere;
- softmax: the mean value form with the Jacobian :math:`y_i (\delta_{ij} - y_j)` over the range.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from nneq.ir import network as ir
from nneq.semantics.ball import (
    TINY,
    UNIT,
    UNIT32,
    Ball,
    Balls,
    decide,
    float32_error,
    gamma,
    softmax_range,
)
from nneq.semantics.relaxation import hull, lines

__all__ = ["Step", "step"]

Array = np.ndarray[Any, Any]
Pull = Callable[[Array, Array], list[tuple[int, Array, Array]]]

_MORE = 1 + 16 * UNIT


@dataclass(frozen=True, eq=False)
class Step:
    """One nonlinear node on a batch of sets.

    Args:
        range: the node's range, shape ``(B, *shape)``.
        middle: constant part, shape ``(B, *shape)``.
        spread: half-width of everything uncertain, shape ``(B, *shape)``.
        pull: rows ``(low, high)`` on the node to rows on its arguments; ``low is high`` is kept
            where the lines are parallel.
    """

    range: Ball
    middle: Array
    spread: Array
    pull: Pull


def step(
    node: ir.Node,
    args: Sequence[Ball],
    ends: tuple[Array, Array],
    balls: Balls,
    adaptive: bool | None,
) -> Step:
    """Return the lines around a nonlinear node whose arguments lie in ``args``.

    Args:
        node: not affine.
        args: proven ranges of the arguments.
        ends: the first argument's range as ends, of which one may be infinite.
        balls: interval arithmetic, which also knows the precision.
        adaptive: see :func:`nneq.semantics.relaxation.lines`.
    """
    match node:
        case ir.Elementwise():
            return _elementwise(node, args[0], ends, balls, adaptive)
        case ir.Product():
            return _product(node, args[0], args[1], balls)
        case ir.Maximum():
            return _maximum(node, args[0], balls)
        case ir.Select():
            return _select(node, args, balls)
        case ir.Softmax():
            return _softmax(node, args[0], balls)
        case _:
            msg = f"not a nonlinear node: {type(node).__name__}"
            raise TypeError(msg)


def _centred(low: Array, high: Array, count: int) -> tuple[Array, Array]:
    """Return middle and spread of intercepts, with the rounding of the dot that will use them."""
    middle = 0.5 * low + 0.5 * high
    spread = np.maximum(high - middle, middle - low) * _MORE
    return middle, spread * (1 + gamma(count + 8)) + gamma(count + 8) * np.abs(middle) + TINY


def _elementwise(
    node: ir.Elementwise,
    arg: Ball,
    ends: tuple[Array, Array],
    balls: Balls,
    adaptive: bool | None,
) -> Step:
    low, high = ends
    below, above = hull(node.rule, node.params, low, high)
    found = lines(node.rule, node.params, low, high, adaptive=adaptive)
    size = math.prod(node.shape)
    middle, spread = _centred(found.low, found.high, size)
    steep = np.maximum(np.abs(found.slope_low), np.abs(found.slope_high))
    spread = spread + np.where(steep > 0, 2 * UNIT * steep * arg.magnitude(), 0.0)
    range_ = Ball.interval(below, above)
    if balls.unit != UNIT:
        own = float32_error(arg, range_)
        range_ = Ball(range_.mid, (range_.rad + own) * _MORE)
        spread = spread + own * _MORE

    def pull(rows_low: Array, rows_high: Array) -> list[tuple[int, Array, Array]]:
        slope = found.slope_low[:, None]
        if found.parallel:
            part = rows_low * slope
            return [(node.arg, part, part if rows_low is rows_high else rows_high * slope)]
        other = found.slope_high[:, None]
        return [
            (
                node.arg,
                rows_low * np.where(rows_low > 0, slope, other),
                rows_high * np.where(rows_high > 0, other, slope),
            )
        ]

    return Step(range_, middle, spread, pull)


def _product(node: ir.Product, left: Ball, right: Ball, balls: Balls) -> Step:
    ins, out = node.subscripts.split("->")
    first, second = ins.split(",")
    sizes = dict(zip(first, left.shape[1:], strict=True))
    sizes.update(zip(second, right.shape[1:], strict=True))
    total = math.prod(sizes.values())
    count = max(left.shape[0], right.shape[0])

    def full(x: Array) -> Array:
        return np.broadcast_to(x, (count, *x.shape[1:]))

    def contracted(x: Array, y: Array) -> Array:
        text = f"Z{first},Z{second}->Z{out}"
        return np.asarray(np.einsum(text, full(x), full(y), optimize=True))

    middle = -contracted(left.mid, right.mid)
    size = contracted(left.magnitude(), right.magnitude())
    spread = contracted(left.rad, right.rad) * (1 + gamma(total + 8))
    spread = spread + 6 * gamma(2 * total + 16) * size + TINY
    if balls.unit != UNIT:
        spread = spread + gamma(total + 2, balls.unit) * size * 1.0625

    def side(rows: Array, own: str, other: str, value: Array) -> Array:
        value = full(value) if rows.shape[0] == 1 or value.shape[0] != 1 else value
        value = np.broadcast_to(value, (max(rows.shape[0], value.shape[0]), *value.shape[1:]))
        rows = np.broadcast_to(rows, (value.shape[0], *rows.shape[1:]))
        lost = [letter for letter in own if letter not in out and letter not in other]
        ones = [np.ones(sizes[letter]) for letter in lost]
        text = ",".join([f"ZK{out}", f"Z{other}", *lost])
        return np.asarray(np.einsum(f"{text}->ZK{own}", rows, value, *ones, optimize=True))

    def pull(rows_low: Array, rows_high: Array) -> list[tuple[int, Array, Array]]:
        found = []
        for arg, own, other, value in (
            (node.left, first, second, right.mid),
            (node.right, second, first, left.mid),
        ):
            part = side(rows_low, own, other, value)
            same = rows_low is rows_high
            found.append((arg, part, part if same else side(rows_high, own, other, value)))
        return found

    return Step(balls.product(node, left, right), middle, spread, pull)


def _groups(node: ir.Maximum, value: Array) -> Array:
    """Return the entries as ``(B, *shape, members)``."""
    axes = tuple(axis + 1 for axis in node.axes)
    kept = [k for k in range(value.ndim) if k not in axes]
    moved = value.transpose([*kept, *axes])
    return moved.reshape(*moved.shape[: len(kept)], -1)


def _maximum(node: ir.Maximum, arg: Ball, balls: Balls) -> Step:
    low, high = _groups(node, arg.lower), _groups(node, arg.upper)
    best = low.argmax(axis=-1)
    members = low.shape[-1]
    chosen = np.arange(members) == best[..., None]
    floor = low.max(axis=-1)
    others = np.where(chosen, -np.inf, high)
    second = others.argmax(axis=-1)
    # b + max(a - b, 0) with a the strongest rival: d = a - b in [-down, up]
    own_high = np.take_along_axis(high, best[..., None], -1)[..., 0]
    rival_low = np.take_along_axis(low, second[..., None], -1)[..., 0]
    up = np.maximum(others.max(axis=-1) - floor, 0.0) * _MORE
    down = np.maximum(own_high - rival_low, 0.0) * _MORE
    alone = ((others > floor[..., None]).sum(axis=-1) <= 1) & (up > 0) & np.isfinite(down)
    share = np.where(alone, up / np.where(alone, up + down, 1.0), 0.0)
    share = np.clip(share, 0.0, 1.0)
    # max(d, 0) - share d <= max(share down, (1 - share) up)
    top = np.where(alone, np.maximum(share * down, (1 - share) * up) * _MORE, up)
    rival = (np.arange(members) == second[..., None]) & alone[..., None]
    weights = np.where(chosen, 1 - share[..., None], np.where(rival, share[..., None], 0.0))
    middle, spread = _centred(np.zeros_like(top), top, math.prod(node.shape))
    size = _groups(node, arg.magnitude())
    size = np.where(chosen | rival, size, 0.0).max(axis=-1)
    spread = spread + 8 * UNIT * size
    kept = [k for k in range(len(arg.shape) - 1) if k not in node.axes]
    order = [*kept, *node.axes]
    sizes = tuple(arg.shape[k + 1] for k in order)
    back = [0, 1, *(int(k) + 2 for k in np.argsort(order))]

    def one(rows: Array) -> Array:
        grown = rows[..., None] * weights[:, None]
        return np.asarray(grown.reshape(*grown.shape[:2], *sizes).transpose(back))

    def pull(rows_low: Array, rows_high: Array) -> list[tuple[int, Array, Array]]:
        part = one(rows_low)
        return [(node.arg, part, part if rows_low is rows_high else one(rows_high))]

    return Step(balls.maximum(node, arg), middle, spread, pull)


def _select(node: ir.Select, args: Sequence[Ball], balls: Balls) -> Step:
    test, yes, no = args
    true, false = decide(node.relation, test)
    range_ = balls.select(node, test, yes, no)
    open_ = ~(true | false)
    low, high = np.where(open_, range_.lower, 0.0), np.where(open_, range_.upper, 0.0)
    middle, spread = _centred(low, high, math.prod(node.shape))
    taken, left = true.astype(np.float64), (false & ~true).astype(np.float64)

    def pull(rows_low: Array, rows_high: Array) -> list[tuple[int, Array, Array]]:
        found = []
        for arg, mask in ((node.yes, taken), (node.no, left)):
            part = rows_low * mask[:, None]
            same = rows_low is rows_high
            found.append((arg, part, part if same else rows_high * mask[:, None]))
        return found

    return Step(range_, middle, np.where(open_, spread, 0.0), pull)


def _softmax(node: ir.Softmax, arg: Ball, balls: Balls) -> Step:
    axis = node.axis + 1
    count = arg.shape[axis]
    low, high = softmax_range(arg.lower, arg.upper, axis)
    range_ = balls.softmax(node, arg)
    point = Balls().softmax(node, Ball.point(arg.mid))
    share = Ball.interval(np.moveaxis(low, axis, -1), np.moveaxis(high, axis, -1))
    eye = np.eye(count)
    if node.log:
        slope = Ball(
            eye - share.mid[..., None, :],
            np.broadcast_to(share.rad[..., None, :] + 2 * UNIT, (*share.shape, count)),
        )
    else:
        # y_i (delta_ij - y_j); on the diagonal y_i - y_i^2 with the same y_i
        rows, columns = share[..., :, None], share[..., None, :]
        slope = rows * (Ball.point(eye) - columns)
    middle_arg = np.moveaxis(arg.mid, axis, -1)
    reach = np.moveaxis(arg.rad, axis, -1)
    size = np.abs(middle_arg) + reach
    jacobian = slope.mid
    moved = np.einsum("...ij,...j->...i", jacobian, middle_arg)
    value = np.moveaxis(point.mid, axis, -1)
    middle = value - moved
    width = np.einsum("...ij,...j->...i", slope.rad, reach) * (1 + gamma(count + 8))
    pad = 6 * gamma(count + 16) * np.einsum("...ij,...j->...i", np.abs(jacobian) + slope.rad, size)
    width = width + pad + (np.moveaxis(point.rad, axis, -1) + 4 * UNIT * np.abs(value)) * _MORE
    flat = np.moveaxis(range_.rad, axis, -1)
    worse = ~(width < flat)
    jacobian = np.where(worse[..., None], 0.0, jacobian)
    middle = np.where(worse, np.moveaxis(range_.mid, axis, -1), middle)
    width = np.where(worse, flat, width)
    total = math.prod(node.shape)
    middle = np.moveaxis(middle, -1, axis)
    spread = np.moveaxis(width, -1, axis) * (1 + gamma(total + 8))
    spread = spread + gamma(total + 8) * np.abs(middle) + TINY
    if balls.unit == UNIT32:
        spread = spread + np.maximum(range_.rad - Balls().softmax(node, arg).rad, 0.0) * _MORE
        spread = spread + gamma(count + 16, UNIT32) * range_.magnitude()

    def one(rows: Array) -> Array:
        moved = np.moveaxis(rows, axis + 1, -1)
        found = np.einsum("zk...i,z...ij->zk...j", *_paired(moved, jacobian), optimize=True)
        return np.asarray(np.moveaxis(found, -1, axis + 1))

    def pull(rows_low: Array, rows_high: Array) -> list[tuple[int, Array, Array]]:
        part = one(rows_low)
        return [(node.arg, part, part if rows_low is rows_high else one(rows_high))]

    return Step(range_, middle, spread, pull)


def _paired(rows: Array, value: Array) -> tuple[Array, Array]:
    count = max(rows.shape[0], value.shape[0])
    return (
        np.broadcast_to(rows, (count, *rows.shape[1:])),
        np.broadcast_to(value, (count, *value.shape[1:])),
    )
