"""A PET of large pixels beside an MR: from the button to the restored layers."""

import json

import imageio.v3 as iio
import numpy as np
import pytest
from npe2 import PluginManifest
from qtpy.QtCore import QThreadPool
from qtpy.QtWidgets import QApplication

from napari_dip_fusion.cli import _run
from napari_dip_fusion.fusion import Decided, Done, Preview
from napari_dip_fusion.io import read_image, write_image
from napari_dip_fusion.plugin import fuse_layers
from napari_dip_fusion.plugin.layers.acquisition import Acquisition
from napari_dip_fusion.samples import head_phantom
from napari_dip_fusion.sources import Source

PET_PLACE = {"scale": (4, 4), "translate": (1.5, 1.5)}


@pytest.fixture
def viewer(empty_viewer):
    """Return a viewer with an MR of 96 x 96, a PET of 24 x 24, and a hidden mask of it."""
    ct, mr = (np.asarray(s, dtype=np.float32) / 255 for s in head_phantom(shape=(96, 96)).sources)
    coarse = ct.reshape(24, 4, 24, 4).mean(axis=(1, 3))
    seen = np.ones((24, 24), dtype=np.uint8)
    seen[:, 18:] = 0
    empty_viewer.add_image(mr, name="MR")
    empty_viewer.add_image(coarse, name="PET", **PET_PLACE)
    empty_viewer.add_labels(seen, name="seen", visible=False, **PET_PLACE)
    return empty_viewer


@pytest.fixture
def widget(make_widget, viewer):
    made = make_widget(viewer, restore="auto", network="auto", noise="none", iterations=6)
    pet = viewer.layers["PET"]
    made.sources.acquisitions.set_acquisition(pet, Acquisition(6.0, viewer.layers["seen"]))
    made.sources.check()
    return made


def press(widget, button, until_idle):
    button.native.click()
    until_idle(widget)
    QThreadPool.globalInstance().waitForDone(10_000)


def test_a_restoration_from_the_button_to_its_layers(widget, viewer, until_idle):
    told = "PET is restored: its pixels are 4 times those of MR and its blur is 6 pixel wide"
    assert told in widget.sources.status.value
    shown, events = [], []

    def note(event):
        events.append(event)
        if isinstance(event, Preview):
            shown.append(np.array(viewer.layers["fused MR + PET"].data))

    widget.session.reported.connect(note)
    press(widget, widget.panel.fuse_button, until_idle)
    decided = next(event for event in events if isinstance(event, Decided))
    assert [line.split(":")[0] for line in decided.restored] == ["PET"]
    assert f"Restored: {decided.restored[0]}" in widget.panel.message.value
    # The fused layer shows the restoration as it goes on: nothing is hidden under it.
    assert len(shown) > 1
    assert not [layer.name for layer in viewer.layers if "preview" in layer.name]
    result = next(event.result for event in events if isinstance(event, Done))
    assert result.losses.size == 6
    assert widget.panel.plot.excess_curve.isVisible() is False
    widget.panel.restored_button.native.click()
    restored = viewer.layers["PET restored"]
    assert restored.data.shape == (96, 96)
    assert restored.scale.tolist() == [1, 1]
    np.testing.assert_array_equal(restored.contrast_limits, result.sources.windows[1])
    assert "MR restored" not in viewer.layers
    widget.panel.coverage_button.native.click()
    coverage = viewer.layers["PET coverage"].data
    assert coverage[:, :72].all()
    assert not coverage[:, 72:].any()
    # They are no images to fuse: nobody ticked them.
    assert [layer.name for layer in widget.sources.get_sources()] == ["MR", "PET"]
    record = viewer.layers["fused MR + PET"].metadata["dip_fusion"]["record"]
    assert record["acquisition"] == [
        {"fwhm": 0.0, "mask": None},
        {"fwhm": 6.0, "mask": "seen"},
    ]
    json.dumps(record)


