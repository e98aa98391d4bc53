"""Networks the certified engines are tried on: random ones, and every node kind."""

from __future__ import annotations

import dataclasses
from itertools import pairwise

import numpy as np

from nneq.ir import Network
from nneq.ir import linear_map as lm
from nneq.ir import network as ir
from nneq.ir.network import Source
from nneq.lowering import Builder

SMOOTH = ("tanh", "sigmoid", "silu", "gelu", "gelu_tanh", "mish", "softplus", "atan", "erf")
KINKED = ("relu", "leaky_relu", "selu", "elu", "celu", "softsign", "hard_swish", "abs", "clip")


def built(builder, value) -> Network:
    """Return the network with one output."""
    return builder.build([(value, "z")], source=Source())


def mlp(widths, rules, seed=0, gain=1.5, bias=0.5, dtype=np.float32) -> Network:
    """Return a fully connected network; ``rules`` is one name or one per hidden layer."""
    rng = np.random.default_rng(seed)
    builder = Builder()
    x = builder.input((1, widths[0]))
    for k, (n, m) in enumerate(pairwise(widths)):
        weight = (rng.normal(size=(m, n)) * gain / np.sqrt(n)).astype(dtype)
        x = builder.linear(x, lm.Dense(weight, (1,)), (rng.normal(size=m) * bias).astype(dtype))
        if k < len(widths) - 2:
            x = builder.elementwise(rules if isinstance(rules, str) else rules[k], x)
    return built(builder, x)


def one_hidden(W1, b1, W2, b2, rule="tanh") -> Network:
    """Return a network with one hidden layer and given float64 weights."""
    builder = Builder()
    x = builder.input((1, np.shape(W1)[1]))
    x = builder.linear(x, lm.Dense(np.asarray(W1, float), (1,)), np.asarray(b1, float))
    x = builder.elementwise(rule, x)
    x = builder.linear(x, lm.Dense(np.asarray(W2, float), (1,)), np.asarray(b2, float))
    return built(builder, x)


def every_kind(seed=0, *, rough=True) -> Network:
    """Return a network over 3 inputs with every node kind: 2 outputs.

    Dense and residual parts, products (plain and contracted), softmax, log-softmax; with ``rough``
    also a maximum, a selection and rectifiers.
    """
    rng = np.random.default_rng(seed)
    builder = Builder()
    x = builder.input((1, 3))

    def dense(value, n, m, scale=1.0):
        weight = (rng.normal(size=(m, n)) * scale / np.sqrt(n)).astype(np.float32)
        return builder.linear(value, lm.Dense(weight, (1,)), rng.normal(size=m) * 0.5)

    a = builder.elementwise("tanh", dense(x, 3, 6))
    gate = builder.elementwise("sigmoid", dense(x, 3, 6))
    mixed = builder.multiply(a, gate)
    shares = builder.softmax(dense(mixed, 6, 4), axis=1)
    logs = builder.softmax(dense(mixed, 6, 4), axis=1, log=True)
    joined = builder.concat([shares, logs, mixed], axis=1)
    square = builder.einsum("ab,cb->ac", joined, joined)
    y = builder.concat([joined, builder.reshape(square, (1, 1))], axis=1)
    if rough:
        groups = builder.reshape(y, (1, 3, 5))
        top = builder.max(groups, axes=(2,))
        kinked = builder.elementwise("relu", dense(y, 15, 5))
        chosen = builder.where(
            builder.compare(dense(x, 3, 5), ">", builder.constant(np.zeros((1, 5)))),
            kinked,
            builder.negative(kinked),
        )
        y = builder.concat([top, chosen, y], axis=1)
    return built(builder, dense(y, y.shape[1], 2, 1.5))


GROWING = (
    "square", "swiglu", "glu", "cubic", "maxpool", "attention", "softmax", "select", "normalised",
)  # fmt: skip


def growing(kind, seed=0) -> Network:
    """Return a network over 3 inputs whose inner values grow like powers along a line."""
    rng = np.random.default_rng(seed)
    builder = Builder()
    x = builder.input((1, 3))

    def dense(value, m=6):
        n = value.shape[-1]
        weight = (rng.normal(size=(m, n)) * 1.5 / np.sqrt(n)).astype(np.float32)
        return builder.linear(value, lm.Dense(weight, (1,)), rng.normal(size=m) * 0.5)

    def heads(value):
        return builder.reshape(value, (1, 3, 2))

    h = dense(x)
    match kind:
        case "square":
            y = builder.elementwise("square", h)
        case "swiglu":
            y = builder.multiply(builder.elementwise("silu", h), dense(x))
        case "glu":
            gate = builder.elementwise("sigmoid", dense(x))
            y = builder.multiply(builder.elementwise("relu", h), gate)
        case "cubic":
            y = builder.multiply(builder.elementwise("square", h), dense(x))
        case "maxpool":
            top = builder.reshape(builder.max(heads(h), axes=(2,)), (1, 3))
            y = builder.concat([top, builder.elementwise("tanh", dense(x, 3))], axis=1)
        case "attention":
            shares = builder.softmax(builder.einsum("aik,ajk->aij", heads(h), heads(dense(x))), 2)
            y = builder.reshape(builder.einsum("aij,ajk->aik", shares, heads(dense(x))), (1, 6))
        case "softmax":
            y = builder.softmax(h, axis=1)
        case "select":
            test = builder.compare(dense(x), ">", builder.constant(np.zeros((1, 6))))
            y = builder.where(test, h, builder.elementwise("tanh", h))
        case _:
            mean = builder.reshape(builder.einsum("ab,ab->a", h, h), (1, 1))
            shifted_ = builder.add(mean, builder.constant(np.full((1, 1), 1e-5)))
            rate = builder.elementwise("reciprocal", builder.elementwise("sqrt", shifted_))
            y = builder.einsum("ab,ac->ab", h, rate)
    return built(builder, dense(y, 2))


def shifted(problem, *amounts):
    """Return the problem of ``g + amount`` for each amount in turn, without rounding."""
    network = problem.network
    nodes, last = list(network.nodes), network.outputs[0].node
    for amount in amounts:
        nodes.append(ir.Constant(np.array([amount]), "shift"))
        terms = (ir.Term(last, lm.Identity((1,))), ir.Term(len(nodes) - 1, lm.Identity((1,))))
        nodes.append(ir.Affine((1,), terms, None, "shift"))
        last = len(nodes) - 1
    port = dataclasses.replace(network.outputs[0], node=last)
    made = dataclasses.replace(network, nodes=tuple(nodes), outputs=(port,))
    return dataclasses.replace(problem, network=made)
