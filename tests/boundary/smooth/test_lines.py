"""All roots on a line: counted against rigorous polynomials, constructed cases and parity."""

from __future__ import annotations

import gc
import math
import weakref

import flint
import numpy as np
import pytest
from certified_networks import KINKED, SMOOTH, every_kind, mlp, one_hidden, shifted
from hypothesis import given, settings
from hypothesis import strategies as st

from nneq.boundary.problem import Problem
from nneq.boundary.results import Budget, Status
from nneq.boundary.smooth.lines import solve_lines
from nneq.ir import linear_map as lm
from nneq.ir import network as ir
from nneq.passes.difference import difference
from nneq.semantics.arb import ArbNetwork
from nneq.semantics.slices import Slices

INF = math.inf


def problem_of(network, i=0, j=1, rivals=None):
    """Return the reduced problem of two outputs."""
    reduced = difference(network, i, j)
    names = tuple(f"x_{k + 1}" for k in range(network.input_size))
    return Problem(reduced.network, f"z_{i + 1} = z_{j + 1}", names, reduced.notes, rivals)


def solve(problem, origin, direction, domain=(-3.0, 3.0), **options):
    """Return the solutions on one line."""
    budget = options.pop("budget", Budget())
    return solve_lines(
        problem,
        np.atleast_2d(origin),
        np.asarray(direction, float),
        domain,
        clock=budget.start(),
        **options,
    )[0]


def sampled(problem, origin, direction, low, high, count=20_001):
    """Return float64 places of sign changes on a grid."""
    slices = Slices(problem.network, np.atleast_2d(origin), np.asarray(direction, float)[:, None])
    t = np.linspace(low, high, count)
    y = slices.floats(np.zeros(count, dtype=int), t[:, None])[0].reshape(-1)
    k = np.flatnonzero(np.sign(y[:-1]) * np.sign(y[1:]) < 0)
    return t[k], t[k + 1]


def assert_covers(solutions, left, right):
    """Fail unless every sampled sign change lies in a root or an undecided interval."""
    for a, b in zip(left, right, strict=True):
        hit = any(r.lower <= b and a <= r.upper for r in solutions)
        hit |= any(low <= b and a <= high for low, high in solutions.undecided)

        assert hit, (a, b)


def assert_proven(problem, origin, direction, solutions):
    """Fail unless Arb confirms the change of sign at every enclosure."""
    exact = ArbNetwork(problem.network)
    for root in solutions:
        if root.lower == root.upper:
            continue
        ends = [flint.arb(root.lower), flint.arb(root.upper)]
        left, right = exact.on_line(np.asarray(origin), np.asarray(direction), ends, 300).reshape(
            -1
        )
        turn = 1 if root.crossing == "up" else -1

        assert not left * turn > 0
        assert not right * turn < 0
        assert root.lower <= root.value <= root.upper


# ------------------------------------------------------------------ an independent oracle
def polynomial_roots(slopes, offsets, deltas, constant):
    """Return how many real t solve constant + sum deltas tanh(slopes t + offsets) = 0.

    With u = exp(2 t) and integer slopes, every tanh is (c u^m - 1)/(c u^m + 1): a polynomial in u,
    whose positive roots Arb isolates with certainty.
    """
    units: dict[tuple[int, float], float] = {}
    for m, beta, delta in zip(slopes, offsets, deltas, strict=True):
        key = (abs(int(m)), float(beta) if m > 0 else -float(beta))  # tanh is odd
        units[key] = units.get(key, 0.0) + (float(delta) if m > 0 else -float(delta))
    slopes, offsets = [m for m, _ in units], [beta for _, beta in units]
    deltas = list(units.values())
    with flint.ctx.workprec(2000):
        total = flint.arb_poly([flint.arb(constant)])
        common = flint.arb_poly([1])
        parts = []
        for m, beta, delta in zip(slopes, offsets, deltas, strict=True):
            factor = (2 * flint.arb(beta)).exp()
            size = abs(int(m))
            u = flint.arb_poly([0] * size + [1])
            top, bottom = (factor * u - 1, factor * u + 1) if m >= 0 else (factor - u, factor + u)
            parts.append((top * flint.arb(delta), bottom))
            common = common * bottom
        total = total * common
        for k, (top, _) in enumerate(parts):
            term = top
            for j, (_, bottom) in enumerate(parts):
                if j != k:
                    term = term * bottom
            total = total + term
        coefficients = [flint.acb(total[k]) for k in range(total.degree() + 1)]
        roots = flint.acb_poly(coefficients).roots(tol=flint.arb("1e-100"))
        real = [r for r in roots if r.imag.contains(0) and r.real > 0]
        return sorted(float((r.real.log() / 2).mid()) for r in real)


