"""The walk over an exported program: every operator is folded, lowered or named in one error."""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch._ops import HigherOrderOperator, OpOverload
from torch.export.graph_signature import InputKind, OutputKind
from torch.utils import _pytree as pytree

from nneq.adapters.torch.operators import LOWERINGS
from nneq.adapters.torch.origin import origin, where
from nneq.adapters.torch.registry import Call, Constants, numpy_dtype
from nneq.errors import UnsupportedError, problems_message
from nneq.lowering.builder import Builder, Value

__all__ = ["REMEDY", "Walk", "functional", "lower_program"]

REMEDY = (
    "replace these operators by ones that nneq knows (docs/torch.md lists them), or move them out "
    "of forward()"
)
_PURE = {
    operator.getitem,
    operator.add,
    operator.sub,
    operator.mul,
    operator.floordiv,
    operator.truediv,
    operator.mod,
    operator.neg,
    operator.eq,
    operator.ne,
    operator.lt,
    operator.le,
    operator.gt,
    operator.ge,
    operator.not_,
}
_CHECKS = {"_assert_tensor_metadata"}  # compares element types, which are known here
_REASONS = {
    "complex": "complex numbers have no equations over the reals here",
    "fft": "Fourier transforms give complex numbers",
    "nonzero": "the size of its result depends on the inputs",
    "unique": "the size of its result depends on the inputs",
    "masked_select": "the size of its result depends on the inputs",
    "bincount": "the size of its result depends on the inputs",
    "item": "reads a number out of a tensor (data-dependent control flow)",
    "_local_scalar_dense": "reads a number out of a tensor (data-dependent control flow)",
    "isnan": "asks for NaN, which no equation has; remove the check",
    "isinf": "asks for infinity, which no equation has; remove the check",
    "isfinite": "asks for NaN and infinity, which no equation has; remove the check",
    "linalg": "matrix decompositions are not supported",
    "inverse": "matrix decompositions are not supported",
    "special": "this special function is not supported",
    "quantize": "live quantisation is not supported; import the model before it is quantised",
    "loss": "a loss function belongs to training; import the model without it",
}


class _Missing:
    """The value of a node that could not be lowered; what depends on it is not reported again."""


class Walk:
    """One walk over a graph and the graphs inside it."""

    def __init__(self, builder: Builder, constants: Constants) -> None:
        """Start with no problems."""
        self.b = builder
        self.constants = constants
        self.problems: list[str] = []

    def run(self, graph: torch.fx.Graph, feeds: Sequence[Any], owner: Any) -> list[Any]:
        """Return what the graph returns for the placeholders' values, in order."""
        env: dict[torch.fx.Node, Any] = {}
        waiting = iter(feeds)
        for node in graph.nodes:
            if node.op == "placeholder":
                env[node] = next(waiting)
            elif node.op == "get_attr":
                env[node] = _attribute(owner, str(node.target))
            elif node.op == "call_function":
                env[node] = self._guarded(node, env)
            elif node.op == "output":
                return list(_mapped(node.args[0], env))
            else:
                self.problems.append(f"node {node.name!r}: {node.op} is not supported")
                env[node] = _Missing()
        return []

    def _guarded(self, node: torch.fx.Node, env: dict[torch.fx.Node, Any]) -> Any:
        args = _mapped(node.args, env)
        kwargs = _mapped(node.kwargs, env)
        if _contains((args, kwargs), _Missing):
            reason = _refusal(node.target, args, kwargs)
            if reason:
                self.problems.append(f"{where(node)}: {reason}")
            return _Missing()
        self.b.origin = origin(node)
        try:
            return self._call(node, args, kwargs)
        except UnsupportedError as error:
            reason = str(error)
        except (ArithmeticError, LookupError, RuntimeError, TypeError, ValueError) as error:
            reason = f"its arguments are outside what is supported ({error})"
        self.problems.append(f"{where(node)}: {reason}")
        return _Missing()

    def _call(self, node: torch.fx.Node, args: Any, kwargs: Any) -> Any:
        target: Any = node.target
        if target in _PURE:
            if target is operator.getitem and isinstance(args[0], Value):
                msg = "indexing by Python is not supported here"
                raise UnsupportedError(msg)
            return target(*args, **kwargs)
        if isinstance(target, HigherOrderOperator):
            return self._inner(target, args)
        if not isinstance(target, OpOverload):
            return self._plain(target, args, kwargs)
        constant = not _contains((args, kwargs), Value)
        reason = _refusal(target, args, kwargs)
        if reason and not (constant and reason == _unknown(target)):
            raise UnsupportedError(reason)
        if constant:
            with torch.no_grad():
                return target(*args, **kwargs)
        if _packet(target) in _CHECKS:
            return None
        if any(_unavailable(v) for v in pytree.tree_leaves((args, kwargs))):
            msg = "uses a by-product (indices, saved statistics) that nneq does not follow"
            raise UnsupportedError(msg)
        return self._lowered(node, target, args, kwargs)

    def _plain(self, target: Any, args: Any, kwargs: Any) -> Any:
        if not _contains((args, kwargs), Value):
            return target(*args, **kwargs)
        msg = "is not a tensor operator nneq knows"
        raise UnsupportedError(msg)

    def _inner(self, target: Any, args: Any) -> Any:
        """Return the result of a block under ``no_grad`` or ``autocast``."""
        name = target.name()
        if name == "wrap_with_set_grad_enabled":
            block, operands = args[1], args[2:]
        elif name == "wrap_with_autocast":
            block, operands = args[4], args[5:]
        else:
            msg = f"the block {name} (control flow on values) is not supported"
            raise UnsupportedError(msg)
        return tuple(self.run(block.graph, operands, block))

    def _lowered(self, node: torch.fx.Node, target: Any, args: Any, kwargs: Any) -> Any:
        packet = _packet(target)
        lowering = LOWERINGS[packet]
        metas = node.meta["val"]
        many = isinstance(metas, list | tuple)
        tensors = [m for m in metas if isinstance(m, torch.Tensor)] if many else [metas]
        call = Call(
            b=self.b,
            op=packet,
            arguments=_by_name(target, args, kwargs),
            shapes=tuple(_extents(m) for m in tensors),
            dtype=numpy_dtype(tensors[0].dtype),
            constants=self.constants,
            overload=target,
            torch_dtype=tensors[0].dtype,
        )
        found = lowering(call)
        if isinstance(found, Value):
            checked = [_typed(found, tensors[0])]
            return checked if many else checked[0]
        pairs = zip(found, tensors, strict=False)
        return [_typed(value, meta) for value, meta in pairs]


