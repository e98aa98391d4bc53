"""Several runs of one logger, files that go on, interruptions, and numbers that are watched."""

from __future__ import annotations

import csv
import dataclasses
import math
import types
import warnings

import numpy as np
import pytest
from zoo_networks import mlp

from nneq.boundary.results import Curve, Status
from nneq.callbacks import BoundaryHistory, BoundaryRecorder, Settings
from nneq.callbacks.purse import Purse
from nneq.errors import NneqError

BOX = [(-3.0, 3.0), (-3.0, 3.0)]


def _line_network(offset, outputs=2):
    """A network whose boundary is the line ``x_1 = offset``; further outputs never win."""
    w = np.zeros((2, outputs))
    w[0, 0] = 1.0
    bias = np.array([-offset, 0.0, *[-100.0] * (outputs - 2)])
    return mlp((2, outputs), weights=[w], biases=[bias])


def _run(recorder, offsets, first=0):
    recorder.start(_line_network(offsets[0]))
    found = []
    for epoch, offset in enumerate(offsets, start=first):
        recorder.begin_epoch()
        found.append(recorder.step(_line_network(offset), epoch))
    recorder.close()
    return found


def test_a_second_run_goes_on_in_the_files_of_the_first(tmp_path):
    """Both runs can be read; epochs that start again begin a run, epochs that go on do not."""
    path = tmp_path / "run.jsonl"
    recorder = BoundaryRecorder(box=BOX, jsonl=path, csv=tmp_path / "run.csv", max_seconds=9)
    _run(recorder, [0.0, 1.0])
    _run(recorder, [0.5, 0.6, 0.7])
    _run(recorder, [0.8], first=3)

    rows = list(csv.DictReader((tmp_path / "run.csv").read_text().splitlines()))

    assert [row["epoch"] for row in rows] == ["0", "1", "0", "1", "2", "3"]
    assert BoundaryHistory.load(path).epochs == [0, 1, 2, 3]
    assert BoundaryHistory.load(path, run=0).epochs == [0, 1]
    with pytest.raises(NneqError, match=r"there is no run 2 in .*; it holds 2"):
        BoundaryHistory.load(path, run=2)


def test_append_goes_on_behind_a_line_that_was_cut_off(tmp_path):
    """``append=True`` keeps a killed run's whole lines; without it the file is replaced."""
    options = {"box": BOX, "jsonl": tmp_path / "run.jsonl", "csv": tmp_path / "run.csv"}
    _run(BoundaryRecorder(**options, max_seconds=9), [0.0, 1.0])
    for name in ("run.jsonl", "run.csv"):
        whole = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(whole[:-20])
    _run(BoundaryRecorder(**options, append=True, max_seconds=9), [0.5], first=1)

    rows = list(csv.DictReader((tmp_path / "run.csv").read_text().splitlines()))

    assert BoundaryHistory.load(tmp_path / "run.jsonl").epochs == [0, 1]
    assert [row["epoch"] for row in rows] == ["0", "1"]
    with pytest.raises(NneqError, match="its columns are others"):
        BoundaryRecorder(
            solve_for="x_1", at={"x_2": 0}, csv=tmp_path / "run.csv", append=True
        ).start(_line_network(0.0))
    _run(BoundaryRecorder(**options, max_seconds=9), [0.5])
    assert BoundaryHistory.load(tmp_path / "run.jsonl").epochs == [0]


def test_a_recorder_that_was_off_comes_back():
    """After a model that cannot be read, with ``strict=False``, a good one is recorded again."""
    recorder = BoundaryRecorder(box=BOX, attribute="network", strict=False, max_seconds=9)
    with pytest.warns(UserWarning, match="the boundary is not recorded: .* has no attribute"):
        recorder.start(object())
    assert recorder.step(object(), 0) == {}
    recorder = BoundaryRecorder(box=BOX, strict=False, max_seconds=9)
    with pytest.warns(UserWarning, match="the boundary is not recorded"):
        recorder.start(object())

    found = _run(recorder, [0.0])

    assert found[0]["boundary_components"] == 1.0


