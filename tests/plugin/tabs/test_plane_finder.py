import numpy as np
import pytest


@pytest.fixture
def volumes(make_napari_viewer_proxy, pair):
    """Return a viewer with two volumes of five slices, 2 mm apart, at slice 3."""
    viewer = make_napari_viewer_proxy()
    for name, image in zip(("CT", "MR"), pair, strict=True):
        viewer.add_image(
            np.stack([image] * 5),
            name=name,
            scale=(2, 1, 1),
            units=("mm", "mm", "mm"),
            axis_labels=("z", "y", "x"),
        )
    viewer.dims.set_point(0, 6)
    return viewer


@pytest.fixture
def fused(volumes, make_widget, until_idle):
    """Return the widget after a fusion of slice 3."""
    widget = make_widget(volumes)
    widget.sources.set_whole(False)
    widget.panel.fuse_button.native.click()
    until_idle(widget)
    return widget


def is_offered(widget):
    return not widget.fuse_tab.plane_finder.native.isHidden()


def test_a_fused_plane_is_named_and_found_again(fused, volumes):
    layer = volumes.layers["fused CT + MR z=3"]
    assert not is_offered(fused)
    volumes.dims.set_point(0, 0)
    assert is_offered(fused)
    finder = fused.fuse_tab.plane_finder
    assert finder.line.value == "fused CT + MR z=3 lies at another slice."
    layer.visible = False
    finder.button.native.click()
    assert volumes.dims.point[0] == 6
    assert layer.visible
    assert not is_offered(fused)


def test_it_is_found_from_another_orientation_and_another_selection(fused, volumes):
    volumes.layers.selection.active = volumes.layers["CT"]
    volumes.dims.order = (1, 0, 2)
    assert is_offered(fused)
    fused.fuse_tab.plane_finder.button.native.click()
    assert volumes.dims.displayed == (1, 2)
    assert volumes.dims.point[0] == 6
    volumes.dims.set_point(0, 2)
    assert is_offered(fused)
    volumes.layers.remove("fused CT + MR z=3")
    assert not is_offered(fused)


def test_a_reopened_panel_finds_the_planes_that_are_there(fused, volumes, make_widget):
    volumes.window.remove_dock_widget(fused.native)
    volumes.dims.set_point(0, 0)
    reopened = make_widget(volumes)
    volumes.layers.selection.active = volumes.layers["fused CT + MR z=3"]
    reopened.fuse_tab.plane_finder.button.native.click()
    assert volumes.dims.point[0] == 6


def test_a_row_of_the_comparison_goes_to_its_plane(volumes, make_widget, qtbot):
    widget = make_widget(volumes)
    widget.sources.set_whole(False)
    tab = widget.compare_tab
    tab.methods.set_chosen(["average", "maximum"])
    tab.compare()
    qtbot.waitUntil(lambda: tab.session.phase.name == "IDLE", timeout=20_000)
    assert tab.session.results[0].layer.name.endswith(": CT + MR z=3")
    volumes.dims.set_point(0, 0)
    tab.table.row_clicked.emit(0)
    assert volumes.dims.point[0] == 6


def test_axes_without_names_are_numbered(make_napari_viewer_proxy, make_widget, pair, qtbot):
    viewer = make_napari_viewer_proxy()
    for name, image in zip(("CT", "MR"), pair, strict=True):
        viewer.add_image(np.stack([image] * 5), name=name)
    viewer.dims.set_point(0, 4)
    widget = make_widget(viewer)
    widget.sources.set_whole(False)
    widget.panel.gains_button.native.click()
    qtbot.waitUntil(lambda: "consensus CT + MR slice 4" in viewer.layers, timeout=20_000)
    assert "CT gain (base) slice 4" in viewer.layers
