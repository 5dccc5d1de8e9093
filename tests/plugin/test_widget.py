import threading

import numpy as np
import pytest
from magicgui.widgets import Container
from napari.utils.notifications import notification_manager

from napari_dip_fusion.fusion import Done, Preview
from napari_dip_fusion.interruption import checkpoint
from napari_dip_fusion.methods.baselines import BASELINES
from napari_dip_fusion.metrics import METRICS
from napari_dip_fusion.plugin.running.scores import Scores


def scored(qtbot, widget, rows):
    qtbot.waitUntil(lambda: len(widget.metrics.scores) == rows, timeout=20_000)


def test_the_dock_widget_is_a_container_of_magicgui(widget, viewer):
    assert isinstance(widget, Container)
    assert list(viewer.window.dock_widgets.values()) == [widget]


def test_two_open_images_are_ready_to_fuse(widget):
    assert [layer.name for layer in widget.sources.get_sources()] == ["CT", "MR"]
    assert widget.panel.fuse_button.enabled
    assert "MB" in widget.panel.need.value
    assert widget.sources.status.value.startswith("✓")


def test_a_fusion_from_the_button_to_the_table(qtbot, widget, viewer, until_idle):
    widget.panel.fuse_button.native.click()
    until_idle(widget)
    layer = viewer.layers["fused CT + MR"]
    stored = layer.metadata["dip_fusion"]
    assert stored["record"]["iterations"] == 3
    assert [s["name"] for s in stored["record"]["sources"]] == ["CT", "MR"]
    assert layer.data.shape == (32, 40)
    assert 0 <= layer.data.min() < layer.data.max() <= 1
    assert "Done: 3 iterations" in widget.panel.message.value
    assert len(widget.panel.plot.loss_curve.yData) == 3
    scored(qtbot, widget, 4)
    assert list(widget.metrics.scores) == ["fused CT + MR", *BASELINES]
    assert widget.metrics.scores["fused CT + MR"] == stored["metrics"]


# All metrics need 41x41 pixels.
@pytest.mark.parametrize("pair", [(41, 42)], indirect=True)
def test_nothing_is_read_or_estimated_again_after_a_run(
    qtbot, widget, viewer, until_idle, monkeypatch
):
    from napari_dip_fusion.plugin.layers.plane_reader import PlaneReader
    from napari_dip_fusion.plugin.running import scores

    read = []
    real = PlaneReader.read
    monkeypatch.setattr(PlaneReader, "read", lambda self: read.append(self.name) or real(self))
    monkeypatch.setattr(scores, "estimate_gains", None)
    widget.metrics.all_metrics.value = True
    widget.panel.more.setValue(1)
    for press in (widget.panel.fuse_button, widget.panel.continue_button):
        widget.metrics.show_scores(Scores((), {}), ())
        press.native.click()
        until_idle(widget)
        scored(qtbot, widget, 4)
        assert list(widget.metrics.scores["fused CT + MR"]) == list(METRICS)
    assert read == ["CT", "MR"]
    stored = viewer.layers["fused CT + MR"].metadata["dip_fusion"]["metrics"]
    shown = widget.metrics.scores["fused CT + MR"]
    assert {name: shown[name] for name in stored} == stored


def test_a_run_that_ended_holds_no_sources(widget, until_idle):
    widget.panel.fuse_button.native.click()
    until_idle(widget)
    plan = widget.session.plan
    assert (plan.layers, plan.readers) == ((), ())
    assert plan.names == ("CT", "MR")
    assert widget.session.can_continue
    assert widget.panel.more.value() == 100
    widget.panel.more.setValue(2)
    widget.panel.continue_button.native.click()
    until_idle(widget)
    assert "Done: 5 iterations" in widget.panel.message.value


def test_the_copies_name_the_layers_of_the_run(widget, viewer, pair, until_idle):
    button = widget.fuse_tab.code.script_button
    assert button.tooltip == "Python code for napari: a run of the ticked layers as set now."
    widget.panel.fuse_button.native.click()
    until_idle(widget)
    viewer.add_image(pair[0], name="PET")
    widget.sources.set_sources([viewer.layers["MR"], viewer.layers["PET"]])
    assert button.tooltip == "Python code for napari: the last run, of CT + MR."
    widget.fuse_tab.code.copy_script()
    assert widget.panel.message.value == "copied to the clipboard: the last run, of CT + MR"


def test_the_consensus_image_is_shown_before_the_first_iteration(qtbot, widget, viewer):
    shown = []

    def note(event):
        if isinstance(event, Preview):
            value = widget.panel.progress.native.value()
            shown.append((event.iteration, value, np.array(viewer.layers["fused CT + MR"].data)))

    widget.session.reported.connect(note)
    with qtbot.waitSignal(widget.session.reported, check_params_cb=lambda e: isinstance(e, Done)):
        widget.panel.fuse_button.native.click()
    iteration, progress, image = shown[0]
    assert iteration == 0
    assert progress <= 0
    assert 0 <= image.min() < image.max() <= 1


