"""The framework-free recorder: numbers, files, budgets, failures."""

from __future__ import annotations

import csv
import json
import math
import os
import re
import subprocess
import sys
import types
from pathlib import Path

import numpy as np
import pytest
from zoo_networks import mlp

from nneq.api.equations import Equations
from nneq.callbacks import BoundaryHistory, BoundaryRecorder, Settings
from nneq.callbacks.outputs import CsvOutput
from nneq.callbacks.purse import Purse
from nneq.errors import NneqError, UnsupportedError

BOX = [(-3.0, 3.0), (-3.0, 3.0)]
PLANE = [np.array([[1.0, 1.0], [0.0, 0.5]]), np.eye(2)]


def _line_network(offset):
    """A network whose boundary is the line ``x_1 = offset``."""
    w = [np.array([[1.0, 0.0], [0.0, 0.0]])]
    return mlp((2, 2), weights=w, biases=[np.array([-offset, 0.0])], last="softmax")


def _square_network(size):
    """A ReLU network whose boundary is the closed curve ``|x_1| + |x_2| = size``."""
    first = np.array([[1.0, -1.0, 0, 0], [0, 0, 1.0, -1.0]])
    second = np.array([[1.0, 0.0]] * 4)
    return mlp(
        (2, 4, 2), "relu", weights=[first, second], biases=[np.zeros(4), np.array([-size, 0.0])]
    )


def _run(networks, **options):
    recorder = BoundaryRecorder(max_seconds=30.0, **options)
    recorder.start(networks[0])
    found = []
    for epoch, network in enumerate(networks):
        recorder.begin_epoch()
        found.append(recorder.step(network, epoch))
    recorder.close()
    return found


def test_numbers_of_a_moving_line():
    """Shift, length, components and changed area of a straight line that moves by 1."""
    found = _run([_line_network(0.0), _line_network(1.0), _line_network(1.0)], box=BOX)

    assert found[0]["boundary_shift"] == pytest.approx(math.dist((0, 0), (6, 6)))
    assert found[1]["boundary_shift"] == pytest.approx(1.0, abs=1e-9)
    assert found[2]["boundary_shift"] == 0.0
    assert [f["boundary_components"] for f in found] == [1.0, 1.0, 1.0]
    assert [f["boundary_length"] for f in found] == pytest.approx([6.0, 6.0, 6.0])
    assert found[1]["boundary_changed_area"] == pytest.approx(1 / 6, abs=0.01)
    assert found[0]["boundary_area_1"] == pytest.approx(0.5, abs=0.01)
    assert all(f["boundary_complete"] == 1.0 for f in found)


def test_keys_never_change():
    """The keys are the same in every epoch, recorded or not."""
    found = _run([_line_network(float(k)) for k in range(4)], box=BOX, every=2)

    assert len({tuple(f) for f in found}) == 1
    assert found[0]["boundary_length"] == found[1]["boundary_length"]
    assert [f["boundary_complete"] for f in found] == [1.0, 0.0, 1.0, 0.0]
    assert [math.isnan(f["boundary_shift"]) for f in found] == [False, True, False, True]
    assert [math.isnan(f["boundary_changed_area"]) for f in found] == [False, True, False, True]
    assert found[1]["boundary_area_1"] == found[0]["boundary_area_1"]


def test_closed_components_regions_and_margins():
    """A closed square: its length, its linear regions, the distances of points to it."""
    data = np.array([[0.0, 0.0], [2.0, 0.0], [1.0, 0.0]])
    found = _run([_square_network(1.0)], box=BOX, regions=True, data=data)[0]

    assert found["boundary_closed"] == 1.0
    assert found["boundary_length"] == pytest.approx(4 * math.sqrt(2))
    assert found["boundary_regions"] == 4.0
    assert found["boundary_margin_q50"] == pytest.approx(math.sqrt(0.5), rel=1e-3)


