"""Two images in turn, and one less the other, in the tab of a widget that may go meanwhile."""

import numpy as np
import pytest
from qtpy.QtCore import QThreadPool


@pytest.fixture
def view(widget, viewer):
    viewer.add_image(np.full((32, 40), 0.75, np.float32), name="a", contrast_limits=(0, 1))
    viewer.add_image(np.full((32, 40), 0.5, np.float32), name="b", contrast_limits=(0, 1))
    view = widget.compare_tab.pair
    view.set_pair(viewer.layers["a"], viewer.layers["b"])
    return view


def visible(viewer):
    return [layer.name for layer in viewer.layers if layer.visible]


def test_the_dock_closed_meanwhile_puts_all_back(view, widget, viewer):
    view.flicker_button.native.click()
    viewer.window.remove_dock_widget(widget.native)
    assert visible(viewer) == ["CT", "MR", "a", "b"]
    viewer.layers.remove("a")


def test_the_widget_destroyed_meanwhile_puts_all_back(qtbot, view, widget, viewer):
    import gc

    from qtpy.QtCore import QCoreApplication, QEvent

    view.rate.value = 10
    view.flicker_button.native.click()
    dock = widget.native.parent()
    widget.native.deleteLater()
    QCoreApplication.sendPostedEvents(widget.native, QEvent.Type.DeferredDelete)
    gc.collect()
    assert visible(viewer) == ["CT", "MR", "a", "b"]
    qtbot.wait(150)
    assert dock is not None


def test_the_viewer_closed_meanwhile(view, viewer):
    view.flicker_button.native.click()
    viewer.close()
    assert not view.flicker.running


def test_a_source_counts_as_the_fusion_takes_it(qtbot, widget, view, viewer):
    viewer.layers["CT"].contrast_limits = (0, 100)
    widget.settings.intensity.mode.value = "contrast limits"
    view.set_pair(viewer.layers["a"], viewer.layers["CT"])
    view.difference_button.native.click()
    qtbot.waitUntil(lambda: "a - CT" in viewer.layers, timeout=10_000)
    source = (viewer.layers["CT"].data / 100).clip(0, 1)
    np.testing.assert_allclose(viewer.layers["a - CT"].data, 0.75 - source, atol=1e-6)


def test_a_difference_that_comes_after_the_end_is_dropped(view, widget, viewer):
    view.difference_button.native.click()
    widget.shutdown()
    assert QThreadPool.globalInstance().waitForDone(10_000)
    assert "a - b" not in viewer.layers
