"""Ctrl-C in a batch: it ends the fusion of a set at once, but never between image and record."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class StopSwitch:
    """Whether a batch is to stop, set by Ctrl-C.

    While it is armed, Ctrl-C raises KeyboardInterrupt there and then. Otherwise it is only
    counted, and looked at where there is nothing to spoil.
    """

    def __init__(self) -> None:
        self.presses = 0
        self._armed = False

    @property
    def is_on(self) -> bool:
        """Whether Ctrl-C was pressed."""
        return self.presses > 0

    def press(self, number: int, frame: FrameType | None) -> None:
        """Handle the signal of Ctrl-C."""
        self.presses += 1
        if self._armed:
            self._armed = False
            raise KeyboardInterrupt

    @contextmanager
    def armed(self) -> Iterator[None]:
        """Let Ctrl-C raise KeyboardInterrupt here, at once where it was pressed before."""
        self._armed = True
        try:
            if self.is_on:
                raise KeyboardInterrupt
            yield
        finally:
            self._armed = False

    @contextmanager
    def connected(self) -> Iterator[None]:
        """Handle Ctrl-C with this switch, in place of what handled it before."""
        before = signal.signal(signal.SIGINT, self.press)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)


@contextmanager
def hold_back_signals() -> Iterator[None]:
    """Keep Ctrl-C from processes that are started here, and from this one until they are.

    A terminal sends it to all processes at once. Those of a batch are told by the one that
    started them, so that none ends with a traceback of its own.
    """
    # Windows has no such mask; there a process is on its own until it handles the signal itself.
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
