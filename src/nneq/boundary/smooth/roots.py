"""From a run with exactly one root to a tight, proven enclosure; all runs of all lines together."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from nneq.semantics.ball import UNIT
from nneq.semantics.slices import Slices

__all__ = ["bracketed", "enclose"]

Array = np.ndarray[Any, Any]
Function = Callable[[Array, Array], Array]

_STEPS = 60
_TRIES = 12


def bracketed(function: Function, low: Array, high: Array, rising: Array) -> Array:
    """Return float64 roots inside brackets, by safeguarded inverse interpolation (Chandrupatla).

    Args:
        function: ``function(places, t)``: float64 values of the brackets ``places`` at ``t``.
        low: left ends, shape ``(R,)``.
        high: right ends.
        rising: whether the function goes from negative to positive; shape ``(R,)``.

    Guarantee: numerical; the results lie inside the brackets.

    References:
        Chandrupatla 1997, Advances in Engineering Software 28, 145.
    """
    flip = np.where(rising, 1.0, -1.0)

    def g(places: Array, t: Array) -> Array:
        return np.asarray(function(places, t) * flip[places])

    count = len(low)
    everyone = np.arange(count)
    a, b = high.astype(np.float64).copy(), low.astype(np.float64).copy()
    ends = g(np.concatenate((everyone, everyone)), np.concatenate((a, b)))
    fa, fb = np.maximum(ends[:count], 0.0), np.minimum(ends[count:], 0.0)
    c, fc = a.copy(), fa.copy()
    with np.errstate(all="ignore"):
        share = np.clip(np.nan_to_num(fa / (fa - fb), nan=0.5), 0.01, 0.99)
        noise = 2 * UNIT * np.maximum(fa, -fb)
    live = everyone
    result = 0.5 * a + 0.5 * b
    for _ in range(_STEPS):
        if not len(live):
            break
        t = a[live] + share[live] * (b[live] - a[live])
        ft = g(live, t)
        same = np.sign(ft) == np.sign(fa[live])
        i, j = live[same], live[~same]
        c[i], fc[i] = a[i], fa[i]
        c[j], fc[j] = b[j], fb[j]
        b[j], fb[j] = a[j], fa[j]
        a[live], fa[live] = t, ft
        best = np.abs(fa[live]) < np.abs(fb[live])
        result[live] = np.where(best, a[live], b[live])
        width = np.abs(b[live] - a[live])
        tolerance = 2 * UNIT * np.abs(result[live]) + 1e-300
        done = (width <= 4 * tolerance) | (
            np.minimum(np.abs(fa[live]), np.abs(fb[live])) <= noise[live]
        )
        with np.errstate(all="ignore"):
            xi = (a[live] - b[live]) / (c[live] - b[live])
            phi = (fa[live] - fb[live]) / (fc[live] - fb[live])
            inverse = (phi**2 < xi) & ((1 - phi) ** 2 < 1 - xi)
            step = fa[live] / (fb[live] - fa[live]) * fc[live] / (fb[live] - fc[live]) + (
                c[live] - a[live]
            ) / (b[live] - a[live]) * fa[live] / (fc[live] - fa[live]) * fb[live] / (
                fc[live] - fb[live]
            )
            floor = tolerance / np.where(width > 0, width, 1.0)
        step = np.where(inverse & np.isfinite(step), step, 0.5)
        share[live] = np.clip(step, floor, 1 - floor)
        live = live[~done]
    return np.clip(result, low, high)


def enclose(
    slices: Slices,
    line: Array,
    low: Array,
    high: Array,
    guess: Array,
    fuzz: Array | None = None,
) -> tuple[Array, Array, Array]:
    """Return proven enclosures of the one root in every run ``[low, high]``.

    One interval Newton step on a small box around the guess: when its image lies inside the box
    and inside the run, the run's only root is in the image.  A run for which no box works keeps
    itself as the enclosure.

    Args:
        slices: the network on its lines.
        line: which line, shape ``(R,)``.
        low: left ends of the runs.
        high: right ends.
        guess: points inside, near the roots.
        fuzz: float32 statements: how far the executed network may be off anywhere on each run;
            outside its enclosure ``|g|`` is larger than that.

    Returns:
        Lower ends, upper ends, and the ends ``(R, 2)`` of the derivative over each enclosure (NaN
        where it is not known).

    Guarantee: certified, given that every run holds exactly one root.
    """
    below, above = low.copy(), high.copy()
    slopes = np.full((len(line), 2), np.nan)
    live = np.arange(len(line))
    delta = 1e-10 * np.maximum(np.abs(guess), 1.0)
    for _ in range(_TRIES):
        if not len(live):
            break
        half = delta[live] * (1 + 4 * UNIT)
        arithmetic, (jet,) = slices.jets(line[live], guess[live, None], half[:, None])
        with np.errstate(all="ignore"):
            (steep,) = arithmetic.slopes(jet)
            value = jet.mid[0].reshape(-1)
            error = jet.rad[0].reshape(-1)
            if fuzz is not None:
                error = error + fuzz[live]
            slow = steep.lower.reshape(-1)
            fast = steep.upper.reshape(-1)
            least = np.where(slow > 0, slow, np.where(fast < 0, -fast, np.nan))
            most = np.where(slow > 0, fast, -slow)
            sign = np.where(slow > 0, 1.0, -1.0)
            first, second = sign * (-value - error), sign * (-value + error)
            bottom = np.minimum(first, second)
            top = np.maximum(first, second)
            left = np.where(bottom < 0, bottom / least, bottom / most)
            right = np.where(top > 0, top / least, top / most)
            slack = 8 * UNIT * (np.maximum(np.abs(left), np.abs(right)) + np.abs(guess[live]))
            left, right = left - slack, right + slack
            reach = np.maximum(np.abs(left), np.abs(right))
            fits = (
                (reach < half)
                & (guess[live] + left >= low[live])
                & (guess[live] + right <= high[live])
            )
        found = live[fits]
        below[found] = guess[found] + left[fits]
        above[found] = guess[found] + right[fits]
        slopes[found, 0], slopes[found, 1] = slow[fits], fast[fits]
        # too small for the error of the value, or too large: for the slope, or for the run
        wider = np.isfinite(reach) & (reach >= half)
        delta[live] = np.where(wider, 1.5 * reach, 2.0**-8 * delta[live])
        live = live[~fits]
    return below, above, slopes