def test_a_method_without_iterations_has_no_plot(widget, viewer, until_idle):
    widget.settings.fields["method"].value = "average"
    widget.panel.fuse_button.native.click()
    until_idle(widget)
    assert widget.panel.message.value.startswith("Done in ")
    assert widget.panel.plot.isHidden()
    assert widget.panel.continue_row.native.isHidden()
    assert viewer.layers["fused CT + MR"].data.shape == (32, 40)


def test_results_never_replace_a_layer(widget, viewer, until_idle):
    viewer.add_image(np.zeros((4, 4)), name="fused CT + MR")
    for _ in range(2):
        widget.panel.fuse_button.native.click()
        until_idle(widget)
    names = [layer.name for layer in viewer.layers]
    assert len(set(names)) == len(names) == 5
    assert viewer.layers["fused CT + MR"].data.shape == (4, 4)


def test_gain_maps_and_consensus_come_at_once(qtbot, widget, viewer):
    widget.settings.fields["band_sigma"].value = 0
    widget.panel.gains_button.native.click()
    qtbot.waitUntil(lambda: len(viewer.layers) == 5, timeout=10_000)
    names = [layer.name for layer in viewer.layers]
    assert names[2:] == ["CT gain", "MR gain", "consensus CT + MR"]
    gains = [viewer.layers[n] for n in ("CT gain", "MR gain")]
    assert {g.colormap.name for g in gains} == {"viridis"}
    assert {tuple(g.contrast_limits) for g in gains} == {(0, 1)}
    np.testing.assert_allclose(np.max([g.data for g in gains], axis=0), 1)
    assert widget.panel.message.value == ""


def test_gain_maps_and_metrics_get_no_layers_in_their_thread(qtbot, widget, monkeypatch):
    from napari_dip_fusion.plugin.tabs import gain_maps, scoring

    plans = []

    def take(plan, *others):
        plans.append(plan)
        raise ValueError("seen")

    monkeypatch.setattr(gain_maps, "_estimate_gains", take)
    monkeypatch.setattr(scoring, "score_layers", take)
    widget.panel.gains_button.native.click()
    widget.compute_metrics()
    qtbot.waitUntil(lambda: widget.panel.message.value == widget.metrics.status.value == "seen")
    assert [plan.layers for plan in plans] == [(), ()]


def test_two_bands_have_gain_maps_of_their_own(qtbot, widget, viewer):
    widget.panel.gains_button.native.click()
    qtbot.waitUntil(lambda: len(viewer.layers) == 7, timeout=10_000)
    assert [layer.name for layer in viewer.layers][2:6] == [
        *("CT gain (base)", "CT gain (details)", "MR gain (base)", "MR gain (details)")
    ]


def test_settings_that_do_not_go_together_are_explained(widget):
    widget.settings.fields["patch_size"].value = 4
    assert "patch_size must be odd" in widget.panel.need.value
    assert not widget.panel.fuse_button.enabled


def test_too_little_memory_is_said_before_and_by_the_run(widget, until_idle, monkeypatch):
    import napari_dip_fusion.fusion.memory as core
    from napari_dip_fusion.plugin.running import forecast as module

    monkeypatch.setattr(module, "measure_free_memory", lambda device: 1000)
    monkeypatch.setattr(core, "measure_free_memory", lambda device: 1000)
    widget.settings.fields["seed"].value = 1
    assert "smaller width" in widget.panel.need.value
    widget.panel.fuse_button.native.click()
    until_idle(widget)
    assert "0.0 GB free; free memory, or use" in widget.panel.message.value


def test_a_plane_of_a_stack_lands_on_its_slice(make_widget, viewer, pair, until_idle):
    options = {
        "scale": (3.0, 0.5, 0.25),
        "translate": (1.0, 2.0, 3.0),
        "rotate": (0, 0, 0),
        "units": ("um", "um", "um"),
        "axis_labels": ("z", "y", "x"),
    }
    viewer.layers.clear()
    for name, image in zip(("CT", "MR"), pair, strict=True):
        viewer.add_image(np.stack([image, image[::-1], image]), name=name, **options)
    viewer.dims.set_current_step(0, 1)
    widget = make_widget(viewer)
    widget.sources.set_sources(viewer.layers)
    widget.sources.set_whole(False)
    widget.panel.fuse_button.native.click()
    until_idle(widget)
    fused = viewer.layers["fused CT + MR z=1"]
    assert fused.data.shape == (1, 32, 40)
    assert fused.translate.tolist() == [4.0, 2.0, 3.0]
    assert fused.scale.tolist() == [3.0, 0.5, 0.25]
    assert fused.axis_labels == ("z", "y", "x")
    assert [f"{u}" for u in fused.units] == ["micrometer"] * 3
    assert fused.metadata["dip_fusion"]["plane"]["slice"] == [1, None, None]


