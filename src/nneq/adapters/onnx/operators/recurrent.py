"""LSTM, GRU and RNN, unrolled over the time axis."""

from __future__ import annotations

from typing import Any

import numpy as np

from nneq.adapters.onnx.call import Call, operator, retyped, wide
from nneq.errors import NneqError
from nneq.lowering import Builder, Value
from nneq.lowering import recurrent as cells
from nneq.lowering.recurrent import Activation, CellWeights

__all__ = []

_MOST_STEPS = 20_000
_GATES = {"LSTM": "iofg", "GRU": "zrn", "RNN": "h"}
_DEFAULTS = {"LSTM": ["Sigmoid", "Tanh", "Tanh"], "GRU": ["Sigmoid", "Tanh"], "RNN": ["Tanh"]}
# Rule, and the parameters that activation_alpha and activation_beta mean (with their defaults).
_RULES: dict[str, tuple[str, dict[str, tuple[str, float]]]] = {
    "sigmoid": ("sigmoid", {}),
    "tanh": ("tanh", {}),
    "relu": ("relu", {}),
    "softsign": ("softsign", {}),
    "softplus": ("softplus", {}),
    "leakyrelu": ("leaky_relu", {"alpha": ("alpha", 0.01)}),
    "thresholdedrelu": ("thresholded_relu", {"alpha": ("alpha", 1.0)}),
    "elu": ("elu", {"alpha": ("alpha", 1.0)}),
    "hardsigmoid": ("hard_sigmoid", {"alpha": ("alpha", 0.2), "beta": ("beta", 0.5)}),
}


def _activations(call: Call, directions: int) -> list[list[Activation]]:
    """Return the activations of every direction."""
    kind = call.node.op_type
    default = _DEFAULTS[kind]
    given = call.attribute("activations") if call.given("activations") else None
    names = [str(name) for name in given or default * directions]
    if len(names) != len(default) * directions:
        msg = f"{len(names)} activations for {directions} directions"
        raise NneqError(msg)
    alphas = list(call.attribute("activation_alpha") or [])
    betas = list(call.attribute("activation_beta") or [])
    made = [_activation(call, name, alphas, betas) for name in names]
    per = len(default)
    return [made[k * per : (k + 1) * per] for k in range(directions)]


def _activation(call: Call, name: str, alphas: list[float], betas: list[float]) -> Activation:
    key = name.lower()
    if key == "affine":
        alpha, beta = _next(alphas, 1.0), _next(betas, 0.0)

        def affine(b: Builder, x: Value) -> Value:
            return b.add(b.scale(x, np.array(alpha)), b.constant(np.float64(beta)))

        return affine
    if key == "scaledtanh":
        outer, inner = _next(alphas, 1.0), _next(betas, 1.0)

        def scaled(b: Builder, x: Value) -> Value:
            return b.scale(b.elementwise("tanh", b.scale(x, np.array(inner))), np.array(outer))

        return scaled
    if key not in _RULES:
        msg = f"the activation {name!r} is not known"
        raise call.refuse(msg)
    rule, wanted = _RULES[key]
    params = {}
    if "alpha" in wanted:
        params["alpha"] = _next(alphas, wanted["alpha"][1])
    if "beta" in wanted:
        params["beta"] = _next(betas, wanted["beta"][1])
    return cells.rule_activation(rule, **params)


def _next(values: list[float], default: float) -> float:
    return float(values.pop(0)) if values else default


def _cut(b: Builder, x: Value | None, direction: int) -> Value | None:
    """Return one direction's part of an operand."""
    if x is None:
        return None
    return wide(b.reshape(b.slice_axis(x, 0, direction, 1), x.shape[1:]))