@pytest.mark.parametrize("block", range(10))
def test_integer_slopes_agree_with_polynomials(block):
    """100 networks with integer slopes have exactly the roots of their polynomial, on the line."""
    for seed in range(10 * block, 10 * block + 10):
        rng = np.random.default_rng(seed)
        units = int(rng.integers(1, 7))
        slopes = rng.integers(1, 6, size=units) * rng.choice([-1, 1], size=units)
        offsets = np.round(rng.normal(size=units) * 3 * 1024) / 1024
        deltas = (2 * rng.integers(-9, 10, size=units) + 1) / 4.0
        constant = float(2 * rng.integers(-5, 6) + 1) / 8  # no corner is 0
        weights = np.vstack([deltas, np.zeros(units)])
        network = one_hidden(slopes[:, None], offsets, weights, [constant, 0.0])
        end = constant + np.sum(deltas * np.sign(slopes))
        start = constant - np.sum(deltas * np.sign(slopes))
        expected = polynomial_roots(slopes, offsets, deltas, constant)
        found = solve(problem_of(network), [0.0], [1.0], (-INF, INF))

        assert found.complete, (seed, found.undecided)
        assert len(expected) == len(found), seed
        for value, root in zip(expected, found, strict=True):
            assert root.lower - 1e-12 <= value <= root.upper + 1e-12
        assert (len(found) % 2 == 1) == (start * end < 0)  # parity


def test_a_limit_of_zero_is_undecided_not_wrong():
    """tanh(t) - 1 tends to 0 and never reaches it: no root, and an honest tail."""
    network = one_hidden([[1.0]], [0.0], [[1.0], [0.0]], [-1.0, 0.0])
    found = solve(problem_of(network), [0.0], [1.0], (-INF, INF))

    assert len(found) == 0
    assert not found.complete
    assert all(high == INF for _, high in found.undecided)


# ------------------------------------------------------------------ constructed roots
@pytest.mark.parametrize("gap", [1e-3, 1e-5, 1e-7, 1e-9, 1e-10, 1e-13])
def test_close_pairs_are_counted(gap):
    """cosh(t) - 1 -+ gap: two roots, or none, however close."""
    network = one_hidden([[1.0], [1.0]], [0.0, 0.0], [[1.0, 0.0], [0.0, 0.0]], [-1.0, 0.0], "cosh")
    problem = problem_of(network)
    above = solve(shifted(problem, gap), [0.0], [1.0], (-1.0, 1.5))
    below = solve(shifted(problem, -gap), [0.0], [1.0], (-1.0, 1.5))

    assert (len(above), above.complete) == (0, True)
    assert (len(below), below.complete) == (2, True)
    place = math.acosh(1 + gap)
    for expected, root in zip((-place, place), below, strict=True):
        assert root.value == pytest.approx(expected, rel=1e-2)
    assert [r.crossing for r in below] == ["down", "up"]


