"""Trained networks as exact equations, and the certified solutions of ``z_i = z_j``.

Names load on first use (PEP 562): importing this package imports no framework, no NumPy and no
SymPy, and patches nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nneq.api.importing import register, to_equations, to_network, watch
    from nneq.api.verification import Verification
    from nneq.errors import MissingDependencyError, NneqError, UnsupportedError
    from nneq.ir import Network

__version__ = "0.1.0"

_HOMES = {
    "Equations": "nneq.api.equations",
    "MissingDependencyError": "nneq.errors",
    "Network": "nneq.ir",
    "NneqError": "nneq.errors",
    "UnsupportedError": "nneq.errors",
    "Verification": "nneq.api.verification",
    "register": "nneq.api.importing",
    "to_equations": "nneq.api.importing",
    "to_network": "nneq.api.importing",
    "watch": "nneq.api.importing",
}
"""Where every public name lives; a name is loaded when it is first asked for."""

__all__ = [  # noqa: PLE0604, RUF022  # the names are loaded on demand
    "__version__",
    *_HOMES,
]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        msg = f"module 'nneq' has no attribute {name!r}"
        raise AttributeError(msg)
    value = getattr(import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
