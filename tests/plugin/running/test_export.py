import json
import shlex
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import imageio.v3 as iio
import nibabel
import numpy as np
import pytest
from npe2 import PluginManifest
from qtpy.QtWidgets import QApplication

from napari_dip_fusion import FusionConfig
from napari_dip_fusion.cli import _run
from napari_dip_fusion.io import read_image
from napari_dip_fusion.plugin import fuse_layers
from napari_dip_fusion.plugin.layers.placement import Placement
from napari_dip_fusion.plugin.running.export import (
    describe_run,
    is_cut_short,
    pin_config,
    write_command,
    write_script,
)
from napari_dip_fusion.plugin.running.origin_files import Opening
from napari_dip_fusion.plugin.running.plan import Plan
from napari_dip_fusion.plugin.running.provenance import Provenance


@pytest.fixture
def opened(empty_viewer, pair, tmp_path, npe2pm):
    """Return a viewer that shows CT and MR from files with names that need quoting."""
    for plugin in ("napari", "napari-dip-fusion"):
        npe2pm.register(PluginManifest.from_distribution(plugin))
    for name, image in zip(("CT", "MR"), pair, strict=True):
        path = tmp_path / f"a {name}.png"
        iio.imwrite(path, image)
        empty_viewer.open(path, plugin="napari", name=name)
    return empty_viewer


def find_fused(viewer):
    # Of a volume, the plane is a part of the name.
    return next(x for x in reversed(viewer.layers) if x.name.startswith("fused CT + MR"))


def fused(viewer):
    return find_fused(viewer).data


@pytest.fixture
def copied(qtbot):
    """Return a function that presses a button and waits for what it puts on the clipboard."""

    def press(widget, button):
        widget.panel.message.say("")
        QApplication.clipboard().clear()
        button.native.click()
        message = widget.panel.message
        qtbot.waitUntil(
            lambda: message.value not in ("", "looking what the files hold"), timeout=20_000
        )
        return QApplication.clipboard().text()

    return press


@pytest.fixture
def run_copied(tmp_path, monkeypatch):
    """Return a function that runs a copied command and returns the image that it writes."""

    def run(text):
        monkeypatch.chdir(tmp_path)
        program, *arguments = shlex.split(text)
        assert program == "dip-fusion"
        assert _run([*arguments, "--force", "--quiet"]) == 0
        output = arguments[arguments.index("-o") + 1]
        return np.squeeze(read_image(tmp_path / output).to_numpy())

    return run


@pytest.fixture
def ran(opened, make_widget, until_idle):
    widget = make_widget(opened, patch_size=5, learning_rate=0.02, percentiles=(1, 98))
    widget.settings.intensity.mode.value = "contrast limits"
    opened.layers["CT"].contrast_limits = (12.5, 200)
    widget.sources.set_reference(opened.layers["MR"])
    widget.panel.fuse_button.native.click()
    until_idle(widget)
    return widget


def test_the_script_repeats_the_run(ran, opened, capsys):
    ran.fuse_tab.code.copy_script()
    code = QApplication.clipboard().text()
    compile(code, "script", "exec")
    first = fused(opened).copy()
    opened.layers.remove("fused CT + MR")
    # The session's own viewer stands for napari.current_viewer().
    exec(code.replace("napari.current_viewer()", "_viewer"), {"_viewer": opened})
    np.testing.assert_array_equal(fused(opened), first)


def test_the_script_opens_what_is_not_there(ran, opened):
    ran.fuse_tab.code.copy_script()
    code = QApplication.clipboard().text()
    first = fused(opened).copy()
    opened.layers.clear()
    exec(code.replace("napari.current_viewer()", "_viewer"), {"_viewer": opened})
    np.testing.assert_array_equal(fused(opened), first)


def test_the_command_repeats_the_run(ran, opened, tmp_path, monkeypatch):
    ran.fuse_tab.code.copy_command()
    monkeypatch.chdir(tmp_path)
    program, *arguments = shlex.split(QApplication.clipboard().text())
    assert program == "dip-fusion"
    assert _run(arguments) == 0
    np.testing.assert_array_equal(iio.imread(tmp_path / "fused.tif"), fused(opened))


