"""One comparison of a widget from its start to its end: worker, layers, results."""

import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from napari import Viewer
from napari.layers import Image
from qtpy.QtCore import QObject, Signal

from napari_dip_fusion.plugin.layers.reading import Placement, add_fused_layer
from napari_dip_fusion.plugin.layers.source_watch import SourceWatch
from napari_dip_fusion.plugin.layers.subscriptions import Subscriptions
from napari_dip_fusion.plugin.running.comparison_run import (
    Compared,
    Ended,
    Entry,
    LeftOut,
    Task,
    start_comparison,
)
from napari_dip_fusion.plugin.running.fusion_session import State
from napari_dip_fusion.plugin.running.turns import end_turn, require_turn, take_turn
from napari_dip_fusion.plugin.running.worker import Discarded, Failed, RunControl


@dataclass(frozen=True, eq=False)
class Comparison:
    """A task, and the layers that it was taken from and goes to.

    Attributes
    ----------
    task : Task
    layers : tuple of Image
        The sources; only watched, never read again.
    place : Placement
        Where the results go.
    """

    task: Task
    layers: tuple[Image, ...]
    place: Placement


@dataclass(eq=False)
class Result:
    """A method's scores, and its image as long as that is in the viewer."""

    entry: Entry
    metrics: dict[str, float]
    seconds: float
    layer: Image | None


class ComparisonSession(QObject):
    """Runs one comparison at a time, and adds a layer for each result.

    Signals
    -------
    state_changed
        The session does something else now: it is idle, running or ending.
    reported (CompareEvent, Failed or Discarded)
        The worker reports; after the layer was added.
    noted (str)
        Something happened to a source that the user should know.
    """

    state_changed = Signal()
    reported = Signal(object)
    noted = Signal(str)

    def __init__(self, viewer: Viewer, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self._control: RunControl | None = None
        self._watch = SourceWatch(viewer, self)
        self._watch.noted.connect(self.noted)
        self._place: Placement | None = None
        self.state = State.IDLE
        self._events = Subscriptions()
        self._events.connect(viewer.layers.events.removed, self._forget_removed)
        self.results: list[Result] = []
        self.left_out: list[LeftOut] = []

    def start(self, comparison: Comparison) -> None:
        """Run all methods of a comparison; what the last one gave is forgotten.

        Raises
        ------
        ValueError
            If a fusion or a comparison runs already.
        """
        require_turn()
        self.results, self.left_out = [], []
        self._place = comparison.place
        self._control = control = RunControl()
        take_turn(self)
        self._watch.follow(comparison.layers, comparison.task.names)
        self._become(State.RUNNING)
        # A run that was given up may still report; only the present one is heard.
        start_comparison(comparison.task, control, _receiver(weakref.ref(self), control))

    def stop(self) -> None:
        """End the run after this iteration or method, and keep what is finished."""
        if self._control is not None:
            self._control.stop()
            self._become(State.ENDING)

    def close(self) -> None:
        """End a run without any further result, and listen to nothing any more."""
        if self._control is not None:
            self._control.discard()
        # No signal: when the program exits, the Qt part may be gone already.
        self._release()
        self._events.close()

    def receive(self, event: Any, control: RunControl) -> None:
        """Take an event of a worker; runs in the GUI thread."""
        if control is not self._control:
            return
        if isinstance(event, Compared):
            self._add(event)
        elif isinstance(event, LeftOut):
            self.left_out.append(event)
        elif isinstance(event, Ended | Failed | Discarded):
            self._release()
            self.state_changed.emit()
        self.reported.emit(event)

    def _add(self, event: Compared) -> None:
        assert self._place is not None
        names = " + ".join(source["name"] for source in event.record["sources"])
        name = f"{event.entry.short}: {names}"
        layer = add_fused_layer(self._viewer, event.image, name, self._place)
        layer.metadata["dip_fusion"] = {
            "record": event.record,
            "metrics": event.metrics,
            "plane": self._place.plane,
        }
        self.results.append(Result(event.entry, event.metrics, event.seconds, layer))

    def _forget_removed(self) -> None:
        """Let go of the memory of layers that the user removes; their scores stay."""
        for result in self.results:
            if result.layer is not None and result.layer not in self._viewer.layers:
                result.layer = None

    def _release(self) -> None:
        self._control = None
        end_turn(self)
        self._watch.close()
        self.state = State.IDLE

    def _become(self, state: State) -> None:
        self.state = state
        if state is State.ENDING:
            self._watch.close()
        self.state_changed.emit()


def _receiver(
    session: "weakref.ref[ComparisonSession]", control: RunControl
) -> Callable[[Any], None]:
    """Return what passes the events of a run on, as long as the session lives."""

    def receive(event: Any) -> None:
        alive = session()
        if alive is not None:
            alive.receive(event, control)

    return receive
