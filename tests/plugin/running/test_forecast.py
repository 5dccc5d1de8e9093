"""What a run would take: in a thread, when settings have settled, and never beside a run."""

import threading
import time

import numpy as np
import pytest
from napari.components import ViewerModel
from qtpy.QtCore import QCoreApplication, QEvent, QThreadPool

from napari_dip_fusion.config import FusionConfig
from napari_dip_fusion.errors import FusionError
from napari_dip_fusion.fusion.timing import Estimate
from napari_dip_fusion.plugin.running import forecast as module
from napari_dip_fusion.plugin.running.forecast import Forecast
from napari_dip_fusion.plugin.running.plan import make_plan

CONFIG = FusionConfig(width=4, depth=2, threads=1)
FOUND = Estimate(seconds=42.0, memory=7_000_000)


class Probe:
    """Stands for the estimate: counts its calls, and waits where it should."""

    def __init__(self):
        self.calls = []
        self.threads = []
        self.controls = []
        self.steps = []
        self.degraded = []
        self.waits = False
        self.error = None

    def __call__(self, config, shape, count, *, degraded, steps, control):
        self.calls.append((config, shape, count))
        self.degraded.append(degraded)
        self.steps.append(steps)
        self.threads.append(threading.current_thread())
        self.controls.append(control)
        while self.waits and not control.stopped:
            time.sleep(0.01)
        if control.stopped:
            raise FusionError("the estimate was given up")
        if self.error is not None:
            raise self.error
        return FOUND


@pytest.fixture
def probe(monkeypatch):
    """Replace the estimate, and do not wait long for settings to settle."""
    import torch  # noqa: F401 - nothing is estimated before its import

    probe = Probe()
    monkeypatch.setattr(module, "estimate_run", probe)
    monkeypatch.setattr(module, "DELAY", 50)
    return probe


@pytest.fixture
def forecast(qtbot, probe):
    """Return a forecast that is closed at the end."""
    forecast = Forecast()
    yield forecast
    forecast.close()
    assert QThreadPool.globalInstance().waitForDone(5000)
    qtbot.wait(10)


def test_an_estimate_comes_from_another_thread_and_stays_known(qtbot, forecast, probe):
    with qtbot.waitSignal(forecast.changed, timeout=5000):
        assert forecast.ask(CONFIG, (32, 40), 2) is None
        assert forecast.ask(CONFIG, (32, 40), 2) is None
    assert forecast.ask(CONFIG, (32, 40), 2) == FOUND
    assert probe.calls == [(CONFIG, (32, 40), 2)]
    assert probe.threads[0] is not threading.main_thread()


def test_only_settings_that_have_settled_are_tried(qtbot, forecast, probe):
    with qtbot.waitSignal(forecast.changed, timeout=5000):
        for seed in range(5):
            forecast.ask(CONFIG.replace(seed=seed), (32, 40), 2)
    assert [config.fit.seed for config, *_ in probe.calls] == [4]


def test_an_outdated_estimate_is_given_up(qtbot, forecast, probe):
    probe.waits = True
    forecast.ask(CONFIG, (32, 40), 2)
    qtbot.waitUntil(lambda: len(probe.calls) == 1, timeout=5000)
    with qtbot.waitSignal(forecast.changed, timeout=5000):
        forecast.ask(CONFIG, (64, 64), 2)
        probe.waits = False
    assert probe.controls[0].stopped
    assert [shape for _, shape, _ in probe.calls] == [(32, 40), (64, 64)]


def test_what_cannot_be_tried_is_tried_once(qtbot, forecast, probe):
    probe.error = FusionError("not enough memory")
    with qtbot.waitSignal(forecast.changed, timeout=5000):
        forecast.ask(CONFIG, (32, 40), 2)
    assert forecast.ask(CONFIG, (32, 40), 2) is None
    qtbot.wait(150)
    assert len(probe.calls) == 1


def test_nothing_is_tried_without_torch_or_beside_a_run(qtbot, forecast, probe, monkeypatch):
    for name, answer in (("torch_is_imported", False), ("has_active_run", True)):
        with monkeypatch.context() as patch:
            patch.setattr(module, name, lambda answer=answer: answer)
            forecast.ask(CONFIG, (32, 40), 2)
            qtbot.wait(150)
    assert not probe.calls


def test_closing_ends_the_thread(qtbot, probe):
    forecast = Forecast()
    probe.waits = True
    forecast.ask(CONFIG, (32, 40), 2)
    qtbot.waitUntil(lambda: len(probe.calls) == 1, timeout=5000)
    forecast.close()
    assert QThreadPool.globalInstance().waitForDone(5000)


