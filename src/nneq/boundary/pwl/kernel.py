r"""Depth-first polygon splitting on a dense chain, compiled with numba.

A frame of the stack is a polygon inside one region of the layers before, the rows of the present
layer that still cross it, and the forms of the next layer so far.  Splitting by one row changes the
next layer by a rank-1 term only; a row is looked at again only while it crosses.  The error bound
of the next layer is computed once for each parent region and holds for all of its children.

The kernel stops after some thousand regions and goes on when called again, so that the caller can
look at the clock.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from nneq.boundary.pwl.chain import Chain
from nneq.boundary.results import Box

__all__ = ["CORNERS", "Stack", "compiled", "count_array_seconds", "worth_it"]

Array = np.ndarray[Any, Any]
CORNERS = 192
# The places of ``Stack.state``: top frame, regions and corners in the buffer, where to stop, signs
# within their rounding error, cuts, and whether a polygon had too many corners.
TOP, REGIONS, USED, STOP, AMBIGUOUS, SPLITS, OVERFLOW = range(7)
_SLICE = 8192
# Untouched memory costs nothing, so that joining buffers is rare.
_BUFFER = 1 << 26
# Networks of fewer rows are done before numba is imported; from the second number on, or after so
# many seconds of array code, compiling for some 15 seconds pays.
_FEW_ROWS = 48
_MANY_ROWS = 128
_PATIENCE = 5.0
# Layers below this width are summed row by row.
_NARROW = 6
_UNIT = 2.0**-53
# A vertex may lie off its edge by two ulps, and cuts are nested less than 2000 deep.
_DRIFT = 4096 * _UNIT


# Loops store few arrays, and views are not made: LLVM vectorises a loop only where few arrays may
# overlap, and every view costs two atomic counts.
def _add_rows(total, row, factors, f, picked, count, mats, first, m):
    """Add ``factors[f, v] * mats[first + v]`` to ``total[row]``, four picked rows at a time."""
    p = 0
    while p + 4 <= count:
        v, w, x, y = picked[p], picked[p + 1], picked[p + 2], picked[p + 3]
        a, b, c, d = factors[f, v], factors[f, w], factors[f, x], factors[f, y]
        v, w, x, y = first + v, first + w, first + x, first + y
        for j in range(m):
            total[row, j] += (mats[v, j] * a + mats[w, j] * b) + (mats[x, j] * c + mats[y, j] * d)
        p += 4
    while p < count:
        a = factors[f, picked[p]]
        v = first + picked[p]
        for j in range(m):
            total[row, j] += mats[v, j] * a
        p += 1


def _add_row(zn, s, a, b, c, mats, row, m):
    """Add one row of the present layer to the forms of the next."""
    for j in range(m):
        zn[s, 0, j] += mats[row, j] * a
        zn[s, 1, j] += mats[row, j] * b
        zn[s, 2, j] += mats[row, j] * c


def _sums(columns, row, zl, l, work, n):
    """Return a form of the next layer and its error, summed in any order."""
    a, b, c, error = 0.0, 0.0, 0.0, 0.0
    for v in range(n):
        weight = columns[row, v] * work[3, v]
        a += weight * zl[l, 0, v]
        b += weight * zl[l, 1, v]
        c += weight * zl[l, 2, v]
        error += abs(columns[row, v]) * work[4, v]
    return a, b, c, error


def _extremes(n, zl, l, polys, s, k, work):
    """Set the least and the largest value of each row at the corners: rows 0 and 1 of ``work``."""
    i = 0
    while i < k:
        e, f, g = min(i + 1, k - 1), min(i + 2, k - 1), min(i + 3, k - 1)
        x0, y0, x1, y1 = polys[s, i, 0], polys[s, i, 1], polys[s, e, 0], polys[s, e, 1]
        x2, y2, x3, y3 = polys[s, f, 0], polys[s, f, 1], polys[s, g, 0], polys[s, g, 1]
        for v in range(n):
            a, b, c = zl[l, 0, v], zl[l, 1, v], zl[l, 2, v]
            z0, z1 = a * x0 + b * y0 + c, a * x1 + b * y1 + c
            z2, z3 = a * x2 + b * y2 + c, a * x3 + b * y3 + c
            work[0, v] = min(z0, z1, z2, z3)
            work[1, v] = max(z0, z1, z2, z3)
        if i > 0:
            # Stored elsewhere: a store that depends on a comparison is slow on some processors.
            for v in range(n):
                work[7, v] = min(work[5, v], work[0, v])
                work[8, v] = max(work[6, v], work[1, v])
            for v in range(n):
                work[0, v] = work[7, v]
                work[1, v] = work[8, v]
        i += 4
        if i < k:
            for v in range(n):
                work[5, v] = work[0, v]
                work[6, v] = work[1, v]


def _enter_layer(
    l, s, sizes, starts, mats, weights, columns, jump, low, bias, doubt,
    zl, el, tol, polys, nverts, counts, pending, zn, pats, reach, drift, work, picked, every,
):  # fmt: skip
    """Prepare frame ``s`` as the root of layer ``l`` on its polygon.

    ``work``: least and largest values, magnitudes, slopes, errors passed on; four spare rows.
    """
    n, m, first, k = sizes[l], sizes[l + 1], starts[l], nverts[s]
    gamma = (n + 16) * _UNIT
    for v in range(n):
        a, b, c = abs(zl[l, 0, v]), abs(zl[l, 1, v]), abs(zl[l, 2, v])
        size = a * reach[0] + b * reach[1] + c
        tol[l, v] = el[l, v] + 8 * _UNIT * size + drift * (a + b)
        work[2, v] = el[l, v] + gamma * size
    _extremes(n, zl, l, polys, s, k, work)
    for v in range(n):
        on = work[1, v] > -work[0, v]
        slope = low[l, v] + jump[l, v] if on else low[l, v]
        work[3, v] = slope
        work[4, v] = abs(slope) * work[2, v]
    for v in range(n):
        pats[s, v] = work[1, v] > -work[0, v]
    count = 0
    ambiguous = 0
    for v in range(n):
        lo, hi, t = work[0, v], work[1, v], tol[l, v]
        if lo > t or hi < -t:
            continue
        slope, step = low[l, v], jump[l, v]
        steepest = abs(work[3, v])
        near = True
        if lo < -t and hi > t:
            pending[s, count] = v
            count += 1
            pats[s, v] = 0
            work[3, v] = slope
            steepest = max(abs(slope), abs(slope + step))
            near = False
            for i in range(k):
                z = zl[l, 0, v] * polys[s, i, 0] + zl[l, 1, v] * polys[s, i, 1] + zl[l, 2, v]
                near = near or abs(z) <= t
        ambiguous += near
        work[4, v] = steepest * work[2, v] + abs(step) * 2 * t
    counts[s] = count
    if m < _NARROW:
        for j in range(m):
            a, b, c, error = _sums(columns, l * _NARROW + j, zl, l, work, n)
            zn[s, 0, j] = a
            zn[s, 1, j] = b
            zn[s, 2, j] = bias[l + 1, j] + c
            el[l + 1, j] = (doubt[l + 1, j] + error) * (1.0 + 4 * gamma)
        return ambiguous
    active = 0
    for v in range(n):
        picked[active] = v
        active += work[3, v] != 0.0
    for i in range(3):
        for j in range(m):
            work[7, j] = bias[l + 1, j] if i == 2 else 0.0
        for v in range(n):
            work[8, v] = work[3, v] * zl[l, i, v]
        _add_rows(work, 7, work, 8, picked, active, mats, first, m)
        for j in range(m):
            zn[s, i, j] = work[7, j]
    # Errors are added like forms: those of all rows, times the sizes of the weights.
    for j in range(m):
        el[l + 1, j] = doubt[l + 1, j]
    _add_rows(el, l + 1, work, 4, every, n, weights, first, m)
    for j in range(m):
        el[l + 1, j] *= 1.0 + 4 * gamma
    return ambiguous


def _filter(l, s, m, first, mats, jump, zl, tol, polys, nverts, counts, pending, zn, pats, skip):
    """Drop the pending rows (but not before ``skip``) that do not cross the polygon of ``s``."""
    k = nverts[s]
    kept = 0
    ambiguous = 0
    for p in range(skip, counts[s]):
        v = pending[s, p]
        a, b, c, t = zl[l, 0, v], zl[l, 1, v], zl[l, 2, v], tol[l, v]
        lo = a * polys[s, 0, 0] + b * polys[s, 0, 1] + c
        hi = lo
        near = abs(lo) <= t
        for i in range(1, k):
            z = a * polys[s, i, 0] + b * polys[s, i, 1] + c
            lo = min(lo, z)
            hi = max(hi, z)
            if abs(z) <= t:
                near = True
        if lo < -t and hi > t:
            pending[s, kept] = v
            kept += 1
            continue
        if near:
            ambiguous += 1
        if hi > -lo:
            pats[s, v] = 1
            weight = jump[l, v]
            _add_row(zn, s, weight * a, weight * b, weight * c, mats, first + v, m)
    counts[s] = kept
    return ambiguous


def _cut(s, a, b, c, t, polys, nverts, left, right, values):
    """Split polygon ``s`` by ``a x + b y + c``: corners with values >= 0 and <= 0."""
    k = nverts[s]
    for i in range(k):
        z = a * polys[s, i, 0] + b * polys[s, i, 1] + c
        values[i] = 0.0 if abs(z) <= t else z
    n_left = 0
    n_right = 0
    for i in range(k):
        j = i + 1 if i + 1 < k else 0
        z, w = values[i], values[j]
        x, y = polys[s, i, 0], polys[s, i, 1]
        if z >= 0:
            left[n_left, 0] = x
            left[n_left, 1] = y
            n_left += 1
        if z <= 0:
            right[n_right, 0] = x
            right[n_right, 1] = y
            n_right += 1
        if z * w < 0:
            # From the end with the smaller name, so that both neighbours find the same point.
            x2, y2 = polys[s, j, 0], polys[s, j, 1]
            if x < x2 or (x == x2 and y < y2):
                share = z / (z - w)
                x, y = x + share * (x2 - x), y + share * (y2 - y)
            else:
                share = w / (w - z)
                x, y = x2 + share * (x - x2), y2 + share * (y - y2)
            left[n_left, 0] = x
            left[n_left, 1] = y
            n_left += 1
            right[n_right, 0] = x
            right[n_right, 1] = y
            n_right += 1
    return n_left, n_right


def _misses(l, s, first, mats, jump, zl, el, polys, nverts, counts, pending, zn, reach, drift):
    """Return whether ``g`` (row 0 of the outputs) is proven non-zero on the frame's polygon.

    A pending row adds ``w * relu(z)``, bounded by 0, ``w z`` or its chord; a sum of affine bounds
    is least and largest at a corner.
    """
    k = nverts[s]
    a, b, c = zn[s, 0, 0], zn[s, 1, 0], zn[s, 2, 0]
    la, lb, lc = a, b, c
    ua, ub, uc = a, b, c
    size = abs(a) * reach[0] + abs(b) * reach[1] + abs(c)
    grad = abs(a) + abs(b)
    for p in range(counts[s]):
        v = pending[s, p]
        w = mats[first + v, 0] * jump[l, v]
        za, zb, zc = zl[l, 0, v], zl[l, 1, v], zl[l, 2, v]
        lo = za * polys[s, 0, 0] + zb * polys[s, 0, 1] + zc
        hi = lo
        for i in range(1, k):
            z = za * polys[s, i, 0] + zb * polys[s, i, 1] + zc
            lo = min(lo, z)
            hi = max(hi, z)
        lo -= drift * (abs(za) + abs(zb))
        hi += drift * (abs(za) + abs(zb))
        chord = hi / (hi - lo)
        tight = 1.0 if hi > -lo else 0.0
        if w > 0:
            low_slope, low_shift = tight, 0.0
            up_slope, up_shift = chord, -chord * lo
        else:
            low_slope, low_shift = chord, -chord * lo
            up_slope, up_shift = tight, 0.0
        la += w * low_slope * za
        lb += w * low_slope * zb
        lc += w * (low_slope * zc + low_shift)
        ua += w * up_slope * za
        ub += w * up_slope * zb
        uc += w * (up_slope * zc + up_shift)
        size += abs(w) * (abs(za) * reach[0] + abs(zb) * reach[1] + abs(zc) + abs(lo))
        grad += abs(w) * (abs(za) + abs(zb))
    slack = el[l + 1, 0] + (32 + counts[s]) * _UNIT * size + drift * grad
    lowest = np.inf
    highest = -np.inf
    for i in range(k):
        x, y = polys[s, i, 0], polys[s, i, 1]
        lowest = min(lowest, la * x + lb * y + lc)
        highest = max(highest, ua * x + ub * y + uc)
    return lowest > slack or highest < -slack


def _split_loop(
    state, sizes, starts, mats, weights, columns, jump, low, bias, doubt, zl, el, tol,
    layer, polys, nverts, counts, pending, zn, pats, prefix,
    out_ptr, out_xy, out_forms, out_error, out_bits, out_area,
    reach, drift, scale, prune, left, right, values, work, picked, every,
):  # fmt: skip
    """Run until the stack is empty, enough regions are found, or a buffer is full."""
    depth = len(sizes) - 1
    room = len(out_xy) - CORNERS
    while state[TOP] >= 0 and state[REGIONS] < state[STOP] and state[USED] <= room:
        s = state[TOP]
        l = layer[s]
        n, m, first = 0, sizes[l + 1], 0
        if l >= 0:
            n, first = sizes[l], starts[l]
        if (
            prune
            and l == depth - 1
            and _misses(
                l, s, first, mats, jump, zl, el, polys, nverts, counts, pending, zn, reach, drift
            )
        ):  # fmt: skip
            state[TOP] -= 1
            continue
        if counts[s] > 0:
            v = pending[s, 0]
            a, b, c = zl[l, 0, v], zl[l, 1, v], zl[l, 2, v]
            n_left, n_right = _cut(s, a, b, c, tol[l, v], polys, nverts, left, right, values)
            if n_left > len(left) - 4 or n_right > len(left) - 4 or s + 2 >= len(layer):
                state[OVERFLOW] = 1
                return
            state[SPLITS] += 1
            r = s + 1
            layer[r] = l
            nverts[r] = n_right
            for i in range(n_right):
                polys[r, i, 0] = right[i, 0]
                polys[r, i, 1] = right[i, 1]
            nverts[s] = n_left
            for i in range(n_left):
                polys[s, i, 0] = left[i, 0]
                polys[s, i, 1] = left[i, 1]
            counts[r] = counts[s]
            for p in range(1, counts[s]):
                pending[r, p] = pending[s, p]
            for i in range(n):
                pats[r, i] = pats[s, i]
            for i in range(3):
                for j in range(m):
                    zn[r, i, j] = zn[s, i, j]
            pats[s, v] = 1
            weight = jump[l, v]
            _add_row(zn, s, weight * a, weight * b, weight * c, mats, first + v, m)
            for f in (s, r):
                state[AMBIGUOUS] += _filter(
                    l, f, m, first, mats, jump, zl, tol, polys, nverts, counts, pending, zn,
                    pats, 1,
                )  # fmt: skip
            state[TOP] = r
            continue
        if l < depth - 1:
            for i in range(n):
                prefix[first + i] = pats[s, i]
            for i in range(3):
                for j in range(m):
                    zl[l + 1, i, j] = zn[s, i, j]
            layer[s] = l + 1
            state[AMBIGUOUS] += _enter_layer(
                l + 1, s, sizes, starts, mats, weights, columns, jump, low, bias, doubt,
                zl, el, tol, polys, nverts, counts, pending, zn, pats, reach, drift, work, picked,
                every,
            )  # fmt: skip
            continue
        region, at = state[REGIONS], state[USED]
        area = 0.0
        # Relative to the first corner, so that small regions keep their digits; scaled, so that
        # areas beyond float64 come out as inf, not as inf - inf.
        dx, dy = 0.0, 0.0
        for i in range(nverts[s]):
            x, y = polys[s, i, 0], polys[s, i, 1]
            out_xy[at + i, 0] = x
            out_xy[at + i, 1] = y
            ex, ey = (x - polys[s, 0, 0]) * scale[0], (y - polys[s, 0, 1]) * scale[1]
            area += dx * ey - ex * dy
            dx, dy = ex, ey
        out_area[region] = area / 2
        out_ptr[region + 1] = at + nverts[s]
        for j in range(m):
            out_forms[region, j, 0] = zn[s, 0, j]
            out_forms[region, j, 1] = zn[s, 1, j]
            out_forms[region, j, 2] = zn[s, 2, j]
            out_error[region, j] = el[depth, j]
        base = len(prefix)
        for i in range(base):
            out_bits[region, i] = prefix[i]
        for i in range(n):
            out_bits[region, base + i] = pats[s, i]
        state[REGIONS] += 1
        state[USED] += nverts[s]
        state[TOP] -= 1


_COMPILED: dict[str, Callable[..., Any]] = {}
_ARRAY_SECONDS = [0.0]


def compiled() -> bool:
    """Return whether numba is there and the kernel is compiled (once per machine, then cached)."""
    if "loop" not in _COMPILED:
        try:
            import numba
        except ImportError:
            return False
        # Contraction to fused multiply-adds leaves out roundings; the bounds count them all.
        jit = numba.njit(cache=True, fastmath={"contract"}, nogil=True)
        inline = numba.njit(cache=True, fastmath={"contract"}, nogil=True, forceinline=True)
        scope = globals()
        scope["_sums"] = numba.njit(
            cache=True, fastmath={"contract", "reassoc"}, nogil=True, forceinline=True
        )(scope["_sums"])
        for name in (
            "_add_row", "_add_rows", "_extremes", "_enter_layer", "_filter", "_cut", "_misses",
        ):  # fmt: skip
            scope[name] = inline(scope[name])
        _COMPILED["loop"] = jit(_split_loop)
    return True


def worth_it(rows: int) -> bool:
    """Return whether the kernel should enumerate a plane with so many rows.

    Where it is not compiled on this machine yet, it waits for a network that is large enough, or
    until array code has taken some seconds.
    """
    if rows < _FEW_ROWS or not compiled():
        return False
    loop: Any = _COMPILED["loop"]
    if rows >= _MANY_ROWS or loop.signatures or _ARRAY_SECONDS[0] > _PATIENCE:
        return True
    kept = Path(loop.stats.cache_path)
    return any(kept.glob(f"{Path(__file__).stem}.{_split_loop.__name__}-*.nbi"))


def count_array_seconds(seconds: float) -> None:
    """Count what array code has taken where the kernel was not worth it yet."""
    _ARRAY_SECONDS[0] += seconds


class Stack:
    """The arrays of one run of the kernel."""

    def __init__(self, chain: Chain, box: Box, *, prune: bool) -> None:
        """Start with the whole box in one frame."""
        depth = chain.layers
        sizes = chain.sizes
        widest = int(sizes.max())
        frames = int(sizes[:-1].sum()) + depth + 4
        self.chain = chain
        self.prune = prune
        self.sizes = sizes
        self.starts = np.concatenate([[0], np.cumsum(sizes[:-1])]).astype(np.int64)
        self.mats = np.zeros((int(sizes[:-1].sum()), int(sizes[1:].max())))
        self.columns = np.zeros((depth * _NARROW, widest))
        self.jump, self.low = np.zeros((depth + 1, widest)), np.zeros((depth + 1, widest))
        self.bias, self.doubt = np.zeros((depth + 1, widest)), np.zeros((depth + 1, widest))
        for l, matrix in enumerate(chain.matrices):
            n, m = matrix.shape
            self.mats[self.starts[l] : self.starts[l + 1], :m] = matrix
            if m < _NARROW:
                self.columns[l * _NARROW : l * _NARROW + m, :n] = matrix.T
            self.jump[l, :n], self.low[l, :n] = chain.jumps[l], chain.lows[l]
            self.bias[l + 1, :m], self.doubt[l + 1, :m] = chain.biases[l], chain.doubts[l]
        self.weights = np.abs(self.mats)
        self.zl = np.zeros((depth + 1, 3, widest))
        self.el = np.zeros((depth + 1, widest))
        self.tol = np.zeros((depth + 1, widest))
        self.layer = np.full(frames, -1, dtype=np.int64)
        self.polys = np.zeros((frames, CORNERS, 2))
        self.nverts = np.zeros(frames, dtype=np.int64)
        self.counts = np.zeros(frames, dtype=np.int64)
        self.pending = np.zeros((frames, widest), dtype=np.int32)
        self.zn = np.zeros((frames, 3, widest))
        self.pats = np.zeros((frames, widest), dtype=np.uint8)
        self.prefix = np.zeros(int(self.starts[depth - 1]), dtype=np.uint8)
        self.reach = np.array([max(abs(a), abs(b)) for a, b in zip(box.low, box.high, strict=True)])
        self.drift = _DRIFT * float(self.reach.max())
        self.state = np.zeros(7, dtype=np.int64)
        extent = np.subtract(box.high, box.low)
        self.scale = 2.0 ** -np.round(np.log2(extent))
        self.full: list[dict[str, Array]] = []
        corners = ((0, 0), (1, 0), (1, 1), (0, 1))
        ends = (box.low, box.high)
        self.polys[0, :4] = [(ends[i][0], ends[j][1]) for i, j in corners]
        self.nverts[0] = 4
        self.zn[0, :, : sizes[0]] = chain.first
        reach = np.array([self.reach[0], self.reach[1], 1.0])
        self.el[0, : sizes[0]] = reach @ chain.first_error
        self.work = np.zeros((9, widest))
        self.picked = np.zeros(widest, dtype=np.int64)
        self.every = np.arange(widest)
        self.left = np.zeros((CORNERS + 8, 2))
        self.right = np.zeros((CORNERS + 8, 2))
        self.values = np.zeros(CORNERS + 8)

        self.buffer = self._empty()

    def _empty(self) -> dict[str, Array]:
        """Return buffers for at least one slice of regions."""
        outputs, bits = int(self.sizes[-1]), int(self.sizes[:-1].sum())
        rows = max(_SLICE, _BUFFER // (32 * outputs + bits + 6 * 16 + 16))
        return {
            "ptr": np.zeros(rows + 1, dtype=np.int64),
            "xy": np.empty((rows * 6 + CORNERS, 2)),
            "forms": np.empty((rows, outputs, 3)),
            "error": np.empty((rows, outputs)),
            "bits": np.empty((rows, bits), dtype=np.uint8),
            "area": np.empty(rows),
        }

    def _filled(self) -> dict[str, Array]:
        """Return the part of the buffer that is in use."""
        count = int(self.state[REGIONS])
        found = {name: values[:count] for name, values in self.buffer.items()}
        found["ptr"] = self.buffer["ptr"][: count + 1]
        found["xy"] = self.buffer["xy"][: int(self.state[USED])]
        return found

    def run(self) -> Array:
        """Find the next regions (at most a few thousand); return their areas.

        Areas are in units of ``1 / scale`` on each axis.
        """
        state, out = self.state, self.buffer
        room = len(out["area"]) - _SLICE
        if state[REGIONS] > room or state[USED] + 6 * _SLICE > len(out["xy"]):
            self.full.append(self._filled())
            out = self.buffer = self._empty()
            state[REGIONS] = state[USED] = 0
        begin = int(state[REGIONS])
        state[STOP] = begin + _SLICE
        _COMPILED["loop"](
            state, self.sizes, self.starts, self.mats, self.weights, self.columns, self.jump,
            self.low, self.bias, self.doubt, self.zl, self.el, self.tol, self.layer, self.polys,
            self.nverts, self.counts, self.pending, self.zn, self.pats, self.prefix,
            out["ptr"], out["xy"], out["forms"], out["error"], out["bits"],
            out["area"], self.reach, self.drift, self.scale, self.prune, self.left, self.right,
            self.values, self.work, self.picked, self.every,
        )  # fmt: skip
        return np.asarray(out["area"][begin : int(state[REGIONS])])

    def found(self) -> dict[str, Array]:
        """Return all regions so far: ``ptr``, ``xy``, ``forms``, ``error``, ``bits``, ``area``."""
        blocks = [*self.full, self._filled()]
        joined = {
            name: blocks[0][name] if len(blocks) == 1 else np.concatenate([b[name] for b in blocks])
            for name in blocks[0]
        }
        if len(blocks) > 1:
            sizes = np.concatenate([np.diff(block["ptr"]) for block in blocks])
            joined["ptr"] = np.concatenate([[0], np.cumsum(sizes)])
        with np.errstate(over="ignore", under="ignore"):
            joined["area"] = joined["area"] / self.scale[0] / self.scale[1]
        return joined

    def open_polygons(self) -> list[Array]:
        """Return the polygons not yet finished."""
        return [self.polys[s, : self.nverts[s]].copy() for s in range(int(self.state[TOP]) + 1)]
