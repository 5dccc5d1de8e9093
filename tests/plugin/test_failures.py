"""Whatever goes wrong ends in a defined state, with a message, and with no thread left."""

import gc
import importlib
import sys
import threading
import weakref

import numpy as np
import pytest
from qtpy.QtCore import QThreadPool

from napari_dip_fusion.plugin.running.active_runs import BUSY
from napari_dip_fusion.plugin.running.run_events import RunControl
from napari_dip_fusion.plugin.running.session import Phase

LONG = {"iterations": 100_000, "stop": "iterations", "patience": 10_000}


@pytest.fixture
def running(qtbot, make_widget, viewer):
    """Return a widget whose fusion has shown its first preview."""
    widget = make_widget(viewer, **LONG)
    widget.panel.fuse_button.native.click()
    # The consensus image, and then the network's.
    qtbot.waitUntil(lambda: len(viewer.layers) == 4, timeout=20_000)
    return widget


def iterations(widget):
    return widget.panel.progress.native.value()


def test_stop_and_keep(running, viewer, until_idle):
    running.panel.stop_button.native.click()
    assert running.session.phase is Phase.ENDING
    until_idle(running)
    record = viewer.layers["fused CT + MR"].metadata["dip_fusion"]["record"]
    assert record["stop_reason"] == "stopped"
    assert record["iterations"] < 100_000
    assert "the best image kept" in running.panel.message.value
    assert not running.panel.start_row.native.isHidden()
    assert running.panel.run_row.native.isHidden()


def test_discard(running, viewer, until_idle):
    running.panel.discard_button.native.click()
    until_idle(running)
    assert [layer.name for layer in viewer.layers] == ["CT", "MR"]
    assert running.panel.message.value == "Discarded."
    assert running.panel.continue_row.native.isHidden()


def test_pause_and_resume(qtbot, running, until_idle, monkeypatch):
    held, went_on = threading.Event(), threading.Event()
    wait = RunControl.wait_while_paused

    def waiting(control):
        held.set()
        wait(control)
        went_on.set()

    monkeypatch.setattr(RunControl, "wait_while_paused", waiting)
    running.panel.pause_button.native.click()
    assert running.panel.pause_button.text == "Resume"
    # However slow an iteration is, the worker has sent its last report when it is held.
    qtbot.waitUntil(held.is_set, timeout=30_000)
    qtbot.wait(50)
    made = iterations(running)
    assert not went_on.is_set()
    assert running.session.phase is Phase.PAUSED
    running.panel.pause_button.native.click()
    # Nothing has been reported since: the line must not say any longer that the run is held.
    assert "paused" not in running.panel.speed.value
    qtbot.waitUntil(lambda: iterations(running) > made, timeout=30_000)
    running.panel.pause_button.native.click()
    running.panel.stop_button.native.click()
    until_idle(running)


def test_a_paused_run_can_be_discarded(running, until_idle):
    running.panel.pause_button.native.click()
    running.panel.discard_button.native.click()
    until_idle(running)


def test_continue_goes_on_in_the_same_layer(running, viewer, until_idle):
    running.panel.stop_button.native.click()
    until_idle(running)
    layer = viewer.layers["fused CT + MR"]
    made = layer.metadata["dip_fusion"]["record"]["iterations"]
    running.panel.more.setValue(5)
    assert not running.panel.continue_row.native.isHidden()
    running.panel.continue_button.native.click()
    until_idle(running)
    assert len(viewer.layers) == 3
    assert layer.metadata["dip_fusion"]["record"]["iterations"] == made + 5
    assert len(running.panel.plot.loss_curve.yData) == made + 5


def test_a_discarded_continuation_puts_the_image_back(qtbot, running, viewer, until_idle):
    running.panel.stop_button.native.click()
    until_idle(running)
    layer = viewer.layers["fused CT + MR"]
    before = layer.data.copy()
    made = layer.metadata["dip_fusion"]["record"]["iterations"]
    running.panel.more.setValue(50_000)
    running.panel.continue_button.native.click()
    qtbot.waitUntil(lambda: iterations(running) > made, timeout=10_000)
    running.panel.discard_button.native.click()
    until_idle(running)
    np.testing.assert_array_equal(layer.data, before)
    assert layer.metadata["dip_fusion"]["record"]["iterations"] == made
    assert not running.session.can_continue


