"""``nneq demo``: the note's 2-3-2 network from its weights to the proven solutions."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nneq.cli.show import debug_option, print_table
from nneq.cli.words import Command
from nneq.errors import MissingDependencyError, problems_message

if TYPE_CHECKING:
    import numpy as np

    from nneq.boundary.results import Solutions
    from nneq.ir import Network
    from nneq.symbolic.exponential_sum import ExponentialSum

__all__ = ["command", "demo_network", "demo_weights", "direct"]

_BOX = {"x_1": (-2.0, 3.0), "x_2": (-1.5, 2.0)}
_BITS = 256


@click.command("demo", cls=Command)
@click.option(
    "-d",
    "--directory",
    type=click.Path(file_okay=False, exists=True),
    default=".",
    metavar="FOLDER",
    help="Where demo.onnx and demo.png are written (default: here).",
)
@click.option(
    "--x2",
    type=float,
    default=0.3,
    show_default=True,
    help="The value of x_2 for which z_1 = z_2 is solved for x_1.",
)
@debug_option
def command(directory: str, x2: float) -> int:
    """Solve z_1 = z_2 of a 2-3-2 sigmoid network, start to finish, without any framework.

    Prints the system of equations, the boundary as an exponential sum with its eight constants,
    all real solutions for x_1, and what direct evaluation says about each statement. Writes
    demo.onnx and demo.png.
    """
    from nneq.api.importing import to_equations

    weights = demo_weights()
    equations = to_equations(demo_network(weights))
    print("A 2-3-2 network of sigmoid units, trained to tell two half moons apart.\n")
    print(equations)
    boundary = equations.boundary("z_1", "z_2")
    total = boundary.exponential_sum()
    _show_sum(total)
    solutions = boundary.solve("x_1", at={"x_2": x2})
    from nneq.cli.boundary import show_solutions

    show_solutions(solutions)
    checks = [
        _check_system(weights, equations),
        _check_sum(weights, total),
        *_check_solutions(weights, solutions, x2),
    ]
    folder = Path(directory)
    written, missing = [], []
    try:
        checks.append(_write_onnx(weights, equations.network, folder / "demo.onnx"))
        written.append(str(folder / "demo.onnx"))
    except MissingDependencyError as error:
        missing.append(f"demo.onnx: {error}")
    try:
        _draw(boundary, solutions, x2, folder / "demo.png")
        written.append(str(folder / "demo.png"))
    except MissingDependencyError as error:
        missing.append(f"demo.png: {error}")
    rows = [["holds" if good else "FAILS", what, seen] for good, what, seen in checks]
    print()
    print_table("Every statement against direct evaluation", ["", "statement", "measured"], rows)
    for name in written:
        print(f"wrote {name}")
    if missing:
        raise MissingDependencyError(problems_message("the demo could not write", missing))
    print(f"next: nneq inspect {written[0]}")
    return 0 if all(good for good, _, _ in checks) else 1


# ---------------------------------------------------------------------- the network
def demo_weights() -> list[np.ndarray[Any, Any]]:
    """Return hidden weights (3, 2), hidden bias (3,), output weights (2, 3), output bias (2,)."""
    import importlib.resources

    import numpy as np

    text = importlib.resources.files("nneq.cli").joinpath("demo_network.json").read_text("utf-8")
    record = json.loads(text)
    return [
        np.array(record[layer][part], dtype=np.float32)
        for layer in ("hidden", "output")
        for part in ("weights", "bias")
    ]


def demo_network(weights: Sequence[np.ndarray[Any, Any]]) -> Network:
    """Return the network ``z = sigmoid(W2 sigmoid(W1 x + b1) + b2)``."""
    from nneq.ir.linear_map import Dense
    from nneq.ir.network import Source
    from nneq.lowering import Builder

    w1, b1, w2, b2 = weights
    builder = Builder()
    x = builder.input((1, 2), label="x")
    builder.origin = "hidden"
    y = builder.elementwise("sigmoid", builder.linear(x, Dense(w1, (1,)), b1))
    builder.origin = "output"
    z = builder.elementwise("sigmoid", builder.linear(y, Dense(w2, (1,)), b2))
    return builder.build([(z, "z")], source=Source("nneq", "demo"))


def direct(weights: Sequence[np.ndarray[Any, Any]], x: Any) -> np.ndarray[Any, Any]:
    """Return the logits of both outputs, written out with NumPy: ``(k, 2)`` to ``(k, 2)``.

    Guarantee: numerical (float64).
    """
    import numpy as np

    w1, b1, w2, b2 = (array.astype(np.float64) for array in weights)
    y = 1 / (1 + np.exp(-(np.asarray(x) @ w1.T + b1)))
    found: np.ndarray[Any, Any] = y @ w2.T + b2
    return found


def _ball_difference(weights: Sequence[np.ndarray[Any, Any]], x1: float, x2: float) -> Any:
    """Return a ball that holds ``z_1 - z_2`` (logits) at one point."""
    from flint import arb, ctx

    with ctx.workprec(_BITS):
        w1, b1, w2, b2 = ([[arb(float(v)) for v in row] for row in _rows(a)] for a in weights)
        point = [arb(x1), arb(x2)]
        total = b2[0][0] - b2[0][1]
        for k in range(3):
            inner = b1[0][k] + sum((w1[k][i] * point[i] for i in range(2)), arb(0))
            total += (w2[0][k] - w2[1][k]) / (1 + (-inner).exp())
        return total


def _rows(array: np.ndarray[Any, Any]) -> list[list[float]]:
    import numpy as np

    return [list(row) for row in np.atleast_2d(array)]


# ---------------------------------------------------------------------- what is shown
def _show_sum(total: ExponentialSum) -> None:
    print("\nz_1 = z_2 as an exponential sum: the sum over S of C_S exp(sum of B_k, k in S) = 0\n")
    for k, exponent in total.exponents.items():
        print(f"  B_{k} = {exponent.evalf(9)}")
    print()
    rows = [
        ["{" + ", ".join(map(str, sorted(units))) + "}", repr(float(value))]
        for units, value in total.coefficients.items()
    ]
    print_table(f"The {len(rows)} constants C_S", ["S", "C_S"], rows)


def _draw(boundary: Any, solutions: Solutions, x2: float, target: Path) -> None:
    from nneq.plotting import plot_boundary

    display = plot_boundary(boundary, _BOX)
    display.ax_.axhline(x2, color="0.4", linewidth=0.8, linestyle="--")
    display.ax_.plot(solutions.values, [x2] * len(solutions), "o", color="#c0392b")
    display.save(target)


def _write_onnx(
    weights: Sequence[np.ndarray[Any, Any]], network: Network, target: Path
) -> tuple[bool, str, str]:
    """Write the network as an ONNX file, read it again and compare."""
    try:
        import onnx
        from onnx import TensorProto, helper, numpy_helper
    except ImportError as missing:
        msg = "writing demo.onnx needs the onnx package; install it with: pip install 'nneq[demo]'"
        raise MissingDependencyError(msg) from missing
    import numpy as np

    from nneq.api.importing import to_network

    names = ("w1", "b1", "w2", "b2")
    graph = helper.make_graph(
        [
            helper.make_node("Gemm", ["x", "w1", "b1"], ["a1"], name="hidden", transB=1),
            helper.make_node("Sigmoid", ["a1"], ["y"], name="hidden_sigmoid"),
            helper.make_node("Gemm", ["y", "w2", "b2"], ["a2"], name="output", transB=1),
            helper.make_node("Sigmoid", ["a2"], ["z"], name="output_sigmoid"),
        ],
        "demo",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 2])],
        [helper.make_tensor_value_info("z", TensorProto.FLOAT, ["batch", 2])],
        [numpy_helper.from_array(a, name) for a, name in zip(weights, names, strict=True)],
    )
    opset = helper.make_opsetid("", 17)
    model = helper.make_model(graph, opset_imports=[opset], producer_name="nneq", ir_version=8)
    onnx.checker.check_model(model)
    target.write_bytes(model.SerializeToString())
    x = np.random.default_rng(2).uniform(-3, 3, (1000, 2))
    error = float(np.max(np.abs(to_network(str(target))(x) - network(x))))
    return error == 0.0, "demo.onnx holds the same function", f"difference {error:.1e}"


# ---------------------------------------------------------------------- the checks
def _points() -> np.ndarray[Any, Any]:
    import numpy as np

    return np.random.default_rng(0).uniform(-3, 3, (1000, 2))


def _check_system(weights: Sequence[np.ndarray[Any, Any]], equations: Any) -> tuple[bool, str, str]:
    import numpy as np

    x = _points()
    expected = 1 / (1 + np.exp(-direct(weights, x)))
    error = float(np.max(np.abs(equations(x) - expected)))
    return error <= 1e-14, "the equations give the outputs", f"error {error:.1e} at 1000 points"


def _check_sum(
    weights: Sequence[np.ndarray[Any, Any]], total: ExponentialSum
) -> tuple[bool, str, str]:
    """Compare the sum of the shown constants with ``P (z_1 - z_2)`` at random points."""
    import numpy as np

    x = _points()
    w1, b1 = (array.astype(np.float64) for array in weights[:2])
    exponents = -(x @ w1.T + b1)
    logits = direct(weights, x)
    product = np.prod(1 + np.exp(exponents), axis=1)
    terms = np.stack(
        [
            value * np.exp(exponents[:, [k - 1 for k in sorted(units)]].sum(axis=1))
            for units, value in total.coefficients.items()
        ]
    )
    size = np.abs(terms).sum(axis=0)
    error = float(
        np.max(np.abs(terms.sum(axis=0) - product * (logits[:, 0] - logits[:, 1])) / size)
    )
    return (
        error <= 1e-14,
        "the exponential sum is P (z_1 - z_2)",
        f"error {error:.1e} at 1000 points",
    )


def _check_solutions(
    weights: Sequence[np.ndarray[Any, Any]], solutions: Solutions, x2: float
) -> list[tuple[bool, str, str]]:
    import numpy as np

    signs = []
    for root in solutions:
        below, above = (_ball_difference(weights, end, x2) for end in (root.lower, root.upper))
        signs.append(bool(below < 0 < above) or bool(below > 0 > above))
    worst = max(
        (abs(float(np.subtract(*direct(weights, [[root.value, x2]])[0]))) for root in solutions),
        default=0.0,
    )
    grid = np.linspace(-100, 100, 1_000_001)
    logits = direct(weights, np.stack([grid, np.full_like(grid, x2)], axis=1))
    positive = logits[:, 0] > logits[:, 1]
    crossings = int(np.count_nonzero(positive[1:] != positive[:-1]))
    return [
        (
            all(signs),
            "z_1 - z_2 changes sign in every enclosure",
            f"{sum(signs)} of {len(signs)} in {_BITS}-bit balls",
        ),
        (worst <= 1e-12, "z_1 = z_2 at every solution", f"|logit difference| at most {worst:.1e}"),
        (
            solutions.complete and crossings == len(solutions),
            "there is no other solution",
            f"proven; {crossings} crossings on a grid of 1,000,001 points",
        ),
    ]
