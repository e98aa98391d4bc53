"""Dense ReLU networks with whole weights, by brute force in rational arithmetic."""

from __future__ import annotations

import itertools
from fractions import Fraction
from math import factorial

import flint
import numpy as np
from boundary.pwl.networks import given


def random_layers(seed, d):
    """Return ``[(W, b), ...]`` with weights in -2..2, and what makes networks degenerate."""
    rng = np.random.default_rng(seed)
    widths = [d, *rng.integers(2, 5, rng.integers(1, 3)).tolist(), 2]
    layers = []
    for n_in, n_out in itertools.pairwise(widths):
        W = rng.integers(-2, 3, (n_out, n_in))
        b = rng.integers(-2, 3, n_out) if rng.random() < 0.5 else np.zeros(n_out, dtype=int)
        kind = rng.integers(0, 5)
        if kind == 0:
            W[0], b[0] = 0, -1  # a dead unit
        elif kind == 1:
            W[1], b[1] = W[0], b[0]  # the same unit twice, or two equal heads
        elif kind == 2:
            W[1], b[1] = -W[0], -b[0]  # both sides of one plane
        layers.append((W, b))
    return layers


class Oracle:
    """Everything about one network, computed from its weights alone."""

    def __init__(self, layers, half=2):
        self.layers = [(np.asarray(W).tolist(), np.asarray(b).tolist()) for W, b in layers]
        self.network = given(layers)
        self.d = len(self.layers[0][0][0])
        self.half = Fraction(half)
        self.units = sum(len(b) for _, b in self.layers[:-1])

    def at(self, x):
        """Return the pre-activations of all hidden units and the outputs at a point."""
        hidden, h = [], list(x)
        for k, (W, b) in enumerate(self.layers):
            z = [
                sum(w * v for w, v in zip(row, h, strict=True)) + c
                for row, c in zip(W, b, strict=True)
            ]
            if k == len(self.layers) - 1:
                return hidden, z
            hidden += z
            h = [max(v, Fraction(0)) for v in z]
        raise AssertionError

    def forms(self, pattern):
        """Return the units' forms ``(a_1 .. a_d, c)`` and the outputs' on a pattern."""
        h = [[Fraction(int(i == k)) for i in range(self.d + 1)] for k in range(self.d)]
        units, start = [], 0
        for k, (W, b) in enumerate(self.layers):
            z = []
            for row, c in zip(W, b, strict=True):
                form = [
                    sum(w * f[i] for w, f in zip(row, h, strict=True)) for i in range(self.d + 1)
                ]
                form[-1] += c
                z.append([Fraction(v) for v in form])
            if k == len(self.layers) - 1:
                return units, z
            on = pattern[start : start + len(z)]
            units += z
            start += len(z)
            h = [
                form if bit else [Fraction(0)] * (self.d + 1)
                for form, bit in zip(z, on, strict=True)
            ]
        raise AssertionError

    def constraints(self, pattern):
        """Return forms that are not negative on the closed region of a pattern."""
        found = []
        for k in range(self.d):
            for side in (1, -1):
                form = [Fraction(0)] * (self.d + 1)
                form[k], form[-1] = Fraction(side), self.half
                found.append(form)
        for form, bit in zip(self.forms(pattern)[0], pattern, strict=True):
            found.append(form if bit else [-v for v in form])
        return found

    def gap(self, pattern):
        """Return the form of ``z_1 - z_2`` on a pattern."""
        first, second = self.forms(pattern)[1][:2]
        return [a - b for a, b in zip(first, second, strict=True)]

    def all_regions(self):
        """Return ``{pattern: vertices}`` of every full-dimensional region, trying all patterns."""
        found = {}
        for pattern in itertools.product((0, 1), repeat=self.units):
            forms, corners = self.constraints(pattern), set()
            if any(bit and not any(f) for f, bit in zip(forms[2 * self.d :], pattern, strict=True)):
                continue  # a unit that is 0 everywhere counts as off
            for rows in itertools.combinations(forms, self.d):
                A = flint.fmpq_mat(
                    [[flint.fmpq(v.numerator, v.denominator) for v in f[:-1]] for f in rows]
                )
                if A.det() == 0:
                    continue
                b = flint.fmpq_mat(
                    [[flint.fmpq(-f[-1].numerator, f[-1].denominator)] for f in rows]
                )
                x = tuple(Fraction(int(v.p), int(v.q)) for v in A.solve(b).entries())
                if all(value(form, x) >= 0 for form in forms):
                    corners.add(x)
            if affine_rank(corners) == self.d:
                found[bytes(pattern)] = frozenset(corners)
        return found


def value(form, x):
    """Return an affine form at a point."""
    return sum(a * v for a, v in zip(form[:-1], x, strict=True)) + form[-1]


def affine_rank(points):
    """Return the dimension of the affine hull."""
    first, *others = points or [()]
    rows = [[flint.fmpq(v.numerator, v.denominator) for v in difference(p, first)] for p in others]
    return flint.fmpq_mat(rows).rank() if rows else 0


def difference(p, q):
    """Return ``p - q``."""
    return [a - b for a, b in zip(p, q, strict=True)]


def volume(vertices, forms):
    """Return the exact volume of a polytope: pulling triangulation over its faces."""
    d = len(next(iter(vertices)))
    facets = {frozenset(v for v in vertices if value(f, v) == 0) for f in forms}
    total = Fraction(0)
    for simplex in simplices(frozenset(vertices), facets, d):
        rows = [
            [flint.fmpq(v.numerator, v.denominator) for v in difference(p, simplex[0])]
            for p in simplex[1:]
        ]
        det = flint.fmpq_mat(rows).det()
        total += abs(Fraction(int(det.p), int(det.q)))
    return total / factorial(d)


def simplices(face, facets, dim):
    """Return simplices that fill a face; ``facets`` are vertex sets that cut out its own facets."""
    if dim == 0:
        return [list(face)]
    apex = min(face)
    parts = {face & f for f in facets} - {face}
    parts = [p for p in parts if p and affine_rank(p) == dim - 1]
    return [
        [apex, *simplex]
        for part in parts
        if apex not in part
        for simplex in simplices(part, facets, dim - 1)
    ]
