"""A private copy of the user's model, its example inputs and outputs as flat lists of tensors."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import inspect
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils import _pytree as pytree

from nneq.adapters.torch.memory import Recorder
from nneq.errors import NneqError, UnsupportedError, problems_message

__all__ = ["Example", "Flat", "example_of", "private_copy", "quiet", "unwrapped"]

_WRAPPERS = (nn.DataParallel, nn.parallel.DistributedDataParallel)


def _core(module: nn.Module) -> nn.Module:
    """Return the module inside ``torch.compile``, ``DataParallel`` and the like."""
    while True:
        held = module.__dict__.get("_modules")
        inner = held.get("_orig_mod") if isinstance(held, dict) else None
        if isinstance(inner, nn.Module):
            module = inner
        elif isinstance(module, _WRAPPERS):
            module = module.module
        else:
            return module


def unwrapped(model: Any) -> nn.Module:
    """Return the plain module of a compiled, parallel or plain one.

    Raises:
        UnsupportedError: TorchScript modules, functions, uninitialised or weightless modules.
    """
    if not isinstance(model, nn.Module):
        msg = (
            f"expected a torch.nn.Module, torch.export.ExportedProgram or the path of a .pt2 file, "
            f"got {type(model).__name__}"
        )
        raise UnsupportedError(msg)
    core = _core(model)
    if isinstance(core, torch.jit.ScriptModule):
        msg = (
            f"{type(core).__name__} is a TorchScript module, whose code is not read; give the "
            "original nn.Module with its weights loaded"
        )
        raise UnsupportedError(msg)
    lazy = [name for name, p in core.named_parameters() if nn.parameter.is_lazy(p)]
    if lazy:
        msg = f"parameters {', '.join(lazy)} are not initialised; run one forward pass first"
        raise NneqError(msg)
    meta = [name for name, p in core.named_parameters() if p.device.type == "meta"]
    if meta:
        msg = f"parameters {', '.join(meta[:5])} are on the meta device and hold no numbers"
        raise NneqError(msg)
    return core


def private_copy(model: nn.Module) -> nn.Module:
    """Return a deep copy on the CPU, in eval mode; the model itself is not touched.

    Raises:
        NneqError: when the module holds something that cannot be copied, or weights that are NaN
            or infinite.
    """
    memo: dict[int, Any] = {}
    for module in model.modules():
        # The public iterators leave out shared tensors and those registered twice.
        held = [*module.__dict__.values()]
        tensors = [t for t in held if isinstance(t, torch.Tensor)]
        tensors += [t for t in module._parameters.values() if t is not None]  # noqa: SLF001
        tensors += [t for t in module._buffers.values() if t is not None]  # noqa: SLF001
        for tensor in tensors:
            if id(tensor) not in memo:
                memo[id(tensor)] = _cloned(tensor)
    try:
        found = copy.deepcopy(model, memo)
    except Exception as error:  # whatever a user's own attribute raises on copying
        msg = (
            f"{type(model).__name__} cannot be copied ({type(error).__name__}: {error}); "
            "remove the attribute that cannot, or give "
            "torch.export.export(model.eval(), example_inputs)"
        )
        raise NneqError(msg) from error
    with contextlib.suppress(NotImplementedError):  # modules made by torch.export
        found.eval()
    for module in found.modules():
        module.training = False
        _plain(module)
    _check_finite(found)
    return found


def _check_finite(model: nn.Module) -> None:
    """Raise when a weight is NaN or infinite; a buffer may hold the infinity of a mask."""
    problems = [
        f"parameter {name!r} holds NaN or infinity"
        for name, tensor in model.named_parameters()
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all())
    ]
    problems += [
        f"buffer {name!r} holds NaN"
        for name, tensor in model.named_buffers()
        if tensor.is_floating_point() and bool(torch.isnan(tensor).any())
    ]
    if problems:
        headline = f"the weights of {type(model).__name__} are no numbers"
        remedy = "load the weights of a training run that converged"
        raise NneqError(problems_message(headline, problems, remedy))


def _cloned(tensor: torch.Tensor) -> torch.Tensor:
    plain = tensor.detach().to("cpu", copy=True)
    if isinstance(tensor, nn.Parameter):
        return nn.Parameter(plain, requires_grad=tensor.requires_grad)
    return plain


def _plain(module: nn.Module) -> None:
    """Take off what the function does not need: compilation, recorders, backward hooks."""
    # PyTorch has no public way to take hooks off without their handles, or to exchange a child.
    module.__dict__["_compiled_call_impl"] = None
    module._backward_hooks.clear()  # noqa: SLF001  # the copy's own
    module._backward_pre_hooks.clear()  # noqa: SLF001
    hooks = module._forward_hooks  # noqa: SLF001
    for key in [k for k, hook in hooks.items() if isinstance(hook, Recorder)]:
        del hooks[key]
    for name, child in module._modules.items():  # noqa: SLF001
        if child is not None:
            module._modules[name] = _core(child)  # noqa: SLF001


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Run without gradients and fused attention, leaving the random state as it was."""
    fast = torch.backends.mha.get_fastpath_enabled()
    with torch.random.fork_rng(devices=[]), torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.backends.mha.set_fastpath_enabled(value=False)
        try:
            yield
        finally:
            torch.backends.mha.set_fastpath_enabled(value=fast)


