import json
import shlex
import subprocess
import sys
from dataclasses import replace

import imageio.v3 as iio
import numpy as np
import pytest
from npe2 import PluginManifest
from qtpy.QtWidgets import QApplication

from napari_dip_fusion import FusionConfig
from napari_dip_fusion.cli import _run
from napari_dip_fusion.plugin.layers.placement import Placement
from napari_dip_fusion.plugin.running.export import describe_run, write_command, write_script
from napari_dip_fusion.plugin.running.plan import Plan


@pytest.fixture
def opened(viewer, pair, tmp_path, npe2pm):
    """Return a viewer that shows CT and MR from files with names that need quoting."""
    viewer.layers.clear()
    npe2pm.register(PluginManifest.from_distribution("napari"))
    for name, image in zip(("CT", "MR"), pair, strict=True):
        path = tmp_path / f"a {name}.png"
        iio.imwrite(path, image)
        viewer.open(path, plugin="napari", name=name)
    return viewer


def fused(viewer):
    return viewer.layers["fused CT + MR"].data


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
    ran.fuse_tab.copy_script()
    code = QApplication.clipboard().text()
    compile(code, "script", "exec")
    first = fused(opened).copy()
    opened.layers.remove("fused CT + MR")
    # The session's own viewer stands for napari.current_viewer().
    exec(code.replace("napari.current_viewer()", "_viewer"), {"_viewer": opened})
    np.testing.assert_array_equal(fused(opened), first)


def test_the_script_opens_what_is_not_there(ran, opened):
    ran.fuse_tab.copy_script()
    code = QApplication.clipboard().text()
    first = fused(opened).copy()
    opened.layers.clear()
    exec(code.replace("napari.current_viewer()", "_viewer"), {"_viewer": opened})
    np.testing.assert_array_equal(fused(opened), first)


def test_the_command_repeats_the_run(ran, opened, tmp_path, monkeypatch):
    ran.fuse_tab.copy_command()
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
    widget = make_widget(opened, iterations=100_000, patience=10_000)
    widget.panel.fuse_button.native.click()
    qtbot.waitUntil(lambda: widget.panel.progress.native.value() > 0, timeout=20_000)
    widget.panel.stop_button.native.click()
    until_idle(widget)
    made = len(widget.session.result.losses)
    widget.fuse_tab.copy_command()
    words = shlex.split(QApplication.clipboard().text())
    assert words[words.index("--iterations") + 1] == str(made)
    assert "stop=iterations" in words


def test_layers_without_files_have_a_script_only(widget):
    widget.fuse_tab.copy_command()
    assert "came from no file" in widget.panel.message.value
    widget.fuse_tab.copy_script()
    assert "'CT' must be a layer of the viewer" in QApplication.clipboard().text()


def test_resampled_layers_have_a_script_only(opened, make_widget):
    widget = make_widget(opened)
    opened.layers["MR"].translate = (1.5, 0)
    widget.sources.check()
    widget.fuse_tab.copy_command()
    assert "different grids" in widget.panel.message.value


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
    widget.panel.fuse_button.native.click()
    until_idle(widget)
    first = fused(opened).copy()
    widget.fuse_tab.copy_script()
    code = QApplication.clipboard().text()
    opened.layers.clear()
    exec(code.replace("napari.current_viewer()", "_viewer"), {"_viewer": opened})
    np.testing.assert_array_equal(fused(opened), first)
    assert fused(opened).shape == (1, 32, 40)


def test_the_script_takes_the_names_in_a_bundle(opened, make_widget, tmp_path, until_idle):
    npe2 = pytest.importorskip("npe2")
    npe2.PluginManager.instance().register(PluginManifest.from_distribution("napari-dip-fusion"))
    path = tmp_path / "pair.fusion.ome.tif"
    opened.layers.save(str(path), plugin="napari-dip-fusion")
    opened.layers.clear()
    opened.open(path, plugin="napari-dip-fusion")
    widget = make_widget(opened)
    widget.panel.fuse_button.native.click()
    until_idle(widget)
    first = fused(opened).copy()
    widget.fuse_tab.copy_command()
    assert "share a file" in widget.panel.message.value
    widget.fuse_tab.copy_script()
    code = QApplication.clipboard().text()
    opened.layers.clear()
    exec(code.replace("napari.current_viewer()", "_viewer"), {"_viewer": opened})
    np.testing.assert_array_equal(fused(opened), first)


PLAN = Plan(
    names=("CT", "MR"),
    paths=("/a/ct.png", "/a/mr.png"),
    config=FusionConfig(),
    reference="CT",
    interpolation="linear",
    level=0,
    place=Placement({}, (), {}),
)


def changed(**changes):
    return replace(PLAN, **changes)


def test_a_plain_command():
    assert write_command(PLAN) == (
        "dip-fusion fuse /a/ct.png /a/mr.png -o fused.tif --preset fast "
        "--iterations 120 --seed 0 --device auto"
    )


def test_a_plan_says_which_run_it_is_of():
    assert describe_run(PLAN, made=True) == "the last run, of CT + MR"
    assert describe_run(PLAN, made=False) == "a run of CT + MR as set now"


def test_the_script_names_the_reader_of_our_own_formats(tmp_path):
    import nibabel

    path = tmp_path / "ct.nii.gz"
    nibabel.save(nibabel.Nifti1Image(np.zeros((9, 9, 3), np.float32), np.eye(4)), path)
    text = write_script(changed(paths=(str(path), None)))
    assert f"viewer.open({path.as_posix()!r}, name='CT', plugin='napari-dip-fusion')" in text


@pytest.mark.parametrize(
    "changes", [{"point": (1.0, 0.0, 0.0)}, {"multiscale": True}, {"resampled": True}]
)
def test_a_command_cannot_cut_slices_take_levels_or_resample(changes):
    with pytest.raises(ValueError, match="copy the script instead"):
        write_command(changed(**changes))


def test_every_option_is_in_the_script():
    text = write_script(
        changed(
            reference="MR",
            interpolation="nearest",
            level=1,
            multiscale=True,
            config=FusionConfig.preset("paper", width=16, intensity=("auto", (0, 5))),
        )
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
    path.write_text(write_script(PLAN))
    done = subprocess.run([sys.executable, "-m", "py_compile", str(path)], check=False)
    assert done.returncode == 0


def test_the_script_shows_the_same_thick_slice():
    text = write_script(
        changed(
            point=(2.0, 0.0, 0.0),
            margins=((1.0, 0.0, 0.0), (2.0, 0.0, 0.0)),
            projections={"CT": "max", "MR": "none"},
            resampled=True,
        )
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
