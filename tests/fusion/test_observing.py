"""Computations in a thread of their own, with their progress as events."""

import threading
import time

import pytest

from napari_dip_fusion.errors import FusionError, StoppedError
from napari_dip_fusion.fusion import Control, PlanesDone
from napari_dip_fusion.fusion.observing import observe
from napari_dip_fusion.interruption import advance, checkpoint, make_observable, stage
from napari_dip_fusion.sensor.threads import map_on_threads


def drain(events):
    """Return the events of a generator, and what it returns."""
    told = []
    while True:
        try:
            told.append(next(events))
        except StopIteration as end:
            return told, end.value


def work() -> str:
    with stage("gains", 4):
        map_on_threads(lambda _: (time.sleep(0.15), advance(1)), range(4))
    return "done"


def test_progress_comes_as_events() -> None:
    told, value = drain(observe(work, Control().watch, 4))
    assert value == "done"
    assert {event.stage for event in told} == {"gains"}
    done = [event.done for event in told]
    assert done == sorted(done)
    assert told[-1] == PlanesDone("gains", 4, 4)


def test_one_plane_is_computed_where_it_is_asked_for() -> None:
    told, value = drain(observe(threading.get_ident, Control().watch, 1))
    assert (told, value) == ([], threading.get_ident())


def test_errors_come_to_whoever_asked() -> None:
    def fail() -> None:
        raise FusionError("no memory")

    with pytest.raises(FusionError, match="no memory"):
        drain(observe(fail, Control().watch, 2))


def wait_for_ever(started: threading.Event) -> None:
    started.set()
    while True:
        checkpoint()
        time.sleep(0.01)


def test_a_stopped_run_ends_its_computation() -> None:
    control, started = Control(), threading.Event()
    threading.Timer(0.2, control.stop).start()
    with pytest.raises(StoppedError):
        drain(observe(lambda: wait_for_ever(started), control.watch, 2))


def test_nothing_goes_on_when_nobody_listens() -> None:
    started, before = threading.Event(), threading.active_count()

    def tell_and_wait() -> None:
        with stage("gains", 2):
            advance(1)
            wait_for_ever(started)

    events = observe(tell_and_wait, Control().watch, 2)
    next(events)
    assert started.wait(5)
    events.close()
    assert threading.active_count() == before


def test_whoever_waits_outside_is_asked_and_told_as_well() -> None:
    outer, told, started = Control(), [], threading.Event()

    def tell_and_wait() -> None:
        with stage("gains", 2):
            advance(1)
            wait_for_ever(started)

    threading.Timer(0.3, outer.stop).start()
    with (
        outer.watch(),
        make_observable(lambda *progress: told.append(progress)),
        pytest.raises(StoppedError),
    ):
        drain(observe(tell_and_wait, Control().watch, 2))
    assert started.is_set()
    assert ("gains", 1, 2) in told
