"""What every run has in common: worker, phase, layers that it watches."""

import enum
import weakref
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from napari import Viewer
from qtpy.QtCore import QObject, Signal

from napari_dip_fusion.plugin.layers.source_watch import SourceWatch
from napari_dip_fusion.plugin.layers.subscriptions import Subscriptions
from napari_dip_fusion.plugin.running.active_runs import add_run, remove_run
from napari_dip_fusion.plugin.running.plan import Plan
from napari_dip_fusion.plugin.running.run_events import RunControl
from napari_dip_fusion.plugin.running.worker import start_worker


class Phase(enum.Enum):
    """What a session is doing."""

    IDLE = "idle"
    RUNNING = "running"
    PAUSED = "paused"
    ENDING = "ending"


class Session(QObject):
    """Runs one plan at a time; what is done with its events is the subclass's.

    Signals
    -------
    phase_changed
        The session does something else now.
    reported (object)
        The worker has sent an event, which the session has dealt with.
    noted (str)
        Something happened to a layer of the run that the user should know.

    Attributes
    ----------
    phase : Phase
    """

    phase_changed = Signal()
    reported = Signal(object)
    noted = Signal(str)

    def __init__(self, viewer: Viewer, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self._control: RunControl | None = None
        self._sources = SourceWatch(viewer, self)
        self._sources.noted.connect(self.noted)
        self._events = Subscriptions()
        self.phase = Phase.IDLE

    def stop(self) -> None:
        """End the run as soon as it can be left, and keep what it has made."""
        if self._control is not None:
            self._control.stop()
            self._set_phase(Phase.ENDING)

    def close(self) -> None:
        """End the run without any further result, and listen to nothing any more."""
        if self._control is not None:
            self._control.discard()
        # No signal: when the program exits, the Qt part may be gone already.
        self._release()
        self._events.close()

    def abandon(self) -> str:
        """End the run, whose panel is closed, and leave no image that looks like a result.

        Returns
        -------
        str
            What became of the run; empty if there was none.
        """
        # Each session has images of its own, and its class says this: nobody makes a plain one.
        # It cannot be an abstractmethod: a QObject has a metaclass of its own, which does not go
        # together with that of abc.
        raise NotImplementedError

    def receive(self, event: Any, control: RunControl) -> None:
        """Take an event of a worker; runs in the GUI thread."""
        # A run that was given up may still report; only the present one is heard.
        if control is self._control:
            self.reported.emit(self._take(event, control))

    def _take(self, event: Any, control: RunControl) -> Any:
        """Deal with an event of the present run, and return what is to be reported of it."""
        # For each session to say in its class, and no abstractmethod, as above.
        raise NotImplementedError

    def _run(self, plan: Plan, events: Callable[[Plan, RunControl], Iterator[Any]]) -> None:
        """Start a worker.

        Parameters
        ----------
        plan : Plan
            Its layers are watched until the run ends.
        events : callable
            Gets the plan, but for its layers, and the control of the run; returns
            the iterator of the run's events. Called in the worker thread.
        """
        self._control = control = RunControl()
        add_run(self)
        self._sources.follow(plan.layers, plan.names)
        self._set_phase(Phase.RUNNING)
        receive = _make_receiver(weakref.ref(self), control)
        # Layers may be touched in this thread only: the worker gets none.
        start_worker(partial(events, plan.drop_layers(), control), control, receive)

    def _end(self) -> None:
        self._release()
        self.phase_changed.emit()

    def _release(self) -> None:
        self._control = None
        remove_run(self)
        self._sources.close()
        self.phase = Phase.IDLE

    def _set_phase(self, phase: Phase) -> None:
        self.phase = phase
        if phase is Phase.ENDING:
            # What happens to the sources no longer matters.
            self._sources.close()
        self.phase_changed.emit()


def _make_receiver(session: "weakref.ref[Session]", control: RunControl) -> Callable[[Any], None]:
    """Return what passes the events of a run on, as long as the session lives."""
    # napari keeps the worker and its connections until the window closes, but not the session.

    def receive(event: Any) -> None:
        alive = session()
        if alive is not None:
            alive.receive(event, control)

    return receive
