"""How far a call in another thread is, said in the GUI thread now and then."""

from collections.abc import Callable

from qtpy.QtCore import QObject, QTimer

_INTERVAL = 250
"""Milliseconds between two looks."""


def describe_stage(stage: str, done: float, total: float, parts: str = "planes") -> str:
    """Return how far a stage of a run is, as a person would say it.

    Parameters
    ----------
    stage : str
    done, total : float
        How much of it is done, and how much there is.
    parts : str
        What is counted.

    Examples
    --------
    >>> describe_stage("gains", 34.2, 128)
    'gains: 34 of 128 planes'
    """
    return f"{stage}: {done:.0f} of {total:.0f} {parts}"


class Teller(QObject):
    """Says how far a call is that computes in another thread, while it does.

    Parameters
    ----------
    say : callable
        Takes the text; called in the GUI thread.
    parent : QObject, optional
        With which it goes.
    """

    def __init__(self, say: Callable[[str], None], parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._say = say
        self._latest = ""
        self._timer = QTimer(self)
        self._timer.setInterval(_INTERVAL)
        self._timer.timeout.connect(self._look)

    def begin(self, text: str) -> None:
        """Say a text, and from then on what is told."""
        self._latest = ""
        self._say(text)
        self._timer.start()

    def tell(self, stage: str, done: float, total: float) -> None:
        """Take note of how far the call is; from any thread, such as that of the call."""
        # A single plane is there in a blink.
        if total > 1:
            self._latest = describe_stage(stage, done, total)

    def end(self) -> None:
        """Say nothing more."""
        self._timer.stop()

    def _look(self) -> None:
        if self._latest:
            self._say(self._latest)
