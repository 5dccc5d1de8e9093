"""A widget in a real viewer, with tiny images and a tiny network."""

import gc

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.utils._proxies import PublicOnlyProxy

from napari_dip_fusion.samples import head_phantom

SHAPE = (32, 40)
# What is restored, and how, is for the tests of it alone: it takes longer than all else.
TINY = {
    "iterations": 3,
    "width": 4,
    "depth": 2,
    "threads": 1,
    "network": "always",
    "restore": "never",
}


@pytest.fixture(autouse=True)
def _earlier_objects_out_of_the_way():
    """Let the garbage collector look at what a test makes, and at nothing older.

    napari collects all garbage whenever a layer or a viewer goes. Half of the time of a small test
    went into looking at a million objects of torch and napari that stay to the end anyway.
    """
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def _own_preferences(plugin_settings):
    """Keep the plugin's preferences of every test to itself."""


@pytest.fixture
def pair(request):
    """Return a CT and an MR image, of a shape that a test may give."""
    return [np.asarray(s) for s in head_phantom(shape=getattr(request, "param", SHAPE)).sources]


def show_pair(viewer, pair):
    for name, image in zip(("CT", "MR"), pair, strict=True):
        viewer.add_image(image, name=name)
    return viewer


@pytest.fixture
def empty_viewer(make_napari_viewer_proxy):
    """Return a viewer as napari gives it to plugins.

    The proxy raises when a layer is touched outside the GUI thread.
    """
    return make_napari_viewer_proxy()


@pytest.fixture
def viewer(empty_viewer, pair):
    """Return a viewer that shows CT and MR."""
    return show_pair(empty_viewer, pair)


@pytest.fixture
def viewer_without_window(qapp, monkeypatch, pair):
    """Return the same for what needs layers and dims only: a window takes half a second."""
    monkeypatch.setenv("NAPARI_ENSURE_PLUGIN_MAIN_THREAD", "True")
    return show_pair(PublicOnlyProxy(ViewerModel()), pair)


@pytest.fixture
def make_widget(qtbot):
    """Return a function that opens the widget in a viewer, with tiny settings."""
    from qtpy.QtCore import QThreadPool

    from napari_dip_fusion.plugin.widget import DipFusionWidget

    made = []

    def make(viewer, **changes):
        widget = DipFusionWidget(viewer)
        viewer.window.add_dock_widget(widget, name=f"DIP Fusion {len(made)}")
        config = widget.settings.take_config([]).replace(**{**TINY, **changes})
        widget.settings.show_config(config)
        widget.settings.preview_rate.value = 60
        made.append(widget)
        return widget

    yield make
    for widget in made:
        widget.shutdown()
    assert QThreadPool.globalInstance().waitForDone(20_000), "a thread was left running"
    # Results that were on their way are dropped now, not in the next test.
    qtbot.wait(10)


@pytest.fixture
def widget(make_widget, viewer):
    """Return the widget in the viewer."""
    return make_widget(viewer)


@pytest.fixture
def until_idle(qtbot):
    """Return a function that waits for the end of a session's run."""

    def wait(widget):
        qtbot.waitUntil(lambda: widget.session.phase.name == "IDLE", timeout=30_000)

    return wait
