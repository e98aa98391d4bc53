r"""LSTM, GRU and plain recurrent layers, unrolled over time.

Every layer takes one direction of one layer; bidirectional and stacked layers are two calls and a
concatenation.  ``x`` is ``(T, N, I)``, states are ``(N, H)``, the output is ``(T, N, H)``.  Gate
blocks lie along axis 0 of the weights in the order that ``order`` spells.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from nneq.lowering.builder import Builder, Value

__all__ = ["Activation", "CellWeights", "gru", "length_mask", "lstm", "rnn", "rule_activation"]

Activation = Callable[[Builder, Value], Value]


def rule_activation(rule: str, **params: float) -> Activation:
    """Return the activation rule of that name as a gate activation."""

    def apply(b: Builder, x: Value) -> Value:
        return b.elementwise(rule, x, **params)

    return apply


_SIGMOID = rule_activation("sigmoid")
_TANH = rule_activation("tanh")


@dataclass(frozen=True, eq=False)
class CellWeights:
    """The weights of one direction; ``G`` gate blocks.

    Args:
        kernel: ``(G * H, I)``, applied to the input.
        recurrent: ``(G * H, H)`` (``H`` is the projected size where there is a projection).
        bias: ``(G * H,)`` added to the input's part, or None.
        recurrent_bias: ``(G * H,)`` added to the state's part, or None.
        peepholes: ``(H,)`` each for input, output and forget gate, or None (LSTM only).
        projection: ``(P, H)`` applied to the LSTM's output, or None.
    """

    kernel: Value
    recurrent: Value
    bias: Value | None = None
    recurrent_bias: Value | None = None
    peepholes: tuple[Value, Value, Value] | None = None
    projection: Value | None = None

    @property
    def gates(self) -> int:
        """The length of axis 0."""
        return self.kernel.shape[0]


def length_mask(b: Builder, lengths: Value, steps: int) -> Value:
    """Return ``(T, N)`` booleans: whether step ``t`` lies within sequence ``n``."""
    time = b.constant(np.arange(steps, dtype=np.float64)[:, None])
    count = b.reshape(lengths, (1, lengths.size))
    return b.compare(b.cast(count, np.float64), ">", time)


def _apply(b: Builder, x: Value, weight: Value, bias: Value | None) -> Value:
    """Return ``x weight^T + bias``."""
    out = b.matmul(x, b.permute(weight, (1, 0)))
    return out if bias is None else b.add(out, bias)


def _zeros(b: Builder, x: Value, size: int) -> Value:
    return b.constant(np.zeros((x.shape[1], size)))


def _clipped(b: Builder, x: Value, clip: float | None) -> Value:
    return x if clip is None else b.elementwise("clip", x, low=-clip, high=clip)


def _blocks(b: Builder, x: Value, order: str) -> dict[str, Value]:
    """Return the gate blocks of the last axis by their letter."""
    size = x.shape[-1] // len(order)
    return {gate: b.slice_axis(x, -1, k * size, size) for k, gate in enumerate(order)}


class _Steps:
    """The walk over time shared by all cells: direction, masks and the collected outputs."""

    def __init__(
        self, b: Builder, x: Value, *, reverse: bool, mask: Value | None, hold: bool
    ) -> None:
        self.b = b
        self.reverse = reverse
        self.mask = mask
        self.hold = hold
        self.count = x.shape[0]
        self.outputs: list[Value] = []

    def __iter__(self) -> Iterator[int]:
        return iter(range(self.count - 1, -1, -1) if self.reverse else range(self.count))

    def keep(self, t: int, new: Value, old: Value) -> Value:
        """Return the state after step ``t``: ``old`` where the step is masked."""
        if self.mask is None:
            return new
        row = self.b.slice_axis(self.mask, 0, t, 1)
        return self.b.where(self.b.reshape(row, (self.mask.shape[1], 1)), new, old)

    def emit(self, t: int, new: Value, previous: Value | None) -> Value:
        """Collect and return the output of step ``t``."""
        zero = self.b.constant(np.zeros(new.shape))
        out = self.keep(t, new, previous if self.hold and previous is not None else zero)
        self.outputs.append(out)
        return out

    def sequence(self) -> Value:
        """Return the outputs ``(T, N, H)`` in the order of time."""
        found = self.outputs[::-1] if self.reverse else self.outputs
        return self.b.stack(found, 0)


def lstm(
    b: Builder,
    x: Value,
    weights: CellWeights,
    *,
    order: str = "ifgo",
    h0: Value | None = None,
    c0: Value | None = None,
    reverse: bool = False,
    activations: tuple[Activation, Activation, Activation] = (_SIGMOID, _TANH, _TANH),
    input_forget: bool = False,
    clip: float | None = None,
    mask: Value | None = None,
    hold_masked: bool = False,
) -> tuple[Value, Value, Value]:
    r"""Return the outputs ``(T, N, H)``, the last state and the last cell ``(N, H)``.

    .. math:: c_t = f c_{t-1} + i\,g, \qquad h_t = o\,\phi(c_t)

    Args:
        b: the builder.
        x: ``(T, N, I)``.
        weights: the weights of this direction.
        order: the gate blocks: ``i`` input, ``f`` forget, ``g`` candidate, ``o`` output
            (PyTorch and Keras ``ifgo``, ONNX ``iofg``).
        h0: ``(N, H)``, zeros when None.
        c0: ``(N, H)``, zeros when None.
        reverse: walk from the last step to the first; outputs stay at their own steps.
        activations: of the gates, of the candidate, of the cell.
        input_forget: couple the gates, ``f = 1 - i``.
        clip: bound on the inputs of the activations.
        mask: ``(T, N)`` booleans, or None; where false the state does not change.
        hold_masked: a masked step repeats the output before it (else 0).

    References:
        Hochreiter & Schmidhuber 1997; peepholes: Gers, Schraudolph & Schmidhuber 2002.
    """
    gate, candidate, cell = activations
    size = weights.gates // len(order)
    width = size if weights.projection is None else weights.projection.shape[0]
    h = _zeros(b, x, width) if h0 is None else h0
    c = _zeros(b, x, size) if c0 is None else c0
    projected = _apply(b, x, weights.kernel, _total(b, weights))
    steps = _Steps(b, x, reverse=reverse, mask=mask, hold=hold_masked)
    previous: Value | None = None

    def peeped(z: Value, which: int, state: Value) -> Value:
        if weights.peepholes is not None:
            z = b.add(z, b.multiply(state, weights.peepholes[which]))
        return gate(b, _clipped(b, z, clip))

    for t in steps:
        pre = b.add(_step(b, projected, t), _apply(b, h, weights.recurrent, None))
        part = _blocks(b, pre, order)
        i = peeped(part["i"], 0, c)
        f = b.subtract(b.constant(1.0), i) if input_forget else peeped(part["f"], 2, c)
        g = candidate(b, _clipped(b, part["g"], clip))
        fresh = b.add(b.multiply(f, c), b.multiply(i, g))
        out = b.multiply(peeped(part["o"], 1, fresh), cell(b, fresh))
        if weights.projection is not None:
            out = _apply(b, out, weights.projection, None)
        previous = steps.emit(t, out, previous)
        h, c = steps.keep(t, out, h), steps.keep(t, fresh, c)
    return steps.sequence(), h, c


def _step(b: Builder, x: Value, t: int) -> Value:
    return b.reshape(b.slice_axis(x, 0, t, 1), x.shape[1:])


def _total(b: Builder, weights: CellWeights) -> Value | None:
    """Return the sum of both biases, in float64 when constant."""
    found = [v for v in (weights.bias, weights.recurrent_bias) if v is not None]
    wide = [b.constant(v.array.astype(np.float64)) if v.array is not None else v for v in found]
    if len(found) == 1:
        return found[0]
    return b.add(*wide) if wide else None


def gru(
    b: Builder,
    x: Value,
    weights: CellWeights,
    *,
    order: str = "rzn",
    h0: Value | None = None,
    reverse: bool = False,
    activations: tuple[Activation, Activation] = (_SIGMOID, _TANH),
    reset_after: bool = True,
    clip: float | None = None,
    mask: Value | None = None,
    hold_masked: bool = False,
) -> tuple[Value, Value]:
    r"""Return the outputs ``(T, N, H)`` and the last state ``(N, H)``.

    .. math:: h_t = (1 - z)\,n + z\,h_{t-1}, \qquad
        n = \phi(W_n x + b_n + r\,(R_n h_{t-1} + c_n))

    Args:
        b: the builder.
        x: ``(T, N, I)``.
        weights: the weights of this direction.
        order: the gate blocks: ``r`` reset, ``z`` update, ``n`` candidate (PyTorch ``rzn``, ONNX
            and Keras ``zrn``).
        h0: ``(N, H)``, zeros when None.
        reverse: walk from the last step to the first; outputs stay at their own steps.
        activations: of the gates, of the candidate.
        reset_after: the reset gate acts on ``R_n h + c_n`` (PyTorch, Keras ``reset_after``, ONNX
            ``linear_before_reset``); otherwise on ``h`` before ``R_n``.
        clip: bound on the inputs of the activations.
        mask: ``(T, N)`` booleans, or None; where false the state does not change.
        hold_masked: a masked step repeats the output before it (else 0).

    References:
        Cho et al. 2014; the variant with ``reset_after``: cuDNN, Appleyard et al. 2016.
    """
    gate, candidate = activations
    size = weights.gates // len(order)
    h = _zeros(b, x, size) if h0 is None else h0
    projected = _apply(b, x, weights.kernel, weights.bias)
    rows = _blocks(b, b.permute(weights.recurrent, (1, 0)), order)
    blocks = {key: b.permute(value, (1, 0)) for key, value in rows.items()}
    extra = weights.recurrent_bias
    biases = {} if extra is None else _blocks(b, extra, order)
    steps = _Steps(b, x, reverse=reverse, mask=mask, hold=hold_masked)
    previous: Value | None = None
    for t in steps:
        own = _blocks(b, _step(b, projected, t), order)
        if reset_after:
            other = _blocks(b, _apply(b, h, weights.recurrent, extra), order)
        else:
            other = {k: _apply(b, h, blocks[k], biases.get(k)) for k in "rz"}
        r = gate(b, _clipped(b, b.add(own["r"], other["r"]), clip))
        z = gate(b, _clipped(b, b.add(own["z"], other["z"]), clip))
        if reset_after:
            inner = b.multiply(r, other["n"])
        else:
            inner = _apply(b, b.multiply(r, h), blocks["n"], biases.get("n"))
        n = candidate(b, _clipped(b, b.add(own["n"], inner), clip))
        out = b.add(n, b.multiply(z, b.subtract(h, n)))
        previous = steps.emit(t, out, previous)
        h = steps.keep(t, out, h)
    return steps.sequence(), h


def rnn(
    b: Builder,
    x: Value,
    weights: CellWeights,
    *,
    h0: Value | None = None,
    reverse: bool = False,
    activation: Activation = _TANH,
    clip: float | None = None,
    mask: Value | None = None,
    hold_masked: bool = False,
) -> tuple[Value, Value]:
    r"""Return the outputs ``(T, N, H)`` and the last state of :math:`h_t = \phi(W x + R h + b)`.

    Args:
        b: the builder.
        x: ``(T, N, I)``.
        weights: the weights of this direction.
        h0: ``(N, H)``, zeros when None.
        reverse: walk from the last step to the first; outputs stay at their own steps.
        activation: of the state.
        clip: bound on the activation's input.
        mask: ``(T, N)`` booleans, or None; where false the state does not change.
        hold_masked: a masked step repeats the output before it (else 0).
    """
    h = _zeros(b, x, weights.gates) if h0 is None else h0
    projected = _apply(b, x, weights.kernel, _total(b, weights))
    steps = _Steps(b, x, reverse=reverse, mask=mask, hold=hold_masked)
    previous: Value | None = None
    for t in steps:
        pre = b.add(_step(b, projected, t), _apply(b, h, weights.recurrent, None))
        out = activation(b, _clipped(b, pre, clip))
        previous = steps.emit(t, out, previous)
        h = steps.keep(t, out, h)
    return steps.sequence(), h