def test_a_continuation_that_fails_leaves_the_result(running, viewer, until_idle, monkeypatch):
    from napari_dip_fusion.plugin.running import fusion_session as session

    running.panel.stop_button.native.click()
    until_idle(running)
    layer = viewer.layers["fused CT + MR"]
    before = layer.data.copy()

    def broken(*args, **kwargs):
        raise MemoryError

    monkeypatch.setattr(session, "continue_fuse", broken)
    running.panel.continue_button.native.click()
    until_idle(running)
    assert "Not enough memory" in running.panel.message.value
    assert layer in viewer.layers
    np.testing.assert_array_equal(layer.data, before)
    assert layer.metadata["dip_fusion"]["record"]["stop_reason"] == "stopped"
    assert not running.session.can_continue


def test_more_iterations_than_there_may_be_are_refused_at_once(running, viewer, until_idle):
    running.panel.stop_button.native.click()
    until_idle(running)
    running.panel.more.setValue(100_000)
    running.panel.continue_button.native.click()
    assert "100,000 are the most; continue for at most" in running.panel.message.value
    assert running.session.can_continue


def test_a_second_fusion_is_refused(running, make_widget, viewer):
    other = make_widget(viewer)
    other.sources.set_sources([viewer.layers["CT"], viewer.layers["MR"]])
    other.panel.fuse_button.native.click()
    assert other.panel.message.value == BUSY
    assert other.session.phase is Phase.IDLE
    assert running.session.phase is Phase.RUNNING
    running.fuse()
    assert running.panel.message.value == BUSY


def test_a_second_widget_can_fuse_when_the_first_is_done(running, make_widget, viewer, until_idle):
    running.panel.discard_button.native.click()
    until_idle(running)
    other = make_widget(viewer)
    other.panel.fuse_button.native.click()
    until_idle(other)
    assert "fused CT + MR" in viewer.layers


def test_a_source_removed_renamed_or_replaced(running, viewer, until_idle):
    viewer.layers["CT"].data = np.zeros((32, 40), dtype=np.uint8)
    assert "data it started with" in running.panel.message.value
    viewer.layers["MR"].name = "T1"
    assert "renamed" in running.panel.message.value
    viewer.layers.remove("CT")
    assert "CT was removed; the run goes on" in running.panel.message.value
    running.panel.stop_button.native.click()
    until_idle(running)
    fused = viewer.layers["fused CT + MR"]
    names = [s["name"] for s in fused.metadata["dip_fusion"]["record"]["sources"]]
    assert names == ["CT", "MR"]
    assert "CT was removed" in running.panel.message.value
    assert "choose two or more" in running.sources.status.value


def test_the_fused_layer_removed_during_a_run(qtbot, running, viewer, until_idle):
    viewer.layers.remove("fused CT + MR")
    assert "adds its result at the end" in running.panel.message.value
    made = iterations(running)
    qtbot.waitUntil(lambda: iterations(running) > made, timeout=20_000)
    assert len(viewer.layers) == 2
    running.panel.stop_button.native.click()
    until_idle(running)
    assert "dip_fusion" in viewer.layers["fused CT + MR"].metadata


def test_the_viewer_closed_during_a_run(running, viewer):
    viewer.close()
    assert QThreadPool.globalInstance().waitForDone(10_000)


def test_the_viewer_closed_during_a_pause(running, viewer):
    running.panel.pause_button.native.click()
    viewer.close()
    assert QThreadPool.globalInstance().waitForDone(10_000)


def test_the_dock_closed_during_a_run(running, viewer):
    viewer.window.remove_dock_widget(running.native)
    assert QThreadPool.globalInstance().waitForDone(10_000)
    viewer.layers.remove("CT")
    assert [layer.name for layer in viewer.layers] == ["MR"]


