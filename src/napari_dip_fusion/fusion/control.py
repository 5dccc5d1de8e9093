"""How a run is held or stopped from outside."""

import threading


class Control:
    """Stop, pause and resume a run from another thread or between its events.

    Every call takes effect within one iteration.
    """

    def __init__(self) -> None:
        self._stop = threading.Event()
        self._running = threading.Event()
        self._running.set()

    def stop(self) -> None:
        """End the run and keep its best output so far."""
        self._stop.set()
        # A paused run wakes up to end.
        self._running.set()

    def pause(self) -> None:
        """Hold the run before its next iteration."""
        self._running.clear()
        # Looked at last: a run that another thread has stopped meanwhile must not be held.
        if self.stopped:
            self._running.set()

    def resume(self) -> None:
        """Let a paused run go on."""
        self._running.set()

    @property
    def stopped(self) -> bool:
        """Whether :meth:`stop` was called."""
        return self._stop.is_set()

    @property
    def paused(self) -> bool:
        """Whether the run is held."""
        return not self._running.is_set()

    def wait_while_paused(self) -> None:
        """Return at once, or when a paused run is resumed or stopped."""
        self._running.wait()