def test_a_double_root_is_undecided_and_small():
    """cosh(t) = 1 at 0.3 exactly: undecided, in an interval of the size of a few roundings."""
    network = one_hidden([[1.0]], [-0.3], [[1.0], [0.0]], [-1.0, 0.0], "cosh")
    found = solve(problem_of(network), [0.0], [1.0])

    assert (len(found), found.complete, found.status) == (0, False, Status.UNDECIDED)
    ((low, high),) = found.undecided
    assert low <= 0.3 <= high
    assert high - low < 1e-11


def test_near_double_roots_of_a_network():
    """A trained-like network shifted to its minimum: none, two, and never anything else."""
    problem = problem_of(mlp((2, 24, 24, 2), "tanh", seed=0, gain=2.5, bias=1.0, dtype=float))
    origin, direction = np.array([0.0, 0.3]), np.array([1.0, 0.0])
    slices = Slices(problem.network, origin[None], direction[:, None])
    t = np.linspace(-3, 3, 4001)
    y = slices.floats(np.zeros(len(t), dtype=int), t[:, None])[0].reshape(-1)
    minima = [k for k in range(1, len(t) - 1) if y[k] < min(y[k - 1], y[k + 1])]

    assert minima
    k = minima[0]
    exact = ArbNetwork(problem.network)
    with flint.ctx.workprec(250):
        low, high, step = flint.arb(t[k - 1]), flint.arb(t[k + 1]), flint.arb(2) ** -80
        for _ in range(90):
            middle = ((low + high) / 2).mid()
            ends = [middle - step, middle + step]
            left, right = exact.on_line(origin, direction, ends, 250).reshape(-1)
            low, high = (low, middle) if right > left else (middle, high)
        depth = exact.on_line(origin, direction, [low], 250).reshape(-1)[0]
        base = -float(depth.mid())
        rest = float((-depth - flint.arb(base)).mid())
    domain = (float(t[k]) - 0.2, float(t[k]) + 0.2)
    for gap in (1e-4, 1e-8, 1e-10, 1e-12):
        for sign, expected in ((1, 0), (-1, 2)):
            moved = shifted(problem, base, rest, sign * gap)
            found = solve(moved, origin, direction, domain)

            assert (len(found), found.complete) == (expected, True), (gap, sign)
            assert_proven(moved, origin, direction, found)


# ------------------------------------------------------------------ general networks
@pytest.mark.parametrize("rule", [*SMOOTH, *KINKED])
def test_roots_match_a_fine_grid(rule):
    """Every sign change of a fine grid is found, counts agree and enclosures are proven."""
    problem = problem_of(mlp((2, 16, 16, 2), rule, seed=4, gain=2.5, bias=1.0))
    for second in (-1.0, 0.25):
        origin, direction = np.array([0.0, second]), np.array([1.0, 0.0])
        found = solve(problem, origin, direction)
        left, right = sampled(problem, origin, direction, -3, 3)

        assert found.complete, found.undecided
        assert len(left) == len(found)
        assert_covers(found, left, right)
        assert_proven(problem, origin, direction, found)
        assert all(r.upper - r.lower <= 4e-15 * max(1.0, abs(r.value)) for r in found)


@pytest.mark.parametrize("rules", [["relu", "tanh"], ["tanh", "abs"], ["gelu", "clip"]])
def test_mixed_networks(rules):
    """Kinks and curves together."""
    problem = problem_of(mlp((2, 12, 12, 2), rules, seed=2, gain=3.0, bias=1.0))
    origin, direction = np.array([0.0, 0.1]), np.array([1.0, 0.5])
    found = solve(problem, origin, direction)
    left, _ = sampled(problem, origin, direction, -3, 3)

    assert found.complete, found.undecided
    assert len(left) == len(found)
    assert_proven(problem, origin, direction, found)


@pytest.mark.parametrize("seed", range(3))
def test_every_node_kind(seed):
    """Softmax, products, maxima and selections inside: sampled sign changes are covered."""
    problem = problem_of(every_kind(seed, rough=True))
    origin, direction = np.zeros(3), np.array([1.0, -0.5, 0.25])
    found = solve(problem, origin, direction, budget=Budget(boxes=20_000))
    left, right = sampled(problem, origin, direction, -3, 3, 4001)
    assert_covers(found, left, right)


