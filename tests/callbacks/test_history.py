"""Pictures and animations of a recorded run."""

from __future__ import annotations

import numpy as np
import pytest

from nneq.callbacks import BoundaryHistory
from nneq.errors import NneqError

pytest.importorskip("matplotlib", reason="pictures are the extra 'plot'")


def _history(epochs=4):
    t = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    records = []
    for epoch in range(epochs):
        radius = 0.5 + 0.2 * epoch
        points = radius * np.stack([np.cos(t), np.sin(t)], axis=1)
        records.append(
            {
                "epoch": epoch,
                "values": {
                    "boundary_shift": 0.2,
                    "boundary_length": 2 * np.pi * radius,
                    "boundary_components": 1.0,
                    "boundary_roots": None,
                },
                "curve": [{"closed": True, "points": points.tolist()}],
                "box": [[-2, -2], [2, 2]],
                "names": ["x_1", "x_2"],
            }
        )
    return BoundaryHistory(tuple(records))


def test_plot():
    """One panel per number with values, and the curves."""
    display = _history().plot()

    assert len(display.ax_) == 4
    assert len(display.ax_[-1].lines) == 4


def test_animate(tmp_path):
    """GIF and HTML hold one frame per epoch."""
    from PIL import Image

    _history().animate(tmp_path / "run.gif")
    _history().animate(tmp_path / "run.html")

    with Image.open(tmp_path / "run.gif") as picture:
        assert picture.n_frames == 4
    page = (tmp_path / "run.html").read_text(encoding="utf-8")

    assert "http" not in page.replace("http://www.w3.org", "")
    assert "fa fa-" not in page
    assert "&#9654;" in page
    assert (tmp_path / "run.html").read_text().count("frames[") >= 4


def test_refusals(tmp_path):
    """Unknown endings, missing curves, unknown numbers and epochs are named."""
    history = _history()
    with pytest.raises(NneqError, match=r"use \.gif or \.html"):
        history.animate(tmp_path / "run.mp4")
    with pytest.raises(NneqError, match="there is no number 'loss'"):
        history.column("loss")
    with pytest.raises(NneqError, match="epoch 9 was not recorded"):
        history.equations(9)
    with pytest.raises(NneqError, match="holds no curves"):
        BoundaryHistory(({"epoch": 0, "values": {}},)).animate()
    (tmp_path / "empty.jsonl").write_text("")
    with pytest.raises(NneqError, match="holds no boundary record"):
        BoundaryHistory.load(tmp_path / "empty.jsonl")
    with pytest.raises(NneqError, match="cannot read"):
        BoundaryHistory.load(tmp_path / "missing.jsonl")
