"""A fusion in a worker thread: its control, its events and its failures.

Everything here is free of widgets and layers: :func:`relay` runs in the
worker thread, and the events that it yields are what the widget shows.
"""

import logging
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, replace
from functools import partial
from threading import Event as Flag
from typing import Any, TypeVar

from napari.qt.threading import FunctionWorker, GeneratorWorker, create_worker

from napari_dip_fusion.errors import FusionError
from napari_dip_fusion.fusion import Control, Done, Event, FusionResult, Preview, StepDone
from napari_dip_fusion.prior.devices import torch_is_imported

log = logging.getLogger(__name__)

T = TypeVar("T")

EVENT_INTERVAL = 0.25
"""Smallest time in seconds between two reports of progress, each of which paints the window."""

TORCH_HELP = (
    "PyTorch cannot be imported ({}). Install or repair it in napari's environment with "
    "'python -m pip install --force-reinstall torch', then restart napari"
)


class RunControl(Control):
    """A control that can also throw a run away.

    Attributes
    ----------
    preview_waiting : bool
        Whether a preview was sent and is not yet shown; until then no other
        is sent, so that slow drawing never makes a queue.
    """

    def __init__(self) -> None:
        super().__init__()
        self._discarded = Flag()
        self.preview_waiting = False

    def discard(self) -> None:
        """End the run within one iteration, without a result."""
        self._discarded.set()
        self.resume()

    @property
    def discarded(self) -> bool:
        """Whether :meth:`discard` was called."""
        return self._discarded.is_set()

    def pause(self) -> None:
        """Hold the run before its next iteration."""
        if not self.discarded:
            super().pause()


@dataclass(frozen=True)
class Progress:
    """The iterations since the last report.

    Attributes
    ----------
    steps : tuple of StepDone
        At least one; the last says where the run is.
    """

    steps: tuple[StepDone, ...]

    @property
    def last(self) -> StepDone:
        """The latest iteration."""
        return self.steps[-1]


@dataclass(frozen=True, eq=False)
class Failed:
    """The run ended with an error.

    Attributes
    ----------
    message : str
        What happened and what to do.
    result : FusionResult or None
        The best image so far, where there is one; without network and optimiser.
    """

    message: str
    result: FusionResult | None = None


@dataclass(frozen=True)
class Discarded:
    """The run ended because the user threw it away."""


RunEvent = Event | Progress | Failed | Discarded
"""What a run reports; the last one is Done, Failed or Discarded. StepDone comes in Progress."""


def relay(
    events: Callable[[], Iterator[T]],
    control: RunControl,
    *,
    interval: float = EVENT_INTERVAL,
) -> Generator[T | Progress | Failed | Discarded, None, None]:
    """Yield the events of a run, those of a fusion thinned out, and its failure as an event.

    An exception never leaves this generator: napari's generator workers emit
    nothing at all when a RuntimeError does.

    Parameters
    ----------
    events : callable
        Returns an iterator, like that of :func:`napari_dip_fusion.fusion.iter_fuse`;
        called in the worker thread.
    control : RunControl
    interval : float
        Smallest time in seconds between two Progress events.
    """
    outcome: T | Failed | Discarded | None
    try:
        outcome = yield from _thinned(events, control, interval)
    except Exception as error:
        outcome = _failure(error)
    finally:
        release_memory()
    if control.discarded:
        yield Discarded()
    elif outcome is not None:
        yield outcome


def _thinned(
    events: Callable[[], Iterator[T]], control: RunControl, interval: float
) -> Generator[T | Progress, None, T | None]:
    """Yield all events but the Done of a fusion, which is returned."""
    steps: list[StepDone] = []
    reported = time.perf_counter()
    for event in events():
        if control.discarded:
            break
        if isinstance(event, StepDone):
            steps.append(event)
            if time.perf_counter() - reported < interval:
                continue
        elif isinstance(event, Preview):
            if control.preview_waiting:
                continue
            control.preview_waiting = True
        if steps:
            yield Progress(tuple(steps))
            steps = []
            reported = time.perf_counter()
        if isinstance(event, Done):
            return event
        if not isinstance(event, StepDone):
            yield event
    return None


def explain(error: BaseException) -> str:
    """Say what happened and what to do, for any exception of a run."""
    if isinstance(error, ImportError | OSError) and "torch" in _origin(error):
        return TORCH_HELP.format(error)
    if isinstance(error, FusionError | ValueError):
        return str(error)
    if isinstance(error, MemoryError):
        return "Not enough memory; use a smaller width or smaller images, or close other layers"
    return (
        f"{type(error).__name__}: {error}. This was not expected: please report it with the "
        "traceback from the terminal"
    )


def _failure(error: Exception) -> Failed:
    result = getattr(error, "result", None)
    if not isinstance(error, FusionError | ValueError):
        log.exception("a fusion failed")
    if isinstance(result, FusionResult):
        # The network of a failed run is of no use, and may fill the device.
        return Failed(explain(error), replace(result, state=None))
    return Failed(explain(error))


def _origin(error: BaseException) -> str:
    """Name what an import error is about: module, message and file."""
    parts = (str(error), getattr(error, "name", None), getattr(error, "filename", None))
    return " ".join(str(p) for p in parts if p)


def release_memory() -> None:
    """Give memory that nothing uses back to the GPU."""
    if not torch_is_imported():
        return
    import torch

    if torch.cuda.is_available():
        torch.cuda.empty_cache()


class _Named(partial[Any]):
    """A call that says what it is where napari lists unfinished tasks."""

    def __repr__(self) -> str:
        return "an image fusion (DIP Fusion)"


class _Once:
    """A function that is forgotten when it is called.

    napari keeps every worker, with its arguments, until the window closes;
    images must not be among them.
    """

    def __init__(self, function: Callable[[], Any]) -> None:
        self._function: Callable[[], Any] | None = function

    def __call__(self) -> Any:
        function, self._function = self._function, None
        assert function is not None
        return function()


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
    events
        As for :func:`relay`.
    control : RunControl
    receive : callable
        Called in the GUI thread with each event.
    """
    worker: FusionWorker = create_worker(
        _Named(relay, _Once(events), control), _start_thread=False, _worker_class=FusionWorker
    )
    worker.control = control
    worker.yielded.connect(receive)
    worker.start()
    return worker


def start_task(function: Callable[[], Any], receive: Callable[[Any], None]) -> FunctionWorker[Any]:
    """Run a function in a worker thread; call from the GUI thread.

    Parameters
    ----------
    function : callable
        Takes nothing.
    receive : callable
        Called in the GUI thread with what `function` returned, or with a
        Failed event if it raised.
    """
    worker = create_worker(_Named(_caught, _Once(function)), _start_thread=False)
    worker.returned.connect(receive)
    worker.start()
    return worker


def _caught(function: Callable[[], Any]) -> Any:
    try:
        return function()
    except Exception as error:
        return _failure(error)