@settings(max_examples=25, deadline=None)
@given(
    depth=st.integers(1, 4),
    width=st.integers(1, 8),
    rules=st.lists(st.sampled_from([*SMOOTH, *KINKED]), min_size=4, max_size=4),
    seed=st.integers(0, 10**6),
    gain=st.sampled_from([0.3, 2.0, 8.0]),
)
def test_random_architectures(depth, width, rules, seed, gain):
    """No sampled sign change is ever outside the answer; a complete answer has the same count."""
    problem = problem_of(mlp((2, *(width,) * depth, 2), rules[:depth], seed=seed, gain=gain))
    rng = np.random.default_rng(seed)
    origin, direction = rng.normal(size=2), rng.normal(size=2)
    found = solve(problem, origin, direction, budget=Budget(boxes=20_000, seconds=20))
    left, right = sampled(problem, origin, direction, -3, 3, 2001)
    assert_covers(found, left, right)
    assert_proven(problem, origin, direction, found)
    if found.complete:
        assert len(left) <= len(found)


def test_the_whole_line_holds_the_interval():
    """Roots on R in the interval are those of the interval; parity follows from the ends."""
    for seed in range(6):
        problem = problem_of(mlp((3, 12, 12, 2), "tanh", seed=seed, gain=2.0, bias=1.0))
        rng = np.random.default_rng(seed)
        origin, direction = rng.normal(size=3), rng.normal(size=3)
        whole = solve(problem, origin, direction, (-INF, INF))
        part = solve(problem, origin, direction, (-2.0, 2.0))
        inside = [r.value for r in whole if -2 <= r.value <= 2]

        assert whole.complete
        assert part.complete
        np.testing.assert_allclose(part.values, inside, rtol=1e-12, atol=1e-14)
        slices = Slices(problem.network, origin[None], direction[:, None])
        far = slices.floats(np.zeros(2, dtype=int), np.array([[-1e9], [1e9]]))[0].reshape(-1)

        assert (len(whole) % 2 == 1) == (far[0] * far[1] < 0)


@pytest.mark.parametrize("rule", ["relu", "gelu", "softplus", "selu", "mish", "softsign"])
def test_unbounded_activations_have_proven_tails(rule):
    """The whole line also works where activations grow, or settle slowly."""
    problem = problem_of(mlp((2, 10, 10, 2), rule, seed=3, gain=2.0, bias=1.0))
    whole = solve(problem, [0.0, 0.2], [1.0, 0.0], (-INF, INF))
    left, right = sampled(problem, np.array([0.0, 0.2]), np.array([1.0, 0.0]), -500, 500, 200_001)

    assert whole.complete, whole.undecided
    assert_covers(whole, left, right)
    assert len(left) <= len(whole)


def test_many_lines_at_once_equal_one_by_one():
    """Batched lines give the roots of single lines."""
    problem = problem_of(mlp((3, 16, 16, 2), "tanh", seed=9, gain=2.5, bias=1.0))
    rng = np.random.default_rng(0)
    origins, directions = rng.normal(size=(12, 3)), rng.normal(size=(12, 3))
    together = solve_lines(problem, origins, directions, (-2.0, 2.0), clock=Budget().start())
    for origin, direction, many in zip(origins, directions, together, strict=True):
        single = solve(problem, origin, direction, (-2.0, 2.0))

        assert single.complete == many.complete
        np.testing.assert_allclose(single.values, many.values, rtol=1e-13, atol=1e-15)


