r"""Sets of inputs on which linear functions have proven ranges: boxes, balls and their overlap.

On a box :math:`|x - c| \le h` a linear function :math:`\lambda x` lies within
:math:`\lambda c \pm |\lambda| h`; on a ball of radius ``r`` within
:math:`\lambda c \pm r \|\lambda\|_*` with the dual norm.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from nneq.semantics.ball import TINY, UNIT, gamma

__all__ = ["Domain", "Norm", "around", "lengths"]

Array = np.ndarray[Any, Any]
Norm = Literal["l2", "linf", "l1"]


def lengths(steps: Array, order: float) -> Array:
    """Return the norms of the rows of ``(..., n)``, also where squares would not be floats.

    Args:
        steps: shape ``(..., n)``.
        order: 1, 2 or infinity.

    Guarantee: right to ``n + 8`` units of the last place, or to the least positive float.
    """
    if order != 2:
        return np.asarray(np.linalg.norm(steps, ord=order, axis=-1))
    _, exponent = np.frexp(np.abs(steps).max(axis=-1, initial=0.0))
    scaled = np.ldexp(steps, -exponent[..., None])
    return np.asarray(np.ldexp(np.sqrt((scaled * scaled).sum(axis=-1)), exponent))


def around(x: Array, radius: float) -> tuple[Array, Array]:
    """Return the ends of a box that holds every point at most ``radius`` from ``x``."""
    pad = 2 * UNIT * (np.abs(x) + radius)
    return x - radius - pad, x + radius + pad


@dataclass(frozen=True, eq=False)
class Domain:
    """A batch of boxes; with ``radius``, of overlaps of a box and a ball.

    Args:
        center: centres of the boxes, shape ``(B, n)``.
        reach: half-widths, shape ``(B, n)``.
        middle: centres of the balls, shape ``(B, n)`` (or ``(1, n)``); None: boxes only.
        radius: radii, shape ``(B,)``.
        norm: ``l2`` or ``l1``; a ball of ``linf`` is a box.
        way: unit vectors ``(B, n)``: the sets are cylinders around ``center`` along them, and
            ``radius`` is that of their round side.
        length: half-lengths of the cylinders, shape ``(B,)``.
        ends: the boxes as ``(low, high)`` where some ends are infinite (``reach`` is then too).
    """

    center: Array
    reach: Array
    middle: Array | None = None
    radius: Array | None = None
    norm: Norm = "l2"
    ends: tuple[Array, Array] | None = None
    way: Array | None = None
    length: Array | None = None

    @staticmethod
    def box(low: Array, high: Array) -> Domain:
        """Return the boxes ``[low, high]``, shapes ``(B, n)``."""
        with np.errstate(invalid="ignore"):
            center = 0.5 * low + 0.5 * high
        center = np.where(np.isfinite(center), center, 0.0)  # infinite ends: everything
        reach = np.maximum(high - center, center - low)
        reach = np.where(low == high, 0.0, reach * (1 + 4 * UNIT) + TINY)
        ends = None if np.isfinite(reach).all() else (low, high)
        return Domain(center, reach, ends=ends)

    @staticmethod
    def ball(center: Array, radius: Array, norm: Norm) -> Domain:
        """Return the balls of ``radius`` ``(B,)`` around ``center`` ``(B, n)``."""
        reach = np.broadcast_to(radius[:, None], center.shape)
        if norm == "linf":
            return Domain(center, reach)
        return Domain(center, reach, center, radius, norm)

    @staticmethod
    def cylinders(center: Array, way: Array, length: Array, radius: Array) -> Domain:
        r"""Return the sets ``center + t way + y``, ``|t| <= length``, ``y`` normal to ``way``.

        Args:
            center: shape ``(B, n)``.
            way: unit vectors up to rounding, shape ``(B, n)``.
            length: half-lengths, shape ``(B,)``.
            radius: bounds of the euclidean norm of ``y``, shape ``(B,)``.
        """
        reach = np.abs(way) * length[:, None] + radius[:, None]
        reach = reach * (1 + 8 * UNIT) + TINY
        return Domain(center, reach, None, radius, "l2", None, way, length)

    @property
    def count(self) -> int:
        """The number of sets."""
        return int(self.center.shape[0])

    def __getitem__(self, key: Any) -> Domain:
        if self.way is not None and self.length is not None and self.radius is not None:
            parts = (self.center[key], self.way[key], self.length[key], self.radius[key])
            return Domain.cylinders(*parts)
        if self.middle is None or self.radius is None:
            ends = None if self.ends is None else (self.ends[0][key], self.ends[1][key])
            return Domain(self.center[key], self.reach[key], ends=ends)
        middle = self.middle if self.middle.shape[0] == 1 else self.middle[key]
        return Domain(self.center[key], self.reach[key], middle, self.radius[key], self.norm)

    def magnitude(self) -> Array:
        """Return an upper bound of ``|x|``, shape ``(B, n)``."""
        return (np.abs(self.center) + self.reach) * (1 + 4 * UNIT)

    def span(self, rows: Array) -> tuple[Array, Array]:
        """Return proven ends of ``rows @ x``.

        Args:
            rows: shape ``(B, K, n)`` or ``(1, K, n)``.

        Returns:
            Two arrays ``(B, K)``.
        """
        size = np.abs(rows)
        slack = 2 * gamma(rows.shape[-1] + 8)
        middle = _dot(rows, self.center)
        spread = _dot(size, self.reach * (1 + slack) + slack * np.abs(self.center)) + TINY
        low, high = middle - spread, middle + spread
        if self.middle is not None and self.radius is not None:
            dual = size.max(axis=-1) if self.norm == "l1" else _norm2(rows)
            middle = _dot(rows, self.middle)
            spread = self.radius[:, None] * dual * (1 + slack)
            spread = spread + slack * _dot(size, np.abs(self.middle)) + TINY
            low, high = np.fmax(low, middle - spread), np.fmin(high, middle + spread)
            if self._is_cut:
                low, high = np.fmax(low, -self._most(-rows)), np.fmin(high, self._most(rows))
        if self.way is not None and self.length is not None and self.radius is not None:
            side = self._side(rows)
            spread = side * (1 + slack) + slack * _dot(size, np.abs(self.center)) + TINY
            low, high = np.fmax(low, middle - spread), np.fmin(high, middle + spread)
        pad = 4 * UNIT
        return low - pad * np.abs(low), high + pad * np.abs(high)

    @property
    def _is_cut(self) -> bool:
        """Whether a box cuts its ball, so that both together say more than each alone."""
        return self.radius is not None and bool((self.reach < self.radius[:, None]).any())

    def _most(self, rows: Array) -> Array:
        r"""Return upper bounds of ``rows @ x`` over box and ball together, ``(B, K)``.

        Weak duality: for every :math:`\mu \ge 0` and :math:`d = x - m` in the box

        .. math:: \lambda d \le \mu U^p + \sum_i \max_{d_i} (\lambda_i d_i - \mu |d_i|^p),

        with ``p = 1`` or 2; the :math:`\mu` tried is the best one up to rounding.
        """
        if self.middle is None or self.radius is None:
            msg = "these sets are no overlaps with balls"
            raise TypeError(msg)
        pad = 4 * UNIT * (np.abs(self.center) + self.reach + np.abs(self.middle))
        low = (self.center - self.reach - self.middle - pad)[:, None]
        high = (self.center + self.reach - self.middle + pad)[:, None]
        # in units of the radius, whose square need not be a float
        with np.errstate(all="ignore"):
            scale = self.radius[:, None, None]
            low = low / scale - 2 * UNIT * np.abs(low / scale)
            high = high / scale + 2 * UNIT * np.abs(high / scale)
            across, rows = rows, rows * scale
            total, error = self._dual(rows, low, high)
        middle = np.broadcast_to(self.middle, self.center.shape)
        total = total + _dot(across, middle)
        error = error + _dot(np.abs(across), np.abs(middle))
        total = total + 4 * gamma(rows.shape[-1] + 16) * error + rows.shape[-1] * TINY
        return np.where(np.isnan(total), np.inf, total)

    def _dual(self, rows: Array, low: Array, high: Array) -> tuple[Array, Array]:
        """Return the dual bound over box and unit ball, and the size of its terms."""
        radius = np.ones((1, 1, 1))
        size = np.abs(rows)
        if self.norm == "l1":
            price, power = _knapsack_price(rows, size, low, high, radius), 1
            place = np.clip(0.0, low, high)
            far = np.where(rows > 0, high, low)
            place = np.where(size > price, far, place)
        else:
            price, power = _quadratic_price(rows, size, low, high, radius), 2
            with np.errstate(all="ignore"):
                place = np.clip(np.nan_to_num(rows / (2 * price)), low, high)
        gain, cost = rows * place, price * np.abs(place) ** power
        total = (gain - cost).sum(axis=-1) + price[..., 0]
        error = (size * np.abs(place) + cost).sum(axis=-1) + price[..., 0]
        return total, error

    def _side(self, rows: Array) -> Array:
        """Return bounds of ``|rows @ (x - center)|`` on cylinders, ``(B, K)``."""
        if self.way is None or self.length is None or self.radius is None:
            msg = "these sets are not cylinders"
            raise TypeError(msg)
        along = _dot(rows, self.way)
        whole = _norm2(rows)
        # the part of a row across the way: |w|^2 - (w v)^2 / |v|^2, rounded up
        slack = 1e-13 + 8 * gamma(rows.shape[-1] + 16)
        error = slack * whole * whole
        across = np.sqrt(np.maximum(whole * whole - along * along + error, 0.0))
        return np.asarray(
            (np.abs(along) + slack * whole) * self.length[:, None]
            + across * (1 + 8 * UNIT) * self.radius[:, None]
        )


def _knapsack_price(rows: Array, size: Array, low: Array, high: Array, radius: Array) -> Array:
    """Return what a unit of the ``l1`` radius is worth: the radius goes to the steepest inputs."""
    nearest = np.clip(0.0, low, high)
    room = np.where(rows > 0, high - nearest, nearest - low)
    order = np.argsort(-size, axis=-1)
    used = np.cumsum(np.take_along_axis(room, order, axis=-1), axis=-1)
    used = used + np.abs(nearest).sum(axis=-1, keepdims=True)
    last = (used >= radius).argmax(axis=-1)[..., None]
    price = np.take_along_axis(np.take_along_axis(size, order, axis=-1), last, axis=-1)
    return np.where(used[..., -1:] >= radius, price, 0.0)


def _quadratic_price(rows: Array, size: Array, low: Array, high: Array, radius: Array) -> Array:
    """Return (numerically) the multiplier of the squared radius."""
    price = _norm2(rows)[..., None] / (2 * radius)
    with np.errstate(all="ignore"):
        for _ in range(4):
            place = rows / (2 * price)
            held = (place <= low) | (place >= high)
            fixed = np.where(held, np.clip(place, low, high), 0.0)
            free = np.where(held, 0.0, size)
            left = radius**2 - (fixed * fixed).sum(axis=-1, keepdims=True)
            new = np.sqrt((free * free).sum(axis=-1, keepdims=True) / (4 * left))
            price = np.where(np.isfinite(new) & (left > 0) & (new > 0), new, price)
    return np.where(np.isfinite(price), price, 0.0)


def _norm2(rows: Array) -> Array:
    top = np.abs(rows).max(axis=-1, keepdims=True)
    scale = np.where(top > 0, top, 1.0)
    scaled = rows / scale
    total = np.sqrt(np.einsum("zkn,zkn->zk", scaled, scaled)) * scale[..., 0]
    return np.asarray(total * (1 + gamma(rows.shape[-1] + 16)) + rows.shape[-1] * TINY)


def _dot(rows: Array, vector: Array) -> Array:
    return np.asarray(np.matmul(rows, vector[:, :, None])[..., 0])