def test_layers_on_other_grids_are_resampled(widget, viewer, until_idle):
    viewer.layers["MR"].translate = (4, 0)
    widget.sources.check()
    assert "will be brought to the grid" in widget.sources.status.value
    assert not widget.sources.interpolation_box.native.isHidden()
    widget.panel.fuse_button.native.click()
    until_idle(widget)
    assert viewer.layers["fused CT + MR"].data.shape == (32, 40)


def test_the_reference_gives_the_grid(widget, viewer, until_idle):
    viewer.layers["MR"].scale = (2, 2)
    widget.sources.set_reference(viewer.layers["MR"])
    widget.sources.check()
    widget.panel.fuse_button.native.click()
    until_idle(widget)
    assert viewer.layers["fused CT + MR"].scale.tolist() == [2, 2]


def test_levels_of_a_pyramid_can_be_chosen(make_widget, viewer, pair, until_idle):
    viewer.layers.clear()
    for name, image in zip(("CT", "MR"), pair, strict=True):
        viewer.add_image([image, image[::2, ::2]], name=name, multiscale=True)
    widget = make_widget(viewer)
    widget.sources.set_sources(viewer.layers)
    box = widget.sources.level_box
    assert [box.native.itemText(i) for i in range(box.native.count())] == [
        "auto",
        "0 (32 x 40)",
        "1 (16 x 20)",
    ]
    box.value = 1
    widget.panel.fuse_button.native.click()
    until_idle(widget)
    fused = viewer.layers["fused CT + MR"]
    assert fused.data.shape == (16, 20)
    assert fused.scale.tolist() == [2, 2]


def test_the_levels_follow_the_data_of_the_reference(make_widget, viewer, pair, until_idle):
    viewer.layers.clear()
    for name, image in zip(("CT", "MR"), pair, strict=True):
        levels = [np.kron(image, np.ones((2, 2), np.uint8)), image, image[::2, ::2]]
        viewer.add_image(levels, name=name, multiscale=True)
    widget = make_widget(viewer)
    widget.sources.set_sources(viewer.layers)
    box = widget.sources.level_box
    box.value = 2
    for layer in viewer.layers:
        layer.data = layer.data[1:]
    assert [box.native.itemText(i) for i in range(box.native.count())] == [
        "auto",
        "0 (32 x 40)",
        "1 (16 x 20)",
    ]
    assert box.value == "auto"
    widget.panel.fuse_button.native.click()
    until_idle(widget)
    assert viewer.layers["fused CT + MR"].data.shape == (32, 40)


