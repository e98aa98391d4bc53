"""Recurrent layers: the cell is read once and written for every time step."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from nneq.adapters.keras.registry import layer
from nneq.adapters.keras.tracing import record, replay
from nneq.errors import UnsupportedError
from nneq.lowering import Value

if TYPE_CHECKING:
    from nneq.adapters.keras.walk import Walk

__all__: list[str] = []


@layer("RNN", "SimpleRNN", "LSTM", "GRU", "ConvLSTM1D", "ConvLSTM2D", "ConvLSTM3D", "ConvLSTM")
def _recurrent(
    walk: Walk, rnn: Any, sequences: Any, initial_state: Any = None, mask: Any = None
) -> Any:
    if rnn.stateful:
        msg = (
            "it is stateful: its output depends on earlier calls; build it with stateful=False "
            "and make the state an input (initial_state=)"
        )
        raise UnsupportedError(msg)
    b, x = walk.b, walk.value(sequences)
    if mask is not None:
        mask = keras.tree.flatten(mask)[0]
    states = initial_state if initial_state is not None else rnn.get_initial_state(x.shape[0])
    states = keras.tree.map_structure(walk.value, states)
    if not keras.tree.is_nested(states):
        states = [states]
    order = range(x.shape[1])
    recording = None
    outputs: list[Value] = []
    for t in reversed(order) if rnn.go_backwards else order:
        step = b.reshape(b.slice_axis(x, 1, t, 1), (x.shape[0], *x.shape[2:]))
        given = (step, states)
        if recording is None:
            recording = record(walk, rnn.cell.call, given, {})
        found, new = replay(walk, recording, given, {})
        new = keras.tree.pack_sequence_as(states, keras.tree.flatten(new))
        if mask is not None:
            shape = (x.shape[0],)
            gate = b.reshape(b.slice_axis(b.cast(mask, bool), 1, t, 1), shape)
            before = b.constant(np.zeros(found.shape))
            if outputs and not rnn.zero_output_for_mask:
                before = outputs[-1]
            found = _gated(walk, gate, found, before)
            new = keras.tree.map_structure(
                lambda one, old, gate=gate: _gated(walk, gate, one, old), new, states
            )
        outputs.append(found)
        states = new
    result = b.stack(outputs, 1) if rnn.return_sequences else outputs[-1]
    return (result, *states) if rnn.return_state else result


def _gated(walk: Walk, gate: Value, yes: Value, no: Value) -> Value:
    b = walk.b
    wide = b.reshape(gate, (*gate.shape, *(1,) * (len(yes.shape) - len(gate.shape))))
    return b.where(b.broadcast_to(wide, yes.shape), yes, no)
