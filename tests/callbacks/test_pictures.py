"""The picture of an epoch: what is drawn is what was measured."""

from __future__ import annotations

import io

import numpy as np
import pytest
from zoo_networks import mlp

from nneq.callbacks import BoundaryRecorder
from nneq.callbacks.pictures import LivePicture
from nneq.plotting import CLASS_COLORS, LINE_COLOR

pytest.importorskip("matplotlib", reason="pictures are the extra 'plot'")

COUNT = 40
LEFT, RIGHT, BOTTOM, TOP = 70, 480, 68, 414  # the axes in pixels, from below


def _pixels(png):
    """Colours of the picture, the first index from left to right, the second from below."""
    from PIL import Image

    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))[::-1].transpose(1, 0, 2)


def _color(text):
    return [int(text[k : k + 2], 16) for k in (1, 3, 5)]


def _at(pixels, first, second):
    """The colour at a point of the box ``[0, 1] x [0, 1]``."""
    x, y = LEFT + first * (RIGHT - LEFT), BOTTOM + second * (TOP - BOTTOM)
    return pixels[round(x), round(y)].tolist()


def _corner_picture():
    """Class 1 in the lower right quarter, and a level line at 0.7."""
    centres = (np.arange(COUNT) + 0.5) / COUNT
    first, second = np.meshgrid(centres, centres, indexing="ij")
    classes = ((first > 0.5) & (second < 0.5)).astype(int).ravel()
    picture = LivePicture((0.0, 0.0), (1.0, 1.0), ("x_1", "x_2"))
    return picture, [(np.array([[0.0, 0.7], [1.0, 0.7]]), False)], classes


def test_areas_and_curve_are_where_they_belong():
    """Each class has its colour at its place, and the curve lies over them."""
    picture, lines, classes = _corner_picture()

    pixels = _pixels(picture.png(lines, classes, "epoch 1"))

    assert _at(pixels, 0.25, 0.25) == _color(CLASS_COLORS[0])
    assert _at(pixels, 0.75, 0.25) == _color(CLASS_COLORS[1])
    assert _at(pixels, 0.75, 0.85) == _color(CLASS_COLORS[0])
    assert _at(pixels, 0.35, 0.70) == _color(LINE_COLOR)


def test_the_legend_names_the_classes():
    """Patches in the colours of the classes stand below the axes, whatever the names hold."""
    low, high = (0.0, 0.0), (1.0, 1.0)
    names = ["z_1", "_a name of a class that is much too long $x^{$"]
    plain = _pixels(LivePicture(low, high, ("x_1", "x_2")).png([]))[:, :30].reshape(-1, 3)
    shown = _pixels(LivePicture(low, high, ("x_1", "x_2"), names).png([]))[:, :30].reshape(-1, 3)

    for color in CLASS_COLORS[:2]:
        assert (shown == _color(color)).all(axis=1).sum() > 20
        assert not (plain == _color(color)).all(axis=1).any()


def test_a_picture_keeps_nothing_of_the_one_before():
    """The same content gives the same bytes after something else was drawn."""
    picture, lines, classes = _corner_picture()
    first = picture.png(lines, classes, "epoch 1")

    between = picture.png([], None, "epoch 1000000")

    assert between != first
    assert picture.png(lines, classes, "epoch 1") == first


def test_pictures_follow_the_number_of_epochs():
    """``plot=3`` draws with the first record after three epochs; ``picture`` holds the last."""
    network = mlp((2, 3, 2), "tanh", gain=3.0)
    recorder = BoundaryRecorder(box=[(-1, 1), (-1, 1)], plot=3, every=2, max_seconds=9)
    recorder.start(network)
    drawn = []
    for epoch in range(9):
        recorder.picture = None
        recorder.step(network, epoch)
        drawn.append(recorder.picture is not None)

    assert [epoch for epoch, there in enumerate(drawn) if there] == [0, 4, 8]