def test_color_stays_color(make_widget, viewer, pair, until_idle):
    viewer.layers.clear()
    for name, image in zip(("A", "B"), pair, strict=True):
        viewer.add_image(np.stack([image, image // 2, image // 3], axis=-1), name=name, rgb=True)
    widget = make_widget(viewer)
    widget.panel.fuse_button.native.click()
    until_idle(widget)
    assert viewer.layers["fused A + B"].data.shape == (32, 40, 3)
    assert viewer.layers["fused A + B"].rgb


def test_contrast_limits_as_intensity_windows(widget, viewer, until_idle):
    viewer.layers["CT"].contrast_limits = (10, 90)
    viewer.layers["MR"].contrast_limits = (20, 120)
    widget.settings.intensity.mode.value = "contrast limits"
    widget.panel.fuse_button.native.click()
    until_idle(widget)
    record = viewer.layers["fused CT + MR"].metadata["dip_fusion"]["record"]
    assert [s["intensity_window"] for s in record["sources"]] == [[10, 90], [20, 120]]


def test_a_run_that_ended_at_once_leaves_no_bar(widget):
    from napari.utils import progress

    before = len(progress._all_instances)
    widget.panel.begin(3, afresh=True)
    assert len(progress._all_instances) == before


def test_themes_and_activity(make_widget, viewer, until_idle):
    from napari.utils import progress
    from napari.utils.theme import get_theme

    widget = make_widget(viewer, iterations=100_000, patience=10_000)
    before = len(progress._all_instances)
    for theme in ("light", "dark"):
        viewer.theme = theme
        shown = widget.panel.plot.backgroundBrush().color().name()
        assert shown == get_theme(theme).background.as_hex(format="long")
    widget.panel.fuse_button.native.click()
    assert len(progress._all_instances) == before + 1
    widget.panel.stop_button.native.click()
    until_idle(widget)
    assert len(progress._all_instances) == before


def test_a_clean_pair_is_done_at_once_and_the_network_is_one_click_away(
    qtbot, widget, viewer, until_idle
):
    widget.settings.fields["network"].value = "auto"
    widget.panel.fuse_button.native.click()
    until_idle(widget)
    exact = np.array(viewer.layers["fused CT + MR"].data)
    assert "(exact: nothing for a prior to restore)" in widget.panel.message.value
    assert not widget.panel.network_button.native.isHidden()
    assert widget.panel.continue_row.native.isHidden()
    widget.panel.network_button.native.click()
    until_idle(widget)
    assert "Done: 3 iterations" in widget.panel.message.value
    assert widget.panel.network_button.native.isHidden()
    assert np.abs(viewer.layers["fused CT + MR [1]"].data - exact).mean() > 0.01
    assert widget.settings.fields["network"].value == "auto"


def test_what_the_network_makes_on_the_way_has_a_layer_of_its_own(
    qtbot, make_widget, viewer, until_idle
):
    widget = make_widget(viewer, iterations=2000, stop="iterations")
    widget.panel.fuse_button.native.click()
    qtbot.waitUntil(lambda: len(viewer.layers) == 4, timeout=20_000)
    # Under the fused image, which stays the consensus until the end.
    names = [layer.name for layer in viewer.layers]
    assert names == ["CT", "MR", "network of CT + MR (preview)", "fused CT + MR"]
    assert "iterations/s" in widget.panel.speed.value
    assert widget.panel.progress.native.maximum() == 2000
    network, fused = viewer.layers[2], viewer.layers[3]
    consensus, first = np.array(fused.data), network.data
    qtbot.waitUntil(lambda: network.data is not first, timeout=20_000)
    np.testing.assert_array_equal(fused.data, consensus)
    widget.panel.stop_button.native.click()
    until_idle(widget)
    np.testing.assert_array_equal(consensus, widget.session.result.consensus.clip(0, 1))
    assert [layer.name for layer in viewer.layers] == ["CT", "MR", "fused CT + MR"]
    assert viewer.layers.selection.active == viewer.layers["fused CT + MR"]
    assert "stopped" in viewer.layers[2].metadata["dip_fusion"]["record"]["stop_reason"]


def test_one_iteration_is_told_as_one(make_widget, viewer, until_idle):
    widget = make_widget(viewer, iterations=1)
    widget.panel.fuse_button.native.click()
    until_idle(widget)
    assert widget.panel.message.value.startswith("Done: 1 iteration in ")
    widget.panel.more.setValue(1)
    assert widget.panel.more.text() == "1 iteration"


def test_a_source_that_shows_nothing_is_told_before_the_run(widget, viewer, until_idle):
    viewer.layers["MR"].contrast_limits_range = (0, 1e6)
    viewer.layers["MR"].contrast_limits = (0, 1e6)
    widget.settings.intensity.mode.value = "contrast limits"
    widget.panel.fuse_button.native.click()
    until_idle(widget)
    told = [record.message for record in notification_manager.records]
    assert any("MR is nearly constant here" in text for text in told)
    assert "fused CT + MR" in viewer.layers


def test_the_record_of_a_result_says_whose_grid_it_has(widget, viewer, until_idle):
    viewer.layers["MR"].scale = (0.5, 0.5)
    widget.sources.check()
    assert "finest: MR" in widget.sources.reference_box.native.currentText()
    widget.panel.fuse_button.native.click()
    until_idle(widget)
    fused = viewer.layers["fused CT + MR"]
    assert fused.scale.tolist() == [0.5, 0.5]
    record = fused.metadata["dip_fusion"]["record"]
    assert record["plane"]["reference"] == "MR"
    # No file holds these layers, so that there is nothing to choose from them.
    assert "choice" not in record


def test_gain_maps_can_be_stopped(qtbot, widget, viewer, monkeypatch):
    from napari_dip_fusion.fusion import frames

    begun, go_on = threading.Event(), threading.Event()

    def find(*arguments, **options):
        begun.set()
        go_on.wait(20)
        checkpoint()
        raise AssertionError("nobody stopped this")

    monkeypatch.setattr(frames, "analyze", find)
    button = widget.panel.gains_button
    button.native.click()
    assert button.text == "Stop gain maps"
    assert begun.wait(20)
    button.native.click()
    go_on.set()
    qtbot.waitUntil(lambda: button.text == "Gain maps", timeout=10_000)
    assert widget.panel.message.value == "stopped before there was an image; nothing was kept"
    assert [layer.name for layer in viewer.layers] == ["CT", "MR"]
