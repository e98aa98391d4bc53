"""Linear maps as sparse rows: which entries an output entry reads, and with which weight.

Only the scalar forms (system, text, single expression) need them; everything else stays
matrix-free.  No weight is rounded: :func:`segments` cuts a chain of maps wherever the product of
two of its stages would round, and the caller names the tensor in between.
"""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
from scipy import sparse

from nneq.ir import linear_map as lm

__all__ = ["matrix", "segments", "terms_of"]

Array = np.ndarray[Any, Any]
Csr = Any


def _moves(part: lm.LinearMap) -> bool:
    return part.fan_in == 0


def _copies(part: lm.LinearMap) -> bool:
    return isinstance(part, lm.Broadcast | lm.Take | lm.Scatter)


def segments(linear: lm.LinearMap) -> list[lm.LinearMap]:
    """Return maps whose composition is ``linear`` and whose own matrices are exact in float64.

    A segment holds at most one stage with weights; a summing stage may only come before the
    weights, or after an entrywise scale of entries that were not copied before.
    """
    found: list[list[lm.LinearMap]] = [[]]
    state = "moved"
    copied = False
    for part in linear.stages():
        if _moves(part):
            copied = copied or _copies(part)
        elif isinstance(part, lm.Scale):
            if state != "moved":
                found.append([])
                copied = False
            state = "scaled"
        elif isinstance(part, lm.Sum | lm.Scatter):
            if state == "mixed" or (state == "scaled" and copied):
                found.append([])
                state, copied = "moved", False
        else:
            if state != "moved":
                found.append([])
                copied = False
            state = "mixed"
        found[-1].append(part)
    return [lm.chain(*parts) if parts else lm.Identity(linear.in_shape) for parts in found]


def terms_of(linear: lm.LinearMap) -> int:
    """Return an upper bound of the number of entries of the sparse matrix, without building it."""
    bound = linear.out_size
    for part in linear.stages():
        bound *= 1 if _moves(part) or isinstance(part, lm.Scale) else part.fan_in
    return bound


def matrix(linear: lm.LinearMap) -> Csr:
    """Return the map as a CSR matrix ``(out_size, in_size)`` in float64."""
    total: Csr = None
    parts = linear.stages()
    # the order of the entries stays, so these are identities
    turning = [part for part in parts if not isinstance(part, lm.Reshape | lm.Identity)]
    for part in turning or parts[:1]:
        stage = _stage(part)
        total = stage if total is None else (stage @ total).tocsr()
    total.sum_duplicates()
    return total


def _stage(part: lm.LinearMap) -> Csr:
    match part:
        case lm.Identity():
            return sparse.identity(part.in_size, format="csr")
        case lm.Dense():
            weight = sparse.csr_matrix(part.weight.astype(np.float64))
            copies = math.prod(part.lead)
            if copies == 1:
                return weight
            return _keep_zeroless(sparse.kron(sparse.identity(copies), weight))
        case lm.Contract():
            return _contract(part)
        case lm.Conv():
            return _conv(part)
        case lm.ConvTranspose():
            return _conv(part.conv).T.tocsr()
        case lm.Scale():
            full = np.broadcast_to(part.weight, part.in_shape).astype(np.float64).reshape(-1)
            return sparse.diags(full).tocsr()
        case lm.Sum():
            return _stage_of_moves(part.transpose()).T.tocsr()
        case lm.Scatter():
            return _stage_of_moves(part.take).T.tocsr()
        case _:
            return _stage_of_moves(part)


def _keep_zeroless(found: Any) -> Csr:
    csr = found.tocsr()
    csr.eliminate_zeros()
    return csr


def _stage_of_moves(part: lm.LinearMap) -> Csr:
    """Return the 0/1 matrix of a map that only moves entries, from what it does to the indices."""
    index = np.arange(1, part.in_size + 1, dtype=np.int64).reshape(1, *part.in_shape)
    out = np.asarray(part.apply(index)).reshape(-1)
    rows = np.flatnonzero(out)
    ones = np.ones(rows.size)
    return sparse.csr_matrix((ones, (rows, out[rows] - 1)), shape=(part.out_size, part.in_size))


def _contract(part: lm.Contract) -> Csr:
    operands, out = part.subscripts.split("->")
    letters_w, letters_x = operands.split(",")
    sizes = dict(zip(letters_w, part.weight.shape, strict=True))
    sizes.update(zip(letters_x, part.in_shape, strict=True))
    order = sorted(sizes)
    grids = dict(zip(order, np.indices([sizes[k] for k in order], sparse=True), strict=True))
    full = tuple(sizes[k] for k in order)

    def flat(letters: str) -> Array:
        place: Any = np.zeros((1,) * len(order), dtype=np.int64)
        for letter in letters:
            place = place * sizes[letter] + grids[letter]
        return np.broadcast_to(place, full).reshape(-1)

    data = part.weight.astype(np.float64).reshape(-1)[flat(letters_w)]
    found = sparse.csr_matrix(
        (data, (flat(out), flat(letters_x))), shape=(part.out_size, part.in_size)
    )
    return _keep_zeroless(found)


def _conv(part: lm.Conv) -> Csr:
    batch, channels, *spatial = part.in_shape
    _, out_channels, *out_spatial = part.out_shape
    per_group, out_per_group = channels // part.groups, out_channels // part.groups
    in_index = np.arange(part.in_size).reshape(part.in_shape)
    out_index = np.arange(part.out_size).reshape(part.out_shape)
    weight = part.weight.astype(np.float64)
    rows, cols, data = [], [], []
    for offset in itertools.product(*(range(k) for k in part.weight.shape[2:])):
        grids = []
        for o, d, s, (before, _), size, count in zip(
            offset, part.dilations, part.strides, part.pads, spatial, out_spatial, strict=True
        ):
            at = np.arange(count) * s + o * d - before
            keep = np.flatnonzero((at >= 0) & (at < size))
            grids.append((keep, at[keep]))
        if any(not keep.size for keep, _ in grids):
            continue
        for group, inner, outer in itertools.product(
            range(part.groups), range(per_group), range(out_per_group)
        ):
            factor = weight[(group * out_per_group + outer, inner, *offset)]
            if factor == 0:
                continue
            axes_out = np.ix_(np.arange(batch), *(keep for keep, _ in grids))
            axes_in = np.ix_(np.arange(batch), *(at for _, at in grids))
            row = out_index[:, group * out_per_group + outer][axes_out].reshape(-1)
            rows.append(row)
            cols.append(in_index[:, group * per_group + inner][axes_in].reshape(-1))
            data.append(np.full(row.size, factor))
    shape = (part.out_size, part.in_size)
    if not rows:
        return sparse.csr_matrix(shape)
    index = (np.concatenate(rows), np.concatenate(cols))
    return sparse.csr_matrix((np.concatenate(data), index), shape=shape)
