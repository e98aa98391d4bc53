r"""Mid-radius float64 arithmetic with proven rounding errors.

A :class:`Ball` is a pair of float64 arrays ``(mid, rad)`` of one shape ``(S, *shape)`` and stands
for all reals ``x`` with ``|x - mid| <= rad``; a NaN or an infinite radius means "nothing is
known", so that every comparison with it is undecided.

Rounding is to nearest (:mod:`nneq.semantics.rounding` refuses other modes); nothing rests on the
order in which BLAS sums.  With ``u = 2**-53`` and :math:`\gamma_n = nu/(1-nu)`, a computed product
:math:`L m` with at most ``n`` products per entry differs from the exact one by at most
:math:`\gamma_n |L||m|`, in any order of summation and with or without fused multiply-add (Higham
2002, section 3.1); radii are sums of non-negative numbers and are enlarged by the same factor.
``TINY`` covers underflow, gradual or flushed to zero.
Library functions are trusted to ``LIBM`` relative (16 units in the last place; the measured worst
is below 4), which tests hold against ball arithmetic of arbitrary precision.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from nneq.ir.forward import forward
from nneq.semantics.rounding import require_nearest

if TYPE_CHECKING:
    from nneq.ir.linear_map import LinearMap
    from nneq.ir.network import (
        Affine,
        Constant,
        Elementwise,
        Maximum,
        Network,
        Product,
        Select,
        Softmax,
    )

__all__ = [
    "LIBM",
    "TINY",
    "UNIT",
    "UNIT32",
    "Ball",
    "Balls",
    "affine",
    "ball_evaluate",
    "contract",
    "decide",
    "float32_error",
    "gamma",
    "linear",
    "log_softmax",
    "softmax_range",
]

Array = np.ndarray[Any, Any]

UNIT = 2.0**-53
UNIT32 = 2.0**-24
TINY = 1e-300
LIBM = 16 * UNIT
_UP = 1.0 + 16 * UNIT


def gamma(count: int, unit: float = UNIT) -> float:
    """Return an upper bound of ``count*unit/(1 - count*unit)``; infinite when that is undefined."""
    total = count * unit
    return total / (1.0 - total) * _UP if total < 0.5 else np.inf


@dataclass(slots=True, eq=False)
class Ball:
    """All reals within ``rad`` of ``mid``, entrywise.

    Args:
        mid: any shape.
        rad: the same shape, non-negative; NaN or inf: nothing is known.
    """

    mid: Array
    rad: Array

    __array_ufunc__ = None

    @property
    def lower(self) -> Array:
        """A proven lower end."""
        with np.errstate(all="ignore"):
            return np.asarray(_down(self.mid - self.rad))

    @property
    def upper(self) -> Array:
        """A proven upper end."""
        with np.errstate(all="ignore"):
            return np.asarray(_up(self.mid + self.rad))

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of both arrays."""
        found: tuple[int, ...] = self.mid.shape
        return found

    def magnitude(self) -> Array:
        """Return an upper bound of ``|x|``."""
        return (np.abs(self.mid) + self.rad) * _UP

    def __getitem__(self, key: Any) -> Ball:
        return Ball(self.mid[key], self.rad[key])

    def reshape(self, *shape: int) -> Ball:
        """Return the same entries under another shape."""
        return Ball(self.mid.reshape(*shape), self.rad.reshape(*shape))

    @staticmethod
    def point(value: Any) -> Ball:
        """Return the exact float64 numbers ``value``."""
        mid = np.asarray(value, dtype=np.float64)
        return Ball(mid, np.zeros(mid.shape))

    @staticmethod
    def interval(low: Array, high: Array) -> Ball:
        """Return the smallest ball in sight that holds ``[low, high]``."""
        same = low == high
        mid = np.where(same, low, 0.5 * low + 0.5 * high)
        rad = np.maximum(high - mid, mid - low) * _UP + TINY
        return Ball(mid, np.where(same, 0.0, rad))

    @staticmethod
    def stack(balls: Sequence[Ball]) -> Ball:
        """Return the balls along a new first axis."""
        return Ball(np.stack([b.mid for b in balls]), np.stack([b.rad for b in balls]))

    def __neg__(self) -> Ball:
        return Ball(-self.mid, self.rad)

    def __add__(self, other: Any) -> Ball:
        b = _ball(other)
        mid = self.mid + b.mid
        return Ball(mid, (self.rad + b.rad + UNIT * np.abs(mid)) * _UP)

    __radd__ = __add__

    def __sub__(self, other: Any) -> Ball:
        return self + (-_ball(other))

    def __rsub__(self, other: Any) -> Ball:
        return _ball(other) + (-self)

    def __mul__(self, other: Any) -> Ball:
        b = _ball(other)
        mid = self.mid * b.mid
        rad = np.abs(self.mid) * b.rad + self.rad * (np.abs(b.mid) + b.rad) + UNIT * np.abs(mid)
        return Ball(mid, rad * _UP + TINY)

    __rmul__ = __mul__

    def inverse(self) -> Ball:
        """Return ``1/x``; nothing is known where the ball holds 0."""
        mid = 1.0 / self.mid
        size = np.abs(self.mid)
        low = size - self.rad * _UP
        low = np.where(low > 2 * UNIT * size, low * (1 - 4 * UNIT), np.nan)
        return Ball(mid, (self.rad / low * np.abs(mid) + 2 * UNIT * np.abs(mid)) * _UP + TINY)

    def __truediv__(self, other: Any) -> Ball:
        if isinstance(other, int | float) and float(other) == other and _is_power_of_two(other):
            return self * (1.0 / other)
        return self * _ball(other).inverse()

    def __rtruediv__(self, other: Any) -> Ball:
        return _ball(other) * self.inverse()

    def __pow__(self, exponent: int) -> Ball:
        if exponent != int(exponent):
            msg = "a ball is raised to integer powers only; use BallFunctions.power"
            raise TypeError(msg)
        if exponent < 0:
            return (self ** (-exponent)).inverse()
        result = Ball(np.ones(self.shape), np.zeros(self.shape))
        for _ in range(int(exponent)):
            result = result * self
        return result