def test_events(tmp_path):
    """A component that appears and vanishes is an event."""
    path = tmp_path / "run.jsonl"
    _run([_square_network(-1.0), _square_network(1.0), _square_network(-1.0)], box=BOX, jsonl=path)

    records = BoundaryHistory.load(path).records

    assert records[1]["events"] == {"appeared": 1, "vanished": 0, "split": 0, "merged": 0}
    assert records[2]["events"]["vanished"] == 1


def test_roots_on_probe_lines():
    """Solutions are counted on every probe line; the shift is theirs without a box."""
    found = _run(
        [_square_network(1.0), _square_network(1.5)],
        solve_for="x_1",
        at={"x_2": [0.0, 0.25, 5.0]},
    )

    assert [f["boundary_roots"] for f in found] == [4.0, 4.0]
    assert found[0]["boundary_shift"] == math.inf
    assert found[1]["boundary_shift"] == pytest.approx(0.5)


def test_csv(tmp_path):
    """The CSV file has the columns and one row per recorded epoch."""
    path = tmp_path / "deep" / "run.csv"
    found = _run([_line_network(0.0), _line_network(0.5)], box=BOX, csv=path)

    rows = list(csv.DictReader(path.read_text().splitlines()))

    assert [row["epoch"] for row in rows] == ["0", "1"]
    assert float(rows[1]["boundary_shift"]) == found[1]["boundary_shift"]


def test_replay(tmp_path):
    """The equations of an epoch come back bit for bit from the JSON lines."""
    path = tmp_path / "run.jsonl"
    network = mlp((2, 5, 2), "tanh", gain=3.0)
    _run([network], box=BOX, jsonl=path)
    x = np.random.default_rng(0).normal(size=(50, 2))

    replayed = BoundaryHistory.load(path).equations(0)

    assert np.array_equal(Equations(network)(x), replayed(x))


def test_a_killed_run_is_readable(tmp_path):
    """A last line cut off in the middle does not lose the finished epochs; damage inside does."""
    path = tmp_path / "run.jsonl"
    _run([_line_network(0.0), _line_network(1.0), _line_network(2.0)], box=BOX, jsonl=path)
    text = path.read_text()
    path.write_text(text[:-40])

    assert BoundaryHistory.load(path).epochs == [0, 1]

    lines = text.splitlines()
    lines[1] = lines[1][:30]
    path.write_text("\n".join(lines))
    with pytest.raises(NneqError, match=r"line 2 of .* is not a boundary record"):
        BoundaryHistory.load(path)


def test_a_failure_warns_once_and_goes_on():
    """A model that breaks later warns once; no movement is made up, the rest is repeated."""
    recorder = BoundaryRecorder(box=BOX, max_seconds=10.0)
    recorder.start(_line_network(0.0))
    first = recorder.step(_line_network(0.0), 0)
    with pytest.warns(UserWarning, match="recording the boundary failed"):
        second = recorder.step(object(), 1)

    third = recorder.step(object(), 2)

    assert list(second) == list(third) == list(first)
    assert math.isnan(second["boundary_shift"])
    assert (first["boundary_complete"], second["boundary_complete"]) == (1.0, 0.0)
    assert first["boundary_length"] == second["boundary_length"]


