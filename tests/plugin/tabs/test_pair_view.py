"""Two images in turn, and one less the other."""

import numpy as np
import pytest
from qtpy.QtCore import QThreadPool

from napari_dip_fusion.plugin.layers.difference import COLORMAP
from napari_dip_fusion.plugin.tabs.pair_view import PairView


@pytest.fixture
def viewer(viewer_without_window):
    viewer = viewer_without_window
    viewer.add_image(np.full((32, 40), 0.75, np.float32), name="a", contrast_limits=(0, 1))
    viewer.add_image(np.full((32, 40), 0.5, np.float32), name="b", contrast_limits=(0, 1))
    return viewer


@pytest.fixture
def view(qtbot, viewer):
    view = PairView(viewer, dict, bool)
    qtbot.addWidget(view.native)
    view.set_pair(viewer.layers["a"], viewer.layers["b"])
    yield view
    view.close_subscriptions()
    assert QThreadPool.globalInstance().waitForDone(20_000)
    qtbot.wait(10)


def visible(viewer):
    return [layer.name for layer in viewer.layers if layer.visible]


def names(box):
    return [box.native.itemText(i) for i in range(box.native.count())]


def test_the_choice_follows_the_viewer(view, viewer):
    assert names(view.first_box) == ["b", "a", "MR", "CT"]
    assert [layer.name for layer in view.get_pair()] == ["a", "b"]
    viewer.layers["a"].name = "renamed"
    assert names(view.second_box) == ["b", "renamed", "MR", "CT"]
    viewer.layers.move(0, 4)
    assert [layer.name for layer in view.get_pair()] == ["renamed", "b"]
    viewer.add_points(np.zeros((1, 2)))
    assert view.first_box.native.count() == 4
    viewer.layers.clear()
    assert view.get_pair() == (None, None)
    assert not view.flicker_button.enabled
    view.add_difference()
    assert view.message.value == "choose two images"


def test_a_removed_layer_leaves_two_different_ones(view, viewer):
    view.set_pair(viewer.layers["a"], viewer.layers["b"])
    viewer.layers.remove("a")
    assert [layer.name for layer in view.get_pair()] == ["MR", "b"]
    viewer.layers.remove("b")
    assert [layer.name for layer in view.get_pair()] == ["MR", "CT"]
    viewer.layers.remove("CT")
    assert [layer.name for layer in view.get_pair()] == ["MR", "MR"]


def test_a_choice_by_hand_is_kept(view, viewer):
    view.suggest_pair(viewer.layers["CT"], viewer.layers["MR"])
    assert [layer.name for layer in view.get_pair()] == ["CT", "MR"]
    view.first_box.native.activated.emit(0)
    view.suggest_pair(viewer.layers["a"], viewer.layers["b"])
    assert [layer.name for layer in view.get_pair()] == ["CT", "MR"]


def test_flicker_alternates_and_puts_all_back(qtbot, view, viewer):
    viewer.layers["MR"].visible = viewer.layers["b"].visible = False
    points = viewer.add_points(np.zeros((1, 2)), name="points")
    assert view.rate.value == 2.0
    view.rate.value = 10
    view.flicker_button.native.click()
    assert view.flicker_button.text == "Stop flicker"
    assert visible(viewer) == ["a", "points"]
    assert [letter.value for letter in view.letters] == ["<b><u>A</u></b>", "B"]
    qtbot.waitUntil(lambda: visible(viewer) == ["b", "points"], timeout=2000)
    assert [letter.value for letter in view.letters] == ["A", "<b><u>B</u></b>"]
    qtbot.waitUntil(lambda: visible(viewer) == ["a", "points"], timeout=2000)
    view.flicker_button.native.click()
    assert visible(viewer) == ["CT", "a", "points"]
    assert view.flicker_button.text == "Flicker"
    assert not view.flicker_button.native.isChecked()
    assert [letter.value for letter in view.letters] == ["A", "B"]
    assert not view.flicker._timer.isActive()
    assert visible(viewer) == ["CT", "a", "points"]
    assert points.visible


def test_the_rate_can_be_changed_meanwhile(view):
    view.flicker_button.native.click()
    assert view.flicker._timer.interval() == 500
    view.rate.value = 4
    assert view.flicker._timer.interval() == 250
    view.flicker_button.native.click()


