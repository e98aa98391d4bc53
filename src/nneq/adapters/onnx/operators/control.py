"""Control flow that does not depend on the inputs: branches chosen and loops unrolled."""

from __future__ import annotations

import numpy as np
from onnx import GraphProto

from nneq.adapters.onnx.call import Call, operator
from nneq.adapters.onnx.limits import MAX_UNROLLED
from nneq.errors import NneqError
from nneq.lowering import Value

__all__ = []

_DEPENDS = (
    "its condition depends on the inputs; nneq reads straight-line models only, write the choice "
    "with Where or export each branch by itself"
)


@operator("If")
def branch(call: Call) -> list[Value | None]:
    """The branch that a constant condition chooses."""
    condition = call.input(0)
    if condition.array is None:
        raise call.refuse(_DEPENDS)
    if condition.size != 1:
        msg = "the condition must be one truth value"
        raise NneqError(msg)
    chosen = call.attribute("then_branch" if condition.array.any() else "else_branch")
    return call.walk.graph(call.node, chosen, call.scope, [], call.opsets)


@operator("Loop")
def loop(call: Call) -> list[Value | None]:
    """A loop whose number of rounds does not depend on the inputs, unrolled."""
    b = call.builder
    trips = call.number(0, "the number of rounds")
    condition = call.optional(1)
    if condition is not None and condition.array is None:
        raise call.refuse(_DEPENDS)
    if trips is None and condition is None:
        msg = "a loop without an end"
        raise NneqError(msg)
    body = call.attribute("body")
    if trips is not None and body.output and condition is None:
        _check_budget(call, 0 if _may_stop(body) else int(trips))
    carried: list[Value] = [call.input(k) for k in range(2, len(call.inputs))]
    scanned: list[list[Value]] = [[] for _ in range(len(body.output) - 1 - len(carried))]
    going = True if condition is None else bool(np.all(np.asarray(condition.array)))
    turn = 0
    while going and (trips is None or turn < int(trips)):
        _check_budget(call, turn)
        given = [b.constant(np.int64(turn)), b.constant(np.array(True)), *carried]
        found = _made(call, call.walk.graph(call.node, body, call.scope, given, call.opsets))
        if found[0].array is None:
            raise call.refuse(_DEPENDS)
        going = bool(np.all(np.asarray(found[0].array)))
        carried = found[1 : 1 + len(carried)]
        for rows, value in zip(scanned, found[1 + len(carried) :], strict=True):
            rows.append(value)
        turn += 1
    if any(not rows for rows in scanned):
        msg = "a loop of no rounds that collects values"
        raise call.refuse(msg)
    return [*carried, *(b.stack(rows, 0) for rows in scanned)]


def _may_stop(body: GraphProto) -> bool:
    """Whether the body itself decides when to stop (its condition is more than handed on)."""
    handed = {body.input[1].name} if len(body.input) > 1 else set()
    for node in body.node:
        if node.op_type == "Identity" and set(node.input) <= handed:
            handed.update(node.output)
    return body.output[0].name not in handed


def _check_budget(call: Call, rounds: int) -> None:
    if rounds > MAX_UNROLLED or call.walk.visited > MAX_UNROLLED:
        msg = f"a loop that unrolls to more than {MAX_UNROLLED} nodes"
        raise call.refuse(msg)


def _made(call: Call, values: list[Value | None]) -> list[Value]:
    found = [value for value in values if value is not None]
    if len(found) < len(values):
        msg = "its body could not be written"
        raise call.refuse(msg)
    return found


@operator("Scan")
def scan(call: Call) -> list[Value | None]:
    """A scan over axes of constant extent, unrolled."""
    b = call.builder
    if call.since < 9:
        msg = "the form of Scan before opset 9; export with opset 9 or newer"
        raise call.refuse(msg)
    body = call.attribute("body")
    count = int(call.attribute("num_scan_inputs"))
    states: list[Value] = [call.input(k) for k in range(len(call.inputs) - count)]
    series = [call.input(k) for k in range(len(call.inputs) - count, len(call.inputs))]
    in_axes = call.attribute("scan_input_axes") or [0] * count
    in_ways = call.attribute("scan_input_directions") or [0] * count
    axes = [call.axis(int(a), len(x.shape)) for a, x in zip(in_axes, series, strict=True)]
    extents = {x.shape[a] for x, a in zip(series, axes, strict=True)}
    if len(extents) != 1 or not series:
        msg = f"the scanned axes have the extents {sorted(extents)}"
        raise NneqError(msg)
    total = extents.pop()
    made = len(body.output) - len(states)
    rows: list[list[Value]] = [[] for _ in range(made)]
    for turn in range(total):
        _check_budget(call, turn)
        given = []
        for x, axis, way in zip(series, axes, in_ways, strict=True):
            at = total - 1 - turn if way else turn
            cut = b.slice_axis(x, axis, at, 1)
            given.append(b.reshape(cut, [s for k, s in enumerate(x.shape) if k != axis]))
        inner = call.walk.graph(call.node, body, call.scope, [*states, *given], call.opsets)
        found = _made(call, inner)
        states = found[: len(states)]
        for row, value in zip(rows, found[len(states) :], strict=True):
            row.append(value)
    out_axes = call.attribute("scan_output_axes") or [0] * made
    out_ways = call.attribute("scan_output_directions") or [0] * made
    outs = [
        b.stack(row[::-1] if way else row, int(axis))
        for row, axis, way in zip(rows, out_axes, out_ways, strict=True)
    ]
    return [*states, *outs]
