"""Segments through large networks: errors attacked with exact values, nothing missed, budgets."""

from __future__ import annotations

import dataclasses
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from fractions import Fraction

import numpy as np
import pytest
from boundary.pwl.networks import dense, fractions, lenet, problem, residual

from nneq.boundary.pwl import large
from nneq.boundary.pwl import segment as walker
from nneq.boundary.pwl.lines import solve_lines
from nneq.boundary.pwl.segment import Plan, Track, walk_segment
from nneq.boundary.pwl.walk import Program
from nneq.boundary.results import Budget, Enclosed, Status
from nneq.ir import linear_map as lm
from nneq.semantics.rational import ExactWeights, evaluate_exact

SEEDS = (2, 3, 8)
NETWORKS = {
    "relu": dense((3, 12, 12, 12, 12, 2), 3),
    "integer": dense((3, 8, 8, 8, 2), 5, integer=True),
    "leaky": dense((3, 12, 12, 2), 4, "leaky_relu", alpha=0.25),
    "steep": dense((3, 10, 10, 2), 4, "leaky_relu", alpha=-1.5),
    "clip": dense((3, 12, 12, 2), 5, "clip", low=-0.7, high=0.3),
    "hard sigmoid": dense((3, 12, 12, 2), 6, "hard_sigmoid"),
    "abs": dense((3, 12, 12, 2), 7, "abs"),
    "soft shrink": dense((3, 12, 12, 2), 8, "soft_shrink", lambd=0.3),
    "pooling": lenet(),
    "residual": residual(4, 2, 1),
}


def segment(network, seed=0):
    """Return a random origin and direction whose entries are short fractions."""
    size = sum(port.size for port in network.inputs)
    a, b = np.random.default_rng(seed).integers(-16, 17, (2, size)) / 8
    return a, b


def plan_of(network, guide=0.0):
    """Return a plan that takes ``|g|`` to be ``guide``, so that as much may be dropped."""
    plan = Plan.of(Program(problem(network).network))
    return dataclasses.replace(plan, guide_t=np.array([0.0, 1.0]), guide=np.full(2, guide))


def assert_bounds(network, track, origin, direction, seed=0, count=12):
    """Hold the interpolant against exact values, at the points and in between."""
    rng = np.random.default_rng(seed)
    weights = ExactWeights()
    question = problem(network).network
    for k in rng.integers(0, len(track.t) - 1, count):
        for share in (Fraction(0), Fraction(3, 7)):
            ends = fractions(track.t[k : k + 2])
            t = ends[0] + share * (ends[1] - ends[0])
            x = [o + t * d for o, d in zip(fractions(origin), fractions(direction), strict=True)]
            exact = evaluate_exact(question, [x], weights)[0][0]
            value, error = (
                Fraction(float(v[k])) * (1 - share) + Fraction(float(v[k + 1])) * share
                for v in (track.value, track.error)
            )

            assert abs(value - exact) <= error


@pytest.mark.parametrize("dtype", [np.float64, np.longdouble])
@pytest.mark.parametrize("guide", [0.0, 0.03, 1.0, 1e3])
@pytest.mark.parametrize("name", NETWORKS)
def test_error_bounds_hold_at_exact_values(name, guide, dtype):
    """However much is dropped, the true function lies within the error, also between points."""
    network = NETWORKS[name]
    origin, direction = segment(network)
    track, stopped = walk_segment(
        plan_of(network, guide), origin, direction, (0.0, 1.0), Budget().start(), dtype=dtype
    )

    assert not stopped
    assert (np.diff(track.t) >= 0).all()
    assert (track.t[0], track.t[-1]) == (0.0, 1.0)
    assert np.isfinite(track.error).all()
    assert_bounds(network, track, origin, direction)


def test_every_breakpoint_is_made_without_samples():
    """Without samples the error is rounding alone; with them the track has fewer points."""
    network = NETWORKS["relu"]
    origin, direction = segment(network)
    clock = Budget().start()
    tracks = [
        walk_segment(plan_of(network, guide), origin, direction, (0.0, 1.0), clock)[0]
        for guide in (0.0, 1e6)
    ]

    assert tracks[0].error.max() < 1e-9
    assert len(tracks[1].t) < len(tracks[0].t)
    assert tracks[1].error.max() > 1e-6


def test_extended_precision_has_smaller_errors():
    """The bound shrinks with the unit roundoff of the type, where the machine has one."""
    network = residual()
    origin, direction = segment(network)
    found = [
        walk_segment(plan_of(network), origin, direction, (0.0, 0.1), Budget().start(), dtype=kind)[
            0
        ].error.max()
        for kind in (np.float64, np.longdouble)
    ]
    ratio = float(np.finfo(np.longdouble).eps / np.finfo(np.float64).eps)

    assert found[1] <= found[0] * max(ratio * 4, 1e-6)


@pytest.fixture
def small_is_large(monkeypatch):
    """Send every segment through the engine for large networks, in small parts."""
    monkeypatch.setattr(large, "_MANY_UNITS", 1)
    monkeypatch.setattr(large, "_MUCH_WORK", 1)
    monkeypatch.setattr(walker, "_BYTES", 1)


def solved(network, origin, direction, **options):
    """Solve one segment."""
    options.setdefault("clock", Budget().start())
    return solve_lines(problem(network), origin[None], direction, (0.0, 1.0), **options)[0]


def crossed(seed=SEEDS[0]):
    """Return a residual network and a segment between two images on which outputs change places."""
    a, b = np.random.default_rng(seed).standard_normal((2, 128))
    return residual(8, 4, 1, seed), a, b - a


