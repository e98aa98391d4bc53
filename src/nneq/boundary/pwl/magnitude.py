"""Whether float64 can hold the numbers of a question, and how fractions beyond it are shown."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np

from nneq.boundary.pwl.spectral import norm_bound
from nneq.boundary.pwl.walk import Program
from nneq.boundary.results import Box
from nneq.ir import network as ir
from nneq.semantics.pattern import split_inputs

__all__ = ["WORDS", "coefficients", "fits_float", "in_range", "rounded"]

Array = np.ndarray[Any, Any]
# Products of four numbers (areas, cross products of differences) stay finite below it.
_LARGE = 1e75
_SMALL = 1e-75
WORDS = (
    "the numbers of this box are beyond the range of float64, and it has too many regions for "
    "rational arithmetic; take a smaller box around the point of interest"
)


def in_range(program: Program, slice_of: tuple[Array, Array], box: Box) -> bool:
    """Whether no number of a float engine can overflow, and no side of the box is too thin.

    Args:
        program: the prepared network.
        slice_of: ``origin`` ``(n,)`` and ``directions`` ``(n, d)``.
        box: of ``d`` sides.

    Guarantee: a bound: the absolute values of all weights are propagated, with coordinates of at
    least 1, so that coefficients of affine forms are bounded as well as their values.
    """
    low, high = np.array(box.low), np.array(box.high)
    far = np.maximum(1.0, np.maximum(np.abs(low), np.abs(high)))
    if float((high - low).min()) < _SMALL or float(far.max()) > _LARGE:
        return False
    origin, directions = slice_of
    with np.errstate(over="ignore"):
        return fits_float(program, np.abs(origin) + np.abs(directions) @ far)


def fits_float(program: Program, size: Array) -> bool:
    """Whether no number of a float engine can overflow for inputs up to ``size`` ``(n,)``.

    Guarantee: a bound, see :func:`in_range`.
    """
    with np.errstate(all="ignore"):
        size = np.asarray(size)[None]
        if not (size <= _LARGE).all():
            return False
        if _bounded(program, split_inputs(program.network, size), entries=True):
            return True
        # In deep networks absolute sums multiply to numbers that no layer ever reaches.
        whole = {k: _norm(v) for k, v in split_inputs(program.network, size).items()}
        return program.deep and _bounded(program, whole, entries=False)


def _bounded(program: Program, live: dict[int, Array], *, entries: bool) -> bool:
    """Whether no tensor can exceed the largest number, entry by entry or in its norm."""
    network = program.network
    for place, node in enumerate(network.nodes):
        match node:
            case ir.Affine():
                args = [live[arg] for arg in node.args]
                live[place] = _sums(node, args) if entries else _norms(node, args)
            case ir.Constant():
                size = np.abs(np.asarray(node.value, dtype=np.float64))[None]
                live[place] = size if entries else _norm(size)
            case ir.Elementwise():
                table = program.tables[place]
                slope, offset = (np.abs(t).max(axis=0) for t in (table.slopes, table.intercepts))
                if not entries:
                    slope, offset = slope.max(initial=0.0), _norm(offset)
                live[place] = slope * live[node.arg] + offset
            case _:
                pass
        # A comparison with NaN is false as well.
        if not (live[place] <= _LARGE).all():
            return False
        for arg in set(node.args):
            if program.last[arg] == place:
                live.pop(arg, None)
    return True


def _norm(values: Array) -> Array:
    return np.asarray(np.linalg.norm(values))


def _sums(node: ir.Affine, args: Sequence[Array]) -> Array:
    total = np.zeros((1, *node.shape))
    for term, value in zip(node.terms, args, strict=True):
        for stage in term.map.stages():
            value = stage.apply_abs(value)
        total = total + value
    if node.bias is not None:
        total = total + np.abs(np.broadcast_to(node.bias, node.shape))
    return total


def _norms(node: ir.Affine, args: Sequence[Array]) -> Array:
    total = np.zeros(())
    for term, value in zip(node.terms, args, strict=True):
        for stage in term.map.stages():
            value = value * norm_bound(stage)
        total = total + value
    if node.bias is not None:
        total = total + _norm(np.broadcast_to(node.bias, node.shape))
    return total


def rounded(value: Fraction) -> float:
    """Return the nearest float64; infinite beyond its range."""
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def coefficients(form: Sequence[Fraction]) -> tuple[float, ...]:
    """Return the equation ``a_1 x_1 + ... + c = 0`` in float64.

    Where its numbers leave the range of float64, it is multiplied by a power of two first, which
    leaves the equation as it is: the largest ``|a_k|`` is then between 1 and 2.
    """
    lead = max(abs(v) for v in form[:-1])
    largest = max(lead, abs(form[-1]))
    if lead and not (lead > Fraction(_SMALL) and largest < Fraction(_LARGE)):
        power = lead.denominator.bit_length() - lead.numerator.bit_length()
        form = [v * Fraction(2) ** power for v in form]
    return tuple(rounded(v) for v in form)
