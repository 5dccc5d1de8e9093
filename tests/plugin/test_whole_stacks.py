"""Volumes and series fused whole, from the buttons to the layers."""

import numpy as np
import pytest

from napari_dip_fusion.fusion import Decided, Done, Preview
from napari_dip_fusion.fusion.events import FrameDone
from napari_dip_fusion.methods.baselines import BASELINES
from napari_dip_fusion.plugin import fuse_layers
from napari_dip_fusion.plugin.layers.result_layers import ROLE
from napari_dip_fusion.plugin.running.run_events import FirstLook

# What napari says of layers that lie oblique, whose planes it draws as if they did not.
pytestmark = pytest.mark.filterwarnings("ignore:Non-orthogonal slicing")

PLACE = {"scale": (2.0, 1.0, 1.0), "units": ("mm", "mm", "mm"), "axis_labels": ("z", "y", "x")}
SERIES = {"units": ("s", "um", "um"), "axis_labels": ("t", "y", "x")}
OBLIQUE = {
    "scale": (2.0, 1.0, 1.0),
    "translate": (5.0, -3.0, 2.0),
    "rotate": (10, 20, 30),
    "shear": (0.1, 0.0, 0.05),
    "affine": np.array([[1, 0.1, 0, 4], [0, 1, 0, 5], [0, 0.1, 1, 6], [0, 0, 0, 1.0]]),
    "units": ("mm", "mm", "mm"),
    "axis_labels": ("z", "y", "x"),
}


def stack(image, planes=3):
    return np.stack([np.roll(image, 2 * i, axis=1) for i in range(planes)])


def show_stacks(viewer, pair, place=None, planes=3):
    viewer.layers.clear()
    for name, image in zip(("CT", "MR"), pair, strict=True):
        viewer.add_image(stack(image, planes), name=name, **(PLACE if place is None else place))
    return viewer


@pytest.fixture
def volumes(viewer, pair):
    """Return a viewer of two volumes."""
    show_stacks(viewer, pair)
    viewer.dims.set_current_step(0, 1)
    return viewer


@pytest.fixture
def until_scored(qtbot):
    def wait(widget):
        qtbot.waitUntil(lambda: widget.metrics.status.value.startswith("against"), timeout=30_000)
        qtbot.waitUntil(lambda: len(widget.metrics.scores) >= 4, timeout=30_000)

    return wait


def test_a_volume_from_the_button_to_the_table(
    make_widget, volumes, until_idle, until_scored, qtbot
):
    widget = make_widget(volumes, network="auto")
    assert widget.sources.extent_box.native.currentText() == "Whole stack"
    assert "3 planes of 32x40, z y x" in widget.sources.status.value
    widget.panel.fuse_button.native.click()
    until_idle(widget)
    layer = volumes.layers["fused CT + MR"]
    assert layer.data.shape == (3, 32, 40)
    assert all(0 < plane.max() <= 1 for plane in layer.data)
    stored = layer.metadata["dip_fusion"]
    assert stored["plane"]["slice"] == [None, None, None]
    assert stored["record"]["axes"] == ["z", "y", "x"]
    until_scored(widget)
    assert list(widget.metrics.scores) == ["fused CT + MR", *BASELINES]
    assert widget.metrics.scores["fused CT + MR"] == pytest.approx(stored["metrics"])
    assert widget.metrics.heading.value == "<b>Mean over 3 planes</b>"
    plot = widget.metrics.planes.plot
    assert len(plot.curves) == 4
    assert plot.line.value() == 1
    assert widget.fuse_tab.plane_finder.find_layer() is None


@pytest.mark.parametrize("place", [PLACE, OBLIQUE, SERIES, {}])
def test_all_that_is_added_lies_in_its_place(make_widget, viewer, pair, until_idle, qtbot, place):
    show_stacks(viewer, pair, place)
    reference = viewer.layers["CT"]
    widget = make_widget(viewer)
    widget.panel.fuse_button.native.click()
    until_idle(widget)
    widget.panel.gains_button.native.click()
    qtbot.waitUntil(lambda: "consensus CT + MR" in viewer.layers, timeout=20_000)
    added = [layer for layer in viewer.layers if layer.name not in ("CT", "MR")]
    assert {layer.metadata.get(ROLE) for layer in added} == {None, "gains", "consensus"}
    assert len(added) >= 4
    for layer in added:
        assert layer.data.shape == (3, 32, 40)
        assert layer.units == reference.units
        assert layer.axis_labels == reference.axis_labels
        for pixel in ((0, 0, 0), (2, 31, 39)):
            np.testing.assert_allclose(layer.data_to_world(pixel), reference.data_to_world(pixel))
    viewer.dims.ndisplay = 3
    assert viewer.layers["fused CT + MR"].visible