# ------------------------------------------------------------------ corner cases
def test_roots_at_the_ends_are_found():
    """An odd function is 0 at 0, also where the domain begins or ends there."""
    rng = np.random.default_rng(0)
    network = one_hidden(rng.normal(size=(4, 1)), np.zeros(4), [[1, 2, 3, 4], [0, 0, 0, 0]], [0, 0])
    for domain in ((0.0, 3.0), (-3.0, 0.0), (-3.0, 3.0), (-1.0, 3.0), (-INF, INF)):
        found = solve(problem_of(network), [0.0], [1.0], domain)

        assert ([0.0], True) == ([r.value for r in found], found.complete), domain


@pytest.mark.parametrize("domain", [(-3.0, 3.0), (-INF, INF), (2.0, INF)])
def test_identical_outputs_are_reported(domain):
    """Equal heads, and duplicate units whose weights cancel, are equal everywhere: proven."""
    rng = np.random.default_rng(1)
    W, b = rng.normal(size=(4, 2)), rng.normal(size=4)
    equal = one_hidden(W, b, np.vstack([W[:, 0], W[:, 0]]), [0.1, 0.1])
    W[1], b[1], W[3], b[3] = W[0], b[0], W[2], b[2]
    cancel = one_hidden(W, b, [[1, 2, 3, 4], [2, 1, 4, 3]], [0.1, 0.1], "gelu")
    for network in (equal, cancel):
        found = solve(problem_of(network), [0.0, 0.3], [1.0, 0.0], domain)

        assert (domain,) == found.identical
        assert (0, True) == (len(found), found.complete)


def test_dead_units_leave_an_identical_half_line():
    """|relu(t + 1/8)| difference: equal up to -1/8 and nowhere else."""
    network = one_hidden([[1.0]], [0.125], [[1.0], [-1.0]], [0.0, 0.0], "relu")
    found = solve(problem_of(network), [0.0], [1.0])
    ((low, high),) = found.identical

    assert low == -3.0
    assert high == pytest.approx(-0.125, abs=1e-8)
    assert all(-0.1251 < a and b < -0.1249 for a, b in found.undecided)


def test_constant_outputs_have_no_root():
    """A line the network does not see, with different outputs."""
    network = one_hidden(np.zeros((3, 2)), [1, 2, 3], [[1, 1, 1], [0, 0, 0]], [0, 0])
    found = solve(problem_of(network), [0.0, 0.0], [1.0, 0.0], (-INF, INF))

    assert (0, True, ()) == (len(found), found.complete, found.identical)


@pytest.mark.parametrize("scale", [1e-30, 1e-12, 1e6, 1e30])
def test_extreme_weights(scale):
    """Tiny and huge first-layer weights: right, or undecided in tiny intervals."""
    W = np.array([[1.3], [-0.7]]) * scale
    network = one_hidden(W, [0.5, 0.2], [[1.0, 2.0], [0.0, 0.0]], [0.3, 0.0])
    found = solve(problem_of(network), [0.0], [1.0], (-INF, INF), budget=Budget(seconds=20))
    exact = polynomial_roots([13, -7], [0.5, 0.2], [1.0, 2.0], 0.3)
    expected = [t * 10 / scale for t in exact]

    assert len(expected) == len(found) + len(found.undecided)
    for value, (low, high) in zip(
        expected, sorted([(r.lower, r.upper) for r in found] + list(found.undecided)), strict=True
    ):
        assert low - 1e-9 * abs(value) <= value <= high + 1e-9 * abs(value)


def test_a_jump_is_not_a_root():
    """sign(t - 0.3) + 0.2 changes sign without being 0: nothing is claimed there."""
    network = one_hidden([[1.0]], [-0.3], [[1.0], [0.0]], [0.2, 0.0], "sign")
    found = solve(problem_of(network), [0.0], [1.0])

    assert len(found) == 0
    assert all(abs(low - 0.3) < 1e-9 and abs(high - 0.3) < 1e-9 for low, high in found.undecided)


