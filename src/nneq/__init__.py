"""Trained networks as exact equations, and the certified solutions of ``z_i = z_j``.

Names load on first use (PEP 562): importing this package imports no framework, no NumPy and no
SymPy, and patches nothing.
"""

TYPE_CHECKING = False  # as in typing, whose import would double the cost of this package's
if TYPE_CHECKING:
    from typing import Any

    from nneq.api.boundary import Boundary
    from nneq.api.equations import Equations
    from nneq.api.explanation import Explanation
    from nneq.api.importing import to_equations, to_network
    from nneq.api.registration import register, watch
    from nneq.api.verification import Verification
    from nneq.boundary.results import (
        Box,
        Budget,
        Component,
        Curve,
        DecisionMap,
        DecisionRegion,
        Enclosed,
        Exact,
        Junction,
        Nearest,
        Piece,
        PiecewiseBoundary,
        Region,
        Root,
        Sampled,
        Segment,
        Solutions,
        Status,
        Surface,
        Verdict,
    )
    from nneq.errors import MissingDependencyError, NneqError, UnsupportedError
    from nneq.ir import Network
    from nneq.symbolic.closed_form import ClosedForm, ClosedForms, NoClosedForm
    from nneq.symbolic.derivation import Derivation, Step
    from nneq.symbolic.exponential_sum import ExponentialSum, RootBound
    from nneq.symbolic.ode import BoundaryOde

__version__ = "0.1.0"

__all__ = [
    "Boundary",
    "BoundaryOde",
    "Box",
    "Budget",
    "ClosedForm",
    "ClosedForms",
    "Component",
    "Curve",
    "DecisionMap",
    "DecisionRegion",
    "Derivation",
    "Enclosed",
    "Equations",
    "Exact",
    "Explanation",
    "ExponentialSum",
    "Junction",
    "MissingDependencyError",
    "Nearest",
    "Network",
    "NneqError",
    "NoClosedForm",
    "Piece",
    "PiecewiseBoundary",
    "Region",
    "Root",
    "RootBound",
    "Sampled",
    "Segment",
    "Solutions",
    "Status",
    "Step",
    "Surface",
    "UnsupportedError",
    "Verdict",
    "Verification",
    "__version__",
    "register",
    "to_equations",
    "to_network",
    "watch",
]

_HOMES = {
    "Boundary": "nneq.api.boundary",
    "BoundaryOde": "nneq.symbolic.ode",
    "Box": "nneq.boundary.results",
    "Budget": "nneq.boundary.results",
    "ClosedForm": "nneq.symbolic.closed_form",
    "ClosedForms": "nneq.symbolic.closed_form",
    "Component": "nneq.boundary.results",
    "Curve": "nneq.boundary.results",
    "DecisionMap": "nneq.boundary.results",
    "DecisionRegion": "nneq.boundary.results",
    "Derivation": "nneq.symbolic.derivation",
    "Enclosed": "nneq.boundary.results",
    "Equations": "nneq.api.equations",
    "Exact": "nneq.boundary.results",
    "Explanation": "nneq.api.explanation",
    "ExponentialSum": "nneq.symbolic.exponential_sum",
    "Junction": "nneq.boundary.results",
    "MissingDependencyError": "nneq.errors",
    "Nearest": "nneq.boundary.results",
    "Network": "nneq.ir",
    "NneqError": "nneq.errors",
    "NoClosedForm": "nneq.symbolic.closed_form",
    "Piece": "nneq.boundary.results",
    "PiecewiseBoundary": "nneq.boundary.results",
    "Region": "nneq.boundary.results",
    "Root": "nneq.boundary.results",
    "RootBound": "nneq.symbolic.exponential_sum",
    "Sampled": "nneq.boundary.results",
    "Segment": "nneq.boundary.results",
    "Solutions": "nneq.boundary.results",
    "Status": "nneq.boundary.results",
    "Step": "nneq.symbolic.derivation",
    "Surface": "nneq.boundary.results",
    "UnsupportedError": "nneq.errors",
    "Verdict": "nneq.boundary.results",
    "Verification": "nneq.api.verification",
    "register": "nneq.api.registration",
    "to_equations": "nneq.api.importing",
    "to_network": "nneq.api.importing",
    "watch": "nneq.api.registration",
}
"""Where every public name lives; a name is loaded when it is first asked for."""


def __getattr__(name: str) -> "Any":
    home = _HOMES.get(name)
    if home is None:
        msg = f"module 'nneq' has no attribute {name!r}"
        raise AttributeError(msg)
    import importlib

    value = getattr(importlib.import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