def test_first_comes_the_plane_on_the_screen(make_widget, volumes, until_idle):
    widget = make_widget(volumes)
    seen = []

    def note(event):
        if isinstance(event, FirstLook | Decided | Preview):
            data = volumes.layers["fused CT + MR"].data
            seen.append((type(event), [bool(plane.any()) for plane in data]))

    widget.session.reported.connect(note)
    widget.panel.fuse_button.native.click()
    until_idle(widget)
    assert seen[0] == (FirstLook, [False, True, False])
    assert seen[1] == (Decided, [False, True, False])
    assert seen[2] == (Preview, [True, True, True])


def test_without_previews_there_is_no_first_look(make_widget, volumes, until_idle):
    widget = make_widget(volumes)
    widget.settings.preview_rate.value = 0
    seen = []
    widget.session.reported.connect(lambda event: seen.append(type(event)))
    widget.panel.fuse_button.native.click()
    until_idle(widget)
    assert FirstLook not in seen
    assert seen[-1] is Done


def test_another_orientation_is_filled_across_the_planes(make_widget, volumes, until_idle):
    volumes.dims.order = (1, 0, 2)
    volumes.dims.set_current_step(1, 16)
    widget = make_widget(volumes)
    seen = []

    def note(event):
        if isinstance(event, FirstLook):
            seen.append(np.array(volumes.layers["fused CT + MR"].data))

    # Three planes are too few to be fused across, so that nothing is shown of them.
    widget.session.reported.connect(note)
    widget.panel.fuse_button.native.click()
    until_idle(widget)
    assert seen == []
    show_stacks(volumes, [volumes.layers["CT"].data[0], volumes.layers["MR"].data[0]], planes=12)
    volumes.dims.order = (1, 0, 2)
    volumes.dims.set_current_step(1, 16)
    widget.panel.fuse_button.native.click()
    until_idle(widget)
    (first,) = seen
    assert [row for row in range(32) if first[:, row].any()] == [volumes.dims.current_step[1]]


def test_the_network_previews_the_plane_on_the_screen(make_widget, volumes, until_idle):
    widget = make_widget(volumes, network="always", iterations=60, stop="iterations")
    shown = []

    def note(event):
        if isinstance(event, Preview) and event.iteration:
            layer = volumes.layers["network of CT + MR (preview)"]
            shown.append((event.plane, [bool(plane.any()) for plane in layer.data]))

    widget.session.reported.connect(note)
    widget.panel.fuse_button.native.click()
    until_idle(widget)
    assert shown[0] == ((1,), [False, True, False])
    assert "network of CT + MR (preview)" not in volumes.layers


def test_a_run_on_a_volume_goes_on(make_widget, volumes, until_idle):
    widget = make_widget(volumes, network="always")
    widget.panel.fuse_button.native.click()
    until_idle(widget)
    before = np.array(volumes.layers["fused CT + MR"].data)
    widget.panel.more.setValue(2)
    widget.panel.continue_button.native.click()
    until_idle(widget)
    layer = volumes.layers["fused CT + MR"]
    assert "Done: 5 iterations" in widget.panel.message.value
    assert layer.data.shape == (3, 32, 40)
    assert not np.array_equal(layer.data, before)


@pytest.mark.parametrize("place", [PLACE, SERIES])
@pytest.mark.parametrize("button", ["stop_button", "discard_button"])
def test_a_run_on_a_stack_can_be_ended(make_widget, viewer, pair, until_idle, qtbot, place, button):
    show_stacks(viewer, pair, place)
    # Of a series the first frame is fused first.
    viewer.dims.set_current_step(0, 0)
    widget = make_widget(viewer, network="always", iterations=2000, stop="iterations")
    widget.panel.fuse_button.native.click()
    qtbot.waitUntil(lambda: "network of CT + MR (preview)" in viewer.layers, timeout=30_000)
    widget.panel.pause_button.native.click()
    qtbot.wait(300)
    assert widget.session.phase.name == "PAUSED"
    widget.panel.pause_button.native.click()
    getattr(widget.panel, button).native.click()
    until_idle(widget)
    names = [layer.name for layer in viewer.layers]
    if button == "discard_button":
        assert names == ["CT", "MR"]
        assert widget.panel.message.value == "Discarded."
    else:
        assert names == ["CT", "MR", "fused CT + MR"]
        assert viewer.layers["fused CT + MR"].data.shape == (3, 32, 40)
        assert viewer.layers["fused CT + MR"].data[0].any()


