"""Long computations of a run in a thread of their own, so that their progress comes as events."""

import queue
import threading
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager
from contextvars import copy_context
from typing import Generic, TypeVar

from napari_dip_fusion.errors import StoppedError
from napari_dip_fusion.fusion.events import PlanesDone
from napari_dip_fusion.interruption import make_interruptible, make_observable

T = TypeVar("T")

# Seconds between two looks at how far a computation is.
_INTERVAL = 0.1


def observe(
    work: Callable[[], T], watch: Callable[[], AbstractContextManager[None]], planes: int
) -> Generator[PlanesDone, None, T]:
    """Return what a computation returns, and yield how far it is on the way.

    Parameters
    ----------
    work : callable
        The computation.
    watch : callable
        Returns the context that ends it, such as :meth:`.Control.watch`.
    planes : int
        How many planes it is on. With one, nothing is yielded, and it computes in this thread.

    Raises
    ------
    Exception
        What the computation raises.
    """
    if planes == 1:
        with watch():
            return work()
    computation = _Computation(work, watch)
    try:
        yield from computation.follow()
    finally:
        # Whoever listens no longer wants no result either.
        computation.end()
    return computation.result()


class _Computation(Generic[T]):
    """A computation in a thread of its own, with its progress."""

    def __init__(self, work: Callable[[], T], watch: Callable[[], AbstractContextManager[None]]):
        self._work, self._watch = work, watch
        self._told: queue.SimpleQueue[PlanesDone] = queue.SimpleQueue()
        self._abandoned = threading.Event()
        self._results: list[T] = []
        self._errors: list[BaseException] = []
        context = copy_context()
        # A daemon: a program that exits does not wait for it.
        self._thread = threading.Thread(target=context.run, args=(self._compute,), daemon=True)
        self._thread.start()

    def _compute(self) -> None:
        try:
            wanted = make_interruptible(self._raise_if_abandoned)
            with self._watch(), wanted, make_observable(self._tell):
                self._results.append(self._work())
        except BaseException as error:
            self._errors.append(error)

    def _raise_if_abandoned(self) -> None:
        if self._abandoned.is_set():
            raise StoppedError("nobody waits for this computation any more")

    def _tell(self, stage: str, done: float, total: float) -> None:
        self._told.put(PlanesDone(stage, done, total))

    def follow(self) -> Generator[PlanesDone, None, None]:
        """Yield the latest progress now and then, until the computation has ended."""
        while self._thread.is_alive():
            self._thread.join(_INTERVAL)
            yield from self._list_latest()

    def _list_latest(self) -> list[PlanesDone]:
        """Return what was told since the last look: of each stage the latest."""
        latest: dict[str, PlanesDone] = {}
        while not self._told.empty():
            event = self._told.get()
            latest[event.stage] = event
        return list(latest.values())

    def end(self) -> None:
        """Wait for the computation, and end it where it still goes on."""
        self._abandoned.set()
        self._thread.join()

    def result(self) -> T:
        """Return what the computation returned, or raise what it raised."""
        if self._errors:
            raise self._errors[0]
        return self._results[0]
