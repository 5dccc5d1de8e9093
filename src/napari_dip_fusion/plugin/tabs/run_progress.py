"""How far a run is: a bar in the widget, and one in napari's activity area."""

import time

from magicgui.widgets import ProgressBar

from napari_dip_fusion.plugin.running.activity import ActivityBar
from napari_dip_fusion.plugin.running.session import Phase, Session

_PARTS = 1000
"""Steps of the bar while it shows a part of a stage, and no iterations."""

_SOON = 1.0
"""Seconds after which the pace of a stage says something of the time that is left."""


class StageClock:
    """Tells how long the stage of a run will take, by the pace that it has had so far."""

    def __init__(self) -> None:
        self._stage = ""
        self._start = self._from = 0.0

    def restart(self) -> None:
        """Forget the pace."""
        self._stage = ""

    def estimate(self, stage: str, done: float, total: float) -> float | None:
        """Return the seconds that are left of a stage; None as long as nothing is known.

        Parameters
        ----------
        stage : str
            Its name; another one starts the clock anew.
        done, total : float
            How much of it is done, and how much there is.
        """
        now = time.perf_counter()
        if stage != self._stage or done < self._from:
            self._stage, self._start, self._from = stage, now, done
        passed, made = now - self._start, done - self._from
        if passed < _SOON or made <= 0:
            return None
        return passed * (total - done) / made


class RunProgress(ProgressBar):
    """A progress bar that has a twin in napari's activity area while a session runs.

    Parameters
    ----------
    session : Session
        The button of the twin stops it.

    Attributes
    ----------
    activity : ActivityBar or None
        The twin; None while nothing runs.
    """

    def __init__(self, session: Session) -> None:
        super().__init__()
        self._session = session
        self.activity: ActivityBar | None = None

    def begin(self, steps: int) -> None:
        """Get ready to show a run of so many steps."""
        # Not (0, 0): a bar that moves to and fro paints the window all the time.
        self.native.setRange(0, steps)
        self.native.reset()
        self.native.setFormat("")
        self.close_activity()
        self.activity = ActivityBar(steps, self._session.stop, self.native)
        # napari lets Qt work while it makes the bar: a short run may have ended by now.
        if self._session.phase is Phase.IDLE:
            self.close_activity()

    def show_step(self, step: int, steps: int, text: str, *, told: str = "") -> None:
        """Move to a step, with a text on the bar.

        Parameters
        ----------
        step, steps : int
        text : str
        told : str
            What the twin says; by default the name of the program alone.
        """
        self.max = steps
        self.value = step
        self.native.setFormat(text)
        if self.activity is not None:
            self.activity.show(step, steps, told)

    def show_part(self, part: float, text: str) -> None:
        """Show how much of a stage is done, from 0 to 1, with a text on the bar."""
        self.max = _PARTS
        self.value = round(_PARTS * part)
        self.native.setFormat(text)

    def close_activity(self) -> None:
        """Remove the bar from napari's activity area."""
        if self.activity is not None:
            self.activity.close()
            self.activity = None