def _is_power_of_two(value: float) -> bool:
    return bool(np.frexp(abs(value))[0] == 0.5)


def _ball(value: Any) -> Ball:
    return value if isinstance(value, Ball) else Ball.point(value)


def _down(value: Array) -> Array:
    return value - (np.abs(value) * (2 * UNIT) + TINY)


def _up(value: Array) -> Array:
    return value + (np.abs(value) * (2 * UNIT) + TINY)


def linear(
    map_: LinearMap, mid: Array, rad: Array, *, unit: float = UNIT, zeros: bool = False
) -> tuple[Array, Array]:
    """Return ``(mid, rad)`` of the map applied to a batch of balls, stage by stage.

    Args:
        map_: the linear map.
        mid: shape ``(S, *in_shape)``.
        rad: the same shape.
        unit: the unit roundoff of the statement: ``UNIT``, or ``UNIT32`` for a map executed in
            float32 in any order of summation.
        zeros: find the entries that are exactly 0 (zero rows, zero arguments), whose radius is
            then 0; one more product where there may be some.

    Guarantee: certified.
    """
    for stage in map_.stages():
        fan = stage.fan_in
        if fan == 0:
            mid, rad = stage.apply(mid), stage.apply_abs(rad)
            continue
        size = np.abs(mid)
        out = stage.apply_abs(rad + gamma(fan + 2, unit) * size)
        rad_out = out * (1.0 + 2 * gamma(fan + 8)) + TINY
        if zeros and not out.all():
            # a sum that is 0 in float64 may have underflowed
            live = stage.apply_abs(((size + rad) != 0).astype(np.float64)) != 0
            rad_out = np.where(live, rad_out, 0.0)
        mid, rad = stage.apply(mid), rad_out
    return mid, rad


def affine(node: Affine, args: Sequence[Ball], *, unit: float = UNIT) -> Ball:
    """Return the affine node's ball for batches of balls ``(S, *shape)``."""
    total: Ball | None = None
    for term, value in zip(node.terms, args, strict=True):
        part = Ball(*linear(term.map, value.mid, value.rad, unit=unit))
        total = part if total is None else _sum(total, part, unit)
    if node.bias is not None:
        bias = Ball.point(np.broadcast_to(node.bias, node.shape)[None])
        total = bias if total is None else _sum(total, bias, unit)
    if total is None:
        return Ball(np.zeros((1, *node.shape)), np.zeros((1, *node.shape)))
    return total


def _sum(a: Ball, b: Ball, unit: float) -> Ball:
    mid = a.mid + b.mid
    slack = np.abs(mid) if unit == UNIT else np.abs(a.mid) + np.abs(b.mid) + a.rad + b.rad
    return Ball(mid, (a.rad + b.rad + (1.0625 * unit) * slack) * _UP)