def test_the_widget_ends_when_its_qt_part_is_gone(running):
    def gone():
        raise RuntimeError("wrapped C/C++ object has been deleted")

    running.session.phase_changed.connect(gone)
    running.session.close()
    assert running.session.phase is Phase.IDLE
    assert QThreadPool.globalInstance().waitForDone(10_000)


def test_a_torch_runtime_error_reaches_the_user(widget, until_idle, monkeypatch, capsys):
    from napari_dip_fusion.prior.fit import Fit

    def broken(self):
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    monkeypatch.setattr(Fit, "_step", broken)
    widget.panel.fuse_button.native.click()
    until_idle(widget)
    assert "shapes cannot be multiplied; try device cpu" in widget.panel.message.value
    assert widget.panel.fuse_button.enabled


def fail_later(monkeypatch, error):
    """Let the third iteration of every fit raise an error."""
    from napari_dip_fusion.prior.fit import Fit

    step = Fit._step

    def broken(self):
        if self.iteration >= 2:
            raise error
        return step(self)

    monkeypatch.setattr(Fit, "_step", broken)


def test_out_of_memory_keeps_the_best_image(widget, viewer, until_idle, monkeypatch):
    import torch

    fail_later(monkeypatch, torch.OutOfMemoryError("CUDA out of memory"))
    widget.panel.fuse_button.native.click()
    until_idle(widget)
    text = widget.panel.message.value
    assert "not enough memory" in text
    assert "smaller width" in text
    assert "best image so far was kept" in text
    record = viewer.layers["fused CT + MR"].metadata["dip_fusion"]["record"]
    assert record["stop_reason"] == "failed"
    assert not widget.session.can_continue


def test_a_loss_that_is_not_finite(widget, until_idle, monkeypatch):
    from napari_dip_fusion.prior import fit

    monkeypatch.setattr(fit, "measure_error", lambda output, *_: output.sum() * float("nan"))
    widget.panel.fuse_button.native.click()
    until_idle(widget)
    assert "no longer finite" in widget.panel.message.value
    assert "learning_rate" in widget.panel.message.value


def test_memory_is_released(running, until_idle, qtbot):
    from napari_dip_fusion.prior.fit import Fit

    running.panel.stop_button.native.click()
    until_idle(running)
    fit = weakref.ref(running.session.result.state.fit)
    assert isinstance(fit(), Fit)
    running.viewer.layers.remove("fused CT + MR")
    assert running.session.result is None
    QThreadPool.globalInstance().waitForDone(10_000)

    def gone():
        gc.collect()
        return fit() is None

    qtbot.waitUntil(gone, timeout=10_000)


def test_memory_of_a_discarded_run_is_released(running, until_idle, monkeypatch):
    from napari_dip_fusion.prior.fit import Fit

    running.panel.discard_button.native.click()
    until_idle(running)
    QThreadPool.globalInstance().waitForDone(10_000)
    gc.collect()
    assert not [x for x in gc.get_objects() if type(x) is Fit]


def test_the_plugin_reloaded_during_a_run(running, viewer, until_idle, monkeypatch):
    package = "napari_dip_fusion.plugin"
    for name in [n for n in sys.modules if n.startswith(f"{package}.")]:
        monkeypatch.delitem(sys.modules, name)
        monkeypatch.delattr(f"{package}.{name.rpartition('.')[2]}", raising=False)
    new = importlib.import_module(f"{package}.widget").DipFusionWidget(viewer)
    assert type(new) is not type(running)
    viewer.window.add_dock_widget(new)
    new.sources.set_sources([viewer.layers["CT"], viewer.layers["MR"]])
    assert new.panel.fuse_button.enabled
    new.shutdown()
    running.panel.stop_button.native.click()
    until_idle(running)
    assert "dip_fusion" in viewer.layers["fused CT + MR"].metadata


