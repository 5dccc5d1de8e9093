"""The tab in a real viewer: from the button to layers and table, and whatever goes wrong."""

import csv
import gc
import weakref

import numpy as np
import pytest
from qtpy.QtCore import QThreadPool

from napari_dip_fusion.config import PRESETS
from napari_dip_fusion.metrics import DEFAULT_METRICS, METRICS
from napari_dip_fusion.plugin.running.active_runs import BUSY
from napari_dip_fusion.plugin.running.session import Phase

QUICK = ["average", "maximum", "wavelet"]


@pytest.fixture(autouse=True)
def _tiny_preset(monkeypatch):
    monkeypatch.setitem(PRESETS, "fast", {"iterations": 2, "width": 4, "depth": 2})


@pytest.fixture
def endless(monkeypatch):
    """Let the preset fast go on until it is stopped."""
    tiny = {
        "iterations": 100_000,
        "stop": "iterations",
        "network": "always",
        "width": 4,
        "depth": 2,
    }
    monkeypatch.setitem(PRESETS, "fast", tiny)


@pytest.fixture
def tab(widget):
    widget.show_tab(widget.compare_tab)
    widget.compare_tab.methods.set_chosen(QUICK)
    return widget.compare_tab


@pytest.fixture
def until_done(qtbot):
    def wait(tab):
        qtbot.waitUntil(lambda: tab.session.phase is Phase.IDLE, timeout=30_000)

    return wait


@pytest.fixture
def running(qtbot, endless, tab):
    """Return a tab whose first method is done, and whose second never ends."""
    tab.methods.set_chosen(["average", "dip-fast"])
    tab.run_button.native.click()
    qtbot.waitUntil(lambda: "%" in tab.running.value, timeout=20_000)
    return tab


def test_the_tabs_share_the_sources(widget):
    assert widget.compare_tab.native.isHidden()
    widget.tabs.setCurrentIndex(1)
    assert widget.fuse_tab.native.isHidden()
    assert not widget.compare_tab.native.isHidden()
    assert not widget.sources.native.isHidden()
    assert [widget.tabs.tabText(i) for i in range(2)] == ["Fuse", "Compare"]
    widget.show_tab(widget.fuse_tab)
    assert widget.compare_tab.native.isHidden()


def test_methods_from_the_button_to_layers_and_table(tab, viewer, until_done):
    viewer.layers["CT"].translate = viewer.layers["MR"].translate = (3, 4)
    viewer.layers["CT"].scale = viewer.layers["MR"].scale = (0.5, 0.25)
    tab.methods.set_chosen([*QUICK, "dip-fast"])
    tab.run_button.native.click()
    until_done(tab)
    added = viewer.layers[2:]
    assert [layer.name for layer in added] == [
        "average: CT + MR",
        "maximum: CT + MR",
        "wavelet: CT + MR",
        "DIP, fast: CT + MR",
    ]
    for layer in added:
        assert layer.data.shape == (32, 40)
        assert tuple(layer.contrast_limits) == (0, 1)
        assert layer.scale.tolist() == [0.5, 0.25]
        assert layer.translate.tolist() == [3, 4]
        known = layer.metadata["dip_fusion"]
        assert known["metrics"] == known["record"]["metrics"]
        assert known["plane"]["reference"] == "CT"
    assert "Done: 4 of 4" in tab.message.value
    grid = tab.table.table
    headings = [grid.horizontalHeaderItem(i).text() for i in range(grid.columnCount())]
    assert headings == ["Method", "Pe", "MI", "Q", "Cv", "s"]
    assert [grid.item(i, 0).text() for i in range(4)] == [
        "average", "maximum", "wavelet", "DIP, fast"
    ]  # fmt: skip
    best = [i for i in range(4) if grid.item(i, 1).font().bold()]
    second = [i for i in range(4) if grid.item(i, 1).font().underline()]
    assert len(best) == len(second) == 1
    assert not set(best) & set(second)
    assert "against CT, MR" in tab.table.status.value


