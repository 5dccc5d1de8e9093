"""Fusions block by block, from the buttons to the layer that grows, and on after an end."""

import shlex
import threading

import numpy as np
import pytest
from npe2 import PluginManifest
from qtpy.QtWidgets import QApplication, QMessageBox

from napari_dip_fusion.blocks import BlockDone, BlocksBegun, BlocksDone, samples
from napari_dip_fusion.blocks import plan as block_plan
from napari_dip_fusion.io import read_image, read_images, write_image
from napari_dip_fusion.io.zarr.growing import BlockWriter
from napari_dip_fusion.plugin import fuse_layer_blocks
from napari_dip_fusion.plugin.forms import planner
from napari_dip_fusion.plugin.layers.acquisition import Acquisition
from napari_dip_fusion.plugin.layers.result_layers import ROLE
from napari_dip_fusion.plugin.running import block_run
from napari_dip_fusion.plugin.running.run_events import relay
from napari_dip_fusion.sources import Source

# High enough for a second resolution, and 9 blocks of 64 pixels.
SHAPE = (576, 64)
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


@pytest.fixture(autouse=True)
def _one_block_at_a_time(monkeypatch):
    """Let blocks be counted: of several at work, all are finished."""
    monkeypatch.setattr(block_plan, "_SIDE_BY_SIDE", 1)


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
    """Return a function that sets what is answered to questions, and returns what was asked."""
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
    open_widget, empty_viewer, pair, until_idle, output, every_block, monkeypatch
):
    # As of a large image, of which a part is looked at beforehand.
    monkeypatch.setattr(samples, "_WHOLE", 2**12)
    monkeypatch.setattr(samples, "_SIDE", 64)
    monkeypatch.setattr(samples, "_COUNT", 4)
    monkeypatch.setattr(block_run, "_INTERVAL", 0.0)
    monkeypatch.setattr(block_run, "_SHARE", 0.0)
    arrays = [CountedArray(image) for image in pair]
    for name, array in zip(("CT", "MR"), arrays, strict=True):
        empty_viewer.add_image(array, name=name, scale=(2, 2), units=("um", "um"))
    widget = open_widget(empty_viewer)
    assert widget.panel.fuse_button.text == "Fuse"
    assert widget.panel.need.value.startswith("9 blocks of 64x64")
    # In pixels of the reference (500, 30): the last block but one.
    empty_viewer.scene.camera.center = (0, 1000, 60)
    empty_viewer.scene.camera.zoom = 0.1
    seen = []
    # However busy the machine is, no block is written before the last but one was seen.
    leave, write = threading.Semaphore(2), BlockWriter.write

    def write_when_seen(writer, start, pixels):
        assert leave.acquire(timeout=60)
        return write(writer, start, pixels)

    monkeypatch.setattr(BlockWriter, "write", write_when_seen)

    def look(event):
        if isinstance(event, BlockDone):
            leave.release()
            layer = empty_viewer.layers["fused CT + MR"]
            middle = [(part.start + part.stop) // 2 for part in event.region.core]
            level, shown = layer.get_value([2 * n for n in middle], world=True)
            assert level == 1
            seen.append((event.region.index, shown))
        if len(seen) == 2:
            empty_viewer.scene.camera.center = (0, 0, 0)

    widget.session.reported.connect(look)
    widget.panel.fuse_button.native.click()
    until_idle(widget)
    indices = [index for index, _ in seen]
    # napari lets Qt work while it moves a bar, so that one event may come within another one.
    assert set(indices[:2]) < {(6, 0), (7, 0), (8, 0)}
    # One block may be on its way while somebody pans.
    assert (0, 0) in indices[2:5]
    # Of the coarsest level, which napari itself would read once only.
    assert dict(seen)[4, 0] > 0
    for array in arrays:
        # A block with its halo, and of the whole the extremes, the blocks and samples, twice.
        assert max(array.sizes) == (64 + 2 * 36) * 64
        assert sum(array.sizes) < 5 * np.prod(SHAPE)
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
    assert known["record"]["blocks"]["count"] == [9]
    assert ROLE not in layer.metadata
    assert widget.metrics.scores["fused CT + MR"] == pytest.approx(known["metrics"])
    assert "samples" in widget.metrics.heading.value
    assert widget.panel.message.value.startswith("Done: 9 blocks in")
    assert widget.fuse_tab.blocks.take().output == output.with_name("fused_2.ome.zarr")


def test_a_run_is_paused_stopped_and_resumed_in_another_napari(
    open_widget, make_napari_viewer_proxy, viewer, pair, until_idle, output, every_block, qtbot
):
    widget = open_widget(viewer)
    panel = widget.panel
    seen = do_at_block(widget, 3, panel.pause_button.native.click)
    panel.fuse_button.native.click()
    qtbot.waitUntil(lambda: panel.speed.value.startswith("paused"), timeout=20_000)
    qtbot.wait(600)
    # The one at work comes to its end, however long that takes on a busy machine.
    assert sum(isinstance(x, BlockDone) for x in seen) <= 4
    assert panel.progress.activity.desc.startswith("DIP Fusion, block ")
    assert widget.fuse_tab.blocks.anew_button.native.isHidden()
    panel.stop_button.native.click()
    until_idle(widget)
    # napari lets Qt work while it moves a bar, so that one event may come within another one.
    result = next(x.result for x in seen if isinstance(x, BlocksDone))
    assert 3 <= result.done < 9
    assert panel.message.value.startswith(f"Stopped: {result.done} of 9 blocks are kept in ")
    assert panel.fuse_button.text == "Resume"
    assert viewer.layers["fused CT + MR"].metadata[ROLE] == "preview"
    other = make_napari_viewer_proxy()
    for layer in list(viewer.layers)[:2]:
        other.add_image(layer.data, name=layer.name)
    # Another napari knows no more than the folder.
    again = open_widget(other)
    assert again.panel.fuse_button.text == "Resume"
    assert "not finished" in again.fuse_tab.blocks.status.value
    seen = do_at_block(again, 99, lambda: None)
    # The list of sources has been looked at: nothing but the run changes what is shown.
    qtbot.wait(300)
    again.panel.fuse_button.native.click()
    # What is on its way there is no unfinished run.
    assert again.fuse_tab.blocks.anew_button.native.isHidden()
    assert not again.fuse_tab.blocks.status.value
    until_idle(again)
    begun = next(x for x in seen if isinstance(x, BlocksBegun))
    assert len(begun.done) == result.done
    assert sum(isinstance(x, BlockDone) for x in seen) == 9 - result.done
    assert any(isinstance(x, BlocksDone) for x in seen)
    assert other.layers["fused CT + MR"].metadata["dip_fusion"]["record"]
    assert again.panel.fuse_button.text == "Fuse"


def test_what_is_discarded_goes_from_the_disk_if_that_is_meant(
    open_widget, viewer, pair, until_idle, output, every_block, answer, qtbot
):
    widget = open_widget(viewer)
    panel = widget.panel
    asked = answer(QMessageBox.StandardButton.No)
    folder = output.with_name("fused.ome.zarr.part")
    seen = do_at_block(widget, 2, panel.pause_button.native.click)
    panel.fuse_button.native.click()
    qtbot.waitUntil(lambda: panel.speed.value.startswith("paused"), timeout=20_000)
    panel.discard_button.native.click()
    assert str(folder) in asked[0]
    assert folder.exists()
    assert widget.session.phase.name == "PAUSED"
    answer(QMessageBox.StandardButton.Yes)
    panel.discard_button.native.click()
    until_idle(widget)
    assert not folder.exists()
    assert "fused CT + MR" not in viewer.layers
    assert panel.message.value == "Discarded."
    # One that was stopped before goes by a button of its own.
    seen.clear()
    panel.fuse_button.native.click()
    qtbot.waitUntil(lambda: panel.speed.value.startswith("paused"), timeout=20_000)
    panel.stop_button.native.click()
    until_idle(widget)
    assert folder.exists()
    widget.fuse_tab.blocks.anew_button.native.click()
    qtbot.waitUntil(lambda: panel.fuse_button.text == "Fuse", timeout=20_000)
    assert not folder.exists()
    assert "fused CT + MR" not in viewer.layers


def test_a_full_disk_keeps_what_is_done(
    open_widget, viewer, pair, until_idle, output, every_block, monkeypatch
):
    widget = open_widget(viewer)
    write, written = BlockWriter.write, []

    def fill(self, start, pixels):
        written.append(start)
        if len(written) > 4:
            raise OSError(28, "No space left on device")
        return write(self, start, pixels)

    with monkeypatch.context() as patched:
        patched.setattr(BlockWriter, "write", fill)
        widget.panel.fuse_button.native.click()
        until_idle(widget)
    assert "No space left on device; 4 of 9 blocks are done" in widget.panel.message.value
    assert "fused CT + MR" in viewer.layers
    assert widget.panel.fuse_button.text == "Resume"
    widget.panel.fuse_button.native.click()
    until_idle(widget)
    assert [layer.name for layer in viewer.layers] == ["CT", "MR", "fused CT + MR"]
    assert read_image(output).shape == SHAPE


def test_what_does_not_fit_into_memory_goes_block_by_block_by_itself(
    make_widget, viewer, pair, monkeypatch, tmp_path
):
    monkeypatch.setenv("HOME", str(tmp_path))
    free = [10**12]
    monkeypatch.setattr(planner, "measure_free_memory", lambda device: free[0])
    widget = make_widget(viewer, network="never")
    blocks = widget.fuse_tab.blocks
    assert not blocks.is_ticked()
    assert blocks.choices.native.isHidden()
    free[0] = 10**5
    widget.settings.fields["seed"].value = 7
    assert blocks.is_ticked()
    assert blocks.status.value.startswith("Whole, the images would need ")
    assert blocks.take().output == tmp_path / "fused_CT_MR.ome.zarr"
    for button in (
        widget.panel.gains_button,
        widget.metrics.compute_button,
        widget.compare_tab.run_button,
    ):
        assert not button.enabled
        assert "do not fit into memory" in button.tooltip
    # Whoever unticks it has chosen.
    blocks.box.value = False
    widget.settings.fields["seed"].value = 8
    assert not blocks.is_ticked()


def test_runs_block_by_block_are_copied_as_code(
    open_widget, empty_viewer, pair, until_idle, output, tmp_path, npe2pm
):
    npe2pm.register(PluginManifest.from_distribution("napari-dip-fusion"))
    for name, image in zip(("CT", "MR"), pair, strict=True):
        path = write_image(tmp_path / f"{name}.ome.zarr", Source(image, name=name))
        empty_viewer.open(path, plugin="napari-dip-fusion")
    widget = open_widget(empty_viewer)
    widget.sources.acquisitions.set_acquisition(empty_viewer.layers["MR"], Acquisition(2.0))
    code = widget.fuse_tab.code
    widget.panel.fuse_button.native.click()
    until_idle(widget)
    code.command_button.native.click()
    words = shlex.split(QApplication.clipboard().text())
    assert words[:2] == ["dip-fusion", "fuse"]
    assert words[2:4] == [str(tmp_path / f"{name}.ome.zarr") for name in ("CT", "MR")]
    # That of the last run is there.
    again = output.with_name("fused_2.ome.zarr")
    assert words[words.index("-o") + 1] == str(again)
    assert words[words.index("--block") + 1] == "64"
    code.script_button.native.click()
    script = QApplication.clipboard().text()
    assert f"read_image({(tmp_path / 'MR.ome.zarr').as_posix()!r}).replace(fwhm=2.0)" in script
    exec(script, {"__name__": "__main__"})
    np.testing.assert_array_equal(read_image(again).to_numpy(), read_image(output).to_numpy())


def test_a_bundle_takes_the_place_of_what_has_grown(viewer, pair, output, open_widget, until_idle):
    bundle = output.with_name("all.fusion.ome.tif")
    widget = open_widget(viewer)
    before = widget.panel.need.value
    widget.fuse_tab.blocks.file.value = bundle
    # The disk takes it beside what has grown, and the sources.
    assert before.split(",")[0] == widget.panel.need.value.split(",")[0]
    assert before != widget.panel.need.value
    widget.panel.fuse_button.native.click()
    until_idle(widget)
    images = read_images(bundle)
    assert [image.name for image in images] == ["CT", "MR", "fused"]
    layer = viewer.layers["fused CT + MR"]
    # As it grew it had two resolutions, of which so small a bundle keeps one.
    assert [level.shape for level in layer.data] == [SHAPE]
    np.testing.assert_array_equal(layer.data[0], images[-1].to_numpy())
    known = (found.metadata["dip_fusion"]["record"] for found in (layer, images[-1]))
    assert next(known) == next(known)
    assert widget.fuse_tab.blocks.take().output == output.with_name("all_2.fusion.ome.tif")


def test_a_script_of_layers_without_files(viewer, pair, output, open_widget):
    widget = open_widget(viewer)
    widget.fuse_tab.code.script_button.native.click()
    script = QApplication.clipboard().text()
    assert "fuse_layer_blocks(" in script
    exec(script, {"__name__": "__main__"})
    layer = viewer.layers["fused CT + MR"]
    assert layer.metadata["dip_fusion"]["record"]["sources"][0]["name"] == "CT"
    np.testing.assert_array_equal(layer.data[0], read_image(output).to_numpy())
    with pytest.raises(ValueError, match="exists; choose another name"):
        fuse_layer_blocks(viewer, ["CT", "MR"], output)