def test_a_budget_returns_what_is_proven():
    """With no boxes left the rest is undecided and the status says so."""
    problem = problem_of(mlp((2, 32, 32, 32, 32, 32, 32, 2), "tanh", seed=1, gain=2.5, bias=1.0))
    found = solve(problem, [0.0, 0.0], [1.0, 0.0], (-50.0, 50.0), budget=Budget(boxes=40))

    assert (False, Status.BUDGET) == (found.complete, found.status)
    left, right = sampled(problem, np.zeros(2), np.array([1.0, 0.0]), -50, 50)
    assert_covers(found, left, right)


def test_an_interrupt_returns_what_is_proven():
    """Ctrl-C in a level keeps what the levels before have proven."""
    problem = problem_of(mlp((2, 32, 32, 2), "tanh", seed=1, gain=3.0, bias=1.0))

    def stop(share):
        assert 0 <= share <= 1
        raise KeyboardInterrupt

    found = solve(problem, [0.0, 0.0], [1.0, 0.0], (-40.0, 40.0), progress=stop)

    assert (False, Status.INTERRUPTED) == (found.complete, found.status)


def test_a_third_output_filters_with_proof():
    """Roots where a third class wins are dropped, the others stay."""
    W2 = np.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0]])
    network = one_hidden([[1.0], [1.0]], [0.0, 5.0], W2, [0.0, 0.0, 0.0])
    winner = one_hidden([[1.0], [1.0]], [0.0, 5.0], -W2, [0.0, 0.0, 0.0])
    for made, expected in ((network, 0), (winner, 1)):
        rivals = difference(made, 0, 2).network
        found = solve(problem_of(made, rivals=rivals), [0.0], [1.0])

        assert (expected, True) == (len(found), found.complete)


def test_a_point_domain():
    """A domain of one point is answered."""
    network = one_hidden([[1.0]], [0.0], [[1.0], [0.0]], [-0.5, 0.0])
    found = solve(problem_of(network), [0.0], [1.0], (1.0, 1.0))

    assert (0, True) == (len(found), found.complete)


@pytest.mark.parametrize("rule", ["tanh", "gelu", "relu"])
def test_float32_statements_hold_for_float32_execution(rule):
    """Outside enclosures and undecided intervals the executed network has the sign of g."""
    network = mlp((2, 32, 32, 2), rule, seed=3, gain=2.5, bias=1.0)
    problem = problem_of(network)
    origin, direction = np.array([0.0, 0.3]), np.array([1.0, 0.0])
    real = solve(problem, origin, direction)
    wide = solve(problem, origin, direction, precision="float32")

    assert wide.complete
    assert len(real) == len(wide)
    assert all(a.lower <= b.lower and b.upper <= a.upper for a, b in zip(wide, real, strict=True))
    assert {root.certificate.precision for root in wide} <= {"float32"}
    t = np.linspace(-3, 3, 50_001)
    x = (origin + t[:, None] * direction).astype(np.float32)
    for node in network.nodes[1:]:
        if isinstance(node, ir.Affine):
            x = x @ node.terms[0].map.weight.T + node.bias.astype(np.float32)
        else:
            from nneq.activations import RULES

            x = RULES[node.rule].numeric(x, node.params).astype(np.float32)
    executed = np.sign(x[:, 0].astype(np.float64) - x[:, 1])
    slices = Slices(problem.network, origin[None], direction[:, None])
    true = np.sign(slices.floats(np.zeros(len(t), dtype=int), t[:, None])[0].reshape(-1))
    outside = np.ones(len(t), dtype=bool)
    for root in wide:
        outside &= (t < root.lower) | (t > root.upper)

    assert np.array_equal(true[outside], executed[outside])


def test_an_interrupt_while_enclosing_keeps_the_roots(monkeypatch):
    """Ctrl-C after the isolation: every root is still there, enclosed by its run."""
    from nneq.boundary.smooth import lines

    problem = problem_of(mlp((2, 16, 16, 2), "tanh", seed=4, gain=2.5, bias=1.0))
    whole = solve(problem, [0.0, 0.25], [1.0, 0.0])

    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(lines, "bracketed", stop)
    found = solve(problem, [0.0, 0.25], [1.0, 0.0])

    assert len(whole) == len(found) > 0
    assert all(a.lower <= b.lower and b.upper <= a.upper for a, b in zip(found, whole, strict=True))