def _typed(value: Value, meta: torch.Tensor) -> Value:
    """Return the value with the framework's element type; its shape must be the framework's.

    Raises:
        ValueError: the shape differs, which is a fault of nneq.
    """
    shape = _extents(meta)
    if value.shape != shape:
        msg = f"the lowering gives shape {value.shape}, PyTorch {shape}"
        raise ValueError(msg)
    if value.node is None and value.array is None:
        return value
    kind = numpy_dtype(meta.dtype)
    array = value.array
    if array is not None and array.dtype != kind and not (array.dtype.kind == kind.kind == "f"):
        array = array.astype(kind)
    return Value(shape, kind, node=value.node, array=array)


def _extents(meta: torch.Tensor) -> tuple[int, ...]:
    if not all(isinstance(size, int) for size in meta.shape):
        msg = (
            "the size of its result depends on the values of a tensor; index by places, or use "
            "torch.where instead of a mask"
        )
        raise UnsupportedError(msg)
    return tuple(int(size) for size in meta.shape)


def _switched_off(target: Any, args: Any, kwargs: Any) -> bool:
    """Return whether a random operator is told not to draw: dropout outside training."""
    named = _by_name(target, args, kwargs)
    if "train" in named or "training" in named:
        training = named.get("train", named.get("training"))
        return not training or named.get("p") == 0 or named.get("dropout") == 0
    return named.get("dropout_p") == 0


def _by_name(target: Any, args: Any, kwargs: Any) -> dict[str, Any]:
    """Return the arguments by the names of the schema, defaults filled in."""
    found = {}
    for place, argument in enumerate(target._schema.arguments):  # noqa: SLF001  # the only way
        if place < len(args):
            found[argument.name] = args[place]
        elif argument.name in kwargs:
            found[argument.name] = kwargs[argument.name]
        elif argument.has_default_value():
            found[argument.name] = argument.default_value
    return found


def _refusal(target: Any, args: Any, kwargs: Any) -> str:
    """Return why an operator can never be lowered, or nothing."""
    if not isinstance(target, OpOverload):
        return ""
    random = torch.Tag.nondeterministic_seeded in target.tags
    if random and not _switched_off(target, args, kwargs):
        return "draws random numbers, so it is no function of the inputs; use eval mode"
    return _unknown(target)


def _unknown(target: OpOverload) -> str:
    """Return the reason why an operator has no lowering, or nothing when it has one."""
    packet = _packet(target)
    if packet in LOWERINGS or packet in _CHECKS:
        return ""
    reasons = (reason for part, reason in _REASONS.items() if part in packet)
    return next(reasons, "this operator is not supported")