def test_every_button_after_a_restoration(qtbot, widget, viewer, until_idle):
    press(widget, widget.panel.fuse_button, until_idle)
    widget.panel.more.setValue(3)
    press(widget, widget.panel.continue_button, until_idle)
    assert "Done: 9 iterations" in widget.panel.message.value
    widget.fuse_tab.code.copy_script()
    assert "this run was continued" in widget.panel.message.value
    first = np.array(viewer.layers["fused MR + PET"].data)
    buttons = {
        "metrics": widget.metrics.compute_button,
        "gains": widget.panel.gains_button,
        "restored": widget.panel.restored_button,
        "coverage": widget.panel.coverage_button,
        "command": widget.fuse_tab.code.command_button,
        "recall": widget.fuse_tab.recall_button,
    }
    for name, button in buttons.items():
        viewer.layers.selection = {viewer.layers["fused MR + PET"]}
        press(widget, button, until_idle)
        said = (widget.panel.message, widget.metrics.status)
        busy = ("computing", "computing the gain maps")
        qtbot.waitUntil(lambda s=said, b=busy: not any(x.value in b for x in s), timeout=20_000)
        for word in ("not expected", "Error", "got 0"):
            assert word not in widget.panel.message.value + widget.metrics.status.value, name
    np.testing.assert_array_equal(viewer.layers["fused MR + PET"].data, first)
    assert not widget.panel.layers_row.native.isHidden()
    # Without a restoration there is nothing of it to show.
    widget.settings.fields["restore"].value = "never"
    widget.settings.fields["network"].value = "never"
    press(widget, widget.panel.fuse_button, until_idle)
    assert widget.panel.restored_button.native.isHidden()
    assert not widget.panel.coverage_button.native.isHidden()


# Both have networks that are still at work when the bars are looked at.
@pytest.mark.parametrize(
    ("restore", "network", "steps"), [("auto", "auto", 1800), ("never", "always", 120)]
)
def test_bars_have_an_end_before_it_is_known_how_many_iterations_pay(
    widget, until_idle, restore, network, steps
):
    widget.settings.fields["restore"].value = restore
    widget.settings.fields["network"].value = network
    widget.settings.fields["iterations"].value = 0
    widget.panel.fuse_button.native.click()
    # A range of nothing would be a bar that moves to and fro, and paints the window all the time.
    assert widget.panel.progress.native.maximum() == steps
    assert widget.panel.progress.activity.total == steps
    widget.panel.progress.show_step(3, 80, "")
    assert widget.panel.progress.activity.total == 80
    widget.session.discard()
    until_idle(widget)


def test_a_restoration_is_stopped_and_kept(qtbot, widget, viewer, until_idle):
    widget.settings.fields["iterations"].value = 100_000
    widget.panel.fuse_button.native.click()
    qtbot.waitUntil(lambda: widget.panel.progress.native.value() > 0, timeout=20_000)
    press(widget, widget.panel.stop_button, until_idle)
    assert "stopped, and the best image kept" in widget.panel.message.value
    assert widget.session.result.stop_reason == "stopped"
    assert widget.session.can_continue
    assert not widget.panel.restored_button.native.isHidden()
    # A network that knew of fewer iterations would go another way.
    widget.fuse_tab.code.copy_script()
    assert "iterations=100000," in QApplication.clipboard().text()
    assert "this run was stopped" in widget.panel.message.value


def test_resolution_and_mask_come_back_with_the_settings_of_a_layer(widget, viewer, until_idle):
    widget.settings.fields["network"].value = "never"
    press(widget, widget.panel.fuse_button, until_idle)
    pet, form = viewer.layers["PET"], widget.sources.acquisitions
    form.set_acquisition(pet, Acquisition())
    viewer.layers.selection = {viewer.layers["fused MR + PET"]}
    widget.fuse_tab.recall_settings()
    assert form.get_acquisition(pet).fwhm == 6
    assert form.get_acquisition(pet).mask == viewer.layers["seen"]
    viewer.layers.remove("seen")
    form.set_acquisition(pet, Acquisition())
    widget.fuse_tab.recall_settings()
    assert form.get_acquisition(pet).mask_is_gone


def test_methods_that_know_no_sensors_take_layers_as_they_are(widget, viewer, until_idle):
    widget.settings.fields["method"].value = "average"
    widget.sources.check()
    assert "restored" not in widget.sources.status.value
    press(widget, widget.panel.fuse_button, until_idle)
    record = viewer.layers["fused MR + PET"].metadata["dip_fusion"]["record"]
    assert "acquisition" not in record
    assert "Done" in widget.panel.message.value


def test_the_script_repeats_a_restoration(widget, viewer, until_idle):
    press(widget, widget.panel.fuse_button, until_idle)
    widget.fuse_tab.code.copy_script()
    code = QApplication.clipboard().text()
    assert "fwhm={'PET': 6.0}" in code
    assert "masks={'PET': 'seen'}" in code
    first = np.array(viewer.layers["fused MR + PET"].data)
    viewer.layers.remove("fused MR + PET")
    exec(code.replace("napari.current_viewer()", "_viewer"), {"_viewer": viewer})
    np.testing.assert_array_equal(viewer.layers["fused MR + PET"].data, first)
    widget.fuse_tab.code.copy_command()
    assert "no file holds MR, PET, the mask seen as fused" in widget.panel.message.value