def test_watched_numbers_are_measured_in_every_epoch(tmp_path):
    """With ``monitored`` the shift is of this epoch even where ``every`` writes nothing."""
    path = tmp_path / "run.csv"
    recorder = BoundaryRecorder(box=BOX, every=10, monitored=True, csv=path)

    found = _run(recorder, [0.0, 0.5, 0.5, 0.75])

    shifts = [f["boundary_shift"] for f in found]
    assert shifts == pytest.approx([math.hypot(6, 6), 0.5, 0.0, 0.25], abs=1e-9)
    assert len(path.read_text().splitlines()) == 2


def test_watched_solutions_are_solved_in_every_epoch():
    """Without a box there is no curve to move: the probe lines are solved again."""
    recorder = BoundaryRecorder(solve_for="x_1", at={"x_2": 0.0}, monitored=True)

    found = _run(recorder, [0.0, 0.5, 0.5])

    assert [f["boundary_shift"] for f in found] == [math.inf, 0.5, 0.0]


def test_the_first_epoch_has_moved_everything():
    """Shift and changed area start from the largest values there are."""
    found = _run(BoundaryRecorder(box=BOX, max_seconds=9), [0.0, 0.0])

    assert [f["boundary_changed_area"] for f in found] == [1.0, 0.0]


def test_what_fails_is_paid_for():
    """A record that failed is not tried again before its time was saved up."""
    purse = Purse(Settings(box=BOX))
    assert purse.due(0, curve=False) == "trace"
    purse.pay("trace", 1.0)

    purse.trained = 10.0
    assert purse.due(1, curve=False) is None
    purse.trained = 70.0
    assert purse.due(2, curve=False) == "trace"
    purse.pay("trace", 0.01, failed=True)
    assert purse.due(3, curve=False) == "trace"
    assert purse.budget.seconds == pytest.approx(2.0)


def test_a_boundary_that_grows_gets_the_time_it_needs():
    """A record that ran out of time doubles what the next one may take, and is saved up for."""
    purse = Purse(Settings(box=BOX))
    purse.pay("trace", 0.1)
    limits = []
    for _ in range(3):
        while purse.due(1, curve=False) is None:
            purse.trained += 0.1
        limits.append(purse.budget.seconds)
        purse.pay("trace", limits[-1])

    assert limits == pytest.approx([0.2, 0.4, 0.8])


def test_ctrl_c_inside_a_record_ends_the_training(monkeypatch):
    """An engine that was interrupted ends well; the interrupt still reaches the training."""
    from nneq.api.engines import Call

    recorder = BoundaryRecorder(box=BOX, max_seconds=9)
    recorder.start(_line_network(0.0))
    recorder.step(_line_network(0.0), 0)
    stopped = Curve(
        (),
        ("x_1", "x_2"),
        types.SimpleNamespace(low=(-3, -3), high=(3, 3)),
        complete=False,
        status=Status.INTERRUPTED,
    )
    monkeypatch.setattr(Call, "plane", lambda *args: stopped)

    with pytest.raises(KeyboardInterrupt):
        recorder.step(_line_network(0.0), 1)