@pytest.mark.parametrize("method", ["dip", "wavelet"])
def test_the_record_of_a_layer_is_replayed(opened, make_widget, until_idle, tmp_path, method):
    widget = make_widget(opened, method=method)
    widget.settings.intensity.mode.value = "contrast limits"
    opened.layers["CT"].contrast_limits = (12.5, 200)
    widget.panel.fuse_button.native.click()
    until_idle(widget)
    record = opened.layers["fused CT + MR"].metadata["dip_fusion"]["record"]
    (tmp_path / "a.json").write_text(json.dumps(record))
    output = tmp_path / "again.tif"
    assert _run(["fuse", "--replay", str(tmp_path / "a.json"), "-o", str(output)]) == 0
    np.testing.assert_array_equal(iio.imread(output), fused(opened))


def test_a_stopped_run_is_repeated_as_long_as_it_was(qtbot, opened, make_widget, until_idle):
    widget = make_widget(opened, iterations=100_000, patience=10_000, network="always")
    widget.panel.fuse_button.native.click()
    qtbot.waitUntil(lambda: widget.panel.progress.native.value() > 0, timeout=20_000)
    widget.panel.stop_button.native.click()
    until_idle(widget)
    made = len(widget.session.result.losses)
    widget.fuse_tab.code.copy_command()
    words = shlex.split(QApplication.clipboard().text())
    assert words[words.index("--iterations") + 1] == str(made)
    assert "stop=iterations" in words


def test_a_restoration_that_was_stopped_keeps_its_number_of_iterations():
    # Fewer would set its network another pace, and make another image.
    result = SimpleNamespace(
        stop_reason="stopped", losses=np.zeros(5), record={"restoration": [{"source": 1}]}
    )
    assert is_cut_short(result)
    assert pin_config(FusionConfig(), result) == FusionConfig()
    result.record = {}
    assert not is_cut_short(result)
    assert pin_config(FusionConfig(), result).fit.iterations == 5


def test_layers_without_files_have_a_script_only(widget):
    widget.fuse_tab.code.copy_command()
    assert "no file holds CT, MR as fused" in widget.panel.message.value
    widget.fuse_tab.code.copy_script()
    assert "'CT' must be a layer of the viewer" in QApplication.clipboard().text()


def move(layer):
    layer.translate = (1.5, 0)


def turn(layer):
    layer.affine = np.diag([1.0, 1.25, 1.0])


def replace_data(layer):
    layer.data = layer.data[::-1].copy()


def paint(layer):
    # As plugins and consoles do: without an event.
    layer.data[4:9, 4:9] = 7
    layer.refresh()


@pytest.mark.parametrize("edit", [move, turn, replace_data, paint])
def test_a_layer_that_is_no_longer_its_file_does_not_name_it(
    opened, make_widget, until_idle, copied, edit
):
    layer = opened.layers["MR"]
    path = layer.source.path
    # Pixels of a reader may be read-only.
    layer.data = np.array(layer.data)
    edit(layer)
    widget = make_widget(opened)
    for _ in ("as set now", "after a run"):
        script = copied(widget, widget.fuse_tab.code.script_button)
        assert "# 'MR' must be a layer of the viewer" in script
        assert "run it with python" not in script
        assert "a CT.png" in script
        assert path not in script
        assert copied(widget, widget.fuse_tab.code.command_button) == ""
        assert "no file holds MR as fused" in widget.panel.message.value
        widget.panel.fuse_button.native.click()
        until_idle(widget)
        record = opened.layers["fused CT + MR"].metadata["dip_fusion"]["record"]
        assert [bool(source["path"]) for source in record["sources"]] == [True, False]
        assert "choice" not in record
        assert path not in str(record)


def test_records_of_scripts_and_comparisons_name_no_file_in_vain(
    qtbot, opened, make_widget, until_idle
):
    paint_me = opened.layers["MR"]
    paint_me.data = np.array(paint_me.data)
    paint(paint_me)
    result = fuse_layers(opened, ["CT", "MR"], method="average")
    widget = make_widget(opened)
    widget.sources.set_sources(opened.layers[:2])
    tab = widget.compare_tab
    tab.methods.set_chosen(["average"])
    tab.run_button.native.click()
    qtbot.waitUntil(lambda: tab.session.phase.name == "IDLE", timeout=20_000)
    compared = tab.session.results[0].layer.metadata["dip_fusion"]["record"]
    for record in (result.record, compared):
        assert [bool(source["path"]) for source in record["sources"]] == [True, False]