def test_without_torch_the_widget_opens_and_says_how_to_mend_it(
    qtbot, make_widget, viewer, monkeypatch
):
    # None makes "import torch" raise ModuleNotFoundError.
    monkeypatch.setitem(sys.modules, "torch", None)
    widget = make_widget(viewer)
    qtbot.waitUntil(lambda: "PyTorch" in widget.panel.need.value, timeout=10_000)
    assert "Install it with the command that pytorch.org" in widget.panel.need.value
    # On Linux a plain call of pip fetches gigabytes of CUDA.
    assert "pip install" not in widget.panel.need.value
    assert not widget.panel.fuse_button.enabled
    assert widget.panel.gains_button.enabled


def test_without_torch_a_closed_form_still_fuses(
    qtbot, make_widget, viewer, until_idle, monkeypatch
):
    monkeypatch.setitem(sys.modules, "torch", None)
    widget = make_widget(viewer, method="wavelet")
    qtbot.waitUntil(lambda: bool(widget.fuse_tab._torch_problem), timeout=10_000)
    assert "PyTorch" not in widget.panel.need.value
    widget.panel.fuse_button.native.click()
    until_idle(widget)
    assert "dip_fusion" in viewer.layers["fused CT + MR"].metadata
    widget.settings.show_config(widget.settings.take_config([]).replace(method="densefuse"))
    assert "PyTorch cannot be imported" in widget.panel.need.value
    assert not widget.panel.fuse_button.enabled


@pytest.fixture
def close_panel(qtbot, viewer, monkeypatch):
    """Return a function that closes a panel, and returns what is told of it."""
    from napari_dip_fusion.plugin import widget as module

    told = []
    monkeypatch.setattr(module, "show_warning", told.append)

    def close(widget):
        viewer.window.remove_dock_widget(widget.native)
        # Nothing is told while the dock goes.
        assert told == []
        qtbot.wait(10)
        return told

    return close


def test_a_panel_closed_during_a_run_leaves_no_preview(running, viewer, close_panel, make_widget):
    notices = close_panel(running)
    assert [layer.name for layer in viewer.layers] == ["CT", "MR"]
    assert notices == [
        "DIP Fusion: preview removed: the panel was closed during the fusion of CT + MR"
    ]
    assert names_of(make_widget(viewer).sources) == ["CT", "MR"]


def test_a_panel_closed_during_a_continuation_puts_the_result_back(
    qtbot, widget, viewer, close_panel, until_idle
):
    widget.panel.fuse_button.native.click()
    until_idle(widget)
    layer = viewer.layers["fused CT + MR"]
    before = np.array(layer.data)
    widget.panel.more.setValue(90_000)
    widget.panel.continue_button.native.click()
    qtbot.waitUntil(lambda: len(viewer.layers) == 4, timeout=30_000)
    notices = close_panel(widget)
    assert [x.name for x in viewer.layers] == ["CT", "MR", "fused CT + MR"]
    np.testing.assert_array_equal(layer.data, before)
    assert layer.metadata["dip_fusion"]["record"]["iterations"] == 3
    assert "earlier result put back" in notices[0]


def test_a_panel_closed_during_a_comparison_keeps_what_is_finished(
    qtbot, make_widget, viewer, close_panel
):
    widget = make_widget(viewer, **LONG)
    widget.compare_tab.methods.set_chosen(["average", "dip-own"])
    widget.compare_tab.compare()
    qtbot.waitUntil(lambda: len(viewer.layers) == 3, timeout=20_000)
    notices = close_panel(widget)
    assert len(viewer.layers) == 3
    assert "comparison ended, images kept: 1" in notices[0]


def test_a_panel_closed_while_gain_maps_are_computed_says_so(widget, viewer, close_panel):
    widget.panel.gains_button.native.click()
    notices = close_panel(widget)
    assert "no gain maps" in notices[0]


def test_a_panel_that_did_nothing_is_closed_without_a_word(widget, viewer, close_panel, until_idle):
    widget.panel.fuse_button.native.click()
    until_idle(widget)
    notices = close_panel(widget)
    assert len(viewer.layers) == 3
    assert notices == []


def names_of(sources):
    return [layer.name for layer in sources.get_sources()]
