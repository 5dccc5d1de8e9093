"""Every button of the Fuse tab after every other one."""

from itertools import pairwise, product

import numpy as np
import pytest
from qtpy.QtCore import QThreadPool

ACTIONS = ("fuse", "continue", "metrics", "all metrics", "gains", "command", "recall")
# What no action may end in, whatever came before it.
FORBIDDEN = ("got 0", "not expected", "Traceback", "Error:", "None")


STACKS = {
    "volume": {"units": ("mm",) * 3, "axis_labels": ("z", "y", "x")},
    "series": {"units": ("s", "um", "um"), "axis_labels": ("t", "y", "x")},
}


@pytest.fixture
def viewer(empty_viewer, pair, request):
    """Return a viewer that shows CT and MR as planes, or whole stacks of two planes."""
    for name, image in zip(("CT", "MR"), pair, strict=True):
        if request.param == "plane":
            empty_viewer.add_image(image, name=name)
        else:
            empty_viewer.add_image(
                np.stack([image, image[::-1]]), name=name, **STACKS[request.param]
            )
    return empty_viewer


@pytest.fixture
def press(qtbot, widget, until_idle):
    """Return a function that does one thing and waits until all of it is done."""
    buttons = {
        "fuse": widget.panel.fuse_button,
        "continue": widget.panel.continue_button,
        "metrics": widget.metrics.compute_button,
        "gains": widget.panel.gains_button,
        "command": widget.fuse_tab.code.command_button,
        "recall": widget.fuse_tab.recall_button,
    }

    def act(action):
        if action == "all metrics":
            widget.metrics.all_metrics.value = not widget.metrics.all_metrics.value
        elif not buttons[action].native.isHidden():
            buttons[action].native.click()
        until_idle(widget)
        settled = ("computing", "computing the gain maps")
        said = (widget.panel.message, widget.metrics.status)
        qtbot.waitUntil(lambda: not any(x.value in settled for x in said), timeout=20_000)
        QThreadPool.globalInstance().waitForDone(10_000)
        for text in (widget.panel.message.value, widget.metrics.status.value):
            assert not [word for word in FORBIDDEN if word in text], (action, text)

    widget.panel.more.setValue(1)
    return act


def walk_all_pairs(actions):
    """Yield actions such that each comes right after each, itself included, and no pair twice."""
    for i, first in enumerate(actions):
        yield first
        for second in actions[i + 1 :]:
            yield from (first, second)
    yield actions[0]


def walk(press, actions):
    """Do each action right after each, itself included."""
    steps = list(walk_all_pairs(actions))
    assert set(pairwise(steps)) == set(product(actions, actions))
    for action in steps:
        press(action)


def start(press, widget):
    widget.settings.fields["band_sigma"].value = 0
    # Sources without noise need no network, and leave nothing to continue.
    widget.settings.fields["network"].value = "always"
    press("fuse")


# All metrics need 41x41 pixels.
@pytest.mark.parametrize("pair", [(41, 42)], indirect=True)
@pytest.mark.parametrize("viewer", ["plane"], indirect=True)
def test_every_button_after_every_other(press, widget, viewer):
    start(press, widget)
    walk(press, ACTIONS)
    for action in ACTIONS:
        viewer.layers.selection = {viewer.layers["fused CT + MR"]}
        press(action)
        press("metrics")
        assert "fused CT + MR" in widget.metrics.scores, action


@pytest.mark.parametrize("pair", [(20, 24)], indirect=True)
@pytest.mark.parametrize("viewer", STACKS, indirect=True)
def test_every_button_after_every_other_on_whole_stacks(press, widget, viewer):
    assert widget.sources.get_whole()
    start(press, widget)
    walk(press, [action for action in ACTIONS if action != "all metrics"])
    assert any(name.startswith("fused CT + MR") for name in widget.metrics.scores)
    assert {layer.data.shape for layer in viewer.layers} == {(2, 20, 24)}


@pytest.mark.parametrize("pair", [(41, 42)], indirect=True)
@pytest.mark.parametrize("viewer", ["plane"], indirect=True)
def test_every_button_after_every_other_block_by_block(
    press, widget, viewer, monkeypatch, tmp_path
):
    monkeypatch.setenv("HOME", str(tmp_path))
    widget.settings.fields["network"].value = "never"
    widget.fuse_tab.blocks.box.value = True
    # There is nothing to continue, ever.
    walk(press, [x for x in ACTIONS if x not in ("continue", "all metrics")])
    assert widget.panel.continue_row.native.isHidden()
    made = [layer for layer in viewer.layers if layer.name.startswith("fused")]
    assert len(made) == len(list(tmp_path.glob("*.ome.zarr"))) > 2
    # At once, after that: a result like any other.
    widget.fuse_tab.blocks.box.value = False
    for action in ("fuse", "metrics", "gains"):
        press(action)
    assert viewer.layers[-1].name.startswith("consensus")
    assert len(list(tmp_path.iterdir())) == len(made)


@pytest.mark.parametrize("pair", [(41, 42)], indirect=True)
@pytest.mark.parametrize("gone", ["CT", "fused CT + MR"])
@pytest.mark.parametrize("viewer", ["plane", "volume"], indirect=True)
def test_every_button_after_a_layer_is_gone(press, widget, viewer, gone):
    press("fuse")
    viewer.layers.remove(gone)
    for action in ACTIONS:
        press(action)
        assert gone not in widget.metrics.scores or gone in viewer.layers