def contract(subscripts: str, left: Ball, right: Ball, *, unit: float = UNIT) -> Ball:
    """Return the contraction ``einsum(subscripts, left, right)`` of every sample.

    Args:
        subscripts: as in ``Product``, without the sample axis.
        left: shape ``(S, *left_shape)`` (or ``S = 1``).
        right: shape ``(S, *right_shape)`` (or ``S = 1``).
        unit: the unit roundoff of the statement.
    """
    ins, out = subscripts.split("->")
    first, second = ins.split(",")
    if first == second == out and unit == UNIT:
        return left * right
    count = max(left.shape[0], right.shape[0])
    a, b = (
        Ball(*(np.broadcast_to(v, (count, *v.shape[1:])) for v in (x.mid, x.rad)))
        for x in (left, right)
    )
    sizes = dict(zip(first, a.shape[1:], strict=True)) | dict(zip(second, b.shape[1:], strict=True))
    fan = 1
    for letter in set(first + second) - set(out):
        fan *= sizes[letter]
    text = f"Z{first},Z{second}->Z{out}"

    def product(x: Array, y: Array) -> Array:
        found: Array = np.einsum(text, x, y, optimize=True)
        return found

    size_a, size_b = np.abs(a.mid), np.abs(b.mid)
    mid = product(a.mid, b.mid)
    rad = product(size_a, b.rad + gamma(fan + 2, unit) * size_b) + product(a.rad, size_b + b.rad)
    return Ball(mid, rad * (1.0 + 2 * gamma(fan + 8)) + TINY)


def softmax_range(low: Array, high: Array, axis: int) -> tuple[Array, Array]:
    """Return proven ends of the softmax over ``axis`` for logits in ``[low, high]``.

    Entry ``i`` is smallest at its own lower and the others' upper ends.
    """
    with np.errstate(all="ignore"):
        return _softmax_end(low, high, axis, -1.0), _softmax_end(high, low, axis, 1.0)


def _softmax_end(own: Array, others: Array, axis: int, sign: float) -> Array:
    count = own.shape[axis]
    top = np.maximum(own.max(axis=axis, keepdims=True), others.max(axis=axis, keepdims=True))
    mine, theirs = np.exp(own - top), np.exp(others - top)
    total = theirs.sum(axis=axis, keepdims=True)
    rest = total - theirs
    # exact subtraction is not available: sum the others directly where cancellation is possible
    if count <= 64:
        moved = np.moveaxis(theirs, axis, -1)
        rest = np.moveaxis(moved @ (1.0 - np.eye(count)), -1, axis)
        error = 0.0
    else:
        error = gamma(2 * count + 16) * 2
    slack = (LIBM + gamma(count + 8)) * 4
    # own - top is rounded: its error is relative to the exponent's size
    shift = 4 * UNIT * np.maximum(np.abs(own - top), np.abs(others - top).max(axis, keepdims=True))
    rest = np.maximum(rest - sign * error * total, 0.0)
    share = mine / (mine + rest)
    width = (slack + 2 * shift) * share + TINY
    # below the range of exp nothing is known about this entry
    share = np.where(mine + rest > 1e-250, share + sign * width, 0.5 + sign)
    return np.asarray(np.clip(share, 0.0, 1.0))


