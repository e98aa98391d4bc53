"""Networks trained here (NumPy, seconds) that the benchmarks share, and their question."""

from __future__ import annotations

import itertools

import numpy as np

from nneq.boundary.problem import Problem
from nneq.ir.linear_map import Dense
from nneq.ir.network import Affine, Elementwise, Input, Network, Port, Term
from nneq.passes.difference import difference


def trained(widths: tuple[int, ...], seed: int = 1, steps: int = 1500) -> Network:
    """Return a tanh network trained by Adam to a smooth classification of [-3, 3]^n."""
    random = np.random.default_rng(seed)
    n, classes = widths[0], widths[-1]
    x = random.uniform(-3, 3, (3000, n))
    mixed = x @ random.normal(size=(n, 2 * classes)) / np.sqrt(n)
    score = np.sin(1.5 * mixed[:, :classes]) + np.cos(1.3 * mixed[:, classes:])
    label = score.argmax(axis=1)
    weights = [
        [random.normal(size=(b, a)) / np.sqrt(a), np.zeros(b)]
        for a, b in itertools.pairwise(widths)
    ]
    moments = [[np.zeros_like(p), np.zeros_like(p)] for layer in weights for p in layer]
    for step in range(1, steps + 1):
        rows = random.integers(0, len(x), 256)
        made = [x[rows]]
        for k, (w, b) in enumerate(weights):
            z = made[-1] @ w.T + b
            made.append(np.tanh(z) if k < len(weights) - 1 else z)
        share = np.exp(made[-1] - made[-1].max(axis=1, keepdims=True))
        back = share / share.sum(axis=1, keepdims=True)
        back[np.arange(len(rows)), label[rows]] -= 1
        back /= len(rows)
        slopes = []
        for k in range(len(weights) - 1, -1, -1):
            slopes = [back.T @ made[k], back.sum(axis=0), *slopes]
            back = (back @ weights[k][0]) * (1 - made[k] ** 2)
        for k, slope in enumerate(slopes):
            first, second = moments[k]
            first += 0.1 * (slope - first)
            second += 0.001 * (slope**2 - second)
            size = 4e-3 * np.sqrt(1 - 0.999**step) / (1 - 0.9**step)
            weights[k // 2][k % 2] -= size * first / (np.sqrt(second) + 1e-8)
    nodes: list = [Input((n,))]
    for k, (w, b) in enumerate(weights):
        width = w.shape[0]
        term = Term(len(nodes) - 1, Dense(w.astype(np.float32)))
        nodes.append(Affine((width,), (term,), b.astype(np.float32)))
        if k < len(weights) - 1:
            nodes.append(Elementwise((width,), len(nodes) - 1, "tanh"))
    last = len(nodes) - 1
    return Network(tuple(nodes), (Port("x", 0, (n,)),), (Port("z", last, (classes,)),))


def question(network: Network) -> Problem:
    """Return the problem z_1 = z_2."""
    names = tuple(f"x_{k + 1}" for k in range(network.input_size))
    return Problem(difference(network, 0, 1).network, "z_1 = z_2", names)
