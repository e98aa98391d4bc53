r"""The boundary as a differential equation, and as a polynomial system in the unit values.

Where :math:`\partial g/\partial x_a \ne 0` the boundary is :math:`x_a(x_b)` with
:math:`x_a' = -g_b / g_a`.  Without that condition, :math:`x_a' = -g_b,\ x_b' = g_a` runs along the
level curves of ``g`` (``g`` is its Hamiltonian); for sigmoid and tanh units, whose derivative is a
polynomial of their value, the unit values obey a polynomial system.

An integrator follows one component from a point on it.  It finds no other component and proves
nothing; and a Runge-Kutta method keeps linear combinations of the unit values at 0 at *every*
tolerance, so the residual reported here is always that of ``x`` itself.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import sympy as sp
from scipy import integrate

from nneq.errors import NneqError, UnsupportedError
from nneq.ir import network as ir
from nneq.semantics.gradient import value_and_gradient
from nneq.symbolic.formulas import formulas
from nneq.symbolic.layout import layout_of
from nneq.symbolic.substitution import expressions
from nneq.symbolic.system import scaled, total

__all__ = ["BoundaryOde", "Orbit", "boundary_ode"]

Array = np.ndarray[Any, Any]

_NEWTON_STEPS = 8
_STEP_LIMIT = 200_000


@dataclass(frozen=True)
class Orbit:
    """A numerical solution of the differential equation.

    Args:
        points: full input points ``(k, n)`` along the component.
        arc_length: ``(k,)``, in input units.
        residual: the largest ``|g(x)|`` at the points, at ``x`` itself.
        closed: whether the orbit came back to its start.

    Guarantee: numerical.
    """

    points: Array
    arc_length: Array
    residual: float
    closed: bool


@dataclass(frozen=True, eq=False)
class BoundaryOde:
    """``d x_a / d x_b = -g_b / g_a`` and the Hamiltonian system it comes from.

    Args:
        network: ``g``, one output of shape ``(1,)``.
        places: the dependent and the independent input, from 0.
        names: ``x_1 ... x_n``.
    """

    network: ir.Network
    places: tuple[int, int]
    names: tuple[str, ...]

    @cached_property
    def equation(self) -> sp.Eq:
        """The differential equation as SymPy writes it, ``Eq(Derivative(x_a(x_b), x_b), ...)``.

        Raises:
            UnsupportedError: the expression of ``g`` would be too large; ``system`` is not.

        Guarantee: exact.
        """
        expr = expressions(layout_of(self.network), ["z_1"])["z_1"]
        dependent, independent = (sp.Symbol(self.names[k]) for k in self.places)
        slope = -sp.diff(expr, independent) / sp.diff(expr, dependent)
        function = sp.Function(str(dependent))(independent)
        return sp.Eq(sp.Derivative(function, independent), slope.xreplace({dependent: function}))

    @cached_property
    def system(self) -> list[sp.Eq]:
        """The polynomial Hamiltonian system, with ``s`` the curve parameter.

        For every unit ``y``: its partial derivatives ``y_a``, ``y_b`` as polynomials of unit
        values, then ``dx_a/ds = -g_b``, ``dx_b/ds = g_a`` and ``dy/ds = -g_b y_a + g_a y_b``.

        Raises:
            UnsupportedError: a unit that is not a sigmoid or tanh.

        Guarantee: exact.
        """
        writer = _DerivativeWriter([self.names[k] for k in self.places])
        layout = layout_of(self.network)
        equations: list[sp.Eq] = []
        units: list[str] = []
        ga, gb = sp.Symbol("g_a"), sp.Symbol("g_b")
        s = sp.Symbol("s")
        for name, formula in formulas(layout, writer):
            first, second = formula(name)
            if name == "z_1":
                equations += [_equal(ga, first), _equal(gb, second)]
                continue
            units.append(name)
            for suffix, value in (("a", first), ("b", second)):
                equations.append(_equal(sp.Symbol(f"{name}_{suffix}"), value))
        dependent, independent = (self.names[k] for k in self.places)
        equations.append(_equal(_rate(dependent, s), -gb))
        equations.append(_equal(_rate(independent, s), ga))
        for name in units:
            ya, yb = sp.Symbol(f"{name}_a"), sp.Symbol(f"{name}_b")
            equations.append(_equal(_rate(name, s), -gb * ya + ga * yb))
        return equations

    def integrate(
        self, start: Any, length: float, *, rtol: float = 1e-9, step: float | None = None
    ) -> Orbit:
        """Follow the component through ``start`` for an arc length; negative goes backwards.

        Every step is an eighth-order Runge-Kutta step of the unit-speed field, projected back on
        the curve by Newton's method.

        Args:
            start: a full input point ``(n,)`` near the curve; it is projected first.
            length: arc length in input units.
            rtol: relative tolerance of the integrator.
            step: distance between the points returned; ``|length| / 200`` when None.

        Raises:
            NneqError: a start that does not project onto the curve (a critical point is near), a
                length or step that is 0 or not finite.

        Guarantee: numerical.
        """
        if not np.isfinite(length) or length == 0:
            msg = f"the arc length must be a finite number other than 0, got {length!r}"
            raise NneqError(msg)
        chosen = abs(length) / 200 if step is None else float(step)
        if not chosen > 0 or abs(length) / chosen > _STEP_LIMIT:
            msg = f"the step must be positive and at least |length| / {_STEP_LIMIT}, got {chosen!r}"
            raise NneqError(msg)
        point = self._projected(np.asarray(start, dtype=np.float64).reshape(-1))
        field = self._field(np.sign(length))
        points, arcs = [point], [0.0]
        closed = False
        while arcs[-1] < abs(length) * (1 - 1e-12):
            advance = min(chosen, abs(length) - arcs[-1])
            plane = points[-1][list(self.places)]
            solved = integrate.solve_ivp(
                lambda _s, y, base=points[-1]: field(base, y),
                (0.0, advance),
                plane,
                method="DOP853",
                rtol=rtol,
                atol=rtol,
            )
            moved = points[-1].copy()
            moved[list(self.places)] = solved.y[:, -1]
            points.append(self._projected(moved))
            arcs.append(arcs[-1] + advance)
            if len(points) > 3 and np.linalg.norm(points[-1] - points[0]) < 0.5 * advance:
                closed = True
                break
        found = np.array(points)
        residual = float(np.abs(value_and_gradient(self.network, found)[0]).max())
        return Orbit(found, np.array(arcs), residual, closed)

    def _field(self, sign: float) -> Callable[[Array, Array], Array]:
        def field(base: Array, plane: Array) -> Array:
            point = base.copy()
            point[list(self.places)] = plane
            gradient = value_and_gradient(self.network, point[None])[1][0][list(self.places)]
            size = float(np.linalg.norm(gradient))
            if size == 0:
                return np.zeros(2)
            return sign * np.array([-gradient[1], gradient[0]]) / size

        return field

    def _projected(self, point: Array) -> Array:
        """Return the point moved onto ``g = 0`` along its gradient in the two inputs."""
        places = list(self.places)
        point = point.copy()
        for _ in range(_NEWTON_STEPS):
            value, gradient = value_and_gradient(self.network, point[None])
            part = gradient[0][places]
            size = float(part @ part)
            if size == 0 or not np.isfinite(size):
                break
            change = float(value[0]) * part / size
            point[places] -= change
            if np.abs(change).max() <= 4e-16 * max(1.0, float(np.abs(point[places]).max())):
                return point
        value, gradient = value_and_gradient(self.network, point[None])
        size = float(np.linalg.norm(gradient[0][places]))
        if size == 0 or not abs(float(value[0])) <= 1e-9 * max(size, 1e-3):
            msg = (
                "the point does not project onto the boundary: no boundary is near, or the "
                "gradient vanishes there; start from a point of trace(box) or solve(...)"
            )
            raise NneqError(msg)
        return point


def boundary_ode(
    network: ir.Network, places: tuple[int, int], names: tuple[str, ...]
) -> BoundaryOde:
    """Return the differential equation of ``g = 0`` for two inputs.

    Args:
        network: ``g``, one output of shape ``(1,)``.
        places: the dependent and the independent input, from 0.
        names: ``x_1 ... x_n``.
    """
    return BoundaryOde(network, places, names)


def _equal(left: Any, right: Any) -> sp.Eq:
    return sp.Eq(left, right, evaluate=False)


def _rate(name: str, s: Any) -> Any:
    return sp.Derivative(sp.Function(name)(s), s)


class _DerivativeWriter:
    """Writes the two partial derivatives of every unit as polynomials of unit values."""

    def __init__(self, inputs: Sequence[str]) -> None:
        self._inputs = inputs

    def _partial(self, name: str, which: int) -> Any:
        if name.startswith("x_"):
            return sp.Integer(int(name == self._inputs[which]))
        return sp.Symbol(f"{name}_{'ab'[which]}")

    def affine(self, terms: Sequence[tuple[float, str]], _constant: float) -> Any:
        sums = []
        for which in (0, 1):
            parts = [
                scaled(factor, self._partial(name, which))
                for factor, name in terms
                if self._partial(name, which) != 0
            ]
            sums.append(total(parts) if parts else sp.Integer(0))
        return lambda _name: (sums[0], sums[1])

    def call(self, rule: str, argument: Any, params: Any) -> Any:
        if rule not in {"sigmoid", "tanh"}:
            msg = (
                f"the polynomial system needs sigmoid or tanh units, the network has {rule}; "
                ".equation and .integrate() work for every differentiable network"
            )
            raise UnsupportedError(msg)
        del params

        def unit(name: str) -> tuple[Any, Any]:
            y = sp.Symbol(name)
            slope = y * (1 - y) if rule == "sigmoid" else 1 - y**2
            first, second = argument(name)
            return slope * first, slope * second

        return unit

    def _refuse(self, *_parts: Any) -> Any:
        msg = (
            "the polynomial system is for layers of sigmoid or tanh units; .equation and "
            ".integrate() work for every differentiable network"
        )
        raise UnsupportedError(msg)

    products = maximum = select = exponentials = share = _refuse
