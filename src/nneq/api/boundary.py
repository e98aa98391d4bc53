"""``z_i = z_j``: one object that reduces the question, chooses the engine and asks it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from nneq.activations import RULES
from nneq.api.engines import Call, Norm, Precision, Progress, started
from nneq.api.framing import At, BoxLike, Frame, Slice
from nneq.api.question import pose
from nneq.boundary.problem import Problem
from nneq.boundary.results import (
    Box,
    Budget,
    Curve,
    Interval,
    Nearest,
    PiecewiseBoundary,
    Solutions,
    Surface,
    Verdict,
)
from nneq.errors import NneqError, UnsupportedError
from nneq.ir import Elementwise, Maximum, Select

if TYPE_CHECKING:
    import sympy as sp

    from nneq.api.equations import Equations
    from nneq.symbolic.closed_form import ClosedForms, NoClosedForm
    from nneq.symbolic.derivation import Derivation
    from nneq.symbolic.exponential_sum import ExponentialSum
    from nneq.symbolic.ode import BoundaryOde

__all__ = ["Boundary"]

Array = np.ndarray[Any, Any]

_LINE_NAME = "t"
_TEN_SECONDS = Budget(seconds=10.0)


class Boundary:
    """Where two outputs are equal, or one output has a given value.

    Piecewise-linear networks are solved by the exact engine, every other one by the certified
    engine; :attr:`engine` says which, and every result carries its certificate.

    Args:
        equations: the model.
        first: an output (``z_1`` or a class label).
        second: another output, or a number for the level set.
        decision: keep only where no third output is larger.

    Raises:
        NneqError: see :func:`pose`.
    """

    def __init__(
        self, equations: Equations, first: str, second: str | float, *, decision: bool = False
    ) -> None:
        """Reduce the question; nothing is computed yet."""
        self.equations = equations
        self.frame = Frame(equations.network)
        self.problem = pose(equations.network, first, second, decision=decision)
        self.first = self.frame.outputs[self.frame.output(first)]
        self.second = (
            self.frame.outputs[self.frame.output(second)] if isinstance(second, str) else second
        )

    def __repr__(self) -> str:
        return f"Boundary({self.problem.title}, {self.engine} engine)"

    @property
    def engine(self) -> Literal["exact", "certified"]:
        """``exact`` for continuous piecewise-linear networks, else ``certified``."""
        return "exact" if self.problem.piecewise_linear else "certified"

    @property
    def notes(self) -> tuple[str, ...]:
        """What was cancelled or kept in the reduction, and why."""
        return self.problem.notes

    # ------------------------------------------------------------------ formulas
    @property
    def equation(self) -> sp.Eq:
        """``z_i = z_j`` as a SymPy equation of the output symbols.

        Guarantee: exact.
        """
        import sympy as sp

        right = sp.Symbol(self.second) if isinstance(self.second, str) else sp.Float(self.second)
        return sp.Eq(sp.Symbol(self.first), right, evaluate=False)

    @cached_property
    def reduced(self) -> Equations:
        """The reduced function ``g`` as equations of their own (one output ``z_1``)."""
        from nneq.api.equations import Equations

        return Equations(self.problem.network)

    @property
    def difference(self) -> sp.Expr:
        """The reduced ``g(x)``, whose zeros are the boundary, in the inputs only.

        Raises:
            UnsupportedError: the expression would be too large; ``reduced.system()`` is not.

        Guarantee: exact.
        """
        return self.reduced["z_1"]

    @cached_property
    def _one_hidden(self) -> ExponentialSum:
        from nneq.symbolic.exponential_sum import ExponentialSum
        from nneq.symbolic.one_hidden import one_hidden

        return ExponentialSum(one_hidden(self.problem.network), self.frame.inputs)

    def exponential_sum(self) -> ExponentialSum:
        """Return the boundary as a sum of exponentials (one hidden layer of sigmoid or tanh).

        Raises:
            UnsupportedError: the network has another form.

        Guarantee: exact.
        """
        return self._one_hidden

    def derivation(self) -> Derivation:
        """Return the steps from ``z_i = z_j`` to the form that is solved, as the note derives it.

        Every step is checked numerically; deep networks get the layer-by-layer form.
        """
        from nneq.symbolic.derivation import derive

        return derive(
            self.equations.network, self.problem.network, (self.first, self.second), self.notes
        )

    def solve_expr(self, variable: str) -> ClosedForms | NoClosedForm:
        """Return closed forms of one input where they exist, else why there is none.

        Args:
            variable: the input to solve for.

        Raises:
            NneqError: there is no such input.

        Guarantee: exact; every form says under which condition it is a solution.
        """
        from nneq.symbolic.closed_form import solve_expr

        return solve_expr(self.problem.network, self.frame.input(variable), self.frame.inputs)

    def ode(self, variable: str, wrt: str) -> BoundaryOde:
        """Return the boundary as ``d variable / d wrt = -g_wrt / g_variable``.

        Args:
            variable: the dependent input.
            wrt: the independent input.

        Raises:
            NneqError: unknown inputs, or the same input twice.
            UnsupportedError: the function is not differentiable, or too large for an expression.
        """
        from nneq.symbolic.ode import boundary_ode

        places = self.frame.input(variable), self.frame.input(wrt)
        if places[0] == places[1]:
            msg = f"name two different inputs, not {variable} twice"
            raise NneqError(msg)
        rough = [
            f"{node.rule if isinstance(node, Elementwise) else type(node).__name__.lower()} "
            f"({node.origin})"
            for node in self.problem.network.nodes
            if isinstance(node, Maximum | Select)
            or (
                isinstance(node, Elementwise)
                and RULES[node.rule].kind in ("step", "piecewise-linear")
            )
        ]
        if rough:
            msg = (
                "a differential equation needs a differentiable network; in the way: "
                f"{', '.join(dict.fromkeys(rough))}; use trace(box) or solve_graph(variable, box)"
            )
            raise UnsupportedError(msg)
        return boundary_ode(self.problem.network, places, self.frame.inputs)

    # ------------------------------------------------------------------ one dimension
    def solve(
        self,
        variable: str,
        at: At = None,
        domain: Interval | None = None,
        *,
        exact: bool = False,
        precision: Precision = "real",
        budget: Budget | None = None,
        progress: Progress | None = None,
        executor: Executor | None = None,
    ) -> Any:
        """Return all real solutions for one input, the others fixed.

        Args:
            variable: the input to solve for.
            at: mapping of the other inputs to numbers, or to arrays of one length for many lines.
            domain: ``(low, high)``; None is the whole real line.
            exact: rational arithmetic (piecewise-linear networks).
            precision: ``float32`` widens the statement to the network as executed in float32.
            budget: limits; None is no limit.
            progress: called with a fraction from 0 to 1.
            executor: any ``concurrent.futures.Executor``; its workers share the boxes of the
                certified engine, and the pieces of exact lines through large networks.

        Returns:
            :class:`Solutions`; a list of them when ``at`` holds arrays.

        Raises:
            NneqError: unknown, missing or superfluous inputs, an empty or reversed domain.
            UnsupportedError: ``exact=True`` where no exact arithmetic exists.

        Guarantee: exact (piecewise linear) or certified; ``complete`` says whether proven.
        """
        place = self.frame.input(variable)
        name = self.frame.inputs[place]
        origins = self.frame.fixed_lines(at, (place,))
        many = any(np.ndim(value) > 0 for value in (at or {}).values())
        direction = np.zeros(origins.shape[1])
        direction[place] = 1.0
        fixed = [
            {other: float(line[k]) for k, other in enumerate(self.frame.inputs) if k != place}
            for line in (origins if origins.shape[1] <= _SHOWN_INPUTS else origins[:0])
        ]
        call = self._call(budget, progress, precision, exact=exact, executor=executor)
        found = call.lines(origins, direction, _domain(domain), name)
        if fixed:
            found = [_with_at(one, at_line) for one, at_line in zip(found, fixed, strict=True)]
        return found if many else found[0]

    def along(
        self,
        start: Any,
        end: Any,
        *,
        exact: bool = False,
        precision: Precision = "real",
        budget: Budget | None = None,
        progress: Progress | None = None,
        executor: Executor | None = None,
    ) -> Solutions:
        """Return all crossings on the segment from ``start`` to ``end``, in ``t`` of [0, 1].

        Args:
            start: a point, array-like ``(n,)`` or mapping.
            end: another point.
            exact: rational arithmetic (piecewise-linear networks).
            precision: see :meth:`solve`.
            budget: limits.
            progress: called with a fraction from 0 to 1.
            executor: see :meth:`solve`.

        Raises:
            NneqError: points of the wrong size, not finite, or equal.

        Guarantee: as :meth:`solve`, on the segment ``start + t d`` with ``d`` the float64
        difference of the two points.
        """
        a, b = self.frame.point(start), self.frame.point(end)
        if np.array_equal(a, b):
            msg = "the segment has zero length: both ends are the same point"
            raise NneqError(msg)
        if np.abs(a).max() > _FARTHEST or np.abs(b).max() > _FARTHEST:
            msg = f"the segment is too long; use points with entries of at most {_FARTHEST:g}"
            raise NneqError(msg)
        call = self._call(budget, progress, precision, exact=exact, executor=executor)
        return call.lines(a[None], b - a, (0.0, 1.0), _LINE_NAME)[0]

    def _call(
        self,
        budget: Budget | None,
        progress: Progress | None,
        precision: Precision = "real",
        *,
        exact: bool = False,
        executor: Executor | None = None,
    ) -> Call:
        outputs = self.equations.network if self._linear_outputs else None
        clock = started(budget, executor)
        return Call(self.problem, clock, exact, precision, progress, outputs)

    @cached_property
    def _linear_outputs(self) -> bool:
        """Whether the model's own outputs (not only the reduced ``g``) are piecewise linear."""
        return not Problem(self.equations.network, "", ()).obstacles

    # ------------------------------------------------------------------ two and three dimensions
    def trace(
        self,
        box: BoxLike,
        at: At = None,
        *,
        exact: bool = False,
        precision: Precision = "real",
        budget: Budget | None = None,
        progress: Progress | None = None,
        executor: Executor | None = None,
    ) -> Curve:
        """Return the boundary in a box with two free inputs: every component.

        Args:
            box: intervals of two inputs.
            at: the other inputs.
            exact: fractions in the segments' equations (piecewise-linear networks).
            precision: see :meth:`solve`.
            budget: limits.
            progress: called with a fraction from 0 to 1.
            executor: see :meth:`solve`.

        Raises:
            NneqError: a box with another number of free inputs, unknown names, bad intervals.

        Guarantee: exact (piecewise linear) or certified topology (Plantinga and Vegter 2004).
        """
        part = self.frame.slice(box, at, free=2)
        return self._call(budget, progress, precision, exact=exact, executor=executor).plane(part)

    def surface(
        self,
        box: BoxLike,
        at: At = None,
        *,
        exact: bool = False,
        precision: Precision = "real",
        budget: Budget | None = None,
        progress: Progress | None = None,
        executor: Executor | None = None,
    ) -> Surface:
        """Return the boundary in a box with three free inputs as a triangle mesh.

        Args:
            box: intervals of three inputs.
            at: the other inputs.
            exact: rational arithmetic throughout (piecewise-linear networks).
            precision: see :meth:`solve`.
            budget: limits.
            progress: called with a fraction from 0 to 1.
            executor: see :meth:`solve`.

        Raises:
            NneqError: a box with another number of free inputs, unknown names, bad intervals.

        Guarantee: exact facets (piecewise linear) or certified topology.
        """
        part = self.frame.slice(box, at, free=3)
        return self._call(budget, progress, precision, exact=exact, executor=executor).space(part)

    def regions(
        self,
        box: BoxLike | None = None,
        at: At = None,
        *,
        vary: tuple[Any, Any, Any] | None = None,
        exact: bool = False,
        limit: int = 1_000_000,
        budget: Budget | None = None,
        progress: Progress | None = None,
        executor: Executor | None = None,
    ) -> PiecewiseBoundary:
        """Return every linear region in a box of two to six free inputs, and the boundary pieces.

        Args:
            box: intervals of the free inputs; with ``vary``, two intervals for ``s`` and ``t``.
            at: the other inputs.
            vary: ``(origin, first, second)``: the plane ``origin + s first + t second``.
            exact: rational arithmetic throughout.
            limit: the largest number of regions; a larger estimate is refused.
            budget: limits.
            progress: called with a fraction from 0 to 1.
            executor: see :meth:`solve`.

        Raises:
            NneqError: a bad box, or more regions than the limit (with an estimate).
            UnsupportedError: the network is not piecewise linear (the message names the nodes),
                more than six free inputs, or a decision boundary, whose pieces are not cut here.

        Guarantee: certified, or exact (rational arithmetic, vertices rounded to float64 at the
        end) where rounding cannot decide; ``.certificate`` says which.
        """
        if self.engine != "exact":
            why = ", ".join(self.problem.obstacles[:5])
            msg = (
                f"regions are those of piecewise-linear networks; in the way: {why}; use trace(box)"
            )
            raise UnsupportedError(msg)
        if self.problem.rivals is not None:
            msg = (
                "regions lists all pieces of z_i = z_j, also where a third output is larger; leave "
                "decision=True out, or use trace(box) or surface(box), which cut the pieces"
            )
            raise UnsupportedError(msg)
        if not isinstance(limit, int | float) or isinstance(limit, bool) or not limit >= 1:
            msg = f"limit must be a number of regions, at least 1, got {limit!r}"
            raise NneqError(msg)
        from nneq.boundary.pwl import regions

        part = self._plane(vary, box) if vary is not None else self._region_slice(box, at)
        origin, directions, chosen, names = part
        return regions.enumerate_regions(
            self.problem,
            origin,
            directions,
            chosen,
            names=names,
            clock=started(budget, executor),
            exact=exact,
            limit=limit,
            progress=progress,
            outputs=self.equations.network if self._linear_outputs else None,
        )

    def _region_slice(
        self, box: BoxLike | None, at: At
    ) -> tuple[Array, Array, Box, tuple[str, ...]]:
        if box is None:
            msg = "regions need a box, e.g. box={'x_1': (-3, 3), 'x_2': (-3, 3)}"
            raise NneqError(msg)
        part = self.frame.slice(box, at)
        return part.origin, part.directions, part.box, part.names

    def _plane(
        self, vary: tuple[Any, Any, Any], box: Any
    ) -> tuple[Array, Array, Box, tuple[str, ...]]:
        origin, first, second = (self.frame.point(part) for part in vary)
        directions = np.stack([first, second], axis=1)
        if np.linalg.matrix_rank(directions) < 2:
            msg = "vary: the two directions are parallel or zero; they must span a plane"
            raise NneqError(msg)
        pairs = [(-1.0, 1.0), (-1.0, 1.0)] if box is None else list(box)
        if len(pairs) != 2:
            msg = "with vary, the box is two intervals (low, high), for s and for t"
            raise NneqError(msg)
        chosen = Box(tuple(p[0] for p in pairs), tuple(p[1] for p in pairs))
        return origin, directions, chosen, ("s", "t")

    # ------------------------------------------------------------------ any dimension
    def nearest(
        self,
        x: Any,
        norm: Norm = "l2",
        *,
        precision: Precision = "real",
        budget: Budget | None = None,
        progress: Progress | None = None,
        executor: Executor | None = None,
    ) -> Nearest:
        """Return the boundary point found nearest to ``x`` and a proven lower bound.

        Args:
            x: a point, array-like ``(n,)`` or mapping.
            norm: ``l2``, ``linf`` or ``l1``.
            precision: see :meth:`solve`.
            budget: limits; None allows 10 seconds.
            progress: called with a fraction from 0 to 1.
            executor: see :meth:`solve`.

        Raises:
            NneqError: a bad point, an unknown norm.

        Guarantee: ``lower_bound`` certified; ``distance`` an upper bound with a witness.
        """
        if norm not in {"l2", "linf", "l1"}:
            msg = f"unknown norm {norm!r}; use 'l2', 'linf' or 'l1'"
            raise NneqError(msg)
        point = self.frame.point(x)
        if np.abs(point).max() > _FARTHEST:
            msg = f"the point is too far out; use entries of at most {_FARTHEST:g}"
            raise NneqError(msg)
        call = self._call(budget or _TEN_SECONDS, progress, precision, executor=executor)
        return call.nearest(point, norm)

    def excludes(
        self,
        box: BoxLike,
        at: At = None,
        *,
        precision: Precision = "real",
        budget: Budget | None = None,
        progress: Progress | None = None,
        executor: Executor | None = None,
    ) -> Verdict:
        """Return a proof that the box is free of the boundary, a witness, or undecided.

        Args:
            box: intervals of any number of inputs.
            at: the other inputs.
            precision: see :meth:`solve`.
            budget: limits; None allows 10 seconds.
            progress: called with a fraction from 0 to 1.
            executor: see :meth:`solve`.

        Raises:
            NneqError: a bad box.

        Guarantee: certified.
        """
        part = self.frame.slice(box, at)
        call = self._call(budget or _TEN_SECONDS, progress, precision, executor=executor)
        return call.excludes(part.full_box)

    def solve_graph(
        self,
        variable: str,
        box: BoxLike,
        at: At = None,
        *,
        budget: Budget | None = None,
        executor: Executor | None = None,
    ) -> Any:
        """Return the parts of a box on which ``variable = g(others)`` is proven.

        Args:
            variable: the input to solve for; it must be free in the box.
            box: intervals of the free inputs.
            at: the other inputs.
            budget: limits; None allows 10 seconds.
            executor: see :meth:`solve`.

        Raises:
            NneqError: a bad box, or ``variable`` fixed.
            UnsupportedError: piecewise-linear networks: use ``regions`` or ``trace``, whose pieces
                carry their own ``x_k = ...``.

        Guarantee: certified (implicit function theorem).
        """
        from nneq.boundary.smooth import graph

        place = self.frame.input(variable)
        part: Slice = self.frame.slice(box, at)
        if place not in part.places:
            msg = f"{variable} must have an interval of positive width in the box"
            raise NneqError(msg)
        clock = started(budget or _TEN_SECONDS, executor)
        return graph.solve_graph(self.problem, place, part.full_box, clock=clock)

    def asymptotes(
        self,
        at: At = None,
        free: Sequence[str] | None = None,
        *,
        budget: Budget | None = None,
        executor: Executor | None = None,
    ) -> Any:
        """Return the lines that unbounded branches approach in the plane of two inputs.

        Args:
            at: the other inputs.
            free: the two free inputs; the inputs not in ``at`` when None.
            budget: limits; None is no limit.
            executor: see :meth:`solve`.

        Raises:
            NneqError: not exactly two free inputs.
            UnsupportedError: hidden activations that are not bounded.

        Guarantee: certified (math: critical directions of the first layer).
        """
        from nneq.boundary.smooth import asymptotes

        names = (
            list(free)
            if free is not None
            else [n for n in self.frame.inputs if n not in (at or {})]
        )
        places = tuple(self.frame.input(name) for name in names)
        if len(set(places)) != 2:
            msg = f"two free inputs are needed, got {', '.join(names) or 'none'}; fix the others"
            raise NneqError(msg)
        origin = self.frame.fixed(at, places)
        directions = np.zeros((origin.size, 2))
        directions[places, (0, 1)] = 1.0
        return asymptotes.asymptotes(
            self.problem, origin, directions, clock=started(budget, executor)
        )

    def plot(self, box: BoxLike, at: At = None, ax: Any = None) -> Any:
        """Draw the boundary in a box with two free inputs; needs matplotlib.

        Args:
            box: intervals of two inputs.
            at: the other inputs.
            ax: a matplotlib axes; a new figure when None.

        Returns:
            A display object with ``.ax_`` and ``.figure_``.

        Raises:
            MissingDependencyError: matplotlib is not installed.
            NneqError: see :meth:`trace`.
        """
        from nneq.plotting import plot_boundary

        return plot_boundary(self, box, at=at, ax=ax)


_SHOWN_INPUTS = 64
_FARTHEST = 1e100  # squares of distances must not overflow


def _with_at(solutions: Solutions, at: Mapping[str, float]) -> Solutions:
    import dataclasses

    return dataclasses.replace(solutions, at=at)


def _domain(domain: Interval | None) -> Interval:
    if domain is None:
        return (-math.inf, math.inf)
    try:
        low, high = (float(end) for end in domain)
    except (TypeError, ValueError):
        msg = f"the domain must be (low, high), got {domain!r}"
        raise NneqError(msg) from None
    if math.isnan(low) or math.isnan(high) or low >= high:
        msg = f"the domain ({low!r}, {high!r}) is empty or reversed; give (low, high), low < high"
        raise NneqError(msg)
    if math.isinf(high - low) and math.isfinite(low) and math.isfinite(high):
        msg = f"the domain ({low!r}, {high!r}) is too wide; use ends of at most 1e300, or infinity"
        raise NneqError(msg)
    return (low, high)
