"""Methods on the frameworks' own model classes, added when asked and taken back again."""

from __future__ import annotations

import dataclasses
import importlib
import importlib.util
import sys
from typing import TYPE_CHECKING, Any

from nneq.api.importing import FLOORS, adapter_of, framework_of, require, to_equations, to_network
from nneq.errors import NneqError, UnsupportedError

if TYPE_CHECKING:
    from nneq.api.equations import Equations
    from nneq.ir import Network

__all__ = ["Registration", "register", "watch"]


@dataclasses.dataclass(eq=False)
class Registration:
    """What ``register`` added; ``remove`` takes it away again."""

    added: list[tuple[type, str, Any]]

    def remove(self) -> None:
        """Remove the methods that this call added; calling it twice does nothing more."""
        while self.added:
            owner, name, method = self.added.pop()
            if owner.__dict__.get(name) is method:
                delattr(owner, name)


def _equations_method(self: Any, **options: Any) -> Equations:
    """Return this model as a system of equations; see ``nneq.to_equations``."""
    return to_equations(self, **options)


def _network_method(self: Any, **options: Any) -> Network:
    """Return this model as a frozen network; see ``nneq.to_network``."""
    return to_network(self, **options)


_METHODS = {"to_equations": _equations_method, "to_network": _network_method}
_OWNERS = {"torch": ("torch.nn", "Module"), "keras": ("keras", "Model")}


def register(*frameworks: str) -> Registration:
    """Add ``.to_equations()`` and ``.to_network()`` to the frameworks' model classes.

    Args:
        frameworks: ``"torch"``, ``"keras"``; without any, those that are imported already, or
            when none is, every one that is installed.

    Returns:
        A handle whose ``remove()`` takes back what this call added.

    Raises:
        NneqError: an unknown framework, or a class that already has such an attribute that is not
            ours (nothing is added then).
        MissingDependencyError: a framework that is named but not installed.
    """
    unknown = sorted(set(frameworks) - set(_OWNERS))
    if unknown:
        msg = f"cannot register {', '.join(map(repr, unknown))}; known are 'torch' and 'keras'"
        raise NneqError(msg)
    wanted = (
        frameworks
        or tuple(name for name in _OWNERS if name in sys.modules)
        or tuple(name for name in _OWNERS if importlib.util.find_spec(name) is not None)
    )
    owners = []
    for name in dict.fromkeys(wanted):
        for package, floor in FLOORS[name]:
            require(package, floor, name)
        module, attribute = _OWNERS[name]
        owners.append(getattr(importlib.import_module(module), attribute))
    planned = []
    for owner in owners:
        for name, method in _METHODS.items():
            present = getattr(owner, name, None)
            if present is method:
                continue
            if present is not None:
                shown = f"{owner.__module__}.{owner.__qualname__}"
                msg = (
                    f"{shown} already has an attribute {name!r} that is not nneq's; use "
                    f"nneq.{name}(model) instead"
                )
                raise NneqError(msg)
            planned.append((owner, name, method))
    for owner, name, method in planned:
        setattr(owner, name, method)
    return Registration(planned)


def watch(model: Any) -> Any:
    """Remember the example input of the next forward pass, so that none is needed afterwards.

    Args:
        model: a ``torch.nn.Module``.

    Returns:
        A handle with ``remove()``.

    Raises:
        UnsupportedError: the model is not a ``torch.nn.Module``; others know their shapes.
    """
    if framework_of(model) != "torch":
        msg = "watch() is for torch modules; models of other frameworks know their input shapes"
        raise UnsupportedError(msg)
    adapter_of("torch")
    return importlib.import_module("nneq.adapters.torch").watch(model)
