"""One plane of stacks fused block by block: where it lies, and what is said of it."""

import shlex
import shutil
from functools import partial

import numpy as np
import pytest
from npe2 import PluginManifest
from qtpy.QtWidgets import QApplication

from napari_dip_fusion.blocks import BlockDone, BlocksBegun
from napari_dip_fusion.blocks import plan as block_plan
from napari_dip_fusion.cli import _run
from napari_dip_fusion.config import FusionConfig
from napari_dip_fusion.fusion import fuse
from napari_dip_fusion.io import read_image, write_image
from napari_dip_fusion.plugin import fuse_layer_blocks, fuse_layers
from napari_dip_fusion.plugin.running.run_events import relay
from napari_dip_fusion.sources import Source

SHAPE = (192, 64)
pytestmark = [
    pytest.mark.parametrize("pair", [SHAPE], indirect=True),
    # Of a plane across the stack, which runs along other axes of the world.
    pytest.mark.filterwarnings("ignore:fused. OME-Zarr has fields for spacing and position only"),
]
STEPS = np.diag([3.0, 1.0, 1.0, 1.0])
QUICK = {"intensity": "minmax", "network": "never", "restore": "never", "noise": "none"}


def stack(image, planes):
    return np.stack([np.roll(image, 5 * i, axis=1) for i in range(planes)])


@pytest.fixture
def files(pair, tmp_path):
    """Return two files of stacks; the second one begins a plane above the first one."""
    above = STEPS.copy()
    above[0, -1] = -3
    paths = []
    for name, image, affine in zip(("CT", "MR"), pair, (STEPS, above), strict=True):
        source = Source(stack(image, 4), "zyx", affine, ("um",) * 3, name=name)
        paths.append(write_image(tmp_path / f"{name}.ome.zarr", source))
    return paths


def test_a_plane_is_stopped_resumed_and_copied_as_code(
    files, make_napari_viewer_proxy, make_widget, until_idle, tmp_path, npe2pm, monkeypatch, qtbot
):
    npe2pm.register(PluginManifest.from_distribution("napari-dip-fusion"))
    monkeypatch.setattr(block_plan, "_SIDE_BY_SIDE", 1)
    monkeypatch.setitem(relay.__kwdefaults__, "interval", 0.0)
    done = []
    for number in range(2):
        viewer = make_napari_viewer_proxy()
        for path in files:
            viewer.open(path, plugin="napari-dip-fusion")
        widget = make_widget(viewer, **QUICK)
        blocks, panel = widget.fuse_tab.blocks, widget.panel
        widget.sources.extent_box.value = False
        blocks.box.value = True
        blocks.size.setValue(64)
        viewer.dims.set_current_step(0, 2)
        qtbot.waitUntil(lambda b=blocks: b.take().output.name.endswith("z-1.ome.zarr"))
        output = blocks.take().output
        assert output == tmp_path / "fused_CT_MR_z-1.ome.zarr"
        assert panel.need.value.startswith("3 blocks of 64x64")
        assert panel.fuse_button.text == ("Fuse", "Resume")[number]

        def respond(event, session=widget.session, stops=not number):
            done.append(event)
            if stops and isinstance(event, BlockDone):
                session.stop()

        widget.session.reported.connect(respond)
        panel.fuse_button.native.click()
        until_idle(widget)
        layer = viewer.layers["fused CT + MR z=1"]
        assert layer.data_to_world((0, 10, 20)) == (3.0, 10.0, 20.0)
    begun = [x for x in done if isinstance(x, BlocksBegun)]
    assert [bool(x.done) for x in begun] == [False, True]
    assert sum(isinstance(x, BlockDone) for x in done) == 3
    # Another plane goes into another file.
    assert blocks.take().output.name == "fused_CT_MR_z-1_2.ome.zarr"
    viewer.dims.set_current_step(0, 1)
    qtbot.waitUntil(lambda: blocks.take().output.name == "fused_CT_MR_z-0.ome.zarr")
    fused = read_image(output).to_numpy()
    np.testing.assert_array_equal(layer.data, fused)
    known = layer.metadata["dip_fusion"]
    assert known["plane"]["slice"] == [1, None, None]
    planes = [read_image(path).to_numpy()[n] for path, n in zip(files, (1, 2), strict=True)]
    at_once = fuse(planes, FusionConfig.from_dict(known["record"]["config"]))
    np.testing.assert_allclose(fused[0], at_once.image, atol=1e-5)
    # The code is that of the run, wherever the slider is by now.
    code = widget.fuse_tab.code
    code.command_button.native.click()
    words = shlex.split(QApplication.clipboard().text())
    assert words[words.index("--slice") + 1] == "z=1"
    again = tmp_path / "fused_CT_MR_z-1_2.ome.zarr"
    for run in (partial(_run, [*words[1:], "--quiet"]), partial(_run_script, code)):
        run()
        repeated = read_image(again)
        np.testing.assert_array_equal(repeated.to_numpy().squeeze(), fused[0])
        assert repeated.affine[0, -1] == 3
        shutil.rmtree(again)


