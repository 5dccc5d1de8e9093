"""Fusions block by block, from the buttons to the layer that grows, and on after an end."""

import shlex
import threading

import dask.array
import numpy as np
import pytest
from qtpy.QtWidgets import QApplication, QMessageBox

from napari_dip_fusion.blocks import BlockDone, BlocksBegun, BlocksDone
from napari_dip_fusion.io import read_image, write_image
from napari_dip_fusion.io.zarr.growing import BlockWriter
from napari_dip_fusion.plugin import fuse_layer_blocks
from napari_dip_fusion.plugin.forms import planner
from napari_dip_fusion.plugin.layers.result_layers import ROLE
from napari_dip_fusion.plugin.running.run_events import relay
from napari_dip_fusion.sources import Source

# High enough for a second resolution, and 18 blocks of 64 pixels.
SHAPE = (576, 128)
pytestmark = pytest.mark.parametrize("pair", [SHAPE], indirect=True)


class CountedArray:
    """An array that counts what is read of it outside the GUI thread."""

    def __init__(self, pixels):
        self._pixels = pixels
        self.shape, self.dtype, self.ndim = pixels.shape, pixels.dtype, pixels.ndim
        self.sizes = []

    def __getitem__(self, index):
        part = self._pixels[index]
        if threading.current_thread() is not threading.main_thread():
            self.sizes.append(part.size)
        return part

    def __array__(self, dtype=None, copy=None):
        return np.array(self[...], dtype)


@pytest.fixture
def output(tmp_path):
    return tmp_path / "fused.ome.zarr"


@pytest.fixture
def open_widget(make_widget, output):
    """Return a function that opens the widget in a viewer, set to small blocks into a file."""

    def make(viewer):
        widget = make_widget(viewer, network="never")
        blocks = widget.fuse_tab.blocks
        blocks.box.value = True
        blocks.file.value = output
        blocks.size.setValue(64)
        return widget

    return make


@pytest.fixture
def answer(monkeypatch):
    """Return a function that says what is answered to questions; yes by default, and none so far."""
    asked = []

    def set_answer(button):
        monkeypatch.setattr(QMessageBox, "question", lambda *args: asked.append(args[2]) or button)
        return asked

    set_answer(QMessageBox.StandardButton.Yes)
    return set_answer


def do_at_block(widget, count, act):
    """Let something be done once, when so many blocks have come."""
    seen = []

    def respond(event):
        seen.append(event)
        if sum(isinstance(x, BlockDone) for x in seen) == count and isinstance(event, BlockDone):
            act()

    widget.session.reported.connect(respond)
    return seen


@pytest.fixture
def every_block(monkeypatch):
    """Report each block: small ones come faster than they would be shown."""
    monkeypatch.setitem(relay.__kwdefaults__, "interval", 0.0)


def test_a_fusion_grows_from_what_is_looked_at(
    open_widget, empty_viewer, pair, until_idle, output, every_block
):
    arrays = [CountedArray(image) for image in pair]
    for name, array in zip(("CT", "MR"), arrays, strict=True):
        empty_viewer.add_image(array, name=name, scale=(2, 2), units=("um", "um"))
    widget = open_widget(empty_viewer)
    assert widget.panel.fuse_button.text == "Fuse"
    assert widget.panel.need.value.startswith("18 blocks of 64x64")
    # In pixels of the reference (500, 100): the last row of blocks but one.
    empty_viewer.scene.camera.center = (0, 1000, 200)
    seen = []

    def look(event):
        if isinstance(event, BlockDone):
            layer = empty_viewer.layers["fused CT + MR"]
            middle = [(part.start + part.stop) // 2 for part in event.region.core]
            value = layer.get_value([2 * n for n in middle], world=True)
            # Of several resolutions, which one is shown comes first.
            seen.append((event.region.index, value[1] if isinstance(value, tuple) else value))
        if len(seen) == 4:
            empty_viewer.scene.camera.center = (0, 0, 0)

    widget.session.reported.connect(look)
    widget.panel.fuse_button.native.click()
    until_idle(widget)
    indices = [index for index, _ in seen]
    assert indices[0] == (7, 1)
    assert set(indices[1:4]) < {(6, 1), (8, 1), (7, 0), (6, 0), (8, 0)}
    # One block may be on its way while somebody pans.
    assert (0, 0) in indices[4:7]
    for array in arrays:
        assert max(array.sizes) < np.prod(SHAPE) / 2
    layer = empty_viewer.layers["fused CT + MR"]
    assert [len(level) for level in layer.data] == [576, 288]
    stored = read_image(output)
    np.testing.assert_array_equal(layer.data[0], stored.to_numpy())
    np.testing.assert_array_equal(layer.data[1], stored.pyramid[0])
    assert stored.axes == ("y", "x")
    np.testing.assert_array_equal(layer.scale, (2, 2))
    np.testing.assert_array_equal(stored.affine, np.diag([2, 2, 1]))
    assert not output.with_name("fused.ome.zarr.part").exists()
    known = layer.metadata["dip_fusion"]
    assert known["record"]["blocks"]["count"] == [18]
    assert ROLE not in layer.metadata
    assert widget.metrics.scores["fused CT + MR"] == pytest.approx(known["metrics"])
    assert "samples" in widget.metrics.heading.value
    assert widget.panel.message.value.startswith("Done: 18 blocks in")
    assert widget.fuse_tab.blocks.take().output == output.with_name("fused_2.ome.zarr")