class Balls:
    """What the node kinds mean for balls: every value holds the node's range over the inputs.

    Args:
        precision: ``"real"``, or ``"float32"``: the ball also holds what the node gives when it
            is executed in float32 in any order of summation, from inputs rounded to float32.
    """

    def __init__(self, precision: str = "real") -> None:
        """Choose the statement."""
        require_nearest()
        self.unit = UNIT32 if precision == "float32" else UNIT

    def constant(self, node: Constant) -> Ball:
        """Return the exact value."""
        return Ball.point(node.value[None])

    def affine(self, node: Affine, args: Sequence[Ball]) -> Ball:
        """Return the sum of the mapped arguments and the bias."""
        return affine(node, args, unit=self.unit)

    def elementwise(self, node: Elementwise, arg: Ball) -> Ball:
        """Return the range of the activation over the ball."""
        from nneq.semantics.ranges import image

        ball = image(node.rule, node.params, arg)
        if self.unit != UNIT:
            ball = Ball(ball.mid, (ball.rad + float32_error(arg, ball)) * _UP)
        return ball

    def product(self, node: Product, left: Ball, right: Ball) -> Ball:
        """Return the contraction of every sample."""
        return contract(node.subscripts, left, right, unit=self.unit)

    def maximum(self, node: Maximum, arg: Ball) -> Ball:
        """Return the range of the largest entry."""
        axes = tuple(axis + 1 for axis in node.axes)
        return Ball.interval(arg.lower.max(axis=axes), arg.upper.max(axis=axes))

    def select(self, node: Select, test: Ball, yes: Ball, no: Ball) -> Ball:
        """Return the chosen branch, or the hull of both where the test is not decided."""
        true, false = decide(node.relation, test)
        low = np.minimum(np.where(false, np.inf, yes.lower), np.where(true, np.inf, no.lower))
        high = np.maximum(np.where(false, -np.inf, yes.upper), np.where(true, -np.inf, no.upper))
        hull = Ball.interval(low, high)
        return Ball(
            np.where(true, yes.mid, np.where(false, no.mid, hull.mid)),
            np.where(true, yes.rad, np.where(false, no.rad, hull.rad)),
        )

    def softmax(self, node: Softmax, arg: Ball) -> Ball:
        """Return the range of the softmax or of its logarithm."""
        axis = node.axis + 1
        low, high = softmax_range(arg.lower, arg.upper, axis)
        ball = log_softmax(arg, axis) if node.log else Ball.interval(low, high)
        if self.unit != UNIT:
            count = arg.shape[axis] + 16
            spread = gamma(count, self.unit) * (1.0 + arg.magnitude().max(axis, keepdims=True))
            size = 1.0 + ball.magnitude() if node.log else ball.magnitude()
            ball = Ball(ball.mid, (ball.rad + 2 * spread * size) * _UP + 1e-44)
        return ball


def log_softmax(arg: Ball, axis: int) -> Ball:
    """Return the range of ``a_i - log(sum_j exp(a_j))``."""
    low, high = arg.lower, arg.upper
    ends = []
    for own, others, sign in ((low, high, -1.0), (high, low, 1.0)):
        count = own.shape[axis]
        gaps = (
            np.moveaxis(others, axis, -1)[..., None, :] - np.moveaxis(own, axis, -1)[..., :, None]
        )
        gaps[..., np.arange(count), np.arange(count)] = 0.0
        peak = gaps.max(axis=-1, keepdims=True)
        total = np.exp(gaps - peak).sum(axis=-1)
        value = -(peak[..., 0] + np.log(total))
        size = 2 * np.abs(gaps).max(axis=-1) + np.abs(value)
        slack = 8 * LIBM + 4 * gamma(count + 8) + 8 * UNIT * size
        ends.append(np.moveaxis(value + sign * slack, -1, axis))
    return Ball.interval(ends[0], np.minimum(ends[1], 0.0))


def float32_error(arg: Ball, ball: Ball) -> Array:
    """Return what an activation executed in float32 may be off: 8 units of the last place.

    Relative to the value, and to the argument up to 1 where a framework's formula cancels (the
    negative tail of GELU, ``exp(z) - 1``).
    """
    return 8 * UNIT32 * (ball.magnitude() + np.minimum(arg.magnitude(), 1.0)) + 1e-44


def decide(relation: str, test: Ball) -> tuple[Array, Array]:
    """Return where ``test <relation> 0`` is proven true, and where proven false."""
    low, high = test.lower, test.upper
    exact = (test.rad == 0) & (test.mid == 0)
    match relation:
        case ">":
            return low > 0, (high < 0) | exact
        case ">=":
            return (low > 0) | exact, high < 0
        case _:
            return exact, (low > 0) | (high < 0)


def ball_evaluate(
    network: Network, inputs: Sequence[Ball], *, precision: str = "real"
) -> list[Ball]:
    """Return proven ranges of every output for inputs in balls ``(S, *shape)``.

    Guarantee: certified (interval arithmetic; tight for points, pessimistic for wide boxes).
    """
    with np.errstate(all="ignore"):
        if precision == "float32":
            inputs = [Ball(b.mid, (b.rad + UNIT32 * b.magnitude()) * _UP + 1e-44) for b in inputs]
        return [_known(ball) for ball in forward(network, Balls(precision), inputs)]


def _known(ball: Ball) -> Ball:
    bad = ~(np.isfinite(ball.mid) & np.isfinite(ball.rad))
    if bad.any():
        return Ball(np.where(bad, 0.0, ball.mid), np.where(bad, np.inf, ball.rad))
    return ball