def test_the_table_as_a_file(tab, until_done, tmp_path):
    tab.run_button.native.click()
    until_done(tab)
    tab.table.save_to(tmp_path / "comparison.csv")
    with (tmp_path / "comparison.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [r["method"] for r in rows] == QUICK
    assert list(rows[0]) == ["method", *DEFAULT_METRICS, "seconds"]
    assert float(rows[0]["seconds"]) >= 0


# All metrics need 41x41 pixels.
@pytest.mark.parametrize("pair", [(41, 42)], indirect=True)
def test_all_metrics_on_demand(tab, until_done):
    tab.all_metrics.value = True
    tab.run_button.native.click()
    until_done(tab)
    assert list(tab.table.rows[0].metrics) == list(METRICS)


@pytest.mark.parametrize("pair", [(41, 42)], indirect=True)
def test_all_metrics_of_a_comparison_that_was_made(qtbot, tab, viewer, until_done):
    tab.run_button.native.click()
    until_done(tab)
    first = [dict(row.metrics) for row in tab.table.rows]
    tab.all_metrics.value = True
    qtbot.waitUntil(lambda: list(tab.table.rows[0].metrics) == list(METRICS), timeout=20_000)
    assert len(tab.table.rows) == 3
    assert "against CT, MR" in tab.table.status.value
    tab.all_metrics.value = False
    assert [dict(row.metrics) for row in tab.table.rows] == first
    # What was not computed in time cannot be any more.
    tab.run_button.native.click()
    until_done(tab)
    layers = [result.layer for result in tab.session.results]
    viewer.layers.remove(layers[0])
    tab.all_metrics.value = True
    qtbot.waitUntil(lambda: len(tab.table.rows) == 2, timeout=20_000)
    tab.table.table.cellClicked.emit(0, 0)
    assert viewer.layers.selection.active == layers[1]
    for layer in layers[1:]:
        viewer.layers.remove(layer)
    assert tab.session.prepared is None


def test_the_own_settings_are_those_of_the_form(widget, tab, until_done):
    widget.settings.fields["iterations"].value = 4
    tab.methods.set_chosen(["dip-own"])
    tab.run_button.native.click()
    until_done(tab)
    layer = tab.session.results[0].layer
    assert layer.name == "DIP, own settings: CT + MR"
    config = layer.metadata["dip_fusion"]["record"]["config"]
    assert (config["fit"]["iterations"], config["network"]["width"]) == (4, 4)
    widget.viewer.layers.selection = {layer}
    widget.fuse_tab.recall_settings()
    assert "these are the settings of DIP, own settings" in widget.panel.message.value


def test_results_of_a_second_run_replace_no_layer(tab, viewer, until_done):
    for _ in range(2):
        tab.run_button.native.click()
        until_done(tab)
    names = [layer.name for layer in viewer.layers]
    assert len(set(names)) == len(names) == 2 + 2 * len(QUICK)
    assert len(tab.table.rows) == len(QUICK)


def test_sources_on_other_grids_and_in_color(make_widget, viewer, pair, until_done):
    viewer.layers.clear()
    viewer.add_image(pair[0], name="A")
    viewer.add_image(np.stack([pair[1]] * 2 + [pair[1] // 2], -1), name="B", rgb=True)
    viewer.layers["B"].translate = (2, 0)
    widget = make_widget(viewer)
    widget.compare_tab.methods.set_chosen(QUICK)
    widget.compare_tab.run_button.native.click()
    until_done(widget.compare_tab)
    for layer in viewer.layers[2:]:
        assert layer.rgb
        assert layer.data.shape == (32, 40, 3)


def test_results_of_a_plane_lie_on_their_slice(qtbot, make_widget, viewer, pair, until_done):
    place = {"scale": (3, 0.5, 0.25), "translate": (1, 2, 3), "units": ("um", "um", "um")}
    viewer.layers.clear()
    for name, image in zip(("CT", "MR"), pair, strict=True):
        viewer.add_image(np.stack([image, image[::-1], image]), name=name, **place)
    viewer.dims.set_current_step(0, 1)
    widget = make_widget(viewer)
    widget.sources.set_whole(False)
    tab = widget.compare_tab
    tab.methods.set_chosen(QUICK)
    tab.run_button.native.click()
    until_done(tab)
    tab.pair.difference_button.native.click()
    qtbot.waitUntil(lambda: len(viewer.layers) == 6, timeout=10_000)
    assert "wavelet: CT + MR" in viewer.layers[-1].name
    for layer in viewer.layers[2:]:
        assert layer.data.shape == (1, 32, 40)
        assert layer.scale.tolist() == [3, 0.5, 0.25]
        assert layer.translate.tolist() == [4, 2, 3]
        assert [f"{u}" for u in layer.units] == ["micrometer"] * 3
    viewer.dims.set_current_step(0, 0)
    tab.pair.difference_button.native.click()
    assert "no data at this slice" in tab.pair.message.value


def test_the_menu_of_metrics_knows_the_sources_of_a_result(qtbot, tab, widget, viewer, until_done):
    from napari_dip_fusion.plugin.commands import score_selected

    tab.run_button.native.click()
    until_done(tab)
    result = viewer.layers["wavelet: CT + MR"]
    viewer.layers.selection = {result}
    score_selected(viewer)
    assert not widget.fuse_tab.native.isHidden()
    qtbot.waitUntil(lambda: "wavelet: CT + MR" in widget.metrics.scores, timeout=20_000)
    assert widget.metrics.scores["wavelet: CT + MR"] == pytest.approx(
        result.metadata["dip_fusion"]["metrics"]
    )


def test_a_row_shows_its_layer_in_place_of_the_others(tab, viewer, until_done):
    tab.run_button.native.click()
    until_done(tab)
    tab.pair.flicker_button.native.click()
    tab.table.table.cellClicked.emit(1, 2)
    assert not tab.pair.flicker.running
    layer = viewer.layers["maximum: CT + MR"]
    assert viewer.layers.selection.active == layer
    assert [x.name for x in viewer.layers if x.visible] == ["CT", "MR", "maximum: CT + MR"]
    viewer.layers.remove(layer)
    tab.table.table.cellClicked.emit(1, 2)
    assert len(tab.table.rows) == 3


def test_the_memory_of_a_removed_result_is_released(qtbot, tab, viewer, until_done):
    tab.run_button.native.click()
    until_done(tab)
    QThreadPool.globalInstance().waitForDone(10_000)
    results = tab.session.results
    data = weakref.ref(results[0].layer.data)
    viewer.layers.remove("average: CT + MR")
    assert results[0].layer is None

    def gone():
        gc.collect()
        return data() is None

    qtbot.waitUntil(gone, timeout=10_000)


def test_nothing_to_run_is_said(tab, viewer):
    tab.methods.none_button.native.click()
    assert not tab.run_button.enabled
    tab.compare()
    assert "tick one method" in tab.message.value
    tab.methods.set_chosen(QUICK)
    assert tab.run_button.enabled
    viewer.layers.remove("MR")
    assert not tab.run_button.enabled
    tab.compare()
    assert "choose two or more" in tab.message.value


def test_stop_keeps_what_is_finished(running, viewer, until_done):
    assert running.progress.native.maximum() == 200
    assert running.running.value.startswith("Deep Image Prior, fast")
    assert running.run_button.enabled is False
    running.stop_button.native.click()
    assert running.session.phase is Phase.ENDING
    until_done(running)
    assert [layer.name for layer in viewer.layers] == ["CT", "MR", "average: CT + MR"]
    assert "Stopped: 1 of 2" in running.message.value
    assert len(running.table.rows) == 1
    assert running.run_button.enabled


def test_the_activity_bar_stops_the_run_and_goes(running, until_done):
    from napari.utils import progress

    bar = running.progress.activity
    assert bar in progress._all_instances
    bar.cancel()
    until_done(running)
    assert bar not in progress._all_instances


def test_a_source_removed_during_a_run(running, viewer, until_done):
    viewer.layers.remove("CT")
    assert "CT was removed; the run goes on" in running.message.value
    running.stop_button.native.click()
    until_done(running)
    assert "CT was removed" in running.message.value
    assert not running.run_button.enabled


def test_two_runs_at_once_are_refused(running, widget, make_widget, viewer, until_done):
    widget.fuse()
    assert widget.panel.message.value == BUSY
    other = make_widget(viewer)
    other.sources.set_sources([viewer.layers["CT"], viewer.layers["MR"]])
    other.compare_tab.run_button.native.click()
    assert other.compare_tab.message.value == BUSY
    assert other.compare_tab.session.phase is Phase.IDLE
    running.stop_button.native.click()
    until_done(running)
    other.compare_tab.methods.set_chosen(QUICK)
    other.compare_tab.run_button.native.click()
    until_done(other.compare_tab)
    assert "Done: 3 of 3" in other.compare_tab.message.value


def test_a_comparison_waits_for_a_fusion(qtbot, make_widget, viewer, until_idle):
    widget = make_widget(viewer, iterations=100_000, stop="iterations", patience=10_000)
    widget.panel.fuse_button.native.click()
    widget.compare_tab.run_button.native.click()
    assert widget.compare_tab.message.value == BUSY
    widget.panel.discard_button.native.click()
    until_idle(widget)


def test_a_runtime_error_reaches_the_user(tab, until_done, monkeypatch):
    from napari_dip_fusion.methods import maximum

    def broken(sources):
        raise RuntimeError("shapes cannot be multiplied")

    monkeypatch.setattr(maximum, "maximum", broken)
    tab.run_button.native.click()
    until_done(tab)
    assert "Done: 2 of 3" in tab.message.value
    assert "maximum left out" in tab.message.value
    assert "shapes cannot be multiplied" in tab.message.value


def test_sources_that_cannot_be_read_end_the_run(tab, viewer, until_done, monkeypatch):
    from napari_dip_fusion.plugin.layers.plane_reader import PlaneReader

    def broken(self):
        raise RuntimeError("the disk is gone")

    monkeypatch.setattr(PlaneReader, "read", broken)
    tab.run_button.native.click()
    until_done(tab)
    assert "The comparison failed: RuntimeError: the disk is gone" in tab.message.value
    assert tab.run_button.enabled
    assert len(viewer.layers) == 2


def test_the_viewer_closed_during_a_run(running, viewer):
    viewer.close()
    assert QThreadPool.globalInstance().waitForDone(10_000)


def test_the_dock_closed_during_a_run(running, widget, viewer):
    viewer.window.remove_dock_widget(widget.native)
    assert QThreadPool.globalInstance().waitForDone(10_000)
    viewer.layers.remove("CT")
    assert len(viewer.layers) == 2


def test_the_end_suggests_the_last_two_results(tab, viewer, until_done):
    tab.run_button.native.click()
    until_done(tab)
    names = [layer.name for layer in tab.pair.get_pair()]
    assert names == ["wavelet: CT + MR", "maximum: CT + MR"]


def test_narrow_enough_for_a_dock(tab, until_done):
    tab.run_button.native.click()
    until_done(tab)
    assert tab.native.minimumSizeHint().width() <= 338
