"""Forward hooks that remember one example input, so that an import needs none."""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from torch.utils import _pytree as pytree

__all__ = ["Recorder", "Watch", "remembered", "watch"]

_REMEMBERED: weakref.WeakKeyDictionary[nn.Module, tuple[tuple[Any, ...], dict[str, Any]]] = (
    weakref.WeakKeyDictionary()
)


def remembered(model: nn.Module) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
    """Return the last inputs ``(args, kwargs)`` of a watched model, or None."""
    return _REMEMBERED.get(model)


_KEPT = 1 << 20


def _detached(inputs: Any) -> Any:
    """Return copies of the inputs; of large ones the first two samples.

    Small inputs are kept whole: only then can an import see which axis is the batch axis.
    """
    leaves, spec = pytree.tree_flatten(inputs)
    tensors = [leaf for leaf in leaves if isinstance(leaf, torch.Tensor) and leaf.ndim > 1]
    large = sum(tensor.numel() for tensor in tensors) > _KEPT
    count = tensors[0].shape[0] if tensors else None
    kept = []
    for leaf in leaves:
        if isinstance(leaf, torch.Tensor):
            plain = leaf.detach()
            many = large and plain.ndim > 1 and plain.shape[0] == count
            kept.append((plain[:2] if many else plain).to("cpu", copy=True))
        else:
            kept.append(leaf)
    return pytree.tree_unflatten(kept, spec)


class Recorder:
    """A forward hook; one object, so that it can be recognised and is never copied."""

    def __init__(self, name: str | None, values: dict[str, torch.Tensor]) -> None:
        """Record the inputs when ``name`` is None, else the output under that name."""
        self.name = name
        self.values = values

    def __call__(
        self, module: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any], output: Any
    ) -> None:
        """Remember detached copies; do nothing while a program is traced."""
        if torch.compiler.is_compiling() or torch.compiler.is_exporting():
            return
        if self.name is None:
            _REMEMBERED[module] = _detached((tuple(args), dict(kwargs)))
        elif isinstance(output, torch.Tensor):
            self.values[self.name] = output.detach().to("cpu", copy=True)

    def __deepcopy__(self, memo: dict[int, Any]) -> Recorder:
        """Return the recorder itself."""
        return self


class Watch:
    """What :func:`watch` installed.

    Args:
        model: the watched module.
        handles: the hooks.
        values: the outputs of the submodules in the last forward pass, by name.
    """

    def __init__(
        self, model: nn.Module, handles: list[Any], values: dict[str, torch.Tensor]
    ) -> None:
        """Hold the model weakly."""
        self._model = weakref.ref(model)
        self._handles = handles
        self.values = values

    @property
    def seen(self) -> bool:
        """Whether a forward pass has been remembered."""
        model = self._model()
        return model is not None and model in _REMEMBERED

    def remove(self) -> None:
        """Remove the hooks and forget the inputs; calling it twice does nothing more."""
        while self._handles:
            self._handles.pop().remove()
        self.values.clear()
        model = self._model()
        if model is not None:
            _REMEMBERED.pop(model, None)


def watch(module: nn.Module, *, units: bool = False) -> Watch:
    """Remember the last inputs of a module, so that it can be imported without an example.

    Detached copies are kept, of large inputs two samples only, and only while the module lives.

    Args:
        module: the model; a compiled or parallel one is watched as it is called.
        units: also keep the output tensor of every submodule in ``handle.values``.

    Returns:
        A handle with ``remove()``, ``seen`` and ``values``.

    Example:
        >>> import torch
        >>> from nneq.adapters.torch import import_model, watch
        >>> model = torch.nn.Sequential(torch.nn.Conv1d(1, 2, 3), torch.nn.ReLU())
        >>> handle = watch(model)
        >>> _ = model(torch.zeros(8, 1, 5))
        >>> import_model(model).network.inputs[0].shape
        (1, 1, 5)
        >>> handle.remove()
    """
    values: dict[str, torch.Tensor] = {}
    handles = [module.register_forward_hook(Recorder(None, values), with_kwargs=True)]
    if units:
        handles += [
            child.register_forward_hook(Recorder(name, values), with_kwargs=True)
            for name, child in module.named_modules()
            if name
        ]
    return Watch(module, handles, values)