def test_the_widget_shows_time_and_memory(qtbot, probe, widget):
    assert "MB" in widget.panel.need.value
    assert " s " not in widget.panel.need.value
    widget.native.resize(350, 900)
    height = widget.panel.need.native.heightForWidth(330)
    qtbot.waitUntil(lambda: "About 42 s at most, " in widget.panel.need.value, timeout=5000)
    assert widget.panel.need.native.heightForWidth(330) == height
    assert probe.calls[-1][1:] == ((32, 40), 2)
    widget.settings.fields["seed"].value = 5
    assert "42 s" not in widget.panel.need.value
    qtbot.waitUntil(lambda: "42 s" in widget.panel.need.value, timeout=5000)


def test_a_run_gives_the_estimate_up_and_asks_again_at_its_end(qtbot, probe, widget, until_idle):
    probe.waits = True
    qtbot.waitUntil(lambda: len(probe.calls) > 0, timeout=5000)
    widget.panel.fuse_button.native.click()
    assert probe.controls[-1].stopped
    made, probe.waits = len(probe.calls), False
    until_idle(widget)
    assert len(probe.calls) == made
    qtbot.waitUntil(lambda: "42 s" in widget.panel.need.value, timeout=5000)


def test_real_estimates_reach_the_widget(qtbot, widget):
    qtbot.waitUntil(lambda: "at most" in widget.panel.need.value, timeout=20_000)


def test_without_torch_no_time_is_shown(qtbot, probe, widget):
    qtbot.waitUntil(lambda: "42 s" in widget.panel.need.value, timeout=5000)
    widget.fuse_tab.set_torch_problem("PyTorch cannot be imported")
    made = len(probe.calls)
    widget.settings.fields["seed"].value = 5
    qtbot.wait(150)
    assert widget.panel.need.value == "PyTorch cannot be imported"
    assert len(probe.calls) == made


@pytest.mark.parametrize(
    ("place", "steps"),
    [
        ({"scale": (3, 1, 1)}, (3.0, 1.0, 1.0)),
        ({"units": ("s", "um", "um"), "scale": (30, 0.5, 0.5)}, (np.inf, 1.0, 1.0)),
    ],
)
def test_whole_stacks_are_estimated_with_the_distance_of_their_planes(
    qtbot, viewer, make_widget, pair, probe, place, steps
):
    viewer.layers.clear()
    for name, image in zip(("CT", "MR"), pair, strict=True):
        viewer.add_image(np.stack([image] * 3), name=name, **place)
    widget = make_widget(viewer)
    qtbot.waitUntil(lambda: "42 s" in widget.panel.need.value, timeout=5000)
    assert probe.calls[-1][1:] == ((3, 32, 40), 2)
    assert probe.steps[-1] == pytest.approx(steps)


@pytest.mark.parametrize("restore", ["auto", "never"])
def test_a_source_that_is_restored_is_a_part_of_the_question(
    qtbot, viewer, make_widget, probe, restore
):
    viewer.layers["CT"].data = viewer.layers["CT"].data[::4, ::4]
    viewer.layers["CT"].scale = (4, 4)
    make_widget(viewer, restore=restore)
    qtbot.waitUntil(lambda: bool(probe.calls), timeout=5000)
    assert probe.degraded[-1] == (restore == "auto")


@pytest.mark.parametrize(("whole", "advice"), [(True, "choose this plane, a"), (False, "choose a")])
def test_a_plane_is_advised_where_a_stack_does_not_fit(monkeypatch, pair, whole, advice):
    viewer = ViewerModel()
    layers = [viewer.add_image(np.stack([image] * 3)) for image in pair]
    plan = make_plan(layers, None, viewer.dims, CONFIG, whole=whole)
    monkeypatch.setattr(module, "measure_free_memory", lambda device: 1000)
    assert advice in module.describe_need(plan, None)


def test_an_estimate_ends_when_the_qt_part_has_gone_before(qtbot, probe):
    forecast = Forecast()
    probe.waits = True
    forecast.ask(CONFIG, (32, 40), 2)
    qtbot.waitUntil(lambda: len(probe.calls) == 1, timeout=5000)
    forecast.deleteLater()
    QCoreApplication.sendPostedEvents(forecast, QEvent.Type.DeferredDelete)
    try:
        forecast.close()
        assert probe.controls[0].stopped
    finally:
        probe.controls[0].stop()  # no thread waits for ever where this fails
    assert QThreadPool.globalInstance().waitForDone(5000)