@operator("LSTM", "GRU", "RNN")
def recurrent(call: Call) -> list[Value]:
    """All outputs, the last state, and for LSTM the last cell."""
    b, kind = call.builder, call.node.op_type
    x, kernel, again = call.input(0), call.input(1), call.input(2)
    names = {"forward": ["f"], "reverse": ["r"], "bidirectional": ["f", "r"]}
    form = str(call.attribute("direction"))
    if form not in names or len(x.shape) != 3 or len(kernel.shape) != 3 or len(again.shape) != 3:
        msg = f"direction {form!r} with operands {x.shape}, {kernel.shape}, {again.shape}"
        raise NneqError(msg)
    ways = names[form]
    batch_first = bool(call.attribute("layout")) if call.since >= 14 else False
    if batch_first:
        x = b.permute(x, (1, 0, 2))
    steps, count = x.shape[:2]
    hidden = again.shape[2]
    if steps > _MOST_STEPS or steps < 1:
        msg = f"a sequence of {steps} steps"
        raise call.refuse(msg)
    _check(call, kernel, again, len(ways), hidden)
    mask = _mask(call, b, steps, count)
    functions = _activations(call, len(ways))
    states = [_initial(call, b, place, batch_first) for place in (5, 6)]
    outs, lasts, memories = [], [], []
    for k, way in enumerate(ways):
        weights = _weights(call, b, k, hidden)
        options: dict[str, Any] = {
            "h0": _cut(b, states[0], k),
            "reverse": way == "r",
            "clip": call.attribute("clip"),
            "mask": mask,
        }
        if kind == "LSTM":
            out, last, memory = cells.lstm(
                b, wide(x), weights, order=_GATES[kind], c0=_cut(b, states[1], k),
                activations=(functions[k][0], functions[k][1], functions[k][2]),
                input_forget=bool(call.attribute("input_forget")), **options,
            )  # fmt: skip
            memories.append(memory)
        elif kind == "GRU":
            out, last = cells.gru(
                b, wide(x), weights, order=_GATES[kind],
                activations=(functions[k][0], functions[k][1]),
                reset_after=bool(call.attribute("linear_before_reset")), **options,
            )  # fmt: skip
        else:
            out, last = cells.rnn(b, wide(x), weights, activation=functions[k][0], **options)
        outs.append(out)
        lasts.append(last)
    return _results(b, x, outs, [lasts, memories], batch_first)


def _check(call: Call, kernel: Value, again: Value, ways: int, hidden: int) -> None:
    rows = len(_GATES[call.node.op_type]) * hidden
    declared = call.attribute("hidden_size")
    if (
        kernel.shape[:2] != (ways, rows)
        or again.shape != (ways, rows, hidden)
        or (declared is not None and int(declared) != hidden)
        or kernel.shape[2] != call.input(0).shape[2]
    ):
        msg = f"weights {kernel.shape} and {again.shape} do not fit {call.input(0).shape}"
        raise NneqError(msg)


def _mask(call: Call, b: Builder, steps: int, count: int) -> Value | None:
    lengths = call.optional(4)
    if lengths is None:
        return None
    if lengths.shape != (count,):
        msg = f"sequence_lens of shape {lengths.shape} for {count} sequences"
        raise NneqError(msg)
    if lengths.array is not None and (lengths.array == steps).all():
        return None
    return cells.length_mask(b, lengths, steps)


def _initial(call: Call, b: Builder, place: int, batch_first: bool) -> Value | None:
    if place == 6 and call.node.op_type != "LSTM":
        return None
    found = call.optional(place)
    if found is not None and batch_first:
        return b.permute(found, (1, 0, 2))
    return found


def _weights(call: Call, b: Builder, direction: int, hidden: int) -> CellWeights:
    kernel = _cut(b, call.input(1), direction)
    again = _cut(b, call.input(2), direction)
    both = _cut(b, call.optional(3), direction)
    rows = len(_GATES[call.node.op_type]) * hidden
    bias = other = None
    if both is not None:
        if both.shape != (2 * rows,):
            msg = f"a bias of shape {both.shape} for {rows} gates"
            raise NneqError(msg)
        bias, other = b.slice_axis(both, 0, 0, rows), b.slice_axis(both, 0, rows, rows)
    peep = _cut(b, call.optional(7), direction) if call.node.op_type == "LSTM" else None
    peepholes = None
    if peep is not None:
        peepholes = (
            b.slice_axis(peep, 0, 0, hidden),
            b.slice_axis(peep, 0, hidden, hidden),
            b.slice_axis(peep, 0, 2 * hidden, hidden),
        )
    if kernel is None or again is None:
        msg = "the weights are missing"
        raise NneqError(msg)
    return CellWeights(kernel, again, bias, other, peepholes)


def _results(
    b: Builder,
    x: Value,
    outs: list[Value],
    states: list[list[Value]],
    batch_first: bool,
) -> list[Value]:
    found = [b.stack(outs, 1)]
    found += [b.stack(part, 0) for part in states if part]
    if batch_first:
        found = [b.permute(found[0], (2, 0, 1, 3)), *(b.permute(s, (1, 0, 2)) for s in found[1:])]
    return [v if v.array is not None else retyped(v, x.dtype) for v in found]
