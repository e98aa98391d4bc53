"""Small networks with known or random weights for the questions in n dimensions."""

from __future__ import annotations

import itertools

import numpy as np

from nneq.boundary.problem import Problem
from nneq.ir.linear_map import Dense
from nneq.ir.network import Affine, Elementwise, Input, Network, Port, Product, Term
from nneq.passes.difference import difference


def layers(weights, rules, *, inputs=None):
    """Return a network of dense layers; ``weights`` is a list of ``(W, b)``."""
    n = weights[0][0].shape[1]
    nodes = [Input((n,))]
    for k, (weight, bias) in enumerate(weights):
        width = weight.shape[0]
        nodes.append(Affine((width,), (Term(len(nodes) - 1, Dense(weight)),), np.asarray(bias)))
        if k < len(weights) - 1:
            rule = rules[k % len(rules)]
            nodes.append(Elementwise((width,), len(nodes) - 1, rule))
    size = weights[-1][0].shape[0]
    return Network(tuple(nodes), (Port("x", 0, (n,)),), (Port("z", len(nodes) - 1, (size,)),))


def random_layers(seed, widths, rules=("tanh",), gain=1.7):
    """Return a random network with float32 weights."""
    random = np.random.default_rng(seed)
    weights = [
        (
            (random.normal(size=(b, a)) * gain / np.sqrt(a)).astype(np.float32),
            (0.5 * random.normal(size=b)).astype(np.float32),
        )
        for a, b in itertools.pairwise(widths)
    ]
    return layers(weights, rules)


def question(network, i=0, j=1, *, rivals=False):
    """Return the problem ``z_i = z_j`` (0-based)."""
    names = tuple(f"x_{k + 1}" for k in range(network.input_size))
    others = rival_network(network, i, j) if rivals else None
    apart = difference(network, i, j, apart=True).network
    return Problem(
        difference(network, i, j).network,
        f"z_{i + 1} = z_{j + 1}",
        names,
        rivals=others,
        executed=(apart, others),
    )


def rival_network(network, i, j):
    """Return the network of ``z_i - z_k`` for every other class ``k``."""
    rows = []
    for k in range(network.output_size):
        if k not in {i, j}:
            row = np.zeros(network.output_size)
            row[i], row[k] = 1.0, -1.0
            rows.append(row)
    nodes = list(network.nodes)
    last = network.outputs[0].node
    nodes.append(Affine((len(rows),), (Term(last, Dense(np.stack(rows))),)))
    return Network(tuple(nodes), network.inputs, (Port("r", len(nodes) - 1, (len(rows),)),))


def sphere(n, radius):
    """Return ``z_1 - z_2 = |x|^2 - radius^2``, smooth and known exactly (``radius^2`` exact)."""
    nodes = (
        Input((n,)),
        Elementwise((n,), 0, "square"),
        Affine(
            (2,),
            (Term(1, Dense(np.stack([np.ones(n), np.zeros(n)]))),),
            np.array([-(radius**2), 0.0]),
        ),
    )
    return Network(nodes, (Port("x", 0, (n,)),), (Port("z", 2, (2,)),))


def bilinear():
    """Return ``z_1 - z_2 = x_1 x_2 - 1``."""
    nodes = (
        Input((2,)),
        Affine((1,), (Term(0, Dense(np.array([[1.0, 0.0]]))),)),
        Affine((1,), (Term(0, Dense(np.array([[0.0, 1.0]]))),)),
        Product((1,), 1, 2, "a,a->a"),
        Affine((2,), (Term(3, Dense(np.array([[1.0], [0.0]]))),), np.array([-1.0, 0.0])),
    )
    return Network(nodes, (Port("x", 0, (2,)),), (Port("z", 4, (2,)),))