def test_the_plane_that_is_fused_has_to_be_that_of_its_file(
    files, empty_viewer, make_widget, npe2pm, qtbot
):
    npe2pm.register(PluginManifest.from_distribution("napari-dip-fusion"))
    for path in files:
        empty_viewer.open(path, plugin="napari-dip-fusion")
    widget = make_widget(empty_viewer, **QUICK)
    widget.sources.extent_box.value = False
    widget.fuse_tab.blocks.box.value = True
    empty_viewer.dims.set_current_step(0, 3)
    layer = empty_viewer.layers["CT"]
    pixels = np.array(layer.data)
    for plane, told in ((0, "copied"), (2, "no file holds CT as fused")):
        edited = pixels.copy()
        edited[plane, 100, 30] ^= 1
        layer.data = edited
        widget.fuse_tab.code.command_button.native.click()
        said = widget.panel.message
        qtbot.waitUntil(lambda s=said, t=told: s.value.startswith(t), timeout=10_000)


def _run_script(code):
    code.script_button.native.click()
    script = QApplication.clipboard().text()
    assert "plane='z=1'" in script
    exec(script, {"__name__": "__main__"})


@pytest.mark.parametrize("order", [(0, 1, 2), (1, 0, 2)])
@pytest.mark.parametrize("point", [(0.0, 96.0, 0.0), (6.0, 96.0, 0.0)])
def test_a_plane_lies_where_one_fused_at_once_does(
    viewer_without_window, pair, tmp_path, order, point
):
    viewer = viewer_without_window
    viewer.layers.clear()
    for name, image in zip(("CT", "MR"), pair, strict=True):
        viewer.add_image(stack(image, 24), name=name, scale=(2, 1, 1))
    viewer.dims.order = order
    viewer.dims.set_point(range(3), point)
    output = tmp_path / "fused.ome.zarr"
    fuse_layers(viewer, ["CT", "MR"], gains=False, **QUICK)
    fuse_layer_blocks(viewer, ["CT", "MR"], output, whole=False, block=64, **QUICK)
    at_once, in_blocks = viewer.layers[-2:]
    levels = in_blocks.data if in_blocks.multiscale else [in_blocks.data]
    np.testing.assert_allclose(levels[0], at_once.data, atol=1e-5)
    for corner in ((0, 0, 0), (1, 1, 1)):
        assert in_blocks.data_to_world(corner) == at_once.data_to_world(corner)
    # In another session, too.
    stored = read_image(output)
    rows, columns = at_once.metadata["dip_fusion"]["plane"]["axes"]
    pixel = [0, 0, 0]
    pixel[rows], pixel[columns] = 3, 5
    np.testing.assert_allclose(stored.affine @ [0, 3, 5, 1], [*at_once.data_to_world(pixel), 1])