def open_volumes(viewer, tmp_path, pair):
    """Show two NIfTI volumes on other grids, of which one has a place of its own."""
    viewer.layers.clear()
    volumes = [np.stack([image, image[::-1], image[:, ::-1], image] * 3) for image in pair]
    steps = (np.diag([1.0, 1.0, 2.0, 1.0]), np.diag([1.25, 1.25, 1.5, 1.0]))
    for name, volume, affine in zip(("CT", "MR"), volumes, steps, strict=True):
        path = tmp_path / f"{name}.nii.gz"
        nibabel.save(nibabel.Nifti1Image(volume.T.astype(np.int16), affine), path)
        viewer.open(path, plugin="napari-dip-fusion", name=name)


@pytest.mark.parametrize("interpolation", ["linear", "nearest"])
def test_the_command_takes_the_plane_of_a_volume_and_resamples(
    opened, make_widget, pair, until_idle, copied, run_copied, tmp_path, interpolation
):
    open_volumes(opened, tmp_path, pair)
    opened.dims.set_current_step(0, 1)
    widget = make_widget(opened, network="always")
    widget.sources.set_whole(False)
    widget.sources.set_reference(opened.layers["MR"])
    widget.sources.interpolation_box.value = interpolation
    before = copied(widget, widget.fuse_tab.code.command_button)
    widget.panel.fuse_button.native.click()
    until_idle(widget)
    text = copied(widget, widget.fuse_tab.code.command_button)
    assert text == before
    index = find_fused(opened).metadata["dip_fusion"]["plane"]["slice"][0]
    words = shlex.split(text)
    assert words[words.index("-o") + 1] == "fused.nii.gz"
    assert words[words.index("--slice") + 1] == f"z={index}"
    assert words[words.index("--reference") + 1] == "1"
    assert ("--interpolation" in words) == (interpolation == "nearest")
    np.testing.assert_array_equal(run_copied(text), fused(opened)[0])
    # So does a replay of the record.
    record = find_fused(opened).metadata["dip_fusion"]["record"]
    (tmp_path / "old.record.json").write_text(json.dumps(record))
    again = run_copied(f"dip-fusion fuse --replay {tmp_path / 'old.record.json'} -o again.nii")
    np.testing.assert_array_equal(again, fused(opened)[0])


@pytest.mark.parametrize("interpolation", ["linear", "nearest"])
def test_script_command_and_replay_repeat_the_fusion_of_whole_volumes(
    opened, make_widget, pair, until_idle, copied, run_copied, tmp_path, interpolation
):
    open_volumes(opened, tmp_path, pair)
    widget = make_widget(opened)
    widget.sources.set_reference(opened.layers["MR"])
    widget.sources.interpolation_box.value = interpolation
    widget.sources.set_whole(True)
    before = copied(widget, widget.fuse_tab.code.command_button)
    widget.panel.fuse_button.native.click()
    until_idle(widget)
    first = np.array(fused(opened))
    assert first.shape == (12, 32, 40)
    text = copied(widget, widget.fuse_tab.code.command_button)
    assert text == before
    words = shlex.split(text)
    assert words[words.index("-o") + 1] == "fused.nii.gz"
    assert "--slice" not in words
    assert words[words.index("--reference") + 1] == "1"
    np.testing.assert_array_equal(run_copied(text), first)
    record = find_fused(opened).metadata["dip_fusion"]["record"]
    (tmp_path / "old.record.json").write_text(json.dumps(record))
    again = run_copied(f"dip-fusion fuse --replay {tmp_path / 'old.record.json'} -o again.nii")
    np.testing.assert_array_equal(again, first)
    script = copied(widget, widget.fuse_tab.code.script_button)
    assert "whole=True" in script
    assert "dims" not in script
    opened.layers.clear()
    exec(script.replace("napari.current_viewer()", "_viewer"), {"_viewer": opened})
    np.testing.assert_array_equal(fused(opened), first)


def test_a_painted_volume_is_no_longer_its_file(opened, make_widget, pair, copied, tmp_path):
    open_volumes(opened, tmp_path, pair)
    layer = opened.layers["MR"]
    layer.data = np.array(layer.data)
    # Not in the plane that is shown.
    layer.data[7, 4, 5] += 1
    widget = make_widget(opened)
    assert widget.sources.get_whole()
    assert copied(widget, widget.fuse_tab.code.command_button) == ""
    assert "no file holds MR as fused" in widget.panel.message.value


def test_a_plane_along_other_axes_has_a_script_only(opened, make_widget, pair, copied, tmp_path):
    open_volumes(opened, tmp_path, pair)
    opened.dims.order = (1, 0, 2)
    opened.dims.set_current_step(1, 12)
    widget = make_widget(opened)
    widget.sources.set_whole(False)
    assert copied(widget, widget.fuse_tab.code.command_button) == ""
    assert "the command cannot read this" in widget.panel.message.value
    script = copied(widget, widget.fuse_tab.code.script_button)
    assert "viewer.dims.order = (1, 0, 2)" in script
    assert "CT.nii.gz" in script