def test_a_stop_before_there_is_an_image_leaves_none(make_widget, volumes, until_idle):
    widget = make_widget(volumes)
    widget.panel.fuse_button.native.click()
    widget.panel.stop_button.native.click()
    until_idle(widget)
    assert [layer.name for layer in volumes.layers][:2] == ["CT", "MR"]


def test_color_stacks_stay_in_color(make_widget, viewer, pair, until_idle):
    viewer.layers.clear()
    red = np.stack([pair[0], pair[1], pair[1]], axis=-1)
    viewer.add_image(np.stack([red, red[::-1], red]), name="CT", rgb=True, **PLACE)
    viewer.add_image(stack(pair[1]), name="MR", **PLACE)
    widget = make_widget(viewer)
    assert "3 planes of 32x40" in widget.sources.status.value
    widget.panel.fuse_button.native.click()
    until_idle(widget)
    layer = viewer.layers["fused CT + MR"]
    assert layer.rgb
    assert layer.data.shape == (3, 32, 40, 3)
    assert layer.ndim == 3
    assert np.ptp(layer.data, axis=-1).max() > 0.05


def test_stacks_on_other_grids_are_resampled(make_widget, viewer, pair, until_idle, until_scored):
    show_stacks(viewer, pair, planes=4)
    viewer.layers["MR"].scale = (3.0, 1.5, 1.5)
    widget = make_widget(viewer)
    assert "MR will be brought to the grid of CT" in widget.sources.status.value
    widget.panel.fuse_button.native.click()
    until_idle(widget)
    assert viewer.layers["fused CT + MR"].data.shape == (4, 32, 40)
    # Any layer is scored on that grid.
    widget.metrics.candidate_box.value = viewer.layers["MR"]
    widget.metrics.add_button.native.click()
    until_scored(widget)
    assert list(widget.metrics.scores)[:2] == ["fused CT + MR", "MR"]


def test_series_of_other_lengths_end_in_one_line(make_widget, viewer, pair):
    show_stacks(viewer, pair, SERIES)
    viewer.layers["MR"].data = stack(pair[1], 4)
    widget = make_widget(viewer)
    widget.sources.set_sources(viewer.layers)
    widget.sources.set_whole(True)
    assert "CT has 3 frames along t and MR 4" in widget.sources.status.value or (
        "MR has 4 frames along t and CT 3" in widget.sources.status.value
    )
    assert not widget.panel.fuse_button.enabled


def test_the_plane_alone_is_one_choice_away(make_widget, volumes, until_idle):
    widget = make_widget(volumes)
    widget.sources.extent_box.value = False
    widget.panel.fuse_button.native.click()
    until_idle(widget)
    assert volumes.layers["fused CT + MR z=1"].data.shape == (1, 32, 40)
    assert widget.metrics.heading.native.isHidden()


def test_methods_are_compared_on_whole_stacks(make_widget, volumes, qtbot):
    widget = make_widget(volumes)
    tab = widget.compare_tab
    widget.show_tab(tab)
    tab.methods.set_chosen(["average", "maximum"])
    tab.run_button.native.click()
    qtbot.waitUntil(lambda: tab.session.phase.name == "IDLE", timeout=30_000)
    assert "Done: 2 of 2 methods." in tab.message.value
    for result in tab.session.results:
        assert result.layer.data.shape == (3, 32, 40)
    assert "mean over 3 planes" in tab.table.status.value
    tab.show_result(0)
    assert volumes.dims.current_step[0] == 1
    tab.pair.difference_button.native.click()
    name = "maximum: CT + MR - average: CT + MR"
    qtbot.waitUntil(lambda: name in volumes.layers, timeout=10_000)
    assert volumes.layers[name].data.shape == (3, 32, 40)
    tab.pair.flicker_button.native.click()
    assert tab.pair.flicker.running
    tab.pair.flicker_button.native.click()


@pytest.mark.parametrize("pair", [(41, 42)], indirect=True)
def test_other_metrics_of_a_comparison_of_stacks(make_widget, volumes, qtbot):
    widget = make_widget(volumes)
    tab = widget.compare_tab
    tab.methods.set_chosen(["average"])
    tab.run_button.native.click()
    qtbot.waitUntil(lambda: tab.session.phase.name == "IDLE", timeout=30_000)
    tab.all_metrics.value = True
    qtbot.waitUntil(lambda: "vif" in tab.session.results[0].metrics, timeout=30_000)