def test_convolutions_on_the_way_between_two_images():
    """784 inputs cost no more than 1: the segment between two images, certified."""
    from certified_networks import built

    from nneq.lowering import Builder

    rng = np.random.default_rng(0)
    builder = Builder()
    x = builder.input((1, 1, 28, 28))
    shape = {"strides": (2, 2), "dilations": (1, 1), "pads": ((1, 1), (1, 1))}
    x = builder.elementwise("silu", builder.conv(x, rng.normal(size=(4, 1, 5, 5)) / 3, **shape))
    x = builder.elementwise("tanh", builder.conv(x, rng.normal(size=(6, 4, 5, 5)) / 5, **shape))
    x = builder.reshape(x, (1, 6 * 6 * 6))
    network = built(builder, builder.linear(x, lm.Dense(rng.normal(size=(3, 216)) / 8, (1,))))
    problem = problem_of(network)
    a, b = rng.random(784), rng.random(784)
    found = solve(problem, 4 * a, 4 * (b - a), (0.0, 1.0))
    left, right = sampled(problem, 4 * a, 4 * (b - a), 0, 1, 501)

    assert found.complete
    assert len(left) == len(found)
    assert_covers(found, left, right)


def test_too_many_open_boxes_end_like_a_budget(monkeypatch):
    """Without a budget a hopeless question still ends, with the rest undecided."""
    from nneq.boundary.smooth import isolate

    monkeypatch.setattr(isolate, "MOST_BOXES", 1000)
    network = one_hidden([[1e5]], [0.0], [[1.0], [0.0]], [0.0, 0.0], "sin")
    found = solve(problem_of(network), [0.0], [1.0])

    assert (False, Status.BUDGET) == (found.complete, found.status)
    assert found.undecided


def check_pieces(rng, rule):
    """Fail unless Arb confirms every sign, slope and bound of one random network's pieces."""
    from nneq.boundary.smooth.isolate import isolate

    widths = (2, *rng.integers(2, 14, rng.integers(1, 4)).tolist(), 2)
    gain = 10 ** rng.uniform(-0.5, 1.2)
    problem = problem_of(mlp(widths, rule, int(rng.integers(1e6)), gain, 1.0))
    origin, direction = rng.normal(size=2) * 10 ** rng.uniform(-1, 1), rng.normal(size=2)
    slices = Slices(problem.network, origin[None], direction[:, None])
    size = 10 ** rng.uniform(-3, 3)
    low, high = np.array([-size, 0.1 * size]), np.array([0.1 * size, 2 * size])
    clock = Budget(boxes=3000).start()
    found = isolate(slices, np.zeros(2, dtype=int), low, high, clock=clock, levels=14)
    exact = ArbNetwork(problem.network)
    checks = 0
    for k in rng.permutation(np.flatnonzero(found.kind))[:12]:
        places = [found.low[k], *rng.uniform(found.low[k], found.high[k], 3), found.high[k]]
        points = [flint.arb(t) for t in sorted(set(places))]
        values = exact.on_line(origin, direction, points, 250).reshape(-1)
        if abs(found.kind[k]) == 1:
            assert all(v * int(found.kind[k]) > 0 for v in values), (rule, widths, k)
            checks += len(values)
            continue
        least, most = (flint.arb(v) for v in found.steep[k])
        for i in range(len(values) - 1):
            quotient = (values[i + 1] - values[i]) / (points[i + 1] - points[i])

            assert quotient * int(found.kind[k]) > 0, (rule, widths, k)
            assert quotient >= least
            assert quotient <= most
            checks += 1
    return checks