# ---------------------------------------------------------------------- inputs
@dataclasses.dataclass(frozen=True, eq=False)
class Example:
    """Example inputs as a flat list.

    Args:
        leaves: all leaves of ``(args, kwargs)``; tensors and plain Python values.
        spec: how the leaves are put together.
        places: which leaves are tensors.
        labels: what the model calls each tensor.
    """

    leaves: tuple[Any, ...]
    spec: Any
    places: tuple[int, ...]
    labels: tuple[str, ...]

    @property
    def tensors(self) -> list[torch.Tensor]:
        """The tensors, in order."""
        return [self.leaves[k] for k in self.places]


def example_of(
    model: nn.Module, example_inputs: Any, keywords: Mapping[str, Any] | None = None
) -> Example:
    """Return example inputs as a flat list of CPU tensors.

    Args:
        model: the module.
        example_inputs: one tensor or array, a tuple or list of positional arguments, or a dict of
            keyword arguments (or one positional dict, where the model has no such keywords).
        keywords: keyword arguments; then ``example_inputs`` are the positional ones.

    Raises:
        NneqError: an input that is neither a tensor nor a plain Python value, or no tensor at all.
    """
    if keywords is None:
        args, kwargs = _arguments(model, example_inputs)
    else:
        args, kwargs = tuple(example_inputs), dict(keywords)
    pairs, spec = pytree.tree_flatten_with_path((args, kwargs))
    names = _names(model)
    leaves: list[Any] = []
    places: list[int] = []
    labels: list[str] = []
    floating = next((p.dtype for p in model.parameters() if p.is_floating_point()), None)
    for path, leaf in pairs:
        found = _tensor(leaf, floating)
        if isinstance(found, torch.Tensor):
            places.append(len(leaves))
            labels.append(_label(path, names))
        leaves.append(found)
    if not places:
        msg = "example_inputs holds no tensor"
        raise NneqError(msg)
    return Example(tuple(leaves), spec, tuple(places), tuple(labels))


def _arguments(model: nn.Module, given: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    if isinstance(given, Mapping):
        parameters = inspect.signature(model.forward).parameters
        free = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
        if all(isinstance(k, str) and (free or k in parameters) for k in given):
            return (), dict(given)
        return (dict(given),), {}
    if isinstance(given, tuple | list):
        return tuple(given), {}
    return (given,), {}


def _tensor(leaf: Any, floating: torch.dtype | None) -> Any:
    if isinstance(leaf, torch.Tensor):
        return leaf.detach().to("cpu", copy=True)
    if isinstance(leaf, np.ndarray | np.generic):
        array = np.array(leaf)
        if array.dtype.kind not in "biuf":
            msg = f"an example input has element type {array.dtype}; give numbers"
            raise NneqError(msg)
        found = torch.from_numpy(array)
        return found.to(floating) if floating is not None and array.dtype.kind == "f" else found
    if leaf is None or isinstance(leaf, bool | int | float | str):
        return leaf
    msg = f"an example input is a {type(leaf).__name__}; give tensors or arrays"
    raise NneqError(msg)


def _names(model: nn.Module) -> list[str]:
    parameters = inspect.signature(model.forward).parameters.values()
    kinds = {inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD}
    return [p.name for p in parameters if p.kind in kinds]


def _label(path: Sequence[Any], names: list[str]) -> str:
    keys = [getattr(key, "idx", getattr(key, "key", getattr(key, "name", ""))) for key in path]
    inner = keys[1:]
    if keys[0] == 0 and isinstance(inner[0], int) and inner[0] < len(names):
        inner[0] = names[inner[0]]
    return ".".join(str(key) for key in inner)


# ---------------------------------------------------------------------- the flat model
class Flat(nn.Module):  # type: ignore[misc]  # PyTorch is Any here
    """The model between a flat list of tensors and a flat tuple of tensors."""

    def __init__(self, model: nn.Module, example: Example) -> None:
        """Wrap ``model``; plain Python inputs are fixed at the example's values."""
        super().__init__()
        self.model = model
        self.example = example
        self.labels: tuple[str, ...] = ()
        self.training = False

    def forward(self, *tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return the tensors of the model's result."""
        leaves = list(self.example.leaves)
        for place, tensor in zip(self.example.places, tensors, strict=True):
            leaves[place] = tensor
        args, kwargs = pytree.tree_unflatten(leaves, self.example.spec)
        found = list(_leaves(self.model(*args, **kwargs), ""))
        self.__dict__["labels"] = tuple(label for label, _ in found)
        return tuple(tensor for _, tensor in found)


def _leaves(item: Any, label: str) -> Iterator[tuple[str, torch.Tensor]]:
    if isinstance(item, torch.Tensor):
        yield label, item
    elif item is None or isinstance(item, bool | int | float | str):
        return
    elif isinstance(item, Mapping):
        for key, part in item.items():
            yield from _leaves(part, _joined(label, key))
    elif isinstance(item, nn.utils.rnn.PackedSequence):
        msg = "the model returns a packed sequence; return the padded tensor"
        raise UnsupportedError(msg)
    elif isinstance(item, tuple) and hasattr(item, "_fields"):
        for key in item._fields:
            yield from _leaves(getattr(item, key), _joined(label, key))
    elif isinstance(item, tuple | list):
        for key, part in enumerate(item):
            yield from _leaves(part, _joined(label, key))
    elif dataclasses.is_dataclass(item):
        for field in dataclasses.fields(item):
            yield from _leaves(getattr(item, field.name), _joined(label, field.name))
    else:
        msg = f"the model returns a {type(item).__name__}; return tensors"
        raise UnsupportedError(msg)


def _joined(label: str, key: Any) -> str:
    return f"{label}.{key}" if label else str(key)
