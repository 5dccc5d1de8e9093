"""What a run in a worker thread reports, whatever its end.

Nothing here knows widgets or layers: :func:`relay` runs in the worker thread,
and the events that it yields are what the widget shows.
"""

import logging
import threading
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from napari_dip_fusion.blocks import BlockDone, BlocksDone
from napari_dip_fusion.blocks.events import BlockEvent
from napari_dip_fusion.errors import FusionError, StoppedError
from napari_dip_fusion.fusion import Control, Done, Event, FusionResult, Preview, StepDone
from napari_dip_fusion.fusion.events import PlanesDone
from napari_dip_fusion.prior.devices import torch_is_imported

log = logging.getLogger(__name__)

T = TypeVar("T")

EVENT_INTERVAL = 0.25
"""Smallest time in seconds between two reports of progress, each of which paints the window."""


class RunControl(Control):
    """A control that also counts the previews on their way.

    Attributes
    ----------
    preview_waiting : bool
        Whether a preview was sent and is not yet shown; until then no other
        is sent, so that slow drawing never makes a queue.
    erases : bool
        Whether a run that is thrown away takes with it what it has written, which is kept where
        it ends because napari is closed.
    """

    def __init__(self) -> None:
        super().__init__()
        self.preview_waiting = False
        self.erases = False


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
class FirstLook:
    """The plane on the screen, fused by itself before the whole stack is.

    Attributes
    ----------
    image : ndarray of shape (M, N) or (M, N, 3)
        In [0, 1].
    where : tuple of int or slice
        Where it lies in the result.
    """

    image: NDArray[np.float32]
    where: tuple[int | slice, ...]


@dataclass(frozen=True, eq=False)
class Failed:
    """The run ended with an error.

    Attributes
    ----------
    message : str
        What happened and what to do.
    result : FusionResult or None
        The best image so far, where there is one; without network and optimizer.
    """

    message: str
    result: FusionResult | None = None


@dataclass(frozen=True)
class Discarded:
    """The run ended because the user threw it away, or stopped it before it had an image.

    Attributes
    ----------
    message : str
        What is kept of it, if anything is.
    """

    message: str = ""


RunEvent = Event | BlockEvent | FirstLook | Progress | Failed | Discarded
"""What a run reports; the last one is Done, BlocksDone, Failed or Discarded. StepDone comes in
Progress."""


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
        outcome = yield from _thin_out(events, control, interval)
    except StoppedError:
        outcome = Discarded()
    except Exception as error:
        outcome = report_failure(error)
    finally:
        # However the run ended, the next one needs the device's memory.
        release_memory()
    # Whatever the run came to meanwhile, the user wants nothing of it.
    if control.discarded:
        yield Discarded()
    elif outcome is not None:
        yield outcome


def _thin_out(
    events: Callable[[], Iterator[T]], control: RunControl, interval: float
) -> Generator[T | Progress, None, T | None]:
    """Yield all events but the last one of a fusion, which is returned."""
    steps: list[StepDone] = []
    stage = ""
    reported = time.perf_counter()
    for event in events():
        if control.discarded:
            break
        if isinstance(event, PlanesDone):
            # The first of a stage says what goes on now.
            if event.stage == stage and time.perf_counter() - reported < interval:
                continue
            stage, reported = event.stage, time.perf_counter()
        if isinstance(event, StepDone):
            steps.append(event)
            if time.perf_counter() - reported < interval:
                continue
        elif isinstance(event, BlockDone):
            # Each tells of all blocks before it.
            if event.done < event.total and time.perf_counter() - reported < interval:
                continue
            reported = time.perf_counter()
        elif isinstance(event, Preview):
            if control.preview_waiting:
                continue
            control.preview_waiting = True
        # Steps first: what a preview or the end shows was made by them.
        if steps:
            yield Progress(tuple(steps))
            steps = []
            reported = time.perf_counter()
        if isinstance(event, Done | BlocksDone):
            return event
        if not isinstance(event, StepDone):
            yield event
    return None


def report_failure(error: Exception) -> Failed:
    """Return the event for an exception of a run, with what the run has made so far."""
    result = getattr(error, "result", None)
    # The traceback of an error that we foresaw would tell the user nothing more; nor would that
    # of a run from under which Python takes its thread pools, because the program exits.
    exits = not threading.main_thread().is_alive()
    if not exits and not isinstance(error, FusionError | ValueError):
        log.exception("a fusion failed")
    if isinstance(result, FusionResult):
        # The network of a failed run is of no use, and may fill the device.
        return Failed(explain(error), replace(result, state=None))
    return Failed(explain(error))


def explain(error: BaseException) -> str:
    """Say what happened and what to do, for any exception of a run."""
    if isinstance(error, FusionError | ValueError):
        return str(error)
    if isinstance(error, MemoryError):
        return "Not enough memory; use a smaller width or smaller images, or close other layers"
    return (
        f"{type(error).__name__}: {error}. This was not expected: please report it with the "
        "traceback from the terminal"
    )


def release_memory() -> None:
    """Give memory that nothing uses any more back to the GPU."""
    if not torch_is_imported():
        return
    import torch

    if torch.cuda.is_available():
        torch.cuda.empty_cache()
