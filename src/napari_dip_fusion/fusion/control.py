"""How a run is held or stopped from outside."""

import threading
from contextlib import AbstractContextManager

from napari_dip_fusion.errors import StoppedError
from napari_dip_fusion.interruption import make_interruptible


class Control:
    """Stop, pause and resume a run, or throw it away, from another thread or between its events.

    Every call takes effect within one iteration, or one step of what comes before and after them.
    """

    def __init__(self) -> None:
        self._stop = threading.Event()
        self._discard = threading.Event()
        self._running = threading.Event()
        self._running.set()

    def stop(self) -> None:
        """End the run and keep its best image so far, if it has one."""
        self._stop.set()
        # A paused run wakes up to end.
        self._running.set()

    def discard(self) -> None:
        """End the run without a result."""
        self._discard.set()
        self._running.set()

    def pause(self) -> None:
        """Hold the run before its next step."""
        self._running.clear()
        # Looked at last: a run that another thread has ended meanwhile must not be held.
        if self.stopped or self.discarded:
            self._running.set()

    def resume(self) -> None:
        """Let a paused run go on."""
        self._running.set()

    @property
    def stopped(self) -> bool:
        """Whether :meth:`stop` was called."""
        return self._stop.is_set()

    @property
    def discarded(self) -> bool:
        """Whether :meth:`discard` was called."""
        return self._discard.is_set()

    @property
    def paused(self) -> bool:
        """Whether the run is held."""
        return not self._running.is_set()

    def wait_while_paused(self) -> None:
        """Return at once, or when a paused run is resumed or ended."""
        self._running.wait()

    def raise_if_stopped(self) -> None:
        """Wait while the run is paused, then end it if it was stopped or thrown away.

        Raises
        ------
        StoppedError
        """
        if self.paused:
            self.wait_while_paused()
        if self.stopped or self.discarded:
            raise StoppedError("stopped before there was an image; nothing was kept")

    def raise_if_discarded(self) -> None:
        """End the run if it was thrown away: one that was stopped still completes its image.

        Raises
        ------
        StoppedError
        """
        if self.discarded:
            raise StoppedError("the run was thrown away")

    def watch(self) -> AbstractContextManager[None]:
        """Return a context in which computations end when the run is stopped.

        They raise StoppedError within it: there is no image yet.
        """
        return make_interruptible(self.raise_if_stopped)

    def watch_discarding(self) -> AbstractContextManager[None]:
        """Return a context in which computations end only when the run is thrown away."""
        return make_interruptible(self.raise_if_discarded)