def test_the_command_takes_channels_and_levels(
    opened, make_widget, pair, until_idle, copied, run_copied, tmp_path
):
    opened.layers.clear()
    path = tmp_path / "cells.ome.zarr"
    stack = np.stack([np.kron(image, np.ones((2, 2), np.uint8)) for image in pair])
    levels = [stack, stack[:, ::2, ::2]]
    write_channels(path, levels)
    opened.open(path, plugin="napari-dip-fusion")
    assert len(opened.layers) == 2
    opened.layers[0].name, opened.layers[1].name = "CT", "MR"
    widget = make_widget(opened)
    widget.sources.level_box.value = 1
    widget.panel.fuse_button.native.click()
    until_idle(widget)
    text = copied(widget, widget.fuse_tab.code.command_button)
    assert shlex.split(text)[6:10] == ["--channel=0", "--channel=1", "--level", "1"]
    np.testing.assert_array_equal(run_copied(text), fused(opened))
    first = fused(opened).copy()
    script = copied(widget, widget.fuse_tab.code.script_button)
    opened.layers.clear()
    exec(script.replace("napari.current_viewer()", "_viewer"), {"_viewer": opened})
    np.testing.assert_array_equal(fused(opened), first)


def write_channels(path, levels):
    """Write an OME-Zarr folder with an axis of channels."""
    import zarr

    group = zarr.open_group(str(path), mode="w", zarr_format=2)
    axes = [{"name": "c", "type": "channel"}] + [
        {"name": n, "type": "space", "unit": "micrometer"} for n in "yx"
    ]
    datasets = []
    for i, level in enumerate(levels):
        group.create_array(str(i), data=level)
        scale = {"type": "scale", "scale": [1.0, 0.5 * 2**i, 0.5 * 2**i]}
        datasets.append({"path": str(i), "coordinateTransformations": [scale]})
    group.attrs["multiscales"] = [{"version": "0.4", "axes": axes, "datasets": datasets}]


def test_the_script_goes_by_the_names_of_now(ran, opened, copied):
    first = fused(opened).copy()
    ct, mr = opened.layers["CT"], opened.layers["MR"]
    ct.name, mr.name, ct.name = "x", "CT", "MR"
    code = copied(ran, ran.fuse_tab.code.script_button)
    exec(code.replace("napari.current_viewer()", "_viewer"), {"_viewer": opened})
    np.testing.assert_array_equal(opened.layers["fused MR + CT"].data, first)


def test_a_run_that_was_discarded_at_once_leaves_nothing_to_copy(
    opened, make_widget, until_idle, copied
):
    widget = make_widget(opened)
    widget.panel.fuse_button.native.click()
    widget.panel.discard_button.native.click()
    until_idle(widget)
    assert "dip-fusion fuse" in copied(widget, widget.fuse_tab.code.command_button)


