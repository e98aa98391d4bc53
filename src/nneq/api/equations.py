"""The equations of one network: the facade over every symbolic and numerical form."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from nneq.adapters.base import Reference
from nneq.errors import NneqError
from nneq.ir import Network, float64
from nneq.semantics.compiled import Compiled, compile_network
from nneq.symbolic.layout import Layout, layout_of
from nneq.symbolic.names import Variable, terminal_text

if TYPE_CHECKING:
    from nneq.api.boundary import Boundary
    from nneq.api.verification import Verification

__all__ = ["Equations"]

Array = np.ndarray[Any, Any]
TEXT_LIMIT = 100_000
"""``str`` writes the matrix form above this many terms."""


class Equations:
    """A network as a system of equations; made by :func:`nneq.to_equations`.

    Args:
        network: the network, or anything ``to_equations`` accepts is given to that instead.
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
        return _lookup(key, self.outputs, "output")

    def input_name(self, key: str | int) -> Variable:
        """Return the input that ``key`` means: ``"x_1"``, its label, or its number from 1."""
        return _lookup(key, self.inputs, "input")

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

    # ------------------------------------------------------------------ text
    def text(self, digits: int | None = None) -> str:
        """Return the system as text, exact unless ``digits`` is given."""
        from nneq.symbolic.text import system_lines

        return "\n".join(system_lines(self.layout, digits))

    def write_text(self, file: IO[str], digits: int | None = None) -> None:
        """Write the system to an open text file, line by line, for networks of any size."""
        from nneq.symbolic.text import system_lines

        lines = system_lines(self.layout, digits)
        while block := list(itertools.islice(lines, 256)):
            file.write("\n".join(block) + "\n")

    def __str__(self) -> str:
        return self.text()

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
        rows = np.asarray(x, dtype=np.float64)
        n = self.network.input_size
        if rows.ndim not in {1, 2} or rows.shape[-1] != n:
            msg = f"expected inputs of shape (batch, {n}) or ({n},), got {rows.shape}"
            raise NneqError(msg)
        return self._compiled(rows) if rows.ndim == 2 else self._compiled(rows[None])[0]

    @cached_property
    def _compiled(self) -> Compiled:
        return compile_network(self.network)

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
    def boundary(self, first: str | int, second: Any, **options: Any) -> Boundary:
        """Return where ``z_i = z_j`` (two outputs), or where an output has a value (a number)."""
        from nneq.api.boundary import Boundary

        return Boundary(self, first, second, **options)

    def boundaries(self, **options: Any) -> Mapping[tuple[str, str], Boundary]:
        """Return the boundaries of all pairs of outputs, by names."""
        return {
            (str(a), str(b)): self.boundary(a, b, **options)
            for a, b in itertools.combinations(self.outputs, 2)
        }


def _lookup(key: str | int, names: tuple[Variable, ...], what: str) -> Variable:
    if isinstance(key, int) and not isinstance(key, bool):
        if 1 <= key <= len(names):
            return names[key - 1]
        msg = f"there is no {what} number {key}; they are numbered from 1 to {len(names)}"
        raise NneqError(msg)
    text = str(key)
    for name in names:
        if name == text:
            return name
    found = [name for name in names if name.label == text]
    if len(found) == 1:
        return found[0]
    shown = ", ".join(names[:8]) + (", ..." if len(names) > 8 else "")
    if found:
        both = " and ".join(found)
        msg = f"the label {terminal_text(text)!r} belongs to {both}; use the name"
        raise NneqError(msg)
    msg = f"there is no {what} {terminal_text(text)!r}; the {what}s are: {shown}"
    raise NneqError(msg)