def test_exploded_weights_are_a_failure_not_a_record():
    """Outputs that are not finite warn once; nothing is said about that epoch."""
    recorder = BoundaryRecorder(box=BOX, max_seconds=9)
    recorder.start(_line_network(0.0))
    recorder.step(_line_network(0.0), 0)
    huge = mlp((2, 2, 2), weights=[np.full((2, 2), 1e300)] * 2, activation="relu", dtype="float64")
    with pytest.warns(UserWarning, match="not a finite number"):
        found = recorder.step(huge, 1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        again = recorder.step(huge, 2)

    assert math.isnan(found["boundary_shift"])
    assert (found["boundary_complete"], again["boundary_complete"]) == (0.0, 0.0)
    assert list(found) == list(again) == list(recorder.keys)


def test_an_output_that_fails_does_not_rob_the_others(tmp_path):
    """A CSV file that went away is named in one warning; the JSON lines still get the record."""
    (tmp_path / "csv").mkdir()
    recorder = BoundaryRecorder(
        box=BOX, csv=tmp_path / "csv" / "run.csv", jsonl=tmp_path / "run.jsonl", max_seconds=9
    )
    recorder.start(_line_network(0.0))
    (tmp_path / "csv" / "run.csv").unlink()
    (tmp_path / "csv").rmdir()
    with pytest.warns(UserWarning, match="to the CSV file .* failed"):
        recorder.step(_line_network(0.0), 0)

    recorder.step(_line_network(1.0), 1)

    assert BoundaryHistory.load(tmp_path / "run.jsonl").epochs == [0, 1]


def test_areas_name_every_class(tmp_path):
    """A class that wins nowhere has area 0; the list does not get shorter."""
    path = tmp_path / "run.jsonl"
    recorder = BoundaryRecorder(box=BOX, jsonl=path, max_seconds=9)
    network = _line_network(0.0, outputs=4)
    recorder.start(network)
    recorder.step(network, 0)

    areas = BoundaryHistory.load(path).records[0]["areas"]

    assert areas == [0.5, 0.5, 0.0, 0.0]


def test_margins_without_a_boundary_are_infinite():
    """Where the box holds no boundary, every point is infinitely far from it."""
    found = _run(BoundaryRecorder(box=BOX, data=np.zeros((5, 2)), max_seconds=9), [50.0])[0]

    assert found["boundary_components"] == 0.0
    assert found["boundary_margin_q05"] == found["boundary_margin_q95"] == math.inf


def test_one_output_needs_a_level():
    """A model with one output is told to compare it with a number."""
    network = mlp((2, 1))
    with pytest.raises(NneqError, match=r'give a level instead: between=\("z_1", 0\.5\)'):
        BoundaryRecorder(box=BOX).start(network)


def test_an_attribute_holds_the_network():
    """``attribute`` reads a part of the model, and says so when there is none."""
    model = types.SimpleNamespace(inner=types.SimpleNamespace(net=_line_network(0.0)))
    recorder = BoundaryRecorder(box=BOX, attribute="inner.net", max_seconds=9)
    recorder.start(model)

    assert recorder.step(model, 0)["boundary_components"] == 1.0
    with pytest.raises(NneqError, match="has no attribute 'nett'"):
        BoundaryRecorder(box=BOX, attribute="nett").start(model)


def test_one_process_writes(tmp_path):
    """Where several processes train, the others measure and write nothing."""
    recorder = BoundaryRecorder(box=BOX, csv=tmp_path / "run.csv", max_seconds=9)
    recorder.start(_line_network(0.0), write=False)

    assert recorder.step(_line_network(0.0), 0)["boundary_length"] == pytest.approx(6.0)
    assert not (tmp_path / "run.csv").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"box": BOX, "plot": "yes"}, "plot must be True, False or a number of epochs"),
        ({"solve_for": "x_1", "at": {"x_2": 0}, "plot": True}, "plot= needs box="),
    ],
)
def test_bad_pictures(options, message):
    """A picture without a plane, or at no number of epochs, is refused."""
    with pytest.raises(NneqError, match=message):
        BoundaryRecorder(**options)


def test_a_record_that_runs_out_of_time_invents_no_movement(monkeypatch):
    """Half a curve is not compared: the grid says it instead; half the solutions say NaN."""
    from nneq.api.boundary import Boundary
    from nneq.api.engines import Call

    recorder = BoundaryRecorder(box=BOX, max_seconds=9)
    roots = BoundaryRecorder(solve_for="x_1", at={"x_2": 0.0}, max_seconds=9)
    for each in (recorder, roots):
        each.start(_line_network(0.0))
        each.step(_line_network(0.0), 0)
    plane, solve = Call.plane, Boundary.solve

    def cut(found, **left):
        return dataclasses.replace(found, complete=False, status=Status.BUDGET, **left)

    monkeypatch.setattr(Call, "plane", lambda *a: cut(plane(*a), components=()))
    monkeypatch.setattr(Boundary, "solve", lambda *a, **k: cut(solve(*a, **k), roots=()))
    found = recorder.step(_line_network(0.5), 1)
    solved = roots.step(_line_network(0.5), 1)
    monkeypatch.undo()

    assert found["boundary_shift"] == pytest.approx(0.5)
    assert found["boundary_complete"] == 0.0
    assert math.isnan(solved["boundary_shift"])
    assert roots.step(_line_network(0.5), 2)["boundary_shift"] == 0.5