@pytest.mark.usefixtures("small_is_large")
@pytest.mark.parametrize("seed", SEEDS)
def test_complete_walk_finds_exactly_the_sign_changes(seed):
    """A residual network: the proven crossings are those of a dense evaluation, none missing."""
    network, origin, direction = crossed(seed)
    found = solved(network, origin, direction)
    t = np.linspace(0, 1, 4001)
    z = np.asarray(network((origin + t[:, None] * direction).reshape(-1, 2, 8, 8)))
    g = z.reshape(len(t), -1) @ [1, -1, 0]
    changes = t[:-1][g[1:] * g[:-1] < 0]

    assert found.complete
    assert found.stats["engine"] == "piecewise-linear segment"
    assert len(found) == len(changes)
    assert all(a <= r.upper and r.lower <= a + 2.5e-4 for a, r in zip(changes, found, strict=True))
    assert all(isinstance(root.certificate, Enclosed) for root in found)


@pytest.mark.usefixtures("small_is_large")
@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_both_engines_agree(name, monkeypatch):
    """The engine for large networks gives the roots and intervals of the other one."""
    network = NETWORKS[name]
    origin, direction = segment(network, 1)
    found = solved(network, origin, direction)
    monkeypatch.setattr(large, "_MANY_UNITS", np.inf)
    other = solved(network, origin, direction)

    assert found.complete == other.complete
    assert list(found.values) == pytest.approx(list(other.values), abs=1e-9)
    assert [r.crossing for r in found] == [r.crossing for r in other]
    assert found.identical == other.identical


@pytest.mark.usefixtures("small_is_large")
@pytest.mark.parametrize("parts", [1, 3, 7])
@pytest.mark.parametrize("kind", [ThreadPoolExecutor, ProcessPoolExecutor])
def test_executors_give_the_serial_answer(kind, parts):
    """Threads and processes, in any number of parts, find the same crossings."""
    network, origin, direction = crossed()
    serial = solved(network, origin, direction)
    with kind(2) as executor:
        found = solved(network, origin, direction, executor=executor, parts=parts)

    assert len(serial) > 0
    assert found.complete
    assert list(found.values) == pytest.approx(list(serial.values), abs=1e-12)
    assert [r.crossing for r in found] == [r.crossing for r in serial]


@pytest.mark.usefixtures("small_is_large")
@pytest.mark.parametrize("parts", [None, 5])
def test_budget_leaves_exactly_what_was_not_covered(parts):
    """Crossings outside the undecided intervals are all found; one interval ends the segment."""
    network, origin, direction = crossed()
    whole = solved(network, origin, direction)
    clock = Budget(boxes=20).start()
    if parts is None:
        found = solved(network, origin, direction, clock=clock)
    else:
        with ThreadPoolExecutor(1) as executor:
            found = solved(network, origin, direction, clock=clock, executor=executor, parts=parts)
    spans = found.undecided
    covered = [v for v in whole.values if not any(low <= v <= high for low, high in spans)]
    listed = [r.value for r in found if not any(low <= r.value <= high for low, high in spans)]

    assert found.status is Status.BUDGET
    assert not found.complete
    assert 0 < sum(high - low for low, high in spans) < 1
    assert parts is not None or len(spans) == 1
    assert spans[-1][1] == 1.0
    assert listed == pytest.approx(covered, abs=1e-9)


@pytest.mark.usefixtures("small_is_large")
def test_interrupted_walk_keeps_what_is_finished():
    """Ctrl-C in the middle: the part before is decided, the rest is undecided."""
    network, origin, direction = crossed()
    calls = []

    def press(_):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt

    track, interrupted = walk_segment(
        plan_of(network), origin, direction, (0.0, 1.0), Budget().start(), progress=press
    )
    unknown = np.isinf(track.error)

    assert interrupted
    assert unknown.any()
    assert not unknown.all()
    assert (np.diff(unknown.astype(int)) >= 0).all()


def test_unknown_parts_are_open():
    """A part that was not walked is never proven free of zeros."""
    track = Track.joined(
        [Track(np.array([0.0, 0.5]), np.ones(2), np.zeros(2)), Track.unknown(0.5, 1.0)]
    )

    assert track.open().tolist() == [False, True, True]


def exactly(values):
    """Return the exact values as an object array."""
    return np.vectorize(lambda v: Fraction(float(v)), otypes=[object])(values)


@pytest.mark.parametrize("kind", [np.float64, np.longdouble])
def test_convolution_stays_within_its_depth(kind):
    """The error of every entry is at most ``depth`` roundings of ``|W| |x|``."""
    rng = np.random.default_rng(0)
    weight = rng.standard_normal((6, 7, 3, 3))
    stage = lm.Conv(weight, (1, 14, 6, 7), (2, 1), (1, 2), ((1, 1), (0, 2)), 2)
    x = rng.standard_normal((1, *stage.in_shape))
    found = stage.apply(x.astype(kind))
    exact = stage.apply(exactly(x), exactly).reshape(-1)
    sums = stage.apply_abs(np.abs(x)).reshape(-1)
    unit = Fraction(float(np.finfo(kind).eps)) / 2

    assert found.dtype == kind
    assert stage.depth < stage.fan_in
    for value, truth, total in zip(found.reshape(-1), exact, sums, strict=True):
        away = abs(Fraction(*value.as_integer_ratio()) - truth)

        assert away <= (stage.depth + 1) * unit * Fraction(total)