def fuse_with_mask(widget, viewer, until_idle, fwhm):
    """Fuse MR with PET of a width, of which a mask was seen, and return the fused pixels."""
    widget.sources.set_sources([viewer.layers["MR"], viewer.layers["PET"]])
    form = widget.sources.acquisitions
    form.set_acquisition(viewer.layers["PET"], Acquisition(fwhm, viewer.layers["seen"]))
    widget.sources.check()
    press(widget, widget.panel.fuse_button, until_idle)
    return np.array(viewer.layers["fused MR + PET"].data)


def test_command_and_replay_repeat_a_restoration_from_files(
    viewer, make_widget, until_idle, tmp_path, monkeypatch, npe2pm
):
    npe2pm.register(PluginManifest.from_distribution("napari"))
    mr, pet, seen = (viewer.layers[name].data for name in ("MR", "PET", "seen"))
    # Without places, files of one shape lie pixel on pixel: the blur alone is restored.
    images = {"MR": mr, "PET": np.kron(pet, np.ones((4, 4), np.float32))}
    images["seen"] = np.kron(seen, np.ones((4, 4), np.uint8))
    viewer.layers.clear()
    for name, image in images.items():
        iio.imwrite(tmp_path / f"{name}.tif", image)
        viewer.open(tmp_path / f"{name}.tif", plugin="napari", name=name)
    widget = make_widget(viewer, restore="auto", network="never")
    first = fuse_with_mask(widget, viewer, until_idle, 5.0)
    widget.fuse_tab.code.copy_command()
    text = QApplication.clipboard().text()
    assert "--fwhm=0 --fwhm=5px --mask=-" in text
    monkeypatch.chdir(tmp_path)
    arguments = text.split()[1:]
    assert _run([*arguments, "--quiet"]) == 0
    np.testing.assert_array_equal(read_image(tmp_path / "fused.tif").to_numpy(), first)
    record = viewer.layers["fused MR + PET"].metadata["dip_fusion"]["record"]
    (tmp_path / "a.json").write_text(json.dumps(record))
    assert _run(["fuse", "--replay", "a.json", "-o", "again.tif", "--quiet"]) == 0
    np.testing.assert_array_equal(read_image(tmp_path / "again.tif").to_numpy(), first)
    # The script opens the mask, too.
    widget.fuse_tab.code.copy_script()
    code = QApplication.clipboard().text()
    assert "run it with python" in code
    viewer.layers.clear()
    exec(code.replace("napari.current_viewer()", "_viewer"), {"_viewer": viewer})
    np.testing.assert_array_equal(viewer.layers["fused MR + PET"].data, first)


def test_the_command_repeats_a_masked_source_on_a_grid_of_its_own(
    viewer, make_widget, until_idle, tmp_path, monkeypatch, npe2pm
):
    npe2pm.register(PluginManifest.from_distribution("napari-dip-fusion"))
    pet, seen = viewer.layers["PET"], viewer.layers["seen"]
    place = np.diag([4, 4, 1.0])
    place[:2, 2] = 1.5
    write_image(tmp_path / "MR.nii", Source(viewer.layers["MR"].data))
    write_image(tmp_path / "PET.nii", Source(pet.data, affine=place))
    write_image(tmp_path / "seen.nii", Source(seen.data, affine=place))
    viewer.layers.clear()
    for name, kind in {"MR": "image", "PET": "image", "seen": "labels"}.items():
        path = tmp_path / f"{name}.nii"
        viewer.open(path, plugin="napari-dip-fusion", name=name, layer_type=kind)
    widget = make_widget(viewer, restore="auto", network="never")
    first = fuse_with_mask(widget, viewer, until_idle, 6.0)
    widget.fuse_tab.code.copy_command()
    assert "copied to the clipboard" in widget.panel.message.value
    monkeypatch.chdir(tmp_path)
    arguments = QApplication.clipboard().text().split()[1:]
    assert _run([*arguments, "--quiet"]) == 0
    np.testing.assert_array_equal(read_image(tmp_path / "fused.tif").to_numpy(), first)


def test_layers_of_a_restoration_in_a_script(viewer):
    result = fuse_layers(
        viewer,
        ["MR", "PET"],
        fwhm={"PET": 6.0},
        masks={"PET": "seen"},
        gains=False,
        restored=True,
        coverage=True,
        network="never",
        noise="none",
    )
    names = [layer.name for layer in viewer.layers][3:]
    assert names == ["PET restored", "PET coverage", "fused MR + PET"]
    assert result.record["restoration"][0]["factors"] == [4, 4]
    with pytest.raises(ValueError, match="'CT' is not fused; the layers are MR, PET"):
        fuse_layers(viewer, ["MR", "PET"], fwhm={"CT": 6.0})
    with pytest.raises(ValueError, match="seen has 24 x 24 pixels and MR"):
        fuse_layers(viewer, ["MR", "PET"], masks={"MR": "seen"})
