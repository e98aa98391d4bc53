r"""Depth-first polygon splitting on a dense chain, compiled with numba where it is installed.

A frame of the stack is a polygon inside one region of the layers before, the rows of the present
layer that still cross it, and the forms of the next layer so far.  Splitting by one row changes the
next layer by a rank-1 term only; a row is looked at again only while it crosses.  The error bound
of the next layer is computed once for each parent region and holds for all of its children.

The kernel stops whenever its output buffers are full and goes on when called again, so that the
caller can look at the clock.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from nneq.boundary.pwl.chain import Chain
from nneq.boundary.results import Box

__all__ = ["CORNERS", "Stack", "compiled", "run_kernel"]

Array = np.ndarray[Any, Any]
CORNERS = 192
_REGIONS = 8192
_UNIT = 2.0**-53
# A vertex may lie off its edge by two ulps, and cuts are nested less than 2000 deep.
_DRIFT = 4096 * _UNIT


def _enter_layer(
    l, s, sizes, moff, uoff, mats, jump, low, bias, doubt,
    zl, el, tol, polys, nverts, counts, pending, zn, pats, reach, drift,
):  # fmt: skip
    """Prepare frame ``s`` as the root of layer ``l`` on its polygon."""
    n, m = sizes[l], sizes[l + 1]
    off, nxt, mo = uoff[l], uoff[l + 1], moff[l]
    k = nverts[s]
    count = 0
    for j in range(m):
        zn[s, 0, j] = 0.0
        zn[s, 1, j] = 0.0
        zn[s, 2, j] = bias[nxt + j]
        el[l + 1, j] = doubt[nxt + j]
    gamma = (n + 16) * _UNIT
    ambiguous = 0
    for v in range(n):
        a, b, c = zl[l, 0, v], zl[l, 1, v], zl[l, 2, v]
        size = abs(a) * reach[0] + abs(b) * reach[1] + abs(c)
        t = el[l, v] + 8 * _UNIT * size + drift * (abs(a) + abs(b))
        tol[l, v] = t
        lo = a * polys[s, 0, 0] + b * polys[s, 0, 1] + c
        hi = lo
        near = abs(lo) <= t
        for i in range(1, k):
            z = a * polys[s, i, 0] + b * polys[s, i, 1] + c
            lo = min(lo, z)
            hi = max(hi, z)
            if abs(z) <= t:
                near = True
        crossing = lo < -t and hi > t
        on = hi > -lo
        if near:
            ambiguous += 1
        weight = low[off + v]
        err = 0.0
        if crossing:
            pending[s, count] = v
            count += 1
            pats[s, v] = 0
            top_slope = max(abs(weight), abs(weight + jump[off + v]))
            err = top_slope * (el[l, v] + gamma * size) + abs(jump[off + v]) * 2 * t
        else:
            pats[s, v] = 1 if on else 0
            if on:
                weight += jump[off + v]
            err = abs(weight) * (el[l, v] + gamma * size)
            if near:
                err += abs(jump[off + v]) * 2 * t
        if weight != 0.0:
            wa, wb, wc = weight * a, weight * b, weight * c
            base = mo + v * m
            for j in range(m):
                w = mats[base + j]
                zn[s, 0, j] += w * wa
                zn[s, 1, j] += w * wb
                zn[s, 2, j] += w * wc
        if err != 0.0:
            base = mo + v * m
            for j in range(m):
                el[l + 1, j] += abs(mats[base + j]) * err
    for j in range(m):
        el[l + 1, j] *= 1.0 + 4 * gamma
    counts[s] = count
    return ambiguous


def _filter(l, s, m, off, mo, mats, jump, zl, tol, polys, nverts, counts, pending, zn, pats, skip):
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
            weight = jump[off + v]
            wa, wb, wc = weight * a, weight * b, weight * c
            base = mo + v * m
            for j in range(m):
                w = mats[base + j]
                zn[s, 0, j] += w * wa
                zn[s, 1, j] += w * wb
                zn[s, 2, j] += w * wc
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


def _misses(l, s, off, mo, m, mats, jump, zl, el, polys, nverts, counts, pending, zn, reach, drift):
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
        w = mats[mo + v * m] * jump[off + v]
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
    state, sizes, moff, uoff, mats, jump, low, bias, doubt, zl, el, tol,
    layer, polys, nverts, counts, pending, zn, pats, prefix_now, prefix_off,
    out_ptr, out_xy, out_forms, out_error, out_last, out_prefix, prefix_rows,
    reach, drift, prune, left, right, values,
):  # fmt: skip
    """Run until the stack is empty or a buffer is full.

    ``state``: stack top, regions out, corners out, prefixes out, ambiguous signs, splits, pruned,
    overflow, layer entries.
    """
    depth = len(sizes) - 1
    cap = len(out_last)
    cap_xy = len(out_xy)
    cap_prefix = len(prefix_rows)
    while state[0] >= 0:
        s = state[0]
        if state[1] + 1 > cap or state[2] + 256 > cap_xy or state[3] + 1 > cap_prefix:
            return
        l = layer[s]
        n, m = sizes[l], sizes[l + 1]
        off, mo = uoff[l], moff[l]
        if (
            prune
            and l == depth - 1
            and _misses(
                l,
                s,
                off,
                mo,
                m,
                mats,
                jump,
                zl,
                el,
                polys,
                nverts,
                counts,
                pending,
                zn,
                reach,
                drift,
            )
        ):
            state[0] -= 1
            state[6] += 1
            continue
        if counts[s] > 0:
            v = pending[s, 0]
            a, b, c = zl[l, 0, v], zl[l, 1, v], zl[l, 2, v]
            n_left, n_right = _cut(s, a, b, c, tol[l, v], polys, nverts, left, right, values)
            if n_left > len(left) - 4 or n_right > len(left) - 4 or s + 2 >= len(layer):
                state[7] = 1
                return
            state[5] += 1
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
            weight = jump[off + v]
            wa, wb, wc = weight * a, weight * b, weight * c
            base = mo + v * m
            for j in range(m):
                w = mats[base + j]
                zn[s, 0, j] += w * wa
                zn[s, 1, j] += w * wb
                zn[s, 2, j] += w * wc
            for f in (s, r):
                state[4] += _filter(
                    l, f, m, off, mo, mats, jump, zl, tol, polys, nverts, counts, pending, zn,
                    pats, 1,
                )  # fmt: skip
            state[0] = r
            continue
        if l < depth - 1:
            base = prefix_off[l]
            for i in range(n):
                prefix_now[base + i] = pats[s, i]
            for i in range(3):
                for j in range(m):
                    zl[l + 1, i, j] = zn[s, i, j]
            layer[s] = l + 1
            state[8] += 1
            state[4] += _enter_layer(
                l + 1, s, sizes, moff, uoff, mats, jump, low, bias, doubt,
                zl, el, tol, polys, nverts, counts, pending, zn, pats, reach, drift,
            )  # fmt: skip
            if l + 1 == depth - 1:
                for i in range(len(prefix_now)):
                    prefix_rows[state[3], i] = prefix_now[i]
                state[3] += 1
            continue
        region, at = state[1], state[2]
        for i in range(nverts[s]):
            out_xy[at + i, 0] = polys[s, i, 0]
            out_xy[at + i, 1] = polys[s, i, 1]
        out_ptr[region + 1] = at + nverts[s]
        for j in range(m):
            out_forms[region, j, 0] = zn[s, 0, j]
            out_forms[region, j, 1] = zn[s, 1, j]
            out_forms[region, j, 2] = zn[s, 2, j]
            out_error[region, j] = el[depth, j]
        for i in range(n):
            out_last[region, i] = pats[s, i]
        out_prefix[region] = state[3] - 1
        state[1] += 1
        state[2] += nverts[s]
        state[0] -= 1


_COMPILED: dict[str, Callable[..., Any]] = {}


def compiled() -> bool:
    """Return whether numba is there and the kernel is compiled (once per machine, then cached)."""
    if "loop" not in _COMPILED:
        try:
            import numba
        except ImportError:
            return False
        jit = numba.njit(cache=True, fastmath=False, nogil=True)
        scope = globals()
        for name in ("_enter_layer", "_filter", "_cut", "_misses"):
            scope[name] = jit(scope[name])
        _COMPILED["loop"] = jit(_split_loop)
        _COMPILED["enter"] = scope["_enter_layer"]
    return True


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
        self.uoff = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
        lengths = [matrix.size for matrix in chain.matrices]
        self.moff = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        self.mats = np.concatenate([matrix.reshape(-1) for matrix in chain.matrices])
        self.jump = np.concatenate(chain.jumps)
        self.low = np.concatenate(chain.lows)
        zero = np.zeros(int(sizes[0]))
        self.bias = np.concatenate([zero, *chain.biases])
        self.doubt = np.concatenate([zero, *chain.doubts])
        self.zl = np.zeros((depth + 1, 3, widest))
        self.el = np.zeros((depth + 1, widest))
        self.tol = np.zeros((depth + 1, widest))
        self.layer = np.zeros(frames, dtype=np.int64)
        self.polys = np.zeros((frames, CORNERS, 2))
        self.nverts = np.zeros(frames, dtype=np.int64)
        self.counts = np.zeros(frames, dtype=np.int64)
        self.pending = np.zeros((frames, widest), dtype=np.int32)
        self.zn = np.zeros((frames, 3, widest))
        self.pats = np.zeros((frames, widest), dtype=np.uint8)
        offsets = np.concatenate([[0], np.cumsum(sizes[: depth - 1])]).astype(np.int64)
        self.prefix_off = offsets
        self.prefix_now = np.zeros(int(offsets[depth - 1]), dtype=np.uint8)
        self.reach = np.array([max(abs(a), abs(b)) for a, b in zip(box.low, box.high, strict=True)])
        self.drift = _DRIFT * float(self.reach.max())
        self.state = np.zeros(9, dtype=np.int64)
        corners = ((0, 0), (1, 0), (1, 1), (0, 1))
        ends = (box.low, box.high)
        self.polys[0, :4] = [(ends[i][0], ends[j][1]) for i, j in corners]
        self.nverts[0] = 4
        self.zl[0, :, : sizes[0]] = chain.first
        reach = np.array([self.reach[0], self.reach[1], 1.0])
        self.el[0, : sizes[0]] = reach @ chain.first_error
        self.state[4] = _COMPILED["enter"](
            0, 0, sizes, self.moff, self.uoff, self.mats, self.jump, self.low, self.bias,
            self.doubt, self.zl, self.el, self.tol, self.polys, self.nverts, self.counts,
            self.pending, self.zn, self.pats, self.reach, self.drift,
        )  # fmt: skip
        if depth == 1:
            self.state[3] = 1
        self.left = np.zeros((CORNERS + 8, 2))
        self.right = np.zeros((CORNERS + 8, 2))
        self.values = np.zeros(CORNERS + 8)

    def open_polygons(self) -> list[Array]:
        """Return the polygons not yet finished."""
        return [self.polys[s, : self.nverts[s]].copy() for s in range(int(self.state[0]) + 1)]


def run_kernel(stack: Stack) -> dict[str, Array]:
    """Return the next regions (at most a few thousand) as arrays; none when all is done."""
    chain, state = stack.chain, stack.state
    depth, sizes = chain.layers, chain.sizes
    out: dict[str, Array] = {
        "ptr": np.zeros(_REGIONS + 1, dtype=np.int64),
        "xy": np.empty((_REGIONS * 6 + 256, 2)),
        "forms": np.empty((_REGIONS, int(sizes[-1]), 3)),
        "error": np.empty((_REGIONS, int(sizes[-1]))),
        "last": np.empty((_REGIONS, int(sizes[depth - 1])), dtype=np.uint8),
        "prefix": np.empty(_REGIONS, dtype=np.int64),
    }
    room = _REGIONS + 1
    rows = np.empty((room, len(stack.prefix_now)), dtype=np.uint8)
    # The prefix in force when the slice starts is its row 0.
    rows[0] = stack.prefix_now
    state[1] = state[2] = 0
    state[3] = 1
    _COMPILED["loop"](
        state, sizes, stack.moff, stack.uoff, stack.mats, stack.jump, stack.low, stack.bias,
        stack.doubt, stack.zl, stack.el, stack.tol, stack.layer, stack.polys, stack.nverts,
        stack.counts, stack.pending, stack.zn, stack.pats, stack.prefix_now, stack.prefix_off,
        out["ptr"], out["xy"], out["forms"], out["error"], out["last"], out["prefix"], rows,
        stack.reach, stack.drift, stack.prune, stack.left, stack.right, stack.values,
    )  # fmt: skip
    count, corners, prefixes = int(state[1]), int(state[2]), int(state[3])
    return {
        "ptr": out["ptr"][: count + 1],
        "xy": out["xy"][:corners],
        "forms": out["forms"][:count],
        "error": out["error"][:count],
        "last": out["last"][:count],
        "prefix": out["prefix"][:count],
        "rows": rows[:prefixes],
    }
