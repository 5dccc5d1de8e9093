"""The plugin as a user meets it: through napari's menus."""

import numpy as np
import pytest
import tifffile
from npe2 import PluginManifest

PLUGIN = "napari-dip-fusion"


@pytest.fixture
def viewer(npe2pm, viewer):
    npe2pm.register(PluginManifest.from_distribution(PLUGIN))
    return viewer


def run(command):
    from napari._app_model import get_app_model

    get_app_model().commands.execute_command(f"{PLUGIN}.{command}").result()


@pytest.fixture
def opened(qtbot, viewer):
    from qtpy.QtCore import QThreadPool

    def find():
        """Return the one widget that is docked."""
        (widget,) = viewer.window.dock_widgets.values()
        return widget

    yield find
    find().shutdown()
    assert QThreadPool.globalInstance().waitForDone(20_000)
    qtbot.wait(10)


@pytest.fixture
def tiny(monkeypatch):
    """Make the fast preset tiny."""
    from napari_dip_fusion.config import PRESETS

    changes = {"iterations": 3, "width": 4, "depth": 2}
    monkeypatch.setitem(PRESETS, "fast", changes)


def test_the_widget_from_the_plugins_menu(viewer, opened):
    run("widget")
    assert [layer.name for layer in opened().sources.get_sources()] == ["CT", "MR"]


def test_every_menu_and_the_dock_name_the_plugin_once(viewer, opened):
    from napari._app_model import get_app_model

    known = get_app_model().commands
    titles = [known[f"{PLUGIN}.{name}"].title for name in ("widget", "fuse_selected", "metrics")]
    assert titles == [
        "Fuse images (DIP Fusion)",
        "Fuse selected layers (DIP Fusion)",
        "Fusion metrics (DIP Fusion)",
    ]
    run("widget")
    assert list(viewer.window.dock_widgets) == titles[:1]
    # The plugin's name stands before these in the dialog that saves layers.
    writers = PluginManifest.from_distribution(PLUGIN).contributions.writers
    assert not any("DIP Fusion" in writer.display_name for writer in writers)


def test_files_are_opened_in_their_place_from_the_file_menu(viewer, tmp_path, monkeypatch):
    from napari_dip_fusion.plugin import opening

    path = tmp_path / "cells.ome.tif"
    tifffile.imwrite(path, np.zeros((12, 14), np.uint8), ome=True, metadata={"PhysicalSizeX": 0.5})
    asked = []

    def answer(parent, title, folder, patterns):
        asked.append(patterns)
        return [str(path)] * len(asked[1:]), ""

    monkeypatch.setattr(opening.QFileDialog, "getOpenFileNames", answer)
    run("open_in_place")
    assert len(viewer.layers) == 2
    run("open_in_place")
    assert viewer.layers[-1].scale[-1] == 0.5
    assert "*.ome.tiff" in asked[0]


@pytest.mark.parametrize(
    "commands", [("widget", "metrics"), ("metrics", "widget"), ("metrics", "metrics")]
)
def test_there_is_one_widget_whatever_menu_opens_it(viewer, opened, commands):
    run(commands[0])
    first = opened()
    run(commands[1])
    assert opened() is first


def test_fuse_selected_layers(tiny, viewer, opened, until_idle, pair):
    viewer.add_image(pair[0], name="PET")
    viewer.layers.selection = {viewer.layers["CT"], viewer.layers["PET"]}
    run("fuse_selected")
    until_idle(opened())
    assert "fused CT + PET" in viewer.layers


def test_fuse_selected_says_what_is_missing(viewer, opened, pair):
    viewer.add_image(pair[0], name="PET")
    viewer.layers.selection = {viewer.layers["CT"]}
    run("fuse_selected")
    assert "select two or more image layers" in opened().panel.message.value


def test_metrics_of_a_layer_that_knows_its_sources(qtbot, tiny, viewer, opened, until_idle):
    from napari_dip_fusion.plugin import fuse_layers

    fuse_layers(viewer, ["MR", "CT"], gains=False)
    viewer.layers.selection = {viewer.layers["fused MR + CT"]}
    run("metrics")
    widget = opened()
    qtbot.waitUntil(lambda: len(widget.metrics.scores) == 4, timeout=20_000)
    stored = viewer.layers["fused MR + CT"].metadata["dip_fusion"]["metrics"]
    assert widget.metrics.scores["fused MR + CT"] == pytest.approx(stored)


def test_the_sources_of_a_result_are_known_whatever_they_are_called(
    qtbot, tiny, viewer, opened, until_idle, pair
):
    run("widget")
    opened().fuse()
    until_idle(opened())
    ct, mr, fused = viewer.layers
    ct.name, mr.name, ct.name = "x", "CT", "MR"
    viewer.add_image(pair[0], name="PET")
    opened().sources.set_sources([])
    viewer.layers.selection = {fused}
    run("metrics")
    assert [layer.name for layer in opened().sources.get_sources()] == ["MR", "CT"]
    viewer.layers.remove(ct)
    ct_again = viewer.add_image(pair[0], name="MR")
    from napari_dip_fusion.plugin.layers.layer_record import find_sources

    assert find_sources(viewer, fused) == []
    assert ct_again in viewer.layers


def test_metrics_of_a_layer_of_any_origin(qtbot, viewer, opened, pair):
    viewer.add_image(pair[0] // 2 + pair[1] // 2, name="mine")
    viewer.layers.selection = set(viewer.layers)
    run("metrics")
    widget = opened()
    qtbot.waitUntil(lambda: len(widget.metrics.scores) == 4, timeout=20_000)
    assert next(iter(widget.metrics.scores)) == "mine"
    assert [layer.name for layer in widget.sources.get_sources()] == ["CT", "MR"]


@pytest.mark.filterwarnings("ignore:Non-orthogonal slicing")
@pytest.mark.parametrize(
    "key", [s.key for s in PluginManifest.from_distribution(PLUGIN).contributions.sample_data]
)
def test_samples_from_the_file_menu_can_be_fused(viewer, opened, key):
    viewer.layers.clear()
    viewer.open_sample(PLUGIN, key)
    sources = [x for x in viewer.layers if x.metadata["role"] == "source"]
    assert len(sources) >= 2
    run("widget")
    widget = opened()
    widget.sources.set_sources(sources)
    assert widget.sources.report.ok