def test_budget_skips_epochs():
    """At the default budget the recorder uses at most 5 % of the time, after the first epoch."""
    import time

    recorder = BoundaryRecorder(box=BOX)
    network = mlp((2, 16, 2), "tanh", gain=3.0)
    recorder.start(network)
    recorder.begin_epoch()
    recorder.step(network, 0)
    first = recorder._purse.spent
    for epoch in range(1, 30):
        recorder.begin_epoch()
        time.sleep(0.01)
        recorder.step(network, epoch)

    assert recorder._purse.spent <= 0.05 * recorder._purse.trained + 2 * first
    assert recorder.share_of_time == recorder._purse.spent / recorder._purse.trained


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "nothing to record"),
        ({"box": BOX, "every": 0}, "every must be a whole number"),
        ({"box": BOX, "max_seconds": 0.0}, "max_seconds must be positive"),
        ({"box": BOX, "max_seconds": "1"}, "max_seconds must be positive"),
        ({"box": BOX, "monitored": "yes"}, "monitored must be True, False or None"),
        ({"solve_for": "x_1", "domain": (3, 1)}, "domain must be"),
        ({"solve_for": "x_1", "domain": 5}, "domain must be"),
        ({"solve_for": "x_1", "regions": True}, "regions=True needs box="),
        ({"box": BOX, "between": "z_1"}, "between must name two outputs"),
    ],
)
def test_bad_settings(options, message):
    """Settings that contradict each other are refused at once."""
    with pytest.raises(NneqError, match=message):
        BoundaryRecorder(**options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"box": BOX, "between": ("z_1", "z_9")}, "there is no output 'z_9'"),
        ({"box": [(-1, 1)]}, "expected 2 intervals"),
        ({"solve_for": "x_1"}, "at does not say the value of x_2"),
        ({"box": BOX, "data": np.zeros((3, 5))}, r"data must have shape \(k, 2\)"),
        ({"box": BOX, "data": np.zeros((0, 2))}, r"data must have shape \(k, 2\)"),
        ({"box": BOX, "data": np.full((3, 2), np.nan)}, "it holds NaN or infinity"),
        ({"box": {"x_1": (0, 1)}, "at": {"x_2": 0.0}}, "2 free inputs are needed"),
    ],
)
def test_bad_questions(options, message):
    """Questions that do not fit the model are refused before the first epoch."""
    recorder = BoundaryRecorder(**options)
    with pytest.raises(NneqError, match=message):
        recorder.start(_line_network(0.0))


def test_unwritable_files(tmp_path):
    """A file that cannot be written is an error before the first epoch."""
    (tmp_path / "file").write_text("")
    recorder = BoundaryRecorder(box=BOX, csv=tmp_path / "file" / "run.csv")
    with pytest.raises(NneqError, match=r"cannot write .*run\.csv"):
        recorder.start(_line_network(0.0))


def test_unsupported_models_with_strict_off():
    """With ``strict=False`` an unsupported model warns and nothing is recorded."""

    class Broken(BoundaryRecorder):
        def _read(self, model):
            raise UnsupportedError("every node is unknown")

    recorder = Broken(box=BOX, strict=False)
    with pytest.warns(UserWarning, match="the boundary is not recorded: every node is unknown"):
        recorder.start(None)

    assert recorder.step(None, 0) == {}
    with pytest.raises(UnsupportedError):
        Broken(box=BOX).start(None)


def test_json_lines_hold_no_nan(tmp_path):
    """Numbers JSON does not have are null, and every line is a JSON object."""
    path = tmp_path / "run.jsonl"
    _run([_line_network(0.0)], box=BOX, jsonl=path)

    record = json.loads(path.read_text())

    assert record["values"]["boundary_roots"] is None
    assert record["names"] == ["x_1", "x_2"]


def test_the_active_mlflow_run_gets_the_finite_numbers(monkeypatch):
    """Where MLflow is loaded and a run is active, every recorded epoch is logged to it."""
    logged = []
    mlflow = types.ModuleType("mlflow")
    mlflow.active_run = lambda: object()
    mlflow.log_metrics = lambda values, step: logged.append((step, values))
    monkeypatch.setitem(sys.modules, "mlflow", mlflow)

    found = _run([_line_network(0.0), _line_network(1.0)], box=BOX)

    assert [step for step, _ in logged] == [0, 1]
    assert logged[1][1]["boundary_shift"] == found[1]["boundary_shift"]
    assert "boundary_roots" not in logged[0][1]


def _short_epochs(recorder, count):
    for epoch in range(count):
        recorder.begin_epoch()
        recorder.step(_line_network(float(epoch % 3)), epoch)