@pytest.mark.parametrize("place", [PLACE, SERIES])
def test_a_script_fuses_whole_stacks(viewer_without_window, pair, place):
    viewer = show_stacks(viewer_without_window, pair, place)
    options = {"iterations": 2, "width": 4, "depth": 2, "threads": 1}
    result = fuse_layers(viewer, ["CT", "MR"], whole=True, consensus=True, **options)
    assert result.image.shape == (3, 32, 40)
    for layer in viewer.layers:
        assert layer.data.shape == (3, 32, 40)
        np.testing.assert_allclose(layer.scale, viewer.layers["CT"].scale)
    assert viewer.layers[-1].name == "fused CT + MR"
    plane = fuse_layers(viewer, ["CT", "MR"], gains=False, **options)
    assert plane.image.shape == (32, 40)


def test_the_baselines_of_large_stacks_are_scored_on_demand(
    make_widget, volumes, until_idle, until_scored, qtbot, monkeypatch
):
    from napari_dip_fusion.plugin.tabs import scoring

    monkeypatch.setattr(scoring, "_MOST_AT_ONCE", 1000)
    widget = make_widget(volumes, network="auto")
    widget.panel.fuse_button.native.click()
    until_idle(widget)
    qtbot.waitUntil(lambda: "Compute adds" in widget.metrics.status.value, timeout=10_000)
    assert list(widget.metrics.scores) == ["fused CT + MR"]
    widget.metrics.compute_button.native.click()
    until_scored(widget)
    assert list(widget.metrics.scores) == ["fused CT + MR", *BASELINES]
    assert "Compute adds" not in widget.metrics.status.value


def test_the_image_is_not_scored_again_as_its_own_baseline(
    make_widget, volumes, until_idle, until_scored, monkeypatch
):
    from napari_dip_fusion.plugin.running import scores

    scored = []
    real = scores.evaluate_planes
    monkeypatch.setattr(
        scores, "evaluate_planes", lambda *a, **k: scored.append(1) or real(*a, **k)
    )
    widget = make_widget(volumes, network="never")
    widget.panel.fuse_button.native.click()
    until_idle(widget)
    until_scored(widget)
    assert len(scored) == 2
    rows = widget.metrics.scores
    assert rows["consensus"] == rows["fused CT + MR"]


def test_a_volume_is_fused_while_it_is_shown_in_3_d(make_widget, volumes, until_idle):
    volumes.dims.ndisplay = 3
    widget = make_widget(volumes)
    seen = []

    def note(event):
        if isinstance(event, FirstLook):
            data = volumes.layers["fused CT + MR"].data
            seen.append([bool(plane.any()) for plane in data])

    widget.session.reported.connect(note)
    widget.panel.fuse_button.native.click()
    until_idle(widget)
    # The plane that the slider is at, though there is no slider to be seen.
    assert seen == [[False, True, False]]
    assert volumes.dims.ndisplay == 3
    assert volumes.layers["fused CT + MR"].data.shape == (3, 32, 40)


def test_a_frame_that_fails_is_told_and_the_others_are_kept(
    make_widget, viewer, pair, until_idle, monkeypatch
):
    from napari_dip_fusion.fusion import frames

    show_stacks(viewer, pair, SERIES)
    viewer.dims.set_current_step(0, 0)
    real, calls = frames.analyze, []

    def analyze(*arguments, **options):
        calls.append(1)
        if len(calls) == 2:
            raise ValueError("no idea")
        return real(*arguments, **options)

    monkeypatch.setattr(frames, "analyze", analyze)
    widget = make_widget(viewer, network="never")
    # Without a first look, the first analysis is that of the first frame.
    widget.settings.preview_rate.value = 0
    widget.panel.fuse_button.native.click()
    until_idle(widget)
    assert "frame 1 failed, and stays black: no idea" in widget.panel.message.value
    assert "Done in" in widget.panel.message.value
    data = viewer.layers["fused CT + MR"].data
    assert [bool(plane.any()) for plane in data] == [True, False, True]


def test_frames_appear_as_they_come(make_widget, viewer, pair, until_idle):
    show_stacks(viewer, pair, SERIES)
    viewer.dims.set_current_step(0, 2)
    widget = make_widget(viewer, network="never")
    seen = []

    def note(event):
        if isinstance(event, FirstLook | FrameDone):
            data = viewer.layers["fused CT + MR"].data
            seen.append([bool(plane.any()) for plane in data])

    widget.session.reported.connect(note)
    widget.panel.fuse_button.native.click()
    until_idle(widget)
    assert seen == [
        [False, False, True],
        [True, False, True],
        [True, True, True],
        [True, True, True],
    ]
    # What goes on from frame to frame is one network's: there is none to go on with.
    assert widget.panel.continue_row.native.isHidden()
