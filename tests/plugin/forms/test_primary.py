import pytest
from magicgui.widgets import PushButton
from napari.utils.theme import get_theme


def find_primary(tab):
    """Return the texts of the buttons of a tab that stand out now."""
    buttons = tab.native.findChildren(type(PushButton().native))
    shown = [b for b in buttons if not b.isHidden() and b.isVisibleTo(tab.native)]
    return [b.text() for b in shown if b.property("dip_fusion_primary") and b.isEnabled()]


LONG = {"iterations": 100_000, "stop": "iterations"}


def test_one_button_of_a_fusion_stands_out_in_each_state(qtbot, make_widget, viewer, until_idle):
    widget = make_widget(viewer, **LONG)
    assert find_primary(widget.fuse_tab) == ["Fuse"]
    widget.panel.fuse_button.native.click()
    assert find_primary(widget.fuse_tab) == ["Stop and keep"]
    widget.panel.pause_button.native.click()
    assert find_primary(widget.fuse_tab) == ["Resume"]
    widget.panel.pause_button.native.click()
    assert find_primary(widget.fuse_tab) == ["Stop and keep"]
    qtbot.waitUntil(lambda: len(viewer.layers) == 4, timeout=20_000)
    widget.panel.stop_button.native.click()
    until_idle(widget)
    assert find_primary(widget.fuse_tab) == ["Fuse"]


def test_one_button_of_a_comparison_stands_out_in_each_state(qtbot, make_widget, viewer):
    tab = make_widget(viewer, **LONG).compare_tab
    assert find_primary(tab) == ["Compare"]
    tab.methods.set_chosen(["dip-own"])
    tab.compare()
    assert find_primary(tab) == ["Stop"]
    tab.stop_button.native.click()
    assert find_primary(tab) == []
    qtbot.waitUntil(lambda: tab.session.phase.name == "IDLE", timeout=20_000)
    assert find_primary(tab) == ["Compare"]


@pytest.mark.parametrize("theme", ["dark", "light"])
def test_it_has_the_color_of_the_theme(widget, viewer, theme):
    viewer.theme = theme
    image = widget.panel.fuse_button.native.grab().toImage()
    expected = get_theme(theme).current.as_hex(format="long")
    assert image.pixelColor(6, 6).name() == expected
    plain = widget.panel.gains_button.native.grab().toImage()
    assert plain.pixelColor(6, 6).name() != expected