def test_the_script_shows_its_result_until_the_window_is_closed(ran, opened, copied, tmp_path):
    code = copied(ran, ran.fuse_tab.code.script_button)
    # The user's part: after a moment a look at the layers, then the window is closed.
    close = """
import napari
from qtpy.QtCore import QTimer
def look():
    viewer = napari.current_viewer()
    numpy.save("shown.npy", viewer.layers["fused CT + MR"].data)
    print([layer.name for layer in viewer.layers])
    viewer.close()
import numpy
real = napari.run
def run():
    QTimer.singleShot(500, look)
    real()
    print("closed")
napari.run = run
"""
    path = tmp_path / "script.py"
    path.write_text(close + code)
    done = subprocess.run(
        [sys.executable, str(path)], cwd=tmp_path, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert "'petrovic':" in lines[0]
    assert lines[1].startswith("['CT', 'MR', ")
    assert lines[-1] == "closed"
    np.testing.assert_array_equal(np.load(tmp_path / "shown.npy"), fused(opened))


def test_the_script_goes_to_the_plane_that_was_fused(opened, make_widget, pair, until_idle):
    paths = [layer.source.path for layer in opened.layers]
    opened.layers.clear()
    for path, name, image in zip(paths, ("CT", "MR"), pair, strict=True):
        path = path.replace(".png", ".tif")
        iio.imwrite(path, np.stack([image, image[::-1], image[:, ::-1]]))
        opened.open(path, plugin="napari", name=name)
    opened.dims.set_current_step(0, 2)
    widget = make_widget(opened)
    widget.sources.set_sources(opened.layers)
    widget.sources.set_whole(False)
    widget.panel.fuse_button.native.click()
    until_idle(widget)
    first = fused(opened).copy()
    widget.fuse_tab.code.copy_script()
    code = QApplication.clipboard().text()
    opened.layers.clear()
    exec(code.replace("napari.current_viewer()", "_viewer"), {"_viewer": opened})
    np.testing.assert_array_equal(fused(opened), first)
    assert fused(opened).shape == (1, 32, 40)


def test_the_script_takes_the_names_in_a_bundle(
    opened, make_widget, tmp_path, until_idle, copied, run_copied
):
    path = tmp_path / "pair.fusion.ome.tif"
    opened.layers.save(str(path), plugin="napari-dip-fusion")
    opened.layers.clear()
    opened.open(path, plugin="napari-dip-fusion")
    widget = make_widget(opened)
    widget.panel.fuse_button.native.click()
    until_idle(widget)
    first = fused(opened).copy()
    text = copied(widget, widget.fuse_tab.code.command_button)
    np.testing.assert_array_equal(run_copied(text), first)
    code = copied(widget, widget.fuse_tab.code.script_button)
    opened.layers.clear()
    exec(code.replace("napari.current_viewer()", "_viewer"), {"_viewer": opened})
    np.testing.assert_array_equal(fused(opened), first)


PLAN = Plan(
    names=("CT", "MR"),
    origins=(None, None),
    config=FusionConfig(),
    reference="CT",
    interpolation="linear",
    level=0,
    place=Placement({}, (), {}),
)


PATHS = [Path("/a/ct.png"), Path("/a/mr.png")]
CHOICE = {
    "channel": [], "plane": None, "level": None, "reference": 0, "interpolation": "linear"
}  # fmt: skip
FILES = Provenance(tuple(Opening(path, "napari", 0, 1) for path in PATHS), CHOICE)


def changed(**changes):
    return replace(PLAN, **changes)


def test_a_plain_command():
    assert write_command(PLAN, FILES) == (
        "dip-fusion fuse /a/ct.png /a/mr.png -o fused.tif --preset fast "
        "--iterations 0 --seed 0 --device auto"
    )


def test_a_plan_says_which_run_it_is_of():
    assert describe_run(PLAN, made=True) == "the last run, of CT + MR"
    assert describe_run(PLAN, made=False) == "a run of CT + MR as set now"


def test_the_script_names_the_reader():
    opening = Opening(Path("/a/ct.nii.gz"), "napari-dip-fusion", 0, 1)
    text = write_script(PLAN, Provenance((opening, None)))
    assert "viewer.open('/a/ct.nii.gz', plugin='napari-dip-fusion', name='CT')" in text


def test_what_no_command_reads_is_explained():
    with pytest.raises(ValueError, match="copy the script instead"):
        write_command(PLAN, Provenance(FILES.openings, reason="it is so; copy the script instead"))


def test_every_option_is_in_the_script():
    text = write_script(
        changed(
            reference="MR",
            interpolation="nearest",
            level=1,
            multiscale=True,
            config=FusionConfig.preset("paper", width=16, intensity=("auto", (0, 5))),
        ),
        FILES,
    )
    for line in (
        "preset='paper'",
        "reference='MR'",
        "interpolation='nearest'",
        "level=1",
        "width=16",
        "intensity=('auto', (0.0, 5.0))",
    ):
        assert f"    {line},\n" in text


def test_the_script_is_a_program(tmp_path):
    path = tmp_path / "script.py"
    path.write_text(write_script(PLAN, FILES))
    done = subprocess.run([sys.executable, "-m", "py_compile", str(path)], check=False)
    assert done.returncode == 0


def test_the_script_shows_the_same_thick_slice():
    text = write_script(
        changed(
            point=(2.0, 0.0, 0.0),
            margins=((1.0, 0.0, 0.0), (2.0, 0.0, 0.0)),
            projections={"CT": "max", "MR": "none"},
            resampled=True,
        ),
        FILES,
    )
    for line in (
        "viewer.dims.margin_left = (1.0, 0.0, 0.0)",
        "viewer.dims.margin_right = (2.0, 0.0, 0.0)",
        "viewer.layers['CT'].projection_mode = 'max'",
        "viewer.layers['MR'].projection_mode = 'none'",
        # Another layer may be the finest by then.
        "    reference='CT',",
    ):
        assert f"{line}\n" in text
