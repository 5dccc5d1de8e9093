import threading
from functools import partial

import numpy as np
import pytest
import torch

from napari_dip_fusion import FusionConfig, FusionError, iter_fuse
from napari_dip_fusion.errors import TorchMissingError
from napari_dip_fusion.fusion import Decided, Done, GainsReady, Preview, StepDone
from napari_dip_fusion.fusion.events import PlanesDone
from napari_dip_fusion.plugin.running import worker
from napari_dip_fusion.plugin.running.run_events import (
    Discarded,
    Failed,
    Progress,
    RunControl,
    explain,
    relay,
)

CONFIG = FusionConfig(
    iterations=6, width=4, depth=2, threads=1, stop="iterations", network="always"
)


def steps(count):
    for i in range(1, count + 1):
        yield StepDone(iteration=i, iterations=count, loss=1 / i, floor=0.0, rate=10.0)


def test_events_of_a_fusion_are_thinned_out(pair):
    control = RunControl()
    run = partial(iter_fuse, pair, CONFIG, control=control, preview_rate=4.0)
    events = list(relay(run, control, interval=999))
    assert [type(e) for e in events] == [
        Decided,
        GainsReady,
        Preview,
        Progress,
        Done,
    ]
    iterations = [s.iteration for e in events if isinstance(e, Progress) for s in e.steps]
    assert iterations == [1, 2, 3, 4, 5, 6]


def test_every_step_is_reported_where_there_is_time(pair):
    events = list(relay(lambda: steps(3), RunControl(), interval=0))
    assert [len(e.steps) for e in events if isinstance(e, Progress)] == [1, 1, 1]


def test_a_preview_is_sent_only_when_the_last_was_shown():
    image = np.zeros((2, 2), dtype=np.float32)
    control = RunControl()
    events = relay(lambda: iter([Preview(1, image), Preview(2, image), Preview(3, image)]), control)
    assert next(events).iteration == 1
    control.preview_waiting = False
    assert next(events).iteration == 2
    assert not list(events)


def test_events_of_other_runs_are_passed_on():
    assert list(relay(lambda: iter("abc"), RunControl())) == ["a", "b", "c"]
    control = RunControl()
    events = relay(lambda: iter("abc"), control)
    assert next(events) == "a"
    control.discard()
    assert list(events) == [Discarded()]


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (torch.OutOfMemoryError("CUDA out of memory"), "OutOfMemoryError"),
        (RuntimeError("shapes"), "RuntimeError: shapes. This was not expected"),
        (MemoryError(), "smaller width or smaller images"),
        (ValueError("images must be 2-D; choose a plane"), "choose a plane"),
        (FusionError("the loss is no longer finite; use a smaller one"), "no longer finite"),
        (TorchMissingError("PyTorch cannot be imported"), "PyTorch cannot be imported"),
        # What an error is about is not guessed from the words in it.
        (FileNotFoundError(2, "No such file", "torch_scan.nii"), "FileNotFoundError: [Errno 2]"),
        (ModuleNotFoundError("No module named 'torchlight'"), "ModuleNotFoundError: No module"),
    ],
)
def test_every_failure_becomes_an_event_with_advice(error, words):
    def broken():
        yield from steps(1)
        raise error

    *_, last = relay(broken, RunControl(), interval=0)
    assert isinstance(last, Failed)
    assert words in last.message
    assert explain(error) == last.message


def test_a_failure_keeps_the_best_image_but_not_the_network(pair):
    *_, done = iter_fuse(pair, CONFIG, keep_state=True)

    def broken():
        yield from ()
        raise FusionError("not enough memory; use a smaller width", done.result)

    (failed,) = relay(broken, RunControl())
    assert failed.result.image is done.result.image
    assert failed.result.state is None


def test_a_discarded_run_ends_at_the_next_iteration():
    control = RunControl()
    events = relay(lambda: steps(100), control, interval=0)
    next(events)
    control.discard()
    assert list(events) == [Discarded()]


class Observed(RunControl):
    """Says when a run is held."""

    def __init__(self):
        super().__init__()
        self.held = threading.Event()

    def wait_while_paused(self):
        self.held.set()
        super().wait_while_paused()


def test_a_paused_run_can_be_discarded(pair):
    control = Observed()
    control.pause()
    seen = []
    thread = threading.Thread(
        target=lambda: seen.extend(
            relay(lambda: iter_fuse(pair, CONFIG, control=control), control, interval=0)
        )
    )
    thread.start()
    assert control.held.wait(10)
    assert thread.is_alive()
    control.discard()
    control.pause()
    thread.join(10)
    assert not thread.is_alive()
    assert seen[-1] == Discarded()


def test_a_call_is_forgotten_when_it_is_made():
    once = worker._OneTimeCall(lambda: 3)
    assert once() == 3
    assert vars(once) == {"_function": None}


def planes(stage, count):
    for i in range(count + 1):
        yield PlanesDone(stage, i, count)


def test_the_planes_of_a_stage_are_thinned_out():
    def run():
        yield from planes("gains", 50)
        yield from planes("metrics", 50)
        yield from steps(2)

    events = list(relay(run, RunControl(), interval=999))
    assert [(e.stage, e.done) for e in events if isinstance(e, PlanesDone)] == [
        ("gains", 0),
        ("metrics", 0),
    ]
    everything = list(relay(run, RunControl(), interval=0))
    assert sum(isinstance(e, PlanesDone) for e in everything) == 102
