"""TensorBoard event files: scalars, picture and text are read back."""

from __future__ import annotations

import pytest
from zoo_networks import mlp

from nneq.callbacks import BoundaryRecorder
from nneq.errors import NneqError

# TensorBoard's own modules use what setuptools and protobuf deprecate.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def test_events_are_read_back(tmp_path):
    """Every finite number is a scalar; the picture and the equations are there."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    recorder = BoundaryRecorder(
        box=[(-3, 3), (-3, 3)], log_dir=tmp_path / "runs", plot=True, max_seconds=10
    )
    network = mlp((2, 6, 2), "tanh", gain=3.0)
    recorder.start(network)
    values = [recorder.step(network, epoch) for epoch in range(2)]
    recorder.close()

    events = EventAccumulator(str(tmp_path / "runs"))
    events.Reload()

    assert "boundary_length" in events.Tags()["scalars"]
    lengths = [event.value for event in events.Scalars("boundary_length")]
    assert lengths == pytest.approx([v["boundary_length"] for v in values], rel=1e-6)
    assert events.Tags()["images"] == ["boundary/picture"]
    assert events.Images("boundary/picture")[0].encoded_image_string.startswith(b"\x89PNG")
    text = events.Tensors("boundary/equation")[0].tensor_proto.string_val[0].decode()
    assert text.startswith("    y_1 = tanh(")  # a block of code in Markdown
    assert events.Images("boundary/picture")[0].width == 500


def test_a_folder_that_cannot_be_written(tmp_path):
    """A file in the way of the folder is an error before the first epoch."""
    (tmp_path / "runs").write_text("")
    recorder = BoundaryRecorder(box=[(-3, 3), (-3, 3)], log_dir=tmp_path / "runs" / "1")
    with pytest.raises(NneqError, match="cannot write to log_dir"):
        recorder.start(mlp((2, 3, 2)))