def test_a_layer_added_meanwhile_comes_to_the_fore_afterwards(view, viewer, pair):
    view.flicker_button.native.click()
    viewer.add_image(pair[0], name="new")
    assert visible(viewer) == ["a"]
    view.flicker_button.native.click()
    assert visible(viewer) == ["CT", "MR", "a", "b", "new"]


def test_what_the_user_shows_meanwhile_stays_visible(view, viewer):
    viewer.layers["MR"].visible = False
    view.flicker_button.native.click()
    viewer.layers["MR"].visible = True
    view.flicker_button.native.click()
    assert visible(viewer) == ["CT", "MR", "a", "b"]


@pytest.mark.parametrize("name", ["a", "b"])
def test_flicker_ends_when_one_of_the_two_is_removed(view, viewer, name):
    view.flicker_button.native.click()
    viewer.layers.remove(name)
    assert not view.flicker.running
    assert view.flicker_button.text == "Flicker"
    assert visible(viewer) == [x for x in ("CT", "MR", "a", "b") if x != name]


def test_flicker_goes_on_when_another_layer_is_removed(view, viewer):
    view.flicker_button.native.click()
    viewer.layers.remove("CT")
    assert view.flicker.running
    view.flicker_button.native.click()
    assert visible(viewer) == ["MR", "a", "b"]


def test_a_new_choice_goes_on_flickering(view, viewer):
    view.flicker_button.native.click()
    view.first_box.value = viewer.layers["CT"]
    view.first_box.native.activated.emit(3)
    assert view.flicker.running
    assert visible(viewer) == ["CT"]
    view.flicker_button.native.click()
    assert visible(viewer) == ["CT", "MR", "a", "b"]


def test_one_image_does_not_flicker(view, viewer):
    view.set_pair(viewer.layers["a"], viewer.layers["a"])
    view.flicker_button.native.click()
    assert "two different images" in view.message.value
    assert not view.flicker_button.native.isChecked()
    view.difference_button.native.click()
    assert "two different images" in view.message.value


def test_difference_of_two_results(qtbot, view, viewer):
    for name in ("a", "b"):
        viewer.layers[name].scale = (0.5, 2)
        viewer.layers[name].translate = (3, 4)
    view.difference_button.native.click()
    qtbot.waitUntil(lambda: "a - b" in viewer.layers, timeout=10_000)
    layer = viewer.layers["a - b"]
    np.testing.assert_allclose(layer.data, 0.25)
    assert tuple(layer.contrast_limits) == (-0.25, 0.25)
    assert layer.colormap.name == COLORMAP
    assert layer.scale.tolist() == [0.5, 2]
    assert layer.translate.tolist() == [3, 4]
    assert "mean absolute difference 0.25, largest 0.25" in view.message.value
    view.difference_button.native.click()
    qtbot.waitUntil(lambda: "a - b [1]" in viewer.layers, timeout=10_000)


def test_equal_images_differ_by_nothing(qtbot, view, viewer):
    viewer.layers["b"].data = viewer.layers["a"].data
    view.difference_button.native.click()
    qtbot.waitUntil(lambda: "a - b" in viewer.layers, timeout=10_000)
    assert tuple(viewer.layers["a - b"].contrast_limits) == (-1, 1)


def test_the_second_image_is_brought_to_the_grid_of_the_first(qtbot, view, viewer):
    viewer.add_image(np.full((16, 20), 0.5, np.float32), name="coarse", scale=(2, 2))
    view.set_pair(viewer.layers["a"], viewer.layers["coarse"])
    view.difference_button.native.click()
    qtbot.waitUntil(lambda: "a - coarse" in viewer.layers, timeout=10_000)
    layer = viewer.layers["a - coarse"]
    assert layer.data.shape == (32, 40)
    np.testing.assert_allclose(layer.data[4:-4, 4:-4], 0.25, atol=1e-6)


def test_what_cannot_be_subtracted_is_explained(qtbot, view, viewer):
    viewer.add_image(np.full((16, 20), 0.5, np.float32), name="far", translate=(1000, 0))
    view.set_pair(viewer.layers["a"], viewer.layers["far"])
    view.difference_button.native.click()
    assert "far does not overlap a" in view.message.value
    viewer.layers["b"].data = np.full((32, 40), np.nan, np.float32)
    view.set_pair(viewer.layers["a"], viewer.layers["b"])
    view.difference_button.native.click()
    qtbot.waitUntil(lambda: "NaN" in view.message.value, timeout=10_000)
