"""Worker threads: of runs, which report events, and of single calls."""

import atexit
import weakref
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, TypeVar

from napari.qt.threading import FunctionWorker, GeneratorWorker, create_worker
from napari.utils.notifications import show_warning
from qtpy.QtCore import QThreadPool

from napari_dip_fusion.fusion import Control
from napari_dip_fusion.plugin.running.run_events import (
    Discarded,
    Failed,
    Progress,
    RunControl,
    relay,
    report_failure,
)

T = TypeVar("T")

LONGEST_EXIT = 60_000
"""Milliseconds for which the program's exit waits for the worker threads to end."""

# Of the runs and estimates that go on; an exit must not wait until their last iteration.
_controls: "weakref.WeakSet[Control]" = weakref.WeakSet()


class FusionWorker(GeneratorWorker):
    """A worker whose quit() ends the run within one iteration, even if it is paused.

    napari calls quit() on every worker when a window closes.
    """

    control: RunControl

    def quit(self) -> None:
        """Throw the run away; the worker then returns by itself."""
        self.control.discard()


def start_worker(
    events: Callable[[], Iterator[T]],
    control: RunControl,
    receive: Callable[[T | Progress | Failed | Discarded], None],
) -> FusionWorker:
    """Start a fusion, or another run, in a worker thread; call from the GUI thread.

    Parameters
    ----------
    events : callable
        As for :func:`~napari_dip_fusion.plugin.running.run_events.relay`.
    control : RunControl
    receive : callable
        Called in the GUI thread with each event.
    """
    call = _DescribedCall(relay, _OneTimeCall(events), control)
    # The signal is connected first: a short run may end before this function does.
    worker: FusionWorker = create_worker(call, _start_thread=False, _worker_class=FusionWorker)
    worker.control = control
    _controls.add(control)
    worker.yielded.connect(receive)
    # napari's own relay is not reached by generator workers.
    worker.warned.connect(_show_warning)
    worker.start()
    return worker


def start_call(
    function: Callable[[], Any],
    receive: Callable[[Any], None],
    control: Control | None = None,
) -> FunctionWorker[Any]:
    """Run a function in a worker thread; call from the GUI thread.

    Parameters
    ----------
    function : callable
        Takes nothing.
    receive : callable
        Called in the GUI thread with what `function` returned, or with a
        Failed event if it raised.
    control : Control, optional
        Stopped when the program exits.
    """
    if control is not None:
        _controls.add(control)
    call = _DescribedCall(_call_or_report, _OneTimeCall(function))
    worker = create_worker(call, _start_thread=False)
    worker.returned.connect(receive)
    worker.start()
    return worker


@atexit.register
def end_workers() -> None:
    """End what still runs, and wait for its threads; called when the program exits.

    A script may exit while its window is open. A thread that went on would report to Qt objects
    which are gone by then.
    """
    for control in list(_controls):
        control.discard()
        control.stop()
    QThreadPool.globalInstance().waitForDone(LONGEST_EXIT)


def _show_warning(details: tuple[Any, ...]) -> None:
    """Show a warning of a run as napari shows its own; runs in the GUI thread."""
    # The details are those of warnings.showwarning, the text first.
    if issubclass(details[1], UserWarning):
        show_warning(f"DIP Fusion: {details[0]}")


class _DescribedCall(partial[Any]):
    """A call that says what it is where napari lists unfinished tasks."""

    def __repr__(self) -> str:
        return "an image fusion (DIP Fusion)"


class _OneTimeCall:
    """A function that is forgotten when it is called.

    napari keeps every worker, with its arguments, until the window closes;
    images must not be among them.
    """

    def __init__(self, function: Callable[[], Any]) -> None:
        self._function: Callable[[], Any] | None = function

    def __call__(self) -> Any:
        # Before the call, so that what it holds can go when it ends.
        function, self._function = self._function, None
        assert function is not None
        return function()


def _call_or_report(function: Callable[[], Any]) -> Any:
    """Return the value of a function, or its exception as a Failed event."""
    try:
        return function()
    # napari would show a traceback, which says to few people what to do.
    except Exception as error:
        return report_failure(error)
