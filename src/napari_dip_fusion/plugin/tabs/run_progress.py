"""How far a run is: a bar in the widget, and one in napari's activity area."""

from magicgui.widgets import ProgressBar

from napari_dip_fusion.plugin.running.activity import ActivityBar
from napari_dip_fusion.plugin.running.session import Phase, Session


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

    def show_step(self, step: int, steps: int, text: str) -> None:
        """Move to a step, with a text on the bar."""
        self.max = steps
        self.value = step
        self.native.setFormat(text)
        if self.activity is not None:
            self.activity.show(step)

    def close_activity(self) -> None:
        """Remove the bar from napari's activity area."""
        if self.activity is not None:
            self.activity.close()
            self.activity = None
