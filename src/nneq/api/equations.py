"""The equations of one network: the facade over every symbolic and numerical form."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from functools import cached_property
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from nneq.adapters.base import Reference
from nneq.errors import NneqError, problems_message
from nneq.ir import Network, float64
from nneq.semantics.compiled import Compiled, compile_network
from nneq.symbolic.layout import Layout, layout_of, variables
from nneq.symbolic.names import Variable, find_variable, html_block, terminal_text
from nneq.symbolic.text import equation_lines, system_lines

if TYPE_CHECKING:
    from nneq.api.boundary import Boundary
    from nneq.api.explanation import Explanation
    from nneq.api.verification import Verification
    from nneq.boundary.results import Budget, DecisionMap
    from nneq.symbolic.matrix_form import MatrixForm

__all__ = ["Equations"]

Array = np.ndarray[Any, Any]
TEXT_LIMIT = 100_000
"""``str`` writes the matrix form above this many terms."""
LATEX_LIMIT = 20_000
"""``latex`` writes the matrix form above this many terms."""
NOTEBOOK_LIMIT = 2_000
"""A notebook shows the matrix form above this many terms."""
FORMAT = "nneq-equations-1"


class Equations:
    """A network as a system of equations; made by :func:`nneq.to_equations`.

    Args:
        network: the network.
        reference: the framework's own forward pass, for ``verify``.
        batches: whether the reference takes any batch extent.

    The equations are exact for the stored weights (a float is a dyadic rational).  Building this
    object builds nothing else: every form is made when it is asked for.
    """

    def __init__(
        self, network: Network, reference: Reference | None = None, *, batches: bool = False
    ) -> None:
        """Hold the network; nothing is computed yet."""
        self.network = network
        self._reference = reference
        self._batches = batches

    def __reduce__(self) -> tuple[Any, ...]:
        """Travel as the network alone: a framework's forward pass stays in its process."""
        return type(self), (self.network,)

    @cached_property
    def layout(self) -> Layout:
        """The plan of layers and names."""
        return layout_of(self.network)

    @cached_property
    def inputs(self) -> tuple[Variable, ...]:
        """The names ``x_1 ... x_n``; each has a ``label``, the feature's name in the model."""
        return self.layout.input_names

    @cached_property
    def outputs(self) -> tuple[Variable, ...]:
        """The names ``z_1 ... z_m``; each has a ``label``, the class's name in the model."""
        return self.layout.output_names

    # ------------------------------------------------------------------ names
    def output_name(self, key: str | int) -> Variable:
        """Return the output that ``key`` means: ``"z_1"``, its label, or its number from 1.

        Raises:
            NneqError: nothing, or more than one output, has that name.
        """
        return find_variable(key, self.outputs, "output")

    def input_name(self, key: str | int) -> Variable:
        """Return the input that ``key`` means: ``"x_1"``, its label, or its number from 1."""
        return find_variable(key, self.inputs, "input")

    # ------------------------------------------------------------------ symbolic forms
    def system(self) -> list[Any]:
        """Return one ``sympy.Eq`` per unit, layer by layer, every hidden unit named.

        Raises:
            UnsupportedError: above 400,000 terms; ``matrix_form`` and ``write_text`` have no limit.

        Guarantee: exact; every weight is in it bit for bit.
        """
        from nneq.symbolic.system import system

        return system(self.layout)

    def __getitem__(self, key: str | int) -> Any:
        """Return an output as one ``sympy.Expr`` in the inputs only.

        Raises:
            NneqError: there is no such output.
            UnsupportedError: the expression would be too large; the message says what to use.
        """
        from nneq.symbolic.substitution import expressions

        name = self.output_name(key)
        return expressions(self.layout, [name])[name]

    def pre(self, key: str | int) -> Any:
        """Return an output before its activation (the logit), as one expression in the inputs.

        An output without an activation is returned as it is.
        """
        from nneq.symbolic.substitution import expressions

        name = self.output_name(key)
        return expressions(self.layout, [name], pre=True)[name]

    def gradient(self, key: str | int) -> dict[Variable, Any]:
        """Return ``{input: derivative}`` of an output, each one ``sympy.Expr`` in the inputs.

        Raises:
            NneqError: there is no such output.
            UnsupportedError: the closed form would be too large; ``explain`` gives numbers.

        Guarantee: exact (the chain rule over the rules' own derivatives).
        """
        from nneq.symbolic.gradient import gradients

        name = self.output_name(key)
        return gradients(self.layout, [name])[name]

    def jacobian(self) -> Any:
        """Return the derivatives of all outputs as a ``sympy.Matrix`` of shape ``(m, n)``.

        Raises:
            UnsupportedError: the closed form would be too large; ``explain`` gives numbers.
        """
        import sympy

        from nneq.symbolic.gradient import gradients

        found = gradients(self.layout, self.outputs)
        return sympy.Matrix([list(found[name].values()) for name in self.outputs])

    def matrix_form(self) -> MatrixForm:
        """Return the layer-wise matrix equations, for any size of network.

        Its ``equations`` hold the text, the LaTeX and the stored arrays of every layer; nothing
        scalar is built and no matrix of a convolution.
        """
        from nneq.symbolic.matrix_form import matrix_form

        return matrix_form(self.layout)

    # ------------------------------------------------------------------ text
    def text(self, digits: int | None = None) -> str:
        """Return the system as text, exact unless ``digits`` is given."""
        return "\n".join(system_lines(self.layout, digits))

    def write_text(self, file: IO[str], digits: int | None = None) -> None:
        """Write the system to an open text file, line by line, for networks of any size.

        Raises:
            NneqError: ``file`` is a path or something else that cannot be written to.
        """
        if not hasattr(file, "write"):
            msg = f"write_text needs an open text file, got {file!r}; use open(path, 'w')"
            raise NneqError(msg)
        lines = system_lines(self.layout, digits)
        while block := list(itertools.islice(lines, 256)):
            file.write("\n".join(block) + "\n")

    def __str__(self) -> str:
        if self.layout.term_count <= TEXT_LIMIT:
            return self.text()
        units, terms = self.layout.unit_count, self.layout.term_count
        rest = f"({units} equations with about {terms} terms; write_text(file) writes them all)"
        return "\n".join([*self.matrix_form().lines(), rest])

    def latex(self, digits: int | None = None) -> str:
        """Return the system as a LaTeX ``aligned`` environment; the matrix form when it is large.

        Args:
            digits: significant digits for display; every weight exactly when None.
        """
        from nneq.symbolic.latex import system_latex

        if self.layout.term_count > LATEX_LIMIT:
            return self.matrix_form().latex()
        return system_latex(self.layout, digits)

    def _repr_latex_(self) -> str:
        return f"$\\displaystyle {self.latex(6)}$"

    def _repr_html_(self) -> str:
        from nneq.symbolic.latex import legend_html

        if self.layout.term_count <= NOTEBOOK_LIMIT:
            shown = self.text(6)
        else:
            shown = str(self.matrix_form())
        return f"{legend_html(self.layout)}<pre>{html_block(shown)}</pre>"

    # ------------------------------------------------------------------ data
    def to_dict(self, *, text: bool = True) -> dict[str, Any]:
        """Return the equations as JSON data, exact: floats are written by ``float.hex``.

        The fields: ``format``, ``inputs`` and ``outputs`` (names and labels), ``equations`` (text,
        or None above a limit) and ``network``, which :meth:`from_dict` reads.

        Args:
            text: False leaves the text out, which the network says again.
        """
        from nneq.ir.serial import network_to_dict

        text = text and self.layout.term_count <= TEXT_LIMIT
        names = [variables(self.network.inputs, "x"), variables(self.network.outputs, "z")]
        inputs, outputs = ([{"name": str(v), "label": v.label} for v in ports] for ports in names)
        return {
            "format": FORMAT,
            "inputs": inputs,
            "outputs": outputs,
            "equations": list(equation_lines(self.layout)) if text else None,
            "network": network_to_dict(self.network),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Equations:
        """Return the equations that ``to_dict`` wrote, bit for bit.

        Raises:
            NneqError: the data is not such equations.
        """
        from nneq.ir.serial import network_from_dict

        if not isinstance(data, Mapping) or data.get("format") != FORMAT:
            msg = f"these are not equations of nneq: the field 'format' is not {FORMAT!r}"
            raise NneqError(msg)
        return cls(network_from_dict(data.get("network", {})))

    def __repr__(self) -> str:
        source = self.network.source
        label = terminal_text(source.label)
        return (
            f"<Equations of {label or source.framework}: {len(self.inputs)} inputs, "
            f"{len(self.outputs)} outputs, {self.network.parameter_count} parameters>"
        )

    # ------------------------------------------------------------------ numbers
    def __call__(self, x: Any) -> Array:
        """Return the outputs ``(batch, m)`` for inputs ``(batch, n)``, in float64.

        One row ``(n,)`` gives ``(m,)``.

        Raises:
            NneqError: the shape does not fit.

        Guarantee: numerical (float64, classical summation).
        """
        try:
            rows = np.asarray(x, dtype=np.float64)
        except (TypeError, ValueError) as error:
            msg = f"expected numbers, got {type(x).__name__}: {error}"
            raise NneqError(msg) from None
        shape = rows.shape
        if len(shape) == 2 and shape[1] == self._width:
            return self._compiled(rows)
        if shape == (self._width,):
            row: Array = self._compiled(rows[None])[0]
            return row
        msg = f"expected inputs of shape (batch, {self._width}) or ({self._width},), got {shape}"
        raise NneqError(msg)

    @cached_property
    def _width(self) -> int:
        return self.network.input_size

    @cached_property
    def _compiled(self) -> Compiled:
        return compile_network(self.network)

    def lambdify(self, backend: str = "numpy") -> Callable[..., Any]:
        """Return a plain function of the inputs; every common subexpression is computed once.

        Args:
            backend: ``"numpy"``.

        Returns:
            ``f(x)`` takes rows ``(batch, n)`` to ``(batch, m)``, or one row ``(n,)`` to ``(m,)``;
            ``f(x_1, ..., x_n)`` takes numbers or arrays that broadcast to a tuple of outputs.
            ``f.source`` is its text, which needs NumPy and SciPy only.

        Raises:
            NneqError: an unknown backend.
            UnsupportedError: more than two million weights.

        Guarantee: numerical (float64).
        """
        from nneq.symbolic.source import function_of, numpy_source, plain_function

        if backend != "numpy":
            msg = f"unknown backend {backend!r}; the one there is is 'numpy'"
            raise NneqError(msg)
        source = numpy_source(self.layout)
        return plain_function(function_of(source), source, self.network.input_size)

    def explain(self, x: Any) -> Explanation:
        """Return what happens at one input ``(n,)``: every unit, the active pieces, the local map.

        Guarantee: numerical (float64).
        """
        from nneq.api.explanation import explain
        from nneq.api.framing import as_floats

        point = as_floats(x)
        n = self.network.input_size
        if point.shape not in {(n,), (1, n)}:
            msg = f"expected one input of shape ({n},), got {point.shape}"
            raise NneqError(msg)
        if not np.isfinite(point).all():
            msg = "the input to explain must hold finite numbers"
            raise NneqError(msg)
        return explain(self.network, self.layout, point.reshape(n), self.boundaries())

    def verify(self, samples: int = 1000, seed: int = 0) -> Verification:
        """Compare the equations with the framework's own forward pass on random inputs.

        Without a framework (a network made by hand), they are compared with the network's direct
        evaluation.

        Args:
            samples: how many inputs.
            seed: of the random numbers.

        Guarantee: numerical; see :class:`nneq.Verification`.
        """
        from nneq.api.verification import reference_outputs, verify_against

        if samples < 1:
            msg = f"samples must be at least 1, got {samples}"
            raise NneqError(msg)
        if seed < 0:
            msg = f"the seed must be 0 or more, got {seed}"
            raise NneqError(msg)
        network, reference = self.network, self._reference

        def ours(arrays: Sequence[Array]) -> list[Array]:
            rows = np.concatenate([a.reshape(a.shape[0], -1) for a in arrays], axis=1)
            outputs = self(rows.astype(np.float64))
            cuts = np.cumsum([port.size for port in network.outputs])[:-1]
            return list(np.split(outputs, cuts, axis=1))

        def theirs(arrays: Sequence[Array]) -> list[Array]:
            if reference is None:
                return float64.evaluate(network, arrays)
            return reference_outputs(network, reference, arrays, batches=self._batches)

        name = network.source.framework if reference is not None else "direct evaluation"
        return verify_against(network, ours, theirs, samples=samples, seed=seed, name=name)

    # ------------------------------------------------------------------ boundaries
    def boundary(self, first: str | int, second: str | float, **options: Any) -> Boundary:
        """Return where ``z_i = z_j`` (two outputs), or where an output has a value (a number).

        Args:
            first: an output, by name, label or number.
            second: another output by name or label, or a number for a level set.
            options: ``decision=True`` keeps only where no third output is larger.

        Raises:
            NneqError: there is no such output or option.
        """
        from nneq.api.boundary import Boundary

        unknown = sorted(set(options) - {"decision"})
        if unknown:
            msg = f"boundary has no option {', '.join(unknown)}; the only one is decision=True"
            raise NneqError(msg)

        problems: list[str] = []

        def found(key: Any, *, level: bool) -> Any:
            try:
                return float(key) if level else str(self.output_name(key))
            except NneqError as error:
                problems.append(str(error))
            except (TypeError, ValueError):
                problems.append(f"give the name of an output or a number (a level), not {key!r}")
            return None

        one = found(first, level=False)
        other = found(second, level=not isinstance(second, str))
        if problems:
            headline = "there is no such boundary"
            raise NneqError(
                problems[0] if len(problems) == 1 else problems_message(headline, problems)
            )
        return Boundary(self, one, other, **options)

    def decision_map(
        self,
        box: Any,
        at: Mapping[str, Any] | None = None,
        *,
        precision: str = "real",
        budget: Budget | None = None,
        progress: Callable[[float], None] | None = None,
        executor: Executor | None = None,
    ) -> DecisionMap:
        """Return which output is largest where: all decision curves, junctions and regions.

        Args:
            box: intervals of two inputs.
            at: the other inputs.
            precision: ``real``, or ``float32`` for the network as executed in float32.
            budget: limits; None is no limit.
            progress: called with a fraction from 0 to 1.
            executor: any ``concurrent.futures.Executor``; its workers share the work.

        Raises:
            NneqError: fewer than two outputs, a bad box.
            UnsupportedError: more outputs than are compared at once.

        Guarantee: certified (curves by Plantinga and Vegter, junctions by Krawczyk).
        """
        from nneq.api.engines import check_precision, started
        from nneq.api.framing import Frame
        from nneq.boundary.smooth import decision_map

        check_precision(precision)
        frame = Frame(self.network)
        part = frame.slice(box, at, free=2)
        found = decision_map.decision_map(
            self.network,
            part.origin,
            part.directions,
            part.box,
            names=(part.names[0], part.names[1]),
            precision=precision,
            clock=started(budget, executor),
            progress=progress,
        )
        return found.named(frame.outputs)

    def boundaries(self, **options: Any) -> Mapping[tuple[str, str], Boundary]:
        """Return the boundaries of all pairs of outputs, by names; each is made when looked up."""
        from nneq.api.pairs import Pairs

        return Pairs(self.outputs, lambda a, b: self.boundary(a, b, **options))