@pytest.mark.parametrize("rule", sorted({*SMOOTH, *KINKED}))
def test_every_piece_of_a_line_tells_the_truth(rule):
    """Signs, slopes and their bounds hold at random points, in Arb, without tolerance."""
    rng = np.random.default_rng(len(rule))

    assert sum(check_pieces(rng, rule) for _ in range(6)) > 50


@pytest.mark.long
def test_a_hundred_thousand_facts_of_pieces():
    """The same, many times."""
    rng = np.random.default_rng(11)
    rules = sorted({*SMOOTH, *KINKED})
    checks = 0
    while checks < 100_000:
        checks += check_pieces(rng, rules[rng.integers(len(rules))])


@pytest.mark.parametrize("width", [1e-15, 3e-15, 1e-12, 1e-3, 5.0])
def test_the_pieces_of_every_start_interval_join_without_a_gap(width):
    """Cuts of two to four parts meet exactly, also where an interval has a few floats only."""
    from nneq.boundary.smooth.isolate import isolate

    problem = problem_of(mlp((2, 24, 24, 2), "tanh", 3, 6.0, 1.0))
    slices = Slices(problem.network, np.array([[0.0, 0.3]]), np.array([[1.0], [0.0]]))
    low = np.arange(-10, 10) * 5.3 + 0.1
    high = low + np.maximum(width, 6 * np.spacing(np.abs(low)))
    found = isolate(slices, np.zeros(20, dtype=int), low, high, clock=Budget().start(), levels=12)
    order = np.argsort(found.low)
    starts, ends = found.low[order], found.high[order]
    gaps = starts[1:] != ends[:-1]

    assert (starts < ends).all()
    assert starts[np.append(True, gaps)] == pytest.approx(low, abs=0)
    assert ends[np.append(gaps, True)] == pytest.approx(high, abs=0)


def test_a_root_at_an_end_of_the_domain_leaves_no_wide_interval():
    """Where g(0) = 0 cannot be proven at an end, a monotone g leaves a few roundings open."""
    network = one_hidden(
        [[1.0], [-1.0]], [0.0, 0.0], [[1.0, -1.0], [0.0, 0.0]], [0.0, 0.0], "softplus"
    )
    found = solve(problem_of(network), [0.0], [1.0], (0.0, 3.0))

    assert 1 == len(found.undecided)
    assert 0.0 == found.undecided[0][0]
    assert found.undecided[0][1] < 1e-9


def test_a_sigmoid_far_to_the_left_is_solved_in_few_boxes():
    """g = s(t) - s(2t) shrinks like exp(t): balls tell its sign where jets do not."""
    network = one_hidden(
        [[1.0], [2.0]], [0.0, 0.0], [[1.0, -1.0], [0.0, 0.0]], [0.0, 0.0], "sigmoid"
    )
    found = solve(problem_of(network), [0.0], [1.0], (-600.0, -1.0))

    assert found.complete
    assert () == found.roots
    assert found.stats["boxes"] < 5000


def test_overflow_is_undecided_after_few_boxes():
    """Where g exceeds every float64 nothing is proven, and boxes are not halved for ever."""
    network = one_hidden(
        [[500.0], [1.0]], [0.0, 0.0], [[1.0, -1.0], [0.0, 0.0]], [-1.0, 0.0], "exp"
    )
    found = solve(problem_of(network), [0.0], [1.0], (-3.0, 3.0))

    assert Status.UNDECIDED == found.status
    assert 1 == len(found)
    assert found.undecided[0][0] > 1.2
    assert found.stats["boxes"] < 5000


def test_solved_networks_are_let_go():
    """Asking about one network after another, as in training, keeps only the last few."""
    alive = []
    for seed in range(20):
        problem = problem_of(mlp((1, 4, 2), "tanh", seed))
        solve(problem, [0.0], [1.0])
        alive.append(weakref.ref(problem.network))
    del problem
    gc.collect()

    assert sum(ref() is not None for ref in alive) <= 8