def test_dear_monitored_numbers_are_said_once():
    """Where every epoch is measured for something that monitors, the share is said; once."""
    recorder = BoundaryRecorder(box=BOX)
    recorder.start(_line_network(0.0), monitors="EarlyStopping monitors 'boundary_shift'")
    _short_epochs(recorder, 4)  # no warning yet: an error here
    with pytest.warns(UserWarning, match="training time") as caught:
        _short_epochs(recorder, 12)

    (warning,) = caught
    text = str(warning.message)
    assert "EarlyStopping monitors 'boundary_shift', so every epoch is measured" in text
    assert re.search(r"takes [\d.]+% of the training time \(\d+ ms in an epoch of \d+ ms\)", text)
    assert "monitored=False" in text


@pytest.mark.parametrize("options", [{"monitored": True}, {"max_seconds": 9.0}])
def test_a_cost_that_was_asked_for_is_not_warned_about(options):
    """Said by the user: measure every epoch, or so many seconds in each."""
    recorder = BoundaryRecorder(box=BOX, **options)
    recorder.start(_line_network(0.0), monitors="EarlyStopping monitors 'boundary_shift'")
    _short_epochs(recorder, 12)


def test_monitored_false_holds_the_budget_and_says_what_that_means():
    """Nothing is measured for what monitors; that it then sees NaN is said at the start."""
    recorder = BoundaryRecorder(box=BOX, monitored=False, every=100)
    with pytest.warns(UserWarning, match="EarlyStopping monitors .*, and monitored=False: epochs"):
        recorder.start(_line_network(0.0), monitors="EarlyStopping monitors 'boundary_shift'")
    first = recorder.step(_line_network(0.0), 0)
    second = recorder.step(_line_network(1.0), 1)

    assert not math.isnan(first["boundary_shift"])
    assert math.isnan(second["boundary_shift"])
    assert second["boundary_seconds"] == 0.0
    assert first["boundary_share"] >= 0
    assert second["boundary_share"] > 0


def test_cheap_monitored_numbers_are_not_warned_about():
    """Long epochs: nothing is said."""
    purse = Purse(Settings(box=BOX), monitored=True)
    for spent in (10.0, *[0.04] * 8):
        purse.begin()
        purse.end()
        purse.trained += 1.0
        purse.spend(spent)
    assert purse.excess is None
    purse.spend(1.0)

    spent, trained = purse.excess

    assert (spent, trained) == pytest.approx((1.32 / 8, 1.0), rel=1e-3)


def test_lines_are_readable_at_once_and_synced_once_a_second(tmp_path, monkeypatch):
    """A line is with the operating system before the next epoch; the disk follows."""
    synced = []
    monkeypatch.setattr(os, "fsync", lambda _file: synced.append(1))
    output = CsvOutput(tmp_path / "run.csv", ["a"])
    for epoch in range(5):
        output.write(epoch, {"a": 1.0}, {})
        assert len((tmp_path / "run.csv").read_text().splitlines()) == epoch + 2
    assert len(synced) == 1
    output.close()
    assert len(synced) == 2
    output.close()

    assert len(synced) == 2


def test_a_killed_process_leaves_its_lines(tmp_path):
    """SIGKILL after some epochs: every one of them is in the files."""
    program = f"""
import os, signal, sys
sys.path[:0] = {[str(Path(__file__).parents[1])]!r}
from zoo_networks import mlp
from nneq.callbacks import BoundaryRecorder
box = [(-3, 3), (-3, 3)]
recorder = BoundaryRecorder(box=box, monitored=True, jsonl="run.jsonl", csv="run.csv")
recorder.start(mlp((2, 4, 2)))
for epoch in range(6):
    recorder.begin_epoch()
    recorder.step(mlp((2, 4, 2), seed=epoch), epoch)
os.kill(os.getpid(), signal.SIGKILL)
"""
    subprocess.run([sys.executable, "-c", program], cwd=tmp_path, check=False)

    assert BoundaryHistory.load(tmp_path / "run.jsonl").epochs == list(range(6))
    assert len((tmp_path / "run.csv").read_text().splitlines()) == 7