def _mapped(item: Any, env: dict[torch.fx.Node, Any]) -> Any:
    """Return ``item`` with every graph node replaced by its value."""
    if isinstance(item, torch.fx.Node):
        return env[item]
    if isinstance(item, list | tuple):
        found = [_mapped(part, env) for part in item]
        return found if isinstance(item, list) else tuple(found)
    if isinstance(item, dict):
        return {key: _mapped(part, env) for key, part in item.items()}
    return item


def _contains(item: Any, kind: type) -> bool:
    if isinstance(item, list | tuple):
        return any(_contains(part, kind) for part in item)
    if isinstance(item, dict):
        return any(_contains(part, kind) for part in item.values())
    if isinstance(item, Value) and kind is Value:
        return item.array is None
    return isinstance(item, kind)


def _unavailable(item: Any) -> bool:
    return isinstance(item, Value) and item.node is None and item.array is None


def _attribute(owner: Any, path: str) -> Any:
    for part in path.split("."):
        owner = getattr(owner, part)
    return owner


# ---------------------------------------------------------------------- the whole program
def functional(exported: torch.export.ExportedProgram) -> torch.export.ExportedProgram:
    """Return the program without writes, every operator that has no lowering decomposed.

    Operators with a lowering stay whole; the empty table keeps all of them.
    """
    plain = exported.run_decompositions({})
    if all(_known(node.target) for node in _calls(plain.graph_module)):
        return plain
    return exported.run_decompositions(dict(_table()))


@functools.cache
def _table() -> dict[Any, Any]:
    """Return PyTorch's decompositions of the operators that have no lowering."""
    whole = torch.export.default_decompositions().items()
    return {op: rule for op, rule in whole if not _known(op)}


def _calls(module: torch.fx.GraphModule) -> list[torch.fx.Node]:
    graphs = [m for m in module.modules() if isinstance(m, torch.fx.GraphModule)]
    return [node for m in graphs for node in m.graph.nodes if node.op == "call_function"]


def _known(target: Any) -> bool:
    return not isinstance(target, OpOverload) or _packet(target) in LOWERINGS


def _packet(target: OpOverload) -> str:
    name: str = target._schema.name  # noqa: SLF001  # it has no public name
    return name.removeprefix("aten::")


def lower_program(
    exported: torch.export.ExportedProgram,
    write_input: Callable[[Builder, int, torch.Tensor], Value],
    headline: str,
) -> tuple[Builder, list[Value]]:
    """Return the builder and the output values of an exported program.

    Args:
        exported: functional ATen operators, static shapes.
        write_input: writes the input port of the k-th user input.
        headline: first line of the error, without a final colon.

    Raises:
        UnsupportedError: some nodes have no lowering; the message names all of them.
    """
    b = Builder()
    walk = Walk(b, Constants())
    feeds = _feeds(exported, b, write_input)
    found = walk.run(exported.graph, feeds, exported.graph_module)
    outputs = []
    for spec, value in zip(exported.graph_signature.output_specs, found, strict=True):
        if spec.kind is OutputKind.USER_OUTPUT:
            outputs.append(value)
        elif spec.kind in {OutputKind.BUFFER_MUTATION, OutputKind.PARAMETER_MUTATION}:
            name = str(spec.target).removeprefix("model.")
            walk.problems.append(
                f"forward() changes the model's own tensor {name!r} on every call, so the output "
                "is no function of the inputs"
            )
    for place, value in enumerate(outputs, start=1):
        if _unavailable(value):
            walk.problems.append(f"output {place} holds indices that nneq does not follow")
    if walk.problems:
        raise UnsupportedError(problems_message(headline, walk.problems, REMEDY))
    constant = [isinstance(v, torch.Tensor) for v in outputs]
    return b, [
        b.constant(walk.constants.array(v)) if still else v
        for v, still in zip(outputs, constant, strict=True)
    ]


def _feeds(
    exported: torch.export.ExportedProgram,
    b: Builder,
    write_input: Callable[[Builder, int, torch.Tensor], Value],
) -> list[Any]:
    signature = exported.graph_signature
    placeholders = [node for node in exported.graph.nodes if node.op == "placeholder"]
    feeds: list[Any] = []
    count = 0
    for spec, node in zip(signature.input_specs, placeholders, strict=True):
        target = str(spec.target)
        if spec.kind is InputKind.USER_INPUT:
            feeds.append(write_input(b, count, node.meta["val"]))
            count += 1
        elif spec.kind is InputKind.BUFFER and not spec.persistent:
            feeds.append(exported.constants[target].detach())
        elif spec.kind in {InputKind.PARAMETER, InputKind.BUFFER}:
            feeds.append(exported.state_dict[target].detach())
        else:
            held = exported.constants[target]
            feeds.append(held.detach() if isinstance(held, torch.Tensor) else held)
    return feeds
