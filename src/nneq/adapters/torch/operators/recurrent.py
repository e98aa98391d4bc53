"""LSTM, GRU and RNN layers and cells, unrolled over time."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from nneq.adapters.torch.registry import Call, lowers
from nneq.lowering.builder import Value
from nneq.lowering.recurrent import CellWeights, gru, lstm, rnn, rule_activation

__all__: list[str] = []

Layer = Callable[[Value, CellWeights, list[Value], bool], tuple[Value, list[Value]]]


def _stack(c: Call, states: Sequence[Value], run: Layer, width: int) -> list[Value]:
    """Return the outputs and the last states of all layers and directions.

    Args:
        c: the call, in the form ``(input, hx, params, has_biases, num_layers, dropout, ...)``.
        states: ``(layers * directions, N, H)`` each.
        run: one direction of one layer.
        width: the number of weight tensors per direction.
    """
    b = c.b
    if c.get("train", False) and c.get("dropout", 0.0):
        raise c.refuse("drops entries at random between its layers; call model.eval()")
    if "batch_sizes" in c.arguments:
        raise c.refuse("takes packed sequences; pass a padded tensor")
    x = c.value("input")
    first = bool(c.get("batch_first", False))
    if first:
        x = b.permute(x, (1, 0, 2))
    tensors = c.values("params")
    directions = 2 if c["bidirectional"] else 1
    last: list[list[Value]] = [[] for _ in states]
    for layer in range(int(c["num_layers"])):
        outputs = []
        for direction in range(directions):
            place = layer * directions + direction
            weights = _weights(tensors[place * width : (place + 1) * width], bool(c["has_biases"]))
            own = [b.reshape(b.slice_axis(s, 0, place, 1), s.shape[1:]) for s in states]
            out, ends = run(x, weights, own, direction == 1)
            outputs.append(out)
            for found, end in zip(last, ends, strict=True):
                found.append(end)
        x = b.concat(outputs, -1) if directions == 2 else outputs[0]
    out = b.permute(x, (1, 0, 2)) if first else x
    return [out, *(b.stack(found, 0) for found in last)]


def _weights(tensors: list[Value], biased: bool) -> CellWeights:
    bias, recurrent_bias = (tensors[2], tensors[3]) if biased else (None, None)
    plain = 4 if biased else 2
    projection = tensors[plain] if len(tensors) > plain else None
    return CellWeights(tensors[0], tensors[1], bias, recurrent_bias, projection=projection)


@lowers("lstm")
def _lstm(c: Call) -> list[Value]:
    states = c.values("hx")
    width = 4 if c["has_biases"] else 2
    width += int(states[0].shape[-1] != states[1].shape[-1])

    def run(
        x: Value, weights: CellWeights, own: list[Value], reverse: bool
    ) -> tuple[Value, list[Value]]:
        out, h, cell = lstm(c.b, x, weights, h0=own[0], c0=own[1], reverse=reverse)
        return out, [h, cell]

    return _stack(c, states, run, width)


@lowers("gru")
def _gru(c: Call) -> list[Value]:
    def run(
        x: Value, weights: CellWeights, own: list[Value], reverse: bool
    ) -> tuple[Value, list[Value]]:
        out, h = gru(c.b, x, weights, h0=own[0], reverse=reverse)
        return out, [h]

    return _stack(c, [c.value("hx")], run, 4 if c["has_biases"] else 2)


@lowers("rnn_tanh", "rnn_relu")
def _rnn(c: Call) -> list[Value]:
    activation = rule_activation(c.op.removeprefix("rnn_"))

    def run(
        x: Value, weights: CellWeights, own: list[Value], reverse: bool
    ) -> tuple[Value, list[Value]]:
        out, h = rnn(c.b, x, weights, h0=own[0], reverse=reverse, activation=activation)
        return out, [h]

    return _stack(c, [c.value("hx")], run, 4 if c["has_biases"] else 2)


def _cell(c: Call) -> tuple[Value, CellWeights]:
    x = c.value("input")
    weights = CellWeights(c.value("w_ih"), c.value("w_hh"), c.optional("b_ih"), c.optional("b_hh"))
    return c.b.reshape(x, (1, *x.shape)), weights


@lowers("lstm_cell")
def _lstm_cell(c: Call) -> list[Value]:
    x, weights = _cell(c)
    h, cell = c.values("hx")
    _, h, cell = lstm(c.b, x, weights, h0=h, c0=cell)
    return [h, cell]


@lowers("gru_cell")
def _gru_cell(c: Call) -> Value:
    x, weights = _cell(c)
    return gru(c.b, x, weights, h0=c.value("hx"))[1]


@lowers("rnn_tanh_cell", "rnn_relu_cell")
def _rnn_cell(c: Call) -> Value:
    x, weights = _cell(c)
    rule = c.op.removeprefix("rnn_").removesuffix("_cell")
    return rnn(c.b, x, weights, h0=c.value("hx"), activation=rule_activation(rule))[1]
