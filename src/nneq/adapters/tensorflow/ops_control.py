"""Functions, loops and lists of TensorFlow graphs; loops of constant length are written out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from nneq.adapters.tensorflow.registry import operation
from nneq.errors import UnsupportedError
from nneq.lowering import Value

if TYPE_CHECKING:
    from nneq.adapters.tensorflow.walk import Walk

__all__ = ["TensorList"]

_MOST_ITERATIONS = 1 << 14


@dataclass(frozen=True, eq=False)
class TensorList:
    """A TensorFlow list of tensors: its entries, or None where none was set."""

    entries: tuple[Value | None, ...]


@operation("PartitionedCall", "StatefulPartitionedCall")
def _call(walk: Walk, op: Any, *inputs: Any) -> list[Any]:
    return walk.call(_function(op, "f"), inputs)


def _function(op: Any, name: str) -> str:
    found = op.get_attr(name)
    return str(getattr(found, "name", found))


@operation("While", "StatelessWhile")
def _while(walk: Walk, op: Any, *inputs: Any) -> list[Any]:
    state = list(inputs)
    condition, body = _function(op, "cond"), _function(op, "body")
    for _ in range(_MOST_ITERATIONS):
        test = walk.call(condition, state)[0]
        if test.array is None:
            msg = "the number of loop iterations depends on the inputs"
            raise UnsupportedError(msg)
        if not bool(test.array.reshape(-1)[0]):
            return state
        state = walk.call(body, state)
        if walk.problems:
            return state
    msg = f"the loop runs more than {_MOST_ITERATIONS} times"
    raise UnsupportedError(msg)


@operation("If", "StatelessIf")
def _if(walk: Walk, op: Any, test: Value, *inputs: Any) -> list[Any]:
    names = [_function(op, "then_branch"), _function(op, "else_branch")]
    if test.array is not None:
        return walk.call(names[0 if bool(test.array.reshape(-1)[0]) else 1], inputs)
    b = walk.b
    yes, no = (walk.call(name, inputs) for name in names)
    gate = b.reshape(b.cast(test, bool), ())
    chosen = []
    for one, other in zip(yes, no, strict=True):
        if not isinstance(one, Value) or not isinstance(other, Value) or one.shape != other.shape:
            msg = "the branches of a condition on the inputs have different results"
            raise UnsupportedError(msg)
        chosen.append(b.where(b.broadcast_to(gate, one.shape), one, other))
    return chosen


# ---------------------------------------------------------------------- lists
@operation("TensorListReserve", "EmptyTensorList")
def _reserve(walk: Walk, op: Any, _: Value, count: Value) -> TensorList:
    if op.type == "EmptyTensorList":
        return TensorList(())
    return TensorList((None,) * walk.integers(count)[0])


@operation("TensorListSetItem")
def _set_item(
    walk: Walk, _: Any, items: TensorList, index: Value, item: Value, *__: Any
) -> TensorList:
    place = walk.integers(index)[0]
    entries = list(items.entries)
    entries += [None] * (place + 1 - len(entries))
    entries[place] = item
    return TensorList(tuple(entries))


@operation("TensorListGetItem")
def _get_item(walk: Walk, _: Any, items: TensorList, index: Value, shape: Value) -> Value:
    found = items.entries[walk.integers(index)[0]]
    if found is None:
        return walk.b.constant(np.zeros(walk.integers(shape), dtype=np.float32))
    return found


@operation("TensorListPushBack")
def _push(_: Walk, __: Any, items: TensorList, item: Value) -> TensorList:
    return TensorList((*items.entries, item))


@operation("TensorListPopBack")
def _pop(_: Walk, __: Any, items: TensorList, ___: Value) -> tuple[TensorList, Any]:
    return TensorList(items.entries[:-1]), items.entries[-1]


@operation("TensorListLength")
def _length(walk: Walk, _: Any, items: TensorList) -> Value:
    return walk.b.constant(np.int32(len(items.entries)))


@operation("TensorListFromTensor")
def _from_tensor(walk: Walk, _: Any, x: Value, __: Value) -> TensorList:
    rest = x.shape[1:]
    return TensorList(
        tuple(walk.b.reshape(walk.b.slice_axis(x, 0, k, 1), rest) for k in range(x.shape[0]))
    )


@operation("TensorListStack")
def _stack(walk: Walk, _: Any, items: TensorList, shape: Value) -> Value:
    known = [entry.shape for entry in items.entries if entry is not None]
    rest = known[0] if known else tuple(walk.integers(shape))
    zero = walk.b.constant(np.zeros(rest, dtype=np.float32))
    if not items.entries:
        return walk.b.constant(np.zeros((0, *rest), dtype=np.float32))
    return walk.b.stack([zero if entry is None else entry for entry in items.entries], 0)
